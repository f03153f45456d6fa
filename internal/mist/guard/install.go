package guard

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"authhook/internal/mist"
	"authhook/internal/mist/api"
)

// Wanted is what authhook's triggers in a MistServer should be: these, and no others of the same handler among [Types].
type Wanted struct {
	// Handler is the trigger URL, its key included, or the path of the executable.
	Handler string
	// Types are the trigger types that it is asked for; none takes its entries away.
	Types []mist.Type
	// Streams limits the types that a list can limit: a name, the part of a name before +, #tag, !name, !#tag. None means all.
	Streams []string
	// Replace are other handlers of authhook's whose entries go. A trigger URL may be named without its key.
	Replace []string
}

// Check says what of it MistServer would cut or take for something else, and what to do about it.
func (w Wanted) Check() error {
	for _, t := range w.Types {
		if !slices.Contains(types[:], t) {
			return fmt.Errorf("the trigger type %q is none that authhook decides about: use %s", t, typeNames(types[:]))
		}
	}
	for _, name := range w.Streams {
		bare := strings.TrimPrefix(name, "!")
		switch {
		case strings.TrimPrefix(bare, "#") == "":
			return fmt.Errorf("the stream %q has no name", name)
		case strings.Contains(bare, "*"):
			return fmt.Errorf("the stream %q: MistServer's lists know no *; what stands before a + covers all that follows it: %q", name, beforePlus(name))
		case bare[0] != '#' && strings.HasSuffix(bare, "+"):
			return fmt.Errorf("the stream %q would match nothing: leave the + out, and it covers all that follows it", name)
		}
	}
	// Not of every type: all have the same handler, and the same list or none.
	e := entry(mist.TypeUserNew, w.Handler, w.Streams)
	if e.Check() == nil {
		return nil
	}
	if n := listBytes(w.Streams); n > listRoom {
		return fmt.Errorf("the list of streams needs %d bytes and MistServer keeps %d, so the last ones would be unguarded: "+
			"name what stands before a + once for all that follows it, or a #tag that these streams have, or no stream at all, and authhook is asked about every one",
			n, listRoom)
	}
	return fmt.Errorf("the handler: %w: use a shorter one, or a shorter trigger key", e.Check())
}

// beforePlus is the part of a name that covers all its instances.
func beforePlus(name string) string {
	name, _, _ = strings.Cut(name, "+")
	return strings.TrimRight(name, "*")
}

func typeNames(list []mist.Type) string {
	names := make([]string, len(list))
	for i, t := range list {
		names[i] = string(t)
	}
	return strings.Join(names, ", ")
}

// ours says whether an entry is authhook's, to be changed or taken away.
func (w Wanted) ours(e api.Trigger) bool {
	return Same(e.Handler, w.Handler) || slices.ContainsFunc(w.Replace, func(old string) bool { return Same(e.Handler, old) })
}

// Entry is one handler of a trigger type.
type Entry struct {
	Type    mist.Type
	Trigger api.Trigger
}

// Change is an entry that is to be another one. Was is nil where there is none yet, Is where there shall be none.
type Change struct {
	Type    mist.Type
	Was, Is *api.Trigger
}

// Plan is what becomes of a MistServer's triggers.
type Plan struct {
	// Triggers are all of them, others' included: what is to be written.
	Triggers map[string][]api.Trigger
	// Changes are what differs from what is there.
	Changes []Change
	// Same are authhook's entries that are as they should be.
	Same []Entry
	// Others are other handlers of types that gate. All handlers of a trigger must allow.
	Others []Entry
}

// Merge puts what is wanted among the triggers that are there. Entries of others stay as they are, each in its place.
func (w Wanted) Merge(now map[string][]api.Trigger) Plan {
	p := Plan{Triggers: maps.Clone(now)}
	if p.Triggers == nil {
		p.Triggers = map[string][]api.Trigger{}
	}
	for _, t := range types {
		p.merge(w, t, now[string(t)])
	}
	return p
}

func (p *Plan) merge(w Wanted, t mist.Type, now []api.Trigger) {
	var after []api.Trigger
	placed := !slices.Contains(w.Types, t)
	wanted := entry(t, w.Handler, w.Streams)
	for _, e := range now {
		switch {
		case !w.ours(e):
			after = append(after, e)
			if gates(t) {
				p.Others = append(p.Others, Entry{t, e})
			}
		case placed: // one too many
			p.Changes = append(p.Changes, Change{Type: t, Was: &e})
		case sameEntry(e, wanted):
			placed = true
			after = append(after, e)
			p.Same = append(p.Same, Entry{t, e})
		default:
			placed = true
			is := wanted
			is.Other = unknownMembers(e)
			after = append(after, is)
			p.Changes = append(p.Changes, Change{t, &e, &is})
		}
	}
	if !placed {
		after = append(after, wanted)
		p.Changes = append(p.Changes, Change{Type: t, Is: &wanted})
	}
	if len(after) == 0 {
		delete(p.Triggers, string(t))
		return
	}
	p.Triggers[string(t)] = after
}

// sameEntry says whether MistServer takes two entries for the same.
func sameEntry(a, b api.Trigger) bool {
	return a.Handler == b.Handler && a.Sync == b.Sync && a.Default == b.Default && a.Params == b.Params &&
		slices.Equal(a.Streams, b.Streams) && len(a.Other) == len(unknownMembers(a))
}

// unknownMembers are those that nobody here knows, and so nobody here takes away. A member that is known, but of another
// kind than expected ("default": true), is not among them: the field stands in its place.
func unknownMembers(e api.Trigger) map[string]json.RawMessage {
	unknown := maps.Clone(e.Other)
	for _, known := range [...]string{"handler", "sync", "default", "streams", "params"} {
		delete(unknown, known)
	}
	if len(unknown) == 0 {
		return nil
	}
	return unknown
}

// Lost are the types that authhook was asked about, and that nobody waits for an answer to any more when the changes are made.
func (p Plan) Lost() []mist.Type {
	var lost []mist.Type
	for _, t := range types {
		was := slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Type == t && c.Was != nil })
		if gates(t) && was && !slices.ContainsFunc(p.Triggers[string(t)], func(e api.Trigger) bool { return e.Sync }) {
			lost = append(lost, t)
		}
	}
	return lost
}

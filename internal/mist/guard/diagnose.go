package guard

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"authhook/internal/mist"
	"authhook/internal/mist/api"
)

// Severity is how bad a finding is.
type Severity uint8

// The severities, the worst first.
const (
	// Wrong: somebody gets past authhook, or is kept out by mistake, or authhook cannot do its work.
	Wrong Severity = iota + 1
	// Warning: it works, and not as well as it could, or will not for long.
	Warning
	// Note: to be known.
	Note
)

// String is the severity in one word.
func (s Severity) String() string {
	switch s {
	case Wrong:
		return "wrong"
	case Warning:
		return "warning"
	case Note:
		return "note"
	}
	return "unknown"
}

// MarshalText is the severity in one word.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is something to be said of a MistServer.
type Finding struct {
	Severity Severity `json:"severity"`
	// Code is the same for all findings of a kind, and for ever.
	Code string `json:"code"`
	// What is the case, and what that means.
	What string `json:"what"`
	// Remedy is what to do about it.
	Remedy string `json:"remedy,omitempty"`
}

// Observation is what was seen of a MistServer.
type Observation struct {
	// Name is what the operator calls it; empty when it has no name.
	Name string
	// Local says that it runs on this machine, so that its handlers are ours to try.
	Local bool
	// UDP and HTTP are whether its API answers.
	UDP, HTTP Reach
	// Config is its configuration, nil when that could not be read.
	Config *api.Config
	// Time is its clock when it told the configuration, to the second; zero when it did not say. It was asked and answered
	// between these moments of ours.
	Time, Asked, Answered time.Time
	// Active are the streams that have a source running.
	Active []api.ActiveStream
	// Keys are those by which somebody gets in without a trigger.
	Keys Keys
	// Handlers is what became of trying the handlers that are authhook's.
	Handlers map[string]Tried
	// Known are handlers that are authhook's, whatever they look like.
	Known []string
}

// Reach is whether one of the ways to an API works.
type Reach struct {
	Tried   bool
	Address string
	Err     error
}

// install is the remedy of what is wrong with entries.
const install = "authhook mist install writes them right, and leaves those of others alone"

// rules are what is looked for, in the order in which a person wants to read of it. One that needs the configuration is not
// asked without.
var rules = []func(*Observation) []Finding{
	gateMissing, gateOpen, entriesCut, streamsUnguarded, handlersTried, ownKeys, streamKeys, sessionMode, serverName, clocksApart,
	usageUnknown, joiningUnasked, othersToo,
}

// Diagnose says what is wrong with a MistServer, or could be.
func Diagnose(o *Observation) []Finding {
	found := reachable(o)
	if o.Config == nil {
		return found
	}
	for _, rule := range rules {
		found = append(found, rule(o)...)
	}
	slices.SortStableFunc(found, func(a, b Finding) int { return int(a.Severity) - int(b.Severity) })
	return found
}

// DiagnoseAll is [Diagnose] of several MistServers, and what only shows when they are seen together.
func DiagnoseAll(list []*Observation) [][]Finding {
	named := map[string]int{}
	for _, o := range list {
		if o.Config != nil && o.Config.ServerName != "" {
			named[o.Config.ServerName]++
		}
	}
	all := make([][]Finding, len(list))
	for i, o := range list {
		all[i] = Diagnose(o)
		if o.Config != nil && named[o.Config.ServerName] > 1 {
			all[i] = slices.Insert(all[i], 0, Finding{Wrong, "server-name",
				fmt.Sprintf("%d of these MistServers call themselves %q: authhook cannot tell their triggers apart", named[o.Config.ServerName], Printable(o.Config.ServerName)),
				"give each a name of its own (serverid) in MistServer's general settings"})
		}
	}
	return all
}

// authhooks are a type's entries that are authhook's.
func (o *Observation) authhooks(t mist.Type) []api.Trigger {
	return slices.DeleteFunc(slices.Clone(o.Config.Triggers[string(t)]), func(e api.Trigger) bool { return !o.isAuthhook(e.Handler) })
}

func (o *Observation) isAuthhook(handler string) bool {
	return LooksLikeAuthhook(handler) || slices.ContainsFunc(o.Known, func(known string) bool { return Same(handler, known) })
}

// Reachable by both ways: commands go over UDP, and long lists over HTTP.
func reachable(o *Observation) []Finding {
	var found []Finding
	if o.UDP.Tried && o.UDP.Err != nil {
		remedy := "is MistServer running, and is that its UDP API's port? It takes another one when the port is taken, and UDP_API in its environment moves it"
		if !o.Local {
			remedy = "the UDP API is for the machine that MistServer runs on: use http://user:password@host:4242 from elsewhere"
		}
		found = append(found, Finding{Wrong, "api-udp", fmt.Sprintf("its API does not answer over UDP at %s: %s", o.UDP.Address, brief(o.UDP.Err)), remedy})
	}
	if !o.HTTP.Tried || o.HTTP.Err == nil {
		return found
	}
	f := Finding{Wrong, "api-http", fmt.Sprintf("its API does not answer over HTTP at %s: %s", o.HTTP.Address, brief(o.HTTP.Err)),
		"is MistServer running, and is that its API's address?"}
	if errors.Is(o.HTTP.Err, api.ErrLogin) {
		f.Remedy = "give a user and password of MistServer's in the URL: http://user:password@host:4242; --mist-file keeps them out of sight"
	}
	if o.UDP.Tried && o.UDP.Err == nil {
		f.Severity = Warning
		f.What += "; lists of more than some 450 sessions fit no datagram"
		f.Remedy = "say where it answers HTTP with --mist-lists, with user and password where it asks for a login"
	}
	return append(found, f)
}

// brief is an error without what stands before it in the finding.
func brief(err error) string {
	for _, kind := range [...]error{api.ErrLogin, api.ErrTooLong, api.ErrReply} {
		if errors.Is(err, kind) {
			text := err.Error()
			return text[strings.Index(text, kind.Error()):]
		}
	}
	return api.ErrNotReachable.Error()
}

// gateMissing: nobody asks authhook.
func gateMissing(o *Observation) []Finding {
	var found []Finding
	if len(o.authhooks(mist.TypeUserNew)) == 0 {
		f := Finding{Wrong, "no-gate", "there is no USER_NEW trigger: everybody may watch everything, and authhook is never asked", "authhook mist install puts it there"}
		if len(o.Config.Triggers[string(mist.TypeUserNew)]) > 0 {
			f.What = "USER_NEW asks " + handlers(o.Config.Triggers[string(mist.TypeUserNew)]) + ", and not authhook"
			f.Remedy = "authhook mist install adds authhook to it: all handlers must allow then; if this one is authhook's, name it with --handler"
		}
		found = append(found, f)
	}
	pushes := len(o.authhooks(mist.TypePushRewrite))+len(o.authhooks(mist.TypeRTMPPushRewrite)) > 0
	if len(o.authhooks(mist.TypeStreamPush)) > 0 {
		return found
	}
	f := Finding{Wrong, "no-push-gate", "there is no STREAM_PUSH trigger that asks authhook: anybody may publish to " + someOf(o.pushed()), "authhook mist install puts it there"}
	switch {
	case pushes:
		f.Severity = Warning
		f.What = "there is no STREAM_PUSH trigger that asks authhook: only there the stream's name is final"
	case o.Config.Streams != nil && len(o.pushed()) == 0:
		f.Severity = Note
		f.What = "there is no STREAM_PUSH trigger that asks authhook; no configured stream is one to publish to"
	case o.Config.Streams == nil:
		f.What = "there is no STREAM_PUSH trigger that asks authhook: anybody may publish to a stream that takes pushes"
	}
	return append(found, f)
}

// gateOpen: authhook is named, and its answer is not waited for, or its silence lets everybody in.
func gateOpen(o *Observation) []Finding {
	var found []Finding
	for _, t := range types {
		if !gates(t) {
			continue
		}
		for _, e := range o.authhooks(t) {
			if !e.Sync {
				found = append(found, Finding{Wrong, "not-sync",
					fmt.Sprintf("%s asks %s and does not wait for the answer (sync is off): authhook decides nothing there", t, Redact(e.Handler)), install})
			}
			if f, ok := openDefault(o, t, e); ok {
				found = append(found, f)
			}
		}
	}
	return found
}

// openDefault is what is wrong with the answer that stands in for authhook's.
func openDefault(o *Observation, t mist.Type, e api.Trigger) (Finding, bool) {
	_, other := e.Other["default"]
	what := fmt.Sprintf("the default %q", Printable(e.Default))
	switch {
	case e.Default == "" && other: // MistServer reads texts only (source)
		what = "a default that is not a text, which counts as none,"
	case e.Default == "":
		what = "no default, which is \"true\","
	}
	if t.Answer() == mist.AnswerAllow {
		if e.Default != "" && !isTrue(e.Default) {
			return Finding{}, false
		}
		who := "every viewer"
		if t == mist.TypeStreamPush {
			who = "every publisher"
		}
		return Finding{Wrong, "fail-open", fmt.Sprintf("%s has %s and lets %s in while authhook is away", t, what, who), install}, true
	}
	// What a rewriting trigger's default says is a name.
	name := e.Default
	if name == "" {
		name = "true"
	}
	name = mist.StreamName(name)
	doing := "pushed"
	if t == mist.TypePlayRewrite {
		doing = "played"
	}
	if slices.ContainsFunc(o.streams(), func(s stream) bool { return s.name == name }) {
		return Finding{Wrong, "rewrite-default", fmt.Sprintf("%s has %s: while authhook is away, whatever is %s is the stream %q, which exists", t, what, doing, name), install}, true
	}
	if name == "true" { // which is meant to let in, and does not
		return Finding{Warning, "rewrite-default", fmt.Sprintf("%s has %s: while authhook is away, whatever is %s is a stream called \"true\"", t, what, doing), install}, true
	}
	return Finding{}, false
}

// isTrue says whether a default lets in: it begins with 1, yes, true or cont (source), in whatever letters.
func isTrue(text string) bool {
	text = strings.ToLower(strings.TrimSpace(text))
	return slices.ContainsFunc([]string{"1", "yes", "true", "cont"}, func(yes string) bool { return strings.HasPrefix(text, yes) })
}

// entriesCut: MistServer keeps so many bytes of a text and drops the rest without a word.
func entriesCut(o *Observation) []Finding {
	var found []Finding
	for _, t := range types {
		for _, e := range o.authhooks(t) {
			n := listBytes(e.Streams)
			switch {
			case n > listRoom:
				found = append(found, Finding{Wrong, "list-cut",
					fmt.Sprintf("%s's list of streams needs %d bytes and MistServer keeps %d: %s is not in it any more", t, n, listRoom, someOf(e.Streams[len(kept(e.Streams)):])),
					"name what stands before a + once for all that follows it, or a #tag that these streams have, or none at all: authhook mist install --stream …"})
			case n > nearlyFull && PerStream(t):
				found = append(found, Finding{Warning, "list-nearly-full",
					fmt.Sprintf("%s's list of streams has %d of the %d bytes that MistServer keeps: one more, and streams are unguarded", t, n, listRoom),
					"name what stands before a + once for all that follows it, or a #tag, or none at all: authhook mist install --stream …"})
			}
			if (api.Trigger{Handler: e.Handler}).Check() != nil {
				found = append(found, Finding{Wrong, "handler-cut", fmt.Sprintf("%s's handler %s has %d bytes and MistServer keeps 127: it asks another one", t, Redact(e.Handler), len(e.Handler)),
					"use a shorter address or trigger key: authhook mist install --handler …"})
			}
			if (api.Trigger{Default: e.Default}).Check() != nil {
				found = append(found, Finding{Wrong, "default-cut", fmt.Sprintf("%s's default has %d bytes and MistServer keeps 127", t, len(e.Default)), install})
			}
		}
	}
	return found
}

// stream is one that the MistServer has, configured or active.
type stream struct {
	name string
	tags []string
	push bool // it takes pushes, or may
}

// streamsUnguarded: the lists of streams leave some out.
func streamsUnguarded(o *Observation) []Finding {
	var found []Finding
	for _, t := range [...]mist.Type{mist.TypeUserNew, mist.TypeStreamPush} {
		entries := o.authhooks(t)
		if len(entries) == 0 || slices.ContainsFunc(entries, func(e api.Trigger) bool { return len(e.Streams) == 0 }) {
			continue
		}
		var open []string
		for _, s := range o.streams() {
			guarded := slices.ContainsFunc(entries, func(e api.Trigger) bool { return selects(e.Streams, s.name, s.tags) })
			if !guarded && (t != mist.TypeStreamPush || s.push) {
				open = append(open, s.name)
			}
		}
		verb := "watch"
		if t == mist.TypeStreamPush {
			verb = "publish to"
		}
		remedy := "name them too, or no stream at all, so that every one is guarded: authhook mist install --stream …"
		if len(open) > 0 {
			found = append(found, Finding{Wrong, "unguarded", fmt.Sprintf("%s's list of streams leaves out %s: everybody may %s them", t, someOf(open), verb), remedy})
		}
		if slices.ContainsFunc(entries, func(e api.Trigger) bool { return slices.ContainsFunc(e.Streams, isPositive) }) {
			found = append(found, Finding{Note, "list", fmt.Sprintf("%s asks about listed streams only: everybody may %s one that is added and not listed", t, verb), remedy})
		}
	}
	return found
}

func isPositive(name string) bool { return !strings.HasPrefix(name, "!") }

// handlersTried: somebody must be there, and take the key.
func handlersTried(o *Observation) []Finding {
	var found []Finding
	tried := map[string]bool{}
	for _, t := range types {
		for _, e := range o.authhooks(t) {
			result, ok := o.Handlers[e.Handler]
			if !ok || tried[e.Handler] {
				continue
			}
			tried[e.Handler] = true
			if f, ok := result.Finding(e.Handler, o.Local); ok {
				found = append(found, f)
			}
		}
	}
	return found
}

// The bits of sessionViewerMode.
const (
	byConnector = 1 << iota
	byToken
	byAddress
	byStream
	defaultMode = byStream | byAddress | byToken
)

// sessionMode: what is not part of a session id is shared by all who have the rest in common, and asked about once.
func sessionMode(o *Observation) []Finding {
	mode := o.Config.SessionMode
	if mode < 0 {
		mode = defaultMode
	}
	remedy := fmt.Sprintf("set sessionViewerMode to %d in MistServer's general settings, and restart authhook where it has --session-mode", mode|defaultMode)
	var found []Finding
	say := func(s Severity, what string) {
		found = append(found, Finding{s, "session-mode", fmt.Sprintf("sessionViewerMode is %d: %s", mode, what), remedy})
	}
	if mode&byToken == 0 {
		say(Wrong, "the token is no part of a session, so everybody behind one address watches on the first one's right, without being asked")
	}
	if mode&byStream == 0 {
		say(Wrong, "the stream is no part of a session, so who may watch one stream may watch them all")
	}
	if mode&byAddress == 0 {
		say(Warning, "the address is no part of a session, so a key that is passed on is one session everywhere: it counts once against limits, and its address is asked about once")
	}
	if mode&byConnector != 0 {
		remedy = fmt.Sprintf("set sessionViewerMode to %d unless that is meant", mode&^byConnector|defaultMode)
		say(Note, "the connector is part of a session, so a player that changes between protocols counts twice against limits")
	}
	return found
}

// serverName: a trigger names its MistServer by the configured name, and by nothing else.
func serverName(o *Observation) []Finding {
	name := o.Config.ServerName
	remedy := "set its name (serverid) in MistServer's general settings"
	switch {
	case o.Name != "" && name == "":
		return []Finding{{Wrong, "server-name", fmt.Sprintf("it has no name, and is called %q here: its triggers do not say so, so that authhook cannot tell them from those of others", o.Name), remedy + " to " + o.Name}}
	case o.Name != "" && name != o.Name:
		return []Finding{{Wrong, "server-name", fmt.Sprintf("it calls itself %q, and is called %q here: its sessions would be nobody's", Printable(name), o.Name), "put its own name before its URL in --mist, or change its name (serverid) in MistServer"}}
	}
	return nil
}

// apart is how far clocks may be.
const apart = 2 * time.Second

// clocksApart: MistServer's time is known to the second.
func clocksApart(o *Observation) []Finding {
	if o.Time.IsZero() {
		return nil
	}
	behind, ahead := o.Asked.Sub(o.Time.Add(time.Second)), o.Time.Sub(o.Answered)
	way, by := "behind", behind
	if ahead > behind {
		way, by = "ahead", ahead
	}
	if by <= apart {
		return nil
	}
	return []Finding{{Wrong, "clock", fmt.Sprintf("its clock is %s %s of ours: its lists and triggers carry times that never were", by.Round(time.Second), way),
		"let both machines take their time from the network (chrony, systemd-timesyncd)"}}
}

// usageUnknown: nobody tells what was watched.
func usageUnknown(o *Observation) []Finding {
	if len(o.authhooks(mist.TypeUserEnd)) > 0 {
		return nil
	}
	return []Finding{{Warning, "no-user-end", "there is no USER_END trigger that asks authhook: what was watched is estimated, and a place under a limit is given up later",
		"authhook mist install puts it there"}}
}

// joiningUnasked: a connection that joins a session is asked about by CONN_PLAY alone.
func joiningUnasked(o *Observation) []Finding {
	if len(o.authhooks(mist.TypeConnPlay))+len(o.authhooks(mist.TypeConnOpen)) > 0 || len(o.authhooks(mist.TypeUserNew)) == 0 {
		return nil
	}
	return []Finding{{Note, "no-conn-play", "there is no CONN_PLAY trigger that asks authhook: a denied connector may join a session that another one opened", "authhook mist install puts it there"}}
}

// othersToo: all handlers of a trigger must allow.
func othersToo(o *Observation) []Finding {
	var found []Finding
	for _, t := range types {
		if !gates(t) || len(o.authhooks(t)) == 0 {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(o.Config.Triggers[string(t)]), func(e api.Trigger) bool { return o.isAuthhook(e.Handler) })
		if len(others) > 0 {
			found = append(found, Finding{Note, "others", fmt.Sprintf("%s asks %s too: all must allow", t, handlers(others)), ""})
		}
		distinct := map[string]bool{}
		for _, e := range o.authhooks(t) {
			base, _, _ := split(e.Handler)
			distinct[base] = true
		}
		if n := len(o.authhooks(t)); n > 1 && len(distinct) > 1 {
			found = append(found, Finding{Warning, "twice", fmt.Sprintf("%s asks several authhooks, %s: all must allow", t, handlers(o.authhooks(t))), "authhook mist install --replace HANDLER takes one out"})
		} else if n > 1 && !disjoint(o.authhooks(t)) {
			found = append(found, Finding{Warning, "twice", fmt.Sprintf("%s asks the same authhook %d times, with %s", t, n, handlers(o.authhooks(t))), install})
		}
	}
	return found
}

// disjoint says whether every entry has a list of its own, as where one list would be too long.
func disjoint(entries []api.Trigger) bool {
	seen := map[string]bool{}
	for _, e := range entries {
		if len(e.Streams) == 0 {
			return false
		}
		for _, name := range e.Streams {
			if seen[name] || !isPositive(name) {
				return false
			}
			seen[name] = true
		}
	}
	return true
}

func handlers(entries []api.Trigger) string {
	var names []string
	for _, e := range entries {
		name := Redact(e.Handler)
		if name == "" {
			name = "no handler"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " and ")
}

// shown is how many names a finding lists.
const shown = 5

// someOf lists names, and says how many more there are.
func someOf(names []string) string {
	some := make([]string, 0, shown)
	for _, name := range names[:min(len(names), shown)] {
		some = append(some, Printable(name))
	}
	list := strings.Join(some, ", ")
	if more := len(names) - len(some); more > 0 {
		return fmt.Sprintf("%s and %d more", list, more)
	}
	return list
}

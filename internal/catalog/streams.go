package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"authhook/internal/policy"
)

const (
	maxStreamNameLength = 256 // bytes
	defaultPreviewEvery = policy.Duration(24 * time.Hour)
)

var accesses = []policy.Access{
	policy.AccessPublic, policy.AccessAuthenticated, policy.AccessEntitled, policy.AccessClosed,
}

// streams reads the stream policies.
func (r *reader) streams(v value) []policy.StreamPolicy {
	streams := []policy.StreamPolicy{}
	seen := map[string]int{}
	r.list(v, func(v value) {
		s, given := r.stream(v)
		if first, twice := seen[s.Match]; twice && s.Match != "" {
			r.fail(given["match"], "%s has a policy already, in line %d: remove one", quote(s.Match), first)
		} else if s.Match != "" {
			seen[s.Match] = given["match"].node.Line
		}
		streams = append(streams, s)
	})
	return streams
}

// stream reads one stream policy.
func (r *reader) stream(v value) (policy.StreamPolicy, map[string]value) {
	s := policy.StreamPolicy{Publish: policy.PublishKey}
	given := r.object(v, fields{
		"match":           r.pathName(&s.Match, r.pattern),
		"access":          choice(r, &s.Access, accesses...),
		"plans":           r.distinct(&s.Plans, r.planName),
		"tags":            r.distinct(&s.Tags, r.tag),
		"preview":         r.duration(&s.Preview, true),
		"preview_every":   r.duration(&s.PreviewEvery, false),
		"allow_addresses": r.addresses(&s.AllowAddresses),
		"deny_addresses":  r.addresses(&s.DenyAddresses),
		"deny_connectors": r.distinct(&s.DenyConnectors, r.word),
		"windows":         func(v value) { s.Windows = r.windows(v) },
		"publish":         choice(r, &s.Publish, policy.PublishOpen, policy.PublishKey, policy.PublishClosed),
		"renditions":      func(v value) { s.Renditions = r.renditions(v) },
	},
		need{"match", "write a stream's name, a beginning with *, or \"*\""},
		need{"access", "write public, authenticated, entitled or closed"},
	)
	if s.PreviewEvery == 0 {
		s.PreviewEvery = defaultPreviewEvery
	}
	return s, given
}

// placedWindow is a window that begins and ends, and where it stands.
type placedWindow struct {
	policy.Window
	value
	index int
}

// windows reads the times in which a stream has another access.
func (r *reader) windows(v value) []policy.Window {
	var windows []policy.Window
	var placed []placedWindow
	r.list(v, func(v value) {
		var w policy.Window
		given := r.object(v, fields{
			"from":   r.moment(&w.From),
			"until":  r.moment(&w.Until),
			"access": choice(r, &w.Access, accesses...),
		},
			need{"from", "write when it begins, like 2026-12-24T20:00:00Z"},
			need{"until", "write when it ends, like 2026-12-24T22:00:00Z"},
			need{"access", "write public, authenticated, entitled or closed"},
		)
		windows = append(windows, w)
		switch {
		case w.From.IsZero() || w.Until.IsZero():
		case !w.From.Before(w.Until):
			r.fail(given["until"], "the window is to end at or before its beginning, %s: write a later time", w.From.Format(time.RFC3339))
		default:
			placed = append(placed, placedWindow{w, v, len(windows) - 1})
		}
	})
	r.checkOverlaps(placed)
	return windows
}

// checkOverlaps notes windows of one stream that overlap: which one held would be a matter of their order in the file.
func (r *reader) checkOverlaps(windows []placedWindow) {
	slices.SortStableFunc(windows, func(a, b placedWindow) int { return a.From.Compare(b.From) })
	for i := 1; i < len(windows); i++ {
		longest, next := windows[i-1], windows[i]
		if !next.From.Before(longest.Until) {
			continue
		}
		first, second := longest, next
		if second.index < first.index {
			first, second = second, first
		}
		r.fail(second.value, "overlaps windows[%d] in line %d, so that the access is ambiguous: let one end where the other begins",
			first.index, first.node.Line)
		if next.Until.Before(longest.Until) {
			windows[i] = longest // the next one may still be inside it
		}
	}
}

// renditions reads which stream is played instead, by plan.
func (r *reader) renditions(v value) map[string]string {
	v, ok := r.visit(v)
	if !ok || !r.is(v, mappingNode, "a mapping of plans to streams") {
		return nil
	}
	entries := r.entries(v)
	if len(entries) == 0 {
		return nil
	}
	renditions := make(map[string]string, len(entries))
	for _, e := range entries {
		r.planNames = append(r.planNames, named{value{e.key, e.path}, e.name})
		var stream string
		r.streamName(&stream, false)(e.value)
		renditions[e.name] = stream
	}
	return renditions
}

// pattern reads a stream's name, or a pattern of names.
func (r *reader) pattern(dst *string) func(value) { return r.streamName(dst, true) }

// streamName reads a stream's name, or a pattern of names.
func (r *reader) streamName(dst *string, pattern bool) func(value) {
	return func(v value) {
		if s, v, ok := r.text(v, aText); ok {
			if problem := streamNameProblem(s, pattern); problem != "" {
				r.fail(v, "%s", problem)
				return
			}
			*dst = s
		}
	}
}

// CheckPattern says why a pattern of streams' names can never match one; nil when it can.
func CheckPattern(pattern string) error {
	problem := streamNameProblem(pattern, true)
	switch {
	case pattern == "":
		return errors.New("is empty: name a stream, a beginning with a * at its end, or *")
	case problem != "":
		return errors.New(problem)
	}
	return nil
}

var streamBase = regexp.MustCompile(`^[a-z0-9_.-]+$`)

// streamNameProblem says why a stream's name, or a pattern, can never be that of a stream. MistServer makes names
// lowercase, drops what is not a letter, a digit, _, - or ., and lets free text follow a + (a wildcard's instance).
func streamNameProblem(s string, pattern bool) string {
	if len(s) > maxStreamNameLength {
		return fmt.Sprintf("is too long: a stream's name has at most %d bytes", maxStreamNameLength)
	}
	name := s
	if pattern {
		name = strings.TrimSuffix(s, "*")
		if name == "" {
			return ""
		}
	}
	base, _, _ := strings.Cut(name, "+")
	switch {
	case strings.Contains(name, "*") && pattern:
		return quote(s) + " has a * that is not at its end: only a beginning can be given, like live+*"
	case strings.Contains(name, "*"):
		return quote(s) + " has a *: a single stream's name is needed here"
	case strings.TrimSpace(s) != s:
		return quote(s) + " begins or ends with white space: remove it"
	case strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }):
		return quote(s) + " holds an unprintable character: remove it"
	case base != strings.ToLower(base):
		return fmt.Sprintf("%s can never match: MistServer's stream names are lowercase, write %s", quote(s),
			quote(strings.ToLower(base)+strings.TrimPrefix(s, base)))
	case !streamBase.MatchString(base):
		return quote(s) + " can never match: a stream's name is made of a-z, 0-9, _, - and ., with free text only after a +"
	default:
		return ""
	}
}

// checkSold notes prices of streams and tags of which there are none: nothing would come of the payment.
func (r *reader) checkSold(streams []policy.StreamPolicy) {
	reach := newReach(streams)
	for _, sold := range r.soldStreams {
		if !reach.overlaps(sold.name) {
			r.fail(sold.value, "no stream policy matches %s: add one, or correct this", quote(sold.name))
		}
	}
	for _, sold := range r.soldTags {
		if !reach.tags[sold.name] {
			r.fail(sold.value, "no stream has the tag %s: give it to one, or correct this", quote(sold.name))
		}
	}
}

// reach is what the stream policies cover, to be asked about quickly.
type reach struct {
	tags     map[string]bool
	exact    map[string]bool
	prefixes map[string]bool
	sorted   []string // the fixed part of each pattern
}

func newReach(streams []policy.StreamPolicy) reach {
	c := reach{tags: map[string]bool{}, exact: map[string]bool{}, prefixes: map[string]bool{}}
	for _, s := range streams {
		for _, t := range s.Tags {
			c.tags[t] = true
		}
		fixed, isPrefix := strings.CutSuffix(s.Match, "*")
		if isPrefix {
			c.prefixes[fixed] = true
		} else {
			c.exact[fixed] = true
		}
		if s.Match != "" {
			c.sorted = append(c.sorted, fixed)
		}
	}
	slices.Sort(c.sorted)
	return c
}

// overlaps says whether some stream is matched both by the pattern and by a policy.
func (c reach) overlaps(pattern string) bool {
	fixed, isPrefix := strings.CutSuffix(pattern, "*")
	for i := 0; i <= len(fixed); i++ {
		if c.prefixes[fixed[:i]] {
			return true
		}
	}
	if !isPrefix {
		return c.exact[fixed]
	}
	i, _ := slices.BinarySearchFunc(c.sorted, fixed, cmp.Compare[string])
	return i < len(c.sorted) && strings.HasPrefix(c.sorted[i], fixed)
}

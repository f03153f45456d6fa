package custom

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"authhook/internal/billing/events"
)

// sourceKind says what a field of ours is read as.
type sourceKind int

const (
	nameKind   sourceKind = iota // a text, or a number that names something
	typeKind                     // likewise; several places can make it together
	wordKind                     // one of our own words: a status, an outcome
	timeKind                     // a moment
	amountKind                   // an amount of money
	truthKind                    // true or false
)

func kindOf(field string) sourceKind {
	switch field {
	case "status", "outcome":
		return wordKind
	case "time", "valid_until", "period_end":
		return timeKind
	case "amount":
		return amountKind
	case "cancel_at_period_end":
		return truthKind
	}
	return nameKind
}

// events reads what each type of events is.
func (r *reader) events(p *provider, n *yaml.Node, path string) {
	entries, _ := r.entries(n, path)
	lines := map[string]int{}
	for _, e := range entries {
		m, types := r.event(e.value, path+r.named(e.name))
		for _, kind := range append([]string{e.name}, types...) {
			if first, twice := lines[kind]; twice {
				r.fail(e.key, path, "says what a type is that the event in line %d is too: remove one", first)
			}
			lines[kind] = e.key.Line
			p.events[kind] = m
			delete(p.ignore, kind)
		}
	}
}

// event reads what one type of events is, and which other types are the same.
func (r *reader) event(n *yaml.Node, path string) (m *mapping, also []string) {
	m = &mapping{fields: map[string]*source{}}
	var is string
	var types []string
	for _, t := range events.Types {
		types = append(types, string(t))
	}
	read := known{
		"is":    r.choice(&is, types...),
		"where": func(n *yaml.Node, path string) { m.where = r.where(n, path) },
		"also": func(n *yaml.Node, path string) {
			r.list(n, path, func(n *yaml.Node, path string) {
				var kind string
				if r.text(&kind)(n, path); kind != "" {
					also = append(also, kind)
				}
			})
		},
	}
	all := map[string]bool{"time": true}
	for _, t := range events.Types {
		for _, need := range fields[t] {
			for field := range strings.SplitSeq(strings.TrimSuffix(need, "?"), "|") {
				all[field] = true
			}
		}
	}
	for field := range all {
		read[field] = func(n *yaml.Node, path string) {
			var s *source
			if r.source(&s, kindOf(field))(n, path); s != nil {
				m.fields[field] = s
			}
		}
	}
	if !r.mapping(n, path, read, "is: write which of our own types it is, like payment.succeeded") || is == "" {
		return m, also
	}
	m.is = events.Type(is)
	may := map[string]bool{"time": true, "subscription": m.is == events.PaymentSucceeded || m.is == events.PaymentFailed}
	for _, need := range fields[m.is] {
		names := strings.Split(strings.TrimSuffix(need, "?"), "|")
		there := 0
		for _, name := range names {
			may[name] = true
			if m.fields[name] != nil {
				there++
			}
		}
		if there == 0 && !strings.HasSuffix(need, "?") {
			r.fail(n, path, "has no %s, which %s needs: write where it stands", strings.Join(names, " or "), is)
		}
		if named := names[:min(len(names), 4)]; len(names) > 1 && m.several(named) {
			r.fail(n, path, "has more than one of %s: leave one", strings.Join(named, ", "))
		}
	}
	for _, field := range slices.Sorted(maps.Keys(m.fields)) {
		if !may[field] {
			r.fail(n, path, "has %s, which %s does not know: remove it", field, is)
		}
	}
	r.ownWords(m, n, path)
	return m, also
}

// ownWords checks that what is translated, or always the same, is one of our own words.
func (r *reader) ownWords(m *mapping, n *yaml.Node, path string) {
	among := map[string][]string{"outcome": {"won", "lost"}, "status": slices.Sorted(maps.Keys(events.Statuses))}
	if m.is == events.UserChanged {
		among["status"] = []string{"active", "suspended"}
	}
	for _, field := range []string{"outcome", "status"} {
		from := m.fields[field]
		if from == nil {
			continue
		}
		words := slices.Collect(maps.Values(from.words))
		if from.otherwise != "" {
			words = append(words, from.otherwise)
		}
		if word, ok := from.value.(string); ok {
			words = append(words, word)
		}
		if slices.ContainsFunc(words, func(word string) bool { return !slices.Contains(among[field], word) }) {
			r.fail(n, path, "says a %s that is none of our words: write one of %s", field, strings.Join(among[field], ", "))
		}
	}
}

func (m *mapping) several(names []string) bool {
	there := 0
	for _, name := range names {
		if m.fields[name] != nil {
			there++
		}
	}
	return there > 1
}

// complete checks what the events need of the provider.
func (r *reader) complete(p *provider, n *yaml.Node, path string) {
	for _, kind := range slices.Sorted(maps.Keys(p.events)) {
		m := p.events[kind]
		if p.time == nil && m.fields["time"] == nil {
			like := "/created_at"
			if p.signs.scheme == standardWebhooks {
				like = "/timestamp (that in the header is another in every retry)"
			}
			r.fail(n, path, "has no time: write where the time of an event stands, like %s", like)
			return
		}
		needsUser := m.is == events.SubscriptionChanged || m.is == events.UserChanged ||
			(m.is == events.PaymentSucceeded || m.is == events.PaymentFailed) && !m.forPeriod()
		if p.user == nil && m.fields["user"] == nil && needsUser {
			r.fail(n, path, "has no user: write where your own id of the user stands, like /customer/reference")
			return
		}
	}
}

// source reads where a field comes from: a pointer, or a mapping with more to say.
func (r *reader) source(dst **source, kind sourceKind) func(n *yaml.Node, path string) {
	return func(n *yaml.Node, path string) {
		s := &source{}
		if n.Kind != yaml.MappingNode {
			s.at = r.pointers(n, path)
			if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
				r.fail(n, path, "says nothing: write a pointer, like /data/id")
			}
			*dst = s
			return
		}
		read := known{"at": func(n *yaml.Node, path string) { s.at = r.pointers(n, path) }}
		if kind != amountKind && kind != timeKind {
			read["value"] = func(n *yaml.Node, path string) { s.value = r.constant(n, path, kind) }
		}
		switch kind {
		case typeKind:
			read["joint"] = r.text(&s.joint)
			read["prefix"] = r.text(&s.prefix)
		case nameKind:
			read["prefix"] = r.text(&s.prefix)
		case timeKind:
			read["format"] = r.choice(&s.format, "rfc3339", "unix", "unix_ms")
		}
		if kind != amountKind && kind != timeKind {
			read["words"] = func(n *yaml.Node, path string) { s.words = r.words(n, path, kind) }
			read["otherwise"] = func(n *yaml.Node, path string) { s.otherwise = r.word(n, path, kind) }
		}
		if !r.mapping(n, path, read) {
			return
		}
		switch {
		case len(s.at) == 0 && s.value == nil:
			r.fail(n, path, "says nothing: write at: and a pointer, like /data/id")
		case s.value != nil && (len(s.at) > 0 || s.words != nil || s.prefix != "" || s.joint != ""):
			r.fail(n, path, "has a value that is always the same: remove all else")
		case s.joint != "" && len(s.at) == 1:
			r.fail(n, path, "has a joint and one place: remove it, or write all the places that make the type together")
		case s.otherwise != "" && s.words == nil:
			r.fail(n, path, "has otherwise without words: remove it, or write words")
		case s.words != nil && s.prefix != "":
			r.fail(n, path, "has a prefix beside words: remove one")
		}
		*dst = s
	}
}

func (r *reader) pointers(n *yaml.Node, path string) (list []pointer) {
	if n.Kind == yaml.SequenceNode {
		r.list(n, path, func(n *yaml.Node, path string) { list = append(list, r.pointers(n, path)...) })
		return list
	}
	var s string
	if r.text(&s)(n, path); s == "" {
		return nil
	}
	p, err := parsePointer(s)
	if err != nil {
		r.fail(n, path, "%s", err)
		return nil
	}
	return []pointer{p}
}

// constant is a value that is always the same.
func (r *reader) constant(n *yaml.Node, path string, kind sourceKind) any {
	word := r.word(n, path, kind)
	switch {
	case word == "":
		return nil
	case kind == truthKind:
		return word == "true"
	}
	return word
}

// words reads a table of translations.
func (r *reader) words(n *yaml.Node, path string, kind sourceKind) map[string]string {
	words := map[string]string{}
	entries, _ := r.entries(n, path)
	for _, e := range entries {
		words[e.name] = r.word(e.value, path, kind)
	}
	if len(words) == 0 {
		r.fail(n, path, "has no words: write their word: our word")
	}
	return words
}

// word reads a word of ours.
func (r *reader) word(n *yaml.Node, path string, kind sourceKind) string {
	s, ok := r.scalar(n, path)
	if ok && kind == truthKind && s != "true" && s != "false" {
		r.fail(n, path, "is not true or false: write one of them")
		return ""
	}
	return s
}

// where reads conditions: what must stand at a place.
func (r *reader) where(n *yaml.Node, path string) (list []condition) {
	entries, _ := r.entries(n, path)
	for _, e := range entries {
		at, err := parsePointer(e.name)
		if err != nil {
			r.fail(e.key, path, "%s", err)
			continue
		}
		c := condition{at: at}
		values := []*yaml.Node{e.value}
		if e.value.Kind == yaml.SequenceNode {
			values = e.value.Content
		}
		for _, v := range values {
			if s, ok := r.scalar(v, path); ok {
				c.values = append(c.values, s)
			}
		}
		list = append(list, c)
	}
	return list
}

package misttest

import (
	"maps"
	"slices"
	"strings"
	"time"

	"authhook/internal/mist"
)

// Trigger is one handler of a trigger's type, as in MistServer's configuration.
type Trigger struct {
	// Handler is a URL, or the path of an executable.
	Handler string `json:"handler"`
	// Sync triggers wait for an answer.
	Sync bool `json:"sync"`
	// Default is the answer where the handler gives none. With none configured that is true.
	Default string `json:"default"`
	// Streams selects: a name, the part before a +, !name, #tag, !#tag. None selects all.
	Streams []string `json:"streams"`
}

// What of a trigger is longer than this, the real server cuts off without a word (source).
const (
	handlerRoom = 127
	defaultRoom = 127
	streamsRoom = 256
)

// fitted is what the server keeps of a configured trigger. A list of streams that is too long loses its end: those
// streams are unguarded.
func (t Trigger) fitted() Trigger {
	t.Handler = t.Handler[:min(len(t.Handler), handlerRoom)]
	t.Default = t.Default[:min(len(t.Default), defaultRoom)]
	room := streamsRoom
	for i, name := range t.Streams {
		if room -= 4 + len(name); room < 0 { // a length of 4 bytes before each
			t.Streams = t.Streams[:i]
			break
		}
	}
	t.Streams = slices.Clone(t.Streams)
	if t.Default == "" {
		t.Default = "true" // nothing configured: fail open
	}
	return t
}

// SetTriggers replaces all triggers, by type, as config.triggers does.
func (s *Server) SetTriggers(triggers map[string][]Trigger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config.setTriggers(triggers)
}

// Triggers are all triggers, by type, as they were configured.
func (s *Server) Triggers() map[string][]Trigger {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := maps.Clone(s.config.triggers)
	for name, list := range all {
		all[name] = slices.Clone(list)
	}
	return all
}

// matches says whether the trigger is for the stream, as the server decides it (source): the last entry that fits
// counts, and where all entries are negative and none fits, it is.
func (t Trigger) matches(stream string, tags []string) bool {
	matched, onlyNegative := stream == "", true
	for _, entry := range t.Streams {
		name, negative := strings.CutPrefix(entry, "!")
		if name == "" {
			break
		}
		if !negative {
			onlyNegative = false
		}
		if streamMatches(stream, tags, name) {
			matched, onlyNegative = !negative, false
		}
	}
	return matched || onlyNegative
}

func streamMatches(stream string, tags []string, name string) bool {
	if tag, ok := strings.CutPrefix(name, "#"); ok {
		return slices.Contains(tags, tag)
	}
	base, _, _ := strings.Cut(stream, "+")
	return name == stream || name == base
}

func (s *Server) selected(t mist.Type, stream string) bool {
	return len(s.config.fitted[string(t)]) > 0 && len(s.handlers(t, stream)) > 0
}

func (s *Server) handlers(t mist.Type, stream string) []Trigger {
	all := s.config.fitted[string(t)]
	if len(all) == 0 {
		return nil
	}
	tags := s.tagsOf(stream)
	var chosen []Trigger
	for _, one := range all {
		if one.matches(stream, tags) {
			chosen = append(chosen, one)
		}
	}
	return chosen
}

// answer is what became of a trigger.
type answer struct {
	allow bool
	// answered says that a handler that waits gave text, or its default did.
	answered bool
	text     string
}

// isTrue says whether an answer is true: it begins with 1, yes, true or cont (source). An empty one is false.
func isTrue(text string) bool {
	for _, yes := range []string{"1", "yes", "true", "cont"} {
		if strings.HasPrefix(text, yes) {
			return true
		}
	}
	return false
}

// event is one trigger: the same for all of its handlers, and for all of their attempts.
type event struct {
	kind     mist.Type
	payload  string
	uuid     string
	at       time.Time
	instance string
	name     string
	pid      int
	handlers []Trigger
	process  *process
	timing   Timing
}

// fire asks all handlers of a trigger for the stream, in the background, and has then told, under the lock, unless the
// process is gone by then. False: there is none, and then is never told.
func (s *Server) fire(t mist.Type, stream, payload string, pid int, then func(answer)) bool {
	handlers := s.handlers(t, stream)
	if len(handlers) == 0 || s.process == nil {
		return false
	}
	e := &event{
		kind: t, payload: payload, uuid: newUUID(), at: time.Now(), instance: s.process.instance, name: s.config.name,
		pid: pid, handlers: handlers, process: s.process, timing: s.timing,
	}
	s.enqueue(func() {
		a, executions := s.run(e)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.process == e.process {
			s.count(e.kind, executions)
			then(a)
		}
	})
	return true
}

// run asks one handler after another. All of them are asked, and all must agree; also what does not wait has a say, by
// its default (source).
func (s *Server) run(e *event) (a answer, all []execution) {
	a = answer{allow: true}
	for _, h := range e.handlers {
		began := time.Now()
		text, ok := s.handle(e, h)
		all = append(all, execution{time.Since(began), ok})
		a.allow = a.allow && isTrue(text)
		if h.Sync {
			a.answered, a.text = true, text
		}
	}
	return a, all
}

func (s *Server) handle(e *event, h Trigger) (text string, ok bool) {
	if h.Handler == "" {
		return h.Default, false
	}
	if strings.HasPrefix(h.Handler, "http://") || strings.HasPrefix(h.Handler, "https://") {
		return s.post(e, h)
	}
	return s.execute(e, h)
}

// execution is one handler's.
type execution struct {
	took time.Duration
	ok   bool
}

// triggerStat is what the server counts of a trigger's type.
type triggerStat struct {
	count, fails int64
	spent        time.Duration
}

func (s *Server) count(kind mist.Type, all []execution) {
	st := s.stats[kind]
	if st == nil {
		st = &triggerStat{}
		s.stats[kind] = st
	}
	for _, one := range all {
		st.count++
		st.spent += one.took
		if !one.ok {
			st.fails++
		}
	}
}

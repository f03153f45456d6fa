package main

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"authhook/internal/mist"
)

// overheard is the service's log on its way to where it goes: its line of a decision says what the demo tells on.
type overheard struct {
	slog.Handler
	words *decisionWords
}

// decisionWords are the decisions about viewers' sessions.
type decisionWords struct {
	mu     sync.Mutex
	latest map[string]demoDecision // by the session's first digits
	counts map[demoVerdict]int
}

type demoDecision struct {
	at     time.Time
	reason string
}

type demoVerdict struct {
	allow  bool
	reason string
}

func newOverheard(to slog.Handler) *overheard {
	return &overheard{to, &decisionWords{latest: make(map[string]demoDecision), counts: make(map[demoVerdict]int)}}
}

// Enabled implements slog.Handler.
func (o *overheard) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || o.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (o *overheard) Handle(ctx context.Context, line slog.Record) error {
	if line.Message == "decision" {
		o.words.note(line)
	}
	if !o.Handler.Enabled(ctx, line.Level) {
		return nil
	}
	return o.Handler.Handle(ctx, line)
}

// WithAttrs implements slog.Handler.
func (o *overheard) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &overheard{o.Handler.WithAttrs(attrs), o.words}
}

// WithGroup implements slog.Handler.
func (o *overheard) WithGroup(name string) slog.Handler {
	return &overheard{o.Handler.WithGroup(name), o.words}
}

func (w *decisionWords) note(line slog.Record) {
	var v demoVerdict
	var trigger, session string
	repeated := false
	line.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "allow":
			v.allow = a.Value.Bool()
		case "reason":
			v.reason = a.Value.String()
		case "trigger":
			trigger = a.Value.String()
		case "session":
			session = a.Value.String()
		case "repeated":
			repeated = a.Value.Bool()
		}
		return true
	})
	if trigger != string(mist.TypeUserNew) || repeated {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latest[session] = demoDecision{line.Time, v.reason}
	w.counts[v]++
}

// about is the latest decision about a session.
func (w *decisionWords) about(session string) demoDecision {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest[session[:min(len(session), 8)]]
}

// all are the decisions so far, counted.
func (w *decisionWords) all() map[demoVerdict]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.counts)
}

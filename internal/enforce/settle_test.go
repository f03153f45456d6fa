package enforce

import (
	"context"
	"testing"
	"time"

	"authhook/internal/mist/api"
	"authhook/internal/policy"
)

// refusing finds that nobody may watch, and knows nobody.
type refusing struct{ allowing }

func (refusing) Reconsider(context.Context, *policy.Session) (policy.Verdict, error) {
	return policy.Verdict{Decision: policy.Decision{Reason: policy.CredentialUnknown}}, nil
}

// What a session was watched under holds to its end, also once nobody may watch: its seconds count for the user all the same.
func TestWhatASessionCountsForOutlastsItsDenial(t *testing.T) {
	t.Parallel()
	e := NewEnforcer(blank{}, Options{Nodes: []Node{{Name: "edge-1", API: nowhere(t)}}})
	e.decider = refusing{}
	now := time.Now()
	e.mu.Lock()
	s := e.insert(e.nodes["edge-1"], policy.Session{
		Node: "edge-1", ID: "a", State: policy.SessionOpen, Stream: "live", User: "alice", Plan: "metered", Metered: true,
		Reason: policy.Entitled, Opened: now, Decided: now,
	})
	s.queued = true
	e.mu.Unlock()
	e.settle(t.Context(), []job{{session: s, since: now}})
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.wants() != revoked {
		t.Fatalf("%s is wanted of it", s.wants())
	}
	if s.User != "alice" || s.Plan != "metered" || !s.Metered {
		t.Errorf("it counts for %q under %q, metered %t", s.User, s.Plan, s.Metered)
	}
	if n := len(e.writer.pending); n != 1 || !e.writer.pending[0].Metered {
		t.Errorf("written: %+v", e.writer.pending)
	}
}

// A change of many sessions is found in several batches. MistServer is told once to ask about their stream, which settles those
// of the later batches too; what changes while it is being asked about is told session by session.
func TestAStreamIsAskedAboutOnceForAChange(t *testing.T) {
	t.Parallel()
	const batch = 4
	e := NewEnforcer(blank{}, Options{Nodes: []Node{{Name: "edge-1", API: nowhere(t)}}, ByIDAtMost: batch - 1})
	e.decider = refusing{}
	n := e.nodes["edge-1"]
	began := time.Now()
	jobs := func(of string, since time.Time) (all []job) {
		e.mu.Lock()
		defer e.mu.Unlock()
		for i := range batch {
			s := e.insert(n, policy.Session{
				Node: "edge-1", ID: of + string(rune('0'+i)), State: policy.SessionOpen, Stream: "live", User: "alice",
				Reason: policy.Entitled, Opened: began, Decided: began,
			})
			all = append(all, job{session: s, since: since})
		}
		return all
	}
	change := time.Now()
	first, second := jobs("a", change), jobs("b", change)
	e.settle(t.Context(), first)
	if n := n.commands.Waiting(); n != 1 {
		t.Fatalf("%d commands for the first batch, not one for the stream", n)
	}
	e.settle(t.Context(), second)
	if n := n.commands.Waiting(); n != 1 {
		t.Errorf("%d more for the second, whom the first asks about", n-1)
	}
	for _, j := range append(first, second...) {
		if !j.session.begun() || j.session.errand.retry == 0 {
			t.Errorf("%s is not held to have been told", j.session.ID)
		}
	}
	e.settle(t.Context(), jobs("c", time.Now()))
	if n := n.commands.Waiting(); n != 1+batch {
		t.Errorf("%d commands in all, not one for the stream and one for each that changed since", n)
	}
}

// Questions are late by what they take beyond the least, however far apart the clocks are, and a clock that is set is
// forgotten.
func TestWhenQuestionsComeLate(t *testing.T) {
	t.Parallel()
	began := time.Now()
	for _, apart := range []time.Duration{0, time.Hour, -time.Hour} {
		var l lateness
		note := func(after, took time.Duration) (late bool) {
			came := began.Add(after)
			l.note(came, came.Add(-took-apart))
			return l.last.Equal(came)
		}
		if note(0, 30*time.Millisecond) || note(time.Second, 30*time.Millisecond+lateBy) {
			t.Errorf("clocks %s apart: what takes no longer than others is late", apart)
		}
		if !note(2*time.Second, 31*time.Millisecond+lateBy) {
			t.Errorf("clocks %s apart: what takes longer is not late", apart)
		}
		l.note(began.Add(3*time.Second), time.Time{})
		const set = 10 * time.Second
		if !note(4*time.Second, set) || !note(4*time.Second+lateSpan, set) || note(4*time.Second+2*lateSpan, set) {
			t.Errorf("clocks %s apart: a clock that was set is not forgotten", apart)
		}
	}
}

// Those of which something is wanted are counted, also where a MistServer's name comes to be known late, and one is known under
// both of its names.
func TestPendingAreCounted(t *testing.T) {
	t.Parallel()
	e := NewEnforcer(blank{}, Options{Nodes: []Node{{Name: "edge-1", API: nowhere(t)}}})
	var of []*session
	e.mu.Lock()
	n, other := e.nodes["edge-1"], e.addNode("edge-2", nil)
	for _, at := range []*node{n, other} {
		for _, id := range []string{"both", at.name} {
			s := e.insert(at, policy.Session{Node: at.name, ID: id, State: policy.SessionOpen})
			s.pursue(&errand{want: bounced})
			s.pursue(&errand{want: revoked})
			of = append(of, s)
		}
	}
	e.call(n, "edge-2")
	e.mu.Unlock()
	count := func(want int) {
		t.Helper()
		if list := e.Nodes(); len(list) != 1 || list[0].Pending != want {
			t.Errorf("not %d: %+v", want, list)
		}
	}
	count(3)
	e.mu.Lock()
	of[0].pursue(nil)
	e.forget(of[3])
	e.mu.Unlock()
	count(1)
}

// While questions come late the player of one that is to be let in may be back, and waits to be answered. Who may no longer watch, or
// was ended by hand, is told of again all the same, though MistServer says that it was told.
func TestLateQuestionsHoldUpNoEnd(t *testing.T) {
	t.Parallel()
	for w, is := range map[want]struct {
		state policy.SessionState
		told  bool
	}{
		revoked:   {policy.SessionOpen, true},
		dismissed: {policy.SessionOpen, true},
		bounced:   {policy.SessionOpen, false},
		unlocked:  {policy.SessionDenied, false},
	} {
		t.Run(w.String(), func(t *testing.T) {
			t.Parallel()
			e := NewEnforcer(blank{}, Options{Nodes: []Node{{Name: "edge-1", API: nowhere(t)}}})
			e.mu.Lock()
			defer e.mu.Unlock()
			n, now := e.nodes["edge-1"], time.Now()
			n.late.last = now
			s := e.insert(n, policy.Session{Node: "edge-1", ID: "a", State: is.state, Stream: "live", Opened: now, Decided: now})
			s.pursue(&errand{want: w, since: now, sent: now, left: momentOf(now), tries: 1, received: true})
			e.command(s, now)
			if told := n.commands.Waiting() == 1; told != is.told {
				t.Errorf("told again: %t", told)
			}
			if s.errand == nil || s.errand.retry == 0 {
				t.Error("it is never told again")
			}
		})
	}
}

// What MistServer did not receive settles nothing: its stream may be asked about again at once, however long it would take, and what
// changed before is told session by session until it is.
func TestAskingThatWasNotReceivedSettlesNothing(t *testing.T) {
	t.Parallel()
	e := NewEnforcer(blank{}, Options{Nodes: []Node{{Name: "edge-1", API: nowhere(t)}}})
	e.mu.Lock()
	n, changed := e.nodes["edge-1"], time.Now()
	n.viewers["live"] = 100 * e.o.ReaskRate // it would take 100 s
	now := changed.Add(time.Millisecond)
	f := &finding{session: e.insert(n, policy.Session{Node: "edge-1", ID: "a", State: policy.SessionOpen, Stream: "live"}), since: changed}
	if !n.invalidate("live", now) || !n.settles(f) || n.invalidate("live", now.Add(time.Minute)) {
		t.Fatal("it is not asked about, once")
	}
	e.mu.Unlock()
	n.undelivered(api.Command{Kind: api.InvalidateStream, Stream: "live"}, context.DeadlineExceeded)
	e.mu.Lock()
	defer e.mu.Unlock()
	if n.settles(f) {
		t.Error("a change is held to be settled by what nobody received")
	}
	if !n.invalidate("live", now.Add(time.Second)) {
		t.Error("the stream is held to be under way, and is not asked about again")
	}
}

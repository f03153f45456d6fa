package enforce

import (
	"net/netip"
	"testing"
	"time"

	"authhook/internal/policy"
)

// running is a decision about a session that ran when it was made.
func running(at time.Time) policy.Session {
	return policy.Session{
		Node: "edge-1", ID: "1", Instance: "one", State: policy.SessionOpen, Stream: "live", Address: netip.MustParseAddr("10.0.0.1"),
		Connector: "HLS", User: "alice", JWT: &policy.Credential{Kind: policy.CredentialJWT, User: "alice"}, Reason: policy.Entitled,
		Plan: "gold", Tags: []string{"plan:gold"}, Opened: at, Decided: at, Until: at.Add(time.Hour), Rerun: true,
	}
}

// A session that is asked about again is written when something else is to be kept of it, or its last moment grows old.
func TestWhatIsKeptAlreadyIsNotWrittenAgain(t *testing.T) {
	t.Parallel()
	now := time.Now()
	soon := now.Add(time.Second)
	for name, c := range map[string]struct {
		again  func(*policy.Session)
		writes int
	}{
		"nothing is new":  {func(*policy.Session) {}, 0},
		"a minute later":  {func(s *policy.Session) { s.Decided = now.Add(time.Minute) }, 1},
		"until":           {func(s *policy.Session) { s.Until = s.Until.Add(time.Second) }, 1},
		"plan":            {func(s *policy.Session) { s.Plan = "silver" }, 1},
		"reason":          {func(s *policy.Session) { s.Reason = policy.Grace }, 1},
		"tags":            {func(s *policy.Session) { s.Tags = []string{"plan:silver"} }, 1},
		"user":            {func(s *policy.Session) { s.User = "bob" }, 1},
		"credential":      {func(s *policy.Session) { s.Credential[0] = 1 }, 1},
		"claims":          {func(s *policy.Session) { s.JWT.User = "bob" }, 1},
		"no claims":       {func(s *policy.Session) { s.JWT = nil }, 1},
		"instance":        {func(s *policy.Session) { s.Instance = "two" }, 2}, // its end, with the process
		"address":         {func(s *policy.Session) { s.Address = netip.MustParseAddr("10.0.0.2") }, 1},
		"connector":       {func(s *policy.Session) { s.Connector = "WebRTC" }, 1},
		"stream":          {func(s *policy.Session) { s.Stream = "live+fight" }, 1},
		"metered":         {func(s *policy.Session) { s.Metered = true }, 1},
		"it is cut":       {func(s *policy.Session) { s.State, s.Reason = policy.SessionDenied, policy.CredentialUnknown }, 2}, // its end, and the denial
		"it begins again": {func(s *policy.Session) { s.Rerun, s.Opened = false, soon }, 2},                                    // its end, and the next life
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := NewEnforcer(blank{}, Options{})
			first := running(now)
			first.Rerun = false
			e.Record(&first)
			e.writer.pending = nil
			s := running(now)
			s.Decided = soon
			c.again(&s)
			e.Record(&s)
			if n := len(e.writer.pending); n != c.writes {
				t.Errorf("%d are written, not %d", n, c.writes)
			}
			if known := e.nodes["edge-1"].sessions["1"]; !known.Decided.Equal(s.Decided) {
				t.Error("the decision is not known")
			}
			again := s
			again.Rerun, again.Decided, e.writer.pending = true, s.Decided.Add(time.Second), nil
			e.Record(&again)
			if n := len(e.writer.pending); n != 0 && s.State == policy.SessionOpen {
				t.Errorf("%d are written though nothing is new since", n)
			}
		})
	}
}

// What changed in memory alone, or may have in the store alone, is written with the next decision.
func TestWhatTheStoreMayNotHaveIsWritten(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, change := range map[string]func(*Enforcer, *session){
		"its time is over": func(e *Enforcer, s *session) {
			s.Until = now
			e.schedule(s)
			e.strike(now.Add(time.Second))
			s.Until = now.Add(time.Hour) // as it was before, and as the next decision says
		},
		"a bounce is due": func(e *Enforcer, s *session) {
			short := running(now)
			short.Until = now.Add(time.Minute)
			e.Record(&short)
			e.writer.pending = nil
			e.applyToOpen(s, &finding{session: s, since: now, verdict: policy.Verdict{Due: "movie_sd", Decision: policy.Decision{
				Allow: true, Reason: policy.Entitled, User: "alice", Plan: "silver", Until: now.Add(time.Hour),
			}}})
		},
		"an earlier life's end":  func(e *Enforcer, s *session) { e.recordEnd(s.node, earlierEnd(s)); e.writer.pending = nil },
		"it was read at a start": func(e *Enforcer, s *session) { e.forget(s); e.insert(s.node, running(now)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := NewEnforcer(blank{}, Options{})
			first := running(now)
			e.Record(&first)
			e.writer.pending = nil
			s := e.nodes["edge-1"].sessions["1"]
			s.Opened = now
			change(e, s)
			again := running(now)
			again.Decided = now.Add(time.Second)
			e.Record(&again)
			if n := len(e.writer.pending); n != 1 {
				t.Errorf("%d are written", n)
			}
		})
	}
}

// earlierEnd is MistServer's word that the life before a session's was over.
func earlierEnd(s *session) policy.Session {
	s.Told, s.lateKnown = s.Opened, false
	return policy.Session{
		Node: s.Node, ID: s.ID, State: policy.SessionEnded, Told: s.Told.Add(-time.Second), Ended: s.Opened.Add(-time.Second), Duration: time.Minute,
	}
}

// A decision that changes nothing still says that its session may go on, and may itself rest on what has changed since.
func TestADecisionThatChangesNothingCounts(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		before func(*Enforcer, *session)
		is     func(*session) bool
	}{
		"it was to be ended": {
			func(_ *Enforcer, s *session) { s.pursue(&errand{want: revoked, since: now}) },
			func(s *session) bool { return s.errand == nil && !s.queued },
		},
		"facts changed while it was decided": {
			func(e *Enforcer, _ *session) { e.changed = now.Add(2 * time.Second) },
			func(s *session) bool { return s.queued },
		},
		"nothing happened": {func(*Enforcer, *session) {}, func(s *session) bool { return !s.queued }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := NewEnforcer(blank{}, Options{})
			first := running(now)
			e.Record(&first)
			s := e.nodes["edge-1"].sessions["1"]
			number := s.number
			c.before(e, s)
			again := running(now.Add(time.Second))
			again.Until = first.Until
			e.Record(&again)
			if !c.is(s) {
				t.Errorf("wants %s, queued %t", s.wants(), s.queued)
			}
			if s.number <= number {
				t.Error("what was found before it would still count")
			}
		})
	}
}

// Where nothing could be found out again, what is being found out meanwhile still counts.
func TestADecisionWithoutFactsOutdatesNothing(t *testing.T) {
	t.Parallel()
	e := NewEnforcer(blank{}, Options{})
	first := running(time.Now())
	first.Reason = policy.Unavailable
	e.Record(&first)
	s := e.nodes["edge-1"].sessions["1"]
	number := s.number
	again := first
	again.Decided = first.Decided.Add(time.Second)
	e.Record(&again)
	if s.number != number {
		t.Error("what was begun before it counts no more")
	}
	if !s.Decided.Equal(again.Decided) {
		t.Error("the decision is not known")
	}
}

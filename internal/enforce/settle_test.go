package enforce

import (
	"context"
	"testing"
	"time"

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

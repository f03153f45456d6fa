package enforce

import (
	"context"
	"errors"
	"testing"
	"time"

	"authhook/internal/policy"
)

// unrenewing is a store that cannot be reached for renewals, and takes its time to say so.
type unrenewing struct {
	blank
	asked, proceed chan struct{}
}

func (s unrenewing) RenewLeases(ctx context.Context, _ string, _ []policy.Place, _ time.Time) ([]string, error) {
	s.asked <- struct{}{}
	select {
	case <-s.proceed:
	case <-ctx.Done():
	}
	return nil, context.DeadlineExceeded
}

// limited has a plan that permits one session at a time.
type limited struct{ allowing }

func (limited) Catalog() *policy.Catalog {
	c := &policy.Catalog{Plans: []policy.Plan{{Key: "gold", MaxConcurrent: 1}}}
	c.Index()
	return c
}

// While places cannot be renewed, one asker waits for the store, and the others are told what the last one was. Who comes right
// after a renewal that failed tries none itself.
func TestOneAskerWaitsForAStoreThatRenewsNothing(t *testing.T) {
	t.Parallel()
	asRenewed := errors.New("it was away")
	store := unrenewing{asked: make(chan struct{}, 100), proceed: make(chan struct{})}
	e := NewEnforcer(store, Options{Nodes: []Node{{Name: "edge-1", API: nowhere(t)}}})
	e.decider = limited{}
	close(e.recalled) // the start is over
	e.mu.Lock()
	e.insert(e.nodes["edge-1"], policy.Session{Node: "edge-1", ID: "a", State: policy.SessionOpen, User: "alice", Plan: "gold"})
	e.mu.Unlock()
	failed := func(at time.Time) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.unrenewed.at, e.unrenewed.err = at, asRenewed
	}
	ask := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // which only who waits comes to
		defer cancel()
		now := time.Now()
		_, _, err := e.Places().AcquireLease(ctx, policy.Lease{User: "bob", Plan: "gold", Node: "edge-1", Session: "b", At: now, Until: now.Add(time.Minute)}, 1, policy.OnLimitReject)
		return err
	}

	failed(time.Now().Add(time.Hour)) // for whoever asks, it is just now
	if err := ask(); !errors.Is(err, asRenewed) || len(store.asked) > 0 {
		t.Errorf("%v, and %d tried again at once", err, len(store.asked))
	}

	failed(time.Now().Add(-time.Hour))
	first := make(chan error)
	go func() { first <- ask() }()
	select {
	case <-store.asked:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody tries again")
	}
	for range 10 {
		if err := ask(); !errors.Is(err, asRenewed) {
			t.Fatalf("another waited for the one who waits: %v", err)
		}
	}
	close(store.proceed)
	if err := <-first; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who waited is told %v", err)
	}
}

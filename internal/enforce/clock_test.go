package enforce

import (
	"testing"
	"time"
	"unsafe"

	"authhook/internal/policy"
)

// steppedBack is now as time.Now tells it once the wall clock was set back: its monotonic reading is ahead by as much.
// There is no other way to such a time than through its memory: wall and ext, a nanosecond each on the latter.
func steppedBack(by time.Duration) time.Time {
	now := time.Now()
	(*[2]int64)(unsafe.Pointer(&now))[1] += int64(by) //nolint:gosec // a test's
	return now
}

// Whatever the wall clock does, the clock strikes and comes to an end: its lock is what every trigger waits for.
func TestAClockThatIsSetBackHoldsUpNobody(t *testing.T) {
	t.Parallel()
	for _, due := range []struct {
		name    string
		session func(at time.Time) policy.Session
	}{
		{"a deadline", func(at time.Time) policy.Session {
			return policy.Session{State: policy.SessionOpen, Until: at}
		}},
		{"a denial from the store", func(at time.Time) policy.Session {
			return policy.Session{State: policy.SessionDenied, Decided: at.Add(-15 * time.Minute)}
		}},
	} {
		t.Run(due.name, func(t *testing.T) {
			t.Parallel()
			e := NewEnforcer(blank{}, Options{})
			s := due.session(time.Now().Add(time.Second).UTC().Round(0))
			s.Node, s.ID, s.Stream = "edge-1", "a", "live"
			e.mu.Lock()
			e.insert(e.nodeOf("edge-1"), s)
			e.mu.Unlock()
			struck := make(chan time.Duration, 1)
			go func() { struck <- e.strike(steppedBack(2 * time.Second)) }()
			select {
			case <-struck:
			case <-time.After(10 * time.Second):
				t.Fatal("it never ends, and holds the lock")
			}
		})
	}
}

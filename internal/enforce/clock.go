package enforce

import (
	"container/heap"
	"context"
	"time"

	"authhook/internal/policy"
)

// clock is a heap of the sessions that something is due for, the earliest first.
type clock []*session

func (c clock) Len() int           { return len(c) }
func (c clock) Less(i, j int) bool { return c[i].due < c[j].due }
func (c clock) Swap(i, j int) {
	c[i], c[j] = c[j], c[i]
	c[i].index, c[j].index = i, j
}

// Push implements heap.Interface.
func (c *clock) Push(s any) {
	s.(*session).index = len(*c)
	*c = append(*c, s.(*session))
}

// Pop implements heap.Interface.
func (c *clock) Pop() any {
	last := len(*c) - 1
	s := (*c)[last]
	(*c)[last] = nil
	*c = (*c)[:last]
	s.index = -1
	return s
}

// schedule puts a session where the clock finds it at the next moment that something is due for it. The caller holds
// the lock.
func (e *Enforcer) schedule(s *session) {
	due := dueAt(s.Until)
	if s.errand != nil && s.errand.retry.before(due) {
		due = s.errand.retry
	}
	if s.look.before(due) {
		due = s.look
	}
	if s.State == policy.SessionDenied {
		if forgotten := dueAt(s.Decided.Add(e.o.DenialsKept)); forgotten.before(due) {
			due = forgotten
		}
	}
	s.due = due
	switch {
	case due == 0 && s.index >= 0:
		heap.Remove(&e.clock, s.index)
	case due == 0:
	case s.index >= 0:
		heap.Fix(&e.clock, s.index)
	default:
		heap.Push(&e.clock, s)
	}
	if s.index == 0 {
		e.wakeClock()
	}
}

// dueAt is when a time of the wall clock comes, as that clock stands now.
func dueAt(t time.Time) moment {
	if t.IsZero() {
		return 0
	}
	now := time.Now()
	return max(momentOf(now).add(t.Round(0).Sub(now.Round(0))), 1)
}

const (
	// smallestStep is from what on a difference between the wall clock and the monotonic one is a step, and longestSleep how
	// long it may go unnoticed.
	smallestStep = 20 * time.Millisecond
	longestSleep = time.Second
)

func (e *Enforcer) wakeClock() {
	select {
	case e.clockWoken <- struct{}{}:
	default:
	}
}

// tick runs the clock: at each session's moment it is decided about again, told again, or forgotten.
func (e *Enforcer) tick(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.clockWoken:
		case <-timer.C:
		}
		timer.Reset(e.strike(time.Now()))
	}
}

// strike does what is due, and says how long it is until something is due again.
func (e *Enforcer) strike(now time.Time) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, wall := momentOf(now), now.Round(0)
	if shift := wall.Sub(start.Round(0)) - time.Duration(at); (shift - e.shift).Abs() > smallestStep {
		e.shift = shift // the wall clock was set: what was due by it is due at another moment
		for _, n := range e.all {
			for _, s := range n.sessions {
				e.schedule(s)
			}
		}
	}
	for len(e.clock) > 0 && e.clock[0].due <= at {
		s := e.clock[0]
		if s.State == policy.SessionDenied && !wall.Before(s.Decided.Round(0).Add(e.o.DenialsKept)) {
			e.forget(s) // MistServer has forgotten it as well
			continue
		}
		if !s.Until.IsZero() && !wall.Before(s.Until.Round(0)) {
			e.reconsider(s, s.Until)
			s.Until, s.written = time.Time{}, 0 // the next one comes with the next verdict
		}
		if s.look != 0 && s.look <= at {
			e.reconsider(s, s.look.time())
			s.look = 0
		}
		if s.errand != nil && s.errand.retry != 0 && s.errand.retry <= at {
			e.command(s, now)
		}
		e.schedule(s)
		if s.index >= 0 && s.due <= at { // whatever the clocks say, the next one has its turn
			s.due = at.add(time.Millisecond)
			heap.Fix(&e.clock, s.index)
		}
	}
	if len(e.clock) == 0 {
		return longestSleep
	}
	return min(time.Duration(e.clock[0].due-at), longestSleep)
}

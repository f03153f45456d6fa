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
	due := momentOf(s.Until)
	if s.errand != nil && s.errand.retry.before(due) {
		due = s.errand.retry
	}
	if s.look.before(due) {
		due = s.look
	}
	if s.State == policy.SessionDenied {
		if forgotten := momentOf(s.Decided.Add(e.o.DenialsKept)); forgotten.before(due) {
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
	at := momentOf(now)
	for len(e.clock) > 0 && e.clock[0].due <= at {
		s := e.clock[0]
		if s.State == policy.SessionDenied && !now.Before(s.Decided.Add(e.o.DenialsKept)) {
			e.forget(s) // MistServer has forgotten it as well
			continue
		}
		if !s.Until.IsZero() && !now.Before(s.Until) {
			e.reconsider(s, s.Until)
			s.Until = time.Time{} // the next one comes with the next verdict
		}
		if s.look != 0 && s.look <= at {
			e.reconsider(s, s.look.time())
			s.look = 0
		}
		if s.errand != nil && s.errand.retry != 0 && s.errand.retry <= at {
			e.command(s, now)
		}
		e.schedule(s)
	}
	if len(e.clock) == 0 {
		return time.Hour
	}
	return time.Duration(e.clock[0].due - at)
}

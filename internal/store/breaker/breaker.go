// Package breaker keeps callers from waiting for a server that does not answer: after some failures in a row no more calls are
// made, but for a probe now and then, until one got through. It asks nothing by itself and has no goroutine.
package breaker

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Breaker is closed while calls may be made, and open while they may not. Its methods may be called by many at once.
type Breaker struct {
	failuresToOpen int
	probeEvery     time.Duration

	mu sync.Mutex
	// period is counted up each time that it closes; closed says whether it lasts.
	period   uint64
	closed   bool
	failures int // in a row
	probing  bool
	probeAt  time.Time
}

// New is a breaker that opens after so many failures in a row. A probe is due that long after it opened and after each that
// failed, and up to a quarter later, so that not all processes come at once. It is closed.
func New(failuresToOpen int, probeEvery time.Duration) *Breaker {
	return &Breaker{failuresToOpen: failuresToOpen, probeEvery: probeEvery, period: 1, closed: true}
}

// NewOpen is the same, open at first: a probe is due at once.
func NewOpen(failuresToOpen int, probeEvery time.Duration) *Breaker {
	return &Breaker{failuresToOpen: failuresToOpen, probeEvery: probeEvery}
}

// Allow says whether a call may be made: then the period is not zero, and [Breaker.Report] is told of it. Where none may,
// probe says whether the caller is to probe, and to call [Breaker.Probed] or [Breaker.Unprobed].
func (b *Breaker) Allow() (period uint64, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return b.period, false
	}
	if b.probing || time.Now().Before(b.probeAt) {
		return 0, false
	}
	b.probing = true
	return 0, true
}

// Report takes in how a call went, and says whether the breaker opened by it. A call of a period that is over says nothing
// new: many may have waited for long.
func (b *Breaker) Report(period uint64, failed bool) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed || period != b.period {
		return false
	}
	if !failed {
		b.failures = 0
		return false
	}
	if b.failures++; b.failures < b.failuresToOpen {
		return false
	}
	b.closed = false
	b.later()
	return true
}

// Probed takes in how a probe went.
func (b *Breaker) Probed(failed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if failed {
		b.later()
		return
	}
	if !b.closed {
		b.period++
	}
	b.closed, b.failures = true, 0
}

// Unprobed says that a probe found out nothing. The next is due as if there had been none.
func (b *Breaker) Unprobed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}

// Answered takes in that a call got through which was made though it was open, and says whether it closed by that.
func (b *Breaker) Answered() (closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.period++
	b.closed, b.failures = true, 0
	return true
}

// Period is the one that lasts, zero while it is open: for a call that is made in any case, and is told of with
// [Breaker.Report], or with [Breaker.Answered] if it was open.
func (b *Breaker) Period() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		return 0
	}
	return b.period
}

// later sets when the next probe is due.
func (b *Breaker) later() { b.probeAt = time.Now().Add(b.probeEvery + rand.N(b.probeEvery/4+1)) }

// Shut opens it for good.
func (b *Breaker) Shut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.probing = false, true
}

// Open says whether no calls may be made.
func (b *Breaker) Open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.closed
}

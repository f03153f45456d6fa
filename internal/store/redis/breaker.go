package redis

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// failuresToOpen is how many calls in a row fail before no more are made.
	failuresToOpen = 5
	// probeEvery is how long after a failed probe, and after opening, the next one is due.
	probeEvery = time.Second
)

// breaker keeps callers from waiting for a Redis that does not answer. It is open at first, until one probe got through:
// so nobody waits for a connection to be made.
type breaker struct {
	mu       sync.Mutex
	closed   bool // calls may be made
	failures int  // in a row
	probing  bool
	probeAt  time.Time
}

// allow says whether a call may be made, and where not, whether the caller is to probe.
func (b *breaker) allow() (allowed, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return true, false
	}
	if b.probing || time.Now().Before(b.probeAt) {
		return false, false
	}
	b.probing = true
	return false, true
}

// report takes in how a call went, and says whether the breaker opened by it.
func (b *breaker) report(failed bool) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !failed {
		b.failures = 0
		return false
	}
	if b.failures++; b.failures < failuresToOpen || !b.closed {
		return false // calls that were under way when it opened say nothing new
	}
	b.closed = false
	b.later()
	return true
}

// probed takes in how a probe went.
func (b *breaker) probed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if err != nil {
		b.later()
		return
	}
	b.closed, b.failures = true, 0
}

// later sets when the next probe is due, spread so that replicas do not come all at once.
func (b *breaker) later() { b.probeAt = time.Now().Add(probeEvery + rand.N(probeEvery/4)) }

// shut opens it for good.
func (b *breaker) shut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.probing = false, true
}

func (b *breaker) open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.closed
}

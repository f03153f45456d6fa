package cache

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"authhook/internal/policy"
	"authhook/internal/store"
)

var (
	errBusy   = fmt.Errorf("%w: too many facts are being read", store.ErrBusy)
	errClosed = fmt.Errorf("%w: the cache is closed", store.ErrUnavailable)
	errBroken = fmt.Errorf("%w: reading facts ended without an answer", store.ErrUnavailable)
)

// flight is one load and those who wait for it.
type flight struct {
	question
	done chan struct{} // closed once what follows is settled
	// began is the number of its read, zero while it waits for its turn; readAt is when.
	began  uint64
	readAt moment

	credential *policy.Credential
	user       *policy.UserFacts
	err        error
	// outdated: something of this changed after the read began.
	outdated bool
}

// load asks the source, together with everyone who asks the same.
func (c *Cache) load(ctx context.Context, q question) (*policy.Credential, *policy.UserFacts, error) {
	c.mu.Lock()
	asked := c.number
	if c.flights[q] == nil { // what was being read when it was not found may be there by now
		if v := c.find(q); c.now() < v.freshUntil {
			c.mu.Unlock()
			return v.credential.facts(), v.user.facts(), nil
		}
	}
	f := c.join(ctx, q)
	c.mu.Unlock()
	for {
		if f == nil {
			return nil, nil, errClosed
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("waiting for facts: %w", ctx.Err())
		}
		// What was outdated while it was read is still good for those who asked before the read began. Any other asker
		// may have asked after the change, and asks again: at most once, since the next flight begins after its ask.
		if f.err != nil || !f.outdated || asked < f.began {
			return f.credential, f.user, f.err
		}
		c.mu.Lock()
		f = c.join(ctx, q)
		c.mu.Unlock()
	}
}

// loadAside loads for nobody in particular, unless it is under way or there is no free place.
func (c *Cache) loadAside(ctx context.Context, q question) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.flights[q] != nil {
		return
	}
	select {
	case c.places <- struct{}{}:
		c.launch(ctx, q, true)
	default:
	}
}

// join is the load of a question, begun if there is none; nil once the cache is closed. The caller holds mu.
func (c *Cache) join(ctx context.Context, q question) *flight {
	if f := c.flights[q]; f != nil {
		return f
	}
	if c.closed {
		return nil
	}
	return c.launch(ctx, q, false)
}

// launch begins a load, which has its place already or waits for one. The caller holds mu.
func (c *Cache) launch(ctx context.Context, q question, placed bool) *flight {
	f := &flight{question: q, done: make(chan struct{}), err: errBroken}
	c.flights[q] = f
	c.loaders.Go(func() { c.fly(context.WithoutCancel(ctx), f, placed) })
	return f
}

func (c *Cache) fly(ctx context.Context, f *flight, placed bool) {
	defer c.land(f) // also when the source panics or ends the goroutine: nobody waits for ever
	if !placed && !c.takePlace() {
		f.err = errBusy
		return
	}
	defer func() { <-c.places }()

	ctx, cancel := context.WithTimeout(ctx, c.o.LoadTimeout)
	defer cancel()
	defer context.AfterFunc(c.closing, cancel)()

	c.mu.Lock()
	c.number++
	c.reading++
	f.began, f.readAt = c.number, c.now()
	c.mu.Unlock()

	f.credential, f.user, f.err = c.read(ctx, f.question)
	if f.err != nil && ctx.Err() != nil && !errors.Is(f.err, store.ErrUnavailable) {
		// Said as such, lest an asker take the load's deadline for its own.
		f.err = fmt.Errorf("%w: reading facts: %w", store.ErrUnavailable, f.err)
	}
}

func (c *Cache) read(ctx context.Context, q question) (credential *policy.Credential, user *policy.UserFacts, err error) {
	defer func() {
		if p := recover(); p != nil {
			credential, user, err = nil, nil, fmt.Errorf("%w: reading facts panicked: %v", store.ErrUnavailable, p)
		}
	}()
	if q.kind == byCredential {
		return c.next.FactsByCredential(ctx, q.hash)
	}
	user, err = c.next.FactsByUser(ctx, q.user)
	return nil, user, err
}

// takePlace waits for a place among the loads that run, for no longer than LoadWait.
func (c *Cache) takePlace() bool {
	select {
	case c.places <- struct{}{}:
		return true
	default:
	}
	wait := time.NewTimer(c.o.LoadWait)
	defer wait.Stop()
	select {
	case c.places <- struct{}{}:
		return true
	case <-wait.C:
	case <-c.closing.Done():
	}
	return false
}

// land settles a load: keeps what it read, as far as that is not outdated, and wakes those who wait.
func (c *Cache) land(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(f.done)
	if c.flights[f.question] == f {
		delete(c.flights, f.question)
	}
	if f.began == 0 {
		c.counts.refused.Add(1)
		return
	}
	switch {
	case errors.Is(f.err, store.ErrBusy): // further below: as if it had found no place here
		f.credential, f.user = nil, nil
		c.counts.refused.Add(1)
	case f.err != nil:
		f.credential, f.user = nil, nil
		c.counts.loads.Add(1)
		c.counts.loadErrors.Add(1)
		c.outage.failedAt.Store(int64(c.now()))
	default:
		c.counts.loads.Add(1)
		c.outage.failedAt.Store(int64(never))
		c.keep(f)
		if f.outdated {
			c.counts.outdated.Add(1)
		}
	}
	if c.reading--; c.reading == 0 {
		clear(c.changed) // no read is left that they could outdate
	}
}

// keep puts what a load read on the shelves. A part that changed after the read began is not kept, and makes the load
// outdated. The user comes first, so that nobody finds a new credential with old facts and has them renewed again.
func (c *Cache) keep(f *flight) {
	user := f.question.user
	if f.credential != nil {
		user = f.credential.User
	}
	if f.user != nil {
		if c.changedSince(question{kind: byUser, user: user}, f.began) {
			f.outdated = true
		} else {
			exists := f.user.Status != ""
			c.users.put(user, keep(&c.o, f.user, exists, f.began, f.readAt), exists)
		}
	}
	if f.kind == byCredential {
		if c.changedSince(f.question, f.began) {
			f.outdated = true
		} else {
			exists := f.credential != nil
			c.credentials.put(f.hash, keep(&c.o, f.credential, exists, f.began, f.readAt), exists)
		}
	}
}

// outage remembers that the source could not be read.
type outage struct {
	// failedAt is when a load failed, never when the last one did not.
	failedAt atomic.Int64
	probedAt atomic.Int64
}

const (
	// outageMemory is how long a failed load speaks for the source. Each further failure renews it.
	outageMemory = 5 * time.Second
	// probeEvery is how often the source is tried meanwhile for those whose facts would do.
	probeEvery = 100 * time.Millisecond
)

func (o *outage) lasts(now moment) bool {
	failed := moment(o.failedAt.Load())
	return failed != never && now-failed < outageMemory
}

func (o *outage) claimProbe(now moment) bool {
	probed := o.probedAt.Load()
	return now-moment(probed) >= probeEvery && o.probedAt.CompareAndSwap(probed, int64(now))
}

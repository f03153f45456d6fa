// Package cache keeps facts in process: a decorator of [policy.Source] that answers from memory what it has read.
//
// Kept are facts, never verdicts, so nothing here can outlive an entitlement: the clock decides at each decision.
// Two things are kept, apart from each other, so that one change of a user outdates the view of each credential of
// that user: under a credential's hash, the credential; under a user's id, the user's facts. What does not exist is
// kept in a place of its own, so that a stranger who makes up credentials pushes out nobody who exists.
//
//   - Bounded by entries: [Options.MaxEntries] credentials and as many users, and a sixteenth of that for the absent.
//   - Facts are used for [Options.FreshFor] after they were read, and read again early, off the asker's path, when they
//     are asked for near the end of it. Absence is believed for [Options.AbsentFor].
//   - While the source is unavailable, facts are used for [Options.StaleFor] longer. Absence is not.
//   - A change outdates facts at once. An ask that begins after [Cache.ChangedUser], [Cache.ChangedCredential] or
//     [Cache.DropAll] returned is never answered with facts that were read before it was called, whatever loads were
//     under way (changes.go says how).
//
// Many askers of one thing share one load. It has a deadline of its own and ends with no asker; each asker waits with
// its own context. Errors are shared by those who wait, and never kept.
//
// Facts come from the source that is decorated; word of changes comes from package feed. The package must never make
// up a fact, and never return an absence because of an error.
package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// Options are the settings of a [Cache]. Those left zero have the default named.
type Options struct {
	// MaxEntries is how many credentials, and how many users, are kept: 100,000 of each.
	MaxEntries int
	// FreshFor is the hard limit on the age of facts while the source can be read: 1 min. It bounds what a lost message
	// of the change feed can cost.
	FreshFor time.Duration
	// StaleFor is how much older facts may be while the source is unavailable: 10 min, which is also how long
	// MistServer remembers a denial: an outage of a few minutes turns nobody away whom this process knew.
	// Negative: no older at all.
	StaleFor time.Duration
	// AbsentFor is how long it is believed that there is no such credential or user: 5 s, and never more than FreshFor.
	AbsentFor time.Duration
	// LoadTimeout is the deadline of one load, whoever asked for it: 2 s.
	LoadTimeout time.Duration
	// MaxLoads is how many loads run at once: 64.
	MaxLoads int
	// LoadWait is how long a load waits for its turn, before its askers get [store.ErrUnavailable]: 500 ms.
	LoadWait time.Duration
	// Now is the clock: time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	orElse(&o.MaxEntries, 100_000)
	orElse(&o.FreshFor, time.Minute)
	if o.StaleFor == 0 {
		o.StaleFor = 10 * time.Minute
	}
	o.StaleFor = max(o.StaleFor, 0)
	orElse(&o.AbsentFor, 5*time.Second)
	o.AbsentFor = min(o.AbsentFor, o.FreshFor)
	orElse(&o.LoadTimeout, 2*time.Second)
	orElse(&o.MaxLoads, 64)
	orElse(&o.LoadWait, 500*time.Millisecond)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func orElse[T int | time.Duration](v *T, byDefault T) {
	if *v <= 0 {
		*v = byDefault
	}
}

// Cache keeps facts in process. Its methods may be called by many at once.
type Cache struct {
	next policy.Source
	o    Options
	// start is the moment from which ages are counted.
	start time.Time

	credentials shelf[policy.CredentialHash, policy.Credential]
	users       shelf[string, policy.UserFacts]
	// dropped is the number of the last DropAll: what was read before it counts for nothing.
	dropped atomic.Uint64

	// mu guards what follows and every write to the shelves. Reading a shelf takes no lock.
	mu sync.Mutex
	// number grows with each change and with each read that begins, so that any two of them have an order.
	number uint64
	// flights are the loads that an asker may still join.
	flights map[question]*flight
	// reading is how many loads have begun to read.
	reading int
	// changed is the number of the last change of each subject that changed while something was being read; forgotten
	// stands for the changes that are no longer listed there.
	changed   map[question]uint64
	forgotten uint64
	closed    bool

	places  chan struct{} // one for each load that may run
	closing context.Context
	close   context.CancelFunc
	loaders sync.WaitGroup
	outage  outage
	counts  counts
}

// New is a cache of what next reads. [Cache.Close] ends it.
func New(next policy.Source, o Options) *Cache {
	o = o.withDefaults()
	c := &Cache{
		next: next, o: o, start: o.Now(),
		credentials: newShelf[policy.CredentialHash, policy.Credential](o.MaxEntries),
		users:       newShelf[string, policy.UserFacts](o.MaxEntries),
		flights:     make(map[question]*flight),
		changed:     make(map[question]uint64),
		places:      make(chan struct{}, o.MaxLoads),
	}
	// Loads are shared, so no asker's context can be their parent.
	c.closing, c.close = context.WithCancel(context.Background())
	c.outage.failedAt.Store(int64(never))
	return c
}

// Close ends the loads that are running and waits for them. Afterwards nothing is read any more: what is kept is still
// answered, all else is [store.ErrUnavailable].
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.close()
	c.loaders.Wait()
}

// FactsByCredential implements [policy.Source].
func (c *Cache) FactsByCredential(ctx context.Context, hash policy.CredentialHash) (*policy.Credential, *policy.UserFacts, error) {
	return c.facts(ctx, question{kind: byCredential, hash: hash})
}

// FactsByUser implements [policy.Source].
func (c *Cache) FactsByUser(ctx context.Context, user string) (*policy.UserFacts, error) {
	_, facts, err := c.facts(ctx, question{kind: byUser, user: user})
	return facts, err
}

func (c *Cache) facts(ctx context.Context, q question) (*policy.Credential, *policy.UserFacts, error) {
	now := c.now()
	v := c.find(q)
	if now < v.freshUntil {
		c.counts.hits.Add(1)
		if now >= v.renewAt && v.claimRenewal() {
			c.loadAside(ctx, q)
		}
		return v.credential.facts(), v.user.facts(), nil
	}
	if now < v.staleUntil && c.outage.lasts(now) {
		// It was just seen that the source cannot be read: nobody waits to see it again, but now and then one ask tries.
		if c.outage.claimProbe(now) {
			c.loadAside(ctx, q)
		}
		c.counts.stale.Add(1)
		return v.credential.facts(), v.user.facts(), nil
	}

	if ctx.Err() != nil {
		return nil, nil, fmt.Errorf("asking for facts: %w", ctx.Err())
	}
	c.counts.misses.Add(1)
	var (
		credential *policy.Credential
		user       *policy.UserFacts
		err        error
	)
	if known := v.credential; q.kind == byCredential && known.facts() != nil && now < known.freshUntil {
		credential = known.fact
		_, user, err = c.load(ctx, question{kind: byUser, user: credential.User})
	} else {
		credential, user, err = c.load(ctx, q)
	}
	if err == nil {
		return credential, user, nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, nil, err // the asker left: that says nothing about the source
	}
	if now = c.now(); errors.Is(err, store.ErrBusy) && !c.outage.lasts(now) {
		return nil, nil, err // the load found no place, and nobody that the source cannot be read
	}
	// Looked up again: what changed meanwhile is no longer there.
	if v = c.find(q); now < v.staleUntil {
		c.counts.stale.Add(1)
		return v.credential.facts(), v.user.facts(), nil
	}
	return nil, nil, err
}

// now is how long the cache has existed.
func (c *Cache) now() moment { return c.o.Now().Sub(c.start) }

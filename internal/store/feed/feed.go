// Package feed follows the change feed and says what changed.
//
// The feed is the truth about changes: an entry is written in the transaction that changes the facts, and entries are
// numbered without a hole in the order of their commits. A [Follower] reads it from the last number, every
// [Options.Every], and at once when [Follower.Wake] is called: whatever calls it (PostgreSQL's notify, Redis, the very
// process that made the change) is a hint, and none is needed.
//
// What it promises:
//
//   - Every change after the position it began at is handled, in the order of the numbers, one page after the other.
//   - A change is handled at least once. The position moves on once its handler returned: a follower that begins at a
//     number kept from there sees the last page again when that was cut short.
//   - When it cannot promise that, it says so by calling gap: entries are missing, or the feed is another one than
//     before (a database restored). Whoever keeps anything drops all of it. So it does at the start, when it begins at
//     [Latest]: what was read before the position was known may lack a change that came before it.
//
// Not seen is a restored database that was written to again beyond the position before the next read: restore with the
// service stopped, or start it anew afterwards.
//
// While the feed cannot be read, nobody knows what changes: [Follower.CaughtUp] says since when. The follower only keeps
// trying. That old facts are then not used for ever is the business of who keeps them (store/cache bounds their age).
package feed

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"authhook/internal/store"
)

// Reader reads the change feed.
type Reader interface {
	// Changes are the entries numbered above after, in order, at most limit of them; none when there are none. The error
	// is [store.ErrFeedGap] when entries above after are missing.
	Changes(ctx context.Context, after int64, limit int) ([]store.Change, error)
	// LastChange is the number of the last entry; 0 when there was none yet.
	LastChange(ctx context.Context) (int64, error)
}

// Latest begins at the end of the feed, wherever that is.
const Latest int64 = -1

// Options are the settings of a [Follower]. Those left zero have the default named.
type Options struct {
	// Every is how often the feed is read without being woken: 200 ms.
	Every time.Duration
	// Rest is how long after a read the next one begins at the earliest, also when the follower is woken: 5 ms. However many
	// write to the feed, and however many follow it, each reads it 200 times a second at most.
	Rest time.Duration
	// Page is how many entries are read at once: 500.
	Page int
	// RetryAtMost bounds the wait after a failed read, which begins at Every and doubles: 2 s.
	RetryAtMost time.Duration
	// ReadTimeout is the deadline of one read: 5 s.
	ReadTimeout time.Duration
	// VerifyEvery is how often a quiet feed's last number is compared with the position, besides after each failed
	// read: 5 s. A restored database shows itself so.
	VerifyEvery time.Duration
	// Log gets a line when the feed cannot be read any more, when it can again, and at each gap: discarded.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	orElse(&o.Every, 200*time.Millisecond)
	orElse(&o.Rest, 5*time.Millisecond)
	orElse(&o.Page, 500)
	orElse(&o.RetryAtMost, 2*time.Second)
	o.RetryAtMost = max(o.RetryAtMost, o.Every)
	orElse(&o.ReadTimeout, 5*time.Second)
	orElse(&o.VerifyEvery, 5*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func orElse[T int | time.Duration](v *T, byDefault T) {
	if *v <= 0 {
		*v = byDefault
	}
}

// Follower follows the feed. It is made by [New] and runs in [Follower.Run].
type Follower struct {
	reader Reader
	o      Options
	handle func(context.Context, []store.Change)
	gap    func()

	wake     chan struct{}
	started  chan struct{}
	running  atomic.Bool
	position atomic.Int64 // Latest until it is known
	caughtUp atomic.Pointer[time.Time]
	failures atomic.Uint64

	// Run's own.
	failed   int       // reads that failed one after the other
	verified time.Time // when the position was last seen not to lie beyond the feed's end
}

// New is a follower that begins after the number from, or at the feed's end: [Latest]. Both functions are called from
// Run's goroutine, one at a time. handle gets a page of changes, which it may keep; its context is Run's.
func New(reader Reader, from int64, o Options, handle func(context.Context, []store.Change), gap func()) *Follower {
	f := &Follower{
		reader: reader, o: o.withDefaults(), handle: handle, gap: gap,
		wake: make(chan struct{}, 1), started: make(chan struct{}),
	}
	f.position.Store(max(from, Latest))
	return f
}

// Run follows the feed until its context ends, and returns nil then. It runs once.
func (f *Follower) Run(ctx context.Context) error {
	if f.running.Swap(true) {
		return errors.New("this follower ran before")
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-f.wake:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-rest.C:
		}
		select {
		case <-f.wake: // this read serves it as well
		default:
		}
		err := f.catchUp(ctx)
		if ctx.Err() != nil {
			return nil
		}
		timer.Reset(f.next(err))
		rest.Reset(f.o.Rest)
	}
}

// Wake has the feed read at once, save for the rest. It never waits, and many calls are one while none was heeded.
func (f *Follower) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Started is closed once the position is known, and with [Latest] everything kept before was dropped: from then on no
// change is missed.
func (f *Follower) Started() <-chan struct{} { return f.started }

// Position is the number of the last change that was handled; [Latest] while it is not known.
func (f *Follower) Position() int64 { return f.position.Load() }

// CaughtUp is when the follower last began a read that reached the feed's end: what changed before is handled. Zero
// while it never did. time.Since of it is how far behind the follower may be.
func (f *Follower) CaughtUp() time.Time {
	if t := f.caughtUp.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// Failures is how many reads failed.
func (f *Follower) Failures() uint64 { return f.failures.Load() }

// next is how long to wait for the next read, given how the last one ended.
func (f *Follower) next(err error) time.Duration {
	if err == nil {
		if f.failed > 0 {
			f.o.Log.Info("the change feed can be read again", "failures", f.failed)
		}
		f.failed = 0
		return f.o.Every
	}
	f.failures.Add(1)
	if f.failed++; f.failed == 1 {
		f.o.Log.Warn("the change feed cannot be read", "error", err)
	}
	wait := f.o.Every
	for range f.failed - 1 {
		if wait *= 2; wait >= f.o.RetryAtMost {
			wait = f.o.RetryAtMost
			break
		}
	}
	return wait/2 + rand.N(wait/2+1) // so that replicas do not come back all at once
}

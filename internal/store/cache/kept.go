package cache

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"authhook/internal/policy"
)

// moment is a time, as what has passed since the cache was made.
type moment = time.Duration

const never moment = math.MaxInt64

// question is what can be asked of a source, and a subject that can change. It is the key of what is shared.
type question struct {
	kind kind
	hash policy.CredentialHash // byCredential
	user string                // byUser
}

type kind uint8

const (
	byCredential kind = iota + 1
	byUser
)

// kept is a fact in memory. It is never changed, only replaced.
type kept[T any] struct {
	fact *T // nil: there is no such thing
	// began is the number of the read that it comes from.
	began uint64
	// From renewAt on it is worth reading again early, up to freshUntil it is used as it is, up to staleUntil while
	// the source is unavailable.
	renewAt, freshUntil, staleUntil moment
	renewing                        atomic.Bool
}

// facts is nil for what is not kept and for what does not exist.
func (k *kept[T]) facts() *T {
	if k == nil {
		return nil
	}
	return k.fact
}

// keep is a fact with its times, read at a moment.
func keep[T any](o *Options, fact *T, exists bool, began uint64, readAt moment) *kept[T] {
	k := &kept[T]{fact: fact, began: began}
	if !exists {
		k.renewAt, k.freshUntil, k.staleUntil = never, readAt+o.AbsentFor, readAt+o.AbsentFor
		return k
	}
	// Spread, so that what was read in one burst is not read again in one.
	k.renewAt = readAt + o.FreshFor/2 + rand.N(o.FreshFor/4+1)
	k.freshUntil = readAt + o.FreshFor
	k.staleUntil = k.freshUntil + o.StaleFor
	return k
}

// shelf is where facts of one kind lie. Otter bounds it and chooses what goes; the ages and the loads are ours, because
// its own loader runs on the first asker's goroutine and context, and its expiry would drop what an outage needs.
type shelf[K comparable, T any] struct {
	present, absent *otter.Cache[K, *kept[T]]
}

func newShelf[K comparable, T any](maxEntries int) shelf[K, T] {
	bounded := func(size int) *otter.Cache[K, *kept[T]] {
		return otter.Must(&otter.Options[K, *kept[T]]{
			MaximumSize: size,
			Executor:    func(fn func()) { fn() }, // no goroutines that nobody waits for
		})
	}
	return shelf[K, T]{present: bounded(maxEntries), absent: bounded(max(maxEntries/16, 64))}
}

// find is what is kept under a key and was read after the given number; else nil.
func (s *shelf[K, T]) find(key K, after uint64) *kept[T] {
	k, ok := s.present.GetIfPresent(key)
	if !ok {
		if k, ok = s.absent.GetIfPresent(key); !ok {
			return nil
		}
	}
	if k.began <= after {
		return nil
	}
	return k
}

// put keeps a fact, unless what is kept was read later.
func (s *shelf[K, T]) put(key K, k *kept[T], exists bool) {
	if old := s.find(key, 0); old != nil && old.began > k.began {
		return
	}
	to, from := s.present, s.absent
	if !exists {
		to, from = from, to
	}
	to.Set(key, k)
	from.Invalidate(key)
}

func (s *shelf[K, T]) remove(key K) {
	s.present.Invalidate(key)
	s.absent.Invalidate(key)
}

// view is what is kept for a question, with the moments up to which all of it is good: zero when a part is missing.
type view struct {
	credential                      *kept[policy.Credential]
	user                            *kept[policy.UserFacts]
	renewAt, freshUntil, staleUntil moment
}

func (c *Cache) find(q question) view {
	v := view{renewAt: never, freshUntil: never, staleUntil: never}
	dropped := c.dropped.Load()
	user := q.user
	if q.kind == byCredential {
		k := c.credentials.find(q.hash, dropped)
		if k == nil {
			return view{}
		}
		v.credential, v.renewAt, v.freshUntil, v.staleUntil = k, k.renewAt, k.freshUntil, k.staleUntil
		if k.fact == nil {
			return v
		}
		user = k.fact.User
	}
	k := c.users.find(user, dropped)
	if k == nil {
		return view{credential: v.credential}
	}
	v.user = k
	v.renewAt, v.freshUntil, v.staleUntil = min(v.renewAt, k.renewAt), min(v.freshUntil, k.freshUntil), min(v.staleUntil, k.staleUntil)
	return v
}

// claimRenewal says whether the caller is the first to find that this is worth reading again. There is one try; should
// it fail, the facts are read again when they stop being fresh.
func (v view) claimRenewal() bool {
	if v.credential != nil {
		return v.credential.renewing.CompareAndSwap(false, true)
	}
	return v.user.renewing.CompareAndSwap(false, true)
}

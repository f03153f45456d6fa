package cache_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"authhook/internal/store/cache"
)

// The same promise with everything at once on all processors: once Changed… has returned with the source at a version,
// no ask that begins afterwards is answered with a lower one.
func TestNoAskSeesTheOutdatedUnderLoad(t *testing.T) {
	const (
		users, writers, askers = 8, 2, 6
		asks                   = 6_000
	)
	s := newSource().with(users)
	dawdle := func() {
		for range rand.IntN(8) {
			runtime.Gosched()
		}
	}
	s.before = func(context.Context) error { dawdle(); return nil }
	s.after = func(context.Context) { dawdle() }
	// So few entries and so short a time that eviction, renewal and expiry all take part.
	c := cache.New(s, cache.Options{MaxEntries: 6, FreshFor: time.Millisecond, LoadTimeout: time.Minute, LoadWait: time.Minute, MaxLoads: 3})
	defer c.Close()

	var versions atomic.Int64
	versions.Store(1)
	// What may at least be expected of each: written by its own writer only, after Changed… returned.
	var userFloor, credentialFloor [users]atomic.Int64
	done := make(chan struct{})
	var changing, asking sync.WaitGroup
	for w := range writers {
		changing.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				i := w + writers*rand.IntN(users/writers)
				v := int(versions.Add(1))
				switch n % 8 {
				case 0: // nobody says which, only that everything is outdated
					s.setUser(userOf(i), v)
					c.DropAll()
					userFloor[i].Store(int64(v))
				case 1, 2: // bound to another user
					s.setCredential(hashOf(i), userOf(rand.IntN(users)), v)
					c.ChangedCredential(hashOf(i))
					credentialFloor[i].Store(int64(v))
				default:
					s.setUser(userOf(i), v)
					c.ChangedUser(userOf(i))
					userFloor[i].Store(int64(v))
				}
				dawdle()
			}
		})
	}
	floors := func() (f [users]int64) {
		for i := range f {
			f[i] = userFloor[i].Load()
		}
		return f
	}
	index := map[string]int{}
	for i := range users {
		index[userOf(i)] = i
	}
	for range askers {
		asking.Go(func() {
			for range asks {
				i := rand.IntN(users)
				due, dueCredential := floors(), credentialFloor[i].Load()
				if rand.IntN(3) == 0 {
					user, err := c.FactsByUser(t.Context(), userOf(i))
					if err != nil || int64(user.Used) < due[i] {
						t.Errorf("user %d: %v %v, %d was due", i, user, err, due[i])
						return
					}
					continue
				}
				credential, user, err := c.FactsByCredential(t.Context(), hashOf(i))
				switch {
				case err != nil:
					t.Errorf("credential %d: %v", i, err)
					return
				case int64(version(credential)) < dueCredential:
					t.Errorf("credential %d: version %s, %d was due", i, credential.ID, dueCredential)
					return
				case user.User != credential.User || int64(user.Used) < due[index[user.User]]:
					t.Errorf("credential %d of %s: %v, %d was due", i, credential.User, user, due[index[user.User]])
					return
				}
			}
		})
	}
	asking.Wait()
	close(done)
	changing.Wait()
	if stats := c.Stats(); stats.Hits == 0 || stats.Outdated == 0 {
		t.Errorf("the races under test did not happen: %+v", stats)
	} else {
		t.Logf("%+v", stats)
	}
}

package cache_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/store"
	"authhook/internal/store/cache"
)

func TestAnOutageUsesKnownFacts(t *testing.T) {
	away := errors.New("connection refused")
	o := cache.Options{FreshFor: time.Minute, StaleFor: 10 * time.Minute, AbsentFor: 5 * time.Second}
	inBubble(t, o, func(t *testing.T, s *source, c *cache.Cache) {
		_, known := byCredential(t, c, 1)
		byCredential(t, c, 77)
		byCredential(t, c, 2)
		s.before = func(context.Context) error { return away }
		c.ChangedUser(userOf(2))

		time.Sleep(time.Minute)
		_, user := byCredential(t, c, 1)
		require.Same(t, known, user)
		_, _, err := c.FactsByCredential(t.Context(), hashOf(3))
		require.ErrorIs(t, err, away, "nothing is known of this one")
		_, _, err = c.FactsByCredential(t.Context(), hashOf(77))
		require.ErrorIs(t, err, away, "an absence is not held through an outage")
		_, _, err = c.FactsByCredential(t.Context(), hashOf(2))
		require.ErrorIs(t, err, away, "what is known to have changed is not used")

		time.Sleep(10*time.Minute - time.Nanosecond)
		byCredential(t, c, 1)
		time.Sleep(time.Nanosecond)
		_, _, err = c.FactsByCredential(t.Context(), hashOf(1))
		require.ErrorIs(t, err, away, "too old even for an outage")
	})
}

func TestAnOutageEndsWithTheFirstRead(t *testing.T) {
	inBubble(t, cache.Options{FreshFor: time.Minute}, func(t *testing.T, s *source, c *cache.Cache) {
		byCredential(t, c, 1)
		byCredential(t, c, 2)
		hangs := true
		s.before = func(ctx context.Context) error {
			if hangs {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		time.Sleep(time.Minute)
		byCredential(t, c, 1) // waits for the load's deadline
		s.loads()
		began := time.Now()
		for range 1000 {
			byCredential(t, c, 1)
			byCredential(t, c, 2)
		}
		require.Zero(t, time.Since(began), "an asker waited although the source is known to be away")
		synctest.Wait()
		require.Equal(t, "1 by credential, 0 by user", s.loads(), "one probe")

		time.Sleep(2 * time.Second) // the probe's deadline
		synctest.Wait()
		hangs = false
		s.setUser(userOf(1), 2)
		s.setUser(userOf(2), 2)
		byCredential(t, c, 1) // answered from memory, and probes
		synctest.Wait()
		_, user := byCredential(t, c, 1)
		require.EqualValues(t, 2, user.Used)
		_, user = byCredential(t, c, 2)
		require.EqualValues(t, 2, user.Used)
	})
}

func TestStaleForCanBeNothing(t *testing.T) {
	inBubble(t, cache.Options{FreshFor: time.Minute, StaleFor: -1}, func(t *testing.T, s *source, c *cache.Cache) {
		byCredential(t, c, 1)
		s.before = func(context.Context) error { return store.ErrUnavailable }
		time.Sleep(time.Minute - time.Nanosecond)
		byCredential(t, c, 1)
		time.Sleep(time.Nanosecond)
		_, _, err := c.FactsByCredential(t.Context(), hashOf(1))
		require.ErrorIs(t, err, store.ErrUnavailable)
	})
}

// That the database was too busy to be asked is no outage: facts that are known are not used for it beyond their time.
func TestABusyDatabaseIsNotAway(t *testing.T) {
	inBubble(t, cache.Options{FreshFor: time.Minute}, func(t *testing.T, s *source, c *cache.Cache) {
		byCredential(t, c, 1)
		s.before = func(context.Context) error { return store.ErrBusy }
		_, _, err := c.FactsByCredential(t.Context(), hashOf(2))
		require.ErrorIs(t, err, store.ErrUnavailable)
		require.EqualValues(t, 1, c.Stats().Refused)
		require.Zero(t, c.Stats().LoadErrors)
		time.Sleep(time.Minute - time.Second)
		_, _, err = c.FactsByCredential(t.Context(), hashOf(2))
		require.ErrorIs(t, err, store.ErrBusy)
		s.before = nil
		s.setUser(userOf(1), 2)
		time.Sleep(time.Second) // an outage would be remembered for 5
		_, user := byCredential(t, c, 1)
		require.EqualValues(t, 2, user.Used, "it is read")
	})
}

// Nor is who finds no turn, here or before the database, answered from facts beyond their time: unless it is seen meanwhile that the
// database is away.
func TestACrowdMakesFactsNoOlder(t *testing.T) {
	o := cache.Options{FreshFor: time.Minute, MaxLoads: 2, LoadWait: 300 * time.Millisecond}
	for name, test := range map[string]struct {
		others []error // what becomes of the loads of others, a second after they began
		own    error   // what becomes of one's own, two seconds after
		want   error
	}{
		"here":                    {[]error{nil, nil}, nil, store.ErrUnavailable},
		"before the database":     {nil, store.ErrBusy, store.ErrBusy},
		"before one that is away": {[]error{store.ErrUnavailable}, store.ErrBusy, nil},
		"before one that answers": {[]error{nil}, store.ErrBusy, store.ErrBusy},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, o, func(t *testing.T, s *source, c *cache.Cache) {
				byUser(t, c, 1)
				time.Sleep(time.Minute)
				for i, becomes := range test.others {
					s.before = func(context.Context) error { time.Sleep(time.Second); return becomes }
					go c.FactsByUser(t.Context(), userOf(2+i))
					synctest.Wait()
				}
				s.before = func(context.Context) error { time.Sleep(2 * time.Second); return test.own }
				_, err := c.FactsByUser(t.Context(), userOf(1))
				require.ErrorIs(t, err, test.want)
				synctest.Wait()
			})
		})
	}
}

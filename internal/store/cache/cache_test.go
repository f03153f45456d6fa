package cache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/cache"
)

var _ policy.Source = (*cache.Cache)(nil)

// inBubble runs a test with a clock of its own and a cache of ten users.
func inBubble(t *testing.T, o cache.Options, f func(t *testing.T, s *source, c *cache.Cache)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSource().with(10)
		c := cache.New(s, o)
		defer c.Close()
		f(t, s, c)
	})
}

func byCredential(t *testing.T, c *cache.Cache, i int) (*policy.Credential, *policy.UserFacts) {
	t.Helper()
	credential, user, err := c.FactsByCredential(t.Context(), hashOf(i))
	require.NoError(t, err)
	return credential, user
}

func byUser(t *testing.T, c *cache.Cache, i int) *policy.UserFacts {
	t.Helper()
	user, err := c.FactsByUser(t.Context(), userOf(i))
	require.NoError(t, err)
	return user
}

func TestOneReadFillsBoth(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		credential, user := byCredential(t, c, 1)
		require.Equal(t, userOf(1), credential.User)
		require.Equal(t, userOf(1), user.User)
		require.Equal(t, "1 by credential, 0 by user", s.loads())

		again, _ := byCredential(t, c, 1)
		require.Same(t, credential, again)
		require.Same(t, user, byUser(t, c, 1))
		require.Equal(t, "0 by credential, 0 by user", s.loads())
	})
}

func TestAChangedUserIsReadAlone(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		s.setCredential(hashOf(100), userOf(1), 1) // a second credential of the same user
		byCredential(t, c, 1)
		byCredential(t, c, 100)
		s.loads()

		s.setUser(userOf(1), 2)
		c.ChangedUser(userOf(1))
		_, user := byCredential(t, c, 1)
		require.EqualValues(t, 2, user.Used)
		_, user = byCredential(t, c, 100)
		require.EqualValues(t, 2, user.Used)
		require.Equal(t, "0 by credential, 1 by user", s.loads())
	})
}

func TestAChangedCredentialIsReadAgain(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		byCredential(t, c, 1)
		s.setCredential(hashOf(1), userOf(2), 2)
		c.ChangedCredential(hashOf(1))
		credential, user := byCredential(t, c, 1)
		require.Equal(t, 2, version(credential))
		require.Equal(t, userOf(2), user.User)
	})
}

func TestDropAllOutdatesEverything(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		for i := range 12 { // two of them absent
			byCredential(t, c, i)
		}
		s.loads()
		c.DropAll()
		for i := range 12 {
			byCredential(t, c, i)
			byCredential(t, c, i)
		}
		require.Equal(t, "12 by credential, 0 by user", s.loads())
	})
}

func TestChangesOfTheFeed(t *testing.T) {
	hash := hashOf(1)
	for name, test := range map[string]struct {
		change store.Change
		loads  string // of asking for credentials 1 and 2 afterwards
	}{
		"user":                 {store.Change{Kind: store.ChangeUser, Subject: userOf(1)}, "0 by credential, 1 by user"},
		"credential":           {store.Change{Kind: store.ChangeCredential, Subject: hash.String()}, "1 by credential, 0 by user"},
		"catalog":              {store.Change{Kind: store.ChangeCatalog}, "0 by credential, 0 by user"},
		"a key of the API":     {store.Change{Kind: store.ChangeAPIKey, Subject: "key_1"}, "0 by credential, 0 by user"},
		"payment":              {store.Change{Kind: store.ChangePayment, Subject: "stripe/pi_1"}, "0 by credential, 0 by user"},
		"session":              {store.Change{Kind: store.ChangeSession, Subject: "5 n"}, "0 by credential, 0 by user"},
		"a session's end":      {store.Change{Kind: store.ChangeSessionEnd, Subject: "5 n"}, "0 by credential, 0 by user"},
		"credential, no hash":  {store.Change{Kind: store.ChangeCredential, Subject: "x"}, "2 by credential, 0 by user"},
		"credential, too long": {store.Change{Kind: store.ChangeCredential, Subject: hash.String() + "00"}, "2 by credential, 0 by user"},
		"a kind yet to come":   {store.Change{Kind: "weather"}, "2 by credential, 0 by user"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
				byCredential(t, c, 1)
				byCredential(t, c, 2)
				s.loads()
				c.Changed(test.change)
				byCredential(t, c, 1)
				byCredential(t, c, 2)
				require.Equal(t, test.loads, s.loads())
			})
		})
	}
}

func TestFactsAreNotUsedBeyondFreshFor(t *testing.T) {
	inBubble(t, cache.Options{FreshFor: time.Minute}, func(t *testing.T, s *source, c *cache.Cache) {
		byCredential(t, c, 1)
		s.setUser(userOf(1), 2) // and nobody says so
		time.Sleep(time.Minute)
		_, user := byCredential(t, c, 1)
		require.EqualValues(t, 2, user.Used)
		require.Equal(t, "2 by credential, 0 by user", s.loads())
	})
}

// How long a read took is no reason to use longer what it found.
func TestAgeCountsFromTheBeginningOfTheRead(t *testing.T) {
	inBubble(t, cache.Options{FreshFor: time.Minute}, func(t *testing.T, s *source, c *cache.Cache) {
		s.after = func(context.Context) { time.Sleep(time.Second) }
		byCredential(t, c, 1)
		byUser(t, c, 2)
		s.after = nil
		s.setCredential(hashOf(1), userOf(1), 2) // and nobody says so
		s.setUser(userOf(2), 2)
		time.Sleep(58 * time.Second)
		credential, _ := byCredential(t, c, 1)
		require.Equal(t, 2, version(credential))
		time.Sleep(time.Second)
		require.EqualValues(t, 2, byUser(t, c, 2).Used)
	})
}

func TestTheOlderPartDecides(t *testing.T) {
	o := cache.Options{FreshFor: time.Minute, AbsentFor: 5 * time.Second}
	inBubble(t, o, func(t *testing.T, s *source, c *cache.Cache) {
		s.setCredential(hashOf(50), userOf(50), 1) // its user does not exist
		_, user := byCredential(t, c, 50)
		require.Empty(t, user.Status)
		time.Sleep(5 * time.Second)
		s.setUser(userOf(50), 1)
		_, user = byCredential(t, c, 50)
		require.NotEmpty(t, user.Status)
		require.Equal(t, "1 by credential, 1 by user", s.loads())

		byUser(t, c, 50)
		time.Sleep(55 * time.Second) // now the credential is too old, its user not yet
		s.setCredential(hashOf(50), userOf(2), 2)
		_, user = byCredential(t, c, 50)
		require.Equal(t, userOf(2), user.User)
	})
}

func TestHotFactsAreReadEarly(t *testing.T) {
	inBubble(t, cache.Options{FreshFor: time.Minute}, func(t *testing.T, s *source, c *cache.Cache) {
		slow := false
		s.before = func(context.Context) error {
			if slow {
				time.Sleep(time.Second)
			}
			return nil
		}
		byCredential(t, c, 1)
		slow = true
		for range 600 { // ten a second, for a minute
			began := time.Now()
			byCredential(t, c, 1)
			require.Zero(t, time.Since(began), "an asker waited for a renewal")
			time.Sleep(100 * time.Millisecond)
		}
		require.Equal(t, "2 by credential, 0 by user", s.loads())
		require.EqualValues(t, 1, c.Stats().Misses)
	})
}

// What was read in one burst is not read again in one.
func TestRenewalsAreSpread(t *testing.T) {
	inBubble(t, cache.Options{FreshFor: time.Minute}, func(t *testing.T, s *source, c *cache.Cache) {
		for i := range 10 {
			byUser(t, c, i)
		}
		began, at := time.Now(), map[time.Duration]bool{}
		s.loads()
		for range 45 {
			time.Sleep(time.Second)
			for i := range 10 {
				byUser(t, c, i)
			}
			synctest.Wait()
			if s.loads() != "0 by credential, 0 by user" {
				at[time.Since(began)] = true
			}
		}
		require.Greater(t, len(at), 1, "all in one second")
		for after := range at {
			require.GreaterOrEqual(t, after, 30*time.Second)
		}
		require.EqualValues(t, 20, c.Stats().Loads, "all of them, once")
	})
}

func TestARenewalIsTriedOnce(t *testing.T) {
	inBubble(t, cache.Options{FreshFor: time.Minute}, func(t *testing.T, s *source, c *cache.Cache) {
		byCredential(t, c, 1)
		s.before = func(context.Context) error { return errors.New("away") }
		for range 599 {
			time.Sleep(100 * time.Millisecond)
			byCredential(t, c, 1)
		}
		require.Equal(t, "2 by credential, 0 by user", s.loads())
	})
}

func TestAbsenceIsBelievedBriefly(t *testing.T) {
	inBubble(t, cache.Options{AbsentFor: 5 * time.Second}, func(t *testing.T, s *source, c *cache.Cache) {
		for range 3 {
			credential, user := byCredential(t, c, 77)
			require.Nil(t, credential)
			require.Nil(t, user)
			require.Empty(t, byUser(t, c, 78).Status)
		}
		require.Equal(t, "1 by credential, 1 by user", s.loads())
		time.Sleep(5 * time.Second)
		s.setUser(userOf(78), 1)
		s.setCredential(hashOf(77), userOf(78), 1)
		credential, _ := byCredential(t, c, 77)
		require.NotNil(t, credential)
		require.NotEmpty(t, byUser(t, c, 78).Status)
	})
}

// Who says that facts are believed for a moment only does not have absence believed for longer.
func TestAbsenceIsBelievedNoLongerThanFacts(t *testing.T) {
	inBubble(t, cache.Options{FreshFor: time.Second, AbsentFor: 5 * time.Second}, func(t *testing.T, s *source, c *cache.Cache) {
		require.Empty(t, byUser(t, c, 78).Status)
		s.setUser(userOf(78), 1)
		time.Sleep(time.Second)
		require.NotEmpty(t, byUser(t, c, 78).Status)
	})
}

func TestStrangersPushOutNobody(t *testing.T) {
	const known = 500
	s := newSource().with(known)
	c := cache.New(s, cache.Options{MaxEntries: known})
	defer c.Close()
	for i := range known {
		byCredential(t, c, i)
	}
	for i := range 20_000 {
		byCredential(t, c, known+i)
	}
	s.loads()
	for i := range known {
		byCredential(t, c, i)
	}
	require.Equal(t, "0 by credential, 0 by user", s.loads())
	stats := c.Stats()
	require.LessOrEqual(t, stats.Absent, 64)
}

func TestBoundedByEntries(t *testing.T) {
	s := newSource().with(5000)
	c := cache.New(s, cache.Options{MaxEntries: 100})
	defer c.Close()
	for i := range 5000 {
		byCredential(t, c, i)
	}
	stats := c.Stats()
	require.LessOrEqual(t, stats.Credentials, 100)
	require.LessOrEqual(t, stats.Users, 100)
}

func TestStats(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		byCredential(t, c, 1)
		byCredential(t, c, 1)
		byCredential(t, c, 77)
		s.before = func(context.Context) error { return errors.New("away") }
		_, err := c.FactsByUser(t.Context(), userOf(5))
		require.Error(t, err)
		require.Equal(t, cache.Stats{
			Hits: 1, Misses: 3, Loads: 3, LoadErrors: 1, Credentials: 1, Users: 1, Absent: 1,
		}, c.Stats())
	})
}

func TestNoCredentialInErrors(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		s.before = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		_, _, err := c.FactsByCredential(t.Context(), hashOf(1))
		require.Error(t, err)
		require.False(t, strings.Contains(err.Error(), hashOf(1).String()))
	})
}

func TestTenThousandAskersOfAHundredUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource().with(100)
		open := make(chan struct{})
		s.before = func(context.Context) error { <-open; return nil }
		c := cache.New(s, cache.Options{})
		defer c.Close()
		var askers sync.WaitGroup
		for i := range 10_000 {
			askers.Go(func() {
				credential, user, err := c.FactsByCredential(t.Context(), hashOf(i%100))
				if err != nil || credential.User != userOf(i%100) || user.User != userOf(i%100) {
					t.Errorf("asker %d: %v %v %v", i, credential, user, err)
				}
			})
		}
		synctest.Wait()
		close(open)
		askers.Wait()
		require.Equal(t, "100 by credential, 0 by user", s.loads())
	})
}

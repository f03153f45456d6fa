package cache_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/store"
	"authhook/internal/store/cache"
)

func TestALoadOutlivesItsFirstAsker(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		s.before = func(ctx context.Context) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		first, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error, 1)
		go func() {
			_, _, err := c.FactsByCredential(first, hashOf(1))
			gaveUp <- err
		}()
		synctest.Wait()
		var second sync.WaitGroup
		second.Go(func() {
			if _, _, err := c.FactsByCredential(t.Context(), hashOf(1)); err != nil {
				t.Errorf("the second asker: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		began := time.Now()
		require.ErrorIs(t, <-gaveUp, context.Canceled)
		require.Zero(t, time.Since(began))
		second.Wait()
		require.Equal(t, "1 by credential, 0 by user", s.loads())
	})
}

// interrupted is the context of an asker who is held up between not finding facts and asking for them.
type interrupted struct {
	context.Context
	by func()
}

func (i interrupted) Err() error {
	i.by()
	return i.Context.Err()
}

// Who did not find facts that were being read, and asks once they are there, has them: nothing is read again.
func TestALoadThatHasJustEndedIsNotRepeated(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		late := interrupted{t.Context(), func() {
			_, _, err := c.FactsByCredential(t.Context(), hashOf(1))
			require.NoError(t, err)
		}}
		credential, user, err := c.FactsByCredential(late, hashOf(1))
		require.NoError(t, err)
		require.Equal(t, userOf(1), credential.User)
		require.Equal(t, userOf(1), user.User)
		require.Equal(t, "1 by credential, 0 by user", s.loads())

		c.ChangedUser(userOf(1))
		_, _, err = c.FactsByCredential(late, hashOf(1))
		require.NoError(t, err)
		require.Equal(t, "0 by credential, 1 by user", s.loads())
	})
}

func TestALoadHasItsOwnDeadline(t *testing.T) {
	inBubble(t, cache.Options{LoadTimeout: 3 * time.Second}, func(t *testing.T, s *source, c *cache.Cache) {
		s.before = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		began := time.Now()
		_, _, err := c.FactsByCredential(t.Context(), hashOf(1))
		require.ErrorIs(t, err, store.ErrUnavailable)
		require.Equal(t, 3*time.Second, time.Since(began))
	})
}

func TestAnAskerWhoseTimeIsUpGetsKnownFacts(t *testing.T) {
	inBubble(t, cache.Options{FreshFor: time.Minute}, func(t *testing.T, s *source, c *cache.Cache) {
		byCredential(t, c, 1)
		s.before = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, user, err := c.FactsByCredential(ctx, hashOf(1))
		require.NoError(t, err)
		require.NotNil(t, user)
	})
}

func TestErrorsAreSharedAndNotKept(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		away := errors.New("away")
		s.before = func(context.Context) error { time.Sleep(time.Millisecond); return away }
		var askers sync.WaitGroup
		for range 50 {
			askers.Go(func() {
				if _, err := c.FactsByUser(t.Context(), userOf(1)); !errors.Is(err, away) {
					t.Errorf("an asker of a failing load got %v", err)
				}
			})
		}
		askers.Wait()
		require.Equal(t, "0 by credential, 1 by user", s.loads())
		s.before = nil
		byUser(t, c, 1)
	})
}

func TestNoMoreLoadsThanMaxLoads(t *testing.T) {
	o := cache.Options{MaxLoads: 4, LoadWait: 300 * time.Millisecond}
	inBubble(t, o, func(t *testing.T, s *source, c *cache.Cache) {
		var mu sync.Mutex
		running, most := 0, 0
		s.before = func(context.Context) error {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			return nil
		}
		began := time.Now()
		var askers sync.WaitGroup
		refused := 0
		for i := range 10 {
			askers.Go(func() {
				_, err := c.FactsByUser(t.Context(), userOf(i))
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, store.ErrUnavailable) && time.Since(began) == 300*time.Millisecond {
					refused++
				} else if err != nil {
					t.Errorf("asker %d: %v after %v", i, err, time.Since(began))
				}
			})
		}
		askers.Wait()
		require.Equal(t, 4, most)
		require.Equal(t, 6, refused)
		require.EqualValues(t, 6, c.Stats().Refused)
	})
}

// Nobody need set a bound for there to be one.
func TestThereIsABoundByDefault(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		s.before = func(context.Context) error { time.Sleep(time.Second); return nil }
		var askers sync.WaitGroup
		for i := range 100 {
			askers.Go(func() { _, _ = c.FactsByUser(t.Context(), userOf(i)) })
		}
		synctest.Wait()
		require.Equal(t, 64, c.Stats().Loading)
		askers.Wait()
		require.EqualValues(t, 36, c.Stats().Refused)
	})
}

func TestALoadWaitsForItsTurn(t *testing.T) {
	inBubble(t, cache.Options{MaxLoads: 1, LoadWait: time.Second}, func(t *testing.T, s *source, c *cache.Cache) {
		s.before = func(context.Context) error { time.Sleep(100 * time.Millisecond); return nil }
		var askers sync.WaitGroup
		for i := range 10 {
			askers.Go(func() { byUser(t, c, i) })
		}
		askers.Wait()
		require.Equal(t, "0 by credential, 10 by user", s.loads())
	})
}

func TestABrokenSourceLeavesNobodyWaiting(t *testing.T) {
	for name, breakDown := range map[string]func(){
		"panic": func() { panic("broken") },
		"exit":  runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, cache.Options{MaxLoads: 1}, func(t *testing.T, s *source, c *cache.Cache) {
				s.before = func(context.Context) error { breakDown(); return nil }
				for range 3 {
					_, err := c.FactsByUser(t.Context(), userOf(1))
					require.ErrorIs(t, err, store.ErrUnavailable)
				}
				s.before = nil
				byUser(t, c, 1)
			})
		})
	}
}

func TestCloseEndsLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource().with(10)
		c := cache.New(s, cache.Options{})
		byUser(t, c, 1)
		s.before = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		failed := make(chan error, 1)
		go func() {
			_, err := c.FactsByUser(t.Context(), userOf(2))
			failed <- err
		}()
		synctest.Wait()
		began := time.Now()
		c.Close()
		require.ErrorIs(t, <-failed, store.ErrUnavailable)
		require.Zero(t, time.Since(began))
		_, err := c.FactsByUser(t.Context(), userOf(2))
		require.ErrorIs(t, err, store.ErrUnavailable)
		byUser(t, c, 1)
		c.Close()
	})
}

package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

func testFeed(t *testing.T, database func(testing.TB) Open) {
	t.Run("in order, a page at a time", func(t *testing.T) {
		s := fresh(t, database)
		require.Zero(t, last(t, s))
		list, err := s.Changes(t.Context(), 0, 10)
		require.NoError(t, err)
		require.Empty(t, list)
		withUsers(t, s, "a", "b", "c", "d", "e")
		list, err = s.Changes(t.Context(), 1, 2)
		require.NoError(t, err)
		require.Equal(t, []store.Change{{Number: 2, At: noon, Kind: store.ChangeUser, Subject: "b"},
			{Number: 3, At: noon, Kind: store.ChangeUser, Subject: "c"}}, list)
		require.EqualValues(t, 5, last(t, s))
		list, err = s.Changes(t.Context(), 5, 2)
		require.NoError(t, err)
		require.Empty(t, list)
	})

	t.Run("a gap is noticed", func(t *testing.T) {
		now := noon
		s := migrated(t, database(t), func() time.Time { return now })
		withUsers(t, s, "a", "b", "c")
		now = noon.Add(time.Hour)
		withUsers(t, s, "d")
		now = noon.Add(-time.Hour) // a clock that goes wrong must not tear a hole
		withUsers(t, s, "e")
		n, err := s.PruneChanges(t.Context(), noon.Add(time.Minute))
		require.NoError(t, err)
		require.EqualValues(t, 3, n)
		require.Equal(t, []string{"user d", "user e"}, feed(t, s, 3))
		for _, after := range []int64{-1, 0, 2} {
			_, err = s.Changes(t.Context(), after, 10)
			require.ErrorIs(t, err, store.ErrFeedGap, "after %d", after)
		}
		_, err = s.Changes(t.Context(), 6, 10)
		require.ErrorIs(t, err, store.ErrFeedGap, "from the future: the database was set back")

		n, err = s.PruneChanges(t.Context(), noon.Add(2*time.Hour))
		require.NoError(t, err)
		require.EqualValues(t, 2, n)
		n, err = s.PruneChanges(t.Context(), noon.Add(2*time.Hour))
		require.NoError(t, err)
		require.Zero(t, n)
		require.EqualValues(t, 5, last(t, s))
		_, err = s.Changes(t.Context(), 4, 10)
		require.ErrorIs(t, err, store.ErrFeedGap, "also when nothing is left")
		require.Empty(t, feed(t, s, 5))
		withUsers(t, s, "f")
		require.Equal(t, []string{"user f"}, feed(t, s, 5))
	})

	t.Run("numbered in the order of the commits", func(t *testing.T) {
		open := database(t)
		s := migrated(t, open, at(noon))
		const writers, enough = 8, 400
		var stop atomic.Bool
		var wg sync.WaitGroup
		for w := range writers {
			replica := s
			if w%2 == 1 {
				replica = opened(t, open, at(noon))
			}
			user := fmt.Sprint("user", w)
			withUsers(t, s, user)
			wg.Go(func() {
				for i := 0; !stop.Load(); i++ {
					_, err := replica.AddCredential(t.Context(), policy.HashKey(fmt.Sprint(w, " ", i)),
						policy.Credential{Kind: policy.CredentialKey, User: user}, noon)
					if !assert.NoError(t, err) {
						return
					}
				}
			})
		}
		defer wg.Wait()
		defer stop.Store(true)
		// Whoever has read up to a number has missed nothing before it: each read goes on exactly where the last one ended.
		reader := opened(t, open, at(noon))
		for seen := int64(0); seen < enough && !t.Failed(); {
			list, err := reader.Changes(t.Context(), seen, 7)
			require.NoError(t, err)
			for _, c := range list {
				require.Equal(t, seen+1, c.Number)
				seen = c.Number
			}
		}
		stop.Store(true)
		wg.Wait()
		require.Len(t, feed(t, s, 0), int(last(t, s)))
	})

	t.Run("cancelled midway, nothing half", func(t *testing.T) {
		s := fresh(t, database)
		withUsers(t, s, "anna")
		kept, gone := 0, 0
		for i := range 150 {
			ctx, cancel := context.WithTimeout(t.Context(), rand.N(3*time.Millisecond))
			if i%2 == 0 {
				ctx, cancel = cancelAfter(t, rand.N(3*time.Millisecond))
			}
			hash := policy.HashKey(fmt.Sprint(i))
			_, err := s.AddCredential(ctx, hash, policy.Credential{Kind: policy.CredentialKey, User: "anna"}, noon)
			if cause := ctx.Err(); err != nil {
				require.True(t, errors.Is(err, cause), "%v", err)
				require.Equal(t, errors.Is(cause, context.DeadlineExceeded), errors.Is(err, store.ErrUnavailable), "%v", err)
				gone++
			}
			cancel()
			c, _, ferr := s.FactsByCredential(t.Context(), hash)
			require.NoError(t, ferr)
			require.Equal(t, err == nil, c != nil, "an error means that nothing happened: %v", err)
			if c != nil {
				kept++
			}
		}
		require.Positive(t, kept)
		require.Positive(t, gone)
		list := feed(t, s, 1)
		require.Len(t, list, 2*kept, "every credential has its entries, and none is without its credential")
		for i := 0; i < len(list); i += 2 {
			require.Equal(t, "user anna", list[i+1])
		}
	})
}

// cancelAfter is a context that is cancelled after a while, as one whose client hangs up.
func cancelAfter(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(d, cancel)
	return ctx, func() { timer.Stop(); cancel() }
}

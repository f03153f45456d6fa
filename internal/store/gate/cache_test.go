package gate

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/cache"
)

// facts is a database of which only the facts of users are asked for.
type facts struct {
	Database
	server
}

func (f *facts) FactsByUser(ctx context.Context, user string) (*policy.UserFacts, error) {
	if err := f.call(ctx); err != nil {
		return nil, err
	}
	return &policy.UserFacts{User: user, Status: policy.ActiveUser}, nil
}

// As it is wired, with the cache above: once it is known that the database is away, nobody waits for a load, also who is not in
// memory; who is in memory is answered from there; and a load finds the database soon after it is back, for all.
func TestColdAsksDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &facts{}
		db.become(well)
		c := cache.New(New(db, Options{}), cache.Options{FreshFor: time.Minute, LoadTimeout: 2500 * time.Millisecond})
		defer c.Close()
		_, err := c.FactsByUser(t.Context(), "known")
		require.NoError(t, err)
		time.Sleep(time.Minute)

		db.become(silent)
		user := func(i int) string {
			return "user-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
		}
		var first sync.WaitGroup
		for i := range 10 {
			first.Go(func() { _, _ = c.FactsByUser(t.Context(), user(i)) })
		}
		first.Wait()
		db.reached.Store(0)

		began := time.Now()
		for i := range 5000 {
			_, err := c.FactsByUser(t.Context(), user(i))
			require.ErrorIs(t, err, store.ErrUnavailable)
			_, err = c.FactsByUser(t.Context(), "known")
			require.NoError(t, err)
		}
		require.Zero(t, time.Since(began), "somebody waited")
		require.Zero(t, db.reached.Load())

		// One ask in a while looks, and waits for that.
		time.Sleep(125 * time.Millisecond)
		began = time.Now()
		_, err = c.FactsByUser(t.Context(), "somebody")
		require.ErrorIs(t, err, store.ErrUnavailable)
		require.Equal(t, 500*time.Millisecond, time.Since(began))
		require.EqualValues(t, 1, db.reached.Load())

		db.become(well)
		time.Sleep(125 * time.Millisecond)
		for i := range 5000 {
			_, err := c.FactsByUser(t.Context(), user(i))
			require.NoError(t, err)
		}
	})
}

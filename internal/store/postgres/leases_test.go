package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/storetest"
)

// TestLeasesAndTheFeed: whoever takes a place waits for the writers of facts only where somebody is kicked.
func TestLeasesAndTheFeed(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), storetest.PostgresSchema(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.NoError(t, s.Migrate(t.Context()))
	acquire := func(ctx context.Context, session string, onLimit policy.OnLimit) error {
		now := time.Now()
		_, _, err := s.AcquireLease(ctx, policy.Lease{User: "anna", Plan: "gold", Node: "n", Session: session, At: now, Until: now.Add(time.Hour)}, 1, onLimit)
		return err
	}

	writer, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	defer writer.Rollback(context.WithoutCancel(t.Context()))
	_, err = writer.Exec(t.Context(), `SELECT number FROM change_counter FOR UPDATE`)
	require.NoError(t, err)
	for _, onLimit := range []policy.OnLimit{policy.OnLimitKickOldest, policy.OnLimitReject} {
		require.NoError(t, acquire(t.Context(), "1", onLimit), "it finds room, or has its place")
		require.NoError(t, acquire(t.Context(), "1", onLimit))
	}
	require.NoError(t, acquire(t.Context(), "2", policy.OnLimitReject), "it finds none")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, acquire(ctx, "2", policy.OnLimitKickOldest), store.ErrUnavailable)

	require.NoError(t, writer.Rollback(t.Context()))
	require.NoError(t, acquire(t.Context(), "2", policy.OnLimitKickOldest))
	last, err := s.LastChange(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, last)
}

// A session may ask as two users at once. Each that gives up what it has sees what the other has made of it, also where both looked
// before: else a user's place would be given up that is given up already, and the place of the other kept, in Redis, by nobody.
func TestWhatASessionGivesUpIsWhatItHas(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), storetest.PostgresSchema(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.NoError(t, s.Migrate(t.Context()))
	acquire := func(user string, onLimit policy.OnLimit) (left []store.HeldLease, err error) {
		now := time.Now()
		l := policy.Lease{User: user, Plan: "gold", Node: "n", Session: "1", At: now, Until: now.Add(time.Hour)}
		granted, _, left, err := s.AcquireLeaseLeaving(t.Context(), l, 1, onLimit)
		if err == nil && !granted {
			err = store.ErrConflict
		}
		return left, err
	}
	users := func(left []store.HeldLease) (all []string) {
		for _, l := range left {
			all = append(all, l.User)
		}
		return all
	}
	for _, onLimit := range []policy.OnLimit{policy.OnLimitReject, policy.OnLimitKickOldest} {
		_, err := acquire("anna", onLimit)
		require.NoError(t, err)

		other, err := s.pool.Begin(t.Context())
		require.NoError(t, err)
		defer other.Rollback(context.WithoutCancel(t.Context()))
		var pid int
		require.NoError(t, other.QueryRow(t.Context(), `
UPDATE leases SET user_id = 'ben', part = $1 WHERE node = 'n' AND session = '1' RETURNING pg_backend_pid()`, store.LeasePart("ben")).Scan(&pid))
		type result struct {
			left []store.HeldLease
			err  error
		}
		asked := make(chan result, 1)
		go func() {
			left, err := acquire("carl", onLimit)
			asked <- result{left, err}
		}()
		require.Eventually(t, func() bool {
			var waits bool
			err := s.pool.QueryRow(t.Context(), `
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid)))`, pid).Scan(&waits)
			return err == nil && waits
		}, 30*time.Second, time.Millisecond, "the one waits for the other")
		require.NoError(t, other.Commit(t.Context()))
		is := <-asked
		require.NoError(t, is.err)
		require.Equal(t, []string{"ben"}, users(is.left), "%s: anna's was given up by the other", onLimit)
	}
}

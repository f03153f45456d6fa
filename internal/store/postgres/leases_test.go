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

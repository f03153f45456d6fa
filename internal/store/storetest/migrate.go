package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
)

func testMigrate(t *testing.T, database func(testing.TB) Open) {
	t.Run("twice", func(t *testing.T) {
		s := opened(t, database(t), at(noon))
		v, err := s.Version(t.Context())
		require.NoError(t, err)
		require.Zero(t, v, "nothing was migrated yet")

		require.NoError(t, s.Migrate(t.Context()))
		withUsers(t, s, "anna")
		v, err = s.Version(t.Context())
		require.NoError(t, err)
		require.Positive(t, v)

		require.NoError(t, s.Migrate(t.Context()))
		_, err = s.User(t.Context(), "anna")
		require.NoError(t, err, "the second time changes nothing")
	})

	t.Run("replicas at once", func(t *testing.T) {
		open := database(t)
		var all []Store
		for range 6 {
			all = append(all, opened(t, open, at(noon)))
		}
		var wg sync.WaitGroup
		for _, s := range all {
			wg.Go(func() { assert.NoError(t, s.Migrate(t.Context())) })
		}
		wg.Wait()
		withUsers(t, all[0], "anna")
		f, err := all[5].FactsByUser(t.Context(), "anna")
		require.NoError(t, err)
		require.Equal(t, policy.ActiveUser, f.Status)
	})

	t.Run("not migrated", func(t *testing.T) {
		s := opened(t, database(t), at(noon))
		require.NoError(t, s.Ping(t.Context()))
		_, err := s.FactsByUser(t.Context(), "anna")
		require.ErrorContains(t, err, "authhook migrate")
	})

	t.Run("opened again", func(t *testing.T) {
		open := database(t)
		first := open(t, at(noon))
		require.NoError(t, first.Migrate(t.Context()))
		withUsers(t, first, "anna")
		_, err := first.AddEntitlement(t.Context(), "anna", policy.Entitlement{Plan: "gold", Until: noon.Add(time.Hour)})
		require.NoError(t, err)
		require.NoError(t, first.Close())

		second := opened(t, open, at(noon))
		require.NoError(t, second.Migrate(t.Context()))
		f, err := second.FactsByUser(t.Context(), "anna")
		require.NoError(t, err)
		require.Len(t, f.Entitlements, 1)
		require.EqualValues(t, 2, last(t, second))
	})
}

package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// testVersions: who writes what he has read never overwrites what somebody else wrote since.
func testVersions(t *testing.T, database func(testing.TB) Open) {
	t.Run("of a user", func(t *testing.T) {
		s := fresh(t, database)
		for n, c := range []struct {
			ifs     int64
			status  policy.UserStatus
			fits    bool
			version int64
		}{
			{1, policy.ActiveUser, false, 0},
			{-1, policy.ActiveUser, false, 0},
			{0, policy.ActiveUser, true, 1},
			{0, policy.ActiveUser, false, 1},
			{0, policy.SuspendedUser, false, 1},
			{1, policy.ActiveUser, true, 1}, // changes nothing
			{2, policy.ActiveUser, false, 1},
			{1, policy.SuspendedUser, true, 2},
			{1, policy.SuspendedUser, false, 2}, // it is that already, and still not what was read
			{1, policy.ActiveUser, false, 2},
			{2, policy.ActiveUser, true, 3},
		} {
			before := last(t, s)
			u, created, err := s.PutUser(t.Context(), store.UserChange{ID: "anna", Status: c.status, IfVersion: &c.ifs})
			if !c.fits {
				require.ErrorIs(t, err, store.ErrConflict, n)
				require.Zero(t, u, n)
				require.False(t, created, n)
				require.Equal(t, before, last(t, s), n)
			} else {
				require.NoError(t, err, n)
				require.Equal(t, c.version, u.Version, n)
				require.Equal(t, c.ifs == 0, created, n)
			}
			if c.version == 0 {
				_, err = s.User(t.Context(), "anna")
				require.ErrorIs(t, err, store.ErrNotFound, n)
			} else {
				require.Equal(t, c.version, user(t, s, "anna").Version, n)
			}
		}
		require.Len(t, feed(t, s, 0), 3)
		require.Len(t, audit(t, s, store.AuditFilter{}), 3)
	})

	t.Run("of the catalog", func(t *testing.T) {
		s := fresh(t, database)
		gold, basic := &policy.Catalog{Plans: []policy.Plan{{Key: "gold"}}}, &policy.Catalog{Plans: []policy.Plan{{Key: "basic"}}}
		for n, c := range []struct {
			ifs     int64
			apply   *policy.Catalog
			fits    bool
			changed bool
			version int64
		}{
			{1, gold, false, false, 0},
			{0, gold, true, true, 1},
			{0, gold, false, false, 1},
			{1, gold, true, false, 1},
			{1, basic, true, true, 2},
			{1, gold, false, false, 2},
			{1, basic, false, false, 2},
			{2, gold, true, true, 3},
		} {
			before := last(t, s)
			version, changed, err := s.ApplyCatalog(t.Context(), c.apply, &c.ifs)
			require.Equal(t, c.changed, changed, n)
			if c.fits {
				require.NoError(t, err, n)
				require.Equal(t, c.version, version, n)
			} else {
				require.ErrorIs(t, err, store.ErrConflict, n)
				require.Zero(t, version, n)
			}
			if !c.changed {
				require.Equal(t, before, last(t, s), n)
			}
			if c.version > 0 {
				got, err := s.Catalog(t.Context())
				require.NoError(t, err, n)
				require.Equal(t, c.version, got.Version, n)
			}
		}
		require.Len(t, audit(t, s, store.AuditFilter{}), 3)
	})

	t.Run("racing writers", func(t *testing.T) {
		open := database(t)
		replicas := []Store{migrated(t, open, at(noon)), opened(t, open, at(noon))}
		const writers, rounds = 6, 15
		for round := range int64(rounds) {
			var won, applied atomic.Int32
			start := make(chan struct{})
			var wg sync.WaitGroup
			for w := range writers {
				s := replicas[w%2]
				wg.Go(func() {
					<-start
					u, created, err := s.PutUser(t.Context(), store.UserChange{ID: "anna", Status: policy.ActiveUser,
						Attributes: fmt.Appendf(nil, "[%d,%d]", round, w), IfVersion: &round})
					if err == nil {
						won.Add(1)
						assert.Equal(t, round+1, u.Version)
						assert.Equal(t, round == 0, created)
					} else {
						assert.ErrorIs(t, err, store.ErrConflict)
					}
					c := &policy.Catalog{JWT: policy.JWT{Issuer: fmt.Sprint(round, w)}}
					if version, _, err := s.ApplyCatalog(t.Context(), c, &round); err == nil {
						applied.Add(1)
						assert.Equal(t, round+1, version)
					} else {
						assert.ErrorIs(t, err, store.ErrConflict)
					}
				})
			}
			close(start)
			wg.Wait()
			require.EqualValues(t, 1, won.Load(), "one of them was first, round %d", round)
			require.EqualValues(t, 1, applied.Load(), "one of them was first, round %d", round)
		}
		require.Len(t, feed(t, replicas[0], 0), 2*rounds)
	})

	t.Run("racing to make one", func(t *testing.T) {
		open := database(t)
		replicas := []Store{migrated(t, open, at(noon)), opened(t, open, at(noon))}
		for round := range 15 {
			id := fmt.Sprint("user", round)
			var made atomic.Int32
			start := make(chan struct{})
			var wg sync.WaitGroup
			for w := range 8 {
				wg.Go(func() {
					<-start
					u, created, err := replicas[w%2].PutUser(t.Context(), store.UserChange{ID: id, Status: policy.ActiveUser})
					assert.NoError(t, err, "whatever it is at: nobody is refused")
					assert.EqualValues(t, 1, u.Version)
					if created {
						made.Add(1)
					}
				})
			}
			close(start)
			wg.Wait()
			require.EqualValues(t, 1, made.Load())
		}
		require.Len(t, feed(t, replicas[0], 0), 15)
	})
}

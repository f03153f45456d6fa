package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

func testAPIKeys(t *testing.T, database func(testing.TB) Open) {
	hash := [32]byte(policy.HashKey("key 1"))

	t.Run("made, found, withdrawn", func(t *testing.T) {
		now := noon
		s := migrated(t, database(t), func() time.Time { return now })
		_, err := s.APIKeyByHash(t.Context(), hash)
		require.ErrorIs(t, err, store.ErrNotFound)

		ctx := store.WithActor(t.Context(), hostile["quotes"])
		want := store.APIKey{Name: hostile["unicode"], Role: store.RoleBilling}
		id, err := s.AddAPIKey(ctx, want, hash)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(id, "key_"), id)
		want.ID, want.Created, want.CreatedBy = id, noon, hostile["quotes"]
		got, err := s.APIKeyByHash(t.Context(), hash)
		require.NoError(t, err)
		require.Equal(t, want, got)
		_, err = s.APIKeyByHash(t.Context(), policy.HashKey("key 2"))
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = s.AddAPIKey(ctx, store.APIKey{Name: "other", Role: store.RoleAdmin}, hash)
		require.ErrorIs(t, err, store.ErrConflict)

		now = noon.Add(time.Minute)
		require.NoError(t, s.WithdrawAPIKey(t.Context(), id))
		now = noon.Add(time.Hour)
		require.NoError(t, s.WithdrawAPIKey(t.Context(), id))
		_, err = s.APIKeyByHash(t.Context(), hash)
		require.ErrorIs(t, err, store.ErrNotFound, "a withdrawn key is none")
		want.Withdrawn = noon.Add(time.Minute)
		list, err := s.APIKeys(t.Context(), store.Page{})
		require.NoError(t, err)
		require.Equal(t, []store.APIKey{want}, list, "it is listed still")
		_, err = s.AddAPIKey(ctx, store.APIKey{Name: "again", Role: store.RoleAdmin}, hash)
		require.ErrorIs(t, err, store.ErrConflict, "a withdrawn key never returns")
		require.Equal(t, []string{"api_key " + id, "api_key " + id}, feed(t, s, 0))

		for _, id := range []string{"key_none", "", "a\x00b", "\xff"} {
			require.ErrorIs(t, s.WithdrawAPIKey(t.Context(), id), store.ErrNotFound, "%q", id)
		}
	})

	t.Run("every role", func(t *testing.T) {
		s := fresh(t, database)
		for _, role := range []store.Role{store.RoleRead, store.RoleBilling, store.RoleAdmin} {
			_, err := s.AddAPIKey(t.Context(), store.APIKey{ID: string(role), Name: "n", Role: role}, policy.HashKey(string(role)))
			require.NoError(t, err)
			k, err := s.APIKeyByHash(t.Context(), policy.HashKey(string(role)))
			require.NoError(t, err)
			require.Equal(t, store.APIKey{ID: string(role), Name: "n", Role: role, Created: noon, CreatedBy: "system"}, k)
		}
	})

	t.Run("what cannot be stored", func(t *testing.T) {
		s := fresh(t, database)
		for field, k := range map[string]store.APIKey{
			"role": {Name: "n", Role: "root"},
			"name": {Role: store.RoleAdmin},
			"id":   {ID: "a\x00", Name: "n", Role: store.RoleAdmin},
		} {
			_, err := s.AddAPIKey(t.Context(), k, hash)
			invalid := new(store.InvalidError)
			require.ErrorAs(t, err, &invalid, field)
			require.Equal(t, field, invalid.Field)
		}
		require.Empty(t, feed(t, s, 0))
	})
}

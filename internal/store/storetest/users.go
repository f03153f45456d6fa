package storetest

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

func testUsers(t *testing.T, database func(testing.TB) Open) {
	t.Run("made and changed", func(t *testing.T) {
		now := noon
		s := migrated(t, database(t), func() time.Time { return now })
		_, err := s.User(t.Context(), "anna")
		require.ErrorIs(t, err, store.ErrNotFound)

		doc := json.RawMessage(`{"name": "Anna \u0000", "n": 1.50}`)
		want := store.User{ID: "anna", Status: policy.ActiveUser, Attributes: doc, Version: 1, Created: noon, Updated: noon}
		u, created, err := s.PutUser(t.Context(), store.UserChange{ID: "anna", Status: policy.ActiveUser, Attributes: doc})
		require.NoError(t, err)
		require.True(t, created)
		require.Equal(t, want, u)
		require.Equal(t, want, user(t, s, "anna"))

		now = noon.Add(time.Minute)
		want.Status, want.Version, want.Updated = policy.SuspendedUser, 2, now
		u, created, err = s.PutUser(t.Context(), store.UserChange{ID: "anna", Status: policy.SuspendedUser})
		require.NoError(t, err)
		require.False(t, created)
		require.Equal(t, want, u, "attributes that are not given stay")
		require.Equal(t, want, user(t, s, "anna"))

		now = noon.Add(time.Hour)
		require.Equal(t, want, put(t, s, "anna", policy.SuspendedUser, doc))
		require.Equal(t, want, put(t, s, "anna", policy.SuspendedUser, nil))
		require.Equal(t, want, user(t, s, "anna"))
		require.Equal(t, []string{"user anna", "user anna"}, feed(t, s, 0), "what changes nothing is no change")

		want.Attributes, want.Version, want.Updated = json.RawMessage(`{}`), 3, now
		require.Equal(t, want, put(t, s, "anna", policy.SuspendedUser, json.RawMessage(`{}`)))
		require.Equal(t, want, user(t, s, "anna"))
		require.Len(t, feed(t, s, 0), 3)
	})

	t.Run("any text is an id", func(t *testing.T) {
		s := fresh(t, database)
		for name, id := range hostile {
			put(t, s, id, policy.ActiveUser, nil)
			f, err := s.FactsByUser(t.Context(), id)
			require.NoError(t, err, name)
			require.Equal(t, &policy.UserFacts{User: id, Status: policy.ActiveUser, UsedMonth: store.MonthOf(noon)}, f, name)
		}
		for _, id := range []string{strings.Repeat("ü", 128), "...", ". ", "a.", ".a", "%2e"} {
			put(t, s, id, policy.ActiveUser, nil)
		}
	})

	t.Run("what cannot be stored", func(t *testing.T) {
		s := fresh(t, database)
		for _, id := range []string{"", ".", "..", "a\x00b", "\xff", strings.Repeat("x", 257)} {
			invalid := new(store.InvalidError)
			_, _, err := s.PutUser(t.Context(), store.UserChange{ID: id, Status: policy.ActiveUser})
			require.ErrorAs(t, err, &invalid, "%q", id)
			require.Equal(t, "user", invalid.Field)
			_, err = s.User(t.Context(), id)
			require.ErrorIs(t, err, store.ErrNotFound, "%q", id)
			f, err := s.FactsByUser(t.Context(), id)
			require.NoError(t, err, "a JWT may name anyone: %q", id)
			require.Empty(t, f.Status)
			require.Equal(t, id, f.User)
		}
		for field, c := range map[string]store.UserChange{
			"status":     {ID: "anna", Status: "asleep"},
			"attributes": {ID: "anna", Status: policy.ActiveUser, Attributes: json.RawMessage(`{`)},
		} {
			invalid := new(store.InvalidError)
			_, _, err := s.PutUser(t.Context(), c)
			require.ErrorAs(t, err, &invalid, field)
			require.Equal(t, field, invalid.Field)
		}
		require.Empty(t, feed(t, s, 0))
	})
}

func user(t testing.TB, s Store, id string) store.User {
	t.Helper()
	u, err := s.User(t.Context(), id)
	require.NoError(t, err)
	return u
}

func testCredentials(t *testing.T, database func(testing.TB) Open) {
	hash := policy.HashKey("ak_1")
	key := policy.Credential{Kind: policy.CredentialKey, User: "anna", Streams: []string{"live+*", hostile["quotes"]},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
		From:      noon.Add(-time.Hour), Until: noon.Add(time.Hour + time.Microsecond), Publish: true}

	t.Run("every field comes back", func(t *testing.T) {
		s := fresh(t, database)
		withUsers(t, s, "anna")
		id, err := s.AddCredential(t.Context(), hash, key, noon)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(id, "cred_"), id)
		want := key
		want.ID = id
		got, user, err := s.FactsByCredential(t.Context(), hash)
		require.NoError(t, err)
		require.Equal(t, &want, got)
		require.Equal(t, &policy.UserFacts{User: "anna", Status: policy.ActiveUser, UsedMonth: store.MonthOf(noon)}, user)
		stored := store.StoredCredential{Credential: want, Created: noon}
		one, err := s.Credential(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, stored, one)
		list, err := s.Credentials(t.Context(), "anna", store.Page{})
		require.NoError(t, err)
		require.Equal(t, []store.StoredCredential{stored}, list)
		require.Equal(t, []string{"user anna", "credential " + hash.String(), "user anna"}, feed(t, s, 0))
	})

	t.Run("bare", func(t *testing.T) {
		s := fresh(t, database)
		withUsers(t, s, "anna")
		bare := policy.Credential{Kind: policy.CredentialAddress, User: "anna"}
		id, err := s.AddCredential(t.Context(), hash, bare, noon)
		require.NoError(t, err)
		bare.ID = id
		got, _, err := s.FactsByCredential(t.Context(), hash)
		require.NoError(t, err)
		require.Equal(t, &bare, got, "no bound is no bound")
	})

	t.Run("nothing is known", func(t *testing.T) {
		s := fresh(t, database)
		c, u, err := s.FactsByCredential(t.Context(), hash)
		require.NoError(t, err)
		require.Nil(t, c)
		require.Nil(t, u)
	})

	t.Run("revoked", func(t *testing.T) {
		now := noon
		s := migrated(t, database(t), func() time.Time { return now })
		withUsers(t, s, "anna", "ben")
		id, err := s.AddCredential(t.Context(), hash, key, noon)
		require.NoError(t, err)
		_, err = s.AddCredential(t.Context(), hash, policy.Credential{Kind: policy.CredentialKey, User: "ben"}, noon)
		require.ErrorIs(t, err, store.ErrConflict, "one hash, one credential")

		before := last(t, s)
		require.ErrorIs(t, s.RevokeCredential(t.Context(), "ben", id), store.ErrNotFound, "it is anna's")
		now = noon.Add(time.Minute)
		require.NoError(t, s.RevokeCredential(t.Context(), "anna", id))
		now = noon.Add(time.Hour)
		require.NoError(t, s.RevokeCredential(t.Context(), "anna", id))
		require.Equal(t, []string{"credential " + hash.String(), "user anna"}, feed(t, s, before))
		c, _, err := s.FactsByCredential(t.Context(), hash)
		require.NoError(t, err)
		require.True(t, c.Revoked)
		stored, err := s.Credential(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, store.StoredCredential{Credential: *c, Created: noon, Revoked: noon.Add(time.Minute)}, stored)

		again, err := s.AddCredential(t.Context(), hash, policy.Credential{Kind: policy.CredentialKey, User: "ben"}, noon)
		require.NoError(t, err, "a revoked one makes room: an address may be bound anew")
		c, u, err := s.FactsByCredential(t.Context(), hash)
		require.NoError(t, err)
		require.Equal(t, again, c.ID)
		require.Equal(t, "ben", u.User)

		for _, id := range []string{"cred_none", "", "a\x00b", "\xff"} {
			require.ErrorIs(t, s.RevokeCredential(t.Context(), "anna", id), store.ErrNotFound, "%q", id)
			_, err = s.Credential(t.Context(), id)
			require.ErrorIs(t, err, store.ErrNotFound, "%q", id)
		}
	})

	t.Run("of nobody", func(t *testing.T) {
		s := fresh(t, database)
		_, err := s.AddCredential(t.Context(), hash, key, noon)
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = s.Credentials(t.Context(), "anna", store.Page{})
		require.ErrorIs(t, err, store.ErrNotFound)
		invalid := new(store.InvalidError)
		_, err = s.AddCredential(t.Context(), hash, policy.Credential{Kind: policy.CredentialJWT, User: "anna"}, noon)
		require.ErrorAs(t, err, &invalid, "a JWT is never stored")
		require.Empty(t, feed(t, s, 0))
	})
}

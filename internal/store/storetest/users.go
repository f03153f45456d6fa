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
		require.NoError(t, s.PutUser(t.Context(), "anna", policy.ActiveUser, doc))
		now = noon.Add(time.Minute)
		require.NoError(t, s.PutUser(t.Context(), "anna", policy.SuspendedUser, nil))
		u, err := s.User(t.Context(), "anna")
		require.NoError(t, err)
		require.Equal(t, store.User{ID: "anna", Status: policy.SuspendedUser, Attributes: doc, Created: noon, Updated: now}, u,
			"attributes that are not given stay")

		require.NoError(t, s.PutUser(t.Context(), "anna", policy.SuspendedUser, doc))
		require.Equal(t, []string{"user anna", "user anna"}, feed(t, s, 0), "what changes nothing is no change")

		require.NoError(t, s.PutUser(t.Context(), "anna", policy.SuspendedUser, json.RawMessage(`{}`)))
		u, err = s.User(t.Context(), "anna")
		require.NoError(t, err)
		require.JSONEq(t, `{}`, string(u.Attributes))
		require.Len(t, feed(t, s, 0), 3)
	})

	t.Run("any text is an id", func(t *testing.T) {
		s := fresh(t, database)
		for name, id := range hostile {
			require.NoError(t, s.PutUser(t.Context(), id, policy.ActiveUser, nil), name)
			f, err := s.FactsByUser(t.Context(), id)
			require.NoError(t, err, name)
			require.Equal(t, &policy.UserFacts{User: id, Status: policy.ActiveUser, UsedMonth: store.MonthOf(noon)}, f, name)
		}
		require.NoError(t, s.PutUser(t.Context(), strings.Repeat("ü", 128), policy.ActiveUser, nil))
	})

	t.Run("what cannot be stored", func(t *testing.T) {
		s := fresh(t, database)
		for _, id := range []string{"", "a\x00b", "\xff", strings.Repeat("x", 257)} {
			invalid := new(store.InvalidError)
			require.ErrorAs(t, s.PutUser(t.Context(), id, policy.ActiveUser, nil), &invalid, "%q", id)
			require.Equal(t, "user", invalid.Field)
			_, err := s.User(t.Context(), id)
			require.ErrorIs(t, err, store.ErrNotFound, "%q", id)
			f, err := s.FactsByUser(t.Context(), id)
			require.NoError(t, err, "a JWT may name anyone: %q", id)
			require.Empty(t, f.Status)
			require.Equal(t, id, f.User)
		}
		invalid := new(store.InvalidError)
		require.ErrorAs(t, s.PutUser(t.Context(), "anna", "asleep", nil), &invalid)
		require.ErrorAs(t, s.PutUser(t.Context(), "anna", policy.ActiveUser, json.RawMessage(`{`)), &invalid)
		require.Empty(t, feed(t, s, 0))
	})
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
		list, err := s.Credentials(t.Context(), "anna")
		require.NoError(t, err)
		require.Equal(t, []policy.Credential{want}, list)
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
		s := fresh(t, database)
		withUsers(t, s, "anna", "ben")
		id, err := s.AddCredential(t.Context(), hash, key, noon)
		require.NoError(t, err)
		_, err = s.AddCredential(t.Context(), hash, policy.Credential{Kind: policy.CredentialKey, User: "ben"}, noon)
		require.ErrorIs(t, err, store.ErrConflict, "one hash, one credential")

		before := last(t, s)
		require.NoError(t, s.RevokeCredential(t.Context(), id))
		require.NoError(t, s.RevokeCredential(t.Context(), id))
		require.Equal(t, []string{"credential " + hash.String(), "user anna"}, feed(t, s, before))
		c, _, err := s.FactsByCredential(t.Context(), hash)
		require.NoError(t, err)
		require.True(t, c.Revoked)

		again, err := s.AddCredential(t.Context(), hash, policy.Credential{Kind: policy.CredentialKey, User: "ben"}, noon)
		require.NoError(t, err, "a revoked one makes room: an address may be bound anew")
		c, u, err := s.FactsByCredential(t.Context(), hash)
		require.NoError(t, err)
		require.Equal(t, again, c.ID)
		require.Equal(t, "ben", u.User)

		for _, id := range []string{"cred_none", "", "a\x00b", "\xff"} {
			require.ErrorIs(t, s.RevokeCredential(t.Context(), id), store.ErrNotFound, "%q", id)
		}
	})

	t.Run("of nobody", func(t *testing.T) {
		s := fresh(t, database)
		_, err := s.AddCredential(t.Context(), hash, key, noon)
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = s.Credentials(t.Context(), "anna")
		require.ErrorIs(t, err, store.ErrNotFound)
		invalid := new(store.InvalidError)
		_, err = s.AddCredential(t.Context(), hash, policy.Credential{Kind: policy.CredentialJWT, User: "anna"}, noon)
		require.ErrorAs(t, err, &invalid, "a JWT is never stored")
		require.Empty(t, feed(t, s, 0))
	})
}

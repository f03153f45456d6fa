package storetest

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

func audit(t testing.TB, s Store, f store.AuditFilter) []store.AuditEntry {
	t.Helper()
	list, err := s.Audit(t.Context(), f)
	require.NoError(t, err)
	return list
}

func testAudit(t *testing.T, database func(testing.TB) Open) {
	t.Run("every write", func(t *testing.T) {
		s := fresh(t, database)
		ctx := store.WithActor(t.Context(), "key_of_eve")
		hash, secret := policy.HashKey("ak_1"), "s3cret"
		must := func(err error) { t.Helper(); require.NoError(t, err) }
		putUser := func(c store.UserChange) error { _, _, err := s.PutUser(ctx, c); return err }
		steps := []struct {
			write   func() error
			action  store.Action
			subject string
			detail  string
		}{
			{func() error {
				return putUser(store.UserChange{ID: "anna", Status: policy.ActiveUser, Attributes: []byte(`{"secret":"s3cret"}`)})
			}, store.ActionUserPut, "anna", `{"created":true,"status":"active","attributes":"changed","version":1}`},
			{func() error { return putUser(store.UserChange{ID: "anna", Status: policy.SuspendedUser}) },
				store.ActionUserPut, "anna", `{"status":"suspended","version":2}`},
			{func() error {
				return putUser(store.UserChange{ID: "anna", Status: policy.SuspendedUser, Attributes: []byte(`null`)})
			}, store.ActionUserPut, "anna", `{"attributes":"changed","version":3}`},
			{func() error {
				_, err := s.AddCredential(ctx, hash, policy.Credential{ID: "c1", Kind: policy.CredentialKey, User: "anna",
					Streams: []string{"live+*"}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Until: noon, Publish: true}, noon)
				return err
			}, store.ActionCredentialAdd, "anna", `{"id":"c1","kind":"key","streams":["live+*"],"addresses":["10.0.0.0/8"],
				"until":"2026-11-22T12:00:00.123456Z","publish":true}`},
			{func() error { return s.RevokeCredential(ctx, "anna", "c1") }, store.ActionCredentialRevoke, "anna", `{"id":"c1"}`},
			{func() error {
				_, err := s.AddEntitlement(ctx, "anna", policy.Entitlement{ID: "e1", Plan: "gold", From: noon, Source: hostile["json"]})
				return err
			}, store.ActionEntitlementAdd, "anna", `{"id":"e1","plan":"gold","from":"2026-11-22T12:00:00.123456Z","source":` + quoted("json") + `}`},
			{func() error { return s.RemoveEntitlement(ctx, "anna", "e1") }, store.ActionEntitlementRemove, "anna",
				`{"id":"e1","plan":"gold","from":"2026-11-22T12:00:00.123456Z","source":` + quoted("json") + `}`},
			{func() error {
				_, err := s.AddHold(ctx, "anna", policy.Hold{ID: "h1", Kind: "dispute", Ref: hostile["unicode"]})
				return err
			}, store.ActionHoldAdd, "anna", `{"id":"h1","kind":"dispute","ref":` + quoted("unicode") + `}`},
			{func() error { return s.RemoveHold(ctx, "anna", "h1") }, store.ActionHoldRemove, "anna",
				`{"id":"h1","kind":"dispute","ref":` + quoted("unicode") + `}`},
			{func() error {
				c := &policy.Catalog{Plans: []policy.Plan{{Key: "gold"}, {Key: "basic"}}, Streams: []policy.StreamPolicy{{Match: "*"}},
					Prices: []policy.Price{{Provider: "stripe", Price: "p1"}}, JWT: policy.JWT{Keys: []policy.JWTKey{{Secret: secret}}}}
				_, _, err := s.ApplyCatalog(ctx, c, nil)
				return err
			}, store.ActionCatalogApply, "", `{"version":1,"plans":{"added":["gold","basic"]},"streams":{"added":["*"]},
				"prices":{"added":["stripe p1"]},"jwt":"changed"}`},
			{func() error {
				c := &policy.Catalog{Plans: []policy.Plan{{Key: "new"}, {Key: "gold", Rank: 1}}, Streams: []policy.StreamPolicy{{Match: "*"}},
					JWT: policy.JWT{Keys: []policy.JWTKey{{Secret: secret}}}}
				_, _, err := s.ApplyCatalog(ctx, c, nil)
				return err
			}, store.ActionCatalogApply, "", `{"version":2,"plans":{"added":["new"],"changed":["gold"],"removed":["basic"]},
				"prices":{"removed":["stripe p1"]}}`},
			{func() error {
				_, err := s.AddAPIKey(ctx, store.APIKey{ID: "k1", Name: "ci", Role: store.RoleRead}, hash)
				return err
			}, store.ActionAPIKeyAdd, "k1", `{"name":"ci","role":"read"}`},
			{func() error { return s.WithdrawAPIKey(ctx, "k1") }, store.ActionAPIKeyWithdraw, "k1", `{"name":"ci","role":"read"}`},
			{func() error {
				return s.PutPayment(ctx, store.Payment{Provider: "p", ID: "1", User: "anna", Amount: 999, Currency: "usd", Status: "failed"})
			}, store.ActionPaymentPut, "anna", `{"provider":"p","id":"1","status":"failed","amount":999,"currency":"usd"}`},
		}
		var want []string
		for i, step := range steps {
			before := last(t, s)
			must(step.write())
			list := audit(t, s, store.AuditFilter{})
			require.Len(t, list, i+1, "one for each write")
			e := list[0]
			require.JSONEq(t, step.detail, string(e.Detail))
			e.Detail = nil
			require.Equal(t, store.AuditEntry{Number: last(t, s), At: noon, Actor: "key_of_eve", Action: step.action,
				Subject: step.subject}, e)
			require.Greater(t, e.Number, before, "%s has its entry in the feed", step.action)
			want = append(want, string(step.action))
		}
		all := audit(t, s, store.AuditFilter{})
		text, err := json.Marshal(all)
		require.NoError(t, err)
		require.NotContains(t, string(text), secret)
		require.NotContains(t, string(text), hash.String())
		for i, e := range all {
			require.Equal(t, want[len(want)-1-i], string(e.Action), "newest first")
		}
	})

	t.Run("what changes nothing, or fails", func(t *testing.T) {
		s := fresh(t, database)
		withUsers(t, s, "anna", "ben")
		key := policy.Credential{ID: "c1", Kind: policy.CredentialKey, User: "anna"}
		_, err := s.AddCredential(t.Context(), policy.HashKey("1"), key, noon)
		require.NoError(t, err)
		require.NoError(t, s.RevokeCredential(t.Context(), "anna", "c1"))
		_, err = s.AddHold(t.Context(), "anna", policy.Hold{ID: "h1", Kind: "x"})
		require.NoError(t, err)
		before, changes := audit(t, s, store.AuditFilter{}), last(t, s)

		withUsers(t, s, "anna")
		require.NoError(t, s.RevokeCredential(t.Context(), "anna", "c1"))
		require.Error(t, s.RevokeCredential(t.Context(), "ben", "c1"))
		require.Error(t, s.RemoveHold(t.Context(), "ben", "h1"))
		require.Error(t, s.RemoveEntitlement(t.Context(), "anna", "h1"))
		_, err = s.AddHold(t.Context(), "anna", policy.Hold{ID: "h1", Kind: "x"})
		require.ErrorIs(t, err, store.ErrConflict)
		_, err = s.AddEntitlement(t.Context(), "carl", policy.Entitlement{Tag: "x"})
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = s.AddCredential(t.Context(), policy.HashKey("2"), key, noon)
		require.ErrorIs(t, err, store.ErrConflict)
		require.Equal(t, before, audit(t, s, store.AuditFilter{}))
		require.Equal(t, changes, last(t, s))
	})

	t.Run("asked in parts", func(t *testing.T) {
		now := noon
		s := migrated(t, database(t), func() time.Time { return now })
		actors := []string{"eve", "ed", hostile["quotes"]}
		for i := range 12 {
			now = noon.Add(time.Duration(i) * time.Minute)
			ctx := store.WithActor(t.Context(), actors[i%3])
			_, _, err := s.PutUser(ctx, store.UserChange{ID: fmt.Sprint("user", i%4), Status: policy.ActiveUser, Attributes: fmt.Append(nil, i)})
			require.NoError(t, err)
		}
		for _, f := range []store.AuditFilter{{}, {Actor: "eve"}, {Subject: "user1"}, {Actor: "ed", Subject: "user2"}, {Actor: hostile["quotes"]},
			{Actor: "nobody"}, {Subject: "a\x00"}, {Actor: "\xff"}} {
			var want, got []int64
			for i := 12; i >= 1; i-- {
				if (f.Actor == "" || f.Actor == actors[(i-1)%3]) && (f.Subject == "" || f.Subject == fmt.Sprint("user", (i-1)%4)) {
					want = append(want, int64(i))
				}
			}
			for f.Limit = 2; len(got) <= len(want); { // no longer, should the pages repeat themselves
				list := audit(t, s, f)
				require.LessOrEqual(t, len(list), 2)
				if len(list) == 0 {
					break
				}
				for _, e := range list {
					require.Equal(t, noon.Add(time.Duration(e.Number-1)*time.Minute), e.At)
					got = append(got, e.Number)
				}
				f.Before = got[len(got)-1]
			}
			require.Equal(t, want, got, "%+v", f)
		}

		n, err := s.PruneAudit(t.Context(), noon.Add(9*time.Minute))
		require.NoError(t, err)
		require.EqualValues(t, 9, n)
		require.Len(t, audit(t, s, store.AuditFilter{}), 3)
		n, err = s.PruneChanges(t.Context(), noon.Add(time.Hour))
		require.NoError(t, err)
		require.EqualValues(t, 12, n)
		require.Len(t, audit(t, s, store.AuditFilter{}), 3, "the feed is forgotten sooner")
		withUsers(t, s, "another")
		require.EqualValues(t, 13, audit(t, s, store.AuditFilter{})[0].Number, "numbers do not begin anew")
	})

	t.Run("of any length, by anybody", func(t *testing.T) {
		s := fresh(t, database)
		withUsers(t, s, "anna")
		long := policy.Entitlement{ID: "e1", Tag: strings.Repeat("x", 60_000)}
		_, err := s.AddEntitlement(store.WithActor(t.Context(), "a\x00\xff"+strings.Repeat("b", 1000)), "anna", long)
		require.NoError(t, err)
		e := audit(t, s, store.AuditFilter{})[0]
		require.JSONEq(t, `{"id":"e1","cut":true}`, string(e.Detail))
		require.True(t, strings.HasPrefix(e.Actor, "a\uFFFD\uFFFDbbb"), e.Actor)
		require.LessOrEqual(t, len(e.Actor), 256)

		many := &policy.Catalog{}
		for i := range 1000 {
			many.Plans = append(many.Plans, policy.Plan{Key: fmt.Sprint("plan", i)})
		}
		_, _, err = s.ApplyCatalog(t.Context(), many, nil)
		require.NoError(t, err)
		e = audit(t, s, store.AuditFilter{})[0]
		require.JSONEq(t, `{"version":1,"cut":true}`, string(e.Detail))
		require.Equal(t, "system", e.Actor, "nobody said who")
	})
}

// quoted is a hostile text as JSON.
func quoted(name string) string {
	b, err := json.Marshal(hostile[name])
	if err != nil {
		panic(err)
	}
	return string(b)
}

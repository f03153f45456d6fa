package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// Calls are one call of each kind, to see how they fail.
func Calls(s Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Ping": s.Ping,
		"FactsByCredential": func(ctx context.Context) error {
			_, _, err := s.FactsByCredential(ctx, policy.HashKey("ak_1"))
			return err
		},
		"FactsByUser": func(ctx context.Context) error { _, err := s.FactsByUser(ctx, "anna"); return err },
		"PutUser":     func(ctx context.Context) error { return s.PutUser(ctx, "ben", policy.SuspendedUser, nil) },
		"AddHold": func(ctx context.Context) error {
			_, err := s.AddHold(ctx, "anna", policy.Hold{Kind: "abuse"})
			return err
		},
		"AddCredential": func(ctx context.Context) error {
			_, err := s.AddCredential(ctx, policy.HashKey(store.NewID("ak")), policy.Credential{Kind: policy.CredentialKey, User: "anna"}, noon)
			return err
		},
		"ApplyCatalog": func(ctx context.Context) error {
			_, err := s.ApplyCatalog(ctx, &policy.Catalog{Plans: []policy.Plan{{Key: store.NewID("plan")}}})
			return err
		},
		"Catalog": func(ctx context.Context) error { _, err := s.Catalog(ctx); return err },
		"Changes": func(ctx context.Context) error { _, err := s.Changes(ctx, 0, 10); return err },
		"AcquireLease": func(ctx context.Context) error {
			_, _, err := s.AcquireLease(ctx, lease("1", 0), 1, policy.OnLimitReject)
			return err
		},
		"StartPreview": func(ctx context.Context) error {
			_, err := s.StartPreview(ctx, "user:anna", "*", noon, time.Hour)
			return err
		},
		"WriteSessions": func(ctx context.Context) error { return s.WriteSessions(ctx, []policy.Session{watching("1")}) },
		"Sessions":      func(ctx context.Context) error { _, err := s.Sessions(ctx, store.SessionFilter{}); return err },
	}
}

func testErrors(t *testing.T, database func(testing.TB) Open) {
	s := fresh(t, database)
	withUsers(t, s, "anna")
	_, err := s.ApplyCatalog(t.Context(), catalog())
	require.NoError(t, err)
	before := last(t, s)

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for name, call := range Calls(s) {
		err := call(gone)
		require.ErrorIs(t, err, context.Canceled, name)
		require.NotErrorIs(t, err, store.ErrUnavailable, name)
		err = call(late)
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.ErrorIs(t, err, store.ErrUnavailable, name)
	}
	require.Equal(t, before, last(t, s), "none of these had an effect")
	for name, call := range Calls(s) {
		require.NoError(t, call(t.Context()), name)
	}
}

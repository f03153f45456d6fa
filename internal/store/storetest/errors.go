package storetest

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// Calls are one call of each kind, to see how they fail.
func Calls(s Store) map[string]func(context.Context) error {
	calls := map[string]func(context.Context) error{
		"Ping": s.Ping,
		"FactsByCredential": func(ctx context.Context) error {
			_, _, err := s.FactsByCredential(ctx, policy.HashKey("ak_1"))
			return err
		},
		"FactsByUser": func(ctx context.Context) error { _, err := s.FactsByUser(ctx, "anna"); return err },
		"PutUser": func(ctx context.Context) error {
			_, _, err := s.PutUser(ctx, store.UserChange{ID: "ben", Status: policy.SuspendedUser})
			return err
		},
		"Users":    func(ctx context.Context) error { _, err := s.Users(ctx, store.UserFilter{}); return err },
		"Holds":    func(ctx context.Context) error { _, err := s.Holds(ctx, "anna", store.Page{}); return err },
		"Audit":    func(ctx context.Context) error { _, err := s.Audit(ctx, store.AuditFilter{}); return err },
		"Payments": func(ctx context.Context) error { _, err := s.Payments(ctx, store.PaymentFilter{}); return err },
		"PutPayment": func(ctx context.Context) error {
			return s.PutPayment(ctx, store.Payment{Provider: "p", ID: store.NewID("pay"), Status: store.PaymentFailed})
		},
		"AddAPIKey": func(ctx context.Context) error {
			_, err := s.AddAPIKey(ctx, store.APIKey{Name: "ci", Role: store.RoleRead}, policy.HashKey(store.NewID("ak")))
			return err
		},
		"APIKeys": func(ctx context.Context) error { _, err := s.APIKeys(ctx, store.Page{}); return err },
		"APIKeyByHash": func(ctx context.Context) error {
			if _, err := s.APIKeyByHash(ctx, policy.HashKey("none")); !errors.Is(err, store.ErrNotFound) {
				return err
			}
			return nil
		},
		"AddHold": func(ctx context.Context) error {
			_, err := s.AddHold(ctx, "anna", policy.Hold{Kind: "abuse"})
			return err
		},
		"AddCredential": func(ctx context.Context) error {
			_, err := s.AddCredential(ctx, policy.HashKey(store.NewID("ak")), policy.Credential{Kind: policy.CredentialKey, User: "anna"}, noon)
			return err
		},
		"ApplyCatalog": func(ctx context.Context) error {
			_, _, err := s.ApplyCatalog(ctx, &policy.Catalog{Plans: []policy.Plan{{Key: store.NewID("plan")}}}, nil)
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
		"HeldSessions": func(ctx context.Context) error {
			return s.HeldSessions(ctx, "n", noon, func(policy.Session) error { return nil })
		},
		"EndSession": func(ctx context.Context) error {
			if err := s.EndSession(ctx, "n", "none"); !errors.Is(err, store.ErrNotFound) {
				return err
			}
			return nil
		},
		"RenewLeases": func(ctx context.Context) error {
			_, err := s.RenewLeases(ctx, "n", places("anna", "1"), noon)
			return err
		},
	}
	maps.Copy(calls, billingCalls(s))
	return calls
}

func testErrors(t *testing.T, database func(testing.TB) Open) {
	s := fresh(t, database)
	withUsers(t, s, "anna")
	_, _, err := s.ApplyCatalog(t.Context(), catalog(), nil)
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

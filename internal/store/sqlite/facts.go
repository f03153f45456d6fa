package sqlite

import (
	"context"
	_ "embed"
	"time"

	"authhook/internal/policy"
	"authhook/internal/store"
)

//go:embed facts.sql
var sqlFacts string

// FactsByCredential implements policy.Source.
func (s *Store) FactsByCredential(ctx context.Context, hash policy.CredentialHash) (*policy.Credential, *policy.UserFacts,
	error) {
	c, u, _, err := s.FactsByCredentialAsOf(ctx, hash)
	return c, u, err
}

// FactsByUser implements policy.Source.
func (s *Store) FactsByUser(ctx context.Context, user string) (*policy.UserFacts, error) {
	u, _, err := s.FactsByUserAsOf(ctx, user)
	return u, err
}

// FactsByCredentialAsOf is FactsByCredential, and the last entry of the change feed at the moment of the facts: they hold
// every change up to its number, and none after. It is zero where the feed has no such entry.
func (s *Store) FactsByCredentialAsOf(ctx context.Context, hash policy.CredentialHash) (*policy.Credential, *policy.UserFacts,
	store.Change, error) {
	var f store.FactsReader
	err := s.read(ctx, "read the facts of a credential", func(ctx context.Context) error {
		return s.facts(ctx, &f, hash[:], nil, store.MonthOf(s.Now()))
	})
	if err != nil {
		return nil, nil, store.Change{}, err
	}
	return f.Credential, f.User, f.AsOf, nil
}

// FactsByUserAsOf is FactsByUser, with the same.
func (s *Store) FactsByUserAsOf(ctx context.Context, user string) (*policy.UserFacts, store.Change, error) {
	month := store.MonthOf(s.Now())
	f := store.FactsReader{User: &policy.UserFacts{User: user, UsedMonth: month}}
	if store.CheckUserID(user) != nil { // a JWT may name anyone
		return f.User, store.Change{}, nil
	}
	err := s.read(ctx, "read the facts of a user", func(ctx context.Context) error {
		return s.facts(ctx, &f, nil, user, month)
	})
	if err != nil {
		return nil, store.Change{}, err
	}
	return f.User, f.AsOf, nil
}

func (s *Store) facts(ctx context.Context, f *store.FactsReader, hash, user any, month time.Time) error {
	rows, err := s.query(ctx, sqlFacts, hash, user, month.UnixMicro(), store.CountsSince(month).UnixMicro())
	var r store.FactsRow
	err = each(rows, err, r.Columns(), func() error { return f.Add(&r, month) })
	f.Sort()
	return err
}

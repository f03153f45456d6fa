package postgres

import (
	"context"
	_ "embed"
	"time"

	"github.com/jackc/pgx/v5"

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
//
// One statement reads both, at one snapshot. Whoever numbers a change holds the counter's row until the commit is visible,
// so a snapshot that has a number has all that was committed up to it.
func (s *Store) FactsByCredentialAsOf(ctx context.Context, hash policy.CredentialHash) (*policy.Credential, *policy.UserFacts,
	store.Change, error) {
	var f store.FactsReader
	err := s.read(ctx, "read the facts of a credential", func(ctx context.Context) error {
		f = store.FactsReader{}
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
	if store.CheckUserID(user) != nil { // a JWT may name anyone
		return &policy.UserFacts{User: user, UsedMonth: month}, store.Change{}, nil
	}
	var f store.FactsReader
	err := s.read(ctx, "read the facts of a user", func(ctx context.Context) error {
		f = store.FactsReader{User: &policy.UserFacts{User: user, UsedMonth: month}}
		return s.facts(ctx, &f, nil, &user, month)
	})
	if err != nil {
		return nil, store.Change{}, err
	}
	return f.User, f.AsOf, nil
}

func (s *Store) facts(ctx context.Context, f *store.FactsReader, hash []byte, user *string, month time.Time) error {
	rows, err := s.pool.Query(ctx, sqlFacts, hash, user, month, store.CountsSince(month))
	if err != nil {
		return err
	}
	var r store.FactsRow
	_, err = pgx.ForEachRow(rows, r.Columns(), func() error { return f.Add(&r, month) })
	f.Sort()
	return err
}

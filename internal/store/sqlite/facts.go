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
	var f store.FactsReader
	err := s.read(ctx, "read the facts of a credential", func(ctx context.Context) error {
		return s.facts(ctx, &f, hash[:], nil, store.MonthOf(s.Now()))
	})
	if err != nil {
		return nil, nil, err
	}
	return f.Credential, f.User, nil
}

// FactsByUser implements policy.Source.
func (s *Store) FactsByUser(ctx context.Context, user string) (*policy.UserFacts, error) {
	month := store.MonthOf(s.Now())
	f := store.FactsReader{User: &policy.UserFacts{User: user, UsedMonth: month}}
	if store.CheckUserID(user) != nil { // a JWT may name anyone
		return f.User, nil
	}
	err := s.read(ctx, "read the facts of a user", func(ctx context.Context) error {
		return s.facts(ctx, &f, nil, user, month)
	})
	if err != nil {
		return nil, err
	}
	return f.User, nil
}

func (s *Store) facts(ctx context.Context, f *store.FactsReader, hash, user any, month time.Time) error {
	rows, err := s.query(ctx, sqlFacts, hash, user, month.UnixMicro(), store.CountsSince(month).UnixMicro())
	var r store.FactsRow
	err = each(rows, err, r.Columns(), func() error { return f.Add(&r, month) })
	f.Sort()
	return err
}

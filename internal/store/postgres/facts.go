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
	var f store.FactsReader
	err := s.read(ctx, "read the facts of a credential", func(ctx context.Context) error {
		f = store.FactsReader{}
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
	if store.CheckUserID(user) != nil { // a JWT may name anyone
		return &policy.UserFacts{User: user, UsedMonth: month}, nil
	}
	var f store.FactsReader
	err := s.read(ctx, "read the facts of a user", func(ctx context.Context) error {
		f = store.FactsReader{User: &policy.UserFacts{User: user, UsedMonth: month}}
		return s.facts(ctx, &f, nil, &user, month)
	})
	if err != nil {
		return nil, err
	}
	return f.User, nil
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

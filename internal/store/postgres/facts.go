package postgres

import (
	"context"
	_ "embed"

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
		return s.facts(ctx, &f, hash[:], nil)
	})
	if err != nil {
		return nil, nil, err
	}
	return f.Credential, f.User, nil
}

// FactsByUser implements policy.Source.
func (s *Store) FactsByUser(ctx context.Context, user string) (*policy.UserFacts, error) {
	if store.CheckUserID(user) != nil { // a JWT may name anyone
		return &policy.UserFacts{User: user, UsedMonth: store.MonthOf(s.Now())}, nil
	}
	var f store.FactsReader
	err := s.read(ctx, "read the facts of a user", func(ctx context.Context) error {
		f = store.FactsReader{User: &policy.UserFacts{User: user, UsedMonth: store.MonthOf(s.Now())}}
		return s.facts(ctx, &f, nil, &user)
	})
	if err != nil {
		return nil, err
	}
	return f.User, nil
}

func (s *Store) facts(ctx context.Context, f *store.FactsReader, hash []byte, user *string) error {
	month := store.MonthOf(s.Now())
	rows, err := s.pool.Query(ctx, sqlFacts, hash, user, month)
	if err != nil {
		return err
	}
	var r store.FactsRow
	_, err = pgx.ForEachRow(rows, r.Columns(), func() error { return f.Add(&r, month) })
	f.Sort()
	return err
}

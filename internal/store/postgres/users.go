package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"authhook/internal/policy"
	"authhook/internal/store"
)

const (
	// Nothing is written when nothing changes, and so no one need forget what it knows. json has no equality, its text has.
	sqlPutUser = `
INSERT INTO users AS u (id, status, attributes, created_at, updated_at)
VALUES ($1, $2, $3::json, $4, $4)
ON CONFLICT (id) DO UPDATE
SET status = excluded.status, attributes = coalesce(excluded.attributes, u.attributes), updated_at = excluded.updated_at
WHERE (u.status, u.attributes::text)
    IS DISTINCT FROM (excluded.status, coalesce(excluded.attributes, u.attributes)::text)`

	sqlUser = `SELECT status, coalesce(attributes::text, ''), created_at, updated_at FROM users WHERE id = $1`
)

// PutUser makes a user, or changes one. Attributes that are nil leave those of the user as they are.
func (s *Store) PutUser(ctx context.Context, id string, status policy.UserStatus, attributes json.RawMessage) error {
	if err := store.CheckUser(id, status, attributes); err != nil {
		return err
	}
	return s.write(ctx, "put a user", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlPutUser, id, status, document(attributes), s.Now())
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return s.appendChanges(ctx, tx, store.Change{Kind: store.ChangeUser, Subject: id})
	})
}

// document is a JSON document as a parameter: NULL when there is none.
func document(doc json.RawMessage) *string {
	if doc == nil {
		return nil
	}
	text := string(doc)
	return &text
}

// User reads a user. [store.ErrNotFound] when there is none with this id.
func (s *Store) User(ctx context.Context, id string) (store.User, error) {
	u := store.User{ID: id}
	if store.CheckUserID(id) != nil {
		return u, fmt.Errorf("user %q: %w", id, store.ErrNotFound)
	}
	err := s.read(ctx, "read a user", func(ctx context.Context) error {
		var attributes string
		var created, updated store.Moment
		err := s.pool.QueryRow(ctx, sqlUser, id).Scan(&u.Status, &attributes, &created, &updated)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("user %q: %w", id, store.ErrNotFound)
		}
		if attributes != "" {
			u.Attributes = json.RawMessage(attributes)
		}
		u.Created, u.Updated = created.Time, updated.Time
		return err
	})
	return u, err
}

// lists reads a user's rows of one table; [store.ErrNotFound] when there is no such user.
func lists[T any](ctx context.Context, s *Store, what, sql, user string, of func(*store.FactsRow) (T, error)) ([]T, error) {
	if _, err := s.User(ctx, user); err != nil {
		return nil, err
	}
	var list []T
	err := s.read(ctx, what, func(ctx context.Context) (err error) {
		list, err = factsRows(ctx, s, sql, user, of)
		return err
	})
	return list, err
}

package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"authhook/internal/policy"
	"authhook/internal/store"
)

const (
	// Nothing is written when nothing changes, and so no one need forget what it knows.
	sqlPutUser = `
INSERT INTO users AS u (id, status, attributes, created_at, updated_at)
VALUES (?1, ?2, ?3, ?4, ?4)
ON CONFLICT (id) DO UPDATE
SET status = excluded.status, attributes = coalesce(excluded.attributes, u.attributes), updated_at = excluded.updated_at
WHERE u.status IS NOT excluded.status OR u.attributes IS NOT coalesce(excluded.attributes, u.attributes)`

	sqlUser = `SELECT status, coalesce(attributes, ''), created_at, updated_at FROM users WHERE id = ?1`
)

// PutUser makes a user, or changes one. Attributes that are nil leave those of the user as they are.
func (s *Store) PutUser(ctx context.Context, id string, status policy.UserStatus, attributes json.RawMessage) error {
	if err := store.CheckUser(id, status, attributes); err != nil {
		return err
	}
	var doc any
	if attributes != nil {
		doc = string(attributes)
	}
	return s.write(ctx, "put a user", func(t *tx) error {
		n, err := t.changed(sqlPutUser, id, string(status), doc, micros(s.Now()))
		if err != nil || n == 0 {
			return err
		}
		return t.appendChanges(store.Change{Kind: store.ChangeUser, Subject: id})
	})
}

// User reads a user. [store.ErrNotFound] when there is none with this id.
func (s *Store) User(ctx context.Context, id string) (store.User, error) {
	u := store.User{ID: id}
	err := s.read(ctx, "read a user", func(ctx context.Context) error {
		var attributes string
		var created, updated store.Moment
		err := s.queryRow(ctx, sqlUser, []any{id}, &u.Status, &attributes, &created, &updated)
		if errors.Is(err, sql.ErrNoRows) {
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
func lists[T any](ctx context.Context, s *Store, what, text, user string, of func(*store.FactsRow) (T, error)) ([]T, error) {
	if _, err := s.User(ctx, user); err != nil {
		return nil, err
	}
	var list []T
	err := s.read(ctx, what, func(ctx context.Context) error {
		var r store.FactsRow
		rows, err := s.query(ctx, text, user, store.MaxFacts)
		return each(rows, err, r.Columns(), func() error {
			v, err := of(&r)
			list = append(list, v)
			return err
		})
	})
	return list, err
}

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"authhook/internal/store"
)

// page reads a page of a list.
func page[R, T any, P interface {
	*R
	Columns() []any
}](ctx context.Context, s *Store, what, text string, args []any, of func(*R) (T, error)) ([]T, error) {
	var list []T
	err := s.read(ctx, what, func(ctx context.Context) error {
		var r R
		rows, err := s.query(ctx, text, args...)
		return each(rows, err, P(&r).Columns(), func() error {
			v, err := of(&r)
			list = append(list, v)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// lists reads a page of a user's rows of one table; [store.ErrNotFound] when there is no such user.
func lists[T any](ctx context.Context, s *Store, what, text, user string, p store.Page,
	of func(*store.StoredRow) (T, error)) ([]T, error) {
	if _, err := s.User(ctx, user); err != nil {
		return nil, err
	}
	p = p.Clean()
	return page(ctx, s, what, text, []any{user, p.After, p.Limit}, of)
}

// find reads one row; [store.ErrNotFound] when there is none.
func find[R, T any, P interface {
	*R
	Columns() []any
}](ctx context.Context, s *Store, thing, id, text string, args []any, of func(*R) (T, error)) (T, error) {
	var r R
	err := s.read(ctx, "read one "+thing, func(ctx context.Context) error {
		return notFound(s.queryRow(ctx, text, args, P(&r).Columns()...), thing, id)
	})
	if err != nil {
		return *new(T), err
	}
	return of(&r)
}

// notFound turns "there is no such row" into [store.ErrNotFound].
func notFound(err error, thing, id string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s %q: %w", thing, id, store.ErrNotFound)
	}
	return err
}

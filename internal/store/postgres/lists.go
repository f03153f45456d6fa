package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"authhook/internal/store"
)

// page reads a page of a list.
func page[R, T any, P interface {
	*R
	Columns() []any
}](ctx context.Context, s *Store, what, sql string, args []any, of func(*R) (T, error)) ([]T, error) {
	var list []T
	err := s.read(ctx, what, func(ctx context.Context) error {
		list = nil
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		var r R
		_, err = pgx.ForEachRow(rows, P(&r).Columns(), func() error {
			v, err := of(&r)
			list = append(list, v)
			return err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// lists reads a page of a user's rows of one table; [store.ErrNotFound] when there is no such user.
func lists[T any](ctx context.Context, s *Store, what, sql, user string, p store.Page,
	of func(*store.StoredRow) (T, error)) ([]T, error) {
	if _, err := s.User(ctx, user); err != nil {
		return nil, err
	}
	p = p.Clean()
	return page(ctx, s, what, sql, []any{user, p.After, p.Limit}, of)
}

// find reads one row; [store.ErrNotFound] when there is none. Id is one of the args that are texts.
func find[R, T any, P interface {
	*R
	Columns() []any
}](ctx context.Context, s *Store, thing, id, sql string, args []any, of func(*R) (T, error)) (T, error) {
	for _, arg := range args {
		if text, ok := arg.(string); ok && !store.Storable(text) {
			return *new(T), notFound(pgx.ErrNoRows, thing, id)
		}
	}
	var r R
	err := s.read(ctx, "read one "+thing, func(ctx context.Context) error {
		return notFound(s.pool.QueryRow(ctx, sql, args...).Scan(P(&r).Columns()...), thing, id)
	})
	if err != nil {
		return *new(T), err
	}
	return of(&r)
}

// notFound turns "there is no such row" into [store.ErrNotFound].
func notFound(err error, thing, id string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%s %q: %w", thing, id, store.ErrNotFound)
	}
	return err
}

package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"authhook/internal/store"
)

const (
	sqlUserColumns = `id, status, coalesce(attributes::text, ''), version, created_at, updated_at`

	sqlUser = `SELECT ` + sqlUserColumns + ` FROM users WHERE id = $1`

	// It does not hold up who adds something of the user's.
	sqlLockUser = sqlUser + ` FOR NO KEY UPDATE`

	sqlAddUser = `
INSERT INTO users (id, status, attributes, version, created_at, updated_at)
VALUES ($1, $2, $3::json, $4, $5, $6)
ON CONFLICT (id) DO NOTHING`

	sqlChangeUser = `UPDATE users SET status = $2, attributes = $3::json, version = $4, updated_at = $5 WHERE id = $1`

	// Planned anew each time: which index serves depends on which of the filters are set.
	sqlUsers = `
SELECT ` + sqlUserColumns + ` FROM users
WHERE id >= $1 AND id < $2 AND id <> $3 AND ($4 = '' OR status = $4)
ORDER BY id
LIMIT $5`
)

// PutUser makes a user, or changes one, and says which. Where the user is that already, nothing happens.
// [store.ErrConflict] when the version does not fit.
func (s *Store) PutUser(ctx context.Context, c store.UserChange) (u store.User, created bool, err error) {
	if err := c.Check(); err != nil {
		return store.User{}, false, err
	}
	err = s.write(ctx, "put a user", func(ctx context.Context, tx pgx.Tx) error {
		old, err := lockUser(ctx, tx, c.ID)
		if err != nil {
			return err
		}
		var changed bool
		u, changed, err = c.Onto(old, s.Now())
		if created = changed && old == nil; err != nil || !changed {
			return err
		}
		if created {
			tag, err := tx.Exec(ctx, sqlAddUser, u.ID, u.Status, document(u), u.Version, u.Created, u.Updated)
			if err == nil && tag.RowsAffected() == 0 {
				err = errAddedMeanwhile
			}
			if err != nil {
				return err
			}
		} else if _, err := tx.Exec(ctx, sqlChangeUser, u.ID, u.Status, document(u), u.Version, u.Updated); err != nil {
			return err
		}
		return s.record(ctx, tx, store.UserPut(old, u))
	})
	if err != nil {
		return store.User{}, false, err
	}
	return u, created, nil
}

// errAddedMeanwhile: a row was not there and then was. The next attempt finds it.
var errAddedMeanwhile = fmt.Errorf("it was added meanwhile: %w", errRace)

// lockUser is a user as it stands, nil when there is none, and keeps others from changing it.
func lockUser(ctx context.Context, tx pgx.Tx, id string) (*store.User, error) {
	var r store.UserRow
	err := tx.QueryRow(ctx, sqlLockUser, id).Scan(r.Columns()...)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u, err := r.User()
	return &u, err
}

// document is a user's attributes as a parameter: NULL when there are none.
func document(u store.User) *string {
	if u.Attributes == nil {
		return nil
	}
	text := string(u.Attributes)
	return &text
}

// User reads a user. [store.ErrNotFound] when there is none with this id.
func (s *Store) User(ctx context.Context, id string) (store.User, error) {
	return find(ctx, s, "user", id, sqlUser, []any{id}, (*store.UserRow).User)
}

// Users are those that a filter picks, ordered by id.
func (s *Store) Users(ctx context.Context, f store.UserFilter) ([]store.User, error) {
	f = f.Clean()
	from, below := f.Range()
	args := []any{pgx.QueryExecModeExec, from, below, f.After, string(f.Status), f.Limit}
	return page(ctx, s, "list users", sqlUsers, args, (*store.UserRow).User)
}

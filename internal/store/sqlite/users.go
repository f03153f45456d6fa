package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"authhook/internal/store"
)

const (
	sqlUserColumns = `id, status, coalesce(attributes, ''), version, created_at, updated_at`

	sqlUser = `SELECT ` + sqlUserColumns + ` FROM users WHERE id = ?1`

	sqlAddUser = `INSERT INTO users (id, status, attributes, version, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)`

	sqlChangeUser = `UPDATE users SET status = ?2, attributes = ?3, version = ?4, updated_at = ?5 WHERE id = ?1`

	// One statement for each index that can serve.
	sqlUsers = `
SELECT ` + sqlUserColumns + ` FROM users WHERE id >= ?1 AND id < ?2 AND id <> ?3 ORDER BY id LIMIT ?4`

	sqlUsersOfStatus = `
SELECT ` + sqlUserColumns + ` FROM users
WHERE status = ?5 AND id >= ?1 AND id < ?2 AND id <> ?3
ORDER BY id
LIMIT ?4`
)

// PutUser makes a user, or changes one, and says which. Where the user is that already, nothing happens.
// [store.ErrConflict] when the version does not fit.
func (s *Store) PutUser(ctx context.Context, c store.UserChange) (u store.User, created bool, err error) {
	if err := c.Check(); err != nil {
		return store.User{}, false, err
	}
	err = s.write(ctx, "put a user", func(t *tx) error {
		old, err := t.user(c.ID)
		if err != nil {
			return err
		}
		var changed bool
		u, changed, err = c.Onto(old, s.Now())
		if created = changed && old == nil; err != nil || !changed {
			return err
		}
		if created {
			err = t.addUser(u)
		} else {
			err = t.changeUser(u)
		}
		if err != nil {
			return err
		}
		return t.record(store.UserPut(old, u))
	})
	if err != nil {
		return store.User{}, false, err
	}
	return u, created, nil
}

func (t *tx) addUser(u store.User) error {
	_, err := t.exec(sqlAddUser, u.ID, string(u.Status), document(u), u.Version, micros(u.Created), micros(u.Updated))
	return err
}

func (t *tx) changeUser(u store.User) error {
	_, err := t.exec(sqlChangeUser, u.ID, string(u.Status), document(u), u.Version, micros(u.Updated))
	return err
}

// user is a user as it stands; nil when there is none.
func (t *tx) user(id string) (*store.User, error) {
	var r store.UserRow
	err := t.queryRow(sqlUser, []any{id}, r.Columns()...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u, err := r.User()
	return &u, err
}

// document is a user's attributes as a column holds them: NULL when there are none.
func document(u store.User) any {
	if u.Attributes == nil {
		return nil
	}
	return string(u.Attributes)
}

// User reads a user. [store.ErrNotFound] when there is none with this id.
func (s *Store) User(ctx context.Context, id string) (store.User, error) {
	return find(ctx, s, "user", id, sqlUser, []any{id}, (*store.UserRow).User)
}

// Users are those that a filter picks, ordered by id.
func (s *Store) Users(ctx context.Context, f store.UserFilter) ([]store.User, error) {
	f = f.Clean()
	from, below := f.Range()
	text, args := sqlUsers, []any{from, below, f.After, f.Limit}
	if f.Status != "" {
		text, args = sqlUsersOfStatus, append(args, string(f.Status))
	}
	return page(ctx, s, "list users", text, args, (*store.UserRow).User)
}

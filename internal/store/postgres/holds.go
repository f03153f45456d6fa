package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"authhook/internal/policy"
	"authhook/internal/store"
)

const (
	sqlAddHold = `
INSERT INTO holds (id, user_id, kind, ref, from_at, created_at, origin) VALUES ($1, $2, $3, $4, $5, $6, $7)`

	// The columns are those of store.StoredRow.
	sqlHoldColumns = `5, id, kind, ref, '', '', false, false, from_at, NULL::timestamptz, NULL::timestamptz, 0::bigint, user_id,
    created_at, NULL::timestamptz`

	sqlHold = `SELECT ` + sqlHoldColumns + ` FROM holds WHERE user_id = $1 AND id = $2`

	sqlHolds = `SELECT ` + sqlHoldColumns + ` FROM holds WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3`

	sqlRemoveHold = `DELETE FROM holds WHERE user_id = $1 AND id = $2 RETURNING ` + sqlHoldColumns
)

// AddHold blocks a user and returns the hold's id. [store.ErrNotFound] when there is no such user.
func (s *Store) AddHold(ctx context.Context, user string, h policy.Hold) (string, error) {
	if err := store.CheckHold(user, h); err != nil {
		return "", err
	}
	if h.ID == "" {
		h.ID = store.NewID("hold")
	}
	err := s.write(ctx, "add a hold", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlAddHold, h.ID, user, h.Kind, h.Ref, stamp(h.From), s.Now(), ""); err != nil {
			return err
		}
		return s.record(ctx, tx, store.HoldAdded(user, h))
	})
	if err != nil {
		return "", err
	}
	return h.ID, nil
}

// RemoveHold lifts a hold. [store.ErrNotFound] when the user has none with this id.
func (s *Store) RemoveHold(ctx context.Context, user, id string) error {
	if !store.Storable(user) || !store.Storable(id) {
		return notFound(pgx.ErrNoRows, "hold", id)
	}
	return s.write(ctx, "remove a hold", func(ctx context.Context, tx pgx.Tx) error {
		var r store.StoredRow
		err := tx.QueryRow(ctx, sqlRemoveHold, user, id).Scan(r.Columns()...)
		if err := notFound(err, "hold", id); err != nil {
			return err
		}
		return s.record(ctx, tx, store.HoldRemoved(user, store.HoldOf(&r.FactsRow)))
	})
}

// Hold reads a hold. [store.ErrNotFound] when the user has none with this id.
func (s *Store) Hold(ctx context.Context, user, id string) (store.StoredHold, error) {
	return find(ctx, s, "hold", id, sqlHold, []any{user, id}, store.StoredHoldOf)
}

// Holds are those that stand against a user, ordered by id. [store.ErrNotFound] when there is no such user.
func (s *Store) Holds(ctx context.Context, user string, p store.Page) ([]store.StoredHold, error) {
	return lists(ctx, s, "list a user's holds", sqlHolds, user, p, store.StoredHoldOf)
}

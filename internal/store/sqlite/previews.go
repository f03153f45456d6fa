package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"authhook/internal/store"
)

const (
	sqlPreview = `SELECT began_at FROM previews WHERE viewer = ?1 AND match = ?2 AND began_at > ?3`

	sqlStartPreview = `
INSERT INTO previews (viewer, match, began_at) VALUES (?1, ?2, ?3)
ON CONFLICT (viewer, match) DO UPDATE SET began_at = excluded.began_at
RETURNING began_at`

	sqlPrunePreviews = `
DELETE FROM previews WHERE (viewer, match) IN (SELECT viewer, match FROM previews WHERE began_at < ?1 LIMIT ?2)`
)

// StartPreview implements policy.Previews.
func (s *Store) StartPreview(ctx context.Context, viewer, match string, now time.Time, every time.Duration) (time.Time,
	error) {
	if err := store.CheckPreview(viewer, match); err != nil {
		return time.Time{}, err
	}
	var began store.Moment
	err := s.jot(ctx, "start a preview", callTimeout, func(t *tx) error {
		err := t.queryRow(sqlPreview, []any{viewer, match, micros(now.Add(-every))}, &began)
		if errors.Is(err, sql.ErrNoRows) {
			err = t.queryRow(sqlStartPreview, []any{viewer, match, micros(now)}, &began)
		}
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	return began.Time, nil
}

// Preview implements policy.Previews.
func (s *Store) Preview(ctx context.Context, viewer, match string, now time.Time, every time.Duration) (time.Time, error) {
	if err := store.CheckPreview(viewer, match); err != nil {
		return time.Time{}, err
	}
	var began store.Moment
	err := s.read(ctx, "read a preview", func(ctx context.Context) error {
		err := s.queryRow(ctx, sqlPreview, []any{viewer, match, micros(now.Add(-every))}, &began)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return began.Time, err
}

// PrunePreviews forgets the previews that began before a moment and says how many.
func (s *Store) PrunePreviews(ctx context.Context, beganBefore time.Time) (int64, error) {
	return s.prune(ctx, "prune previews", func(t *tx) (int64, error) {
		return t.changed(sqlPrunePreviews, micros(beganBefore), pruneBatch)
	})
}

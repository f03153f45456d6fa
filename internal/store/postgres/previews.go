package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"authhook/internal/store"
)

const (
	// Two that start at once meet at the row: the second one finds the first one's moment.
	sqlStartPreview = `
INSERT INTO previews AS p (viewer, match, began_at) VALUES ($1, $2, $3)
ON CONFLICT (viewer, match) DO UPDATE
SET began_at = CASE WHEN p.began_at > $4 THEN p.began_at ELSE excluded.began_at END
RETURNING began_at`

	sqlPreview = `SELECT began_at FROM previews WHERE viewer = $1 AND match = $2 AND began_at > $3`

	sqlPrunePreviews = `
WITH dropped AS (
    DELETE FROM previews
    WHERE (viewer, match) IN (SELECT viewer, match FROM previews WHERE began_at < $1 LIMIT $2)
    RETURNING 1
)
SELECT count(*) FROM dropped`
)

// StartPreview implements policy.Previews.
func (s *Store) StartPreview(ctx context.Context, viewer, match string, now time.Time, every time.Duration) (time.Time,
	error) {
	if err := store.CheckPreview(viewer, match); err != nil {
		return time.Time{}, err
	}
	var began store.Moment
	err := s.read(ctx, "start a preview", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, sqlStartPreview, viewer, match, now, now.Add(-every)).Scan(&began)
	})
	return began.Time, err
}

// Preview implements policy.Previews.
func (s *Store) Preview(ctx context.Context, viewer, match string, now time.Time, every time.Duration) (time.Time, error) {
	if err := store.CheckPreview(viewer, match); err != nil {
		return time.Time{}, err
	}
	var began store.Moment
	err := s.read(ctx, "read a preview", func(ctx context.Context) error {
		err := s.pool.QueryRow(ctx, sqlPreview, viewer, match, now.Add(-every)).Scan(&began)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return began.Time, err
}

// PrunePreviews forgets the previews that began before a moment and says how many.
func (s *Store) PrunePreviews(ctx context.Context, beganBefore time.Time) (int64, error) {
	return s.prune(ctx, "prune previews", sqlPrunePreviews, beganBefore)
}

package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"authhook/internal/store"
)

const (
	// The counter and the entries are read at one snapshot, so that a gap cannot open between the two.
	sqlChanges = `
SELECT counter.number, counter.pruned, coalesce(c.number, 0), c.at, coalesce(c.kind, ''), coalesce(c.subject, '')
FROM change_counter AS counter
LEFT JOIN LATERAL (
    SELECT number, at, kind, subject FROM changes WHERE number > $1 ORDER BY number LIMIT $2
) AS c ON true
ORDER BY c.number`

	sqlLastChange = `SELECT number FROM change_counter`

	// What is dropped is the beginning of the feed, up to the first entry that is to stay: the clocks of those who wrote
	// it may differ, its numbers must not have holes.
	sqlPruneChanges = `
WITH gone AS (
    SELECT coalesce(min(number) FILTER (WHERE at >= $1), max(number) + 1) - 1 AS last
    FROM (SELECT number, at FROM changes ORDER BY number LIMIT $2) AS oldest
), dropped AS (
    DELETE FROM changes USING gone WHERE number <= gone.last RETURNING 1
), noted AS (
    UPDATE change_counter SET pruned = greatest(pruned, gone.last) FROM gone WHERE gone.last IS NOT NULL
)
SELECT count(*) FROM dropped`
)

// Changes are the entries of the change feed above a number, in order, at most limit of them. The error is
// [store.ErrFeedGap] when the feed does not hold all of them, or does not reach up to the number.
func (s *Store) Changes(ctx context.Context, after int64, limit int) ([]store.Change, error) {
	var list []store.Change
	after = max(after, 0)
	err := s.read(ctx, "read the change feed", func(ctx context.Context) error {
		list = nil
		rows, err := s.pool.Query(ctx, sqlChanges, after, min(max(limit, 1), store.MaxPage))
		if err != nil {
			return err
		}
		var last, pruned int64
		var c store.Change
		var at store.Moment
		_, err = pgx.ForEachRow(rows, []any{&last, &pruned, &c.Number, &at, &c.Kind, &c.Subject}, func() error {
			if c.Number > 0 {
				list = append(list, store.Change{Number: c.Number, At: at.Time, Kind: c.Kind, Subject: c.Subject})
			}
			return nil
		})
		if err == nil && (after < pruned || after > last) {
			return fmt.Errorf("it holds changes %d to %d, not what follows %d: %w", pruned+1, last, after, store.ErrFeedGap)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// LastChange is the number of the last entry of the change feed; 0 when there was none yet.
func (s *Store) LastChange(ctx context.Context) (int64, error) {
	var n int64
	err := s.read(ctx, "read the change feed's end", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, sqlLastChange).Scan(&n)
	})
	return n, err
}

// PruneChanges drops the entries of the change feed from before a moment and says how many.
func (s *Store) PruneChanges(ctx context.Context, before time.Time) (int64, error) {
	return s.prune(ctx, "prune the change feed", sqlPruneChanges, before)
}

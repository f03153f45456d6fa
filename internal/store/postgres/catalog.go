package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"authhook/internal/policy"
	"authhook/internal/store"
)

const (
	// All parts in one statement, so that they are of one snapshot. There is a jwt row once a catalog was applied.
	sqlCatalog = `
SELECT 'jwt' AS part, 0 AS position, '' AS key, '' AS price, jwt::text AS doc FROM catalog WHERE applied_at IS NOT NULL
UNION ALL
SELECT 'plan', position, key, '', doc::text FROM plans
UNION ALL
SELECT 'price', position, provider, price, doc::text FROM prices
UNION ALL
SELECT 'stream', position, match, '', doc::text FROM streams
ORDER BY part, position
LIMIT $1`

	sqlLockCatalog  = `SELECT 1 FROM catalog FOR UPDATE`
	sqlDropPlans    = `DELETE FROM plans`
	sqlDropPrices   = `DELETE FROM prices`
	sqlDropStreams  = `DELETE FROM streams`
	sqlStampCatalog = `UPDATE catalog SET jwt = $1::json, applied_at = $2`

	sqlAddPlans = `
INSERT INTO plans (key, position, doc)
SELECT key, position, doc::json FROM unnest($1::text[], $2::text[], $3::int[], $4::text[]) AS r (key, price, position, doc)`

	sqlAddPrices = `
INSERT INTO prices (provider, price, position, doc)
SELECT key, price, position, doc::json FROM unnest($1::text[], $2::text[], $3::int[], $4::text[]) AS r (key, price, position, doc)`

	sqlAddStreams = `
INSERT INTO streams (match, position, doc)
SELECT key, position, doc::json FROM unnest($1::text[], $2::text[], $3::int[], $4::text[]) AS r (key, price, position, doc)`
)

// Catalog reads the catalog as it was applied last, indexed. [store.ErrNotFound] when none ever was.
func (s *Store) Catalog(ctx context.Context) (*policy.Catalog, error) {
	var rows []store.CatalogRow
	err := s.try(ctx, "read the catalog", longTimeout, true, func(ctx context.Context) (err error) {
		rows, err = catalogRows(s.pool.Query(ctx, sqlCatalog, store.MaxCatalog))
		return err
	})
	if err != nil {
		return nil, err
	}
	return store.CatalogOf(rows)
}

// ApplyCatalog replaces the catalog as a whole. Applying what is there already changes nothing.
func (s *Store) ApplyCatalog(ctx context.Context, c *policy.Catalog) (changed bool, err error) {
	rows, err := store.CatalogRows(c)
	if err != nil {
		return false, err
	}
	err = s.writeWithin(ctx, "apply the catalog", longTimeout, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlLockCatalog); err != nil {
			return err
		}
		old, err := catalogRows(tx.Query(ctx, sqlCatalog, store.MaxCatalog))
		if changed = !slices.Equal(old, rows); err != nil || !changed {
			return err
		}
		var b pgx.Batch
		b.Queue(sqlDropPlans)
		b.Queue(sqlDropPrices)
		b.Queue(sqlDropStreams)
		b.Queue(sqlAddPlans, columns(rows, store.PartPlan)...)
		b.Queue(sqlAddPrices, columns(rows, store.PartPrice)...)
		b.Queue(sqlAddStreams, columns(rows, store.PartStream)...)
		b.Queue(sqlStampCatalog, rows[0].Doc, s.Now())
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		return s.appendChanges(ctx, tx, store.Change{Kind: store.ChangeCatalog})
	})
	return changed && err == nil, err
}

func catalogRows(rows pgx.Rows, err error) ([]store.CatalogRow, error) {
	if err != nil {
		return nil, err
	}
	var list []store.CatalogRow
	var r store.CatalogRow
	_, err = pgx.ForEachRow(rows, r.Columns(), func() error {
		list = append(list, r)
		return nil
	})
	return list, err
}

// columns are the rows of one part, a list for each column.
func columns(rows []store.CatalogRow, part string) []any {
	var keys, prices, docs []string
	var positions []int32
	for _, r := range rows {
		if r.Part == part {
			keys, prices, docs = append(keys, r.Key), append(prices, r.Price), append(docs, r.Doc)
			positions = append(positions, int32(r.Position))
		}
	}
	return []any{keys, prices, positions, docs}
}

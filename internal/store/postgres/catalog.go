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
SELECT 'jwt' AS part, 0 AS position, '' AS key, '' AS price, jwt::text AS doc, version FROM catalog WHERE applied_at IS NOT NULL
UNION ALL
SELECT 'plan', position, key, '', doc::text, 0 FROM plans
UNION ALL
SELECT 'price', position, provider, price, doc::text, 0 FROM prices
UNION ALL
SELECT 'stream', position, match, '', doc::text, 0 FROM streams
ORDER BY part, position
LIMIT $1`

	sqlLockCatalog  = `SELECT 1 FROM catalog FOR UPDATE`
	sqlDropPlans    = `DELETE FROM plans`
	sqlDropPrices   = `DELETE FROM prices`
	sqlDropStreams  = `DELETE FROM streams`
	sqlStampCatalog = `UPDATE catalog SET jwt = $1::json, applied_at = $2, version = version + 1`

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
	var version int64
	err := s.try(ctx, "read the catalog", longTimeout, true, func(ctx context.Context) (err error) {
		rows, version, err = catalogRows(s.pool.Query(ctx, sqlCatalog, store.MaxCatalog))
		return err
	})
	if err != nil {
		return nil, err
	}
	return store.CatalogOf(rows, version)
}

// ApplyCatalog replaces the catalog as a whole and returns the version that stands then. Applying what is there already
// changes nothing. Where ifVersion is not nil, the catalog must be at it, 0 before any was applied, else the error is
// [store.ErrConflict].
func (s *Store) ApplyCatalog(ctx context.Context, c *policy.Catalog, ifVersion *int64) (version int64, changed bool,
	err error) {
	rows, err := store.CatalogRows(c)
	if err != nil {
		return 0, false, err
	}
	err = s.writeWithin(ctx, "apply the catalog", longTimeout, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlLockCatalog); err != nil {
			return err
		}
		old, stands, err := catalogRows(tx.Query(ctx, sqlCatalog, store.MaxCatalog))
		if err != nil {
			return err
		}
		if err := store.CatalogFits(ifVersion, stands); err != nil {
			return err
		}
		if version, changed = stands, !slices.Equal(old, rows); !changed {
			return nil
		}
		version++
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
		return s.record(ctx, tx, store.CatalogApplied(old, rows, version))
	})
	if err != nil {
		return 0, false, err
	}
	return version, changed, nil
}

// catalogRows are the catalog's rows and its version, 0 when none was applied.
func catalogRows(rows pgx.Rows, err error) (list []store.CatalogRow, version int64, _ error) {
	if err != nil {
		return nil, 0, err
	}
	var r store.CatalogRow
	var v int64 // in the row of the JWT settings
	_, err = pgx.ForEachRow(rows, append(r.Columns(), &v), func() error {
		list, version = append(list, r), max(version, v)
		return nil
	})
	return list, version, err
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

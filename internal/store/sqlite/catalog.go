package sqlite

import (
	"context"
	"database/sql"
	"slices"

	"authhook/internal/policy"
	"authhook/internal/store"
)

const (
	// All parts in one statement, so that they are of one moment. There is a jwt row once a catalog was applied.
	sqlCatalog = `
SELECT 'jwt' AS part, 0 AS position, '' AS key, '' AS price, jwt AS doc, version FROM catalog WHERE applied_at IS NOT NULL
UNION ALL
SELECT 'plan', position, key, '', doc, 0 FROM plans
UNION ALL
SELECT 'price', position, provider, price, doc, 0 FROM prices
UNION ALL
SELECT 'stream', position, match, '', doc, 0 FROM streams
ORDER BY part, position
LIMIT ?1`

	sqlDropPlans    = `DELETE FROM plans`
	sqlDropPrices   = `DELETE FROM prices`
	sqlDropStreams  = `DELETE FROM streams`
	sqlStampCatalog = `UPDATE catalog SET jwt = ?1, applied_at = ?2, version = version + 1`
	sqlAddPlan      = `INSERT INTO plans (key, position, doc) VALUES (?1, ?2, ?3)`
	sqlAddPrice     = `INSERT INTO prices (provider, price, position, doc) VALUES (?1, ?2, ?3, ?4)`
	sqlAddStream    = `INSERT INTO streams (match, position, doc) VALUES (?1, ?2, ?3)`
)

// Catalog reads the catalog as it was applied last, indexed. [store.ErrNotFound] when none ever was.
func (s *Store) Catalog(ctx context.Context) (*policy.Catalog, error) {
	var rows []store.CatalogRow
	var version int64
	err := within(ctx, "read the catalog", longTimeout, func(ctx context.Context) (err error) {
		rows, version, err = catalogRows(s.query(ctx, sqlCatalog, store.MaxCatalog))
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
	err = s.transact(ctx, "apply the catalog", longTimeout, sqlDurable, func(t *tx) error {
		old, stands, err := catalogRows(t.query(sqlCatalog, store.MaxCatalog))
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
		for _, text := range [...]string{sqlDropPlans, sqlDropPrices, sqlDropStreams} {
			if _, err := t.exec(text); err != nil {
				return err
			}
		}
		for _, r := range rows {
			if err := t.addCatalogRow(r); err != nil {
				return err
			}
		}
		return t.record(store.CatalogApplied(old, rows, version))
	})
	if err != nil {
		return 0, false, err
	}
	return version, changed, nil
}

func (t *tx) addCatalogRow(r store.CatalogRow) (err error) {
	switch r.Part {
	case store.PartJWT:
		_, err = t.exec(sqlStampCatalog, r.Doc, micros(t.store.Now()))
	case store.PartPlan:
		_, err = t.exec(sqlAddPlan, r.Key, r.Position, r.Doc)
	case store.PartPrice:
		_, err = t.exec(sqlAddPrice, r.Key, r.Price, r.Position, r.Doc)
	case store.PartStream:
		_, err = t.exec(sqlAddStream, r.Key, r.Position, r.Doc)
	}
	return err
}

// catalogRows are the catalog's rows and its version, 0 when none was applied.
func catalogRows(rows *sql.Rows, err error) (list []store.CatalogRow, version int64, _ error) {
	var r store.CatalogRow
	var v int64 // in the row of the JWT settings
	err = each(rows, err, append(r.Columns(), &v), func() error {
		list, version = append(list, r), max(version, v)
		return nil
	})
	return list, version, err
}

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
SELECT 'jwt' AS part, 0 AS position, '' AS key, '' AS price, jwt AS doc FROM catalog WHERE applied_at IS NOT NULL
UNION ALL
SELECT 'plan', position, key, '', doc FROM plans
UNION ALL
SELECT 'price', position, provider, price, doc FROM prices
UNION ALL
SELECT 'stream', position, match, '', doc FROM streams
ORDER BY part, position
LIMIT ?1`

	sqlDropPlans    = `DELETE FROM plans`
	sqlDropPrices   = `DELETE FROM prices`
	sqlDropStreams  = `DELETE FROM streams`
	sqlStampCatalog = `UPDATE catalog SET jwt = ?1, applied_at = ?2`
	sqlAddPlan      = `INSERT INTO plans (key, position, doc) VALUES (?1, ?2, ?3)`
	sqlAddPrice     = `INSERT INTO prices (provider, price, position, doc) VALUES (?1, ?2, ?3, ?4)`
	sqlAddStream    = `INSERT INTO streams (match, position, doc) VALUES (?1, ?2, ?3)`
)

// Catalog reads the catalog as it was applied last, indexed. [store.ErrNotFound] when none ever was.
func (s *Store) Catalog(ctx context.Context) (*policy.Catalog, error) {
	var rows []store.CatalogRow
	err := within(ctx, "read the catalog", longTimeout, func(ctx context.Context) (err error) {
		rows, err = catalogRows(s.query(ctx, sqlCatalog, store.MaxCatalog))
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
	err = s.transact(ctx, "apply the catalog", longTimeout, sqlDurable, func(t *tx) error {
		old, err := catalogRows(t.query(sqlCatalog, store.MaxCatalog))
		if changed = !slices.Equal(old, rows); err != nil || !changed {
			return err
		}
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
		return t.appendChanges(store.Change{Kind: store.ChangeCatalog})
	})
	return changed && err == nil, err
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

func catalogRows(rows *sql.Rows, err error) ([]store.CatalogRow, error) {
	var list []store.CatalogRow
	var r store.CatalogRow
	err = each(rows, err, r.Columns(), func() error {
		list = append(list, r)
		return nil
	})
	return list, err
}

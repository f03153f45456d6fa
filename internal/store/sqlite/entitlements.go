package sqlite

import (
	"context"

	"authhook/internal/policy"
	"authhook/internal/store"
)

const (
	sqlAddEntitlement = `
INSERT INTO entitlements (id, user_id, plan, stream, tag, from_at, until_at, grace_from, source, created_at, origin)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)`

	// The columns are those of store.StoredRow.
	sqlEntitlementColumns = `4, id, plan, stream, tag, source, 0, 0, from_at, until_at, grace_from, 0, user_id, created_at, NULL`

	sqlEntitlement = `SELECT ` + sqlEntitlementColumns + ` FROM entitlements WHERE user_id = ?1 AND id = ?2`

	sqlEntitlements = `
SELECT ` + sqlEntitlementColumns + ` FROM entitlements WHERE user_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3`

	sqlRemoveEntitlement = `DELETE FROM entitlements WHERE user_id = ?1 AND id = ?2 RETURNING ` + sqlEntitlementColumns
)

// AddEntitlement gives a user a right and returns its id. [store.ErrNotFound] when there is no such user.
func (s *Store) AddEntitlement(ctx context.Context, user string, e policy.Entitlement) (string, error) {
	if err := store.CheckEntitlement(user, e); err != nil {
		return "", err
	}
	if e.ID == "" {
		e.ID = store.NewID("ent")
	}
	err := s.write(ctx, "add an entitlement", func(t *tx) error {
		_, err := t.exec(sqlAddEntitlement, e.ID, user, e.Plan, e.Stream, e.Tag, micros(e.From), micros(e.Until),
			micros(e.GraceFrom), e.Source, micros(s.Now()), "")
		if err != nil {
			return err
		}
		return t.record(store.EntitlementAdded(user, e))
	})
	if err != nil {
		return "", err
	}
	return e.ID, nil
}

// RemoveEntitlement takes a right away. [store.ErrNotFound] when the user has none with this id.
func (s *Store) RemoveEntitlement(ctx context.Context, user, id string) error {
	return s.write(ctx, "remove an entitlement", func(t *tx) error {
		var r store.StoredRow
		err := t.queryRow(sqlRemoveEntitlement, []any{user, id}, r.Columns()...)
		if err := notFound(err, "entitlement", id); err != nil {
			return err
		}
		return t.record(store.EntitlementRemoved(user, store.EntitlementOf(&r.FactsRow)))
	})
}

// Entitlement reads an entitlement. [store.ErrNotFound] when the user has none with this id.
func (s *Store) Entitlement(ctx context.Context, user, id string) (store.StoredEntitlement, error) {
	return find(ctx, s, "entitlement", id, sqlEntitlement, []any{user, id}, store.StoredEntitlementOf)
}

// Entitlements are a user's, past ones too, ordered by id. [store.ErrNotFound] when there is no such user.
func (s *Store) Entitlements(ctx context.Context, user string, p store.Page) ([]store.StoredEntitlement, error) {
	return lists(ctx, s, "list a user's entitlements", sqlEntitlements, user, p, store.StoredEntitlementOf)
}

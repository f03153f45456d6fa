package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"authhook/internal/policy"
	"authhook/internal/store"
)

const (
	sqlAddEntitlement = `
INSERT INTO entitlements (id, user_id, plan, stream, tag, from_at, until_at, grace_from, source, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`

	sqlRemoveEntitlement = `DELETE FROM entitlements WHERE user_id = $1 AND id = $2`

	sqlEntitlements = `
SELECT 4, id, plan, stream, tag, source, false, false, from_at, until_at, grace_from, 0::bigint
FROM entitlements
WHERE user_id = $1
ORDER BY until_at DESC NULLS FIRST, id
LIMIT $2`

	sqlAddHold = `INSERT INTO holds (id, user_id, kind, ref, from_at, created_at) VALUES ($1, $2, $3, $4, $5, $6)`

	sqlRemoveHold = `DELETE FROM holds WHERE user_id = $1 AND id = $2`

	sqlHolds = `
SELECT 5, id, kind, ref, '', '', false, false, from_at, NULL::timestamptz, NULL::timestamptz, 0::bigint
FROM holds
WHERE user_id = $1
ORDER BY id
LIMIT $2`
)

// AddEntitlement gives a user a right and returns its id. [store.ErrNotFound] when there is no such user.
func (s *Store) AddEntitlement(ctx context.Context, user string, e policy.Entitlement) (string, error) {
	if err := store.CheckEntitlement(user, e); err != nil {
		return "", err
	}
	if e.ID == "" {
		e.ID = store.NewID("ent")
	}
	err := s.changeUser(ctx, "add an entitlement", user, e.ID, sqlAddEntitlement, e.ID, user, e.Plan, e.Stream, e.Tag,
		stamp(e.From), stamp(e.Until), stamp(e.GraceFrom), e.Source, s.Now())
	if err != nil {
		return "", err
	}
	return e.ID, nil
}

// RemoveEntitlement takes a right away. [store.ErrNotFound] when the user has none with this id.
func (s *Store) RemoveEntitlement(ctx context.Context, user, id string) error {
	return s.changeUser(ctx, "remove an entitlement", user, id, sqlRemoveEntitlement, user, id)
}

// Entitlements are a user's, those without an end and those that ended last first. [store.ErrNotFound] when there is no
// such user.
func (s *Store) Entitlements(ctx context.Context, user string) ([]policy.Entitlement, error) {
	return lists(ctx, s, "list a user's entitlements", sqlEntitlements, user,
		func(r *store.FactsRow) (policy.Entitlement, error) { return store.EntitlementOf(r), nil })
}

// AddHold blocks a user and returns the hold's id. [store.ErrNotFound] when there is no such user.
func (s *Store) AddHold(ctx context.Context, user string, h policy.Hold) (string, error) {
	if err := store.CheckHold(user, h); err != nil {
		return "", err
	}
	if h.ID == "" {
		h.ID = store.NewID("hold")
	}
	err := s.changeUser(ctx, "add a hold", user, h.ID, sqlAddHold, h.ID, user, h.Kind, h.Ref, stamp(h.From), s.Now())
	if err != nil {
		return "", err
	}
	return h.ID, nil
}

// RemoveHold lifts a hold. [store.ErrNotFound] when the user has none with this id.
func (s *Store) RemoveHold(ctx context.Context, user, id string) error {
	return s.changeUser(ctx, "remove a hold", user, id, sqlRemoveHold, user, id)
}

// Holds are those that stand against a user. [store.ErrNotFound] when there is no such user.
func (s *Store) Holds(ctx context.Context, user string) ([]policy.Hold, error) {
	return lists(ctx, s, "list a user's holds", sqlHolds, user,
		func(r *store.FactsRow) (policy.Hold, error) { return store.HoldOf(r), nil })
}

// changeUser changes one row of a user's facts, together with the entry in the change feed.
func (s *Store) changeUser(ctx context.Context, what, user, id, sql string, args ...any) error {
	if !store.Storable(user) || !store.Storable(id) {
		return fmt.Errorf("%s: id %q: %w", what, id, store.ErrNotFound)
	}
	return s.write(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sql, args...)
		if err := oneRow(tag, err, "id", id); err != nil {
			return err
		}
		return s.appendChanges(ctx, tx, store.Change{Kind: store.ChangeUser, Subject: user})
	})
}

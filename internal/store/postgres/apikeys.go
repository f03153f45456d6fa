package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"authhook/internal/store"
)

const (
	sqlAddAPIKey = `INSERT INTO api_keys (id, name, role, hash, created_at, created_by) VALUES ($1, $2, $3, $4, $5, $6)`

	sqlAPIKeyColumns = `id, name, role, created_by, created_at, withdrawn_at`

	sqlAPIKeyByHash = `SELECT ` + sqlAPIKeyColumns + ` FROM api_keys WHERE hash = $1 AND withdrawn_at IS NULL`

	sqlLockAPIKey = `SELECT ` + sqlAPIKeyColumns + ` FROM api_keys WHERE id = $1 FOR UPDATE`

	sqlAPIKeys = `SELECT ` + sqlAPIKeyColumns + ` FROM api_keys WHERE id > $1 ORDER BY id LIMIT $2`

	sqlWithdrawAPIKey = `UPDATE api_keys SET withdrawn_at = $2 WHERE id = $1`
)

// AddAPIKey stores a key of the API under its hash and returns its id. [store.ErrConflict] when the hash was ever used.
func (s *Store) AddAPIKey(ctx context.Context, k store.APIKey, hash [32]byte) (string, error) {
	if err := store.CheckAPIKey(k); err != nil {
		return "", err
	}
	if k.ID == "" {
		k.ID = store.NewID("key")
	}
	err := s.write(ctx, "add an API key", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlAddAPIKey, k.ID, k.Name, k.Role, hash[:], s.Now(), store.ActorOf(ctx))
		if err != nil {
			return err
		}
		return s.record(ctx, tx, store.APIKeyAdded(k))
	})
	if err != nil {
		return "", err
	}
	return k.ID, nil
}

// APIKeyByHash finds a key of the API. [store.ErrNotFound] when there is none, and when it was withdrawn.
func (s *Store) APIKeyByHash(ctx context.Context, hash [32]byte) (store.APIKey, error) {
	return find(ctx, s, "API key", "by its hash", sqlAPIKeyByHash, []any{hash[:]}, (*store.APIKeyRow).APIKey)
}

// APIKeys are all keys of the API, withdrawn ones too, ordered by id.
func (s *Store) APIKeys(ctx context.Context, p store.Page) ([]store.APIKey, error) {
	p = p.Clean()
	return page(ctx, s, "list API keys", sqlAPIKeys, []any{p.After, p.Limit}, (*store.APIKeyRow).APIKey)
}

// WithdrawAPIKey makes a key of the API useless for good. Again has no effect. [store.ErrNotFound] when there is none with
// this id.
func (s *Store) WithdrawAPIKey(ctx context.Context, id string) error {
	if !store.Storable(id) {
		return notFound(pgx.ErrNoRows, "API key", id)
	}
	return s.write(ctx, "withdraw an API key", func(ctx context.Context, tx pgx.Tx) error {
		var r store.APIKeyRow
		if err := notFound(tx.QueryRow(ctx, sqlLockAPIKey, id).Scan(r.Columns()...), "API key", id); err != nil {
			return err
		}
		k, err := r.APIKey()
		if err != nil || !k.Withdrawn.IsZero() {
			return err
		}
		if _, err := tx.Exec(ctx, sqlWithdrawAPIKey, id, s.Now()); err != nil {
			return err
		}
		return s.record(ctx, tx, store.APIKeyWithdrawn(k))
	})
}

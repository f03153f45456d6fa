package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"authhook/internal/policy"
	"authhook/internal/store"
)

const (
	sqlAddCredential = `
INSERT INTO credentials (id, hash, kind, user_id, streams, addresses, from_at, until_at, publish, created_at, revoked_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`

	sqlLockCredential = `SELECT hash, revoked_at IS NOT NULL FROM credentials WHERE id = $1 AND user_id = $2 FOR UPDATE`

	sqlRevokeCredential = `UPDATE credentials SET revoked_at = $2 WHERE id = $1`

	// The columns are those of store.StoredRow.
	sqlCredentialColumns = `1, id, kind, user_id, streams, addresses, revoked_at IS NOT NULL, publish, from_at, until_at,
    NULL::timestamptz, 0::bigint, user_id, created_at, revoked_at`

	sqlCredential = `SELECT ` + sqlCredentialColumns + ` FROM credentials WHERE id = $1`

	sqlCredentials = `
SELECT ` + sqlCredentialColumns + ` FROM credentials WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3`
)

// AddCredential stores a credential under its hash and returns its id. [store.ErrNotFound] when there is no such user,
// [store.ErrConflict] while the hash names another credential that is not revoked.
func (s *Store) AddCredential(ctx context.Context, hash policy.CredentialHash, c policy.Credential, now time.Time) (string,
	error) {
	if err := store.CheckCredential(c); err != nil {
		return "", err
	}
	if c.ID == "" {
		c.ID = store.NewID("cred")
	}
	var revoked *time.Time
	if c.Revoked {
		revoked = stamp(now)
	}
	err := s.write(ctx, "add a credential", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlAddCredential, c.ID, hash[:], c.Kind, c.User, store.EncodeList(c.Streams),
			store.EncodeList(c.Addresses), stamp(c.From), stamp(c.Until), c.Publish, stamp(now), revoked)
		if err != nil {
			return err
		}
		return s.record(ctx, tx, store.CredentialAdded(hash, c))
	})
	if err != nil {
		return "", err
	}
	return c.ID, nil
}

// RevokeCredential withdraws a credential. Again has no effect. [store.ErrNotFound] when the user has none with this id.
func (s *Store) RevokeCredential(ctx context.Context, user, id string) error {
	if !store.Storable(user) || !store.Storable(id) {
		return notFound(pgx.ErrNoRows, "credential", id)
	}
	return s.write(ctx, "revoke a credential", func(ctx context.Context, tx pgx.Tx) error {
		var hash []byte
		var revoked bool
		err := tx.QueryRow(ctx, sqlLockCredential, id, user).Scan(&hash, &revoked)
		if err := notFound(err, "credential", id); err != nil || revoked {
			return err
		}
		if _, err := tx.Exec(ctx, sqlRevokeCredential, id, s.Now()); err != nil {
			return err
		}
		return s.record(ctx, tx, store.CredentialRevoked(user, id, hash))
	})
}

// Credential reads a credential, a revoked one too. [store.ErrNotFound] when there is none with this id.
func (s *Store) Credential(ctx context.Context, id string) (store.StoredCredential, error) {
	return find(ctx, s, "credential", id, sqlCredential, []any{id}, store.StoredCredentialOf)
}

// Credentials are a user's, revoked ones too, ordered by id. [store.ErrNotFound] when there is no such user.
func (s *Store) Credentials(ctx context.Context, user string, p store.Page) ([]store.StoredCredential, error) {
	return lists(ctx, s, "list a user's credentials", sqlCredentials, user, p, store.StoredCredentialOf)
}

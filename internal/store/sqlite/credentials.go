package sqlite

import (
	"context"
	"time"

	"authhook/internal/policy"
	"authhook/internal/store"
)

const (
	sqlAddCredential = `
INSERT INTO credentials (id, hash, kind, user_id, streams, addresses, from_at, until_at, publish, created_at, revoked_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)`

	sqlFindCredential = `SELECT hash, revoked_at IS NOT NULL FROM credentials WHERE id = ?1 AND user_id = ?2`

	sqlRevokeCredential = `UPDATE credentials SET revoked_at = ?2 WHERE id = ?1`

	// The columns are those of store.StoredRow.
	sqlCredentialColumns = `1, id, kind, user_id, streams, addresses, revoked_at IS NOT NULL, publish, from_at, until_at, NULL, 0,
    user_id, created_at, revoked_at`

	sqlCredential = `SELECT ` + sqlCredentialColumns + ` FROM credentials WHERE id = ?1`

	sqlCredentials = `
SELECT ` + sqlCredentialColumns + ` FROM credentials WHERE user_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3`
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
	var revoked any
	if c.Revoked {
		revoked = micros(now)
	}
	err := s.write(ctx, "add a credential", func(t *tx) error {
		_, err := t.exec(sqlAddCredential, c.ID, hash[:], string(c.Kind), c.User, store.EncodeList(c.Streams),
			store.EncodeList(c.Addresses), micros(c.From), micros(c.Until), c.Publish, micros(now), revoked)
		if err != nil {
			return err
		}
		return t.record(store.CredentialAdded(hash, c))
	})
	if err != nil {
		return "", err
	}
	return c.ID, nil
}

// RevokeCredential withdraws a credential. Again has no effect. [store.ErrNotFound] when the user has none with this id.
func (s *Store) RevokeCredential(ctx context.Context, user, id string) error {
	return s.write(ctx, "revoke a credential", func(t *tx) error {
		var hash []byte
		var revoked bool
		err := notFound(t.queryRow(sqlFindCredential, []any{id, user}, &hash, &revoked), "credential", id)
		if err != nil || revoked {
			return err
		}
		if _, err := t.exec(sqlRevokeCredential, id, micros(s.Now())); err != nil {
			return err
		}
		return t.record(store.CredentialRevoked(user, id, hash))
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

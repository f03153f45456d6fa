package store

import "time"

// Role says what a key of the API permits.
type Role string

// The roles. What each permits is the API's to say.
const (
	RoleRead    Role = "read"
	RoleBilling Role = "billing"
	RoleAdmin   Role = "admin"
)

// APIKey is a key of the API. The key itself is not kept: it is found by its SHA-256.
type APIKey struct {
	ID   string
	Name string // the operator's own, for people
	Role Role
	// CreatedBy is the actor (see [WithActor]) who made it.
	CreatedBy string
	// Withdrawn is zero while the key is good.
	Created, Withdrawn time.Time
}

// APIKeyRow is a key as its columns hold it: id, name, role, created by, created, withdrawn.
type APIKeyRow struct {
	key                APIKey
	created, withdrawn Moment
}

// Columns are where a driver scans a row to.
func (r *APIKeyRow) Columns() []any {
	return []any{&r.key.ID, &r.key.Name, &r.key.Role, &r.key.CreatedBy, &r.created, &r.withdrawn}
}

// APIKey is what a scanned row holds.
func (r *APIKeyRow) APIKey() (APIKey, error) {
	k := r.key
	k.Created, k.Withdrawn = r.created.Time, r.withdrawn.Time
	return k, nil
}

package admin

import (
	"context"
	"time"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// Store is what the API needs of the place where facts live. Every write leaves an entry in the change feed and one in
// the audit, in its own transaction.
type Store interface {
	users
	credentials
	entitlements
	holds
	catalogs
	apiKeys
	billingEvents

	Payments(context.Context, store.PaymentFilter) ([]store.Payment, error)
	Payment(ctx context.Context, provider, id string) (store.Payment, error)
	Sessions(context.Context, store.SessionFilter) ([]policy.Session, error)
	Session(ctx context.Context, node, id string) (policy.Session, error)
	Changes(ctx context.Context, after int64, limit int) ([]store.Change, error)
	LastChange(context.Context) (int64, error)
	Audit(context.Context, store.AuditFilter) ([]store.AuditEntry, error)
}

type users interface {
	PutUser(context.Context, store.UserChange) (u store.User, created bool, err error)
	User(ctx context.Context, id string) (store.User, error)
	Users(context.Context, store.UserFilter) ([]store.User, error)
}

type credentials interface {
	AddCredential(ctx context.Context, hash policy.CredentialHash, c policy.Credential, now time.Time) (id string, err error)
	RevokeCredential(ctx context.Context, user, id string) error
	Credentials(ctx context.Context, user string, p store.Page) ([]store.StoredCredential, error)
}

type entitlements interface {
	AddEntitlement(ctx context.Context, user string, e policy.Entitlement) (id string, err error)
	RemoveEntitlement(ctx context.Context, user, id string) error
	Entitlements(ctx context.Context, user string, p store.Page) ([]store.StoredEntitlement, error)
}

type holds interface {
	AddHold(ctx context.Context, user string, h policy.Hold) (id string, err error)
	RemoveHold(ctx context.Context, user, id string) error
	Holds(ctx context.Context, user string, p store.Page) ([]store.StoredHold, error)
}

type catalogs interface {
	Catalog(context.Context) (*policy.Catalog, error)
	ApplyCatalog(ctx context.Context, c *policy.Catalog, ifVersion *int64) (version int64, changed bool, err error)
}

type apiKeys interface {
	AddAPIKey(ctx context.Context, k store.APIKey, hash [32]byte) (id string, err error)
	APIKeyByHash(ctx context.Context, hash [32]byte) (store.APIKey, error)
	APIKeys(context.Context, store.Page) ([]store.APIKey, error)
	WithdrawAPIKey(ctx context.Context, id string) error
}

type billingEvents interface {
	BillingEvent(ctx context.Context, number int64) (store.BillingEvent, error)
	BillingEvents(context.Context, store.EventFilter) ([]store.BillingEvent, error)
	// ReplayEvent has an event applied again, whatever became of it. [store.ErrConflict] when its body was dropped.
	ReplayEvent(ctx context.Context, number int64, now time.Time) error
	ReplayEvents(ctx context.Context, f store.EventFilter, now time.Time) (n int64, err error)
}

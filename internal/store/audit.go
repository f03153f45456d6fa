package store

import (
	"context"
	"encoding/json"
	"math"
	"time"
)

type actorKey struct{}

// WithActor says who is behind the writes that are made with a context, for the audit: "admin", a key's id, a provider.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// ActorOf is who is behind a context: "system" when nobody said.
func ActorOf(ctx context.Context) string {
	if actor, _ := ctx.Value(actorKey{}).(string); actor != "" {
		return clean(actor, maxName)
	}
	return "system"
}

// Action says what a write did.
type Action string

// The actions of the audit.
const (
	ActionUserPut           Action = "user.put"
	ActionCredentialAdd     Action = "credential.add"
	ActionCredentialRevoke  Action = "credential.revoke"
	ActionEntitlementAdd    Action = "entitlement.add"
	ActionEntitlementChange Action = "entitlement.change"
	ActionEntitlementRemove Action = "entitlement.remove"
	ActionHoldAdd           Action = "hold.add"
	ActionHoldRemove        Action = "hold.remove"
	ActionCatalogApply      Action = "catalog.apply"
	ActionAPIKeyAdd         Action = "api_key.add"
	ActionAPIKeyWithdraw    Action = "api_key.withdraw"
	ActionPaymentPut        Action = "payment.put"
	ActionSessionEnd        Action = "session.end"
)

// AuditEntry says who changed what. It is written in the transaction that changes it.
type AuditEntry struct {
	// Number is that of the write's last entry in the change feed: later writes have higher numbers, not all numbers
	// occur.
	Number int64
	At     time.Time
	Actor  string
	Action Action
	// Subject is the user whose facts changed or whose session is to end, or the id of a key of the API; empty for the
	// catalog, and where the user of a payment or a session is not known.
	Subject string
	// Detail is what changed, a small JSON object. It never holds a key, a hash or a secret.
	Detail json.RawMessage
}

// AuditFilter picks entries of the audit; an empty field picks all.
type AuditFilter struct {
	Actor, Subject string
	// Before is the lowest number of the page before; 0 begins with the newest. Entries come newest first.
	Before int64
	// Limit is how many entries to return at most: 100 when zero, never more than [MaxFacts].
	Limit int
}

// Clean brings a filter into its bounds.
func (f AuditFilter) Clean() AuditFilter {
	if f.Before <= 0 {
		f.Before = math.MaxInt64
	}
	f.Actor, f.Subject, f.Limit = clean(f.Actor, maxName), clean(f.Subject, maxKey), pageLimit(f.Limit)
	return f
}

// AuditRow is an entry as its columns hold it: number, at, actor, action, subject, detail.
type AuditRow struct {
	entry  AuditEntry
	at     Moment
	detail string
}

// Columns are where a driver scans a row to.
func (r *AuditRow) Columns() []any {
	return []any{&r.entry.Number, &r.at, &r.entry.Actor, &r.entry.Action, &r.entry.Subject, &r.detail}
}

// Entry is what a scanned row holds.
func (r *AuditRow) Entry() (AuditEntry, error) {
	e := r.entry
	e.At, e.Detail = r.at.Time, json.RawMessage(r.detail)
	return e, nil
}

package store

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"time"

	"authhook/internal/policy"
)

// Record is what a write leaves behind beside the facts, in the same transaction: its entries in the change feed, and one
// in the audit.
type Record struct {
	Action  Action
	Subject string
	Detail  string // JSON
	Changes []Change
}

// maxDetail bounds the detail of an entry of the audit, in bytes.
const maxDetail = 4 << 10

// short is the detail of a change that is too long for the audit.
type short struct {
	ID      string `json:"id,omitempty"`
	Version int64  `json:"version,omitempty"`
	Cut     bool   `json:"cut"`
}

// detail writes what changed; where that is too long, only what it is the change of.
func detail(of short, v any) string {
	b, err := json.Marshal(v)
	if err == nil && len(b) > maxDetail {
		of.Cut = true
		b, err = json.Marshal(of)
	}
	if err != nil {
		panic(err) // no type in it can fail once it was checked
	}
	return string(b)
}

func ofUser(action Action, user, id string, v any) Record {
	return Record{action, user, detail(short{ID: id}, v), []Change{{Kind: ChangeUser, Subject: user}}}
}

// UserPut records that a user was made, or changed from what stood as old.
func UserPut(old *User, u User) Record {
	var d struct {
		Created    bool              `json:"created,omitempty"`
		Status     policy.UserStatus `json:"status,omitempty"`
		Attributes string            `json:"attributes,omitempty"` // not themselves: they are the operator's
		Version    int64             `json:"version"`
	}
	if d.Version = u.Version; old == nil {
		d.Created, old = true, new(User)
	}
	if u.Status != old.Status {
		d.Status = u.Status
	}
	if string(u.Attributes) != string(old.Attributes) {
		d.Attributes = "changed"
	}
	return ofUser(ActionUserPut, u.ID, "", d)
}

// CredentialAdded records that a credential was stored under a hash.
func CredentialAdded(hash policy.CredentialHash, c policy.Credential) Record {
	r := ofUser(ActionCredentialAdd, c.User, c.ID, struct {
		ID        string                `json:"id"`
		Kind      policy.CredentialKind `json:"kind"`
		Streams   []string              `json:"streams,omitempty"`
		Addresses []netip.Prefix        `json:"addresses,omitempty"`
		From      time.Time             `json:"from,omitzero"`
		Until     time.Time             `json:"until,omitzero"`
		Publish   bool                  `json:"publish,omitempty"`
		Revoked   bool                  `json:"revoked,omitempty"`
	}{c.ID, c.Kind, c.Streams, c.Addresses, asStored(c.From), asStored(c.Until), c.Publish, c.Revoked})
	r.Changes = append([]Change{{Kind: ChangeCredential, Subject: hash.String()}}, r.Changes...)
	return r
}

// CredentialRevoked records that a user's credential was withdrawn.
func CredentialRevoked(user, id string, hash []byte) Record {
	r := ofUser(ActionCredentialRevoke, user, id, struct {
		ID string `json:"id"`
	}{id})
	r.Changes = append([]Change{{Kind: ChangeCredential, Subject: hex.EncodeToString(hash)}}, r.Changes...)
	return r
}

// EntitlementAdded records that a user was given a right.
func EntitlementAdded(user string, e policy.Entitlement) Record {
	return entitlement(ActionEntitlementAdd, user, e)
}

// EntitlementChanged records that a right that follows from a billing record became another, and may have become another user's.
func EntitlementChanged(old, o OwnedEntitlement) Record {
	r := entitlement(ActionEntitlementChange, o.User, o.Entitlement)
	if old.User != o.User {
		r.Changes = append([]Change{{Kind: ChangeUser, Subject: old.User}}, r.Changes...)
	}
	return r
}

// EntitlementRemoved records what right was taken from a user.
func EntitlementRemoved(user string, e policy.Entitlement) Record {
	return entitlement(ActionEntitlementRemove, user, e)
}

func entitlement(action Action, user string, e policy.Entitlement) Record {
	return ofUser(action, user, e.ID, struct {
		ID        string    `json:"id"`
		Plan      string    `json:"plan,omitempty"`
		Stream    string    `json:"stream,omitempty"`
		Tag       string    `json:"tag,omitempty"`
		From      time.Time `json:"from,omitzero"`
		Until     time.Time `json:"until,omitzero"`
		GraceFrom time.Time `json:"grace_from,omitzero"`
		Source    string    `json:"source,omitempty"`
	}{e.ID, e.Plan, e.Stream, e.Tag, asStored(e.From), asStored(e.Until), asStored(e.GraceFrom), e.Source})
}

// HoldAdded records that a user was blocked.
func HoldAdded(user string, h policy.Hold) Record { return hold(ActionHoldAdd, user, h) }

// HoldRemoved records what no longer blocks a user.
func HoldRemoved(user string, h policy.Hold) Record { return hold(ActionHoldRemove, user, h) }

func hold(action Action, user string, h policy.Hold) Record {
	return ofUser(action, user, h.ID, struct {
		ID   string    `json:"id"`
		Kind string    `json:"kind"`
		Ref  string    `json:"ref,omitempty"`
		From time.Time `json:"from,omitzero"`
	}{h.ID, h.Kind, h.Ref, asStored(h.From)})
}

// APIKeyAdded records that a key of the API was made.
func APIKeyAdded(k APIKey) Record { return apiKey(ActionAPIKeyAdd, k) }

// APIKeyWithdrawn records that a key of the API was withdrawn.
func APIKeyWithdrawn(k APIKey) Record { return apiKey(ActionAPIKeyWithdraw, k) }

func apiKey(action Action, k APIKey) Record {
	d := detail(short{ID: k.ID}, struct {
		Name string `json:"name"`
		Role Role   `json:"role"`
	}{k.Name, k.Role})
	return Record{action, k.ID, d, []Change{{Kind: ChangeAPIKey, Subject: k.ID}}}
}

// PaymentPut records what is known of a payment from now on.
func PaymentPut(p Payment) Record {
	d := detail(short{ID: p.ID}, struct {
		Provider string        `json:"provider"`
		ID       string        `json:"id"`
		Status   PaymentStatus `json:"status"`
		Amount   int64         `json:"amount"`
		Refunded int64         `json:"refunded,omitempty"`
		Currency string        `json:"currency,omitempty"`
	}{p.Provider, p.ID, p.Status, p.Amount, p.Refunded, p.Currency})
	return Record{ActionPaymentPut, p.User, d, []Change{{Kind: ChangePayment, Subject: p.Key().String()}}}
}

// SessionEndAsked records that somebody wants a session ended.
func SessionEndAsked(s policy.Session) Record {
	d := detail(short{ID: s.ID}, struct {
		Node   string `json:"node"`
		ID     string `json:"id"`
		Stream string `json:"stream,omitempty"`
	}{s.Node, s.ID, s.Stream})
	return Record{ActionSessionEnd, s.User, d, []Change{{Kind: ChangeSessionEnd, Subject: SessionSubject(s.Node, s.ID)}}}
}

// CatalogApplied records which parts of the catalog are new, gone, or others than before. JWT keys are only said to have
// changed: there are secrets among them.
func CatalogApplied(old, rows []CatalogRow, version int64) Record {
	type parts struct {
		Added   []string `json:"added,omitempty"`
		Changed []string `json:"changed,omitempty"`
		Removed []string `json:"removed,omitempty"`
	}
	var d struct {
		Version int64  `json:"version"`
		Plans   parts  `json:"plans,omitzero"`
		Prices  parts  `json:"prices,omitzero"`
		Streams parts  `json:"streams,omitzero"`
		JWT     string `json:"jwt,omitempty"`
	}
	d.Version = version
	lists := map[string]*parts{PartPlan: &d.Plans, PartPrice: &d.Prices, PartStream: &d.Streams}
	stood := make(map[CatalogRow]string, len(old)) // documents by part and key
	for _, r := range old {
		stood[r.name()] = r.Doc
	}
	for _, r := range rows {
		doc, known := stood[r.name()]
		delete(stood, r.name())
		switch list := lists[r.Part]; {
		case list == nil && doc != r.Doc && (known || r.Doc != "{}"):
			d.JWT = "changed"
		case list == nil:
		case !known:
			list.Added = append(list.Added, r.label())
		case doc != r.Doc:
			list.Changed = append(list.Changed, r.label())
		}
	}
	for _, r := range old {
		if _, gone := stood[r.name()]; gone {
			lists[r.Part].Removed = append(lists[r.Part].Removed, r.label())
		}
	}
	return Record{ActionCatalogApply, "", detail(short{Version: version}, d), []Change{{Kind: ChangeCatalog}}}
}

// asStored is a moment as it comes back from a database.
func asStored(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

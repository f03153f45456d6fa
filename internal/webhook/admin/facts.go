package admin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"authhook/internal/credential"
	"authhook/internal/policy"
	"authhook/internal/store"
)

func (h handlers) ListCredentials(ctx context.Context, r ListCredentialsRequestObject) (ListCredentialsResponseObject, error) {
	const list = "credentials"
	after, err := readCursor(list, r.Params.Cursor, 1)
	if err != nil {
		return nil, err
	}
	p := store.Page{After: after[0], Limit: limitOf(r.Params.Limit)}
	stored, err := h.store.Credentials(ctx, r.User, p)
	if err != nil {
		return nil, missing(err, "user %q", r.User)
	}
	items, next := page(stored, p.Limit, credentialOf, func(c *store.StoredCredential) string { return cursorAfter(list, c.ID) })
	return ListCredentials200JSONResponse{Items: items, Next: next}, nil
}

func (h handlers) AddCredential(ctx context.Context, r AddCredentialRequestObject) (AddCredentialResponseObject, error) {
	c := policy.Credential{
		User: r.User, Streams: r.Body.Streams, From: r.Body.From, Until: r.Body.Until, Publish: r.Body.Publish,
	}
	if r.Body.Address != "" {
		return h.bindAddress(ctx, c, r.Body)
	}
	c.Kind = policy.CredentialKey
	c.Addresses = make([]netip.Prefix, len(r.Body.Addresses))
	for i, a := range r.Body.Addresses {
		var err error
		if c.Addresses[i], err = readRange(a); err != nil {
			return nil, impossible(fmt.Sprintf("addresses[%d]", i), err.Error())
		}
	}
	key := credential.NewKey()
	id, err := h.store.AddCredential(ctx, policy.HashKey(key), c, h.o.Now())
	if err != nil {
		return nil, missing(err, "user %q", r.User)
	}
	h.changed(ctx)
	return AddCredential201JSONResponse{ID: id, Kind: CredentialKindKey, Token: key}, nil
}

// bindAddress makes an address a credential of its own. It is stored as a hash, like every credential; the range of it
// alone says in lists which one it is.
func (h handlers) bindAddress(ctx context.Context, c policy.Credential, b *CredentialRequest) (AddCredentialResponseObject, error) {
	if len(b.Addresses) > 0 {
		return nil, impossible("addresses", "cannot stand beside address: a binding is of that one alone")
	}
	address, err := readAddress(b.Address)
	if err == nil {
		err = CheckViewerAddress(address)
	}
	if err != nil {
		return nil, impossible("address", err.Error())
	}
	c.Kind = policy.CredentialAddress
	c.Addresses = []netip.Prefix{netip.PrefixFrom(address, address.BitLen())}
	id, err := h.store.AddCredential(ctx, policy.HashAddress(address), c, h.o.Now())
	if errors.Is(err, store.ErrConflict) {
		return nil, &conflictError{errors: []FieldError{{
			Field: "address", Problem: "is bound to a user already: revoke that credential first",
		}}}
	}
	if err != nil {
		return nil, missing(err, "user %q", c.User)
	}
	h.changed(ctx)
	return AddCredential201JSONResponse{ID: id, Kind: CredentialKindAddress}, nil
}

// CheckViewerAddress says why an address cannot be one viewer's, as whom a binding would know it; nil when it can.
func CheckViewerAddress(a netip.Addr) error {
	switch a = a.Unmap(); {
	case !a.IsValid(), a.IsUnspecified():
		return errors.New("is no viewer's address: it stands for none, or for all")
	case a.Zone() != "":
		return errors.New("has a zone, which means something on one machine only")
	case a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return errors.New("is no viewer's address: it is one of many machines")
	}
	return nil
}

func (h handlers) RevokeCredential(ctx context.Context, r RevokeCredentialRequestObject) (RevokeCredentialResponseObject, error) {
	if err := h.store.RevokeCredential(ctx, r.User, r.ID); err != nil {
		return nil, missing(err, "credential %q of user %q", r.ID, r.User)
	}
	h.changed(ctx)
	return RevokeCredential204Response{}, nil
}

func (h handlers) ListEntitlements(ctx context.Context, r ListEntitlementsRequestObject) (ListEntitlementsResponseObject, error) {
	const list = "entitlements"
	after, err := readCursor(list, r.Params.Cursor, 1)
	if err != nil {
		return nil, err
	}
	p := store.Page{After: after[0], Limit: limitOf(r.Params.Limit)}
	stored, err := h.store.Entitlements(ctx, r.User, p)
	if err != nil {
		return nil, missing(err, "user %q", r.User)
	}
	items, next := page(stored, p.Limit, entitlementOf, func(e *store.StoredEntitlement) string { return cursorAfter(list, e.ID) })
	return ListEntitlements200JSONResponse{Items: items, Next: next}, nil
}

func (h handlers) AddEntitlement(ctx context.Context, r AddEntitlementRequestObject) (AddEntitlementResponseObject, error) {
	e := policy.Entitlement{
		Plan: r.Body.Plan, Stream: r.Body.Stream, Tag: r.Body.Tag, Source: r.Body.Source,
		From: asStored(r.Body.From), Until: asStored(r.Body.Until),
	}
	if e.Source == "" {
		e.Source = "admin"
	}
	if e.Plan != "" {
		c, err := h.store.Catalog(ctx)
		if err = ignoreMissing(err); err != nil {
			return nil, err
		}
		if c == nil || c.Plan(e.Plan) == nil {
			return nil, impossible("plan", fmt.Sprintf("the catalog has no plan %q", e.Plan))
		}
	}
	id, err := h.store.AddEntitlement(ctx, r.User, e)
	if err != nil {
		return nil, missing(err, "user %q", r.User)
	}
	h.changed(ctx)
	e.ID = id
	return AddEntitlement201JSONResponse(entitlementOf(&store.StoredEntitlement{Entitlement: e, Created: asStored(h.o.Now())})), nil
}

func (h handlers) RemoveEntitlement(ctx context.Context, r RemoveEntitlementRequestObject) (RemoveEntitlementResponseObject, error) {
	if err := h.store.RemoveEntitlement(ctx, r.User, r.ID); err != nil {
		return nil, missing(err, "entitlement %q of user %q", r.ID, r.User)
	}
	h.changed(ctx)
	return RemoveEntitlement204Response{}, nil
}

func (h handlers) ListHolds(ctx context.Context, r ListHoldsRequestObject) (ListHoldsResponseObject, error) {
	const list = "holds"
	after, err := readCursor(list, r.Params.Cursor, 1)
	if err != nil {
		return nil, err
	}
	p := store.Page{After: after[0], Limit: limitOf(r.Params.Limit)}
	stored, err := h.store.Holds(ctx, r.User, p)
	if err != nil {
		return nil, missing(err, "user %q", r.User)
	}
	items, next := page(stored, p.Limit, holdOf, func(d *store.StoredHold) string { return cursorAfter(list, d.ID) })
	return ListHolds200JSONResponse{Items: items, Next: next}, nil
}

func (h handlers) AddHold(ctx context.Context, r AddHoldRequestObject) (AddHoldResponseObject, error) {
	now := asStored(h.o.Now())
	held := policy.Hold{Kind: r.Body.Kind, Ref: r.Body.Ref, From: now}
	id, err := h.store.AddHold(ctx, r.User, held)
	if err != nil {
		return nil, missing(err, "user %q", r.User)
	}
	h.changed(ctx)
	held.ID = id
	return AddHold201JSONResponse(holdOf(&store.StoredHold{Hold: held, Created: now})), nil
}

func (h handlers) RemoveHold(ctx context.Context, r RemoveHoldRequestObject) (RemoveHoldResponseObject, error) {
	if err := h.store.RemoveHold(ctx, r.User, r.ID); err != nil {
		return nil, missing(err, "hold %q against user %q", r.ID, r.User)
	}
	h.changed(ctx)
	return RemoveHold204Response{}, nil
}

// asStored is a moment as it comes back from the store.
func asStored(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func rangeTexts(ranges []netip.Prefix) []string {
	texts := make([]string, len(ranges))
	for i, a := range ranges {
		texts[i] = a.String()
	}
	return texts
}

func credentialOf(c *store.StoredCredential) Credential {
	return Credential{
		ID: c.ID, Kind: CredentialKind(c.Kind), Streams: c.Streams, Addresses: rangeTexts(c.Addresses), From: c.From, Until: c.Until,
		Publish: c.Publish, Created: c.Created, Revoked: c.Revoked,
	}
}

func entitlementOf(e *store.StoredEntitlement) Entitlement {
	return Entitlement{
		ID: e.ID, Plan: e.Plan, Stream: e.Stream, Tag: e.Tag, From: e.From, Until: e.Until, GraceFrom: e.GraceFrom,
		Source: e.Source, Created: e.Created,
	}
}

func holdOf(d *store.StoredHold) Hold {
	return Hold{ID: d.ID, Kind: d.Kind, Ref: d.Ref, From: d.From, Created: d.Created}
}

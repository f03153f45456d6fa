package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"authhook/internal/policy"
	"authhook/internal/store"
)

func (h handlers) ListBillingEvents(ctx context.Context, r ListBillingEventsRequestObject) (ListBillingEventsResponseObject, error) {
	order := cmp.Or(r.Params.Order, OldestFirst)
	list := "billing events, the " + string(order) + " first"
	after, err := readCursor(list, r.Params.Cursor, 1)
	if err != nil {
		return nil, err
	}
	f := store.EventFilter{
		Provider: r.Params.Provider, State: store.EventState(r.Params.State), Type: r.Params.Type, User: r.Params.User,
		From: r.Params.From, Until: r.Params.Until, Latest: order == LatestFirst, Limit: limitOf(r.Params.Limit),
	}
	if after[0] != "" {
		if f.After, err = strconv.ParseInt(after[0], 10, 64); err != nil || f.After < 1 {
			return nil, invalid("cursor", cursorForm)
		}
	}
	stored, err := h.store.BillingEvents(ctx, f)
	if err != nil {
		return nil, err
	}
	items, next := page(stored, f.Limit, eventOf, func(e *store.BillingEvent) string {
		return cursorAfter(list, strconv.FormatInt(e.Number, 10))
	})
	return ListBillingEvents200JSONResponse{Items: items, Next: next}, nil
}

// GetBillingEvent reads an event. A body holds what a provider knows of a person: names, addresses, cards.
func (h handlers) GetBillingEvent(ctx context.Context, r GetBillingEventRequestObject) (GetBillingEventResponseObject, error) {
	e, err := h.event(ctx, r.Number)
	if err != nil {
		return nil, err
	}
	shown := eventOf(&e)
	if permits(ctx, store.RoleAdmin) {
		shown.Body = e.Body
	}
	return GetBillingEvent200JSONResponse(shown), nil
}

func (h handlers) event(ctx context.Context, number int64) (store.BillingEvent, error) {
	e, err := h.store.BillingEvent(ctx, number)
	return e, missing(err, "billing event %d", number)
}

// ReplayBillingEvent has an event applied again, or says what that would change.
func (h handlers) ReplayBillingEvent(ctx context.Context, r ReplayBillingEventRequestObject) (ReplayBillingEventResponseObject, error) {
	e, err := h.event(ctx, r.Number)
	if err != nil {
		return nil, err
	}
	if e.Body == nil {
		return nil, bodyDropped(r.Number)
	}
	if r.Params.DryRun {
		return h.tryEvent(ctx, &e)
	}
	err = h.store.ReplayEvent(ctx, r.Number, h.o.Now())
	if errors.Is(err, store.ErrConflict) {
		return nil, bodyDropped(r.Number)
	}
	if err != nil {
		return nil, missing(err, "billing event %d", r.Number)
	}
	h.replayed()
	if e, err = h.event(ctx, r.Number); err != nil {
		return nil, err
	}
	return ReplayBillingEvent200JSONResponse{Event: eventOf(&e)}, nil
}

func bodyDropped(number int64) error {
	return &conflictError{detail: fmt.Sprintf("the body of billing event %d was dropped for its age: there is nothing to read", number)}
}

func (h handlers) tryEvent(ctx context.Context, e *store.BillingEvent) (ReplayBillingEventResponseObject, error) {
	if h.o.TryEvent == nil {
		return nil, &absentError{"nobody here knows how billing events are read"}
	}
	effect, err := h.o.TryEvent(ctx, e.Number)
	if err != nil {
		return nil, missing(err, "billing event %d", e.Number)
	}
	return ReplayBillingEvent200JSONResponse{Event: eventOf(e), Effect: effectOf(effect)}, nil
}

func (h handlers) replayed() {
	if h.o.Replayed != nil {
		h.o.Replayed()
	}
}

// ReplayBillingEvents has all events applied again that a filter picks, or says how many they are.
func (h handlers) ReplayBillingEvents(ctx context.Context, r ReplayBillingEventsRequestObject) (ReplayBillingEventsResponseObject, error) {
	f := store.EventFilter{
		Provider: r.Body.Provider, State: store.EventState(r.Body.State), Type: r.Body.Type, User: r.Body.User,
		From: r.Body.From, Until: r.Body.Until,
	}
	if !f.Until.IsZero() && !f.From.Before(f.Until) {
		return nil, impossible("until", "is not after from")
	}
	if r.Params.DryRun {
		n, err := h.count(ctx, f)
		return ReplayBillingEvents200JSONResponse{Events: n}, err
	}
	n, err := h.store.ReplayEvents(ctx, f, h.o.Now())
	if n > 0 {
		h.replayed() // an error may come after a part of them
	}
	return ReplayBillingEvents200JSONResponse{Events: n}, err
}

// count is how many events a filter picks.
func (h handlers) count(ctx context.Context, f store.EventFilter) (n int64, err error) {
	for f.Limit = store.MaxFacts; ; {
		picked, err := h.store.BillingEvents(ctx, f)
		if err != nil {
			return 0, err
		}
		n += int64(len(picked))
		if len(picked) < f.Limit {
			return n, nil
		}
		f.After = picked[len(picked)-1].Number
	}
}

// eventOf is an event without its body.
func eventOf(e *store.BillingEvent) BillingEvent {
	return BillingEvent{
		Number: e.Number, Provider: e.Provider, ID: e.ID, Type: e.Type, At: e.At, Received: e.Received,
		State: EventState(e.State), Reason: e.Reason, Tries: e.Tries, Next: e.Next, Applied: e.Applied, User: e.User, Subject: e.Subject,
	}
}

func effectOf(e *store.BillingEffect) BillingEffect {
	return BillingEffect{
		State: EventState(e.State), Reason: e.Reason, User: e.User, Subject: e.Subject,
		EntitlementsAdded: each(e.Add, owned), EntitlementsChanged: each(e.Change, owned), EntitlementsRemoved: each(e.Remove, owned),
		HoldsAdded: each(e.AddHolds, ownedHold), HoldsRemoved: each(e.RemoveHolds, ownedHold),
		Payments: each(e.Payments, reported), Statuses: statusesOf(e.Statuses),
	}
}

// each turns each of a list into another; never nil, so that an empty list is written as one.
func each[S, I any](list []S, item func(*S) I) []I {
	items := make([]I, len(list))
	for i := range list {
		items[i] = item(&list[i])
	}
	return items
}

func owned(e *store.OwnedEntitlement) BillingEntitlement {
	return BillingEntitlement{
		ID: e.ID, User: e.User, Origin: e.Origin, Plan: e.Plan, Stream: e.Stream, Tag: e.Tag, From: e.From, Until: e.Until,
		GraceFrom: e.GraceFrom, Source: e.Source,
	}
}

func ownedHold(d *store.OwnedHold) BillingHold {
	return BillingHold{ID: d.ID, User: d.User, Origin: d.Origin, Kind: d.Kind, Ref: d.Ref, From: d.From}
}

func reported(p *store.Payment) BillingPayment {
	return BillingPayment{
		ID: p.ID, User: p.User, Status: string(p.Status), Amount: p.Amount, Refunded: p.Refunded, Currency: p.Currency, Reason: p.Reason,
	}
}

func statusesOf(statuses map[string]policy.UserStatus) []BillingStatus {
	list := make([]BillingStatus, 0, len(statuses))
	for _, user := range slices.Sorted(maps.Keys(statuses)) {
		list = append(list, BillingStatus{User: user, Status: UserStatus(statuses[user])})
	}
	return list
}

package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"authhook/internal/policy"
	"authhook/internal/store"
)

func (h handlers) ListSessions(ctx context.Context, r ListSessionsRequestObject) (ListSessionsResponseObject, error) {
	const list = "sessions"
	after, err := readCursor(list, r.Params.Cursor, 2)
	if err != nil {
		return nil, err
	}
	limit := limitOf(r.Params.Limit)
	stored, err := h.store.Sessions(ctx, store.SessionFilter{
		User: r.Params.User, Stream: r.Params.Stream, Node: r.Params.Node, State: policy.SessionState(r.Params.State),
		After: store.SessionKey{Node: after[0], ID: after[1]}, Limit: limit,
	})
	if err != nil {
		return nil, err
	}
	items, next := page(stored, limit, sessionOf, func(s *policy.Session) string { return cursorAfter(list, s.Node, s.ID) })
	return ListSessions200JSONResponse{Items: items, Next: next}, nil
}

func (h handlers) GetSession(ctx context.Context, r GetSessionRequestObject) (GetSessionResponseObject, error) {
	node := cmp.Or(r.Params.Node, h.o.Node)
	s, err := h.store.Session(ctx, node, r.ID)
	if err != nil {
		return nil, missing(err, "session %q on node %q", r.ID, node)
	}
	return GetSession200JSONResponse(sessionOf(&s)), nil
}

// ErrNotHeld: no authhook here has the node that is to be told something.
var ErrNotHeld = errors.New("no authhook here has this node")

// EndSession has the session's node told to end it. That it is told is all that is known when this is answered.
func (h handlers) EndSession(ctx context.Context, r EndSessionRequestObject) (EndSessionResponseObject, error) {
	node := cmp.Or(r.Params.Node, h.o.Node)
	s, err := h.store.Session(ctx, node, r.ID)
	if err != nil {
		return nil, missing(err, "session %q on node %q", r.ID, node)
	}
	if s.State == policy.SessionEnded {
		return EndSession204Response{}, nil
	}
	if h.o.End == nil {
		return nil, &absentError{"no MistServer is configured to be told"}
	}
	err = h.o.End(ctx, s.Node, s.ID)
	if errors.Is(err, ErrNotHeld) {
		return nil, &conflictError{detail: fmt.Sprintf("no authhook here has node %q, which the session is on: start one that is configured with it", s.Node)}
	}
	if err != nil {
		return nil, missing(err, "session %q on node %q", r.ID, node)
	}
	return EndSession204Response{}, nil
}

// claimsOf are a JWT's claims, as far as they are kept; nothing where there was none.
func claimsOf(c *policy.Credential) Claims {
	if c == nil {
		return Claims{}
	}
	return Claims{User: c.User, Streams: c.Streams, Addresses: rangeTexts(c.Addresses), From: c.From, Until: c.Until, Publish: c.Publish}
}

func sessionOf(s *policy.Session) Session {
	return Session{
		Node: s.Node, ID: s.ID, Instance: s.Instance, State: SessionState(s.State), Stream: s.Stream, Address: addressText(s.Address),
		Connector: s.Connector, User: s.User, Jwt: claimsOf(s.JWT), Reason: Reason(s.Reason.String()), Plan: s.Plan, Tags: s.Tags,
		Opened: s.Opened, Decided: s.Decided, Until: s.Until, Ended: s.Ended, Estimated: s.Estimated, Seconds: int64(s.Duration / time.Second),
		BytesUp: s.BytesUp, BytesDown: s.BytesDown, Connectors: s.Connectors,
	}
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (h handlers) ListPayments(ctx context.Context, r ListPaymentsRequestObject) (ListPaymentsResponseObject, error) {
	const list = "payments"
	after, err := readCursor(list, r.Params.Cursor, 2)
	if err != nil {
		return nil, err
	}
	limit := limitOf(r.Params.Limit)
	stored, err := h.store.Payments(ctx, store.PaymentFilter{
		User: r.Params.User, Provider: r.Params.Provider,
		After: store.PaymentKey{Provider: after[0], ID: after[1]}, Limit: limit,
	})
	if err != nil {
		return nil, err
	}
	items, next := page(stored, limit, paymentOf, func(p *store.Payment) string { return cursorAfter(list, p.Provider, p.ID) })
	return ListPayments200JSONResponse{Items: items, Next: next}, nil
}

func (h handlers) GetPayment(ctx context.Context, r GetPaymentRequestObject) (GetPaymentResponseObject, error) {
	p, err := h.store.Payment(ctx, r.Provider, r.ID)
	if err != nil {
		return nil, missing(err, "payment %q of provider %q", r.ID, r.Provider)
	}
	return GetPayment200JSONResponse(paymentOf(&p)), nil
}

func paymentOf(p *store.Payment) Payment {
	return Payment{
		Provider: p.Provider, ID: p.ID, User: p.User, Status: string(p.Status), Amount: p.Amount, Refunded: p.Refunded,
		Currency: p.Currency, Price: p.Price, Subscription: p.Subscription, Plan: p.Plan, Stream: p.Stream, Tag: p.Tag,
		Reason: p.Reason, At: p.At, Recorded: p.Recorded,
	}
}

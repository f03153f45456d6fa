package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"authhook/internal/billing/signature/sign"
)

// demoBilling is what the operator bills with: a stand-in for a shop of their own, and for Stripe (demostripe.go). It sends
// webhooks as these do, signed, to the service's own endpoints, one for each thing that happens.
type demoBilling struct {
	service      string // its URL
	http         *http.Client
	key          []byte // of Standard Webhooks
	stripeSecret string
	payments     atomic.Int64
	webhooks     atomic.Int64
}

func newDemoBilling(service *demoService, connections *http.Transport) (*demoBilling, error) {
	key, err := sign.StandardKey(service.eventsSecret)
	if err != nil {
		return nil, err
	}
	return &demoBilling{
		service: service.url, http: &http.Client{Transport: connections, Timeout: demoPatience},
		key: key, stripeSecret: service.stripeSecret,
	}, nil
}

// demoWebhook is a webhook, which may be sent more than once.
type demoWebhook struct {
	provider string // whose: events, stripe
	id, kind string
	body     []byte
}

func newDemoWebhook(provider, id, kind string, content map[string]any) demoWebhook {
	body, err := json.Marshal(content)
	if err != nil {
		panic(err) // it holds texts, numbers and truths
	}
	return demoWebhook{provider, id, kind, body}
}

// send sends a webhook, and says when that was. The service has stored it when this returns.
func (b *demoBilling) send(ctx context.Context, w demoWebhook) (sent time.Time, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.service+"/billing/"+w.provider, bytes.NewReader(w.body))
	if err != nil {
		return time.Time{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	sent = time.Now()
	if w.provider == demoStripe {
		sign.Stripe(r.Header, w.body, sent, b.stripeSecret)
	} else {
		sign.StandardWebhooks(r.Header, w.id, w.body, sent, b.key)
	}
	answer, err := b.http.Do(r)
	if err != nil {
		return time.Time{}, fmt.Errorf("send the webhook %s: %w", w.kind, err)
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, answer.Body) // so that the connection can be used again
	if answer.StatusCode != http.StatusOK {
		return time.Time{}, fmt.Errorf("send the webhook %s: the service answered %s", w.kind, answer.Status)
	}
	return sent, nil
}

// event is one of the shop's own, as openapi.yaml has them (OwnEvent).
func (b *demoBilling) event(kind string, at time.Time, data map[string]any) demoWebhook {
	return newDemoWebhook("events", fmt.Sprintf("msg_demo_%d", b.webhooks.Add(1)), kind, map[string]any{
		"type": kind, "timestamp": at.UTC().Format(time.RFC3339Nano), "data": data,
	})
}

// demoPayment is one payment, whatever becomes of it.
type demoPayment struct{ id, user, price string }

// payment is a new one, by a user for a price of the catalog.
func (b *demoBilling) payment(user, price string) demoPayment {
	return demoPayment{fmt.Sprintf("pay_%d", b.payments.Add(1)), user, price}
}

func (p demoPayment) data() map[string]any {
	data := map[string]any{
		"user": p.user, "payment": p.id, "price": p.price, "amount": demoCents[p.price], "currency": "usd",
	}
	if p.price == demoBasic || p.price == demoGold { // the others are not renewed
		data["subscription"] = demoSubscription(p.user)
	}
	return data
}

func demoSubscription(user string) string { return "sub_" + user }

func (b *demoBilling) paid(p demoPayment, at time.Time) demoWebhook {
	return b.event("payment.succeeded", at, p.data())
}

// declined is a try at a payment that failed.
func (b *demoBilling) declined(p demoPayment, at time.Time) demoWebhook {
	return b.event("payment.failed", at, p.data())
}

// refunded is a payment of which all was paid back.
func (b *demoBilling) refunded(p demoPayment, at time.Time) demoWebhook {
	return b.event("payment.refunded", at, map[string]any{"payment": p.id, "amount": demoCents[p.price]})
}

// disputed is a payment that its payer's bank takes back for the time being.
func (b *demoBilling) disputed(p demoPayment, at time.Time) demoWebhook {
	return b.event("payment.disputed", at, map[string]any{"payment": p.id, "dispute": demoDispute(p)})
}

// disputeWon is a dispute that ended in the operator's favour.
func (b *demoBilling) disputeWon(p demoPayment, at time.Time) demoWebhook {
	return b.event("dispute.closed", at, map[string]any{"payment": p.id, "dispute": demoDispute(p), "outcome": "won"})
}

func demoDispute(p demoPayment) string { return "dispute_of_" + p.id }

// pastDue is a renewal that was not paid: the time that was paid for is over.
func (b *demoBilling) pastDue(user, price string, at time.Time) demoWebhook {
	return b.subscription(user, price, "past_due", at, at)
}

// upgraded is a subscription that is for another price from now on.
func (b *demoBilling) upgraded(user, price string, at time.Time) demoWebhook {
	return b.subscription(user, price, "active", at.Add(demoMonth), at)
}

func (b *demoBilling) subscription(user, price, status string, periodEnd, at time.Time) demoWebhook {
	return b.event("subscription.changed", at, map[string]any{
		"user": user, "subscription": demoSubscription(user), "price": price, "status": status,
		"period_end": periodEnd.UTC().Format(time.RFC3339Nano),
	})
}

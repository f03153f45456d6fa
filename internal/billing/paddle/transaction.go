package paddle

import (
	"strings"

	"authhook/internal/billing"
)

// paid reads a transaction that was paid. transaction.paid comes at once, transaction.completed when Paddle is done with it:
// the second has the subscription, which the first may lack.
func (e event) paid() ([]billing.Record, error) {
	p, err := e.payment()
	if err != nil {
		return nil, err
	}
	p.Succeeded, p.Terms = e.at, e.terms()
	return e.transaction(p), nil
}

// failed reads a transaction of which an attempt to collect it failed.
func (e event) failed() ([]billing.Record, error) {
	p, err := e.payment()
	if err != nil {
		return nil, err
	}
	p.Failed = e.at
	if attempts := e.List("payments"); len(attempts) > 0 { // the latest first
		p.Failure = billing.Say(e.at, attempts[0].Text("error_code"))
	}
	return e.transaction(p), nil
}

func (e event) transaction(p *billing.Payment) []billing.Record {
	return e.records(billing.Record{
		Kind: billing.KindPayment, ID: e.id, Subscription: billing.Say(e.at, e.ID("subscription_id")), Payment: p,
	})
}

// payment is a payment of which nothing is said yet but what it was for.
func (e event) payment() (*billing.Payment, error) {
	switch e.Text("origin") {
	case "subscription_payment_method_change":
		return nil, billing.Ignored("another card was given: nothing was sold")
	case "subscription_update", "subscription_charge":
		// A change within a period, or something once beside it. Neither is the period's own payment.
		return &billing.Payment{Partial: true}, nil
	}
	return &billing.Payment{}, nil
}

// terms are what was paid and what for, of a transaction that is for no subscription: what one is for, it says by itself.
func (e event) terms() *billing.Said[billing.Terms] {
	items := e.List("items")
	recurring := e.ID("subscription_id") != ""
	for _, item := range items {
		// Before a transaction is completed its subscription may not be there yet.
		recurring = recurring || item.In("price").Has("billing_cycle")
	}
	if recurring {
		return nil
	}
	totals := e.In("details").In("totals")
	var t billing.Terms
	// grand_total is what was due after taxes, discounts and credits; older events have total alone.
	amount := "grand_total"
	if !totals.Has(amount) {
		amount = "total"
	}
	var ok bool
	if t.Amount, ok = totals.AmountText(amount); !ok {
		totals.Missing(amount, paddles)
	}
	t.OtherAmount, _ = totals.AmountText("subtotal")
	if t.Currency = strings.ToLower(e.ID("currency_code")); t.Currency == "" {
		e.Missing("currency_code", paddles)
	}
	// Several things under one amount are none that the catalog could know.
	if len(items) == 1 {
		t.Price = items[0].In("price").ID("id")
	}
	return &billing.Said[billing.Terms]{At: e.at, Value: t}
}

package stripe

import (
	"cmp"

	"authhook/internal/billing"
)

// checkout reads a checkout session that was completed, or whose payment came or failed later, as that of a bank transfer
// does (docs.stripe.com/api/checkout/sessions/object).
func checkout(e event) []billing.Record {
	id, customer, subscription := e.needID("id"), e.id("customer"), e.id("subscription")
	user := cmp.Or(e.user(), e.text("client_reference_id"))

	var records []billing.Record
	switch mode := e.needID("mode"); mode {
	case "payment":
		records = append(records, billing.Record{
			Kind: billing.KindPayment, ID: id,
			Customer: billing.Say(e.at, customer), User: billing.Say(e.at, user),
			// Where the session writes an invoice too, that one is of the same payment.
			Aliases: names(id, e.id("payment_intent"), e.id("invoice")),
			Payment: checkoutPayment(e),
		})
	case "subscription", "setup", "": // the subscription's own events say the rest
	default:
		e.fault("mode", "is none of payment, subscription and setup")
	}
	if subscription != "" && user != "" {
		records = append(records, billing.Record{
			Kind: billing.KindSubscription, ID: subscription,
			Customer: billing.Say(e.at, customer), User: billing.Say(e.at, user),
		})
	}
	return append(records, e.link(customer, user)...)
}

func checkoutPayment(e event) *billing.Payment {
	terms := e.bought()
	terms.Amount = e.needAmount("amount_total")
	terms.OtherAmount, _ = e.amount("amount_subtotal")
	if terms.Currency = e.currency("currency"); terms.Currency == "" {
		e.fault("currency", "is missing")
	}
	p := &billing.Payment{Terms: &billing.Said[billing.Terms]{At: e.at, Value: terms}}
	switch e.kind {
	case "checkout.session.async_payment_succeeded":
		p.Succeeded = e.at
		return p
	case "checkout.session.async_payment_failed":
		p.Failed = e.at
		return p
	}
	switch e.needID("payment_status") {
	case "paid", "no_payment_required":
		p.Succeeded = e.at
	case "unpaid":
		p.Pending = e.at
	default:
		e.fault("payment_status", "is none of paid, unpaid and no_payment_required")
	}
	return p
}

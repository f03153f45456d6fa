package stripe

import (
	"cmp"
	"strings"

	"authhook/internal/billing"
)

// invoice reads an invoice that was paid, or that was tried to be paid and was not
// (docs.stripe.com/api/invoices/object).
func invoice(e event) []billing.Record {
	details, before := e.in("parent").in("subscription_details"), e.in("subscription_details")
	id := e.needID("id")
	subscription := cmp.Or(details.id("subscription"), e.id("subscription"))
	reason, failed := e.text("billing_reason"), e.kind == "invoice.payment_failed"
	if subscription == "" && strings.HasPrefix(reason, "subscription") {
		// Taken for a sale by itself, its price would be sold beyond the subscription's end.
		details.fault("subscription", "is missing")
	}

	p := &billing.Payment{Partial: subscription != "" && !buysPeriod(reason)}
	if failed {
		p.Failed, p.Failure = e.at, billing.Say(e.at, failure(e.object))
	} else {
		p.Succeeded = e.at
	}
	if subscription == "" {
		p.Terms = invoiceTerms(e, failed)
	}
	return e.of(billing.Record{
		Kind: billing.KindPayment, ID: id,
		Subscription: billing.Say(e.at, subscription),
		Aliases:      names(id, append(paidBy(e.object), e.id("payment_intent"), e.id("charge"))...),
		Payment:      p,
	}, e.id("customer"), cmp.Or(e.user(), details.user(), before.user()))
}

// invoiceTerms are what an invoice without a subscription is for. Those of the paid invoice count before those of an attempt
// in the same second: before it is paid, its amount is what is due.
func invoiceTerms(e event, failed bool) *billing.Said[billing.Terms] {
	terms, rank := e.bought(), 0
	if failed {
		terms.Amount = e.needAmount("amount_due")
	} else {
		terms.Amount, rank = e.needAmount("amount_paid"), 1
	}
	terms.OtherAmount, _ = e.amount("subtotal")
	if terms.Currency = e.currency("currency"); terms.Currency == "" {
		e.fault("currency", "is missing")
	}
	if terms.Price == "" && terms.Plan == "" && terms.Stream == "" && terms.Tag == "" {
		terms.Price = onlyPrice(e.in("lines"))
	}
	return &billing.Said[billing.Terms]{At: e.at, Rank: rank, Value: terms}
}

// onlyPrice is the price of an invoice's single line; empty when it has several, of which none is what was bought.
func onlyPrice(lines object) string {
	list, _ := lines.objects("data")
	if more, _ := lines.whether("has_more"); more || len(list) != 1 {
		return ""
	}
	return cmp.Or(list[0].in("pricing").in("price_details").id("price"), list[0].id("price"))
}

// paidBy are the payment intents and charges in an invoice's payments, which are there only where the endpoint's version
// expands them; invoice_payment.paid says them otherwise.
func paidBy(o object) []string {
	var ids []string
	list, _ := o.in("payments").objects("data")
	for _, payment := range list {
		by := payment.in("payment")
		ids = append(ids, by.id("payment_intent"), by.id("charge"))
	}
	return ids
}

// failure is Stripe's word for why an attempt failed. The attempt is the payment intent's or the charge's: where the invoice
// holds no more than their ids, it has no such word.
func failure(o object) string {
	intent := o.expanded("payment_intent").in("last_payment_error")
	return cmp.Or(intent.text("decline_code"), intent.text("code"), o.expanded("charge").text("failure_code"))
}

// invoicePayment reads which payment intent paid an invoice, or a part of it: so a refund or a dispute of that one is known
// to be of this invoice (docs.stripe.com/api/invoice-payment/object).
func invoicePayment(e event) []billing.Record {
	id, by := e.needID("invoice"), e.in("payment")
	aliases := names(id, by.id("payment_intent"), by.id("charge"))
	if aliases == nil {
		return nil // paid outside of Stripe
	}
	return []billing.Record{{Kind: billing.KindPayment, ID: id, Aliases: aliases}}
}

// buysPeriod says of an invoice's billing_reason whether it is a period's own. The others (subscription_update, manual,
// subscription_threshold) are for a change or an extra within one.
func buysPeriod(reason string) bool {
	return reason == "" || reason == "subscription" || reason == "subscription_create" || reason == "subscription_cycle"
}

package stripe

import (
	"strings"
	"time"

	"authhook/internal/billing"
)

// refund reads how much of a charge was paid back until then (docs.stripe.com/api/charges/object). Of several such
// words the most counts, so a refund that failed later still counts: see [ignored].
func refund(e event) []billing.Record {
	id := e.needID("id")
	return e.of(billing.Record{
		Kind: billing.KindPayment, ID: id,
		Aliases: names(id, e.id("payment_intent"), e.id("invoice")),
		Payment: &billing.Payment{
			Refunded:      e.needAmount("amount_refunded"),
			RefundedFully: e.needWhether("refunded"),
		},
	}, e.id("customer"), e.user())
}

// dispute reads a dispute (docs.stripe.com/api/disputes/object). Whichever of its events comes, it was opened; only the one
// that closes it says how it ended, since what the others show may change still. A warning is an inquiry: a dispute may come of
// it, and until then nothing was taken back.
func dispute(e event) []billing.Record {
	id := e.needID("id")
	d := &billing.Dispute{Opened: e.at}
	status := e.needID("status")
	if strings.HasPrefix(status, "warning_") { // an inquiry: nothing was taken back
		d.Opened = time.Time{}
	}
	if e.kind == "charge.dispute.closed" {
		switch status {
		case "won", "warning_closed", "prevented": // prevented by paying back, which charge.refunded says
			d.Closed = billing.Say(e.at, billing.DisputeWon)
		case "lost":
			d.Closed = billing.Say(e.at, billing.DisputeLost)
		default:
			e.fault("status", "is none of won, lost, warning_closed and prevented: end the hold by hand, if it is to end")
		}
	}
	aliases := names(id, e.id("charge"), e.id("payment_intent"))
	if aliases == nil {
		e.fault("charge", "is missing")
	}
	return e.of(billing.Record{Kind: billing.KindDispute, ID: id, Aliases: aliases, Dispute: d}, "", e.user())
}

package paddle

import (
	"authhook/internal/billing"
	"authhook/internal/billing/events/body"
)

// adjustment reads a refund or a chargeback of a transaction.
func (e event) adjustment() ([]billing.Record, error) {
	transaction, status := need(e.Fields, "transaction_id"), need(e.Fields, "status")
	switch action := need(e.Fields, "action"); action {
	case "refund":
		if status != "approved" {
			return nil, billing.Ignored("nothing is paid back by a refund that is " + body.Show(status))
		}
		return e.refund(transaction), nil
	case "chargeback":
		switch status {
		case "approved":
			return e.dispute(transaction, billing.Dispute{Opened: e.at}), nil
		case "reversed":
			return e.dispute(transaction, billing.Dispute{Opened: e.at, Closed: billing.Say(e.at, billing.DisputeWon)}), nil
		}
		return nil, billing.Ignored("nothing is taken back by a chargeback that is " + body.Show(status))
	case "chargeback_reverse":
		if status != "approved" {
			return nil, billing.Ignored("nothing is given back by a reversal that is " + body.Show(status))
		}
		return e.dispute(transaction, billing.Dispute{Closed: billing.Say(e.at, billing.DisputeWon)}), nil
	default:
		return nil, billing.Ignored("nothing follows from an adjustment of the kind " + body.Show(action))
	}
}

// refund is a payment by the adjustment's id, which is the transaction's by another name. Each adjustment says its own amount
// alone: together they may be all that was paid.
func (e event) refund(transaction string) []billing.Record {
	p := &billing.Payment{RefundedFully: e.Text("type") == "full"}
	amount, ok := e.In("totals").AmountText("total")
	if p.Refunded = amount; !ok {
		e.In("totals").Missing("total", paddles)
	}
	return e.records(billing.Record{
		Kind: billing.KindPayment, ID: e.id, Aliases: []string{transaction},
		Subscription: billing.Say(e.at, e.ID("subscription_id")), Payment: p,
	})
}

// dispute is named by its transaction: a chargeback and its reversal are two adjustments, and have nothing else in common.
func (e event) dispute(transaction string, d billing.Dispute) []billing.Record {
	return e.records(billing.Record{
		Kind: billing.KindDispute, ID: transaction, Aliases: []string{transaction}, Dispute: &d,
	})
}

package paddle

import (
	"authhook/internal/billing"
	"authhook/internal/billing/events"
	"authhook/internal/billing/events/body"
)

// subscription reads a subscription, which every event about one shows as a whole.
func (e event) subscription() ([]billing.Record, error) {
	state, err := e.state()
	if err != nil {
		return nil, err
	}
	return e.records(billing.Record{
		Kind: billing.KindSubscription, ID: e.id, Subscribed: events.Subscribed(e.at, state),
	}), nil
}

func (e event) state() (billing.State, error) {
	s := billing.State{Status: billing.SubscriptionStatus(need(e.Fields, "status")), Items: e.items()}
	// While it is past due, the current period is the one that is not paid for: its end names the failure, and what was paid
	// for ended before.
	if s.PeriodEnd = e.In("current_billing_period").Time("ends_at"); s.PeriodEnd.IsZero() {
		s.PeriodEnd = e.Time("next_billed_at")
	}
	change := e.In("scheduled_change")
	switch action := change.Text("action"); action {
	case "cancel", "pause":
		s.Ends, s.EndsAt = true, change.Time("effective_at")
	case "", "resume":
	default:
		return s, &body.FieldError{Field: "data.scheduled_change.action", Problem: "is " + body.Show(action) + ": it is one of cancel, pause, resume"}
	}
	switch s.Status {
	case billing.Active, billing.Trialing:
		if s.PeriodEnd.IsZero() { // it would have no end
			e.Missing("current_billing_period", paddles)
		}
	case billing.PastDue, billing.Paused:
	case billing.Canceled:
		s.Ends, s.EndsAt = false, e.Time("canceled_at")
	default:
		return s, &body.FieldError{Field: "data.status", Problem: "is " + body.Show(string(s.Status)) +
			": it is one of active, canceled, past_due, paused, trialing"}
	}
	return s, nil
}

// items are what is subscribed to. Something that is billed once, or is switched off, is not.
func (e event) items() []billing.Item {
	var items []billing.Item
	for _, item := range e.List("items") {
		price := item.In("price")
		if item.Text("status") == "inactive" || item.Has("recurring") && !item.Truth("recurring") {
			continue
		}
		names := []string{need(price, "id")}
		if product := price.ID("product_id"); product != "" {
			names = append(names, product)
		}
		items = append(items, billing.Item{Prices: names})
	}
	return items
}

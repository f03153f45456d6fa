package custom

import (
	"maps"
	"slices"
	"strings"

	"authhook/internal/billing/events"
	"authhook/internal/billing/events/body"
)

// fields are those of our own events that a configuration may fill in, by type; those that need not be there have a ? at
// their end, and of those with a | one must be there.
var fields = map[events.Type][]string{
	events.PaymentSucceeded: {"user?", "payment", "amount", "currency", "price|plan|stream|tag|subscription", "valid_until?"},
	events.PaymentFailed: {"user?", "payment", "price|plan|stream|tag|subscription",
		"amount?", "currency?", "valid_until?"},
	events.PaymentRefunded:     {"user?", "payment", "amount"},
	events.PaymentDisputed:     {"user?", "payment", "dispute"},
	events.DisputeClosed:       {"user?", "payment", "dispute", "outcome"},
	events.SubscriptionChanged: {"user?", "subscription", "price|plan", "status", "period_end?", "cancel_at_period_end?"},
	events.UserChanged:         {"user?", "status"},
}

// translate makes one of our own events of a body.
func (p *provider) translate(m *mapping, tree any) (events.Event, error) {
	e := events.Event{Type: m.is}
	var err error
	if e.At, err = p.timeOf(m, tree); err != nil {
		return e, err
	}
	for _, field := range slices.Sorted(maps.Keys(m.fields)) {
		from := m.fields[field]
		if problem := p.fill(&e, field, from, tree); problem != "" {
			return e, fault(field, from, problem)
		}
	}
	if from := p.user; from != nil && m.fields["user"] == nil {
		var problem string
		if e.User, problem = from.text(tree); problem != "" {
			return e, fault("user", from, problem)
		}
	}
	e.ForPeriod = m.forPeriod()
	return e, nil
}

// forPeriod says whether a payment is for the time of its subscription, which says by itself what it is for.
func (m *mapping) forPeriod() bool {
	for _, name := range []string{"price", "plan", "stream", "tag"} {
		if m.fields[name] != nil {
			return false
		}
	}
	return m.fields["subscription"] != nil
}

// fill puts what the body says into one field of the event.
func (p *provider) fill(e *events.Event, field string, from *source, tree any) (problem string) {
	texts := map[string]*string{
		"user": &e.User, "payment": &e.Payment, "subscription": &e.Subscription, "dispute": &e.Dispute, "currency": &e.Currency,
		"price": &e.Price, "plan": &e.Plan, "stream": &e.Stream, "tag": &e.Tag, "status": &e.Status, "outcome": &e.Outcome,
	}
	switch field {
	case "time":
	case "amount":
		v := from.find(tree)
		if v == nil {
			return ""
		}
		var n int64
		if p.unit == "major" {
			n, problem = body.MajorAmount(v, p.decimals)
		} else {
			n, problem = body.Amount(v)
		}
		e.Amount = &n
	case "valid_until":
		e.ValidUntil, problem = from.time(tree)
	case "period_end":
		e.PeriodEnd, problem = from.time(tree)
	case "cancel_at_period_end":
		e.CancelAtPeriodEnd, problem = from.truth(tree)
	default:
		*texts[field], problem = from.text(tree)
	}
	return problem
}

// explain says of a fault of our own event where in the provider's body it comes from.
func (p *provider) explain(m *mapping, wrong *body.FieldError) error {
	field := strings.TrimPrefix(wrong.Field, "data.")
	from := m.fields[field]
	if from == nil && field == "user" {
		from = p.user
	}
	if from == nil {
		return &body.FieldError{Field: field, Problem: wrong.Problem}
	}
	return fault(field, from, wrong.Problem)
}

package events

import (
	"time"

	"authhook/internal/billing/events/body"
)

// Type is what happened.
type Type string

// The types of events.
const (
	// PaymentSucceeded: User, Payment, Amount, Currency and exactly one of Price, Plan, Stream and Tag are needed; ValidUntil
	// and Subscription may be there.
	PaymentSucceeded Type = "payment.succeeded"
	// PaymentFailed: User, Payment and exactly one of Price, Plan, Stream and Tag are needed; Subscription, and Amount with
	// Currency, may be there.
	PaymentFailed Type = "payment.failed"
	// PaymentRefunded: Payment and Amount are needed. Amount is all that was ever paid back of the payment, this time
	// included: of several such events the greatest amount counts, and they are not added up. User may be there.
	PaymentRefunded Type = "payment.refunded"
	// PaymentDisputed: Payment and Dispute are needed; User may be there.
	PaymentDisputed Type = "payment.disputed"
	// DisputeClosed: Dispute, Payment and Outcome are needed; User may be there.
	DisputeClosed Type = "dispute.closed"
	// SubscriptionChanged: User, Subscription, Status, one of Plan and Price, and, for a status with access, PeriodEnd are
	// needed; CancelAtPeriodEnd may be there. A canceled subscription has ended: with CancelAtPeriodEnd it goes on until
	// PeriodEnd, as an active one does.
	SubscriptionChanged Type = "subscription.changed"
	// UserChanged: User and Status are needed.
	UserChanged Type = "user.changed"
)

// Types are all of them.
var Types = []Type{
	PaymentSucceeded, PaymentFailed, PaymentRefunded, PaymentDisputed, DisputeClosed, SubscriptionChanged, UserChanged,
}

// Event is one event. What a type does not know is not looked at.
type Event struct {
	Type Type
	At   time.Time // when it happened

	User         string // the operator's own id of the user
	Payment      string // the id of the payment, the same in every event about it
	Subscription string // the id of the subscription, the same in every event about it
	Dispute      string // the id of the dispute

	Amount   *int64 // in the currency's smallest unit; nil where none is said
	Currency string // three letters

	// What is paid for or subscribed to.
	Price  string // a price of the catalog
	Plan   string
	Stream string
	Tag    string

	// ForPeriod: a payment names nothing, since it is for the time of its subscription, which says what that is for; and it
	// needs no user, since the subscription has one. No body says so: it is for those who make events of other providers'.
	ForPeriod bool

	ValidUntil        time.Time // the end of what was bought; zero: see [billing.Terms]
	PeriodEnd         time.Time // the end of the time that is paid for or tried out
	CancelAtPeriodEnd bool      // the subscription is not renewed
	Status            string    // of a subscription ([Statuses]), or of a user: active, suspended
	Outcome           string    // of a dispute: won, lost
}

// Read reads a body.
func Read(data []byte) (Event, error) {
	f, err := body.Read(data)
	if err != nil {
		return Event{}, err
	}
	e := Event{Type: Type(f.ID("type")), At: f.Time("timestamp")}
	if f.Err() == nil && e.Type == "" {
		f.Missing("type", "write what happened, like payment.succeeded")
	}
	if f.Err() == nil && e.At.IsZero() {
		f.Missing("timestamp", "write when it happened, like 2026-12-24T20:00:00Z")
	}
	if f.Err() != nil || !e.known() {
		return e, f.Err()
	}
	d := f.In("data")
	if !f.Has("data") {
		f.Missing("data", "send an object with what happened")
	}
	e.data(d)
	return e, f.Err()
}

// data reads what the event's type knows.
func (e *Event) data(d body.Fields) {
	e.User = d.Text("user")
	switch e.Type {
	case PaymentSucceeded, PaymentFailed:
		e.Payment, e.Subscription = d.Text("payment"), d.Text("subscription")
		e.amount(d)
		e.Currency = d.Text("currency")
		e.Price, e.Plan, e.Stream, e.Tag = d.Text("price"), d.Text("plan"), d.Text("stream"), d.Text("tag")
		e.ValidUntil = d.Time("valid_until")
	case PaymentRefunded:
		e.Payment = d.Text("payment")
		e.amount(d)
	case PaymentDisputed, DisputeClosed:
		e.Payment, e.Dispute, e.Outcome = d.Text("payment"), d.Text("dispute"), d.Text("outcome")
	case SubscriptionChanged:
		e.Subscription, e.Status = d.Text("subscription"), d.Text("status")
		e.Price, e.Plan = d.Text("price"), d.Text("plan")
		e.PeriodEnd, e.CancelAtPeriodEnd = d.Time("period_end"), d.Truth("cancel_at_period_end")
	case UserChanged:
		e.Status = d.Text("status")
	}
}

func (e *Event) amount(d body.Fields) {
	if n, ok := d.Amount("amount"); ok {
		e.Amount = &n
	}
}

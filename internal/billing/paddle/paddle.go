// Package paddle reads the webhooks of Paddle Billing (not of Paddle Classic). The fields are those of
// developer.paddle.com/webhooks: transactions, subscriptions, adjustments.
//
// Who pays is the user whose id the operator's page or server put into custom_data.user_id, else the user that the customer
// is known to be. That is all of custom_data that counts: a page can set it, so whoever has the page open can
// (developer.paddle.com/paddle-js, Checkout.open and Checkout.updateCheckout). What was bought is what the price is in the
// catalog, and nothing that a customer could write.
package paddle

import (
	"encoding/json"
	"net/http"
	"regexp"
	"time"

	"authhook/internal/billing"
	"authhook/internal/billing/events/body"
	"authhook/internal/billing/signature"
	"authhook/internal/store"
)

// Name is what the provider is called.
const Name = "paddle"

// Provider is Paddle as a [billing.Provider]. One without secrets verifies nothing.
type Provider struct {
	// Secrets are those of the notification destinations, see [signature.ParseSecrets].
	Secrets signature.Secrets
}

// Name is "paddle".
func (*Provider) Name() string { return Name }

// Verify holds a request against its Paddle-Signature.
func (p *Provider) Verify(h http.Header, body []byte, now time.Time) error {
	return signature.Paddle(h, body, p.Secrets, now)
}

// Envelope reads what names an event.
func (*Provider) Envelope(_ http.Header, data []byte) (billing.Envelope, error) {
	f, err := body.Read(data)
	if err != nil {
		return billing.Envelope{}, err
	}
	return envelope(f)
}

func envelope(f body.Fields) (billing.Envelope, error) {
	e := billing.Envelope{ID: need(f, "event_id"), Type: need(f, "event_type"), At: f.Time("occurred_at")}
	if e.At.IsZero() {
		f.Missing("occurred_at", paddles)
	}
	if err := f.Err(); err != nil {
		return billing.Envelope{}, err
	}
	return e, nil
}

// readers are the events that something follows from. The first record is of what the event is about.
var readers = map[string]func(event) ([]billing.Record, error){
	"transaction.paid":           event.paid,
	"transaction.completed":      event.paid,
	"transaction.payment_failed": event.failed,
	"subscription.created":       event.subscription,
	"subscription.activated":     event.subscription,
	"subscription.trialing":      event.subscription,
	"subscription.updated":       event.subscription,
	"subscription.past_due":      event.subscription,
	"subscription.paused":        event.subscription,
	"subscription.resumed":       event.subscription,
	"subscription.canceled":      event.subscription,
	"adjustment.created":         event.adjustment,
	"adjustment.updated":         event.adjustment,
}

// Records reads what an event says.
func (*Provider) Records(data []byte) ([]billing.Record, error) {
	f, err := body.Read(data)
	if err != nil {
		return nil, err
	}
	named, err := envelope(f)
	if err != nil {
		return nil, err
	}
	read, known := readers[named.Type]
	if !known {
		return nil, billing.Ignored("nothing follows from events of the type " + body.Show(named.Type))
	}
	if !f.Has("data") {
		f.Missing("data", paddles)
	}
	e := event{Fields: f.In("data"), at: named.At}
	e.id = need(e.Fields, "id")
	records, err := read(e)
	if faulty := f.Err(); faulty != nil {
		return nil, faulty
	}
	return records, err
}

// event is one event, opened at the thing that it is about.
type event struct {
	body.Fields
	at time.Time
	id string // of the thing
}

// records are the one that the event is about, with whose it is, and, where both are known, which user the customer is.
func (e event) records(r billing.Record) []billing.Record {
	customer, user := e.ID("customer_id"), e.user()
	r.Customer, r.User = billing.Say(e.at, customer), billing.Say(e.at, user)
	list := []billing.Record{r}
	if customer != "" && user != "" {
		list = append(list, billing.Record{Kind: billing.KindCustomer, ID: customer, User: r.User})
	}
	return list
}

var wholeNumber = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)

// user is the user that custom_data names; empty where it names none. A customer may have written it: what cannot be a
// user's id is none, rather than a fault that would keep the end of their subscription from being read.
func (e event) user() string {
	var user string
	switch v := e.Any("custom_data", "user_id").(type) {
	case string:
		user = v
	case json.Number:
		if wholeNumber.MatchString(v.String()) {
			user = v.String()
		}
	}
	if _, problem := body.Text(user); problem != "" || store.CheckUserID(user) != nil {
		return ""
	}
	return user
}

// paddles is what to do about a field that Paddle does not fill in.
const paddles = "have Paddle Billing itself send the event"

// need is a name that must be there.
func need(f body.Fields, field string) string {
	s := f.ID(field)
	if s == "" {
		f.Missing(field, paddles)
	}
	return s
}

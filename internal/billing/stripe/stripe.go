// Package stripe reads Stripe's webhooks.
//
// It reads the shapes of Stripe's API before and since the version 2025-03-31.basil, which moved a subscription's period
// to its items, an invoice's subscription into its parent, and a charge's invoice away; an endpoint and the list of events
// may each be of another version. Which fields there are is from docs.stripe.com/api and its changelog. What an event says
// depends on its body alone: nothing is asked of Stripe ([Client] is another way in for the same bodies).
//
// Who pays is the operator's own user, as their system wrote it into metadata or client_reference_id, or the user whose
// customer it is known to be. It is never found by an e-mail address, which anyone can type into a form.
package stripe

import (
	"cmp"
	"errors"
	"net/http"
	"strings"
	"time"

	"authhook/internal/billing"
	"authhook/internal/billing/signature"
)

// Options say whose events are believed.
type Options struct {
	// Secrets are the endpoint's signing secrets (whsec_…), several while one is replaced. Without one nothing verifies.
	Secrets signature.Secrets
	// Mode is "live" (the default) or "test". What the other mode says is noted, and nothing follows from it.
	Mode string
	// Account is the connected account (acct_…) whose events are meant, or, at an endpoint of an organization, the one of
	// its accounts. Empty: the account's own endpoint, which connected accounts have no say in.
	Account string
}

// Provider is Stripe as a [billing.Provider].
type Provider struct {
	secrets signature.Secrets
	live    bool
	account string
}

// New is Stripe with these options. The error says which of them cannot be.
func New(o Options) (*Provider, error) {
	mode := cmp.Or(o.Mode, "live")
	if mode != "live" && mode != "test" {
		return nil, errors.New("stripe: the mode must be live or test")
	}
	return &Provider{secrets: o.Secrets, live: mode == "live", account: o.Account}, nil
}

// Name is "stripe".
func (p *Provider) Name() string { return "stripe" }

// Verify holds a request's raw body against its Stripe-Signature.
func (p *Provider) Verify(h http.Header, body []byte, now time.Time) error {
	return signature.Stripe(h, body, p.secrets, now)
}

// Envelope reads what names an event.
func (p *Provider) Envelope(_ http.Header, body []byte) (billing.Envelope, error) {
	o, err := parse(body)
	if err != nil {
		return billing.Envelope{}, err
	}
	named := envelope(o)
	if o.doc.err != nil {
		return billing.Envelope{}, o.doc.err
	}
	return named, nil
}

func envelope(o object) billing.Envelope {
	if strings.HasPrefix(o.text("object"), "v2.") {
		o.fault("object", "is a thin event's, which holds no data: have the endpoint send snapshot events")
	}
	return billing.Envelope{ID: o.needID("id"), Type: o.needID("type"), At: o.needMoment("created")}
}

// Records reads what an event says. The first record is the one that the event is about; after it come those that say
// which user a customer is.
func (p *Provider) Records(body []byte) ([]billing.Record, error) {
	o, err := parse(body)
	if err != nil {
		return nil, err
	}
	named := envelope(o)
	if o.doc.err != nil {
		return nil, o.doc.err
	}
	read, ok := readers[named.Type]
	if !ok {
		return nil, billing.Ignored(ignoredFor(named.Type))
	}
	e := event{object: o.in("data").in("object"), at: named.At, kind: named.Type}
	if o.doc.err == nil && e.fields == nil {
		o.fault("data.object", "is missing")
	}
	records := read(e)
	refused := p.refuses(o)
	switch {
	case o.doc.err != nil:
		return nil, o.doc.err
	case len(records) == 0:
		return nil, billing.Ignored("it names nobody and nothing that access could follow from")
	}
	for i := range records {
		records[i].Refused = refused
	}
	return records, nil
}

// refuses says why nothing may follow from an event, though it is authentic; empty when something may.
func (p *Provider) refuses(o object) string {
	if live, there := o.whether("livemode"); there && live != p.live {
		if p.live {
			return "a test's: this service takes live payments"
		}
		return "a live payment's: this service takes tests"
	}
	// An event of a connected account names it. One that reached an organization's endpoint from one of its own accounts has
	// that as its context instead, a path of accounts. A context says nothing where no account is asked for, since it is not
	// known to be of another.
	account := o.id("account")
	if path := o.text("context"); account == "" && p.account != "" {
		account = path[strings.LastIndexByte(path, '/')+1:]
	}
	switch {
	case account == p.account:
		return ""
	case p.account == "":
		return "a connected account's: this service takes its own account's payments"
	case account == "":
		// It is the platform's own, whose customers are others than the connected account's.
		return "of no named account: this service takes one connected account's payments"
	}
	return "another account's: this service takes one connected account's payments"
}

// readers are the events that something follows from.
var readers = map[string]func(event) []billing.Record{
	"checkout.session.completed":                      checkout,
	"checkout.session.async_payment_succeeded":        checkout,
	"checkout.session.async_payment_failed":           checkout,
	"invoice.paid":                                    invoice,
	"invoice.payment_succeeded":                       invoice,
	"invoice.payment_failed":                          invoice,
	"invoice_payment.paid":                            invoicePayment,
	"customer.subscription.created":                   subscription,
	"customer.subscription.updated":                   subscription,
	"customer.subscription.paused":                    subscription,
	"customer.subscription.resumed":                   subscription,
	"customer.subscription.deleted":                   subscription,
	"charge.refunded":                                 refund,
	"charge.dispute.created":                          dispute,
	"charge.dispute.updated":                          dispute,
	"charge.dispute.funds_withdrawn":                  dispute,
	"charge.dispute.funds_reinstated":                 dispute,
	"charge.dispute.closed":                           dispute,
	"customer.created":                                customer,
	"customer.updated":                                customer,
	"entitlements.active_entitlement_summary.updated": entitlements,
}

// ignored says why nothing follows from other events, by the beginning of their type; the first that fits counts.
var ignored = []struct{ prefix, reason string }{
	{"checkout.session.", "nothing was paid"},
	{"customer.subscription.", "nothing changes before customer.subscription.updated says so"},
	{"customer.", "what a customer has is said by their subscriptions and payments"},
	{"invoice", "the invoice is neither paid nor failed by it"},
	// A refund by itself does not say how much of its payment is paid back with the others. One that fails later
	// (charge.refund.updated, refund.failed) does not bring back what it took: the operator may have meant it all the same,
	// and the customer may be paid back in another way. Giving it back is for the operator to say.
	{"refund.", "charge.refunded says what was paid back, all in all"},
	{"charge.refund.", "charge.refunded says what was paid back, all in all"},
	{"charge.", "the checkout or the invoice says what was paid"},
	{"payment_intent.", "the checkout or the invoice says what was paid"},
	{"", "nothing about access follows from events of this type"},
}

func ignoredFor(kind string) string {
	for _, i := range ignored {
		if strings.HasPrefix(kind, i.prefix) {
			return i.reason
		}
	}
	return ""
}

// event is one event, opened at the object that it is about.
type event struct {
	object
	at   time.Time // to the second: Stripe says no more
	kind string    // its type
}

// of is a record with whose it is, and beside it, where both are known, which user the customer is.
func (e event) of(r billing.Record, customer, user string) []billing.Record {
	r.Customer, r.User = billing.Say(e.at, customer), billing.Say(e.at, user)
	return append([]billing.Record{r}, e.link(customer, user)...)
}

// link says which user a customer is; nothing where one of them is not known.
func (e event) link(customer, user string) []billing.Record {
	if customer == "" || user == "" {
		return nil
	}
	return []billing.Record{{Kind: billing.KindCustomer, ID: customer, User: billing.Say(e.at, user)}}
}

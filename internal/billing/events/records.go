package events

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"authhook/internal/billing"
	"authhook/internal/billing/events/body"
	"authhook/internal/policy"
	"authhook/internal/store"
)

// records makes the records of each type, the one that the event is about first.
var records = map[Type]func(*Event) ([]billing.Record, error){
	PaymentSucceeded:    (*Event).succeeded,
	PaymentFailed:       (*Event).failed,
	PaymentRefunded:     (*Event).refunded,
	PaymentDisputed:     (*Event).disputed,
	DisputeClosed:       (*Event).closed,
	SubscriptionChanged: (*Event).subscribed,
	UserChanged:         (*Event).changed,
}

func (e *Event) known() bool { return slices.Contains(Types, e.Type) }

// Records are what the event says. The error is a [*body.FieldError] that names what is missing or wrong, as in
// data.user, or an [*billing.IgnoredError] for a type that nothing follows from.
func (e Event) Records() ([]billing.Record, error) {
	read, known := records[e.Type]
	if !known {
		return nil, billing.Ignored("nothing follows from events of the type " + body.Show(string(e.Type)))
	}
	return read(&e)
}

func (e *Event) succeeded() ([]billing.Record, error) {
	terms, err := e.terms(true)
	if err := cmp.Or(e.payer(), need(e.paymentID()), err); err != nil {
		return nil, err
	}
	return e.payment(&billing.Payment{Terms: billing.Say(e.At, terms), Succeeded: e.At}), nil
}

func (e *Event) failed() ([]billing.Record, error) {
	terms, err := e.terms(false)
	if err := cmp.Or(e.payer(), need(e.paymentID()), err); err != nil {
		return nil, err
	}
	// What failed has no say in what was paid: the terms are told as of the beginning of time, so that those of the payment
	// that succeeded hold, whichever came first.
	return e.payment(&billing.Payment{Terms: billing.Say(time.Time{}, terms), Failed: e.At}), nil
}

// payer demands whose a payment is: a user, or the subscription that has one.
func (e *Event) payer() error {
	if e.ForPeriod {
		return cmp.Or(need(e.subscriptionID()), e.user().check())
	}
	return need(e.user())
}

// payment is the record of a payment, and of whose the subscription is that it was for.
func (e *Event) payment(p *billing.Payment) []billing.Record {
	list := []billing.Record{{
		Kind: billing.KindPayment, ID: e.Payment,
		User: e.whose(), Subscription: billing.Say(e.At, e.Subscription), Payment: p,
	}}
	if e.Subscription != "" && e.User != "" {
		list = append(list, billing.Record{Kind: billing.KindSubscription, ID: e.Subscription, User: e.whose()})
	}
	return list
}

func (e *Event) refunded() ([]billing.Record, error) {
	err := cmp.Or(need(e.paymentID()), e.user().check())
	if err == nil && e.Amount == nil {
		err = missing("amount", "write all that was paid back of the payment, in the currency's smallest unit")
	}
	if err != nil {
		return nil, err
	}
	return []billing.Record{{
		Kind: billing.KindPayment, ID: e.Payment, User: e.whose(), Payment: &billing.Payment{Refunded: *e.Amount},
	}}, nil
}

func (e *Event) disputed() ([]billing.Record, error) {
	if err := cmp.Or(need(e.disputeID(), e.paymentID()), e.user().check()); err != nil {
		return nil, err
	}
	return e.dispute(&billing.Dispute{Opened: e.At}), nil
}

func (e *Event) closed() ([]billing.Record, error) {
	if err := cmp.Or(need(e.disputeID(), e.paymentID()), e.user().check()); err != nil {
		return nil, err
	}
	outcome := billing.Outcome(e.Outcome)
	if outcome != billing.DisputeWon && outcome != billing.DisputeLost {
		return nil, choose("outcome", e.Outcome, "won, lost")
	}
	return e.dispute(&billing.Dispute{Closed: billing.Say(e.At, outcome)}), nil
}

func (e *Event) dispute(d *billing.Dispute) []billing.Record {
	return []billing.Record{{
		Kind: billing.KindDispute, ID: e.Dispute, User: e.whose(), Aliases: []string{e.Payment}, Dispute: d,
	}}
}

func (e *Event) changed() ([]billing.Record, error) {
	if err := need(e.user()); err != nil {
		return nil, err
	}
	status := billing.UserStatus(e.Status)
	if status != policy.ActiveUser && status != policy.SuspendedUser {
		return nil, choose("status", e.Status, "active, suspended")
	}
	return []billing.Record{{Kind: billing.KindUser, ID: e.User, Status: billing.Say(e.At, status)}}, nil
}

// Statuses are the words for what a subscription is.
var Statuses = map[string]billing.SubscriptionStatus{
	"incomplete":         billing.Incomplete,
	"trialing":           billing.Trialing,
	"past_due":           billing.PastDue,
	"active":             billing.Active,
	"paused":             billing.Paused,
	"unpaid":             billing.Unpaid,
	"incomplete_expired": billing.IncompleteExpired,
	"canceled":           billing.Canceled,
	"cancelled":          billing.Canceled,
	// What has expired is over, whatever period end stands beside it.
	"expired": billing.IncompleteExpired,
}

func (e *Event) subscribed() ([]billing.Record, error) {
	if err := need(e.user(), e.subscriptionID()); err != nil {
		return nil, err
	}
	status, known := Statuses[e.Status]
	if !known {
		return nil, choose("status", e.Status, strings.Join(slices.Sorted(maps.Keys(Statuses)), ", "))
	}
	item := billing.Item{Plan: e.Plan}
	if e.Price != "" {
		item.Prices = []string{e.Price}
	}
	if err := onlyOne(e.plan(), e.price()); err != nil {
		return nil, err
	}
	if e.PeriodEnd.IsZero() && (status == billing.Active || status == billing.Trialing) {
		return nil, missing("period_end", "write until when it is paid for or tried out, like 2026-12-24T20:00:00Z")
	}
	return []billing.Record{{
		Kind: billing.KindSubscription, ID: e.Subscription, User: e.whose(),
		Subscribed: Subscribed(e.At, billing.State{
			Status: status, Items: []billing.Item{item}, PeriodEnd: e.PeriodEnd, Ends: e.CancelAtPeriodEnd,
		}),
	}}, nil
}

// Subscribed is what was said of a subscription with a state: since when it is past due too, where it is.
func Subscribed(at time.Time, s billing.State) *billing.Subscription {
	said := &billing.Subscription{State: &billing.Said[billing.State]{At: at, Value: s}}
	if s.Status != billing.PastDue {
		return said
	}
	period := s.PeriodEnd
	if period.IsZero() {
		period = at.UTC().Truncate(24 * time.Hour)
		// What was paid for is over, or the renewal would not be due. Without an end, a payment made since would have none.
		said.State.Value.PeriodEnd = at
	}
	said.PastDue = map[int64]time.Time{period.Unix(): at}
	return said
}

func (e *Event) whose() *billing.Said[string] { return billing.Say(e.At, e.User) }

var currencyCode = regexp.MustCompile(`^[a-z]{3}$`)

// terms are what was paid and what for. What a payment cost must be known, of one that failed it may be.
func (e *Event) terms(paid bool) (billing.Terms, error) {
	sold := onlyOne
	if e.ForPeriod {
		sold = none
	}
	if err := cmp.Or(e.subscriptionID().check(), sold(e.price(), e.plan(), e.stream(), e.tag())); err != nil {
		return billing.Terms{}, err
	}
	t := billing.Terms{
		Price: e.Price, Plan: e.Plan, Stream: e.Stream, Tag: e.Tag, Until: e.ValidUntil, Currency: strings.ToLower(e.Currency),
	}
	switch {
	case e.Amount != nil:
		t.Amount = *e.Amount
	case paid:
		return t, missing("amount", "write what was paid, in the currency's smallest unit")
	default:
		t.Currency = ""
		return t, nil
	}
	switch {
	case t.Currency == "":
		return t, missing("currency", "write its three letters, like usd")
	case !currencyCode.MatchString(t.Currency):
		return t, wrong("currency", "is %s: write the currency's three letters, like usd", body.Show(e.Currency))
	}
	return t, nil
}

// name is what a field of the data holds that names something, and what to write there.
type name struct{ field, value, advice string }

func (e *Event) user() name      { return name{"user", e.User, "write your own id of the user"} }
func (e *Event) paymentID() name { return name{"payment", e.Payment, "write the payment's id"} }
func (e *Event) subscriptionID() name {
	return name{"subscription", e.Subscription, "write the subscription's id"}
}
func (e *Event) disputeID() name { return name{"dispute", e.Dispute, "write the dispute's id"} }
func (e *Event) price() name     { return name{"price", e.Price, "write the name of a price"} }
func (e *Event) plan() name      { return name{"plan", e.Plan, "write the name of a plan"} }
func (e *Event) stream() name    { return name{"stream", e.Stream, "write the name of a stream"} }
func (e *Event) tag() name       { return name{"tag", e.Tag, "write the name of a tag"} }

// need demands names, each one that can be stored.
func need(names ...name) error {
	for _, n := range names {
		if n.value == "" {
			return missing(n.field, n.advice)
		}
		if err := n.check(); err != nil {
			return err
		}
	}
	return nil
}

// check demands a name that can be stored, where it is there.
func (n name) check() error {
	if n.value == "" {
		return nil
	}
	problem := body.CheckID(n.value)
	if n.field == "user" {
		problem = ""
		var invalid *store.InvalidError
		if errors.As(store.CheckUserID(n.value), &invalid) {
			problem = invalid.Problem
		}
	}
	if problem == "" {
		return nil
	}
	return wrong(n.field, "%s: %s", problem, n.advice)
}

// onlyOne demands exactly one of several names.
func onlyOne(names ...name) error {
	var fields, given []string
	for _, n := range names {
		fields = append(fields, n.field)
		if n.value != "" {
			given = append(given, n.field)
		}
		if err := n.check(); err != nil {
			return err
		}
	}
	switch one := strings.Join(fields, ", "); {
	case len(given) == 0:
		return missing(fields[0], "write what it is for, as one of "+one)
	case len(given) > 1:
		return wrong(given[1], "stands beside %s: write one of %s", given[0], one)
	}
	return nil
}

// none demands that no name is there.
func none(names ...name) error {
	for _, n := range names {
		if n.value != "" {
			return wrong(n.field, "stands beside a subscription that says what it is for: leave it out")
		}
	}
	return nil
}

// data is what the fields of an event stand in.
const data = "data."

func missing(field, advice string) error {
	return &body.FieldError{Field: data + field, Problem: "is missing: " + advice}
}

func wrong(field, format string, args ...any) error {
	return &body.FieldError{Field: data + field, Problem: fmt.Sprintf(format, args...)}
}

func choose(field, got, among string) error {
	if got == "" {
		return missing(field, "write one of "+among)
	}
	return wrong(field, "is %s: write one of %s", body.Show(got), among)
}

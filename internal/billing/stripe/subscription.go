package stripe

import (
	"fmt"
	"slices"
	"time"

	"authhook/internal/billing"
)

// ranks order what is told of a subscription within one second: one that has ended stays so, and that it pauses or goes on
// is newer than the update that comes along with it.
var ranks = map[string]int{
	"customer.subscription.created": 0,
	"customer.subscription.updated": 1,
	"customer.subscription.paused":  2,
	"customer.subscription.resumed": 2,
	"customer.subscription.deleted": 3,
}

// statuses are all that a subscription can be; the words are billing's too.
var statuses = []billing.SubscriptionStatus{
	billing.Incomplete, billing.Trialing, billing.PastDue, billing.Active, billing.Paused, billing.Unpaid,
	billing.IncompleteExpired, billing.Canceled,
}

// subscription reads a subscription's state (docs.stripe.com/api/subscriptions/object).
func subscription(e event) []billing.Record {
	state := subscriptionState(e)
	s := &billing.Subscription{State: &billing.Said[billing.State]{At: e.at, Rank: ranks[e.kind], Value: state}}
	if state.Status == billing.PastDue {
		period := state.PeriodEnd
		if period.IsZero() {
			period = e.at.Truncate(24 * time.Hour)
		}
		s.PastDue = map[int64]time.Time{period.Unix(): e.at}
	}
	return e.of(billing.Record{Kind: billing.KindSubscription, ID: e.needID("id"), Subscribed: s}, e.id("customer"), e.user())
}

func subscriptionState(e event) billing.State {
	state := billing.State{Status: status(e), PeriodEnd: e.moment("current_period_end")}
	state.Items = items(e)
	for _, item := range state.Items {
		state.PeriodEnd = latest(state.PeriodEnd, item.PeriodEnd)
	}
	if state.Status == billing.Trialing {
		trial := e.moment("trial_end")
		state.PeriodEnd = latest(state.PeriodEnd, trial)
		for i := range state.Items {
			state.Items[i].PeriodEnd = latest(state.Items[i].PeriodEnd, trial)
		}
	}
	for i := range state.Items {
		if state.Items[i].PeriodEnd.Equal(state.PeriodEnd) {
			state.Items[i].PeriodEnd = time.Time{} // it has none of its own
		}
	}

	cancelAt, ended := e.moment("cancel_at"), e.moment("ended_at")
	atPeriodEnd, _ := e.whether("cancel_at_period_end")
	state.Ends = atPeriodEnd || !cancelAt.IsZero()
	switch {
	case !ended.IsZero():
		state.EndsAt = ended
	case state.Status == billing.Canceled:
		// It is over now, whatever was meant before.
		state.EndsAt = e.at
	default:
		state.EndsAt = cancelAt
	}
	return state
}

func status(e event) billing.SubscriptionStatus {
	if e.kind == "customer.subscription.deleted" {
		return billing.Canceled
	}
	s := billing.SubscriptionStatus(e.needID("status"))
	if s != "" && !slices.Contains(statuses, s) {
		e.fault("status", fmt.Sprintf("is %.40q, which is not known", s))
	}
	return s
}

// items are what is subscribed to. Versions of the API before there were items had a single plan at the top.
func items(e event) []billing.Item {
	list, there := e.in("items").objects("data")
	if len(list) == 0 && e.in("plan").fields != nil {
		list = []object{e.object}
	} else if !there {
		e.fault("items", "is missing")
	}
	var read []billing.Item
	for _, o := range list {
		i := item(o)
		i.PeriodEnd = o.moment("current_period_end")
		read = append(read, i)
	}
	return read
}

// item is one price. What is now a price was a plan once, and for a while both were there and were the same.
func item(o object) billing.Item {
	price, amount := o.in("price"), "unit_amount"
	if price.fields == nil {
		price, amount = o.in("plan"), "amount"
	}
	if price.fields == nil {
		o.fault("price", "is missing")
		return billing.Item{}
	}
	read := billing.Item{}
	for _, name := range []string{price.needID("id"), price.text("lookup_key"), price.id("product")} {
		if name != "" && !slices.Contains(read.Prices, name) {
			read.Prices = append(read.Prices, name)
		}
	}
	// A price in tiers, or in fractions of the smallest unit, has no amount of its own.
	var there bool
	if read.Amount, there = price.amount(amount); there {
		read.Currency = price.currency("currency")
	}
	return read
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

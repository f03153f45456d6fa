package billing

import (
	"time"

	"authhook/internal/policy"
)

// Kind says what a record is of.
type Kind string

// The kinds of records.
const (
	// KindPayment is a payment, or an attempt at one, under any of the ids that a provider gives it: a checkout, an
	// invoice, a charge. Records of one payment know each other by their aliases.
	KindPayment Kind = "payment"
	// KindSubscription is a subscription.
	KindSubscription Kind = "subscription"
	// KindDispute is a dispute about a payment.
	KindDispute Kind = "dispute"
	// KindCustomer is the provider's customer: which user it is, and what features it has.
	KindCustomer Kind = "customer"
	// KindUser is what a provider says of a user. Its id is the user's.
	KindUser Kind = "user"
)

// Record is what a provider has said of one thing, all events about it taken together. An event is read as records that
// hold what it alone says; [Record.Join] puts records of one thing together, and the whole is the same whatever their
// order and however often they come. Every field is nil, zero or empty where nothing was said.
type Record struct {
	Kind Kind   `json:"-"`
	ID   string `json:"-"` // the provider's

	// User is the operator's user whose it is.
	User *Said[string] `json:"user,omitempty"`
	// Customer is the provider's customer whose it is; not of a customer itself.
	Customer *Said[string] `json:"customer,omitempty"`
	// Subscription is what a payment was for.
	Subscription *Said[string] `json:"subscription,omitempty"`
	// Aliases are other ids of the same payment, sorted; a dispute's are ids of the payment that it is about.
	Aliases []string `json:"aliases,omitempty"`
	// Refused says why nothing may follow from what an event says: it is a test's, or a foreign account's. That is for the
	// settings to say and not the provider's word, so it is kept with no record.
	Refused string `json:"-"`

	Payment    *Payment          `json:"payment,omitempty"`
	Subscribed *Subscription     `json:"subscribed,omitempty"`
	Dispute    *Dispute          `json:"dispute,omitempty"`
	Features   *Features         `json:"features,omitempty"`
	Status     *Said[UserStatus] `json:"status,omitempty"` // of a user
	Remembered *Remembered       `json:"remembered,omitempty"`
}

// UserStatus is a user's status, as a provider says it.
type UserStatus = policy.UserStatus

// Payment is what was said of a payment under one of its ids.
type Payment struct {
	// Terms are what was paid, and for what. A payment for a subscription's time has none, where the subscription says by
	// itself what it is for and until when.
	Terms *Said[Terms] `json:"terms,omitempty"`
	// Pending, Failed and Succeeded are when it first was. What succeeded did not fail, whatever came before or after.
	Pending   time.Time `json:"pending,omitzero"`
	Failed    time.Time `json:"failed,omitzero"`
	Succeeded time.Time `json:"succeeded,omitzero"`
	// Failure is the provider's word for why it failed.
	Failure *Said[string] `json:"failure,omitempty"`
	// Refunded is the most that was ever said to be paid back, in the currency's smallest unit; RefundedFully is set where
	// the provider itself says that all was.
	Refunded      int64 `json:"refunded,omitempty"`
	RefundedFully bool  `json:"refunded_fully,omitempty"`
	// Partial is set for a payment that did not buy a period of its subscription, but a change within one: a refund of it
	// does not void the subscription.
	Partial bool `json:"partial,omitempty"`
}

// Terms are what was paid and what for. Price is the provider's price; Plan, Stream and Tag are what the operator's own
// system said is bought, where it did. What follows is for the catalog to say, see [judge].
type Terms struct {
	Amount   int64  `json:"amount,omitempty"`   // in the currency's smallest unit
	Currency string `json:"currency,omitempty"` // three letters, in lowercase
	// OtherAmount is what the price came to before taxes and discounts, where the provider says that too: either may be the
	// catalog's.
	OtherAmount int64  `json:"other_amount,omitempty"`
	Price       string `json:"price,omitempty"`
	Plan        string `json:"plan,omitempty"`
	Stream      string `json:"stream,omitempty"`
	Tag         string `json:"tag,omitempty"`
	// Until is the end of what was bought; zero where the catalog's price says how long it lasts, or nothing does.
	Until time.Time `json:"until,omitzero"`
}

// Subscription is what was said of a subscription.
type Subscription struct {
	// State is the latest state that was told.
	State *Said[State] `json:"state,omitempty"`
	// PastDue is since when it was past due, by the end of the period it was in (Unix seconds; the day where none was said):
	// a later word of the same failure does not begin the grace anew. The latest [maxPastDue] periods are kept.
	PastDue map[int64]time.Time `json:"past_due,omitempty"`
	// Good is when it was last told to be active or trialing, where the state does not say so itself.
	Good time.Time `json:"good,omitzero"`
}

// SubscriptionStatus is what a subscription is. The words are Stripe's, which others are translated to.
type SubscriptionStatus string

// The statuses of a subscription, from "not yet" to "never again". Of two that were told at the same moment, the later one
// in this list counts.
const (
	Incomplete        SubscriptionStatus = "incomplete"         // the first payment is not made: no access
	Trialing          SubscriptionStatus = "trialing"           // access until the period ends
	PastDue           SubscriptionStatus = "past_due"           // a renewal failed: the plan's grace
	Active            SubscriptionStatus = "active"             // access until the period ends
	Paused            SubscriptionStatus = "paused"             // no access
	Unpaid            SubscriptionStatus = "unpaid"             // no access
	IncompleteExpired SubscriptionStatus = "incomplete_expired" // no access, for good
	Canceled          SubscriptionStatus = "canceled"           // it has ended
)

// State is a subscription as one event shows it.
type State struct {
	Status SubscriptionStatus `json:"status"`
	// Items are what is subscribed to. Several may be.
	Items []Item `json:"items,omitempty"`
	// PeriodEnd is the end of the time that is paid for or tried out; zero where nothing was said.
	PeriodEnd time.Time `json:"period_end,omitzero"`
	// Ends: it is not renewed when the period ends.
	Ends bool `json:"ends,omitempty"`
	// EndsAt is when it ends or ended, where that is another moment than the period's end.
	EndsAt time.Time `json:"ends_at,omitzero"`
}

// Item is one thing that is subscribed to: a price of the provider, or a plan by the operator's own name.
type Item struct {
	// Prices are names of the price, the closest first: the first one that the catalog knows counts.
	Prices []string `json:"prices,omitempty"`
	Plan   string   `json:"plan,omitempty"`
	// Amount and Currency are the price's own, where the provider says them; zero and empty where not.
	Amount   int64  `json:"amount,omitempty"`
	Currency string `json:"currency,omitempty"`
	// PeriodEnd is the item's own, where that is another than the subscription's.
	PeriodEnd time.Time `json:"period_end,omitzero"`
}

// Dispute is what was said of a dispute.
type Dispute struct {
	// Opened is when it was first heard of as one; zero while it is an inquiry only.
	Opened time.Time `json:"opened,omitzero"`
	// Closed is how it ended.
	Closed *Said[Outcome] `json:"closed,omitempty"`
}

// Outcome is how a dispute ended. Of two that were told at the same moment, lost counts.
type Outcome string

// The outcomes.
const (
	DisputeWon  Outcome = "won" // or withdrawn
	DisputeLost Outcome = "lost"
)

// Features are what a customer may use by the provider's own reckoning (Stripe's entitlements), each by the name that the
// catalog has as a price.
type Features struct {
	// All is the latest full list.
	All *Said[[]string] `json:"all,omitempty"`
	// Also is when a feature was last seen in a list that was not full.
	Also map[string]time.Time `json:"also,omitempty"`
}

// Remembered is what authhook made of a record when the catalog could tell, so that a catalog that drops or changes a
// price does not take away what was sold before. It is no provider's word.
type Remembered struct {
	// Bought is what the payment bought on the terms of that time.
	Bought *Bought `json:"bought,omitempty"`
	// Sold is what prices of the subscription stood for when they were last in the catalog.
	Sold map[string]Thing `json:"sold,omitempty"`
}

// Bought is what a payment bought, and on which terms.
type Bought struct {
	Terms Terms `json:"terms"`
	Thing Thing `json:"thing"`
}

// Thing is what a user may watch: exactly one of Plan, Stream and Tag is set.
type Thing struct {
	Plan   string          `json:"plan,omitempty"`
	Stream string          `json:"stream,omitempty"`
	Tag    string          `json:"tag,omitempty"`
	For    policy.Duration `json:"for,omitzero"` // how long from the payment on; 0: see [Terms.Until]
}

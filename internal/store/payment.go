package store

import "time"

// PaymentStatus says what became of a payment.
type PaymentStatus string

// The usual statuses; a provider may have others.
const (
	PaymentSucceeded PaymentStatus = "succeeded"
	PaymentFailed    PaymentStatus = "failed"
	// PaymentPending: it is under way.
	PaymentPending PaymentStatus = "pending"
	// PaymentRefunded: all of it was paid back.
	PaymentRefunded PaymentStatus = "refunded"
	// PaymentDisputed: its payer's bank took or takes it back; the reason says how that stands.
	PaymentDisputed PaymentStatus = "disputed"
	// PaymentRefused: it was made, and does not pay for what it claims to: the amount or the currency is not the price's.
	PaymentRefused PaymentStatus = "refused"
)

// PaymentKey names a payment: the provider and its id there.
type PaymentKey struct{ Provider, ID string }

// String names the payment in the change feed: provider/id. A provider's name holds no slash, see [CheckPayment].
func (k PaymentKey) String() string { return k.Provider + "/" + k.ID }

// Payment is what is known of a payment. Its user, or what it was for, may not be known yet.
type Payment struct {
	Provider, ID      string
	User              string
	Subscription      string // the provider's
	Price             string // the provider's
	Plan, Stream, Tag string
	Amount, Refunded  int64 // in the currency's smallest unit
	Currency          string
	Status            PaymentStatus
	Reason            string // why it failed or was refused
	// At is the provider's own time of it; Recorded is when it was first stored, whatever a writer says.
	At, Recorded time.Time
}

// Key names the payment.
func (p Payment) Key() PaymentKey { return PaymentKey{p.Provider, p.ID} }

// Onto is what becomes of a payment that stood as old, nil when it was not stored. Changed is false when nothing does.
func (p Payment) Onto(old *Payment, now time.Time) (row Payment, changed bool) {
	p.At, p.Recorded = p.At.UTC().Truncate(time.Microsecond), now.UTC().Truncate(time.Microsecond)
	if old == nil {
		return p, true
	}
	p.Recorded = old.Recorded
	return p, p != *old
}

// PaymentFilter picks payments; an empty field picks all.
type PaymentFilter struct {
	User, Provider string
	// After is the last payment of the page before. Payments come ordered by provider and id.
	After PaymentKey
	// Limit is how many payments to return at most: 100 when zero, never more than [MaxFacts].
	Limit int
}

// Clean brings a filter into its bounds.
func (f PaymentFilter) Clean() PaymentFilter {
	f.User, f.Provider, f.Limit = clean(f.User, MaxUserID), clean(f.Provider, maxKey), pageLimit(f.Limit)
	f.After = PaymentKey{clean(f.After.Provider, maxKey), clean(f.After.ID, maxKey)}
	return f
}

// PaymentRow is a payment as its columns hold it, in the order of the table's.
type PaymentRow struct {
	payment      Payment
	at, recorded Moment
}

// Columns are where a driver scans a row to.
func (r *PaymentRow) Columns() []any {
	p := &r.payment
	return []any{&p.Provider, &p.ID, &p.User, &p.Subscription, &p.Price, &p.Plan, &p.Stream, &p.Tag, &p.Amount, &p.Currency,
		&p.Refunded, &p.Status, &p.Reason, &r.at, &r.recorded}
}

// Payment is what a scanned row holds.
func (r *PaymentRow) Payment() (Payment, error) {
	p := r.payment
	p.At, p.Recorded = r.at.Time, r.recorded.Time
	return p, nil
}

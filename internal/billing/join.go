package billing

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// maxPastDue is of how many periods the beginning of a failure is kept: more than any dunning lasts, where a day is one.
const maxPastDue = 64

// Join is what two records of one thing say together. It is commutative, associative and idempotent, so the order in which
// events arrive, and how often, do not matter: of what changes, the later word by the provider's own clock holds; what only
// grows (a refund, the ids of a payment) is the greatest or all; of first times, the earliest. Neither record is changed.
func (r Record) Join(o Record) Record {
	return Record{
		Kind: r.Kind, ID: r.ID,
		User:         later(r.User, o.User, cmp.Compare),
		Customer:     later(r.Customer, o.Customer, cmp.Compare),
		Subscription: later(r.Subscription, o.Subscription, cmp.Compare),
		Aliases:      union(r.Aliases, o.Aliases),
		Payment:      both(r.Payment, o.Payment, Payment.join),
		Subscribed:   both(r.Subscribed, o.Subscribed, Subscription.join),
		Dispute:      both(r.Dispute, o.Dispute, Dispute.join),
		Features:     both(r.Features, o.Features, Features.join),
		Status:       later(r.Status, o.Status, cmp.Compare),
		Remembered:   both(r.Remembered, o.Remembered, Remembered.join),
	}
}

func (p Payment) join(o Payment) Payment {
	return Payment{
		Terms:         later(p.Terms, o.Terms, compareJSON),
		Pending:       earliest(p.Pending, o.Pending),
		Failed:        earliest(p.Failed, o.Failed),
		Succeeded:     earliest(p.Succeeded, o.Succeeded),
		Failure:       later(p.Failure, o.Failure, cmp.Compare),
		Refunded:      max(p.Refunded, o.Refunded),
		RefundedFully: p.RefundedFully || o.RefundedFully,
		Partial:       p.Partial || o.Partial,
	}
}

func (s Subscription) join(o Subscription) Subscription {
	joined := Subscription{State: later(s.State, o.State, compareStates)}
	if good := latest(s.good(), o.good()); good.After(joined.good()) {
		joined.Good = good
	}
	for _, m := range []map[int64]time.Time{s.PastDue, o.PastDue} {
		for period, since := range m {
			if joined.PastDue == nil {
				joined.PastDue = make(map[int64]time.Time)
			}
			joined.PastDue[period] = earliest(joined.PastDue[period], since)
		}
	}
	if len(joined.PastDue) > maxPastDue {
		periods := slices.Sorted(maps.Keys(joined.PastDue))
		for _, period := range periods[:len(periods)-maxPastDue] {
			delete(joined.PastDue, period)
		}
	}
	return joined
}

func (s Subscription) good() time.Time {
	if s.State != nil && (s.State.Value.Status == Active || s.State.Value.Status == Trialing) {
		return latest(s.State.At, s.Good)
	}
	return s.Good
}

func (d Dispute) join(o Dispute) Dispute {
	return Dispute{
		Opened: earliest(d.Opened, o.Opened),
		// DisputeLost sorts before DisputeWon.
		Closed: later(d.Closed, o.Closed, func(a, b Outcome) int { return cmp.Compare(b, a) }),
	}
}

func (f Features) join(o Features) Features {
	joined := Features{All: later(f.All, o.All, slices.Compare)}
	for _, m := range []map[string]time.Time{f.Also, o.Also} {
		for feature, seen := range m {
			if joined.All != nil && !seen.After(joined.All.At) || !seen.After(joined.Also[feature]) {
				continue
			}
			if joined.Also == nil {
				joined.Also = make(map[string]time.Time)
			}
			joined.Also[feature] = seen
		}
	}
	return joined
}

// join is of no consequence where only one was remembered, which is always so: a provider's word holds none.
func (m Remembered) join(o Remembered) Remembered {
	if compareJSON(m, o) < 0 {
		return o
	}
	return m
}

// statusOrder is the order of statuses that were told at one moment, see [SubscriptionStatus].
var statusOrder = []SubscriptionStatus{Incomplete, Trialing, PastDue, Active, Paused, Unpaid, IncompleteExpired, Canceled}

func compareStates(a, b State) int {
	return cmp.Or(
		cmp.Compare(slices.Index(statusOrder, a.Status), slices.Index(statusOrder, b.Status)),
		a.PeriodEnd.Compare(b.PeriodEnd),
		compareJSON(a, b),
	)
}

// later is the word that holds, of two; compare decides between words of one moment and rank.
func later[T any](a, b *Said[T], compare func(a, b T) int) *Said[T] {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	if cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Rank, b.Rank), compare(a.Value, b.Value)) < 0 {
		return b
	}
	return a
}

func both[T any](a, b *T, join func(T, T) T) *T {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	joined := join(*a, *b)
	return &joined
}

// earliest is the first of two moments of which a zero one never was.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func union(a, b []string) []string {
	if len(a) == 0 && len(b) == 0 {
		return nil
	}
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}

// compareJSON is an order of values that differ in no other way.
func compareJSON[T any](a, b T) int { return bytes.Compare(encode(a), encode(b)) }

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // no type in a record can fail, once it was read
	}
	return b
}

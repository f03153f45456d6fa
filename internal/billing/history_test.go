package billing_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/stripe"
	"authhook/internal/catalog"
	"authhook/internal/policy"
	"authhook/internal/store"
)

// The catalog of the histories: silver and gold by subscription, a fight by itself.
const shop = `
plans:
  - {key: silver, rank: 10, grace: 72h}
  - {key: gold, rank: 20, grace: 72h}
streams:
  - {match: tv, access: entitled, plans: [silver, gold]}
  - {match: uhd, access: entitled, plans: [gold]}
  - {match: fight, access: entitled}
prices:
  - {provider: stripe, price: price_silver, plan: silver, amount: 500, currency: usd}
  - {provider: stripe, price: price_gold, plan: gold, amount: 999, currency: usd}
  - {provider: stripe, price: price_fight, stream: fight, for: 48h, amount: 1999, currency: usd}
`

func theShop(t testing.TB) *policy.Catalog {
	c, err := catalog.Parse("catalog.yaml", []byte(shop))
	require.NoError(t, err)
	return c
}

var begin = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// day is a moment so many days, hours and minutes after the beginning.
func day(n int, more ...time.Duration) time.Time {
	at := begin.AddDate(0, 0, n)
	for _, d := range more {
		at = at.Add(d)
	}
	return at
}

// happening is one event of Stripe's.
type happening struct {
	at   time.Time
	kind string
	body []byte
}

// story makes events of Stripe's, in the shapes of its webhooks.
type story struct {
	events []happening
	old    bool // the shapes of before 2025-03-31
}

type fields map[string]any

func (s *story) tell(at time.Time, kind string, object fields) {
	body, err := json.Marshal(fields{
		"id": fmt.Sprintf("evt_%d", len(s.events)+1), "object": "event", "type": kind, "created": at.Unix(), "livemode": true,
		"data": fields{"object": object},
	})
	if err != nil {
		panic(err)
	}
	s.events = append(s.events, happening{at, kind, body})
}

func (s *story) checkout(at time.Time, user string) {
	s.tell(at, "checkout.session.completed", fields{"id": "cs_1", "mode": "subscription", "payment_status": "paid",
		"client_reference_id": user, "customer": "cus_1", "subscription": "sub_1", "amount_total": 500, "currency": "usd"})
}

func (s *story) subscription(at time.Time, kind, status, price string, end time.Time, more fields) {
	item := fields{"price": fields{"id": price, "product": "prod_1", "currency": "usd",
		"unit_amount": map[string]int{"price_silver": 500, "price_gold": 999}[price]}}
	object := fields{"id": "sub_1", "customer": "cus_1", "status": status, "cancel_at_period_end": false, "cancel_at": nil,
		"ended_at": nil, "items": fields{"data": []any{item}}}
	if s.old {
		object["current_period_end"] = end.Unix()
	} else {
		item["current_period_end"] = end.Unix()
	}
	for k, v := range more {
		object[k] = v
	}
	s.tell(at, "customer.subscription."+kind, object)
}

func (s *story) invoice(at time.Time, kind, id, reason string) {
	object := fields{"id": "in_" + id, "customer": "cus_1", "billing_reason": reason, "currency": "usd", "amount_paid": 999, "attempt_count": 1}
	if s.old {
		object["subscription"], object["payment_intent"], object["charge"] = "sub_1", "pi_"+id, "ch_"+id
	} else {
		object["parent"] = fields{"type": "subscription_details", "subscription_details": fields{"subscription": "sub_1"}}
	}
	s.tell(at, "invoice."+kind, object)
	if kind == "paid" && !s.old {
		s.tell(at, "invoice_payment.paid", fields{"invoice": "in_" + id,
			"payment": fields{"type": "payment_intent", "payment_intent": "pi_" + id}, "amount_paid": 999})
	}
}

func (s *story) refund(at time.Time, id string, amount, refunded int) {
	s.tell(at, "charge.refunded", fields{"id": "ch_" + id, "payment_intent": "pi_" + id, "amount": amount,
		"amount_refunded": refunded, "refunded": amount == refunded})
}

func (s *story) dispute(at time.Time, kind, id, status string) {
	s.tell(at, "charge.dispute."+kind, fields{"id": "dp_" + id, "charge": "ch_" + id, "payment_intent": "pi_" + id, "status": status})
}

func (s *story) buysTheFight(at time.Time, amount int) {
	s.tell(at, "checkout.session.completed", fields{"id": "cs_fight", "mode": "payment", "payment_status": "paid", "customer": "cus_1",
		"payment_intent": "pi_fight", "amount_total": amount, "currency": "usd", "metadata": fields{"price": "price_fight"}})
}

// expectation is what the subscriber is told when it asks for a stream at a moment, once everything was told that had
// happened by then.
type expectation struct {
	at     time.Time
	stream string
	want   policy.Reason
}

// aYear is a year of a subscriber's life, and what it may watch in it.
func aYear(old bool) (*story, []expectation) {
	s := &story{old: old}
	var expected []expectation
	expect := func(at time.Time, stream string, want policy.Reason) {
		expected = append(expected, expectation{at, stream, want})
	}
	const minute, hour = time.Minute, time.Hour
	const entitled, grace, required, expired, held = policy.Entitled, policy.Grace, policy.PaymentRequired, policy.EntitlementExpired, policy.OnHold

	expect(day(0), "tv", required)
	s.subscription(day(0), "created", "incomplete", "price_silver", day(7), nil) // nobody knows whose it is
	expect(day(0, minute), "tv", required)
	s.subscription(day(0, minute), "updated", "trialing", "price_silver", day(7), fields{"trial_end": day(7).Unix()})
	expect(day(0, 2*minute), "tv", required)
	s.checkout(day(0, 3*minute), "anna")
	expect(day(1), "tv", entitled)
	expect(day(1), "uhd", required)
	// The trial is paid for.
	s.subscription(day(7), "updated", "active", "price_silver", day(37), nil)
	s.invoice(day(7), "paid", "1", "subscription_cycle")
	expect(day(8), "tv", entitled)
	// An upgrade, and the difference to pay.
	s.subscription(day(20), "updated", "active", "price_gold", day(37), nil)
	s.invoice(day(20), "paid", "2", "subscription_update")
	expect(day(21), "uhd", entitled)
	// The difference is given back: the month is still paid for.
	s.refund(day(22), "2", 999, 999)
	expect(day(23), "uhd", entitled)
	s.subscription(day(37), "updated", "active", "price_gold", day(67), nil)
	s.invoice(day(37, hour), "paid", "3", "subscription_cycle")
	expect(day(38), "uhd", entitled)
	// A card fails, twice; the third try works.
	s.subscription(day(67), "updated", "active", "price_gold", day(97), nil)
	s.invoice(day(67, hour), "payment_failed", "4", "subscription_cycle")
	s.subscription(day(67, hour), "updated", "past_due", "price_gold", day(97), nil)
	expect(day(68), "uhd", grace)
	s.subscription(day(69), "updated", "past_due", "price_gold", day(97), nil)
	expect(day(70, hour-minute), "uhd", grace)
	expect(day(70, hour), "uhd", expired)
	s.invoice(day(72), "paid", "4", "subscription_cycle")
	s.subscription(day(72), "updated", "active", "price_gold", day(97), nil)
	expect(day(73), "uhd", entitled)
	// A part is given back, then all of the month.
	s.refund(day(80), "4", 999, 100)
	expect(day(81), "uhd", entitled)
	s.refund(day(82), "4", 999, 999)
	expect(day(83), "uhd", required)
	s.subscription(day(97), "updated", "active", "price_gold", day(127), nil)
	s.invoice(day(97, hour), "paid", "5", "subscription_cycle")
	expect(day(98), "uhd", entitled)
	// A dispute that is won.
	s.dispute(day(100), "created", "5", "needs_response")
	expect(day(101), "tv", held)
	s.dispute(day(110), "closed", "5", "won")
	expect(day(111), "tv", entitled)
	// A downgrade, and a pause.
	s.subscription(day(127), "updated", "active", "price_silver", day(157), nil)
	s.invoice(day(127, hour), "paid", "6", "subscription_cycle")
	expect(day(128), "tv", entitled)
	expect(day(128), "uhd", required)
	s.subscription(day(130), "paused", "paused", "price_silver", day(157), nil)
	expect(day(131), "tv", required)
	s.subscription(day(140), "resumed", "active", "price_silver", day(170), nil)
	expect(day(141), "tv", entitled)
	s.subscription(day(170), "updated", "active", "price_silver", day(200), nil)
	s.invoice(day(170, hour), "paid", "7", "subscription_cycle")
	expect(day(171), "tv", entitled)
	// A dispute that is lost: what was paid in that month is void, the next month is not.
	s.dispute(day(180), "created", "7", "needs_response")
	expect(day(181), "tv", held)
	s.dispute(day(190), "closed", "7", "lost")
	expect(day(191), "tv", required)
	s.subscription(day(200), "updated", "active", "price_silver", day(230), nil)
	s.invoice(day(200, hour), "paid", "8", "subscription_cycle")
	expect(day(201), "tv", entitled)
	// A fight by itself, at the wrong price, and then at the right one.
	expect(day(210), "fight", required)
	s.buysTheFight(day(211), 1999)
	expect(day(212), "fight", entitled)
	expect(day(213), "fight", expired)
	// It ends with the period.
	s.subscription(day(220), "updated", "active", "price_silver", day(230), fields{"cancel_at_period_end": true})
	expect(day(229), "tv", entitled)
	expect(day(230), "tv", expired)
	s.subscription(day(230), "deleted", "canceled", "price_silver", day(230), fields{"cancel_at_period_end": true, "ended_at": day(230).Unix()})
	expect(day(231), "tv", expired)
	return s, expected
}

// shelf holds what an account is made of, as a store does.
type shelf struct {
	t            *testing.T
	catalog      *policy.Catalog
	reader       billing.Provider
	records      map[string]store.BillingRecord
	entitlements []store.OwnedEntitlement
	holds        []store.OwnedHold
	payments     map[string]store.Payment
	waiting      map[int64]store.BillingEvent
	numbers      int64
	said         map[string][]billing.Record // by the event's body: it is read once
}

func newShelf(t *testing.T, c *policy.Catalog) *shelf {
	p, err := stripe.New(stripe.Options{})
	require.NoError(t, err)
	return &shelf{t: t, catalog: c, reader: p, records: map[string]store.BillingRecord{}, payments: map[string]store.Payment{},
		waiting: map[int64]store.BillingEvent{}, said: map[string][]billing.Record{}}
}

// empty begins anew; what was read is kept.
func (s *shelf) empty() *shelf {
	return &shelf{t: s.t, catalog: s.catalog, reader: s.reader, records: map[string]store.BillingRecord{},
		payments: map[string]store.Payment{}, waiting: map[int64]store.BillingEvent{}, said: s.said}
}

func (s *shelf) deliver(h happening) *store.BillingEffect {
	said, ok := s.said[string(h.body)]
	if !ok {
		var err error
		said, err = s.reader.Records(h.body)
		require.NoError(s.t, err, h.kind)
		s.said[string(h.body)] = said
	}
	s.numbers++
	a := &store.BillingAccount{
		Event: store.BillingEvent{Number: s.numbers, Provider: "stripe"}, Entitlements: s.entitlements, Holds: s.holds,
	}
	for _, r := range s.records {
		a.Records = append(a.Records, r)
	}
	for _, p := range s.payments {
		a.Payments = append(a.Payments, p)
	}
	for _, e := range s.waiting {
		a.Unlinked = append(a.Unlinked, e)
	}
	e, err := billing.Effect(a, said, s.catalog)
	require.NoError(s.t, err)
	s.put(e)
	return e
}

func (s *shelf) put(e *store.BillingEffect) {
	for _, r := range e.Records {
		s.records[r.Kind+"/"+r.ID] = r
	}
	s.entitlements = slices.DeleteFunc(slices.Clone(s.entitlements), func(old store.OwnedEntitlement) bool {
		has := func(list []store.OwnedEntitlement) bool {
			return slices.ContainsFunc(list, func(e store.OwnedEntitlement) bool { return e.ID == old.ID })
		}
		return has(e.Remove) || has(e.Change)
	})
	s.entitlements = append(s.entitlements, e.Change...)
	for _, added := range e.Add {
		added.ID = store.NewID("ent")
		s.entitlements = append(s.entitlements, added)
	}
	s.holds = slices.DeleteFunc(slices.Clone(s.holds), func(old store.OwnedHold) bool {
		return slices.ContainsFunc(e.RemoveHolds, func(h store.OwnedHold) bool { return h.ID == old.ID })
	})
	for _, added := range e.AddHolds {
		added.ID = store.NewID("hold")
		s.holds = append(s.holds, added)
	}
	for _, p := range e.Payments {
		s.payments[p.ID] = p
	}
	for number := range e.Linked {
		delete(s.waiting, number)
	}
	if e.State == store.EventUnlinked {
		s.waiting[s.numbers] = store.BillingEvent{Number: s.numbers, Provider: "stripe", Subject: e.Subject, State: e.State}
	}
}

// asks is what a user is told who wants to watch a stream.
func (s *shelf) asks(user, stream string, at time.Time) policy.Reason {
	facts := &policy.UserFacts{User: user, Status: policy.ActiveUser}
	for _, e := range s.entitlements {
		if e.User == user {
			facts.Entitlements = append(facts.Entitlements, e.Entitlement)
		}
	}
	for _, h := range s.holds {
		if h.User == user {
			facts.Holds = append(facts.Holds, h.Hold)
		}
	}
	return policy.Evaluate(
		&policy.Request{Action: policy.Watch, Stream: stream, Address: netip.MustParseAddr("192.0.2.1"), Connector: "HLS"},
		&policy.Facts{Catalog: s.catalog, Credential: &policy.Credential{Kind: policy.CredentialKey, User: user}, User: facts}, at).Reason
}

// state is everything that decisions and people see, as text, without the ids that were given at random.
func (s *shelf) state() string {
	var lines []string
	for _, e := range s.entitlements {
		lines = append(lines, fmt.Sprint("entitlement ", e.User, e.Origin, e.Plan, e.Stream, e.Tag, e.From, e.Until, e.GraceFrom, e.Source))
	}
	for _, h := range s.holds {
		lines = append(lines, fmt.Sprint("hold ", h.User, h.Origin, h.Kind, h.Ref, h.From))
	}
	for _, p := range s.payments {
		lines = append(lines, fmt.Sprintf("payment %+v", p))
	}
	for _, r := range s.records {
		lines = append(lines, fmt.Sprint("record ", r))
	}
	slices.Sort(lines)
	return strings.Join(append(lines, fmt.Sprint(len(s.waiting), " waiting")), "\n")
}

func TestAYearInItsOrder(t *testing.T) {
	for _, old := range []bool{false, true} {
		s, expected := aYear(old)
		shelf := newShelf(t, theShop(t))
		next := 0
		for _, want := range expected {
			for next < len(s.events) && !s.events[next].at.After(want.at) {
				shelf.deliver(s.events[next])
				next++
			}
			require.Equal(t, want.want, shelf.asks("anna", want.stream, want.at), "%s on day %v (old shapes: %v)\n%s",
				want.stream, want.at.Sub(begin).Hours()/24, old, shelf.state())
		}
		require.Len(t, s.events, next, "all was told")
		require.Empty(t, shelf.waiting)
	}
}

// What happened by the moment of every expectation is delivered in random orders, with duplicates: what follows is always
// the same, and what is expected.
func TestAYearInAnyOrder(t *testing.T) {
	c := theShop(t)
	for _, old := range []bool{false, true} {
		s, expected := aYear(old)
		inOrder := newShelf(t, c)
		random := rand.New(rand.NewPCG(7, 8))
		next, orders := 0, 0
		for _, want := range expected {
			for next < len(s.events) && !s.events[next].at.After(want.at) {
				inOrder.deliver(s.events[next])
				next++
			}
			for range 1 + 1000/len(expected) {
				told := slices.Concat(s.events[:next], s.events[:next/3])
				random.Shuffle(len(told), func(i, j int) { told[i], told[j] = told[j], told[i] })
				mixed := inOrder.empty()
				for _, h := range told {
					mixed.deliver(h)
				}
				orders++
				require.Equal(t, inOrder.state(), mixed.state(), "%s on %s", want.stream, want.at)
				require.Equal(t, want.want, mixed.asks("anna", want.stream, want.at))
			}
		}
		require.Greater(t, orders, 1000)
	}
}

// Short histories are delivered in every order there is.
func TestShortHistoriesInEveryOrder(t *testing.T) {
	c := theShop(t)
	histories := map[string]struct {
		tell func(*story)
		want []expectation
	}{
		"a purchase, refunded": {func(s *story) {
			s.checkout(day(0), "anna")
			s.buysTheFight(day(1), 1999)
			s.refund(day(1, time.Hour), "fight", 1999, 500)
			s.refund(day(1, 2*time.Hour), "fight", 1999, 1999)
		}, []expectation{{day(1), "fight", policy.PaymentRequired}}},
		"a purchase, disputed and won": {func(s *story) {
			s.checkout(day(0), "anna")
			s.buysTheFight(day(1), 1999)
			s.dispute(day(1, time.Hour), "created", "fight", "needs_response")
			s.dispute(day(2), "closed", "fight", "won")
		}, []expectation{{day(2), "fight", policy.Entitled}}},
		"a purchase, disputed and lost": {func(s *story) {
			s.checkout(day(0), "anna")
			s.buysTheFight(day(1), 1999)
			s.dispute(day(1, time.Hour), "created", "fight", "needs_response")
			s.dispute(day(2), "closed", "fight", "lost")
		}, []expectation{{day(2), "fight", policy.PaymentRequired}, {day(2), "tv", policy.PaymentRequired}}},
		"a purchase that pays too little": {func(s *story) {
			s.checkout(day(0), "anna")
			s.buysTheFight(day(1), 1)
		}, []expectation{{day(1), "fight", policy.PaymentRequired}}},
		"begun and canceled within a second": {func(s *story) {
			s.checkout(day(0), "anna")
			s.subscription(day(0), "created", "incomplete", "price_gold", day(30), nil)
			s.subscription(day(0), "updated", "active", "price_gold", day(30), nil)
			s.invoice(day(0), "paid", "1", "subscription_create")
			s.subscription(day(0), "deleted", "canceled", "price_gold", day(30), fields{"ended_at": day(0).Unix()})
		}, []expectation{{day(0), "uhd", policy.EntitlementExpired}}},
		"a failure and its end": {func(s *story) {
			s.checkout(day(0), "anna")
			s.subscription(day(0), "created", "active", "price_gold", day(30), nil)
			s.invoice(day(30), "payment_failed", "2", "subscription_cycle")
			s.subscription(day(30), "updated", "past_due", "price_gold", day(60), nil)
			s.subscription(day(31), "updated", "past_due", "price_gold", day(60), nil)
		}, []expectation{{day(32), "uhd", policy.Grace}, {day(33), "uhd", policy.EntitlementExpired}}},
	}
	for name, h := range histories {
		for _, old := range []bool{false, true} {
			s := &story{old: old}
			h.tell(s)
			inOrder := newShelf(t, c)
			for _, e := range s.events {
				inOrder.deliver(e)
			}
			permutations(s.events, func(events []happening) {
				mixed := inOrder.empty()
				for _, e := range events {
					mixed.deliver(e)
				}
				require.Equal(t, inOrder.state(), mixed.state(), name)
				for _, want := range h.want {
					require.Equal(t, want.want, mixed.asks("anna", want.stream, want.at), "%s: %s\n%s", name, want.stream, mixed.state())
				}
			})
		}
	}
}

// permutations calls fn with every order of a list.
func permutations[T any](list []T, fn func([]T)) {
	var permute func(int)
	permute = func(n int) {
		if n == len(list) {
			fn(list)
			return
		}
		for i := n; i < len(list); i++ {
			list[n], list[i] = list[i], list[n]
			permute(n + 1)
			list[n], list[i] = list[i], list[n]
		}
	}
	permute(0)
}

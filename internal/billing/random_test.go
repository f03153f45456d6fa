package billing_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/events"
	"authhook/internal/catalog"
	"authhook/internal/policy"
)

// The catalog of the random histories: what a refund, a dispute and a cancellation do is each plan's own.
const bazaar = `
plans:
  - {key: silver, rank: 10, grace: 3s}
  - {key: gold, rank: 20, grace: 1s, refund: keep, dispute: void}
  - {key: strict, cancel: now, dispute: keep}
streams:
  - {match: tv, access: entitled, plans: [silver, gold, strict]}
  - {match: fight, access: entitled}
  - {match: arena, access: entitled, tags: [sport]}
prices:
  - {provider: stripe, price: p-silver, plan: silver, amount: 5, currency: usd}
  - {provider: stripe, price: p-gold, plan: gold, amount: 9, currency: usd}
  - {provider: stripe, price: p-strict, plan: strict}
  - {provider: stripe, price: p-fight, stream: fight, for: 2s, amount: 5, currency: usd}
  - {provider: stripe, price: p-sport, tag: sport}
  - {provider: stripe, price: hd, stream: fight}
`

// dice make events of a small world, in the styles of several senders, within a few seconds: so they meet often.
type dice struct{ *rand.Rand }

func (d dice) one(in int) bool { return d.IntN(in) == 0 }

func (d dice) at() time.Time { return begin.Add(time.Duration(d.IntN(4)) * time.Second) }

func (d dice) sometimes(at time.Time) time.Time {
	if d.one(2) {
		return time.Time{}
	}
	return at
}

func of[T any](d dice, list ...T) T { return list[d.IntN(len(list))] }

func (d dice) user() string         { return of(d, "", "anna", "anna", "ben") }
func (d dice) customer() string     { return of(d, "", "cus_1", "cus_1", "cus_2") }
func (d dice) subscription() string { return of(d, "sub_1", "sub_1", "sub_2") }

// linked are a record, and which user its customer is where both are known.
func linked(at time.Time, r billing.Record, customer, user string) []billing.Record {
	r.Customer, r.User = billing.Say(at, customer), billing.Say(at, user)
	list := []billing.Record{r}
	if customer != "" && user != "" {
		list = append(list, billing.Record{Kind: billing.KindCustomer, ID: customer, User: billing.Say(at, user)})
	}
	return list
}

// ids are some of a payment's ids, and now and then one of another payment.
func (d dice) ids(payment string, kinds ...string) (ids []string) {
	for _, kind := range kinds {
		if d.one(2) {
			ids = append(ids, kind+"_"+payment)
		}
	}
	if d.one(10) {
		ids = append(ids, of(d, "in_", "pi_", "ch_")+of(d, "1", "2", "3"))
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (d dice) terms() billing.Terms {
	t := billing.Terms{Amount: of[int64](d, 5, 9), Currency: "usd", Until: d.sometimes(d.at())}
	switch d.IntN(7) {
	case 0:
		t.Price = of(d, "p-silver", "p-gold", "p-fight", "p-sport", "p-none")
	case 1:
		t.Plan = of(d, "silver", "gold", "strict", "none")
	case 2:
		t.Stream = of(d, "fight", "tv")
	case 3:
		t.Tag = "sport"
	case 4:
		t.Plan, t.Tag = "gold", "sport"
	case 5:
		t.OtherAmount, t.Price = 5, "p-silver"
	}
	return t
}

func (d dice) state(at time.Time) *billing.Subscription {
	s := billing.State{
		Status: of(d, billing.Incomplete, billing.Trialing, billing.PastDue, billing.PastDue, billing.Active, billing.Active,
			billing.Active, billing.Paused, billing.Unpaid, billing.IncompleteExpired, billing.Canceled),
		PeriodEnd: d.sometimes(d.at()), Ends: d.one(3),
	}
	for range 1 + d.IntN(2) {
		item := billing.Item{Prices: []string{of(d, "p-silver", "p-gold", "p-strict", "p-sport", "p-none")}, PeriodEnd: d.sometimes(d.at())}
		if d.one(3) {
			item.Amount, item.Currency = 5, "usd"
		}
		if d.one(5) {
			item = billing.Item{Plan: of(d, "silver", "gold", "none")}
		}
		s.Items = append(s.Items, item)
	}
	if d.one(3) {
		s.EndsAt = d.at()
	}
	said := events.Subscribed(at, s)
	said.State.Rank = d.IntN(3)
	return said
}

// says is what one event says: the first record is what it is about, each other one says whose something is.
func (d dice) says() []billing.Record {
	at, payment := d.at(), of(d, "1", "1", "2", "3")
	said := &billing.Payment{}
	switch d.IntN(4) {
	case 0:
		said.Failed = at
	case 1:
		said.Pending = at
	default:
		said.Succeeded = at
	}
	switch d.IntN(10) {
	case 0, 1: // a subscription
		return linked(at, billing.Record{Kind: billing.KindSubscription, ID: d.subscription(), Subscribed: d.state(at)}, d.customer(), d.user())
	case 2: // an invoice for a subscription, or a transaction
		said.Partial = d.one(4)
		return linked(at, billing.Record{
			Kind: billing.KindPayment, ID: "in_" + payment, Aliases: d.ids(payment, "pi", "ch"),
			Subscription: billing.Say(at, d.subscription()), Payment: said,
		}, d.customer(), d.user())
	case 3: // which charge paid an invoice
		return []billing.Record{{Kind: billing.KindPayment, ID: "in_" + payment, Aliases: []string{of(d, "pi_", "ch_") + payment}}}
	case 4: // a checkout, or an invoice by itself
		said.Terms = billing.Say(at, d.terms())
		return linked(at, billing.Record{
			Kind: billing.KindPayment, ID: of(d, "cs_", "in_") + payment, Aliases: d.ids(payment, "pi", "in"), Payment: said,
		}, d.customer(), d.user())
	case 5: // a refund, of a charge or by an id of its own
		p := &billing.Payment{Refunded: of[int64](d, 2, 3, 5, 9), RefundedFully: d.one(4)}
		return linked(at, billing.Record{
			Kind: billing.KindPayment, ID: of(d, "ch_", "adj_a", "adj_b") + payment, Aliases: d.ids(payment, "in", "pi", "cs"), Payment: p,
		}, d.customer(), "")
	case 6: // a dispute
		p := &billing.Dispute{Opened: at}
		if d.one(2) {
			p.Closed = billing.Say(at, of(d, billing.DisputeWon, billing.DisputeLost))
		}
		return []billing.Record{{
			Kind: billing.KindDispute, ID: of(d, "dp_1", "dp_2"), Aliases: of(d, []string{"pi_" + payment}, []string{"ch_" + payment, "pi_" + payment}), Dispute: p,
			User: billing.Say(at, of(d, "", "", "", "anna")),
		}}
	case 7: // the operator's own
		t := d.terms()
		if said.Terms = billing.Say(at, t); !said.Failed.IsZero() {
			said.Terms = billing.Say(time.Time{}, t)
		}
		subscription, user := of(d, "", d.subscription()), of(d, "anna", "ben")
		list := []billing.Record{{
			Kind: billing.KindPayment, ID: "in_" + payment, User: billing.Say(at, user), Subscription: billing.Say(at, subscription), Payment: said,
		}}
		if subscription != "" {
			list = append(list, billing.Record{Kind: billing.KindSubscription, ID: subscription, User: billing.Say(at, user)})
		}
		return list
	case 8: // what a customer may use
		f := &billing.Features{All: &billing.Said[[]string]{At: at, Value: of(d, []string{}, []string{"hd"}, []string{"hd", "none"})}}
		if d.one(3) {
			f = &billing.Features{Also: map[string]time.Time{of(d, "hd", "p-sport"): at}}
		}
		return []billing.Record{{Kind: billing.KindCustomer, ID: of(d, "cus_1", "cus_2"), Features: f}}
	}
	if d.one(2) {
		return []billing.Record{{Kind: billing.KindUser, ID: of(d, "anna", "ben"),
			Status: billing.Say(at, of(d, policy.ActiveUser, policy.SuspendedUser))}}
	}
	customer := of(d, "cus_1", "cus_2")
	return []billing.Record{{Kind: billing.KindCustomer, ID: customer, User: billing.Say(at, of(d, "anna", "ben"))}}
}

// refused marks, now and then, what an event says as a test's. Nobody refuses a user: that is the operator's own.
func (d dice) refused(records []billing.Record) []billing.Record {
	if d.one(12) && records[0].Kind != billing.KindUser {
		for i := range records {
			records[i].Refused = "a test's"
		}
	}
	return records
}

// town holds the accounts of a store: what shares a name is in one of them.
type town struct {
	quarters []*quarter
	whole    bool // all is one account, whatever its names
	empty    *shelf
	statuses map[string]policy.UserStatus
}

// quarter is an account and its names.
type quarter struct {
	*shelf
	names map[string]bool
}

// hear has an event applied to the account that its names lead to, as a store does. Several become one.
func (w *town) hear(t *testing.T, number int64, said []billing.Record) {
	to := &quarter{w.empty.empty(), map[string]bool{}}
	for i := range said {
		for _, name := range said[i].Names() {
			to.names[name] = true
		}
	}
	w.quarters = slices.DeleteFunc(w.quarters, func(q *quarter) bool {
		shares := func(name string) bool { return q.names[name] }
		if !w.whole && !slices.ContainsFunc(slices.Collect(maps.Keys(to.names)), shares) {
			return false
		}
		to.takeIn(q)
		return true
	})
	w.quarters = append(w.quarters, to)
	delete(to.waiting, number)
	to.numbers = number - 1
	body := fmt.Sprint(number)
	to.said[body] = said
	effect := to.deliver(happening{kind: body, body: []byte(body)})
	for _, name := range effect.Names {
		require.True(t, to.names[name], "the name %s is of nothing that was said", name)
	}
	for _, user := range effect.Linked {
		require.NotEmpty(t, user)
	}
	maps.Copy(w.statuses, effect.Statuses)
}

func (q *quarter) takeIn(o *quarter) {
	maps.Copy(q.names, o.names)
	maps.Copy(q.records, o.records)
	maps.Copy(q.payments, o.payments)
	maps.Copy(q.waiting, o.waiting)
	q.entitlements = append(q.entitlements, o.entitlements...)
	q.holds = append(q.holds, o.holds...)
}

// waiting are the numbers of events whose user is not known.
func (w *town) waiting() (numbers []int64) {
	for _, q := range w.quarters {
		numbers = slices.AppendSeq(numbers, maps.Keys(q.waiting))
	}
	slices.Sort(numbers)
	return numbers
}

// refusal is the row of a payment that was refused as it came: of several words that are refused it shows the one that came last.
var refusal = regexp.MustCompile(`(?m)^payment .* Status:refused Reason:a test's .*\n`)

// state is all of a town, whatever its accounts. Who waits is no part of it: an event that found its user was applied, and does
// not wait again when that link is taken back.
func (w *town) state() string {
	all := &quarter{w.empty.empty(), map[string]bool{}}
	for _, q := range w.quarters {
		all.takeIn(q)
	}
	text, _, _ := strings.Cut(all.state(), fmt.Sprintf("\n%d waiting", len(all.waiting)))
	text = refusal.ReplaceAllString(text, "")
	return fmt.Sprint(text, "\n", w.statuses)
}

// told has events of these numbers delivered, and says what follows.
func told(t *testing.T, empty *shelf, said [][]billing.Record, order []int, whole bool) string {
	w := &town{whole: whole, empty: empty, statuses: map[string]policy.UserStatus{}}
	for _, i := range order {
		w.hear(t, int64(i+1), said[i])
	}
	state := w.state()
	for _, number := range w.waiting() {
		w.hear(t, number, said[number-1])
	}
	require.Equal(t, state, w.state(), "events that waited change something when they are told again, in the order %v of\n%s", order, describe(said))
	return state
}

// describe is what events said, for whoever reads a failure.
func describe(said [][]billing.Record) string {
	var lines []string
	for i, records := range said {
		for _, r := range records {
			lines = append(lines, fmt.Sprintf("%d: %s/%s %s", i, r.Kind, r.ID, jsonOf(r)))
		}
	}
	return strings.Join(lines, "\n")
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// orders calls fn with every order of n events where these are few, else with some; some events come twice or thrice.
func (d dice) orders(n int, fn func([]int)) {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	if n <= 3 {
		permutations(all, fn)
	}
	for range 6 {
		order := slices.Concat(all, all[:d.IntN(n)])
		d.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		fn(order)
	}
}

// Events that nobody thought of, in any order, with duplicates, in one account or in as many as they make: what follows is
// always the same.
func TestRandomEventsInAnyOrder(t *testing.T) {
	c, err := catalog.Parse("catalog.yaml", []byte(bazaar))
	require.NoError(t, err)
	empty := newShelf(t, c)
	d := dice{rand.New(rand.NewPCG(9, 10))}
	rights, holds := 0, 0
	for range 100 {
		said := make([][]billing.Record, 3+d.IntN(5))
		for i := range said {
			said[i] = d.refused(d.says())
		}
		var inOrder []int
		for i := range said {
			inOrder = append(inOrder, i)
		}
		want := told(t, empty, said, inOrder, true)
		d.orders(len(said), func(order []int) {
			for _, whole := range []bool{true, false} {
				if got := told(t, empty, said, order, whole); got != want {
					require.Equal(t, want, got, "one account: %v, the order %v of\n%s", whole, order, describe(said))
				}
			}
		})
		rights += strings.Count(want, "entitlement ")
		holds += strings.Count(want, "hold ")
	}
	require.Greater(t, rights, 40, "rights that followed")
	require.Greater(t, holds, 3, "holds that followed")
}

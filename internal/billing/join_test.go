package billing

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// chance makes records of few words, so that they meet often.
type chance struct{ *rand.Rand }

func (c chance) sometimes() bool { return c.IntN(3) == 0 }

func (c chance) moment() time.Time { return noon.Add(time.Duration(c.IntN(4)) * time.Second) }

func (c chance) maybeMoment() time.Time {
	if c.sometimes() {
		return c.moment()
	}
	return time.Time{}
}

func pick[T any](c chance, of ...T) T { return of[c.IntN(len(of))] }

func said[T any](c chance, of ...T) *Said[T] {
	if !c.sometimes() {
		return nil
	}
	return &Said[T]{At: c.moment(), Rank: c.IntN(2), Value: pick(c, of...)}
}

func (c chance) record() Record {
	r := Record{
		Kind: KindPayment, ID: "x",
		User: said(c, "anna", "ben"), Customer: said(c, "cus_1", "cus_2"), Subscription: said(c, "sub_1", "sub_2"),
		Status: said[UserStatus](c, "active", "suspended"),
	}
	for _, alias := range []string{"a", "b", "c"} {
		if c.sometimes() {
			r.Aliases = append(r.Aliases, alias)
		}
	}
	if c.sometimes() {
		r.Payment = &Payment{
			Terms:   said(c, Terms{Amount: 1}, Terms{Amount: 2, Currency: "usd"}, Terms{Until: c.moment()}),
			Pending: c.maybeMoment(), Failed: c.maybeMoment(), Succeeded: c.maybeMoment(),
			Failure: said(c, "card", "bank"), Refunded: c.Int64N(3), RefundedFully: c.sometimes(), Partial: c.sometimes(),
		}
	}
	if c.sometimes() {
		r.Subscribed = &Subscription{State: said(c,
			State{Status: Active, PeriodEnd: c.moment()}, State{Status: PastDue}, State{Status: Canceled, Ends: c.sometimes()},
			State{Status: Active, Items: []Item{{Plan: pick(c, "gold", "basic")}}})}
		for range c.IntN(3) {
			if r.Subscribed.PastDue == nil {
				r.Subscribed.PastDue = map[int64]time.Time{}
			}
			r.Subscribed.PastDue[c.Int64N(2*maxPastDue)] = c.moment()
		}
	}
	if c.sometimes() {
		r.Dispute = &Dispute{Opened: c.maybeMoment(), Closed: said(c, DisputeWon, DisputeLost)}
	}
	if c.sometimes() {
		r.Features = &Features{All: said(c, []string{"hd"}, []string{"hd", "uhd"}, nil)}
		if r.Features.All == nil { // a list is full, or it is not
			r.Features.Also = map[string]time.Time{pick(c, "hd", "uhd"): c.moment()}
		}
	}
	return r
}

func text(t *testing.T, r Record) string {
	b, err := json.Marshal(r)
	require.NoError(t, err)
	return string(b)
}

func TestJoiningIsCommutativeAssociativeAndIdempotent(t *testing.T) {
	c := chance{rand.New(rand.NewPCG(1, 2))}
	for range 5_000 {
		x, y, z := c.record(), c.record(), c.record()
		xy := x.Join(y)
		require.Equal(t, text(t, xy), text(t, y.Join(x)), "commutative: %s and %s", text(t, x), text(t, y))
		require.Equal(t, text(t, xy.Join(z)), text(t, x.Join(y.Join(z))), "associative")
		require.Equal(t, text(t, xy), text(t, xy.Join(x)), "idempotent")
	}
}

func TestJoiningManyPeriodsKeepsTheLatest(t *testing.T) {
	var records []Record
	for i := range int64(3 * maxPastDue) {
		records = append(records, Record{Kind: KindSubscription, ID: "s", Subscribed: &Subscription{
			PastDue: map[int64]time.Time{i: noon.Add(time.Duration(i) * time.Hour)}}})
	}
	c := chance{rand.New(rand.NewPCG(3, 4))}
	var first string
	for range 50 {
		c.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		all := records[0]
		for _, r := range slices.Concat(records[1:], records[:7]) {
			all = all.Join(r)
		}
		require.Len(t, all.Subscribed.PastDue, maxPastDue)
		require.Contains(t, all.Subscribed.PastDue, int64(3*maxPastDue-1))
		if first == "" {
			first = text(t, all)
		}
		require.Equal(t, first, text(t, all))
	}
}

func TestARecordIsReadBackAsItWasWritten(t *testing.T) {
	c := chance{rand.New(rand.NewPCG(5, 6))}
	for range 2_000 {
		r := c.record()
		read := Record{Kind: r.Kind, ID: r.ID}
		require.NoError(t, json.Unmarshal([]byte(text(t, r)), &read))
		require.Equal(t, text(t, r), text(t, read))
	}
}

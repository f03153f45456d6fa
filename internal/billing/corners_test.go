package billing

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

func (r Record) items(items ...Item) Record {
	value := r.Subscribed.State.Value
	value.Items = items
	r.Subscribed = &Subscription{State: &Said[State]{At: r.Subscribed.State.At, Value: value}}
	return r
}

func (r Record) named(id string) Record { r.ID = id; return r }

func also(at time.Time, name string) Record {
	return Record{Kind: KindCustomer, ID: "cus", User: Say(noon, "anna"), Features: &Features{Also: map[string]time.Time{name: at}}}
}

func TestRightsInTheCorners(t *testing.T) {
	const (
		entitled, grace, required, expired = policy.Entitled, policy.Grace, policy.PaymentRequired, policy.EntitlementExpired
	)
	gold := Terms{Amount: 1000, Currency: "usd", Price: "p-gold", Until: day(30)}
	none := time.Time{}
	bens := unpaid(day(30), "q", gold)
	bens.User = Say(noon, "ben")
	type answers map[float64]policy.Reason
	for name, test := range map[string]struct {
		stream string
		said   []Record
		want   answers
	}{
		"a dispute lost that the plan keeps":      {"tv", []Record{paid(day(0), "p", Terms{Plan: "keeper"}), settled(day(1), "p", DisputeLost)}, answers{2: entitled}},
		"a dispute, won and lost at once":         {"tv", []Record{paid(day(0), "p", gold), settled(day(1), "p", DisputeWon).Join(settled(day(1), "p", DisputeLost))}, answers{2: required}},
		"a dispute about a tag":                   {"arena", []Record{paid(day(0), "q", Terms{Tag: "sport"}), disputed(day(1), "q")}, answers{1.5: policy.OnHold}},
		"a dispute of a plan subscribed to, kept": {"tv", []Record{state(day(0), Active, "p-keeper", day(30)), renewal(day(0), "in"), disputed(day(1), "in")}, answers{2: entitled}},
		"a dispute of a customer's":               {"tv", []Record{paid(day(0), "p", gold), disputed(day(1), "x").for_("cus"), {Kind: KindCustomer, ID: "cus", User: Say(noon, "anna")}}, answers{2: policy.OnHold}},
		"an item that ends by itself":             {"tv", []Record{state(day(0), Active, "", day(30)).items(Item{Prices: []string{"p-basic"}, PeriodEnd: day(10)})}, answers{9: entitled, 11: expired}},
		"two items, the later one last":           {"tv", []Record{state(day(0), Active, "", day(30)).items(Item{Plan: "basic", PeriodEnd: day(10)}, Item{Plan: "basic", PeriodEnd: day(20)})}, answers{15: entitled}},
		"two items, the later one first":          {"tv", []Record{state(day(0), Active, "", day(30)).items(Item{Plan: "basic", PeriodEnd: day(20)}, Item{Plan: "basic", PeriodEnd: day(10)})}, answers{15: entitled}},
		"an item of several names":                {"tv", []Record{state(day(0), Active, "", day(30)).items(Item{Prices: []string{"p-x", "p-basic"}})}, answers{1: entitled}},
		"canceled at a moment, no period":         {"tv", []Record{state(day(0), Canceled, "p-gold", none).ending(day(10))}, answers{9: entitled, 10: expired}},
		"canceled, to the period's end":           {"tv", []Record{state(day(0), Canceled, "p-gold", day(30)).ending(none)}, answers{29: entitled, 30: expired}},
		"canceled, and no end is known":           {"tv", []Record{state(day(0), Canceled, "p-gold", none).ending(none)}, answers{1: required}},
		"canceled, the period's payment failed":   {"tv", []Record{unpaid(day(0), "p", Terms{Plan: "basic", Until: day(60)}).of("s"), state(day(1), Active, "p-basic", none).ending(none)}, answers{2: required}},
		"active, failed and paid in another way":  {"tv", []Record{state(day(0), Active, "p-gold", day(30)), renewalFailed(day(1), "in"), renewal(day(2), "in2")}, answers{29: entitled, 30: grace}},
		"active again, and nobody renewed":        {"tv", []Record{state(day(31), Active, "p-gold", day(60)), renewalFailed(day(30), "in")}, answers{60: grace}},
		"active, without an end, and it failed":   {"tv", []Record{state(day(0), Active, "p-gold", none), renewalFailed(day(5), "in")}, answers{4: entitled, 6: grace, 8: expired}},
		"active, and a payment failed late":       {"tv", []Record{state(day(30), Active, "p-gold", day(30)), renewalFailed(day(30.5), "in")}, answers{33.2: grace}},
		"active, told with the failure":           {"tv", []Record{state(day(30), Active, "p-gold", day(60)), renewalFailed(day(30), "in")}, answers{60: grace}},
		"past due, and paid at that moment":       {"tv", []Record{state(day(30), PastDue, "p-gold", day(60)), renewal(day(30), "in")}, answers{40: entitled}},
		"past due and active at once":             {"tv", []Record{state(day(30), PastDue, "p-gold", day(60)).Join(state(day(30), Active, "p-gold", day(60)))}, answers{40: entitled}},
		"past due, and tried again":               {"tv", []Record{state(day(31), PastDue, "p-gold", day(60)), renewalFailed(day(30), "in").Join(renewalFailed(day(32), "in"))}, answers{32: grace, 33: expired}},
		"what succeeded and failed later":         {"tv", []Record{state(day(0), Active, "p-gold", day(30)), renewal(day(1), "in").Join(renewalFailed(day(2), "in"))}, answers{30: grace}},
		"what failed was refunded":                {"tv", []Record{state(day(0), Active, "p-gold", day(30)), renewalFailed(day(0.5), "in"), {Kind: KindPayment, ID: "in", Payment: &Payment{RefundedFully: true}}}, answers{1: entitled}},
		"two states at once, the later period":    {"tv", []Record{state(day(0), Active, "p-gold", day(30)).Join(state(day(0), Active, "p-basic", day(60)))}, answers{40: entitled}},
		"somebody else's renewal failed":          {"tv", []Record{paid(day(0), "p", gold), bens}, answers{31: expired}},
		"paid at the moment of the state":         {"tv", []Record{state(day(0), Canceled, "p-basic", none), paid(day(0), "p", Terms{Plan: "basic", Until: day(60)}).of("s")}, answers{1: required}},
		"until a moment, whatever the price says": {"live+fight", []Record{paid(day(0), "p", Terms{Amount: 999, Currency: "usd", Price: "p-fight", Until: day(5)})}, answers{4: entitled, 5: expired}},
		"failed, then paid, for what has no end":  {"tv", []Record{unpaid(day(0), "q", Terms{Plan: "gold", Amount: 1000, Currency: "usd"}).of("s"), paid(day(1), "p", Terms{Plan: "gold", Amount: 1000, Currency: "usd"}).of("s")}, answers{99: entitled}},
		"a price and the thing that it is":        {"live+fight", []Record{paid(day(0), "p", Terms{Amount: 999, Currency: "usd", Price: "p-fight", Stream: "live+fight"})}, answers{1: entitled}},
		"more than it costs":                      {"tv", []Record{paid(day(0), "p", Terms{Amount: 1001, Currency: "usd", Price: "p-gold"})}, answers{1: required}},
		"a later amount, an earlier price":        {"tv", []Record{paid(day(1), "cs", Terms{Amount: 1000, Currency: "usd"}).alias("in"), paid(day(0), "in", gold)}, answers{2: entitled}},
		"a feature of what goes on":               {"uhd", []Record{feature(day(0), "hd_live"), state(day(0), Active, "p-none", day(30)).for_("cus")}, answers{31: entitled}},
		"a feature, one ends and another goes on": {"uhd", []Record{feature(day(0), "hd_live"), state(day(0), Active, "p-none", day(30)).ending(none).for_("cus"), state(day(0), Active, "p-none", day(30)).for_("cus").named("s2")}, answers{31: entitled}},
		"a feature, one goes on and another ends": {"uhd", []Record{feature(day(0), "hd_live"), state(day(0), Active, "p-none", day(30)).ending(none).for_("cus"), state(day(0), Active, "p-none", day(30)).for_("cus").named("r")}, answers{31: entitled}},
		"a feature in a list that was not full":   {"uhd", []Record{feature(day(0)).Join(also(day(1), "hd_live"))}, answers{2: entitled}},
		// What a review found to be wrong once.
		"a failure long after it lapsed":          {"tv", []Record{paid(day(0), "p", gold), unpaid(day(365), "q", gold)}, answers{29: entitled, 31: expired, 366: expired}},
		"a failure long after the state lapsed":   {"tv", []Record{state(day(0), Active, "p-gold", day(30)), renewalFailed(day(100), "in")}, answers{32: grace, 33: expired, 101: expired}},
		"an early try that failed":                {"tv", []Record{state(day(0), Active, "p-gold", day(30)), renewalFailed(day(26), "in")}, answers{29: entitled, 32: grace, 33: expired}},
		"an early try that failed, of a purchase": {"tv", []Record{paid(day(0), "p", gold), unpaid(day(5), "q", gold), unpaid(day(30), "r", gold)}, answers{29: entitled, 32: grace, 33: expired}},
		"paid for no time that is known":          {"tv", []Record{state(day(0), Active, "p-gold", day(30)), paid(day(0.1), "p", Terms{Plan: "gold", Amount: 1000, Currency: "usd"}).of("s")}, answers{29: entitled, 40: expired}},
		"paid for no time after it was canceled":  {"tv", []Record{state(day(0), Canceled, "p-gold", none), paid(day(0.1), "p", Terms{Plan: "gold", Amount: 1000, Currency: "usd"}).of("s")}, answers{1: required}},
		"a second failure, the first made good":   {"tv", []Record{state(day(30), PastDue, "p-gold", day(60)).Join(state(day(31), Active, "p-gold", day(60))).Join(state(day(60), PastDue, "p-gold", day(90)))}, answers{61: grace, 63: expired}},
		"past due, and too little paid":           {"tv", []Record{state(day(30), PastDue, "p-gold", day(60)), paid(day(31), "p", Terms{Price: "p-gold", Amount: 1, Currency: "usd"}).of("s")}, answers{32: grace, 33: expired}},
		"too little paid, for long":               {"tv", []Record{state(day(0), Active, "p-gold", none).ending(none), paid(day(1), "p", Terms{Price: "p-gold", Amount: 1, Currency: "usd", Until: day(900)}).of("s")}, answers{2: required}},
		"an inquiry about a payment":              {"tv", []Record{paid(day(0), "p", gold), {Kind: KindDispute, ID: "dp", Aliases: []string{"p"}, Dispute: &Dispute{}}}, answers{2: entitled}},

		"a feature, and then a full list": {"uhd", []Record{feature(day(3)).Join(also(day(1), "hd_live"))}, answers{4: required}},
	} {
		t.Run(name, func(t *testing.T) {
			c := parsed(t, testCatalog)
			rights := Derive("acme", joined(test.said), c)
			for at, want := range test.want {
				assert.Equal(t, want, rights.reason(c, "anna", test.stream, day(at)), "on day %v: %+v", at, rights.Entitlements)
			}
		})
	}
}

func TestNamesAndOwners(t *testing.T) {
	c := parsed(t, testCatalog)
	sub := state(day(0), Active, "p-basic", day(30)).for_("cus")
	sub.User = nil
	rights := Derive("acme", []Record{sub, {Kind: KindPayment, ID: "in", User: Say(noon, "anna"), Subscription: Say(noon, "s")}, {Kind: KindCustomer, ID: "cus", User: Say(noon, "ben")}}, c)
	require.Equal(t, "anna", rights.Entitlements[0].User)
	require.Equal(t, []string{"customer:c", "payment:a", "payment:p", "subscription:s", "user:anna"},
		(&Record{Kind: KindPayment, ID: "p", Aliases: []string{"a"}, User: Say(noon, "anna"), Customer: Say(noon, "c"), Subscription: Say(noon, "s")}).Names())
	rights = Derive("acme", []Record{paid(day(0), "p", Terms{Plan: "basic"}), disputed(day(1), "p")}, c)
	require.Equal(t, day(1), rights.Holds[0].From)
	require.Equal(t, []string{"payment:p"}, (&Record{Kind: KindPayment, ID: "p", User: Say(noon, "anna"), Refused: "a test's"}).Names())
}

func TestWhatAnEffectHolds(t *testing.T) {
	c := parsed(t, testCatalog)
	a := func(records ...store.BillingRecord) *store.BillingAccount {
		return &store.BillingAccount{Event: store.BillingEvent{Provider: "acme"}, Records: records}
	}
	e, err := effect(a(), []Record{state(day(0), Active, "p-gold", day(30))}, c)
	require.NoError(t, err)
	require.Equal(t, []string{"subscription:s", "user:anna"}, e.Names)
	e, err = effect(a(), []Record{state(day(0), Active, "", day(30)).items(Item{Plan: "none"})}, c)
	require.NoError(t, err)
	require.Equal(t, `the catalog has no plan "none"`, e.Reason)
	// What is paid by another id is remembered where the terms are.
	pending := Record{Kind: KindPayment, ID: "cs", User: Say(noon, "anna"), Aliases: []string{"in"}, Payment: &Payment{Terms: Say(noon, Terms{Plan: "basic"}), Pending: noon}}
	e, err = effect(a(), []Record{pending}, c)
	require.NoError(t, err)
	e, err = effect(a(e.Records...), []Record{{Kind: KindPayment, ID: "in", Payment: &Payment{Succeeded: noon}}}, c)
	require.NoError(t, err)
	require.Len(t, e.Records, 2)
	require.Contains(t, e.Records[0].Doc, "remembered")
	waits := a()
	waits.Unlinked = []store.BillingEvent{{Number: 1, Subject: "payment/p"}}
	nobodys := paid(day(0), "p", Terms{Plan: "basic"})
	nobodys.User = nil
	e, err = effect(waits, []Record{nobodys}, c)
	require.NoError(t, err)
	require.Empty(t, e.Linked)
	rights := Derive("acme", []Record{{Kind: KindPayment, ID: "p", User: Say(noon, "anna"), Payment: &Payment{Failed: noon, Failure: Say(noon, "card_declined")}}, {Kind: KindPayment, ID: "q", Payment: &Payment{Pending: noon}}}, c)
	require.Len(t, rights.Payments, 2)
	require.Equal(t, "card_declined", rights.Payments[0].Reason)
	require.Equal(t, store.PaymentPending, rights.Payments[1].Status)
}

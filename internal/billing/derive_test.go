package billing

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/catalog"
	"authhook/internal/policy"
	"authhook/internal/store"
)

const testCatalog = `
plans:
  - {key: gold, rank: 20, grace: 72h}
  - {key: basic, rank: 10}
  - {key: keeper, refund: keep, dispute: keep}
  - {key: strict, dispute: void, cancel: now}
streams:
  - {match: tv, access: entitled, plans: [gold, basic, keeper, strict]}
  - {match: uhd, access: entitled, plans: [gold]}
  - {match: arena, access: entitled, tags: [sport]}
  - {match: live+fight, access: entitled}
prices:
  - {provider: acme, price: p-gold, plan: gold, amount: 1000, currency: usd}
  - {provider: acme, price: p-basic, plan: basic}
  - {provider: acme, price: p-keeper, plan: keeper}
  - {provider: acme, price: p-strict, plan: strict}
  - {provider: acme, price: p-sport, tag: sport, for: 48h}
  - {provider: acme, price: p-fight, stream: live+fight, for: 48h, amount: 999, currency: usd}
  - {provider: acme, price: hd_live, stream: uhd}
  - {provider: other, price: p-theirs, plan: gold}
`

func parsed(t testing.TB, text string) *policy.Catalog {
	c, err := catalog.Parse("catalog.yaml", []byte(text))
	require.NoError(t, err)
	return c
}

// day is a moment so many days after the first.
func day(n float64) time.Time { return noon.Add(time.Duration(n * 24 * float64(time.Hour))) }

// reason is what somebody who wants to watch a stream at a moment is told.
func (r *Rights) reason(c *policy.Catalog, user, stream string, at time.Time) policy.Reason {
	facts := &policy.UserFacts{User: user, Status: policy.ActiveUser}
	for _, e := range r.Entitlements {
		if e.User == user {
			facts.Entitlements = append(facts.Entitlements, e.Entitlement)
		}
	}
	for _, h := range r.Holds {
		if h.User == user {
			facts.Holds = append(facts.Holds, h.Hold)
		}
	}
	return policy.Evaluate(
		&policy.Request{Action: policy.Watch, Stream: stream, Address: netip.MustParseAddr("192.0.2.1"), Connector: "HLS"},
		&policy.Facts{Catalog: c, Credential: &policy.Credential{Kind: policy.CredentialKey, User: user}, User: facts}, at).Reason
}

// Words of a provider.

func paid(at time.Time, id string, terms Terms) Record {
	return Record{Kind: KindPayment, ID: id, User: Say(at, "anna"), Payment: &Payment{Terms: Say(at, terms), Succeeded: at}}
}

func unpaid(at time.Time, id string, terms Terms) Record {
	return Record{Kind: KindPayment, ID: id, User: Say(at, "anna"), Payment: &Payment{Terms: Say(at, terms), Failed: at}}
}

func (r Record) of(subscription string) Record {
	r.Subscription = Say(noon, subscription)
	return r
}

func (r Record) alias(ids ...string) Record {
	r.Aliases = ids
	return r
}

func refund(id string, amount int64) Record {
	return Record{Kind: KindPayment, ID: id, Payment: &Payment{Refunded: amount}}
}

func disputed(at time.Time, payment string) Record {
	return Record{Kind: KindDispute, ID: "dp", Aliases: []string{payment}, Dispute: &Dispute{Opened: at}}
}

func settled(at time.Time, payment string, outcome Outcome) Record {
	return Record{Kind: KindDispute, ID: "dp", Aliases: []string{payment}, Dispute: &Dispute{Closed: Say(at, outcome)}}
}

func state(at time.Time, status SubscriptionStatus, price string, end time.Time) Record {
	r := Record{Kind: KindSubscription, ID: "s", User: Say(at, "anna"), Subscribed: &Subscription{
		State: &Said[State]{At: at, Value: State{Status: status, Items: []Item{{Prices: []string{price}}}, PeriodEnd: end}}}}
	if status == PastDue {
		r.Subscribed.PastDue = map[int64]time.Time{end.Unix(): at}
	}
	return r
}

func (r Record) ending(at time.Time) Record {
	value := r.Subscribed.State.Value
	value.Ends, value.EndsAt = true, at
	r.Subscribed = &Subscription{State: &Said[State]{At: r.Subscribed.State.At, Value: value}}
	return r
}

// renewal is the payment of a period by a provider whose subscription says the rest.
func renewal(at time.Time, id string) Record {
	return Record{Kind: KindPayment, ID: id, Payment: &Payment{Succeeded: at}}.of("s")
}

func renewalFailed(at time.Time, id string) Record {
	return Record{Kind: KindPayment, ID: id, Payment: &Payment{Failed: at}}.of("s")
}

// extra makes a payment one of something within a period.
func extra(r Record) Record {
	r.Payment.Partial = true
	return r
}

func TestRights(t *testing.T) {
	const (
		entitled, grace, required, expired = policy.Entitled, policy.Grace, policy.PaymentRequired, policy.EntitlementExpired
		second                             = 1.0 / 86400
	)
	gold := Terms{Amount: 1000, Currency: "usd", Price: "p-gold", Until: day(30)}
	type answers map[float64]policy.Reason
	cases := map[string]struct {
		stream string
		said   []Record
		want   answers
	}{
		"a payment until a moment":     {"tv", []Record{paid(day(0), "p", gold)}, answers{1: entitled, 30 - second: entitled, 30: expired}},
		"a payment for a while":        {"live+fight", []Record{paid(day(0), "p", Terms{Amount: 999, Currency: "usd", Price: "p-fight"})}, answers{0: entitled, 2 - second: entitled, 2: expired}},
		"a payment for a tag":          {"arena", []Record{paid(day(0), "p", Terms{Tag: "sport"})}, answers{1: entitled, 2: expired}},
		"a payment for good":           {"tv", []Record{paid(day(0), "p", Terms{Plan: "basic"})}, answers{1: entitled, 9999: entitled}},
		"a payment under way":          {"tv", []Record{{Kind: KindPayment, ID: "p", User: Say(noon, "anna"), Payment: &Payment{Terms: Say(noon, gold), Pending: noon}}}, answers{1: required}},
		"a payment that failed":        {"tv", []Record{unpaid(day(0), "p", gold)}, answers{1: required}},
		"a payment that failed first":  {"tv", []Record{unpaid(day(1), "p", gold), paid(day(0), "p", gold)}, answers{1: entitled}},
		"a wrong amount":               {"tv", []Record{paid(day(0), "p", Terms{Amount: 1, Currency: "usd", Price: "p-gold"})}, answers{1: required}},
		"a wrong currency":             {"tv", []Record{paid(day(0), "p", Terms{Amount: 1000, Currency: "jpy", Price: "p-gold"})}, answers{1: required}},
		"an amount before taxes":       {"tv", []Record{paid(day(0), "p", Terms{Amount: 1190, OtherAmount: 1000, Currency: "usd", Price: "p-gold", Until: day(30)})}, answers{1: entitled}},
		"a price of another provider":  {"tv", []Record{paid(day(0), "p", Terms{Price: "p-theirs"})}, answers{1: required}},
		"an unknown price":             {"tv", []Record{paid(day(0), "p", Terms{Price: "p-none"})}, answers{1: required}},
		"an unknown plan":              {"tv", []Record{paid(day(0), "p", Terms{Plan: "none"})}, answers{1: required}},
		"a stream for less than it is": {"live+fight", []Record{paid(day(0), "p", Terms{Amount: 1, Currency: "usd", Stream: "live+fight"})}, answers{1: required}},
		"a stream for what it costs":   {"live+fight", []Record{paid(day(0), "p", Terms{Amount: 999, Currency: "usd", Stream: "live+fight"})}, answers{1: entitled, 2: expired}},
		"a stream that has no price":   {"tv", []Record{paid(day(0), "p", Terms{Amount: 1, Currency: "usd", Stream: "tv"})}, answers{1: entitled}},
		"a price for something else":   {"live+fight", []Record{paid(day(0), "p", Terms{Amount: 1000, Currency: "usd", Price: "p-gold", Stream: "live+fight"})}, answers{1: required}},
		"two things at once":           {"tv", []Record{paid(day(0), "p", Terms{Plan: "gold", Tag: "sport"})}, answers{1: required}},
		"a checkout and its invoice":   {"arena", []Record{paid(day(0), "cs", Terms{Amount: 5, Currency: "usd", Tag: "sport"}).alias("in"), paid(day(0.1), "in", Terms{Amount: 5, Currency: "usd", Price: "p-none"})}, answers{1: entitled, 2.01: expired}},

		"a full refund":                   {"tv", []Record{paid(day(0), "p", gold), refund("p", 1000)}, answers{1: required}},
		"a partial refund":                {"tv", []Record{paid(day(0), "p", gold), refund("p", 999)}, answers{1: entitled}},
		"a refund by another id":          {"tv", []Record{paid(day(0), "p", gold).alias("pi"), {Kind: KindPayment, ID: "ch", Aliases: []string{"pi"}, Payment: &Payment{RefundedFully: true}}}, answers{1: required}},
		"refunds that make up a full one": {"tv", []Record{paid(day(0), "p", gold), refund("adj_1", 400).alias("p"), refund("adj_2", 600).alias("p")}, answers{1: required}},
		"refunds that do not":             {"tv", []Record{paid(day(0), "p", gold), refund("adj_1", 400).alias("p"), refund("adj_2", 599).alias("p")}, answers{1: entitled}},
		"a refund that the plan keeps":    {"tv", []Record{paid(day(0), "p", Terms{Amount: 5, Plan: "keeper"}), refund("p", 5)}, answers{1: entitled}},
		"a refund of the payment before":  {"tv", []Record{paid(day(0), "p", gold), paid(day(29), "q", Terms{Amount: 1000, Currency: "usd", Price: "p-gold", Until: day(60)}), refund("p", 1000)}, answers{31: entitled, 60: expired}},

		"a dispute":                      {"tv", []Record{paid(day(0), "p", gold), disputed(day(1), "p")}, answers{2: policy.OnHold}},
		"a dispute holds everything":     {"arena", []Record{paid(day(0), "p", gold), paid(day(0), "q", Terms{Tag: "sport"}), disputed(day(1), "p")}, answers{1.5: policy.OnHold}},
		"a dispute won":                  {"tv", []Record{paid(day(0), "p", gold), disputed(day(1), "p"), settled(day(3), "p", DisputeWon)}, answers{4: entitled}},
		"a dispute lost":                 {"tv", []Record{paid(day(0), "p", gold), disputed(day(1), "p"), settled(day(3), "p", DisputeLost)}, answers{4: required}},
		"a dispute lost voids that only": {"arena", []Record{paid(day(0), "p", gold), paid(day(0), "q", Terms{Tag: "sport"}), settled(day(1), "p", DisputeLost)}, answers{1.5: entitled}},
		"a dispute that the plan keeps":  {"tv", []Record{paid(day(0), "p", Terms{Plan: "keeper"}), disputed(day(1), "p")}, answers{2: entitled}},
		"a dispute that the plan voids":  {"tv", []Record{paid(day(0), "p", Terms{Plan: "strict"}), disputed(day(1), "p")}, answers{2: required}},
		"a voided dispute won":           {"tv", []Record{paid(day(0), "p", Terms{Plan: "strict"}), disputed(day(1), "p"), settled(day(2), "p", DisputeWon)}, answers{3: entitled}},

		"a renewal that failed":                {"tv", []Record{paid(day(0), "p", gold), unpaid(day(30), "q", gold)}, answers{29: entitled, 30: grace, 33 - second: grace, 33: expired}},
		"a renewal that failed, then not":      {"tv", []Record{paid(day(0), "p", gold), unpaid(day(30), "q", gold), paid(day(31), "r", Terms{Amount: 1000, Currency: "usd", Price: "p-gold", Until: day(60)})}, answers{32: entitled, 61: expired}},
		"a plan without grace":                 {"tv", []Record{paid(day(0), "p", Terms{Plan: "basic", Until: day(30)}), unpaid(day(30), "q", Terms{Plan: "basic"})}, answers{30: expired}},
		"a renewal of what has no other end":   {"tv", []Record{paid(day(0), "p", Terms{Plan: "gold", Amount: 1000, Currency: "usd"}).of("s"), unpaid(day(30), "q", Terms{Plan: "gold"}).of("s")}, answers{29: entitled, 31: grace, 33: expired}},
		"for good, and a purchase that failed": {"tv", []Record{paid(day(0), "p", Terms{Plan: "gold", Amount: 1000, Currency: "usd"}), unpaid(day(30), "q", Terms{Plan: "gold"})}, answers{99: entitled}},

		"a subscription":                       {"tv", []Record{state(day(0), Active, "p-basic", day(30))}, answers{1: entitled, 30: expired}},
		"a subscription that nobody renewed":   {"tv", []Record{state(day(0), Active, "p-gold", day(30))}, answers{29: entitled, 30: grace, 33: expired}},
		"a trial":                              {"tv", []Record{state(day(0), Trialing, "p-basic", day(7))}, answers{6: entitled, 7: expired}},
		"canceled at the period's end":         {"tv", []Record{state(day(0), Active, "p-gold", day(30)).ending(time.Time{})}, answers{29: entitled, 30: expired}},
		"canceled at another moment":           {"tv", []Record{state(day(0), Active, "p-gold", day(30)).ending(day(20))}, answers{19: entitled, 20: expired}},
		"to be canceled much later":            {"tv", []Record{state(day(0), Active, "p-gold", day(30)).ending(day(80))}, answers{29: entitled, 30: grace, 33: expired}},
		"a plan that ends when it is canceled": {"tv", []Record{state(day(0), Active, "p-strict", day(30)).ending(time.Time{})}, answers{1: required}},
		"canceled":                             {"tv", []Record{state(day(0), Canceled, "p-gold", day(30))}, answers{1: required}},
		"ended":                                {"tv", []Record{state(day(0), Canceled, "p-gold", day(30)).ending(day(10))}, answers{9: entitled, 10: expired}},
		"paused":                               {"tv", []Record{state(day(0), Paused, "p-gold", day(30))}, answers{1: required}},
		"unpaid":                               {"tv", []Record{state(day(0), Unpaid, "p-gold", day(30))}, answers{1: required}},
		"incomplete":                           {"tv", []Record{state(day(0), Incomplete, "p-gold", day(30))}, answers{1: required}},
		"never paid":                           {"tv", []Record{state(day(0), IncompleteExpired, "p-gold", day(30))}, answers{1: required}},
		"past due":                             {"tv", []Record{state(day(30), PastDue, "p-gold", day(60))}, answers{30: grace, 32: grace, 33: expired}},
		"past due without grace":               {"tv", []Record{state(day(30), PastDue, "p-basic", day(60))}, answers{30: expired}},
		"past due, told again":                 {"tv", []Record{state(day(30), PastDue, "p-gold", day(60)).Join(state(day(32), PastDue, "p-gold", day(60)))}, answers{32: grace, 33: expired}},
		"past due, a year after another":       {"tv", []Record{state(day(30), PastDue, "p-gold", day(60)).Join(state(day(365), PastDue, "p-gold", day(390))), renewal(day(31), "in")}, answers{366: grace, 368: expired}},
		"past due since a payment failed":      {"tv", []Record{state(day(31), PastDue, "p-gold", day(60)), renewalFailed(day(30), "in")}, answers{32: grace, 33: expired}},
		"past due, and paid":                   {"tv", []Record{state(day(30), PastDue, "p-gold", day(60)), renewalFailed(day(30), "in"), renewal(day(31), "in")}, answers{40: entitled, 60: grace}},
		"past due, and something else paid":    {"tv", []Record{state(day(30), PastDue, "p-gold", day(60)), extra(renewal(day(31), "in"))}, answers{32: grace, 33: expired}},
		"active, and something else failed":    {"tv", []Record{state(day(0), Active, "p-gold", day(30)), extra(renewalFailed(day(1), "in"))}, answers{29: entitled, 30: grace, 33: expired}},
		"active, and a payment failed since":   {"tv", []Record{state(day(30), Active, "p-gold", day(30)), renewalFailed(day(30.5), "in")}, answers{31: grace, 33.5: expired}},
		"active since a payment failed":        {"tv", []Record{state(day(31), Active, "p-gold", day(60)), renewalFailed(day(30), "in")}, answers{40: entitled}},
		"the last renewal refunded":            {"tv", []Record{state(day(0), Active, "p-gold", day(30)), renewal(day(0), "in").alias("ch"), {Kind: KindPayment, ID: "ch", Payment: &Payment{RefundedFully: true}}}, answers{1: required}},
		"an earlier renewal refunded":          {"tv", []Record{state(day(30), Active, "p-gold", day(60)), renewal(day(0), "in").alias("ch"), renewal(day(30), "in2"), {Kind: KindPayment, ID: "ch", Payment: &Payment{RefundedFully: true}}}, answers{31: entitled}},
		"a change within a period refunded":    {"tv", []Record{state(day(3), Active, "p-gold", day(30)), renewal(day(0), "in"), {Kind: KindPayment, ID: "in2", Subscription: Say(noon, "s"), Payment: &Payment{Succeeded: day(3), Partial: true, RefundedFully: true}}}, answers{4: entitled}},
		"the renewal's dispute lost":           {"tv", []Record{state(day(0), Active, "p-gold", day(30)), renewal(day(0), "in"), settled(day(5), "in", DisputeLost)}, answers{6: required}},
		"an upgrade":                           {"uhd", []Record{state(day(0), Active, "p-basic", day(30)).Join(state(day(3), Active, "p-gold", day(30)))}, answers{4: entitled}},
		"a downgrade":                          {"uhd", []Record{state(day(0), Active, "p-gold", day(30)).Join(state(day(3), Active, "p-basic", day(30)))}, answers{4: required}},
		"a subscription's wrong amount":        {"tv", []Record{{Kind: KindSubscription, ID: "s", User: Say(noon, "anna"), Subscribed: &Subscription{State: &Said[State]{At: noon, Value: State{Status: Active, PeriodEnd: day(30), Items: []Item{{Prices: []string{"p-gold"}, Amount: 1, Currency: "usd"}}}}}}}, answers{1: required}},
		"a payment after the state":            {"tv", []Record{state(day(0), Active, "p-basic", day(30)), paid(day(30), "p", Terms{Plan: "basic", Until: day(60)}).of("s")}, answers{31: entitled, 60: expired}},
		"a payment before the end":             {"tv", []Record{paid(day(0), "p", Terms{Plan: "basic", Until: day(60)}).of("s"), state(day(10), Canceled, "p-basic", day(30))}, answers{11: required}},
		"until when is the payment's to say":   {"tv", []Record{paid(day(0), "p", Terms{Plan: "basic", Until: day(30)}).of("s"), state(day(1), Active, "p-basic", time.Time{}).ending(time.Time{})}, answers{29: entitled, 30: expired}},

		"a feature":                           {"uhd", []Record{feature(day(0), "hd_live")}, answers{1: entitled, 999: entitled}},
		"a feature no more":                   {"uhd", []Record{feature(day(0), "hd_live").Join(feature(day(3)))}, answers{4: required}},
		"a feature, and the trial was paused": {"uhd", []Record{feature(day(0), "hd_live"), state(day(7), Paused, "p-none", day(7)).for_("cus")}, answers{8: required}},
		"a feature, and it is canceled":       {"uhd", []Record{feature(day(0), "hd_live"), state(day(0), Active, "p-none", day(30)).ending(time.Time{}).for_("cus")}, answers{29: entitled, 30: expired}},
	}
	c := parsed(t, testCatalog)
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			rights := Derive("acme", joined(test.said), c)
			for at, want := range test.want {
				assert.Equal(t, want, rights.reason(c, "anna", test.stream, day(at)), "on day %v: %+v", at, rights.Entitlements)
			}
			assert.Contains(t, []policy.Reason{required}, rights.reason(c, "ben", test.stream, day(1)), "nobody else")
		})
	}
}

func feature(at time.Time, names ...string) Record {
	return Record{Kind: KindCustomer, ID: "cus", User: Say(noon, "anna"), Features: &Features{All: &Said[[]string]{At: at, Value: names}}}
}

func (r Record) for_(customer string) Record {
	r.Customer = Say(noon, customer)
	return r
}

// joined are records of which each thing has one.
func joined(said []Record) []Record {
	all := make(map[key]Record)
	for _, r := range said {
		if old, ok := all[r.key()]; ok {
			r = old.Join(r)
		}
		all[r.key()] = r
	}
	var list []Record
	for _, r := range all {
		list = append(list, r)
	}
	return list
}

func TestWhoseItIs(t *testing.T) {
	c := parsed(t, testCatalog)
	nobodys := paid(day(0), "p", Terms{Plan: "basic"})
	nobodys.User = nil
	customer := func(at time.Time, user string) Record {
		return Record{Kind: KindCustomer, ID: "cus", User: Say(at, user)}
	}
	sub := state(day(0), Active, "p-basic", day(30))
	sub.User = nil
	for name, test := range map[string]struct {
		said []Record
		want string
	}{
		"nobody's":                            {[]Record{nobodys}, ""},
		"its own":                             {[]Record{paid(day(0), "p", Terms{Plan: "basic"}), customer(day(0), "ben")}, "anna"},
		"its customer's":                      {[]Record{nobodys.for_("cus"), customer(day(0), "ben")}, "ben"},
		"its customer's, who moved":           {[]Record{nobodys.for_("cus"), customer(day(1), "anna"), customer(day(0), "ben")}, "anna"},
		"its subscription's":                  {[]Record{nobodys.of("s"), {Kind: KindSubscription, ID: "s", User: Say(noon, "anna")}}, "anna"},
		"another id's":                        {[]Record{nobodys.alias("x"), {Kind: KindPayment, ID: "x", User: Say(noon, "anna")}}, "anna"},
		"a subscription's payer's":            {[]Record{sub, {Kind: KindPayment, ID: "in", User: Say(noon, "anna"), Subscription: Say(noon, "s")}}, "anna"},
		"a subscription's customer's":         {[]Record{sub.for_("cus"), customer(day(0), "ben")}, "ben"},
		"a subscription's payer's customer's": {[]Record{sub, renewal(day(0), "in").for_("cus"), customer(day(0), "ben")}, "ben"},
	} {
		rights := Derive("acme", joined(test.said), c)
		if test.want == "" {
			require.Empty(t, rights.Entitlements, name)
			continue
		}
		require.Len(t, rights.Entitlements, 1, name)
		require.Equal(t, test.want, rights.Entitlements[0].User, name)
	}
}

func TestWhatWasSoldStaysSold(t *testing.T) {
	c := parsed(t, testCatalog)
	later := parsed(t, `
plans: [{key: basic}, {key: gold}]
streams: [{match: tv, access: entitled, plans: [basic, gold]}]
prices: [{provider: acme, price: p-gold, plan: gold, amount: 2000, currency: usd}]
`)
	for name, r := range map[string]Record{
		"a payment":      paid(day(0), "p", Terms{Amount: 1000, Currency: "usd", Price: "p-gold"}),
		"a subscription": state(day(0), Active, "p-basic", day(30)),
	} {
		a := &store.BillingAccount{Event: store.BillingEvent{Provider: "acme"}}
		e, err := effect(a, []Record{r}, c)
		require.NoError(t, err)
		require.Len(t, e.Add, 1, name)
		a.Records = e.Records
		known, err := decode(a.Records)
		require.NoError(t, err)
		rights := Derive("acme", []Record{known[r.key()]}, later)
		require.Equal(t, policy.Entitled, rights.reason(later, "anna", "tv", day(1)), name)
		require.Equal(t, policy.PaymentRequired, Derive("acme", []Record{r}, later).reason(later, "anna", "tv", day(1)), name)
	}
}

func TestThePaymentsToRead(t *testing.T) {
	c := parsed(t, testCatalog)
	gold := Terms{Amount: 1000, Currency: "usd", Price: "p-gold", Until: day(30)}
	row := func(status store.PaymentStatus, reason string, refunded int64) store.Payment {
		return store.Payment{Provider: "acme", ID: "p", User: "anna", Price: "p-gold", Plan: "gold", Amount: 1000, Currency: "usd",
			Refunded: refunded, Status: status, Reason: reason, At: day(0)}
	}
	for name, test := range map[string]struct {
		said []Record
		want store.Payment
	}{
		"made":             {[]Record{paid(day(0), "p", gold)}, row(store.PaymentSucceeded, "", 0)},
		"refunded":         {[]Record{paid(day(0), "p", gold), refund("p", 1000)}, row(store.PaymentRefunded, "", 1000)},
		"refunded in part": {[]Record{paid(day(0), "p", gold), refund("p", 10)}, row(store.PaymentSucceeded, "", 10)},
		"disputed":         {[]Record{paid(day(0), "p", gold), disputed(day(1), "p")}, row(store.PaymentDisputed, "dispute dp stands", 0)},
		"its dispute lost": {[]Record{paid(day(0), "p", gold), settled(day(1), "p", DisputeLost)}, row(store.PaymentDisputed, "dispute dp was lost", 0)},
		"its dispute won":  {[]Record{paid(day(0), "p", gold), settled(day(1), "p", DisputeWon)}, row(store.PaymentSucceeded, "", 0)},
		"failed":           {[]Record{unpaid(day(0), "p", gold)}, row(store.PaymentFailed, "", 0)},
	} {
		require.Equal(t, []store.Payment{test.want}, Derive("acme", joined(test.said), c).Payments, name)
	}
	foreign := paid(day(0), "p", gold)
	foreign.Refused = "a test's"
	e, err := effect(&store.BillingAccount{Event: store.BillingEvent{Provider: "acme"}}, []Record{foreign}, c)
	require.NoError(t, err)
	require.Equal(t, []store.Payment{row(store.PaymentRefused, "a test's", 0)}, e.Payments)
	require.Equal(t, store.EventIgnored, e.State)
	require.Equal(t, "a test's", e.Reason)
	require.Empty(t, e.Records, "nothing of it is kept that could meet what counts")
	require.Empty(t, e.Add)

	wrong := paid(day(0), "p", Terms{Amount: 1, Currency: "usd", Price: "p-gold"})
	payments := Derive("acme", []Record{wrong}, c).Payments
	require.Len(t, payments, 1)
	require.Equal(t, store.PaymentRefused, payments[0].Status)
	require.Equal(t, `1 usd paid, but the price "p-gold" is 1000 usd`, payments[0].Reason)
	shirt := paid(day(0), "p", Terms{Amount: 1, Currency: "usd"})
	payments = Derive("acme", []Record{shirt}, c).Payments
	require.Equal(t, store.PaymentSucceeded, payments[0].Status)
	require.Equal(t, "it names nothing that is sold", payments[0].Reason)
}

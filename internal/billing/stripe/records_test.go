package stripe_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/stripe"
)

// TestRecordsOfSamples: testdata/records.txt says what each whole event says.
func TestRecordsOfSamples(t *testing.T) {
	p := provider(t, stripe.Options{})
	golden, err := os.ReadFile("testdata/records.txt")
	require.NoError(t, err)
	want := make(map[string]string)
	for section := range strings.SplitSeq(strings.TrimPrefix(string(golden), "## "), "\n## ") {
		name, rest, _ := strings.Cut(section, "\n")
		want[name] = strings.TrimSuffix(rest, "\n") + "\n"
	}
	all := samples(t)
	for name := range want {
		require.Contains(t, all, name)
	}
	for name, body := range all {
		t.Run(name, func(t *testing.T) {
			records, err := p.Records(body)
			got := lines(t, records)
			var nothing *billing.IgnoredError
			if errors.As(err, &nothing) {
				got = "ignored: " + nothing.Reason + "\n"
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, want[name], got)

			e, err := p.Envelope(nil, body)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(e.ID, "evt_"))
			require.True(t, name == e.Type || strings.HasPrefix(name, e.Type+"."), e.Type)
			require.False(t, e.At.IsZero())
		})
	}
}

func event(kind, object string) []byte {
	return []byte(`{"id":"evt_1","object":"event","type":"` + kind + `","created":1790000000,"api_version":"2025-09-30.clover",` +
		`"livemode":true,"data":{"object":` + object + `}}`)
}

// TestRecords reads the least that an event of each type may hold.
func TestRecords(t *testing.T) {
	at := unix(1790000000)
	said := func(s string) *billing.Said[string] { return &billing.Said[string]{At: at, Value: s} }
	state := func(rank int, s billing.State) *billing.Subscription {
		return &billing.Subscription{State: &billing.Said[billing.State]{At: at, Rank: rank, Value: s}}
	}
	terms := func(rank int, t billing.Terms) *billing.Said[billing.Terms] {
		return &billing.Said[billing.Terms]{At: at, Rank: rank, Value: t}
	}
	link := billing.Record{Kind: billing.KindCustomer, ID: "cus_1", User: said("user-42")}
	const (
		session = `{"id":"cs_1","mode":"payment","payment_status":"paid","client_reference_id":"user-42","customer":"cus_1",` +
			`"payment_intent":"pi_1","subscription":null,"amount_total":999,"currency":"usd",` +
			`"metadata":{"user_id":"user-42","stream":"ppv-fight"}}`
		invoice = `{"id":"in_1","customer":"cus_1","status":"paid","billing_reason":"subscription_cycle","parent":` +
			`{"type":"subscription_details","subscription_details":{"subscription":"sub_1","metadata":{"user_id":"user-42"}}}}`
		subscribed = `{"id":"sub_1","customer":"cus_1","status":"active","cancel_at_period_end":false,"cancel_at":null,` +
			`"ended_at":null,"metadata":{"user_id":"user-42"},"items":{"data":[{"current_period_end":1792000000,` +
			`"price":{"id":"price_gold","product":"prod_1"}}]}}`
	)
	gold := []billing.Item{{Prices: []string{"price_gold", "prod_1"}}}
	soldFor := func(p billing.Payment) billing.Record {
		p.Terms = terms(0, billing.Terms{Amount: 999, Currency: "usd", Stream: "ppv-fight"})
		return billing.Record{
			Kind: billing.KindPayment, ID: "cs_1", User: said("user-42"), Customer: said("cus_1"), Aliases: []string{"pi_1"},
			Payment: &p,
		}
	}
	invoiced := func(p billing.Payment) billing.Record {
		return billing.Record{
			Kind: billing.KindPayment, ID: "in_1", User: said("user-42"), Customer: said("cus_1"), Subscription: said("sub_1"),
			Payment: &p,
		}
	}
	subscription := func(s *billing.Subscription) billing.Record {
		return billing.Record{
			Kind: billing.KindSubscription, ID: "sub_1", User: said("user-42"), Customer: said("cus_1"), Subscribed: s,
		}
	}
	dispute := func(closed billing.Outcome) []billing.Record {
		return []billing.Record{{
			Kind: billing.KindDispute, ID: "dp_1", Aliases: []string{"ch_1", "pi_1"},
			Dispute: &billing.Dispute{Opened: at, Closed: billing.Say(at, closed)},
		}}
	}
	inquiry := func(closed billing.Outcome) []billing.Record {
		records := dispute(closed)
		records[0].Dispute.Opened = time.Time{}
		return records
	}
	disputed := func(status string) string {
		return `{"id":"dp_1","charge":"ch_1","payment_intent":"pi_1","status":"` + status + `","reason":"fraudulent"}`
	}

	tests := []struct {
		name, kind, object string
		want               []billing.Record
	}{
		{"a checkout", "checkout.session.completed", session, []billing.Record{soldFor(billing.Payment{Succeeded: at}), link}},
		{
			"a checkout that waits", "checkout.session.completed", strings.Replace(session, `"paid"`, `"unpaid"`, 1),
			[]billing.Record{soldFor(billing.Payment{Pending: at}), link},
		},
		{
			"a checkout without a price to pay", "checkout.session.completed",
			strings.Replace(session, `"paid"`, `"no_payment_required"`, 1),
			[]billing.Record{soldFor(billing.Payment{Succeeded: at}), link},
		},
		{
			"paid later", "checkout.session.async_payment_succeeded", session,
			[]billing.Record{soldFor(billing.Payment{Succeeded: at}), link},
		},
		{
			"not paid later", "checkout.session.async_payment_failed", strings.Replace(session, `"paid"`, `"unpaid"`, 1),
			[]billing.Record{soldFor(billing.Payment{Failed: at}), link},
		},
		{
			"a checkout that writes an invoice", "checkout.session.completed",
			`{"id":"cs_1","mode":"payment","payment_status":"paid","payment_intent":"pi_1","invoice":"in_9","amount_total":999,` +
				`"currency":"USD"}`,
			[]billing.Record{{
				Kind: billing.KindPayment, ID: "cs_1", Aliases: []string{"in_9", "pi_1"},
				Payment: &billing.Payment{Succeeded: at, Terms: terms(0, billing.Terms{Amount: 999, Currency: "usd"})},
			}},
		},
		{
			"a checkout of a subscription", "checkout.session.completed",
			`{"id":"cs_1","mode":"subscription","customer":"cus_1","subscription":"sub_1","metadata":{"user_id":"user-42"}}`,
			[]billing.Record{subscription(nil), link},
		},
		{
			"a checkout of a subscription, without a customer", "checkout.session.completed",
			`{"id":"cs_1","mode":"subscription","subscription":"sub_1","metadata":{"user_id":"user-42"}}`,
			[]billing.Record{{Kind: billing.KindSubscription, ID: "sub_1", User: said("user-42")}},
		},
		{
			"a checkout of a card", "checkout.session.completed",
			`{"id":"cs_1","mode":"setup","customer":"cus_1","client_reference_id":"user-42"}`, []billing.Record{link},
		},
		{"an invoice", "invoice.paid", invoice, []billing.Record{invoiced(billing.Payment{Succeeded: at}), link}},
		{
			"an invoice of a change", "invoice.payment_succeeded",
			strings.Replace(invoice, "subscription_cycle", "subscription_update", 1),
			[]billing.Record{invoiced(billing.Payment{Succeeded: at, Partial: true}), link},
		},
		{
			"an invoice that was not paid", "invoice.payment_failed",
			strings.Replace(invoice, `"paid"`, `"open","attempt_count":1,"next_payment_attempt":1790000000`, 1),
			[]billing.Record{invoiced(billing.Payment{Failed: at}), link},
		},
		{
			"an invoice that says why it was not paid", "invoice.payment_failed",
			strings.Replace(invoice, `"status"`,
				`"payment_intent":{"id":"pi_1","last_payment_error":{"code":"card_declined","decline_code":"lost_card"}},"status"`, 1),
			func() []billing.Record {
				r := invoiced(billing.Payment{Failed: at, Failure: said("lost_card")})
				r.Aliases = []string{"pi_1"}
				return []billing.Record{r, link}
			}(),
		},
		{
			"an invoice of several lines", "invoice.paid",
			`{"id":"in_1","amount_paid":999,"subtotal":800,"currency":"usd","lines":{"data":[{"price":{"id":"price_1"}},` +
				`{"price":{"id":"price_2"}}]}}`,
			[]billing.Record{{Kind: billing.KindPayment, ID: "in_1", Payment: &billing.Payment{
				Succeeded: at, Terms: terms(1, billing.Terms{Amount: 999, OtherAmount: 800, Currency: "usd"}),
			}}},
		},
		{
			"an invoice of one line, before", "invoice.paid",
			`{"id":"in_1","amount_paid":999,"currency":"usd","lines":{"data":[{"price":{"id":"price_1"}}],"has_more":false}}`,
			[]billing.Record{{Kind: billing.KindPayment, ID: "in_1", Payment: &billing.Payment{
				Succeeded: at, Terms: terms(1, billing.Terms{Amount: 999, Currency: "usd", Price: "price_1"}),
			}}},
		},
		{
			"an invoice that shows one line of many", "invoice.paid",
			`{"id":"in_1","amount_paid":999,"currency":"usd","lines":{"data":[{"price":{"id":"price_1"}}],"has_more":true}}`,
			[]billing.Record{{Kind: billing.KindPayment, ID: "in_1", Payment: &billing.Payment{
				Succeeded: at, Terms: terms(1, billing.Terms{Amount: 999, Currency: "usd"}),
			}}},
		},
		{
			"an invoice's payment", "invoice_payment.paid",
			`{"invoice":"in_1","payment":{"type":"payment_intent","payment_intent":"pi_2"},"amount_paid":999}`,
			[]billing.Record{{Kind: billing.KindPayment, ID: "in_1", Aliases: []string{"pi_2"}}},
		},
		{
			"an invoice's charge", "invoice_payment.paid", `{"invoice":"in_1","payment":{"type":"charge","charge":"ch_2"}}`,
			[]billing.Record{{Kind: billing.KindPayment, ID: "in_1", Aliases: []string{"ch_2"}}},
		},
		{
			"a subscription", "customer.subscription.updated", subscribed,
			[]billing.Record{subscription(state(1, billing.State{
				Status: billing.Active, Items: gold, PeriodEnd: unix(1792000000),
			})), link},
		},
		{
			"a refund", "charge.refunded",
			`{"id":"ch_1","payment_intent":"pi_1","amount":999,"amount_refunded":999,"refunded":true}`,
			[]billing.Record{{Kind: billing.KindPayment, ID: "ch_1", Aliases: []string{"pi_1"},
				Payment: &billing.Payment{Refunded: 999, RefundedFully: true}}},
		},
		{
			"a part of a refund", "charge.refunded",
			`{"id":"ch_1","payment_intent":null,"amount":999,"amount_refunded":1,"refunded":false}`,
			[]billing.Record{{Kind: billing.KindPayment, ID: "ch_1", Payment: &billing.Payment{Refunded: 1}}},
		},
		{
			"a refund of what has one id only", "charge.refunded",
			`{"id":"ch_1","payment_intent":"ch_1","amount_refunded":1,"refunded":true}`,
			[]billing.Record{{Kind: billing.KindPayment, ID: "ch_1", Payment: &billing.Payment{Refunded: 1, RefundedFully: true}}},
		},
		{"a dispute", "charge.dispute.created", disputed("needs_response"), dispute("")},
		{"a dispute that was won, heard of before it is closed", "charge.dispute.updated", disputed("won"), dispute("")},
		{"a dispute that was won", "charge.dispute.closed", disputed("won"), dispute(billing.DisputeWon)},
		{"an inquiry that is over", "charge.dispute.closed", disputed("warning_closed"), inquiry(billing.DisputeWon)},
		{"an inquiry", "charge.dispute.created", disputed("warning_needs_response"), inquiry("")},
		{"a dispute that was settled before", "charge.dispute.closed", disputed("prevented"), dispute(billing.DisputeWon)},
		{"a dispute that was lost", "charge.dispute.closed", disputed("lost"), dispute(billing.DisputeLost)},
		{
			"features", "entitlements.active_entitlement_summary.updated",
			`{"customer":"cus_1","entitlements":{"has_more":false,"data":[{"lookup_key":"z"},{"lookup_key":"a"},{"lookup_key":"z"}]}}`,
			[]billing.Record{{Kind: billing.KindCustomer, ID: "cus_1", Features: &billing.Features{
				All: &billing.Said[[]string]{At: at, Value: []string{"a", "z"}},
			}}},
		},
		{
			"no features", "entitlements.active_entitlement_summary.updated",
			`{"customer":"cus_1","entitlements":{"has_more":false,"data":[]}}`,
			[]billing.Record{{Kind: billing.KindCustomer, ID: "cus_1", Features: &billing.Features{
				All: &billing.Said[[]string]{At: at, Value: []string{}},
			}}},
		},
		{
			"some features of many", "entitlements.active_entitlement_summary.updated",
			`{"customer":"cus_1","entitlements":{"has_more":true,"data":[{"lookup_key":"z"},{"lookup_key":"a"}]}}`,
			[]billing.Record{{Kind: billing.KindCustomer, ID: "cus_1", Features: &billing.Features{
				Also: map[string]time.Time{"a": at, "z": at},
			}}},
		},
		{"a customer", "customer.updated", `{"id":"cus_1","metadata":{"user_id":"user-42"}}`, []billing.Record{link}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := provider(t, stripe.Options{}).Records(event(tt.kind, tt.object))
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

// TestStates: what a subscription's event says of its state.
func TestStates(t *testing.T) {
	const created, end = 1788220861, 1790812800 // of the sample
	at := unix(created)
	o := func(field string) string { return "data.object." + field }
	tests := []struct {
		name    string
		changes map[string]any
		want    func(*billing.State)
		pastDue map[int64]time.Time
	}{
		{"active", nil, func(*billing.State) {}, nil},
		{"incomplete", map[string]any{o("status"): "incomplete"}, func(s *billing.State) { s.Status = billing.Incomplete }, nil},
		{"unpaid", map[string]any{o("status"): "unpaid"}, func(s *billing.State) { s.Status = billing.Unpaid }, nil},
		{"paused", map[string]any{o("status"): "paused"}, func(s *billing.State) { s.Status = billing.Paused }, nil},
		{
			"never paid", map[string]any{o("status"): "incomplete_expired", o("ended_at"): end - 9},
			func(s *billing.State) { s.Status, s.EndsAt = billing.IncompleteExpired, unix(end-9) }, nil,
		},
		{
			"past due", map[string]any{o("status"): "past_due"}, func(s *billing.State) { s.Status = billing.PastDue },
			map[int64]time.Time{end: at},
		},
		{
			"past due, of a period nobody knows",
			map[string]any{o("status"): "past_due", o("items.data.0.current_period_end"): nil},
			func(s *billing.State) { s.Status, s.PeriodEnd = billing.PastDue, time.Time{} }, map[int64]time.Time{1788220800: at},
		},
		{
			"a trial beyond the period", map[string]any{o("status"): "trialing", o("trial_end"): end + 5},
			func(s *billing.State) { s.Status, s.PeriodEnd = billing.Trialing, unix(end+5) }, nil,
		},
		{
			"a trial that ends sooner", map[string]any{o("status"): "trialing", o("trial_end"): end - 5},
			func(s *billing.State) { s.Status = billing.Trialing }, nil,
		},
		{
			"a trial without a period",
			map[string]any{o("status"): "trialing", o("trial_end"): end - 5, o("items.data.0.current_period_end"): gone{}},
			func(s *billing.State) { s.Status, s.PeriodEnd = billing.Trialing, unix(end-5) }, nil,
		},
		{
			"a trial that is over says nothing of the period", map[string]any{o("trial_end"): end + 5},
			func(*billing.State) {}, nil,
		},
		{"ends with the period", map[string]any{o("cancel_at_period_end"): true}, func(s *billing.State) { s.Ends = true }, nil},
		{
			"ends at a moment", map[string]any{o("cancel_at"): end - 7},
			func(s *billing.State) { s.Ends, s.EndsAt = true, unix(end-7) }, nil,
		},
		{
			"has ended sooner than was meant",
			map[string]any{o("status"): "canceled", o("cancel_at"): end, o("ended_at"): end - 9},
			func(s *billing.State) { s.Status, s.Ends, s.EndsAt = billing.Canceled, true, unix(end-9) }, nil,
		},
		{
			"has ended, and nobody says when", map[string]any{o("status"): "canceled", o("cancel_at"): end},
			func(s *billing.State) { s.Status, s.Ends, s.EndsAt = billing.Canceled, true, at }, nil,
		},
		{
			"no amount of its own", map[string]any{o("items.data.0.price.unit_amount"): nil},
			func(s *billing.State) { s.Items[0].Amount, s.Items[0].Currency = 0, "" }, nil,
		},
		{
			"for nothing", map[string]any{o("items.data.0.price.unit_amount"): 0},
			func(s *billing.State) { s.Items[0].Amount = 0 }, nil,
		},
		{
			"a name that is the id too", map[string]any{o("items.data.0.price.lookup_key"): "price_1RzGoldKm3Yt8Qw2L5Vn7"},
			func(s *billing.State) {
				s.Items[0].Prices = []string{"price_1RzGoldKm3Yt8Qw2L5Vn7", "prod_TgGoldPlan9X"}
			}, nil,
		},
		{"nothing is left of it", map[string]any{o("items.data"): []any{}, o("plan"): nil}, func(s *billing.State) {
			s.Items, s.PeriodEnd = nil, time.Time{}
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := billing.State{
				Status: billing.Active, PeriodEnd: unix(end),
				Items: []billing.Item{{
					Prices: []string{"price_1RzGoldKm3Yt8Qw2L5Vn7", "gold_monthly", "prod_TgGoldPlan9X"}, Amount: 1500, Currency: "usd",
				}},
			}
			tt.want(&want)
			body := change(t, sample(t, "customer.subscription.updated"), tt.changes)
			records, err := provider(t, stripe.Options{}).Records(body)
			require.NoError(t, err)
			require.Equal(t, &billing.Said[billing.State]{At: at, Rank: 1, Value: want}, records[0].Subscribed.State)
			require.Equal(t, tt.pastDue, records[0].Subscribed.PastDue)
		})
	}
}

// TestDeletedIsOver: what a deleted subscription's status says does not matter, and of one second it is the last word.
func TestDeletedIsOver(t *testing.T) {
	p := provider(t, stripe.Options{})
	over := change(t, sample(t, "customer.subscription.deleted"), map[string]any{
		"data.object.status": "active", "data.object.ended_at": nil, "data.object.cancel_at": 1999999999,
	})
	records, err := p.Records(over)
	require.NoError(t, err)
	state := records[0].Subscribed.State
	require.Equal(t, billing.Canceled, state.Value.Status)
	require.Equal(t, state.At, state.Value.EndsAt)

	for _, kind := range []string{"created", "updated", "paused", "resumed"} {
		other := change(t, over, map[string]any{"type": "customer.subscription." + kind, "created": state.At.Unix()})
		told, err := p.Records(other)
		require.NoError(t, err)
		require.Equal(t, billing.Canceled, told[0].Join(records[0]).Subscribed.State.Value.Status, kind)
		require.Equal(t, billing.Canceled, records[0].Join(told[0]).Subscribed.State.Value.Status, kind)
	}
}

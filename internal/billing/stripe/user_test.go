package stripe_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/stripe"
)

// TestUser: whose an event is, by the fields that may say so, the first one first.
func TestUser(t *testing.T) {
	const checkout, invoice, old = "checkout.session.completed", "invoice.paid", "invoice.paid.old"
	long := strings.Repeat("ü", 500)
	tests := []struct {
		name, sample string
		changes      map[string]any
		want         string
	}{
		{"metadata first", checkout, map[string]any{"metadata.user_id": "me", "client_reference_id": "you"}, "me"},
		{"else the reference", checkout, map[string]any{"metadata": nil, "client_reference_id": "you"}, "you"},
		{"an empty one is none", checkout, map[string]any{"metadata.user_id": "", "client_reference_id": "you"}, "you"},
		{"nobody", checkout, map[string]any{"metadata": gone{}, "client_reference_id": nil}, ""},
		{"never an e-mail address", checkout, map[string]any{
			"metadata": map[string]any{"email": "viewer@tv.example"}, "client_reference_id": nil, "customer_email": "viewer@tv.example",
		}, ""},
		{"to the letter", checkout, map[string]any{
			"metadata": map[string]any{"User_ID": "you", "USER_ID": "you", "user_ıd": "you"}, "client_reference_id": nil,
		}, ""},
		{"a long one is passed on", checkout, map[string]any{"metadata.user_id": long}, long},
		{"one that cannot be a user is passed on", checkout, map[string]any{"metadata.user_id": " a\nb/.."}, " a\nb/.."},
		{"the subscription's", invoice, nil, "user-42"},
		{"the invoice's own first", invoice, map[string]any{"metadata.user_id": "me"}, "me"},
		{"the subscription's, before", old, nil, "user-42"},
		{"the subscription's, now and before", old, map[string]any{
			"parent.subscription_details.metadata.user_id": "now",
		}, "now"},
		{"no reference but a checkout's", "invoice.paid.once", map[string]any{"client_reference_id": "you"}, ""},
		{"a dispute's own", "charge.dispute.created", map[string]any{"metadata.user_id": "me"}, "me"},
		{"a refund's own", "charge.refunded", map[string]any{"metadata.user_id": "me"}, "me"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changes := make(map[string]any)
			for path, value := range tt.changes {
				changes["data.object."+path] = value
			}
			p, body := provider(t, stripe.Options{}), change(t, sample(t, tt.sample), changes)
			records, err := p.Records(body)
			require.NoError(t, err)
			e, err := p.Envelope(nil, body)
			require.NoError(t, err)
			var want *billing.Said[string]
			if tt.want != "" {
				want = &billing.Said[string]{At: e.At, Value: tt.want}
			}
			require.Equal(t, want, records[0].User)

			// Beside it, which user the customer is: only where both are known.
			links := records[1:]
			if want == nil || records[0].Customer == nil {
				require.Empty(t, links)
				return
			}
			require.Equal(t, []billing.Record{{Kind: billing.KindCustomer, ID: records[0].Customer.Value, User: want}}, links)
		})
	}
}

// TestExpanded: where Stripe shows a whole object in place of its id, the id is read from it.
func TestExpanded(t *testing.T) {
	whole := func(id string) map[string]any {
		return map[string]any{"id": id, "object": "whatever", "metadata": map[string]any{"user_id": "not me"}}
	}
	fields := map[string][]string{
		"checkout.session.completed":                      {"customer", "payment_intent"},
		"checkout.session.completed.subscription":         {"customer", "subscription"},
		"customer.subscription.updated":                   {"customer", "items.data.0.price.product"},
		"customer.subscription.updated.plan":              {"customer", "plan.product"},
		"invoice.paid":                                    {"customer", "parent.subscription_details.subscription"},
		"invoice.paid.old":                                {"customer", "subscription", "payment_intent", "charge"},
		"invoice.paid.payments":                           {"payments.data.0.payment.payment_intent"},
		"invoice.paid.once":                               {"lines.data.0.pricing.price_details.price"},
		"invoice_payment.paid":                            {"invoice", "payment.payment_intent"},
		"charge.refunded.old":                             {"customer", "payment_intent", "invoice"},
		"charge.dispute.created":                          {"charge", "payment_intent"},
		"entitlements.active_entitlement_summary.updated": {"customer"},
	}
	p := provider(t, stripe.Options{})
	for name, paths := range fields {
		body := sample(t, name)
		want, err := p.Records(body)
		require.NoError(t, err)
		for _, path := range paths {
			path = "data.object." + path
			t.Run(name+"/"+path, func(t *testing.T) {
				id, ok := get(t, body, path).(string)
				require.True(t, ok)
				got, err := p.Records(change(t, body, map[string]any{path: whole(id)}))
				require.NoError(t, err)
				require.Equal(t, want, got)

				_, err = p.Records(change(t, body, map[string]any{path: map[string]any{"deleted": true}}))
				require.ErrorContains(t, err, ".id is missing")
			})
		}
	}
}

// TestRefused: what is not of this mode and this account is read, and refused.
func TestRefused(t *testing.T) {
	const (
		test    = "a test's: this service takes live payments"
		live    = "a live payment's: this service takes tests"
		foreign = "a connected account's: this service takes its own account's payments"
		other   = "another account's: this service takes one connected account's payments"
		nobodys = "of no named account: this service takes one connected account's payments"
	)
	tests := []struct {
		name    string
		options stripe.Options
		changes map[string]any
		want    string
	}{
		{"live by default", stripe.Options{}, nil, ""},
		{"a test", stripe.Options{}, map[string]any{"livemode": false}, test},
		{"a test, said to be live within", stripe.Options{}, map[string]any{"livemode": false, "data.object.livemode": true}, test},
		{"no mode", stripe.Options{Mode: "live"}, map[string]any{"livemode": gone{}}, ""},
		{"a test for tests", stripe.Options{Mode: "test"}, map[string]any{"livemode": false}, ""},
		{"live for tests", stripe.Options{Mode: "test"}, nil, live},
		{"a connected account", stripe.Options{}, map[string]any{"account": "acct_1"}, foreign},
		{"no account", stripe.Options{}, map[string]any{"account": nil}, ""},
		{"our own context", stripe.Options{}, map[string]any{"context": "acct_1"}, ""},
		{"the account", stripe.Options{Account: "acct_1"}, map[string]any{"account": "acct_1"}, ""},
		{"another account", stripe.Options{Account: "acct_1"}, map[string]any{"account": "acct_10"}, other},
		{"in other letters", stripe.Options{Account: "acct_1"}, map[string]any{"account": "ACCT_1"}, other},
		{"the platform's own", stripe.Options{Account: "acct_1"}, nil, nobodys},
		{"an organization's account", stripe.Options{Account: "acct_1"}, map[string]any{"context": "acct_1"}, ""},
		{"a path to it", stripe.Options{Account: "acct_1"}, map[string]any{"context": "org_1/acct_1"}, ""},
		{"another of the organization", stripe.Options{Account: "acct_1"}, map[string]any{"context": "acct_2"}, other},
		{
			"the account goes before the context", stripe.Options{Account: "acct_1"},
			map[string]any{"context": "acct_1", "account": "acct_2"}, other,
		},
		{"a test of another account", stripe.Options{}, map[string]any{"livemode": false, "account": "acct_1"}, test},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range []string{
				"checkout.session.completed", "customer.subscription.updated", "charge.dispute.created", "customer.created",
				"entitlements.active_entitlement_summary.updated", "charge.succeeded",
			} {
				body := sample(t, name)
				want, _ := provider(t, stripe.Options{}).Records(body)
				got, err := provider(t, tt.options).Records(change(t, body, tt.changes))
				if want == nil {
					var nothing *billing.IgnoredError
					require.ErrorAs(t, err, &nothing, name)
					continue
				}
				require.NoError(t, err, name)
				for i := range want {
					want[i].Refused = tt.want
				}
				require.Equal(t, want, got, name)
			}
		})
	}
}

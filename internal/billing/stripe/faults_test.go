package stripe_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/signature"
	"authhook/internal/billing/stripe"
)

// paths are all fields and elements of a body.
func paths(t testing.TB, body []byte) []string {
	t.Helper()
	var doc any
	require.NoError(t, json.Unmarshal(body, &doc))
	var all []string
	var walk func(string, any)
	walk = func(path string, v any) {
		if path != "" {
			all = append(all, path[1:])
		}
		switch v := v.(type) {
		case map[string]any:
			for name, in := range v {
				walk(path+"."+name, in)
			}
		case []any:
			for i, in := range v {
				walk(fmt.Sprintf("%s.%d", path, i), in)
			}
		}
	}
	walk("", doc)
	sort.Strings(all)
	return all
}

func read(t testing.TB, p *stripe.Provider, body []byte) ([]billing.Record, error) {
	t.Helper()
	records, err := p.Records(body)
	if err != nil {
		require.Nil(t, records)
		require.NotContains(t, err.Error(), "\n")
		require.Less(t, len(err.Error()), 200)
		return nil, err
	}
	require.NotEmpty(t, records)
	return records, nil
}

// TestFields: of every field of a sample it is known what becomes of the event when the field is missing, is null, or
// is of a type that it cannot be. testdata/fields.txt names those whose lack is a fault (need) and the others that are read
// (may). A field that is neither has no effect whatever it is.
func TestFields(t *testing.T) {
	p := provider(t, stripe.Options{})
	var got strings.Builder
	for _, name := range []string{
		"charge.dispute.closed", "charge.dispute.closed.warning", "charge.refunded.old", "checkout.session.async_payment_failed",
		"checkout.session.completed", "checkout.session.completed.subscription", "customer.created",
		"customer.subscription.created.trial", "customer.subscription.deleted", "customer.subscription.updated.items",
		"customer.subscription.updated.old", "customer.subscription.updated.plan",
		"entitlements.active_entitlement_summary.updated", "invoice.paid", "invoice.paid.old", "invoice.paid.once",
		"invoice.paid.payments", "invoice.payment_failed.old", "invoice.payment_failed.once", "invoice_payment.paid",
	} {
		body := sample(t, name)
		want, err := p.Records(body)
		require.NoError(t, err)
		var nothing *billing.IgnoredError
		var need, may []string
		unread := "-"
		for _, path := range paths(t, body) {
			if strings.HasPrefix(path, unread) {
				continue // it stands in a field that is not read at all
			}
			records, err := read(t, p, change(t, body, map[string]any{path: []any{[]any{true}}}))
			if err == nil {
				require.Equal(t, want, records, "%s: %s", name, path)
				unread = path + "."
				continue
			}
			require.ErrorContains(t, err, lastName(path), "%s: %s", name, path)

			_, missing := read(t, p, change(t, body, map[string]any{path: gone{}}))
			_, null := read(t, p, change(t, body, map[string]any{path: nil}))
			if !isElement(path) {
				require.Equal(t, missing, null, "%s: %s", name, path)
			}
			if missing != nil && !errors.As(missing, &nothing) {
				need = append(need, path)
			} else {
				may = append(may, path)
			}
		}
		fmt.Fprintf(&got, "## %s\nneed %s\nmay %s\n", name, strings.Join(need, " "), strings.Join(may, " "))
	}
	want, err := os.ReadFile("testdata/fields.txt")
	require.NoError(t, err)
	require.Equal(t, string(want), got.String())
}

func lastName(path string) string {
	steps := strings.Split(path, ".")
	for i := len(steps) - 1; i > 0; i-- {
		if !isNumber(steps[i]) {
			return steps[i]
		}
	}
	return steps[0]
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }

func isElement(path string) bool { return isNumber(path[strings.LastIndexByte(path, '.')+1:]) }

// TestFaults: what cannot be read is an error that says what and where.
func TestFaults(t *testing.T) {
	const checkout, subscription, invoice = "checkout.session.completed", "customer.subscription.updated", "invoice.paid.once"
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	tests := []struct {
		sample, path string
		value        any
		want         string
	}{
		{checkout, "id", strings.Repeat("e", 256), "id is too long"},
		{checkout, "id", "evt\x00", "id has a character that cannot be stored"},
		{checkout, "id", "evt\n1", "id has a character that no id has"},
		{checkout, "id", raw(`"\ud800"`), "id has a character that no id has"},
		{checkout, "id", 7, "id is not a string"},
		{checkout, "id", "", "id is missing"},
		{checkout, "type", gone{}, "type is missing"},
		{checkout, "created", "1790000000", "created is not a whole number"},
		{checkout, "created", 0, "created is out of range"},
		{checkout, "created", -1, "created is out of range"},
		{checkout, "created", 253402300800, "created is out of range"},
		{checkout, "created", raw("9223372036854775808"), "created is not a whole number"},
		{checkout, "created", raw("1790000000.0"), "created is not a whole number"},
		{checkout, "object", "v2.core.event", "object is a thin event's, which holds no data: have the endpoint send snapshot events"},
		{checkout, "data", gone{}, "data.object is missing"},
		{checkout, "data", []any{}, "data is not an object"},
		{checkout, "data.object", nil, "data.object is missing"},
		{checkout, "livemode", "true", "livemode is neither true nor false"},
		{checkout, "data.object.id", strings.Repeat("c", 256), "data.object.id is too long"},
		{checkout, "data.object.amount_total", -1, "data.object.amount_total is negative"},
		{checkout, "data.object.amount_total", raw("9.99"), "data.object.amount_total is not a whole number"},
		{checkout, "data.object.amount_total", raw("1e3"), "data.object.amount_total is not a whole number"},
		{checkout, "data.object.amount_total", "999", "data.object.amount_total is not a whole number"},
		{checkout, "data.object.amount_total", nil, "data.object.amount_total is missing"},
		{checkout, "data.object.amount_subtotal", -1, "data.object.amount_subtotal is negative"},
		{checkout, "data.object.currency", nil, "data.object.currency is missing"},
		{checkout, "data.object.currency", "dollar", "data.object.currency is not three letters"},
		{checkout, "data.object.currency", "u$d", "data.object.currency is not three letters"},
		{checkout, "data.object.mode", "gift", "data.object.mode is none of payment, subscription and setup"},
		{checkout, "data.object.payment_status", "free", "data.object.payment_status is none of paid, unpaid and no_payment_required"},
		{checkout, "data.object.metadata", "user-42", "data.object.metadata is not an object"},
		{checkout, "data.object.metadata.user_id", 42, "data.object.metadata.user_id is not a string"},
		{checkout, "data.object.metadata.user_id", strings.Repeat("ü", 501), "data.object.metadata.user_id is too long"},
		{checkout, "data.object.metadata.user_id", "a\x00b", "data.object.metadata.user_id has a character that cannot be stored"},
		{checkout, "data.object.metadata.valid_until", "tomorrow", "data.object.metadata.valid_until is neither RFC 3339 nor Unix seconds"},
		{checkout, "data.object.metadata.valid_until", "2026-09-08", "data.object.metadata.valid_until is neither RFC 3339 nor Unix seconds"},
		{checkout, "data.object.metadata.valid_until", "1790000000.5", "data.object.metadata.valid_until is neither RFC 3339 nor Unix seconds"},
		// The zero time would be one without an end.
		{checkout, "data.object.metadata.valid_until", "0001-01-01T00:00:00Z", "data.object.metadata.valid_until is out of range"},
		{checkout, "data.object.metadata.valid_until", "0", "data.object.metadata.valid_until is out of range"},
		{checkout, "data.object.metadata.valid_until", "9999-12-31T23:59:59-01:00", "data.object.metadata.valid_until is out of range"},
		{checkout, "data.object.metadata.valid_until", "1790000000000", "data.object.metadata.valid_until is out of range"},
		{subscription, "data.object.status", "ghosted", `data.object.status is "ghosted", which is not known`},
		{subscription, "data.object.status", "Active", `data.object.status is "Active", which is not known`},
		{subscription, "data.object.status", nil, "data.object.status is missing"},
		{subscription, "data.object.items.data.0", "si_1", "data.object.items.data[0] is not an object"},
		{subscription, "data.object.items.data.0.price.unit_amount", -1500, "data.object.items.data[0].price.unit_amount is negative"},
		{subscription, "data.object.items.data.0.price.id", nil, "data.object.items.data[0].price.id is missing"},
		{invoice, "data.object.subtotal", -1, "data.object.subtotal is negative"},
		{"invoice.paid", "data.object.parent", nil, "data.object.parent.subscription_details.subscription is missing"},
		{"invoice.paid.old", "data.object.subscription", nil, "data.object.parent.subscription_details.subscription is missing"},
		{invoice, "data.object.amount_paid", nil, "data.object.amount_paid is missing"},
		{"invoice.payment_failed.once", "data.object.amount_due", nil, "data.object.amount_due is missing"},
		{"charge.refunded", "data.object.amount_refunded", -1, "data.object.amount_refunded is negative"},
		{"charge.dispute.closed", "data.object.status", "settled",
			"data.object.status is none of won, lost, warning_closed and prevented: end the hold by hand, if it is to end"},
		{"charge.dispute.closed", "data.object.status", nil, "data.object.status is missing"},
	}
	p := provider(t, stripe.Options{})
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			body := change(t, sample(t, tt.sample), map[string]any{tt.path: tt.value})
			records, err := p.Records(body)
			require.EqualError(t, err, tt.want)
			require.Nil(t, records)
			var nothing *billing.IgnoredError
			require.False(t, errors.As(err, &nothing))

			e, err := p.Envelope(nil, body)
			if strings.HasPrefix(tt.path, "data") || tt.path == "livemode" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tt.want)
			require.Zero(t, e)
		})
	}

	both := change(t, sample(t, subscription), map[string]any{"data.object.items": nil, "data.object.plan": nil})
	_, err := p.Records(both)
	require.EqualError(t, err, "data.object.items is missing")
	both = change(t, sample(t, subscription), map[string]any{
		"data.object.items.data.0.price": nil, "data.object.items.data.0.plan": nil,
	})
	_, err = p.Records(both)
	require.EqualError(t, err, "data.object.items.data[0].price is missing")
	both = change(t, sample(t, "charge.dispute.created"), map[string]any{"data.object.charge": nil, "data.object.payment_intent": nil})
	_, err = p.Records(both)
	require.EqualError(t, err, "data.object.charge is missing")
}

// TestBodies: what is no event at all.
func TestBodies(t *testing.T) {
	good := string(sample(t, "checkout.session.completed"))
	in := func(s string) string { return strings.Replace(good, `"user_id":`, s+`, "user_id":`, 1) }
	const notJSON, twice, deep = "the body is not JSON", "the body has a name twice in one object", "the body is nested too deeply"
	tests := map[string]struct{ body, want string }{
		"nothing":              {"", notJSON},
		"a space":              {" ", notJSON},
		"a list":               {"[]", "the body is not a JSON object"},
		"null":                 {"null", "the body is not a JSON object"},
		"a text":               {`"evt_1"`, "the body is not a JSON object"},
		"an empty object":      {"{}", "id is missing"},
		"cut off":              {good[:len(good)-3], notJSON},
		"more after it":        {good + "{}", notJSON},
		"a letter after it":    {good + "x", notJSON},
		"a mark before it":     {"\ufeff" + good, notJSON},
		"not UTF-8":            {in("\"a\": \"\xff\""), notJSON},
		"a name twice":         {strings.Replace(good, `"type":`, `"type": "customer.created", "type":`, 1), twice},
		"a name twice, within": {in(`"user_id": "user-43"`), twice},
		"written otherwise":    {in(`"\u0075ser_id": "user-43"`), twice},
		"in a list":            {in(`"a": [{"b": 1, "c": [], "b": {}}]`), twice},
		"deep lists":           {in(`"a": ` + strings.Repeat("[", 65) + strings.Repeat("]", 65)), deep},
		"deep objects":         {in(`"a": ` + strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65)), deep},
		"without an end":       {strings.Repeat("[", 1<<20), notJSON},
		"very deep":            {strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20), notJSON},
		"other letters":        {strings.Replace(good, `"id":`, `"ID":`, 1), "id is missing"},
	}
	p := provider(t, stripe.Options{})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			records, err := p.Records([]byte(tt.body))
			require.EqualError(t, err, tt.want)
			require.Nil(t, records)
			e, err := p.Envelope(nil, []byte(tt.body))
			require.EqualError(t, err, tt.want)
			require.Zero(t, e)
		})
	}

	// The same names in different objects are no fault, nor is a name like another one.
	records, err := p.Records([]byte(in(`"a": {"b": 1}, "c": {"b": 1}, "User_ID": "user-43", "e": ["b", "b"]`)))
	require.NoError(t, err)
	require.Equal(t, "user-42", records[0].User.Value)
}

// TestIgnored: other events are known to mean nothing here, whatever is in them.
func TestIgnored(t *testing.T) {
	p := provider(t, stripe.Options{})
	for kind, want := range map[string]string{
		"checkout.session.expired":                     "nothing was paid",
		"customer.subscription.trial_will_end":         "nothing changes before customer.subscription.updated says so",
		"customer.subscription.pending_update_applied": "nothing changes before customer.subscription.updated says so",
		"customer.subscription.pending_update_expired": "nothing changes before customer.subscription.updated says so",
		"customer.deleted":                             "what a customer has is said by their subscriptions and payments",
		"customer.source.created":                      "what a customer has is said by their subscriptions and payments",
		"invoice.created":                              "the invoice is neither paid nor failed by it",
		"invoice.payment_action_required":              "the invoice is neither paid nor failed by it",
		"refund.created":                               "charge.refunded says what was paid back, all in all",
		"refund.failed":                                "charge.refunded says what was paid back, all in all",
		"charge.refund.updated":                        "charge.refunded says what was paid back, all in all",
		"charge.succeeded":                             "the checkout or the invoice says what was paid",
		"charge.failed":                                "the checkout or the invoice says what was paid",
		"payment_intent.succeeded":                     "the checkout or the invoice says what was paid",
		"price.updated":                                "nothing about access follows from events of this type",
		"product.created":                              "nothing about access follows from events of this type",
		"Invoice.paid":                                 "nothing about access follows from events of this type",
	} {
		t.Run(kind, func(t *testing.T) {
			for _, object := range []string{"{}", "null", "7", `{"id":"x_1","metadata":{"user_id":"user-42"},"customer":"cus_1"}`} {
				records, err := p.Records(event(kind, object))
				var nothing *billing.IgnoredError
				require.ErrorAs(t, err, &nothing)
				require.Equal(t, want, nothing.Reason)
				require.Nil(t, records)
			}
		})
	}

	// These would mean something, and name nobody that it could mean something for.
	for kind, object := range map[string]string{
		"customer.created":                                `{"id":"cus_1","metadata":{}}`,
		"checkout.session.completed":                      `{"id":"cs_1","mode":"subscription","customer":"cus_1","subscription":"sub_1"}`,
		"invoice_payment.paid":                            `{"invoice":"in_1","payment":{"type":"payment_record","payment_record":"pr_1"}}`,
		"entitlements.active_entitlement_summary.updated": `{"customer":"cus_1","entitlements":{"has_more":true,"data":[]}}`,
	} {
		records, err := p.Records(event(kind, object))
		var nothing *billing.IgnoredError
		require.ErrorAs(t, err, &nothing, kind)
		require.Nil(t, records)
	}
}

func TestOptions(t *testing.T) {
	secrets, err := signature.ParseSecrets(secret)
	require.NoError(t, err)
	for _, mode := range []string{"", "live", "test"} {
		p, err := stripe.New(stripe.Options{Secrets: secrets, Mode: mode})
		require.NoError(t, err)
		require.Equal(t, "stripe", p.Name())
	}
	_, err = stripe.New(stripe.Options{Secrets: secrets, Mode: "Live"})
	require.EqualError(t, err, "stripe: the mode must be live or test")
}

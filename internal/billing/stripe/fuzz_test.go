package stripe_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/stripe"
)

func seeds(f *testing.F) {
	for _, body := range samples(f) {
		f.Add(body)
	}
	for _, s := range []string{
		"", "{}", "null", `{"id":"evt_1"}`, `{"id":"evt_1","id":"evt_2"}`, `{"id":{"id":{"id":"evt_1"}},"type":"a","created":1}`,
		`{"id":"evt_1","type":"customer.updated","created":253402300799,"data":{"object":{"id":"\ud800","metadata":{"user_id":"\udfff"}}}}`,
		`{"id":"evt_1","type":"checkout.session.completed","created":1,"data":{"object":{"id":"cs_1","mode":"payment","amount_total":0,` +
			`"currency":"usd","payment_status":"paid","metadata":{"valid_until":"9999-12-31T23:59:59.999999999+23:59"}}}}`,
		`{"id":"evt_1","type":"customer.subscription.updated","created":1,"data":{"object":{"id":"s","status":"past_due","plan":{"id":"p"}}}}`,
	} {
		f.Add([]byte(s))
	}
}

// FuzzRecords: no body panics; it is either read or not; and what was read can be stored and is the same again.
func FuzzRecords(f *testing.F) {
	seeds(f)
	p := provider(f, stripe.Options{})
	f.Fuzz(func(t *testing.T, body []byte) {
		records, err := p.Records(body)
		if err != nil {
			require.Nil(t, records)
			require.Less(t, len(err.Error()), 300)
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.NotEmpty(t, records)
		_, err = p.Envelope(nil, body)
		require.NoError(t, err)
		for _, r := range records {
			require.NotEmpty(t, r.ID)
			require.LessOrEqual(t, len(r.ID), 255)
			require.True(t, slices.IsSorted(r.Aliases))
			require.NotContains(t, r.Aliases, r.ID)
			doc, err := json.Marshal(r)
			require.NoError(t, err)
			again := billing.Record{Kind: r.Kind, ID: r.ID}
			require.NoError(t, json.Unmarshal(doc, &again))
			require.Equal(t, r, again)
			require.Equal(t, r, r.Join(r))
		}
		again, err := p.Records(body)
		require.NoError(t, err)
		require.Equal(t, records, again)
	})
}

// FuzzEnvelope: no body panics, and an event that has a name has all of it.
func FuzzEnvelope(f *testing.F) {
	seeds(f)
	p := provider(f, stripe.Options{})
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := p.Envelope(nil, body)
		if err != nil {
			require.Zero(t, e)
			require.NotContains(t, err.Error(), "\n")
			_, other := p.Records(body)
			var nothing *billing.IgnoredError
			require.Error(t, other)
			require.False(t, errors.As(other, &nothing))
			return
		}
		require.NotEmpty(t, e.ID)
		require.NotEmpty(t, e.Type)
		require.False(t, e.At.IsZero())
		require.LessOrEqual(t, len(e.ID)+len(e.Type), 510)
		require.False(t, strings.ContainsAny(e.ID+e.Type, "\x00\n"))
	})
}

package stripe_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/signature/sign"
	"authhook/internal/billing/stripe"
)

// TestVerify holds to a vector that was computed with one of Stripe's public libraries.
func TestVerify(t *testing.T) {
	const (
		body = `{"id":"evt_test"}`
		good = "22f7d74836ddad3284a2b80853dd2fe731655c1bfddcff3c3666a500cf3abd80"
	)
	at := time.Unix(1492774577, 0)
	p := provider(t, stripe.Options{})
	tests := []struct {
		name, header, body string
		now                time.Time
		ok                 bool
	}{
		{"the vector", "t=1492774577,v1=" + good, body, at, true},
		{"at the edge", "t=1492774577,v1=" + good, body, at.Add(300 * time.Second), true},
		{"too late", "t=1492774577,v1=" + good, body, at.Add(301 * time.Second), false},
		{"too early", "t=1492774577,v1=" + good, body, at.Add(-301 * time.Second), false},
		{"another time", "t=1492774578,v1=" + good, body, at, false},
		{"another body", "t=1492774577,v1=" + good, body + " ", at, false},
		{"the second of two", "t=1492774577,v1=00,v1=" + good + ",v0=00", body, at, true},
		{"another scheme", "t=1492774577,v0=" + good, body, at, false},
		{"nothing", "", body, at, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := p.Verify(http.Header{"Stripe-Signature": {tt.header}}, []byte(tt.body), tt.now)
			if tt.ok {
				require.NoError(t, err)
			} else {
				require.Equal(t, billing.ErrSignature, err)
			}
		})
	}
	require.Equal(t, billing.ErrSignature, p.Verify(nil, []byte(body), at))

	unset, err := stripe.New(stripe.Options{})
	require.NoError(t, err)
	for _, with := range []string{"", secret} {
		h := make(http.Header)
		sign.Stripe(h, []byte(body), at, with)
		require.Equal(t, billing.ErrSignature, unset.Verify(h, []byte(body), at))
	}
}

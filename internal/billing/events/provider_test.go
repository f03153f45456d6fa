package events_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/events"
	"authhook/internal/billing/events/eventtest"
	"authhook/internal/billing/signature"
	"authhook/internal/billing/signature/sign"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var (
	now     = time.Date(2026, 12, 24, 20, 0, 3, 0, time.UTC)
	samples = "testdata/records"
)

func provider(t testing.TB) billing.Provider {
	t.Helper()
	secrets, err := signature.ParseStandardSecrets(secret, false)
	require.NoError(t, err)
	return &events.Provider{Secrets: secrets}
}

func signed(t testing.TB, id string, body []byte) http.Header {
	t.Helper()
	key, err := sign.StandardKey(secret)
	require.NoError(t, err)
	h := http.Header{}
	sign.StandardWebhooks(h, id, body, now, key)
	return h
}

func TestRecords(t *testing.T) {
	eventtest.Reads(t, provider(t), http.Header{"Webhook-Id": {"msg_1"}}, samples)
}

func TestFaults(t *testing.T) {
	eventtest.Faults(t, provider(t), http.Header{"Webhook-Id": {"msg_1"}}, samples,
		"payment.succeeded-subscription", "payment.failed-amount", "payment.refunded-user", "payment.disputed", "dispute.closed-lost",
		"subscription.changed-ends", "user.changed")
}

func TestVerify(t *testing.T) {
	p := provider(t)
	body := eventtest.Samples(t, samples)["payment.succeeded"]
	h := signed(t, "msg_1", body)
	require.NoError(t, p.Verify(h, body, now))
	assert.Equal(t, events.Name, p.Name())

	assert.ErrorIs(t, p.Verify(h, append(body, ' '), now), billing.ErrSignature)
	assert.ErrorIs(t, p.Verify(h, body, now.Add(time.Hour)), billing.ErrSignature)
	assert.ErrorIs(t, p.Verify(http.Header{}, body, now), billing.ErrSignature)
	assert.ErrorIs(t, (&events.Provider{}).Verify(h, body, now), billing.ErrSignature, "without a secret nothing is right")
	h.Set("webhook-id", "msg_2")
	assert.ErrorIs(t, p.Verify(h, body, now), billing.ErrSignature)
}

// The id is the one that was verified, whatever other header stands beside it.
func TestID(t *testing.T) {
	p := provider(t)
	body := eventtest.Samples(t, samples)["payment.succeeded"]
	svix := func(from http.Header) http.Header {
		h := http.Header{}
		for name, values := range from {
			h[strings.Replace(name, "Webhook-", "Svix-", 1)] = values
		}
		return h
	}
	for name, h := range map[string]http.Header{
		"msg_1": signed(t, "msg_1", body), "msg_2": svix(signed(t, "msg_2", body)),
	} {
		require.NoError(t, p.Verify(h, body, now))
		e, err := p.Envelope(h, body)
		require.NoError(t, err)
		assert.Equal(t, billing.Envelope{ID: name, Type: "payment.succeeded", At: now.Add(-3 * time.Second)}, e)
	}

	both := signed(t, "msg_1", body)
	both.Set("svix-id", "msg_3")
	require.NoError(t, p.Verify(both, body, now))
	e, err := p.Envelope(both, body)
	require.NoError(t, err)
	assert.Equal(t, "msg_1", e.ID)

	for _, h := range []http.Header{
		{}, {"Webhook-Id": {""}}, {"Webhook-Id": {"a", "b"}}, {"Webhook-Timestamp": {"1"}, "Svix-Id": {"a"}},
	} {
		_, err := p.Envelope(h, body)
		assert.ErrorContains(t, err, "webhook-id")
	}
}

// An event that cannot be read still has its name, where that can be.
func TestEnvelopeOfUnreadable(t *testing.T) {
	e, err := provider(t).Envelope(http.Header{"Webhook-Id": {"msg_1"}},
		[]byte(`{"type": "payment.succeeded", "timestamp": "2026-12-24T20:00:00Z", "data": {"amount": "9.99"}}`))
	require.NoError(t, err)
	assert.Equal(t, billing.Envelope{ID: "msg_1", Type: "payment.succeeded", At: now.Add(-3 * time.Second)}, e)
}

func FuzzRecords(f *testing.F) { eventtest.Fuzz(f, provider(f), samples) }

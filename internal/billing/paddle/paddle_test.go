package paddle_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/events/eventtest"
	"authhook/internal/billing/paddle"
	"authhook/internal/billing/signature"
	"authhook/internal/billing/signature/sign"
)

const (
	secret  = "pdl_ntfset_0123456789abcdef"
	samples = "testdata/events"
)

func provider(t testing.TB) billing.Provider {
	t.Helper()
	secrets, err := signature.ParseSecrets(secret)
	require.NoError(t, err)
	return &paddle.Provider{Secrets: secrets}
}

func TestRecords(t *testing.T) { eventtest.Reads(t, provider(t), nil, samples) }

func TestFaults(t *testing.T) {
	eventtest.Faults(t, provider(t), nil, samples,
		"transaction.completed", "transaction.payment_failed", "subscription.updated-cancel", "adjustment.updated-partial",
		"adjustment.created-chargeback")
}

func TestVerify(t *testing.T) {
	p, now := provider(t), time.Date(2026, 12, 24, 20, 0, 3, 0, time.UTC)
	assert.Equal(t, paddle.Name, p.Name())
	body := eventtest.Samples(t, samples)["transaction.completed"]
	h := http.Header{}
	sign.Paddle(h, body, now, secret)
	require.NoError(t, p.Verify(h, body, now))
	assert.ErrorIs(t, p.Verify(h, append(body, ' '), now), billing.ErrSignature)
	assert.ErrorIs(t, p.Verify(h, body, now.Add(time.Hour)), billing.ErrSignature)
	assert.ErrorIs(t, p.Verify(http.Header{}, body, now), billing.ErrSignature)
	assert.ErrorIs(t, (&paddle.Provider{}).Verify(h, body, now), billing.ErrSignature, "without a secret nothing is right")
}

// What a customer can write into custom_data neither says what was bought, nor keeps an event from being read.
func TestCustomData(t *testing.T) {
	body := string(eventtest.Samples(t, samples)["subscription.canceled"])
	const was = "{\n   \"user_id\": \"user-42\"\n  }"
	require.Contains(t, body, was)
	for _, data := range []string{
		`{"plan": "gold", "price": "pri_gold", "stream": "*", "tag": "all", "valid_until": "2199-01-01T00:00:00Z"}`,
		`{"user_id": ""}`, `{"user_id": {}}`, `{"user_id": [1]}`, `{"user_id": true}`, `{"user_id": 1.5}`, `{"user_id": -1}`, `{"user_id": null}`,
		`{"user_id": "\ud800"}`, `{"user_id": "\u0000"}`, `{"user_id": "."}`, fmt.Sprintf(`{"user_id": %q}`, strings.Repeat("x", 257)),
		`{"USER_ID": "user-42"}`, `{"user_id ": "user-42"}`, `[]`, `"user-42"`, `5`, `null`,
		strings.Repeat(`{"user_id":`, 900) + `1` + strings.Repeat("}", 900),
	} {
		records, err := provider(t).Records([]byte(strings.Replace(body, was, data, 1)))
		require.NoError(t, err, data)
		require.Len(t, records, 1, data)
		assert.Nil(t, records[0].User, data)
		state := records[0].Subscribed.State.Value
		assert.Equal(t, billing.Canceled, state.Status, data)
		assert.Equal(t, []billing.Item{{Prices: []string{"pri_gold", "pro_gold"}}}, state.Items, data)
	}
}

// A chargeback and its reversal are adjustments of their own, and one dispute, whichever is heard of first.
func TestChargebackMeetsReversal(t *testing.T) {
	read := func(name string) billing.Record {
		records, err := provider(t).Records(eventtest.Samples(t, samples)[name])
		require.NoError(t, err)
		return records[0]
	}
	opened, reversed := read("adjustment.created-chargeback"), read("adjustment.created-reverse")
	require.Equal(t, opened.ID, reversed.ID)
	require.Equal(t, opened.Kind, reversed.Kind)
	assert.Nil(t, opened.Dispute.Closed)
	assert.Equal(t, opened.Join(reversed), reversed.Join(opened))
	joined := opened.Join(reversed).Dispute
	assert.Equal(t, billing.DisputeWon, joined.Closed.Value)
	assert.False(t, joined.Opened.IsZero())
}

func FuzzRecords(f *testing.F) { eventtest.Fuzz(f, provider(f), samples) }

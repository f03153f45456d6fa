package paddle_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/events/eventtest"
	"authhook/internal/billing/paddle"
	"authhook/internal/policy"
)

type key struct {
	kind billing.Kind
	id   string
}

// told is what events say together, in whatever order they come.
func told(t *testing.T, names ...string) []billing.Record {
	t.Helper()
	all := eventtest.Samples(t, samples)
	var first map[key]billing.Record
	for range 20 {
		joined := map[key]billing.Record{}
		for _, name := range append(slices.Clone(names), names...) { // everything twice
			records, err := provider(t).Records(all[name])
			require.NoError(t, err, name)
			for _, r := range records {
				k := key{r.Kind, r.ID}
				if known, ok := joined[k]; ok {
					r = known.Join(r)
				}
				joined[k] = r
			}
		}
		if first == nil {
			first = joined
		}
		require.Equal(t, first, joined)
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	}
	return slices.Collect(maps.Values(first))
}

// rights are what follows from events, where a plan and a stream are sold.
func rights(t *testing.T, names ...string) *billing.Rights {
	t.Helper()
	c := &policy.Catalog{
		Plans: []policy.Plan{{Key: "gold", Refund: policy.OnEventVoid, Dispute: policy.OnEventHold, Cancel: policy.OnCancelPeriodEnd}},
		Prices: []policy.Price{
			{Provider: paddle.Name, Price: "pri_gold", Plan: "gold"},
			{Provider: paddle.Name, Price: "pri_fight", Stream: "live+fight", For: policy.Duration(48 * time.Hour), Amount: 999, Currency: "usd"},
		},
	}
	c.Index()
	return billing.Derive(paddle.Name, told(t, names...), c)
}

// What follows from the events that one thing after another gives rise to.
func TestHistories(t *testing.T) {
	day := func(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 20, 0, 0, 0, time.UTC) }

	r := rights(t, "transaction.completed")
	require.Len(t, r.Entitlements, 1)
	e := r.Entitlements[0]
	assert.Equal(t, "user-42", e.User)
	assert.Equal(t, "live+fight", e.Stream, "the price says what was bought, not custom_data")
	assert.Empty(t, e.Plan)
	assert.WithinDuration(t, day(2026, 12, 26), e.Until, time.Second)

	assert.Empty(t, rights(t, "transaction.completed", "adjustment.updated-full").Entitlements)
	r = rights(t, "transaction.completed", "adjustment.created-chargeback")
	assert.Len(t, r.Holds, 1)
	assert.Equal(t, "user-42", r.Holds[0].User)
	r = rights(t, "transaction.completed", "adjustment.created-chargeback", "adjustment.created-reverse")
	assert.Empty(t, r.Holds)
	assert.Len(t, r.Entitlements, 1)

	r = rights(t, "transaction.paid-recurring")
	assert.Empty(t, r.Entitlements, "the subscription gives it, not the payment")
	r = rights(t, "transaction.paid-recurring", "transaction.completed-subscription", "subscription.activated")
	require.Len(t, r.Entitlements, 1)
	assert.Equal(t, "gold", r.Entitlements[0].Plan)
	assert.WithinDuration(t, day(2027, 1, 24), r.Entitlements[0].Until, time.Second)

	r = rights(t, "transaction.completed-subscription", "subscription.activated", "subscription.updated-cancel")
	require.Len(t, r.Entitlements, 1)
	assert.WithinDuration(t, day(2027, 1, 24), r.Entitlements[0].Until, time.Second)
	assert.Zero(t, r.Entitlements[0].GraceFrom)

	r = rights(t, "transaction.completed-subscription", "subscription.activated", "subscription.past_due", "transaction.payment_failed")
	require.Len(t, r.Entitlements, 1)
	assert.WithinDuration(t, day(2027, 1, 24), r.Entitlements[0].Until, 2*time.Minute, "the new period is not paid for")
	assert.WithinDuration(t, day(2027, 1, 24), r.Entitlements[0].GraceFrom, 2*time.Minute)

	assert.Empty(t, rights(t, "transaction.completed-subscription", "subscription.activated", "subscription.paused").Entitlements)
	for _, e := range rights(t, "transaction.completed-subscription", "subscription.activated", "subscription.canceled").Entitlements {
		assert.False(t, e.Until.After(day(2027, 1, 24).Add(time.Minute)))
		assert.False(t, e.Until.IsZero())
	}
}

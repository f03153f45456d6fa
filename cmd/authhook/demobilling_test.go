package main

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/mist/misttest"
)

// demoForTest is a demo before its first act, and what it tells.
func demoForTest(t *testing.T) (*demoStory, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	d := &demo{viewers: fewestViewers, pace: fastPace, out: &out}
	server, err := misttest.Start(misttest.Options{Name: demoNode, Timing: misttest.MeasuredTiming().Scaled(d.pace), Seed: 1})
	require.NoError(t, err)
	heard := newOverheard(slog.DiscardHandler)
	service, err := startDemoService(t.Context(), t.TempDir(), d.catalog(), server.UDPURL(), heard, func(err error) { t.Error(err) })
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		assert.NoError(t, service.stop())
	})
	s, err := newDemoStory(t.Context(), d, newDemoTeller(&out, func(err error) { t.Error(err) }), server, service, heard)
	require.NoError(t, err)
	t.Cleanup(s.close)
	return s, &out
}

// What the demo sends is believed for its signature alone.
func TestDemoWebhooksAreSigned(t *testing.T) {
	s, _ := demoForTest(t)
	ctx, now := t.Context(), time.Now()
	forged, err := newDemoBilling(&demoService{
		url: s.service.url, eventsSecret: eventsSecret, stripeSecret: stripeSecret,
	}, s.connections)
	require.NoError(t, err)
	for _, w := range []demoWebhook{s.billing.paid(s.billing.payment("ada", demoTicket), now), s.billing.stripeSubscribed("ada", now)} {
		_, err := forged.send(ctx, w)
		require.ErrorContains(t, err, w.kind+": the service answered 401")
		sent, err := s.billing.send(ctx, w)
		require.NoError(t, err)
		assert.False(t, sent.Before(now))
	}
	require.NoError(t, s.operator.settled(ctx))
	had, err := s.operator.ListEntitlementsWithResponse(ctx, "ada", nil)
	require.NoError(t, err)
	var things []string
	for _, e := range had.JSON200.Items {
		things = append(things, e.Plan+e.Stream)
	}
	assert.ElementsMatch(t, []string{"live+fight", "gold"}, things)
}

// That nothing changes is told only when it is so.
func TestDemoTellsNoChangeThatIsOne(t *testing.T) {
	s, told := demoForTest(t)
	ctx := t.Context()
	p := s.billing.payment("ada", demoTicket)
	paid := s.billing.paid(p, time.Now())
	require.ErrorContains(t, s.reportedInVain(ctx, "ada", "buys", "again", paid), "what ada may watch was changed by the webhook payment.succeeded")
	assert.Empty(t, told.String())
	require.NoError(t, s.reportedInVain(ctx, "ada", "buys", "again", paid))
	require.NoError(t, s.reportedInVain(ctx, "ada", "failed", "late", s.billing.declined(p, time.Now().Add(-time.Minute))))
	require.ErrorContains(t, s.reportedInVain(ctx, "ada", "paid back", "late", s.billing.refunded(p, time.Now())), "payment.refunded")
	assert.Regexp(t, `(?s)^[^\n]* ada +buys +again +nothing changes\n[^\n]* ada +failed +late +nothing changes\n$`, told.String())
	events, err := s.operator.ListBillingEventsWithResponse(ctx, &client.ListBillingEventsParams{User: new("ada")})
	require.NoError(t, err)
	assert.Len(t, events.JSON200.Items, 3, "each once")
}

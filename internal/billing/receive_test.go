package billing_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/signature"
	"authhook/internal/billing/signature/sign"
	"authhook/internal/billing/stripe"
	"authhook/internal/store"
)

// sealed are the headers of a herald's own.
func sealed() http.Header { return http.Header{"Seal": {"right"}} }

// door takes events in, on a database, and counts how often somebody is woken.
func (o *office) door(woken *int, providers ...billing.Provider) *billing.Receiver {
	return billing.NewReceiver(append(providers, o.herald), o.store, func() { *woken++ }, func() time.Time { return o.now })
}

// all are the events in the inbox, with their bodies.
func (o *office) all() (list []store.BillingEvent) {
	page, err := o.store.BillingEvents(o.t.Context(), store.EventFilter{})
	require.NoError(o.t, err)
	for _, e := range page {
		list = append(list, o.event(e.Number))
	}
	return list
}

func TestReceiving(t *testing.T) {
	o, woken := newOffice(t), 0
	door := o.door(&woken)
	for range 3 { // a sender that got no answer sends it again
		require.NoError(t, door.Receive(t.Context(), "herald", sealed(), []byte("p1 pays anna")))
		require.Equal(t, 1, woken)
	}
	events := o.all()
	require.Len(t, events, 1)
	e := events[0]
	require.Equal(t, []any{"herald", "p1", "pays anna", "p1 pays anna", store.EventReceived, ""},
		[]any{e.Provider, e.ID, e.Type, string(e.Body), e.State, e.Reason})
	for name, at := range map[string]time.Time{"of the provider": e.At, "received": e.Received, "due": e.Next} {
		require.True(t, at.Equal(begin), "%s: %s", name, at)
	}
	o.passes(o.applier(), 1)
	require.Equal(t, 1, o.rights("anna"))
	// The id alone says that it is the same.
	require.NoError(t, door.Receive(t.Context(), "herald", sealed(), []byte("p1 pays ben")))
	require.Len(t, o.all(), 1)
	require.Equal(t, 1, woken)
	o.passes(o.applier(), 0)
}

// What is wrong with a signature, or that there is no such provider, is not said; and nothing is kept.
func TestReceivingFromNobody(t *testing.T) {
	o, woken := newOffice(t), 0
	secrets, err := signature.ParseSecrets("whsec_of_this_test_and_of_nobody_else")
	require.NoError(t, err)
	shop, err := stripe.New(stripe.Options{Secrets: secrets})
	require.NoError(t, err)
	door := o.door(&woken, shop)
	body := []byte(`{"id":"evt_1","object":"event","type":"customer.created","created":1767268800,"livemode":true,"data":{"object":{"id":"cus_1"}}}`)
	signed := func(at time.Time, secret string) http.Header {
		h := http.Header{}
		sign.Stripe(h, body, at, secret)
		return h
	}
	const secret = "whsec_of_this_test_and_of_nobody_else"
	for name, from := range map[string]struct {
		provider string
		header   http.Header
	}{
		"no provider":      {"", sealed()},
		"another provider": {"crier", sealed()},
		"another's seal":   {"herald", signed(o.now, secret)},
		"another's secret": {"stripe", signed(o.now, "whsec_of_another_test_and_of_nobody")},
		"no signature":     {"stripe", http.Header{}},
		"no header":        {"stripe", nil},
		"too old":          {"stripe", signed(o.now.Add(-time.Hour), secret)},
	} {
		err := door.Receive(t.Context(), from.provider, from.header, body)
		require.True(t, err == billing.ErrSignature, "%s: %v", name, err) //nolint: nothing may be wrapped around it
	}
	require.Empty(t, o.store.seen())
	require.Zero(t, woken)
	require.NoError(t, door.Receive(t.Context(), "stripe", signed(o.now, secret), body))
	require.Len(t, o.all(), 1)
}

// An event that cannot be read or stored is kept as dead: to send it again would not help.
func TestReceivingWhatCannotBeRead(t *testing.T) {
	for body, reason := range map[string]string{
		"x has no form":      "cannot be read: no form at all",
		"x confuses at once": "cannot be read: it confuses its reader",
		" has no id":         "cannot be read: it has no id",
		"":                   "cannot be read: it has no id",
		"x has a long id":    "cannot be stored: id",
		"x \xff\x00":         "cannot be stored: type",
	} {
		o, woken := newOffice(t), 0
		door := o.door(&woken)
		for range 2 {
			require.NoError(t, door.Receive(t.Context(), "herald", sealed(), []byte(body)), body)
		}
		require.Equal(t, 1, woken, body)
		events := o.all()
		require.Len(t, events, 1, body)
		e := events[0]
		require.Equal(t, store.EventDead, e.State, body)
		require.Equal(t, billing.HashID([]byte(body)), e.ID)
		require.Equal(t, body, string(e.Body))
		require.Contains(t, e.Reason, reason)
		require.NotContains(t, e.Reason, "secret")
		require.Zero(t, e.Next)
		require.True(t, e.Received.Equal(begin))
		o.passes(o.applier(), 0)
	}
	require.Equal(t, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", billing.HashID(nil))
}

// What is not on disk is not acknowledged.
func TestReceivingWhileTheStoreIsAway(t *testing.T) {
	o, woken := newOffice(t), 0
	door := o.door(&woken)
	o.store.before = func(string, int64) error { return fmt.Errorf("a cable: %w", store.ErrUnavailable) }
	for _, body := range []string{"p1 pays anna", "x has no form"} {
		require.ErrorIs(t, door.Receive(t.Context(), "herald", sealed(), []byte(body)), store.ErrUnavailable)
		fresh, err := door.Keep(t.Context(), "herald", []byte(body))
		require.ErrorIs(t, err, store.ErrUnavailable)
		require.False(t, fresh)
	}
	o.store.before = nil
	huge := []byte("p2 pays " + strings.Repeat("x", store.MaxBody))
	require.Error(t, door.Receive(t.Context(), "herald", sealed(), huge), "it cannot be kept in any way")
	require.Empty(t, o.all())
	require.Zero(t, woken)
}

// What was read from the provider itself needs no signature, and is the same event as the one that comes by itself.
func TestKeeping(t *testing.T) {
	o, woken := newOffice(t), 0
	door := o.door(&woken)
	fresh, err := door.Keep(t.Context(), "herald", []byte("p1 pays anna"))
	require.NoError(t, err)
	require.True(t, fresh)
	require.NoError(t, door.Receive(t.Context(), "herald", sealed(), []byte("p1 pays anna")))
	fresh, err = door.Keep(t.Context(), "herald", []byte("p1 pays anna"))
	require.NoError(t, err)
	require.False(t, fresh)
	require.Len(t, o.all(), 1)
	require.Equal(t, 1, woken)
	_, err = door.Keep(t.Context(), "crier", []byte("p1 pays anna"))
	require.ErrorContains(t, err, "crier")
}

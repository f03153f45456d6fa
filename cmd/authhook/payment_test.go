package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/billing/signature/sign"
	"authhook/internal/mist/misttest"
	"authhook/internal/store/storetest"
)

// theatre sells movie: by subscription, and for an evening.
const theatre = `
plans: [{key: gold}]
streams: [{match: movie, access: entitled, plans: [gold]}]
prices:
  - {provider: stripe, price: price_gold, plan: gold, amount: 999, currency: usd}
  - {provider: stripe, price: price_evening, stream: movie, for: 24h, amount: 500, currency: usd}
`

// object is an object of Stripe's.
type object map[string]any

// till makes events of one customer at Stripe, each a second after the one before.
type till struct {
	user string
	told int
	at   time.Time
}

func newTill(user string) *till { return &till{user: user, at: time.Now().Add(-time.Hour)} }

// event is the next event, as a body.
func (c *till) event(kind string, o object) []byte {
	c.told++
	c.at = c.at.Add(time.Second)
	body, err := json.Marshal(object{"id": fmt.Sprintf("evt_%s_%d", c.user, c.told), "object": "event", "type": kind,
		"created": c.at.Unix(), "livemode": true, "data": object{"object": o}})
	if err != nil {
		panic(err)
	}
	return body
}

// subscription is what a subscription to gold becomes, paid for until in an hour.
func (c *till) subscription(status string) []byte {
	return c.event("customer.subscription.updated", object{"id": "sub_" + c.user, "customer": "cus_" + c.user, "status": status,
		"metadata": object{"user_id": c.user}, "items": object{"data": []any{object{"current_period_end": time.Now().Add(time.Hour).Unix(),
			"price": object{"id": "price_gold", "product": "prod_1", "currency": "usd", "unit_amount": 999}}}}})
}

// canceled ends the subscription now.
func (c *till) canceled() []byte {
	return c.event("customer.subscription.deleted", object{"id": "sub_" + c.user, "customer": "cus_" + c.user, "status": "canceled",
		"ended_at": c.at.Unix(), "metadata": object{"user_id": c.user}, "items": object{"data": []any{object{
			"current_period_end": time.Now().Add(time.Hour).Unix(), "price": object{"id": "price_gold", "product": "prod_1", "currency": "usd", "unit_amount": 999}}}}})
}

// buys is an evening, bought at a price.
func (c *till) buys(amount int) []byte {
	return c.event("checkout.session.completed", object{"id": "cs_" + c.user, "mode": "payment", "payment_status": "paid",
		"client_reference_id": c.user, "customer": "cus_" + c.user, "payment_intent": "pi_" + c.user, "amount_total": amount,
		"currency": "usd", "metadata": object{"price": "price_evening"}})
}

// refunded is the evening, paid back.
func (c *till) refunded() []byte {
	return c.event("charge.refunded", object{"id": "ch_" + c.user, "payment_intent": "pi_" + c.user, "amount": 500,
		"amount_refunded": 500, "refunded": true})
}

// fromStripe is a request as Stripe sends it: signed at a moment, over a connection of its own.
func fromStripe(ctx context.Context, t testing.TB, url string, body []byte, at time.Time, secret string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	require.NoError(t, err)
	r.Close = true
	sign.Stripe(r.Header, body, at, secret)
	return r
}

// posts sends a request, and returns the answer without its body.
func posts(t testing.TB, r *http.Request) (status int, h http.Header) {
	t.Helper()
	a, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, a.Body)
	require.NoError(t, err)
	require.NoError(t, a.Body.Close())
	return a.StatusCode, a.Header
}

// stripe sends an event as Stripe does.
func (s *served) stripe(t testing.TB, body []byte) (status int, h http.Header) {
	t.Helper()
	return posts(t, fromStripe(t.Context(), t, s.url+"/billing/stripe", body, time.Now(), stripeSecret))
}

// paid is a service that Stripe reports to, with a stand-in MistServer.
func paid(t *testing.T, db string) (*served, *misttest.Server) {
	t.Helper()
	m, guard := guarded(t, "edge-1")
	s := serveForTest(t, "--database-url", db, "--catalog", write(t, "catalog.yaml", theatre), "--admin-token", adminToken,
		"--stripe-secret", stripeSecret, "--mist", m.UDPURL())
	guard(s)
	return s, m
}

// member makes a user and returns its key.
func (s *served) member(t *testing.T, user string) string {
	t.Helper()
	c := s.api(t, adminToken)
	_, err := c.PutUserWithResponse(t.Context(), user, nil, client.UserChange{Status: client.Active})
	require.NoError(t, err)
	made, err := c.AddCredentialWithResponse(t.Context(), user, client.CredentialRequest{})
	require.NoError(t, err)
	return made.JSON201.Token
}

// cuts is how often a player was cut while it watched.
func cuts(p *misttest.Player) (n int) {
	for _, e := range p.Events() {
		if e.Kind == misttest.EventCut {
			n++
		}
	}
	return n
}

// What Stripe reports of a subscription and of a purchase decides, from event to event, whether a viewer watches.
func TestAViewerFollowsStripe(t *testing.T) {
	for kind, db := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s, m := paid(t, db)
			alice := newTill("alice")
			p := m.Connect(viewer(s.member(t, "alice"), 1))
			bystander := m.Connect(viewer(s.member(t, "bob"), 2))
			require.NoError(t, p.Wait(ctx, misttest.Denied))
			require.NoError(t, bystander.Wait(ctx, misttest.Denied))
			for i, told := range []struct {
				what string
				body []byte
				then misttest.State
				cut  int
			}{
				{"a subscription", alice.subscription("active"), misttest.Watching, 0},
				{"a purchase beside it", alice.buys(500), misttest.Watching, 0},
				{"the subscription's end", alice.canceled(), misttest.Watching, 0},
				{"the purchase's refund", alice.refunded(), misttest.Denied, 1},
				{"another subscription's state", alice.subscription("active"), misttest.Watching, 1},
				{"and its pause", alice.subscription("paused"), misttest.Denied, 2},
			} {
				status, _ := s.stripe(t, told.body)
				require.Equal(t, http.StatusOK, status)
				s.settled(t)
				require.NoError(t, p.Wait(ctx, told.then), told.what)
				status, _ = s.stripe(t, told.body)
				require.Equal(t, http.StatusOK, status, "it comes a second time")
				require.Equal(t, told.cut, cuts(p), told.what)
				require.Equal(t, fmt.Sprint(i+1), s.counted(t, `authhook_billing_applied_total{provider="stripe",state="applied"}`), told.what)
			}
			assert.Equal(t, misttest.Denied, bystander.State())
			assert.Zero(t, cuts(bystander))
			assert.False(t, m.Corrupted())
			assert.Zero(t, s.stop(), s.log.String())
			assert.NotContains(t, s.log.String(), stripeSecret)
		})
	}
}

// While its database is away a service takes in no event: the sender is told so and sends it again, and then it counts. Who
// watches goes on watching until then.
func TestAPaymentOutlivesAnOutage(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	proxy, db := storetest.NewProxy(t, storetest.PostgresSchema(t))
	s, m := paid(t, db)
	alice, bob := newTill("alice"), newTill("bob")
	watching, denied := m.Connect(viewer(s.member(t, "alice"), 1)), m.Connect(viewer(s.member(t, "bob"), 2))
	require.NoError(t, watching.Wait(ctx, misttest.Denied))
	require.NoError(t, denied.Wait(ctx, misttest.Denied))
	status, _ := s.stripe(t, alice.subscription("active"))
	require.Equal(t, http.StatusOK, status)
	require.NoError(t, watching.Wait(ctx, misttest.Watching))

	proxy.Down()
	ends, begins := alice.canceled(), bob.subscription("active")
	for _, body := range [][]byte{ends, begins, begins} {
		status, h := s.stripe(t, body)
		require.Equal(t, http.StatusServiceUnavailable, status)
		assert.NotEmpty(t, h.Get("Retry-After"))
	}
	s.waitLog(t, "msg=billing provider=stripe answer=503")
	assert.Equal(t, misttest.Watching, watching.State())
	assert.Equal(t, misttest.Denied, denied.State())

	proxy.Up()
	for _, body := range [][]byte{ends, begins} { // as senders do, but sooner
		require.Eventually(t, func() bool {
			status, _ := s.stripe(t, body)
			return status == http.StatusOK
		}, 30*time.Second, 10*time.Millisecond)
	}
	require.NoError(t, denied.Wait(ctx, misttest.Watching))
	require.NoError(t, watching.Wait(ctx, misttest.Denied))
	assert.Equal(t, 1, cuts(watching), "once, and for the subscription's end")
	s.settled(t)
	list, err := s.api(t, adminToken).ListBillingEventsWithResponse(ctx, nil)
	require.NoError(t, err)
	require.Len(t, list.JSON200.Items, 3, "each once")
	for _, e := range list.JSON200.Items {
		assert.Equal(t, client.EventApplied, e.State)
	}
	assert.Zero(t, s.stop(), s.log.String())
}

// What is not Stripe's, or is not what was sold, lets nobody in and cuts nobody.
func TestHostileEventsChangeNothing(t *testing.T) {
	for kind, db := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s, m := paid(t, db)
			alice, mallory := newTill("alice"), newTill("mallory")
			watching, denied := m.Connect(viewer(s.member(t, "alice"), 1)), m.Connect(viewer(s.member(t, "mallory"), 2))
			require.NoError(t, denied.Wait(ctx, misttest.Denied))
			status, _ := s.stripe(t, alice.subscription("active"))
			require.Equal(t, http.StatusOK, status)
			require.NoError(t, watching.Wait(ctx, misttest.Watching))
			s.settled(t)
			commands := func() (n int) {
				for _, c := range m.Commands() {
					if c.Kind == "stop_sessid" || c.Kind == "invalidate_sessions" {
						n++
					}
				}
				return n
			}
			before := commands()

			here, now := s.url+"/billing/stripe", time.Now()
			huge := append(mallory.subscription("active"), bytes.Repeat([]byte(" "), 1<<20)...)
			for _, body := range [][]byte{alice.canceled(), mallory.subscription("active")} {
				of := func(change func(*http.Request)) *http.Request {
					r := fromStripe(ctx, t, here, body, now, stripeSecret)
					change(r)
					return r
				}
				for name, test := range map[string]struct {
					r    *http.Request
					want int
				}{
					"another's secret":     {fromStripe(ctx, t, here, body, now, "whsec_of_somebody_else_altogether"), http.StatusUnauthorized},
					"signed long ago":      {fromStripe(ctx, t, here, body, now.Add(-10*time.Minute), stripeSecret), http.StatusUnauthorized},
					"signed in the future": {fromStripe(ctx, t, here, body, now.Add(10*time.Minute), stripeSecret), http.StatusUnauthorized},
					"for another provider": {fromStripe(ctx, t, s.url+"/billing/paddle", body, now, stripeSecret), http.StatusUnauthorized},
					"for nobody":           {fromStripe(ctx, t, s.url+"/billing/nobody", body, now, stripeSecret), http.StatusUnauthorized},
					"without a signature":  {of(func(r *http.Request) { r.Header.Del("Stripe-Signature") }), http.StatusUnauthorized},
					"with two signatures":  {of(func(r *http.Request) { r.Header.Add("Stripe-Signature", r.Header.Get("Stripe-Signature")) }), http.StatusUnauthorized},
					"another's body":       {of(func(r *http.Request) { r.Body = io.NopCloser(bytes.NewReader(bytes.ToUpper(body))) }), http.StatusUnauthorized},
					"without a body":       {of(func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 }), http.StatusUnauthorized},
					"with another method":  {of(func(r *http.Request) { r.Method = http.MethodPut }), http.StatusMethodNotAllowed},
					"huge": {func() *http.Request {
						r := fromStripe(ctx, t, here, huge, now, stripeSecret)
						r.Header.Set("Expect", "100-continue") // who writes on may be cut off before it has read the answer
						return r
					}(), http.StatusRequestEntityTooLarge},
					"huge, without a length": {func() *http.Request {
						r := fromStripe(ctx, t, here, huge, now, stripeSecret)
						r.ContentLength = -1
						return r
					}(), http.StatusRequestEntityTooLarge},
				} {
					status, _ := posts(t, test.r)
					assert.Equal(t, test.want, status, name)
				}
			}
			list, err := s.api(t, adminToken).ListBillingEventsWithResponse(ctx, nil)
			require.NoError(t, err)
			require.Len(t, list.JSON200.Items, 1, "nothing of it was taken in")

			// Authentic is not valid.
			testMode := strings.NewReplacer(`"livemode":true`, `"livemode":false`, "sub_", "sub_test_").Replace(string(mallory.subscription("active")))
			cheap := mallory.buys(1)
			unread := []byte(`{"id":"evt_unread","object":"event","type":"customer.subscription.updated","created":"` + strings.Repeat("9", 400) + `"}`)
			for _, body := range [][]byte{[]byte(testMode), cheap, unread, []byte("not JSON at all")} {
				status, _ := s.stripe(t, body)
				assert.Equal(t, http.StatusOK, status, "to send it again would not help")
			}
			s.settled(t)
			mine, err := s.api(t, adminToken).ListEntitlementsWithResponse(ctx, "mallory", nil)
			require.NoError(t, err)
			assert.Empty(t, mine.JSON200.Items)
			assert.Equal(t, "false", s.ask(t, "USER_NEW", "u1", recordedWithKey(t, "movie", s.member(t, "mallory"))))
			assert.Equal(t, misttest.Denied, denied.State())
			assert.Equal(t, misttest.Watching, watching.State())
			assert.Zero(t, cuts(watching))
			assert.Equal(t, before, commands(), "MistServer was told nothing")

			status, _ = s.stripe(t, mallory.subscription("active"))
			assert.Equal(t, http.StatusOK, status)
			require.NoError(t, denied.Wait(ctx, misttest.Watching), "who pays is let in all the same")
			assert.Zero(t, s.stop(), s.log.String())
		})
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/billing/signature"
	"authhook/internal/billing/signature/sign"
	"authhook/internal/mist/misttest"
	"authhook/internal/store"
	"authhook/internal/store/storetest"
)

const (
	eventsSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	stripeSecret = "whsec_of_a_test_and_nobody_else"
)

// bill posts a body to a running service, signed by change, and returns the answer's status.
func (s *served) bill(t testing.TB, path, body string, signed func(http.Header)) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Close = true
	signed(r.Header)
	a, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, a.Body)
	require.NoError(t, err)
	require.NoError(t, a.Body.Close())
	return a.StatusCode
}

// report sends an event of the operator's own.
func (s *served) report(t testing.TB, id, kind string, data map[string]any) int {
	t.Helper()
	key, err := sign.StandardKey(eventsSecret)
	require.NoError(t, err)
	now := time.Now()
	body, err := json.Marshal(map[string]any{"type": kind, "timestamp": now.Format(time.RFC3339Nano), "data": data})
	require.NoError(t, err)
	return s.bill(t, "/billing/events", string(body), func(h http.Header) { sign.StandardWebhooks(h, id, body, now, key) })
}

// boughtGold is the data of a payment for the plan gold.
func boughtGold(user, payment string) map[string]any {
	return map[string]any{
		"user": user, "payment": payment, "amount": 1999, "currency": "usd", "plan": "gold",
		"valid_until": time.Now().Add(time.Hour).Format(time.RFC3339),
	}
}

const billedCatalog = `
plans: [{key: gold}]
streams: [{match: movie, access: entitled, plans: [gold]}]
prices: [{provider: events, price: gold, plan: gold, amount: 1999, currency: usd}, {provider: stripe, price: price_gold, plan: gold}]
`

// The whole way of a payment: an event arrives, the entitlement is there, and who was turned away is let in, at once; a refund
// turns them away again.
func TestAPaymentLetsIn(t *testing.T) {
	for kind, db := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			m, guard := guarded(t, "edge-1")
			s := serveForTest(t, "--database-url", db, "--catalog", write(t, "catalog.yaml", billedCatalog), "--admin-token", adminToken,
				"--events-secret", eventsSecret, "--mist", m.UDPURL())
			guard(s)
			s.out.find(t, "("+regexp.QuoteMeta(s.url+"/billing/events")+")\n")
			c := s.api(t, adminToken)
			_, err := c.PutUserWithResponse(ctx, "alice", nil, client.UserChange{Status: client.Active})
			require.NoError(t, err)
			made, err := c.AddCredentialWithResponse(ctx, "alice", client.CredentialRequest{})
			require.NoError(t, err)
			key := made.JSON201.Token
			require.Equal(t, "false", s.ask(t, "USER_NEW", "u1", recordedWithKey(t, "movie", key)))
			p := m.Connect(viewer(key, 1))
			require.NoError(t, p.Wait(ctx, misttest.Denied))

			assert.Equal(t, http.StatusOK, s.report(t, "msg_1", "payment.succeeded", boughtGold("alice", "pay_1")))
			require.NoError(t, p.Wait(ctx, misttest.Watching))
			assert.Equal(t, "true", s.ask(t, "USER_NEW", "u2", recordedWithKey(t, "movie", key)))
			entitled, err := c.ListEntitlementsWithResponse(ctx, "alice", nil)
			require.NoError(t, err)
			require.Len(t, entitled.JSON200.Items, 1)
			assert.Equal(t, "gold", entitled.JSON200.Items[0].Plan)

			assert.Equal(t, http.StatusOK, s.report(t, "msg_1", "payment.succeeded", boughtGold("mallory", "pay_2")), "a second one of the same name")
			assert.Equal(t, http.StatusUnauthorized, s.bill(t, "/billing/stripe", "{}", func(http.Header) {}), "no secret is set")
			assert.Equal(t, http.StatusUnauthorized, s.bill(t, "/billing/events", "{}", func(http.Header) {}))
			events, err := c.ListBillingEventsWithResponse(ctx, nil)
			require.NoError(t, err)
			require.Len(t, events.JSON200.Items, 1)
			assert.Equal(t, client.EventApplied, events.JSON200.Items[0].State)
			assert.Equal(t, "alice", events.JSON200.Items[0].User)

			assert.Equal(t, http.StatusOK, s.report(t, "msg_2", "payment.refunded", map[string]any{"payment": "pay_1", "amount": 1999}))
			require.NoError(t, p.Wait(ctx, misttest.Denied))
			assert.Equal(t, "2", s.counted(t, `authhook_billing_applied_total{provider="events",state="applied"}`))
			assert.Equal(t, "3", s.counted(t, `authhook_billing_requests_total{answer="200",provider="events"}`))
			assert.Equal(t, "1", s.counted(t, `authhook_billing_requests_total{answer="401",provider="unknown"}`))
			assert.Equal(t, "0", s.counted(t, `authhook_billing_events{state="dead"}`))
			assert.Equal(t, "0", s.counted(t, `authhook_billing_waiting_seconds`))
			assert.Zero(t, s.stop(), s.log.String())
			assert.NotContains(t, s.log.String(), eventsSecret)
			assert.NotContains(t, s.log.String(), "pay_1")
		})
	}
}

// Before there is a catalog nobody knows what is paid for: events wait for it.
func TestEventsWaitForTheCatalog(t *testing.T) {
	db := emptyDatabase(t)
	s := serveForTest(t, "--database-url", db, "--admin-token", adminToken, "--events-secret", eventsSecret)
	require.Equal(t, http.StatusOK, s.report(t, "msg_1", "payment.succeeded", boughtGold("alice", "pay_1")))
	event := func() client.BillingEvent {
		a, err := s.api(t, adminToken).GetBillingEventWithResponse(t.Context(), 1)
		require.NoError(t, err)
		return *a.JSON200
	}
	assert.Equal(t, client.EventReceived, event().State)
	_, err := s.api(t, adminToken).ReplayBillingEventWithResponse(t.Context(), 1, &client.ReplayBillingEventParams{DryRun: new(true)})
	var p *client.Problem
	require.ErrorAs(t, err, &p)
	assert.Equal(t, client.ProblemUnavailable, p.Type, "nobody can tell yet")
	mustAuthhook(t, "apply", "-f", write(t, "catalog.yaml", billedCatalog), "--server", s.url, "--api-key", adminToken)
	for event().State != client.EventApplied {
		require.NoError(t, t.Context().Err())
	}
}

// While the database is away nothing is taken for received, and when it is back all is.
func TestAnEventThatCannotBeStored(t *testing.T) {
	proxy, db := storetest.NewProxy(t, storetest.PostgresSchema(t))
	s := serveForTest(t, "--database-url", db, "--catalog", write(t, "catalog.yaml", billedCatalog), "--admin-token", adminToken, "--events-secret", eventsSecret)
	proxy.Down()
	assert.Equal(t, http.StatusServiceUnavailable, s.report(t, "msg_1", "payment.succeeded", boughtGold("alice", "pay_1")))
	proxy.Up()
	for s.report(t, "msg_1", "payment.succeeded", boughtGold("alice", "pay_1")) != http.StatusOK {
		require.NoError(t, t.Context().Err())
	}
	assert.Zero(t, s.stop(), s.log.String())
}

func TestBillingSettings(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	const hunter = "hunter2hunter2hunter2"
	type env map[string]string
	for _, test := range []struct {
		name, says string
		env        env
		args       []string
	}{
		{"empty", "--stripe-secret is set and empty", nil, []string{"--stripe-secret", ""}},
		{"empty in the environment", "--paddle-secret is set and empty", env{"AUTHHOOK_PADDLE_SECRET": ""}, nil},
		{"empty in the settings file", "--events-secret is set and empty", nil, []string{"--config", file("empty.yaml", "events-secret: \"\"\n")}},
		{"nothing in the settings file", "--events-secret is set and empty", nil, []string{"--config", file("none.yaml", "events-secret:\n")}},
		{"white space", "--stripe-secret is set and empty", nil, []string{"--stripe-secret", " \t"}},
		{"an empty file", "--stripe-secret-file", nil, []string{"--stripe-secret-file", file("empty", "\n")}},
		{"a file of white space", "--paddle-secret is set and empty", nil, []string{"--paddle-secret-file", file("spaces", " \n")}},
		{"no file", "--events-secret-file", nil, []string{"--events-secret-file", filepath.Join(dir, "nosuch")}},
		{"no file's name in the environment", "--stripe-secret-file is set and names no file", env{"AUTHHOOK_STRIPE_SECRET_FILE": ""}, nil},
		{"both", "--paddle-secret and --paddle-secret-file are both set", nil, []string{"--paddle-secret", hunter, "--paddle-secret-file", file("one", hunter)}},
		{"both, one of them empty", "--paddle-secret and --paddle-secret-file are both set", env{"AUTHHOOK_PADDLE_SECRET": ""}, []string{"--paddle-secret-file", file("one", hunter)}},
		{"short", "--stripe-secret: the first secret", nil, []string{"--stripe-secret", "hunter2"}},
		{"one of two short", "--stripe-secret: the second secret", nil, []string{"--stripe-secret", hunter + ",hunter2"}},
		{"an empty one at the end", "--stripe-secret: the second secret is empty", nil, []string{"--stripe-secret", hunter + ","}},
		{"an empty one between", "--paddle-secret: the second secret is empty", nil, []string{"--paddle-secret", hunter + ", ," + hunter}},
		{"an empty one in a file", "--paddle-secret: the first secret is empty", nil, []string{"--paddle-secret-file", file("comma", ","+hunter+"\n")}},
		{"two lines in a file", "--paddle-secret: the first secret", nil, []string{"--paddle-secret-file", file("lines", hunter+"\n"+hunter+"\n")}},
		{"no prefix", "--events-secret: the first secret", nil, []string{"--events-secret", hunter}},
		{"a prefix alone", "--events-secret: the first secret", nil, []string{"--events-secret", "whsec_"}},
		{"no Base64", "--events-secret: the first secret", nil, []string{"--events-secret", "whsec_" + hunter + "!"}},
		{"a short key", "--events-secret: the first secret", nil, []string{"--events-secret", "whsec_aHVudGVyMg=="}},
		{"a form that is none", "--events-secret-form", nil, []string{"--events-secret", eventsSecret, "--events-secret-form", "hex"}},
		{"a mode that is none", "--stripe-mode", nil, []string{"--stripe-mode", "both"}},
		{"an account that is none", "--stripe-account", nil, []string{"--stripe-account", "hunter2"}},
		{"no file of other systems", "--billing", nil, []string{"--billing", filepath.Join(dir, "nosuch.yaml")}},
		{"other systems that are none", "systems.yaml:1", nil, []string{"--billing", file("systems.yaml", "- hunter2\n")}},
		{"another system without a secret", "systems2.yaml:1", nil, []string{"--billing", file("systems2.yaml", "providers: [{name: shop, preset: lemonsqueezy, secret_env: NO_SECRET_OF_A_TEST}]\n")}},
		{"bodies that are kept too short", "--keep-events", nil, []string{"--keep-events", "719h"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			db := emptyDatabase(t)
			out, errOut, code := authhook(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--database-url", db}, test.args...)...)
			assert.Equal(t, exitUsage, code)
			assert.Contains(t, errOut, test.says)
			assert.Empty(t, out)
			assert.NotContains(t, errOut, "hunter2")
			assert.NotContains(t, errOut, "aHVudGVyMg")
			assert.NoFileExists(t, strings.TrimPrefix(db, "sqlite:"), "nothing was begun")
		})
	}
	help := mustAuthhook(t, "serve", "--help")
	for _, name := range []string{
		"STRIPE_SECRET", "STRIPE_SECRET_FILE", "PADDLE_SECRET", "PADDLE_SECRET_FILE", "EVENTS_SECRET", "EVENTS_SECRET_FILE",
		"EVENTS_SECRET_FORM", "STRIPE_MODE", "STRIPE_ACCOUNT", "BILLING", "KEEP_EVENTS",
	} {
		assert.Contains(t, help, "$AUTHHOOK_"+name)
	}
}

// Each way to give a secret serves its provider, with each of several secrets, and no other provider.
func TestSecretsServeTheirProvider(t *testing.T) {
	const other = "another-secret-of-a-test"
	t.Setenv("AUTHHOOK_PADDLE_SECRET", other)
	t.Setenv("SHOP_SECRET_OF_A_TEST", other)
	shop := func(h http.Header) {
		sign.HMAC(h, signature.HMAC{Header: "X-Signature", Encoding: signature.Hex, Signed: signature.Body}, []byte("{}"), time.Now(), other)
	}
	s := serveForTest(t, "--database-url", emptyDatabase(t), "--events-secret", "older-polar-"+other, "--events-secret-form", "text",
		"--config", write(t, "authhook.yaml", "stripe-secret-file: "+write(t, "secret", stripeSecret+" , "+other+"\n")+"\nkeep-events: 720h\n"),
		"--billing", write(t, "systems.yaml", "providers: [{name: shop, preset: lemonsqueezy, secret_env: SHOP_SECRET_OF_A_TEST}]\n"))
	for name, answers := range map[string]struct {
		status int
		signed func(http.Header)
	}{
		"events": {200, func(h http.Header) {
			sign.StandardWebhooks(h, "msg_1", []byte("{}"), time.Now(), []byte("older-polar-"+other))
		}},
		"stripe":       {200, func(h http.Header) { sign.Stripe(h, []byte("{}"), time.Now(), stripeSecret) }},
		"stripe?other": {200, func(h http.Header) { sign.Stripe(h, []byte("{}"), time.Now(), other) }},
		"paddle":       {200, func(h http.Header) { sign.Paddle(h, []byte("{}"), time.Now(), other) }},
		"paddle?old":   {401, func(h http.Header) { sign.Paddle(h, []byte("{}"), time.Now().Add(-time.Hour), other) }},
		"stripe?wrong": {401, func(h http.Header) { sign.Stripe(h, []byte("{}"), time.Now(), "some-secret-of-others") }},
		"shop":         {200, shop},
		"shop?wrong":   {401, func(h http.Header) { sign.Stripe(h, []byte("{}"), time.Now(), other) }},
		"unknown":      {401, shop},
	} {
		assert.Equal(t, answers.status, s.bill(t, "/billing/"+name, "{}", answers.signed), name)
	}
	assert.NotContains(t, s.log.String()+s.out.String(), other)
}

// stripeEvent is an event about a subscription, as Stripe has it.
func stripeEvent(n int, user string, more string) string {
	now := time.Now().Unix()
	return fmt.Sprintf(`{"id":"evt_%d","object":"event","type":"customer.subscription.updated","created":%d,"livemode":true%s,"data":{"object":
		{"id":"sub_%d","object":"subscription","customer":"cus_%d","status":"active","cancel_at_period_end":false,"metadata":{"user_id":%q},"items":{"data":[
		{"current_period_end":%d,"price":{"id":"price_gold","product":"prod_1"}}]}}}}`, n, now, more, n, n, user, now+3600)
}

// inboxOf is a database with a catalog and these events in its inbox, none of them applied, received a minute after each other
// from a time on that it returns.
func inboxOf(t *testing.T, url string, bodies ...string) time.Time {
	t.Helper()
	mustAuthhook(t, "apply", "-f", write(t, "catalog.yaml", billedCatalog), "--database-url", url)
	db, err := (&databaseFlags{DatabaseURL: url}).open(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	began := time.Now().UTC().Truncate(time.Minute).Add(-time.Hour)
	for i, body := range bodies {
		at := began.Add(time.Duration(i) * time.Minute)
		_, err := db.ReceiveEvent(t.Context(), store.BillingEvent{
			Provider: "stripe", ID: fmt.Sprint("evt_", i+1), Type: "customer.subscription.updated", At: at, Received: at, Next: at,
			Body: []byte(body), State: store.EventReceived,
		})
		require.NoError(t, err)
	}
	return began
}

// What came in is listed and shown alike over a service and on a database.
func TestBillingEventsAreShown(t *testing.T) {
	for kind, db := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			began := inboxOf(t, db, stripeEvent(1, "alice", ""), stripeEvent(2, "bob", ""), "{\"name\":\"\x1b[31m\u202e\"")
			mustAuthhook(t, "billing", "events", "replay", "1", "--database-url", db)
			s := serveForTest(t, "--database-url", db, "--admin-token", adminToken, "--stripe-mode", "live")
			s.settled(t)
			commands := func(args ...string) string {
				out := mustAuthhook(t, append(args, "--database-url", db)...)
				assert.Equal(t, out, mustAuthhook(t, append(args, "--server", s.url, "--api-key", adminToken)...))
				return out
			}
			at := func(n int) string { return began.Add(time.Duration(n) * time.Minute).Format(time.RFC3339) }
			list := commands("billing", "events", "list")
			assert.Regexp(t, `(?m)\A\S.*\n3 +`+at(2)+` +stripe +\S+ +dead +- +\S.*\n2 .* applied +bob +-\n1 .* applied +alice +-\n\z`, list)
			assert.Regexp(t, `(?m)\A\S.*\n1 .*\n2 .*\n\z`, commands("billing", "events", "list", "--order", "oldest", "--limit", "2"))
			assert.Regexp(t, `(?m)\A\S.*\n2 .*\n\z`, commands("billing", "events", "list", "--user", "bob", "--limit", "0"))
			assert.Regexp(t, `(?m)\A\S.*\n3 .*\n\z`, commands("billing", "events", "list", "--state", "dead"))
			assert.Regexp(t, `(?m)\A\S.*\n2 .*\n\z`, commands("billing", "events", "list", "--provider", "stripe", "--type",
				"customer.subscription.updated", "--from", at(1), "--until", at(2)))
			lines := strings.Split(strings.TrimSpace(commands("billing", "events", "list", "--json")), "\n")
			require.Len(t, lines, 3)
			var e client.BillingEvent
			require.NoError(t, json.Unmarshal([]byte(lines[1]), &e))
			assert.Equal(t, int64(2), e.Number)

			shown := commands("billing", "events", "show", "1")
			assert.Regexp(t, `(?m)^user +alice$`, shown)
			assert.Contains(t, shown, "\n  \"id\": \"evt_1\",\n", "the body, with a line for each field")
			assert.Contains(t, commands("billing", "events", "show", "3"), `{"name":"\x1b[31m\u202e"`, "nothing that a terminal would act on")
			require.NoError(t, json.Unmarshal([]byte(commands("billing", "events", "show", "3", "--json")), &e))
			assert.Equal(t, "{\"name\":\"\x1b[31m\u202e\"", string(e.Body))

			for _, args := range [][]string{{"show", "99"}, {"show", "0"}, {"replay", "99"}, {"replay"}, {"replay", "1", "--state", "dead"}, {"replay", "-1"},
				{"list", "--limit", "-1"}, {"list", "--state", "lost"}, {"replay", "--from", at(1), "--until", at(1)}} {
				for _, where := range [][]string{{"--database-url", db}, {"--server", s.url, "--api-key", adminToken}} {
					out, errOut, code := authhook(t, append(append([]string{"billing", "events"}, args...), where...)...)
					assert.Equal(t, exitUsage, code, "%q %s", args, errOut)
					assert.Empty(t, out)
				}
			}
		})
	}
}

// settled waits until no event waits any more.
func (s *served) settled(t *testing.T) {
	t.Helper()
	for _, state := range []client.EventState{client.EventReceived, client.EventFailed} {
		for {
			a, err := s.api(t, adminToken).ListBillingEventsWithResponse(t.Context(), &client.ListBillingEventsParams{State: &state})
			require.NoError(t, err)
			if len(a.JSON200.Items) == 0 {
				break
			}
		}
	}
}

// Events are tried without effect and applied again, by a service and without one.
func TestBillingEventsAreReplayed(t *testing.T) {
	for kind, db := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			replay := func(args ...string) string {
				return mustAuthhook(t, append([]string{"billing", "events", "replay"}, args...)...)
			}
			inboxOf(t, db, stripeEvent(1, "alice", ""), stripeEvent(2, "bob", `,"account":"acct_other"`), stripeEvent(3, "carol", ""))
			entitled := func(user string) int {
				s, err := (&databaseFlags{DatabaseURL: db}).open(t.Context())
				require.NoError(t, err)
				defer func() { require.NoError(t, s.Close()) }()
				list, err := s.Entitlements(t.Context(), user, store.Page{})
				if err != nil {
					require.ErrorIs(t, err, store.ErrNotFound)
				}
				return len(list)
			}
			tried := replay("1", "--dry-run", "--database-url", db)
			assert.Regexp(t, `(?m)\A1 stripe customer\.subscription\.updated: applied, of alice\n  \+ entitlement of alice: plan gold .*until .*, from stripe/subscription/sub_1\n`, tried)
			assert.Zero(t, entitled("alice"), "nothing was done")
			assert.Contains(t, replay("--state", "received", "--dry-run", "--database-url", db), "3 events picked")

			done := replay("--state", "received", "--database-url", db)
			assert.Regexp(t, `(?m)\A3 events to be applied again\nstripe: 2 applied\nevent 2 is left to a service.*connected account`, done)
			assert.Equal(t, 1, entitled("alice"))
			assert.Equal(t, 1, entitled("carol"))
			assert.Contains(t, replay("1", "--dry-run", "--database-url", db), "nothing would change")
			assert.Contains(t, replay("2", "--database-url", db), "event 2 is left to a service")
			assert.Contains(t, replay("2", "--stripe-account", "acct_other", "--dry-run", "--database-url", db), "entitlement of bob")

			// A service with that account applies it, and what it is told to.
			s := serveForTest(t, "--database-url", db, "--admin-token", adminToken, "--stripe-account", "acct_other")
			s.settled(t)
			assert.Equal(t, 1, entitled("bob"))
			over := func(args ...string) string {
				return replay(append(args, "--server", s.url, "--api-key", adminToken)...)
			}
			assert.Contains(t, over("2", "--dry-run"), "nothing would change")
			assert.Contains(t, over("2"), "the service applies what it has")
			assert.Contains(t, over("--user", "bob"), "1 event to be applied again")
			s.settled(t)
			assert.Equal(t, 1, entitled("bob"), "twice is once")
			assert.Zero(t, s.stop(), s.log.String())
		})
	}
}

// What Stripe has and did not arrive is taken in once, and applied.
func TestReconcileWithStripe(t *testing.T) {
	const key = "rk_test_hunter2hunter2"
	var list []string
	status := http.StatusOK
	stripe := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "Bearer "+key, r.Header.Get("Authorization"))
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"object":"list","has_more":false,"data":[%s]}`, strings.Join(list, ","))
	}))
	defer stripe.Close()
	for kind, db := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			status = http.StatusOK
			inboxOf(t, db, stripeEvent(1, "alice", ""))
			reconcile := func(more ...string) (string, string, int) {
				return authhook(t, append([]string{"billing", "reconcile", "--database-url", db, "--stripe-api", stripe.URL, "--stripe-api-key", key}, more...)...)
			}
			list = []string{stripeEvent(3, "carol", `,"account":"acct_other"`), stripeEvent(2, "bob", ""), stripeEvent(2, "bob", ""), stripeEvent(1, "alice", "")}
			out, errOut, code := reconcile()
			require.Zero(t, code, errOut)
			assert.Regexp(t, `(?m)^Stripe has 4 events since \S+, of which 2 had not arrived$`, out)
			assert.Regexp(t, `(?m)^\d+ +\S+ +customer\.subscription\.updated +bob +applied +-$`, out)
			assert.Regexp(t, `(?m)^customer\.subscription\.updated +applied +1$`, out)
			assert.Regexp(t, `(?m)^event \d is left to a service`, out)
			assert.Regexp(t, `(?m)^stripe: 2 applied$`, out, "what waited before, too")

			again, errOut, code := reconcile("--since", "1h")
			require.Zero(t, code, errOut)
			assert.Contains(t, again, "4 events since")
			assert.Contains(t, again, "of which 0 had not arrived")
			assert.NotContains(t, again, "applied")

			status = http.StatusUnauthorized
			_, errOut, code = reconcile()
			assert.Equal(t, exitError, code)
			assert.Contains(t, errOut, "API key")
			assert.NotContains(t, out+again+errOut, "hunter2")
		})
	}
	for _, args := range [][]string{{}, {"--stripe-api-key", key, "--since", "-1h"}, {"--stripe-api-key", "a b"}, {"--stripe-api-key-file", "/nosuch"},
		{"--stripe-api-key", key, "--stripe-api", "http://stripe.example.com"}} {
		url := emptyDatabase(t)
		_, errOut, code := authhook(t, append([]string{"billing", "reconcile", "--database-url", url}, args...)...)
		assert.Equal(t, exitUsage, code, "%q", args)
		assert.NotContains(t, errOut, "hunter2")
		assert.NoFileExists(t, strings.TrimPrefix(url, "sqlite:"))
	}
}

// The bodies of old events are dropped, and the events stay.
func TestBodiesAreDropped(t *testing.T) {
	url := emptyDatabase(t)
	received := inboxOf(t, url, stripeEvent(1, "alice", ""), stripeEvent(2, "bob", ""))
	mustAuthhook(t, "billing", "events", "replay", "1", "--database-url", url)
	db, err := (&databaseFlags{DatabaseURL: url}).open(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var log bytes.Buffer
	text, flush := newLog(&log, "info", "text")
	keep := keptFor{sessions: time.Hour, events: shortestKeepEvents, previews: func() time.Duration { return time.Hour }}
	body := func(number int64) []byte {
		e, err := db.BillingEvent(t.Context(), number)
		require.NoError(t, err)
		return e.Body
	}
	prune(t.Context(), db, received.Add(shortestKeepEvents), keep, text)
	assert.NotNil(t, body(1), "a moment too soon")
	prune(t.Context(), db, received.Add(shortestKeepEvents+time.Hour), keep, text)
	flush()
	assert.Nil(t, body(1))
	_, errOut, code := authhook(t, "billing", "events", "replay", "1", "--database-url", url)
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errOut, "dropped")
	assert.Contains(t, log.String(), "bodies of billing events")
}

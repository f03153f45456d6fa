package custom_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/custom"
	"authhook/internal/billing/signature/sign"
)

// ours is a provider that sends Standard Webhooks, with what a test adds.
func ours(t testing.TB, fields string) billing.Provider {
	return parse(t, "billing.yaml", "providers: [{name: ours, type: /type, user: /user, "+fields+
		", events: {blocked: {is: user.changed, time: /at, status: {value: suspended}}}}]")[0]
}

const decoded = "secret_env: STANDARD, signature: {scheme: standard_webhooks}"

// Requests whose signatures were computed with another language's library.
func TestSigned(t *testing.T) {
	of := func(path string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(path)))
		require.NoError(t, err)
		return data
	}
	standard := func(text string) http.Header {
		return http.Header{"Webhook-Id": {"msg_2vVd8Jw0c5"}, "Webhook-Timestamp": {"1798142403"}, "Webhook-Signature": {"v1," + text}}
	}
	text := ours(t, "secret_env: WHOLE, signature: {scheme: standard_webhooks, secret_form: text}")
	for _, c := range []struct {
		name string
		p    billing.Provider
		body []byte
		h    http.Header
		// others is who must not take it: its secret is another, or the same in another form.
		others billing.Provider
	}{
		{"polar", examples(t)["polar"], of("polar/order.paid.json"), standard("Ed4mTrBz7qcy54e89Lk38uvXtVQX6l38loUb4jbPRFM="), text},
		{"older polar", text, of("polar/order.paid.json"), standard("zB/Rhq8Qs0q4zJmhy0IUvTavMj28gWP4omTUKqfBMAk="), ours(t, decoded)},
		{
			"recurly", preset(t, "recurly"), of("recurly/account.closed.json"),
			http.Header{"Recurly-Signature": {"1798142403000,f40899265ab1538f8094b1e24b40853b58602f9bb4078cd89813b378bca1a3df"}}, preset(t, "lago"),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, c.p.Verify(c.h, c.body, now))
			require.NoError(t, c.p.Verify(c.h, c.body, now.Add(5*time.Minute)))
			assert.ErrorIs(t, c.p.Verify(c.h, c.body, now.Add(5*time.Minute+time.Second)), billing.ErrSignature)
			assert.ErrorIs(t, c.p.Verify(c.h, c.body, now.Add(-6*time.Minute)), billing.ErrSignature)
			assert.ErrorIs(t, c.p.Verify(c.h, append(c.body[:len(c.body):len(c.body)], ' '), now), billing.ErrSignature)
			assert.ErrorIs(t, c.others.Verify(c.h, c.body, now), billing.ErrSignature)
		})
	}
}

// The text of a secret and what it stands for are two keys: neither form takes what the other signed.
func TestSecretForms(t *testing.T) {
	key, err := sign.StandardKey(standard)
	require.NoError(t, err)
	body := []byte(`{"type": "blocked"}`)
	byKey, byText := http.Header{}, http.Header{}
	sign.StandardWebhooks(byKey, "msg_1", body, now, key)
	sign.StandardWebhooks(byText, "msg_1", body, now, []byte(standard))
	for form, right := range map[string]http.Header{"": byKey, ", secret_form: decoded": byKey, ", secret_form: text": byText} {
		p := ours(t, "secret_env: STANDARD, signature: {scheme: standard_webhooks"+form+"}")
		for _, h := range []http.Header{byKey, byText} {
			assert.Equal(t, h.Get("webhook-signature") == right.Get("webhook-signature"), p.Verify(h, body, now) == nil, form)
		}
	}
}

// The id is the one that was signed, unless the configuration says where in the body one stands.
func TestStandardWebhooksID(t *testing.T) {
	header, inBody := ours(t, decoded), ours(t, decoded+", id: /id")
	body := []byte(`{"type": "blocked", "at": "2026-12-24T20:00:00Z", "id": "evt_1"}`)
	key, err := sign.StandardKey(standard)
	require.NoError(t, err)
	signed := http.Header{}
	sign.StandardWebhooks(signed, "msg_1", body, now, key)
	svix := http.Header{}
	for name, values := range signed {
		svix[strings.Replace(name, "Webhook-", "Svix-", 1)] = values
	}
	both := signed.Clone()
	both.Set("svix-id", "msg_2")
	for name, h := range map[string]http.Header{"signed": signed, "svix": svix, "both": both} {
		require.NoError(t, header.Verify(h, body, now), name)
		e, err := header.Envelope(h, body)
		require.NoError(t, err, name)
		assert.Equal(t, billing.Envelope{ID: "msg_1", Type: "blocked", At: now.Add(-3 * time.Second)}, e, name)
		e, err = inBody.Envelope(h, body)
		require.NoError(t, err, name)
		assert.Equal(t, "evt_1", e.ID, name)
	}
	for _, h := range []http.Header{nil, {"Webhook-Id": {"a", "b"}}, {"Webhook-Id": {"a.b"}}, {"Webhook-Timestamp": {"1"}, "Svix-Id": {"a"}}} {
		_, err := header.Envelope(h, body)
		assert.ErrorContains(t, err, "webhook-id")
		_, err = inBody.Envelope(h, body)
		assert.NoError(t, err)
	}
	e, err := inBody.Envelope(signed, []byte(`{"type": "blocked"}`))
	require.NoError(t, err)
	assert.Equal(t, billing.HashID([]byte(`{"type": "blocked"}`)), e.ID, "an id that is to stand in the body is none of the header's")
}

// The header's time, which is another in every retry, is only ever that of events that say none and have no records.
func TestStandardWebhooksTime(t *testing.T) {
	h := http.Header{"Webhook-Id": {"msg_1"}, "Webhook-Timestamp": {"1798142403"}}
	for _, c := range []struct {
		fields, body string
		want         time.Time
	}{
		{decoded, `{"type": "seen"}`, now},
		{decoded, `{"type": "seen", "at": "2026-12-24T20:00:00Z"}`, now},
		{decoded, `{"type": "blocked", "at": "2026-12-24T20:00:00Z"}`, now.Add(-3 * time.Second)},
		{decoded, `{"type": "blocked"}`, time.Time{}},
		{decoded + ", time: /when", `{"type": "seen", "when": "2026-12-24T20:00:01Z"}`, now.Add(-2 * time.Second)},
		{decoded + ", time: /when", `{"type": "seen"}`, time.Time{}},
		{"secret_env: SECRET, signature: {scheme: hmac, header: X}", `{"type": "seen"}`, time.Time{}},
	} {
		p := ours(t, c.fields)
		e, err := p.Envelope(h, []byte(c.body))
		require.NoError(t, err)
		assert.Equal(t, c.want, e.At, "%s %s", c.fields, c.body)
	}
	e, err := ours(t, decoded).Envelope(webhook, []byte(`{"type": "seen"}`))
	require.NoError(t, err)
	assert.Zero(t, e.At)
	_, err = ours(t, decoded).Records([]byte(`{"type": "blocked", "user": "user-42"}`))
	assert.EqualError(t, err, "time (/at) is missing")
}

// Two events of one subscription have one and the same field id: neither may pass for a retry of the other.
func TestRecurlyID(t *testing.T) {
	p := preset(t, "recurly")
	renewed, err := os.ReadFile("testdata/recurly/subscription.renewed.json")
	require.NoError(t, err)
	ids := map[string]bool{}
	for _, body := range []string{string(renewed), strings.Replace(string(renewed), "renewed", "expired", 1), strings.Replace(string(renewed), "20:00:00", "20:00:01", 1)} {
		e, err := p.Envelope(nil, []byte(body))
		require.NoError(t, err)
		ids[e.ID] = true
	}
	assert.Len(t, ids, 3)
}

// All places of a type are needed, each with a part of it.
func TestJoint(t *testing.T) {
	p := ours(t, decoded)
	_, err := p.Records([]byte(`{"type": ""}`))
	require.EqualError(t, err, "type (/type) is missing")
	joined := parse(t, "billing.yaml", `providers: [{name: ours, secret_env: SECRET, signature: {scheme: hmac, header: X}, time: /at,
		type: {at: [/a, /b], joint: "/", words: {user/5: left}}, events: {left: {is: user.changed, user: /u, status: {value: suspended}}}}]`)[0]
	for body, want := range map[string]string{
		`{"a": "user", "b": 5}`:             "left",
		`{"a": "user", "b": "5"}`:           "left",
		`{"a": "user", "b": "6"}`:           `type (/a and /b) is "user/6", which is none of its words: user/5`,
		`{"a": "user"}`:                     "type (/a and /b) is missing",
		`{"b": "5"}`:                        "type (/a and /b) is missing",
		`{"a": "", "b": "5"}`:               "type (/a and /b) is missing",
		`{"a": null, "b": "5"}`:             "type (/a and /b) is missing",
		`{"a": "user", "b": []}`:            "type (/a and /b) is a list, which is none of its words: user/5",
		`{"a": {"a": "user"}, "b": "5"}`:    "type (/a and /b) is an object, which is none of its words: user/5",
		`{"a": "user", "b": true}`:          "type (/a and /b) is true, which is none of its words: user/5",
		`{"a": "user", "b": 5.5}`:           "type (/a and /b) is 5.5, which is none of its words: user/5",
		`{"a": "user", "b": 5, "u": "u-1"}`: "left",
	} {
		e, err := joined.Envelope(nil, []byte(body))
		if err != nil {
			e.Type = err.Error()
		}
		assert.Equal(t, want, e.Type, body)
	}
}

// A preset without events says so, and what to do; one event is enough, and what else it holds can still be replaced.
func TestRecurlyNeedsEvents(t *testing.T) {
	for _, fields := range []string{"", ", events: {}", ", ignore: [account.closed]"} {
		_, err := custom.Parse("billing.yaml", []byte("providers: [{name: r, preset: recurly, secret_env: SECRET"+fields+"}]"), custom.WithEnv(environment))
		assert.ErrorContains(t, err, "has no events, and the preset recurly brings none: Recurly's webhooks in JSON hold ids", fields)
		assert.ErrorContains(t, err, "/billing/events", fields)
	}
	p := parse(t, "billing.yaml", "providers: [{name: r, preset: recurly, type: /event_type, "+besides("recurly")+"}]")[0]
	e, err := p.Envelope(nil, []byte(`{"object_type": "account", "event_type": "closed"}`))
	require.NoError(t, err)
	assert.Equal(t, "closed", e.Type)
}

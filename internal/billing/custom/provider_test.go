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
	"authhook/internal/billing/events/eventtest"
	"authhook/internal/billing/signature"
	"authhook/internal/billing/signature/sign"
)

const (
	secret = "a secret of the provider's"
	login  = "authhook:a password of the operator's"
	// standard is a secret of Standard Webhooks, and whole one whose text is the key.
	standard = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	whole    = "polar_whs_0123456789abcdefghijklmnop"
)

var now = time.Date(2026, 12, 24, 20, 0, 3, 0, time.UTC)

func environment(name string) string {
	return map[string]string{
		"SECRET": secret, "LOGIN": login, "STANDARD": standard, "WHOLE": whole, "LEMONSQUEEZY_SECRET": secret, "POLAR_SECRET": standard,
	}[name]
}

func files(path string) ([]byte, error) {
	if filepath.Base(path) == "shop.secret" {
		return []byte(secret + "\n"), nil
	}
	return nil, os.ErrNotExist
}

func parse(t testing.TB, name, config string) []billing.Provider {
	t.Helper()
	list, err := custom.Parse(name, []byte(config), custom.WithEnv(environment), custom.WithReadFile(files))
	require.NoError(t, err)
	return list
}

// besides is what a preset needs beside it.
func besides(name string) string {
	switch name {
	case "chargebee":
		return "secret_env: LOGIN"
	case "recurly":
		return "secret_env: SECRET, events: {account.closed: {is: user.changed, user: /account_code, status: {value: suspended}}}"
	}
	return "secret_env: SECRET"
}

// preset is a provider that is nothing but its preset, and what that needs.
func preset(t testing.TB, name string) billing.Provider {
	return parse(t, "billing.yaml", "providers: [{name: "+name+", preset: "+name+", "+besides(name)+"}]")[0]
}

// examples are the providers of the example.
func examples(t testing.TB) map[string]billing.Provider {
	path := filepath.Join("..", "..", "..", "examples", "billing.yaml")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	list := parse(t, path, string(data))
	require.Len(t, list, 3)
	assert.Equal(t, "lemonsqueezy", list[0].Name())
	assert.Equal(t, "shop", list[1].Name())
	assert.Equal(t, "polar", list[2].Name())
	return map[string]billing.Provider{"shop": list[1], "polar": list[2]}
}

// webhook is what senders of Standard Webhooks name an event with; others have no use for it.
var webhook = http.Header{"Webhook-Id": {"msg_1"}}

// samples are what the tests read, by the directory in testdata.
func samples(t testing.TB) map[string]billing.Provider {
	all := examples(t)
	for _, name := range custom.Presets() {
		all[name] = preset(t, name)
	}
	return all
}

func TestRecords(t *testing.T) {
	for dir, p := range samples(t) {
		t.Run(dir, func(t *testing.T) { eventtest.Reads(t, p, webhook, filepath.Join("testdata", dir)) })
	}
}

func TestFaults(t *testing.T) {
	eventtest.Faults(t, examples(t)["shop"], nil, filepath.Join("testdata", "shop"), "order.paid", "member.changed", "chargeback.closed")
	eventtest.Faults(t, preset(t, "recurly"), nil, filepath.Join("testdata", "recurly"), "account.closed")
}

// Every preset verifies what its provider signs, in the provider's own way, and nothing else.
func TestVerify(t *testing.T) {
	for dir, signs := range map[string]func(h http.Header, body []byte){
		"lemonsqueezy": func(h http.Header, body []byte) {
			sign.HMAC(h, signature.HMAC{Header: "X-Signature"}, body, now, secret)
		},
		"btcpay": func(h http.Header, body []byte) {
			sign.HMAC(h, signature.HMAC{Header: "BTCPay-Sig", Prefix: "sha256="}, body, now, secret)
		},
		"lago": func(h http.Header, body []byte) {
			sign.HMAC(h, signature.HMAC{Header: "X-Lago-Signature", Encoding: signature.Base64}, body, now, secret)
		},
		"recurly": func(h http.Header, body []byte) {
			sign.HMAC(h, signature.HMAC{Header: "recurly-signature", Signed: signature.TimeAheadAndBody, Milliseconds: true}, body, now, "another secret, of before", secret)
		},
		"polar": func(h http.Header, body []byte) {
			key, err := sign.StandardKey(standard)
			require.NoError(t, err)
			sign.StandardWebhooks(h, "msg_1", body, now, key)
		},
		"revenuecat": func(h http.Header, _ []byte) { h.Set("Authorization", secret) },
		"chargebee": func(h http.Header, _ []byte) {
			user, password, _ := strings.Cut(login, ":")
			r := http.Request{Header: h}
			r.SetBasicAuth(user, password)
		},
		"shop": func(h http.Header, body []byte) {
			sign.HMAC(h, signature.HMAC{
				Header: "X-Shop-Signature", Prefix: "sha256=", Signed: signature.TimeHeaderAndBody, TimeHeader: "X-Shop-Time",
			}, body, now, secret)
		},
	} {
		p := samples(t)[dir]
		for name, body := range eventtest.Samples(t, filepath.Join("testdata", dir)) {
			h := http.Header{}
			signs(h, body)
			require.NoError(t, p.Verify(h, body, now), "%s %s", dir, name)
			assert.ErrorIs(t, p.Verify(http.Header{}, body, now), billing.ErrSignature, dir)
			wrong := http.Header{}
			for header, values := range h {
				wrong[header] = []string{"x" + values[0]}
			}
			assert.ErrorIs(t, p.Verify(wrong, body, now), billing.ErrSignature, dir)
			if dir != "revenuecat" && dir != "chargebee" {
				assert.ErrorIs(t, p.Verify(h, append(body, ' '), now), billing.ErrSignature, dir)
			}
			if dir == "shop" || dir == "recurly" || dir == "polar" {
				assert.ErrorIs(t, p.Verify(h, body, now.Add(6*time.Minute)), billing.ErrSignature, dir)
			}
		}
	}
}

// Each preset, copied into the operator's own file, is the same.
func TestPresetsCanBeCopied(t *testing.T) {
	for _, name := range custom.Presets() {
		text := string(custom.Preset(name))
		assert.True(t, strings.HasPrefix(text, "# "), "it says what it rests on")
		own := strings.ReplaceAll(besides(name), ", events:", "\n    events:")
		config := "providers:\n  - name: " + name + "\n    " + own + "\n    " + strings.ReplaceAll(text, "\n", "\n    ")
		original, copied := preset(t, name), parse(t, "copy.yaml", config)[0]
		for _, data := range eventtest.Samples(t, filepath.Join("testdata", name)) {
			assert.Equal(t, eventtest.Text(t, original, nil, data), eventtest.Text(t, copied, nil, data))
		}
	}
	assert.Nil(t, custom.Preset("../presets/lago"))
	assert.Nil(t, custom.Preset(""))
}

// What stands beside a preset takes the place of what it says, wherever in the mapping the preset is named.
func TestBesidePreset(t *testing.T) {
	for _, config := range []string{
		"{name: shop, preset: lemonsqueezy, secret_env: SECRET, user: /meta/custom_data/member, ignore: [order_created]}",
		"{ignore: [order_created], user: /meta/custom_data/member, name: shop, secret_env: SECRET, preset: lemonsqueezy}",
	} {
		p := parse(t, "billing.yaml", "providers: ["+config+"]")[0]
		all := eventtest.Samples(t, filepath.Join("testdata", "lemonsqueezy"))
		_, err := p.Records(all["order_created"])
		assert.EqualError(t, err, `events of the type "order_created" are to be ignored`)
		records, err := p.Records([]byte(strings.ReplaceAll(string(all["subscription_created"]), `"user_id"`, `"member"`)))
		require.NoError(t, err)
		assert.Equal(t, "user-42", records[0].User.Value)
	}
}

func FuzzRecords(f *testing.F) {
	all := samples(f)
	for dir := range all {
		for _, data := range eventtest.Samples(f, filepath.Join("testdata", dir)) {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, p := range all {
			e, err := p.Envelope(webhook, data)
			assert.True(t, err != nil || e.ID != "" && e.Type != "")
			if records, err := p.Records(data); err == nil {
				eventtest.Records(t, records)
			} else {
				assert.Empty(t, records)
			}
		}
	})
}

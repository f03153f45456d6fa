package signature_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/billing/signature"
	"authhook/internal/billing/signature/sign"
)

// at is when the requests of the tests were signed, and now when they come in, unless a test says otherwise.
var (
	at  = time.Unix(1_700_000_000, 0).UTC()
	now = at.Add(2 * time.Second)
)

// Three secrets of each kind.
var (
	texts = []string{"whsec_test_secret", "pdl_ntfset_0123456789abcdef", "It's a Secret to Everybody"}
	keys  = []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODw==", "whsec_+/+/+/+/+/+/+/+/+/+/+w"}
	users = []string{"chargebee:0123456789abcdef", "chargebee:correct horse battery", "other:a:b:c:d:e:f:g:h:i"}
)

// scheme is one way to sign, with a side that signs and one that verifies.
type scheme struct {
	name    string
	secrets []string
	parse   func(list string) (signature.Secrets, error)
	// sign sets the headers of a request with a signature of every secret. Schemes that cannot carry several take one.
	sign    func(h http.Header, body []byte, at time.Time, secrets ...string)
	verify  func(h http.Header, body []byte, s signature.Secrets, now time.Time) error
	headers []string // that it reads
	timed   bool
	unit    time.Duration
	// unsigned: the body and the time are not covered.
	unsigned bool
	// anyCase: these letters may be in either case.
	anyCase string
	// repeats: the signature's header may be given several times.
	repeats bool
}

func hmacScheme(name string, settings signature.HMAC) scheme {
	s := scheme{
		name: name, secrets: texts, parse: signature.ParseSecrets, headers: []string{settings.Header},
		sign: func(h http.Header, body []byte, at time.Time, secrets ...string) {
			sign.HMAC(h, settings, body, at, secrets...)
		},
		verify:  settings.Verify,
		timed:   settings.Signed != signature.Body && settings.Signed != "",
		unit:    time.Second,
		repeats: settings.Signed != signature.TimeAheadAndBody,
	}
	if settings.TimeHeader != "" {
		s.headers = append(s.headers, settings.TimeHeader)
	}
	if settings.Milliseconds {
		s.unit = time.Millisecond
	}
	if settings.Encoding != signature.Base64 {
		s.anyCase = "abcdef"
	}
	return s
}

// providers are the settings that the documentation of [signature.HMAC] names, and what else they can say.
var providers = map[string]signature.HMAC{
	"lemon squeezy": {Header: "X-Signature"},
	"btcpay":        {Header: "BTCPay-Sig", Prefix: "sha256="},
	"mollie":        {Header: "X-Mollie-Signature", Prefix: "sha256="},
	"lago":          {Header: "X-Lago-Signature", Encoding: signature.Base64},
	"recurly":       {Header: "recurly-signature", Signed: signature.TimeAheadAndBody, Milliseconds: true},
	"time header": {
		Header: "X-Sig", TimeHeader: "X-Time", Signed: signature.TimeHeaderAndBody, Hash: signature.SHA512,
		Encoding: signature.Base64, Prefix: "v1=",
	},
	"sha512": {Header: "X-Sig", Hash: signature.SHA512},
}

func schemes(t testing.TB) []scheme {
	standard := func(whole bool) scheme {
		return scheme{
			secrets: keys,
			parse:   func(list string) (signature.Secrets, error) { return signature.ParseStandardSecrets(list, whole) },
			sign: func(h http.Header, body []byte, at time.Time, secrets ...string) {
				var k [][]byte
				for _, s := range secrets {
					key := []byte(s)
					if !whole {
						var err error
						key, err = sign.StandardKey(s)
						require.NoError(t, err)
					}
					k = append(k, key)
				}
				sign.StandardWebhooks(h, "msg_1", body, at, k...)
			},
			verify: func(h http.Header, body []byte, s signature.Secrets, now time.Time) error {
				id, at, err := signature.StandardWebhooks(h, body, s, now)
				if (err == nil) != (id != "" && !at.IsZero()) {
					t.Errorf("id %q, time %v, error %v", id, at, err)
				}
				return err
			},
			headers: []string{"webhook-id", "webhook-timestamp", "webhook-signature"},
			timed:   true, unit: time.Second,
		}
	}
	list := []scheme{
		{
			name: "stripe", secrets: texts, parse: signature.ParseSecrets, sign: sign.Stripe, verify: signature.Stripe,
			headers: []string{"Stripe-Signature"}, timed: true, unit: time.Second,
		},
		{
			name: "paddle", secrets: texts, parse: signature.ParseSecrets, sign: sign.Paddle, verify: signature.Paddle,
			headers: []string{"Paddle-Signature"}, timed: true, unit: time.Second,
		},
		{
			name: "static", secrets: texts, parse: signature.ParseSecrets,
			sign: func(h http.Header, _ []byte, _ time.Time, secrets ...string) {
				h.Set("Authorization", secrets[0])
			},
			verify: func(h http.Header, _ []byte, s signature.Secrets, _ time.Time) error {
				return signature.Static(h, "authorization", s)
			},
			headers: []string{"Authorization"}, unsigned: true,
		},
		{
			name: "basic", secrets: users, parse: signature.ParseLogins,
			sign: func(h http.Header, _ []byte, _ time.Time, secrets ...string) {
				r := http.Request{Header: h}
				user, password, _ := strings.Cut(secrets[0], ":")
				r.SetBasicAuth(user, password)
			},
			verify: func(h http.Header, _ []byte, s signature.Secrets, _ time.Time) error {
				return signature.Basic(h, s)
			},
			headers: []string{"Authorization"}, unsigned: true, anyCase: "basicBASIC ",
		},
	}
	for name, settings := range providers {
		require.NoError(t, settings.Check(), name)
		list = append(list, hmacScheme(name, settings))
	}
	for _, whole := range []bool{false, true} {
		s := standard(whole)
		s.name = map[bool]string{false: "standard webhooks", true: "standard webhooks, whole text"}[whole]
		list = append(list, s)
	}
	return list
}

// each runs a test for every scheme.
func each(t *testing.T, test func(t *testing.T, s scheme)) {
	for _, s := range schemes(t) {
		t.Run(s.name, func(t *testing.T) { test(t, s) })
	}
}

// known parses secrets that are in order.
func (s scheme) known(t testing.TB, secrets ...string) signature.Secrets {
	known, err := s.parse(strings.Join(secrets, ","))
	require.NoError(t, err)
	return known
}

// signed is a request's headers, signed with the secrets.
func (s scheme) signed(body []byte, at time.Time, secrets ...string) http.Header {
	h := http.Header{}
	s.sign(h, body, at, secrets...)
	return h
}

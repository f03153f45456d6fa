package signature_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing/signature"
	"authhook/internal/billing/signature/sign"
)

func parsed(t testing.TB, list string) signature.Secrets {
	s, err := signature.ParseSecrets(list)
	require.NoError(t, err)
	return s
}

// Signatures from elsewhere: Stripe's was checked with its own library, Coinify's and GitHub's are published; the others
// were computed with another language's libraries.
func TestVectors(t *testing.T) {
	recurly := providers["recurly"]
	for _, c := range []struct {
		name, header, value, secret, body string
		verify                            func(http.Header, []byte, signature.Secrets, time.Time) error
		at                                time.Time
	}{
		{
			"stripe", "Stripe-Signature", "t=1492774577,v1=22f7d74836ddad3284a2b80853dd2fe731655c1bfddcff3c3666a500cf3abd80",
			"whsec_test_secret", `{"id":"evt_test"}`, signature.Stripe, time.Unix(1492774577, 0),
		},
		{
			"paddle", "Paddle-Signature", "ts=1671552777;h1=6d70a4ce476507aef3d2e13c8c0b3721421d42d8714b071f32846d656960f7d3",
			"pdl_ntfset_0123456789abcdef", `{"event_id":"evt_1"}`, signature.Paddle, time.Unix(1671552777, 0),
		},
		{
			"recurly", "recurly-signature", "1659641851000,e24c50ec8b85dd1f3ebea6720e6ec8dfe1aa84a33db51ae13cfb3a381f8b6a05",
			"0123456789abcdef0123456789abcdef", `{"id":"r1"}`, recurly.Verify, time.UnixMilli(1659641851000),
		},
		{
			"coinify", "X-Coinify-Webhook-Signature", "bcdbb89e3031905f3cc1a20d16b5f969a17a7d8fa0c26e4a807c2193402d66f4",
			"my-shared-secret", `{"examplePayload":true}`, signature.HMAC{Header: "x-coinify-webhook-signature"}.Verify, time.Time{},
		},
		{
			"github", "X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
			"It's a Secret to Everybody", "Hello, World!",
			signature.HMAC{Header: "X-Hub-Signature-256", Prefix: "sha256="}.Verify, time.Time{},
		},
		{
			"lago", "X-Lago-Signature", "1CAH6N+pEQmAEnEudIPSOhVZWosm5/mdEgiAoby1cQA=",
			"0123456789abcdef0123456789abcdef", `{"id":"r1"}`, providers["lago"].Verify, time.Time{},
		},
		{
			"sha512", "X-Sig",
			"9c4515c9059a7404d6561dc62e0d1e323cf27c5beb78b067ca8bc589ab4e7bd5012a71893aa592ef1a5f750e6e8fa78f390f4a3e6da96d69aff76fd26680a027",
			"0123456789abcdef0123456789abcdef", `{"id":"r1"}`, providers["sha512"].Verify, time.Time{},
		},
	} {
		h := http.Header{}
		h.Set(c.header, c.value)
		assert.NoError(t, c.verify(h, []byte(c.body), parsed(t, c.secret), c.at), c.name)
		assert.ErrorIs(t, c.verify(h, []byte(c.body+" "), parsed(t, c.secret), c.at), signature.ErrSignature, c.name)
		assert.ErrorIs(t, c.verify(h, []byte(c.body), parsed(t, c.secret+"x"), c.at), signature.ErrSignature, c.name)
	}
}

// list is a header's value that is good or not, with $ for the signature that is right, @ for its time, and $$ for it in
// another case.
func lists(t *testing.T, cases map[string]bool, right, stamp string, verify func(value string) error) {
	for pattern, good := range cases {
		value := strings.NewReplacer("$$", strings.ToUpper(right), "$", right, "@", stamp).Replace(pattern)
		err := verify(value)
		if good {
			assert.NoError(t, err, "%.120q", pattern)
		} else {
			assert.ErrorIs(t, err, signature.ErrSignature, "%.120q", pattern)
		}
	}
}

func TestStripeHeader(t *testing.T) {
	stamp := digitsOf(at, time.Second)
	lists(t, map[string]bool{
		"t=@,v1=$":             true,
		"v1=$,t=@":             true,
		"t=@,v1=$,v1=00":       true,
		"t=@,v1=00,v1=$":       true,
		"t=@,v0=00,v1=$,v2=00": true,
		"t=@,v1=,v1=$":         true,
		"t=@,v1=$,x=a=b":       true,
		"t=@,v0=$":             false,
		"t=@,v2=$":             false,
		"t=@,V1=$":             false,
		"T=@,v1=$":             false,
		"t=@,v1=$$":            false, // Stripe writes lowercase
		"t=@, v1=$":            false,
		"t=@,v1= $":            false,
		"t=@,v1=$,":            false,
		",t=@,v1=$":            false,
		"t=@,v1=$,v1":          false,
		"t=@;v1=$":             false,
		"t=@,t=@,v1=$":         false,
		"t=,t=@,v1=$":          false,
		"t=@,t=,v1=$":          false,
		"t=1,t=@,v1=$":         false,
		"v1=$":                 false,
		"t=@":                  false,
		"t=@,v1=":              false,
		"t=@,v1==$":            false,
		"@,$":                  false,
		"$":                    false,
	}, hexOf(texts[0], stamp+".{}"), stamp, func(value string) error {
		return signature.Stripe(http.Header{"Stripe-Signature": {value}}, []byte("{}"), parsed(t, texts[0]), now)
	})
}

func TestPaddleHeader(t *testing.T) {
	stamp := digitsOf(at, time.Second)
	lists(t, map[string]bool{
		"ts=@;h1=$":       true,
		"h1=$;ts=@":       true,
		"ts=@;h1=00;h1=$": true,
		"ts=@;h2=00;h1=$": true,
		"ts=@;h1=$$":      false, // Paddle writes lowercase
		"ts=@,h1=$":       false,
		"t=@;v1=$":        false,
		"ts=@; h1=$":      false,
		"ts=@;ts=@;h1=$":  false,
		"ts=@;h1=$;":      false,
		"ts=@;h2=$":       false,
		"h1=$":            false,
		"ts=@":            false,
	}, hexOf(texts[1], stamp+":{}"), stamp, func(value string) error {
		return signature.Paddle(http.Header{"Paddle-Signature": {value}}, []byte("{}"), parsed(t, texts[1]), now)
	})
	// Paddle's joint is not Stripe's.
	h := http.Header{"Paddle-Signature": {"ts=" + stamp + ";h1=" + hexOf(texts[1], stamp+".{}")}}
	assert.ErrorIs(t, signature.Paddle(h, []byte("{}"), parsed(t, texts[1]), now), signature.ErrSignature)
}

func TestHMACHeader(t *testing.T) {
	known := parsed(t, texts[0])
	body := []byte("{}")
	lists(t, map[string]bool{
		"sha256=$": true, "sha256=$$": true, "sha256=00,sha256=$": true, "sha256=$, sha256=00": true, "sha1=00,sha256=$": true,
		"sha256=$,": true,
		"$":         false, "sha1=$": false, "SHA256=$": false, "sha256=": false, "sha256= $": false, "sha256=sha256=$": false, "00,$": false,
	}, hexOf(texts[0], "{}"), "", func(value string) error {
		return providers["btcpay"].Verify(http.Header{"Btcpay-Sig": {value}}, body, known, now)
	})

	stamp := digitsOf(at, time.Millisecond)
	lists(t, map[string]bool{
		"@,$": true, "@,$$": true, "@,00,$": true, "@,$,00": true, "@, $": true,
		"$,@": false, "$": false, "@": false, "@,": false, ",$": false, ",@,$": false, "@,@": false, " @,$": false, "@ ,$": false, "@.$": false,
		stamp[:10] + ",$": false,
	}, hexOf(texts[0], stamp+".{}"), stamp, func(value string) error {
		return providers["recurly"].Verify(http.Header{"Recurly-Signature": {value}}, body, known, now)
	})

	h := http.Header{}
	sign.HMAC(h, providers["lago"], body, at, texts[0])
	right := h.Get("X-Lago-Signature")
	bare := strings.TrimRight(right, "=")
	lists(t, map[string]bool{
		"$": true, bare: true, "AAAA,$": true, bare + ",AAAA": true,
		bare + "==": false, right + "=": false, strings.ToLower(right): false, right[:9] + "\n" + right[9:]: false,
	}, right, "", func(value string) error {
		return providers["lago"].Verify(http.Header{"X-Lago-Signature": {value}}, body, known, now)
	})

	// A repeated header is a list, whose length is bounded as a whole.
	right = "sha256=" + hexOf(texts[0], "{}")
	mollie := providers["mollie"]
	for _, values := range [][]string{{right, "sha256=00"}, {"sha256=00", right}} {
		assert.NoError(t, mollie.Verify(http.Header{"X-Mollie-Signature": values}, body, known, now))
	}
	many := append(make([]string, 5000), right)
	assert.ErrorIs(t, mollie.Verify(http.Header{"X-Mollie-Signature": many}, body, known, now), signature.ErrSignature)
	many = nil
	for range 17 {
		many = append(many, right)
	}
	assert.ErrorIs(t, mollie.Verify(http.Header{"X-Mollie-Signature": many}, body, known, now), signature.ErrSignature)
	assert.NoError(t, mollie.Verify(http.Header{"X-Mollie-Signature": many[1:]}, body, known, now))
}

func TestHMACTolerance(t *testing.T) {
	for _, settings := range []signature.HMAC{
		{Header: "X-Sig", Signed: signature.TimeAheadAndBody, Tolerance: time.Second},
		{Header: "X-Sig", Signed: signature.TimeAheadAndBody, Tolerance: time.Millisecond, Milliseconds: true},
		{Header: "X-Sig", Signed: signature.TimeHeaderAndBody, TimeHeader: "X-Time", Tolerance: 24 * time.Hour},
	} {
		require.NoError(t, settings.Check())
		h := http.Header{}
		sign.HMAC(h, settings, nil, at, texts[0])
		known := parsed(t, texts[0])
		for _, side := range []time.Duration{1, -1} {
			assert.NoError(t, settings.Verify(h, nil, known, at.Add(side*settings.Tolerance)))
			assert.ErrorIs(t, settings.Verify(h, nil, known, at.Add(side*(settings.Tolerance+1))), signature.ErrSignature)
		}
	}
}

// Settings with a fault say which, and verify nothing, however right the signature would be.
func TestHMACFaults(t *testing.T) {
	const (
		noHeader = "header: name the header that holds the signature"
		noTime   = "milliseconds, tolerance: no time is signed, so none is checked: remove them or correct signed"
		tooLong  = "tolerance: write a time up to 24h0m0s, or none for 5m0s"
		prefix   = "prefix: a comma, or a space at an end of it, cannot be told from what stands between signatures: leave it out"
		unread   = "time_header: it is read only where signed is header.body: remove one or correct the other"
	)
	for _, c := range []struct {
		settings signature.HMAC
		err      string
	}{
		{signature.HMAC{}, noHeader},
		{signature.HMAC{Header: "X Sig"}, noHeader},
		{signature.HMAC{Header: "X-Sig:"}, noHeader},
		{signature.HMAC{Header: "X-Süg"}, noHeader},
		{signature.HMAC{Header: strings.Repeat("a", 257)}, noHeader},
		{signature.HMAC{Header: "X-Sig", Prefix: "a,b"}, prefix},
		{signature.HMAC{Header: "X-Sig", Prefix: "a "}, prefix},
		{signature.HMAC{Header: "X-Sig", Encoding: "HEX"}, "encoding: write hex or base64"},
		{signature.HMAC{Header: "X-Sig", Hash: "sha1"}, "hash: write sha256 or sha512"},
		{signature.HMAC{Header: "X-Sig", Signed: "url"}, "signed: write body, time.body or header.body"},
		{signature.HMAC{Header: "X-Sig", Signed: signature.TimeHeaderAndBody}, "time_header: name the header that holds the time"},
		{
			signature.HMAC{Header: "X-Sig", Signed: signature.TimeHeaderAndBody, TimeHeader: "x-sig"},
			"time_header: it is the signature's own: name another, or have signed be time.body",
		},
		{signature.HMAC{Header: "X-Sig", TimeHeader: "X-Time"}, unread},
		{signature.HMAC{Header: "X-Sig", Signed: signature.TimeAheadAndBody, TimeHeader: "X-Time"}, unread},
		{signature.HMAC{Header: "X-Sig", Milliseconds: true}, noTime},
		{signature.HMAC{Header: "X-Sig", Signed: signature.Body, Tolerance: time.Minute}, noTime},
		{signature.HMAC{Header: "X-Sig", Signed: signature.TimeAheadAndBody, Tolerance: -1}, tooLong},
		{signature.HMAC{Header: "X-Sig", Signed: signature.TimeAheadAndBody, Tolerance: 24*time.Hour + 1}, tooLong},
	} {
		assert.EqualError(t, c.settings.Check(), c.err, "%+v", c.settings)
		for _, value := range []string{"", hexOf(texts[0], "{}"), digitsOf(at, time.Second) + "," + hexOf(texts[0], digitsOf(at, time.Second)+".{}")} {
			h := http.Header{}
			h.Set(c.settings.Header, c.settings.Prefix+value)
			err := c.settings.Verify(h, []byte("{}"), parsed(t, texts[0]), now)
			assert.ErrorIs(t, err, signature.ErrSignature, "%+v", c.settings)
		}
	}
}

func TestStaticHeader(t *testing.T) {
	known := parsed(t, "Bearer 0123456789, fedcba9876543210")
	for value, good := range map[string]bool{
		"Bearer 0123456789": true, "fedcba9876543210": true,
		"": false, "Bearer": false, "bearer 0123456789": false, "0123456789": false, "Bearer 012345678": false, "Bearer 01234567890": false,
		"Bearer 0123456789, fedcba9876543210": false, " fedcba9876543210": false, "Bearer fedcba9876543210": false, "FEDCBA9876543210": false,
	} {
		err := signature.Static(http.Header{"X-Key": {value}}, "x-key", known)
		if good {
			assert.NoError(t, err, value)
		} else {
			assert.ErrorIs(t, err, signature.ErrSignature, value)
		}
	}
	assert.ErrorIs(t, signature.Static(http.Header{"": {"fedcba9876543210"}}, "X-Key", known), signature.ErrSignature)
}

func TestBasicHeader(t *testing.T) {
	known, err := signature.ParseLogins("chargebee:0123456789abcdef,o:with:colons:and:more")
	require.NoError(t, err)
	for value, good := range map[string]bool{
		"Basic Y2hhcmdlYmVlOjAxMjM0NTY3ODlhYmNkZWY=":  true,
		"basic Y2hhcmdlYmVlOjAxMjM0NTY3ODlhYmNkZWY=":  true,
		"Basic bzp3aXRoOmNvbG9uczphbmQ6bW9yZQ==":      true,
		"Basic  Y2hhcmdlYmVlOjAxMjM0NTY3ODlhYmNkZWY":  false,
		"Basic Y2hhcmdlYmVlOjAxMjM0NTY3ODlhYmNkZWY":   false,
		"Y2hhcmdlYmVlOjAxMjM0NTY3ODlhYmNkZWY=":        false,
		"Bearer Y2hhcmdlYmVlOjAxMjM0NTY3ODlhYmNkZWY=": false,
		"Basic chargebee:0123456789abcdef":            false,
		"Basic Y2hhcmdlYmVlOg==":                      false, // no password
		"Basic OjAxMjM0NTY3ODlhYmNkZWY=":              false, // no user
		"Basic ":                                      false,
		"Basic":                                       false,
		"":                                            false,
	} {
		err := signature.Basic(http.Header{"Authorization": {value}}, known)
		if good {
			assert.NoError(t, err, value)
		} else {
			assert.ErrorIs(t, err, signature.ErrSignature, value)
		}
	}
}

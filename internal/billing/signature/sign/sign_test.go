package sign_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing/signature"
	"authhook/internal/billing/signature/sign"
)

// The headers to the letter: two signatures each, one of the vectors' among them. The rest was computed with another
// language's library.
func TestHeaders(t *testing.T) {
	h := http.Header{}
	sign.Stripe(h, []byte(`{"id":"evt_test"}`), time.Unix(1492774577, 0), "whsec_test_secret", "whsec_test_secret")
	const stripe = "22f7d74836ddad3284a2b80853dd2fe731655c1bfddcff3c3666a500cf3abd80"
	assert.Equal(t, "t=1492774577,v1="+stripe+",v1="+stripe, h.Get("Stripe-Signature"))

	const paddle = "6d70a4ce476507aef3d2e13c8c0b3721421d42d8714b071f32846d656960f7d3"
	sign.Paddle(h, []byte(`{"event_id":"evt_1"}`), time.Unix(1671552777, 0), "pdl_ntfset_0123456789abcdef", "pdl_ntfset_0123456789abcdef")
	assert.Equal(t, "ts=1671552777;h1="+paddle+";h1="+paddle, h.Get("Paddle-Signature"))

	key, err := sign.StandardKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	const standard = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	sign.StandardWebhooks(h, "msg_p5jXN8AQM9LWM0D4loKWxJek", []byte(`{"test": 2432232314}`), time.Unix(1614265330, 0), key, key)
	assert.Equal(t, "msg_p5jXN8AQM9LWM0D4loKWxJek", h.Get("webhook-id"))
	assert.Equal(t, "1614265330", h.Get("webhook-timestamp"))
	assert.Equal(t, standard+" "+standard, h.Get("webhook-signature"))

	const secret, body = "0123456789abcdef0123456789abcdef", `{"id":"r1"}`
	const recurly = "e24c50ec8b85dd1f3ebea6720e6ec8dfe1aa84a33db51ae13cfb3a381f8b6a05"
	settings := signature.HMAC{Header: "recurly-signature", Signed: signature.TimeAheadAndBody, Milliseconds: true}
	sign.HMAC(h, settings, []byte(body), time.UnixMilli(1659641851000), secret, secret)
	assert.Equal(t, "1659641851000,"+recurly+","+recurly, h.Get("Recurly-Signature"))

	settings = signature.HMAC{Header: "X-Sig", Signed: signature.TimeHeaderAndBody, TimeHeader: "X-Time", Milliseconds: true, Prefix: "v1="}
	sign.HMAC(h, settings, []byte(body), time.UnixMilli(1659641851000), secret)
	assert.Equal(t, "1659641851000", h.Get("X-Time"))
	assert.Equal(t, "v1="+recurly, h.Get("X-Sig"))

	sign.HMAC(h, signature.HMAC{Header: "X-Sig", Encoding: signature.Base64}, []byte(body), time.Time{}, secret)
	assert.Equal(t, "1CAH6N+pEQmAEnEudIPSOhVZWosm5/mdEgiAoby1cQA=", h.Get("X-Sig"))

	sign.HMAC(h, signature.HMAC{Header: "X-Sig", Hash: signature.SHA512}, []byte(body), time.Time{}, secret)
	assert.Equal(t, "9c4515c9059a7404d6561dc62e0d1e323cf27c5beb78b067ca8bc589ab4e7bd5"+
		"012a71893aa592ef1a5f750e6e8fa78f390f4a3e6da96d69aff76fd26680a027", h.Get("X-Sig"))
}

func TestStandardKey(t *testing.T) {
	for _, secret := range []string{"", "whsec", "AAECAwQFBgcICQoLDA0ODw==", "whsec_AAECAwQFBgcICQoLDA0O_w==", "whsec_a b"} {
		_, err := sign.StandardKey(secret)
		assert.Error(t, err, secret)
	}
}

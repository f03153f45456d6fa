package signature_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/billing/signature"
	"authhook/internal/billing/signature/sign"
)

// mac is an HMAC, computed beside all code of ours.
func mac(newHash func() hash.Hash, key []byte, text string) []byte {
	m := hmac.New(newHash, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func hexOf(key, text string) string { return hex.EncodeToString(mac(sha256.New, []byte(key), text)) }

func digitsOf(at time.Time, unit time.Duration) string {
	return strconv.FormatInt(at.UnixNano()/int64(unit), 10)
}

// resigned is a request whose time is written as text, and signed so by who has the secret.
func resigned(t *testing.T, s scheme, digits, text string) (http.Header, []byte) {
	const body = `{"id":"evt_test"}`
	h := s.signed([]byte(body), at, s.secrets[0])
	switch {
	case s.name == "stripe":
		h.Set("Stripe-Signature", "t="+text+",v1="+hexOf(s.secrets[0], text+"."+body))
	case s.name == "paddle":
		h.Set("Paddle-Signature", "ts="+text+";h1="+hexOf(s.secrets[0], text+":"+body))
	case s.name == "recurly":
		h.Set("Recurly-Signature", text+","+hexOf(s.secrets[0], text+"."+body))
	case s.name == "time header":
		h.Set("X-Time", text)
		h.Set("X-Sig", "v1="+base64.StdEncoding.EncodeToString(mac(sha512.New, []byte(s.secrets[0]), text+"."+body)))
	case strings.HasPrefix(s.name, "standard webhooks"):
		key := []byte(s.secrets[0])
		if s.name == "standard webhooks" {
			var err error
			key, err = sign.StandardKey(s.secrets[0])
			require.NoError(t, err)
		}
		h.Set("webhook-timestamp", text)
		h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac(sha256.New, key, "msg_1."+text+"."+body)))
	default:
		t.Fatal("a scheme with a time that this function does not know: ", s.name)
	}
	return h, []byte(body)
}

// arabic and fullwidth write digits in other scripts, which unicode.IsDigit takes for digits as well.
func arabic(digits string) string    { return otherDigits(digits, '٠') }
func fullwidth(digits string) string { return otherDigits(digits, '０') }

func otherDigits(digits string, zero rune) string {
	return strings.Map(func(r rune) rune { return r - '0' + zero }, digits)
}

// The tests' own settings are those that a provider is documented with.
func TestProvidersHaveSettings(t *testing.T) {
	for name, settings := range providers {
		require.NoError(t, settings.Check(), name)
	}
	require.Error(t, signature.HMAC{}.Check())
}

// Package sign signs webhooks as providers do, for tests and for what stands in for a provider. Nothing that serves may
// import it. It computes by itself, so that it can tell whether package signature is right.
//
// Each function sets the headers of a request, with a signature of every secret in turn, as a sender does while a secret is
// changed.
package sign

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"

	"authhook/internal/billing/signature"
)

// Stripe sets Stripe-Signature.
func Stripe(h http.Header, body []byte, at time.Time, secrets ...string) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	value := "t=" + stamp
	for _, s := range secrets {
		value += ",v1=" + hex.EncodeToString(mac(sha256.New, []byte(s), stamp+".", body))
	}
	h.Set("Stripe-Signature", value)
}

// Paddle sets Paddle-Signature.
func Paddle(h http.Header, body []byte, at time.Time, secrets ...string) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	value := "ts=" + stamp
	for _, s := range secrets {
		value += ";h1=" + hex.EncodeToString(mac(sha256.New, []byte(s), stamp+":", body))
	}
	h.Set("Paddle-Signature", value)
}

// StandardWebhooks sets webhook-id, webhook-timestamp and webhook-signature. The keys are of [StandardKey], or the whole
// text where the sender takes that.
func StandardWebhooks(h http.Header, id string, body []byte, at time.Time, keys ...[]byte) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	var list []string
	for _, key := range keys {
		list = append(list, "v1,"+base64.StdEncoding.EncodeToString(mac(sha256.New, key, id+"."+stamp+".", body)))
	}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", stamp)
	h.Set("webhook-signature", strings.Join(list, " "))
}

// StandardKey is the key that a secret of Standard Webhooks stands for: whsec_ and base64, padded or not.
func StandardKey(secret string) ([]byte, error) {
	rest, ok := strings.CutPrefix(secret, "whsec_")
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(rest, "="))
	if !ok || err != nil {
		return nil, fmt.Errorf("the secret is not whsec_ and base64: copy it whole")
	}
	return key, nil
}

// HMAC sets the headers that the settings name. The settings must be in order ([signature.HMAC.Check]).
func HMAC(h http.Header, settings signature.HMAC, body []byte, at time.Time, secrets ...string) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	if settings.Milliseconds {
		stamp = strconv.FormatInt(at.UnixMilli(), 10)
	}
	newHash, encode := sha256.New, hex.EncodeToString
	if settings.Hash == signature.SHA512 {
		newHash = sha512.New
	}
	if settings.Encoding == signature.Base64 {
		encode = base64.StdEncoding.EncodeToString
	}
	var list []string
	var ahead string
	switch settings.Signed {
	case signature.TimeAheadAndBody:
		list, ahead = append(list, stamp), stamp+"."
	case signature.TimeHeaderAndBody:
		h.Set(settings.TimeHeader, stamp)
		ahead = stamp + "."
	}
	for _, s := range secrets {
		list = append(list, settings.Prefix+encode(mac(newHash, []byte(s), ahead, body)))
	}
	h.Set(settings.Header, strings.Join(list, ","))
}

func mac(newHash func() hash.Hash, key []byte, ahead string, body []byte) []byte {
	m := hmac.New(newHash, key)
	m.Write([]byte(ahead))
	m.Write(body)
	return m.Sum(nil)
}

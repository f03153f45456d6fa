package signature

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"
)

// The headers of Standard Webhooks.
const (
	IDHeader        = "Webhook-Id"
	TimestampHeader = "Webhook-Timestamp"
	SignatureHeader = "Webhook-Signature"
)

// maxID is how long, in bytes, the id of a webhook may be.
const maxID = 256

// StandardWebhooks verifies what a sender of Standard Webhooks 1.0.0 sent, and returns the webhook's id, which is the same
// in every retry, and when this try was signed. The signatures are a list between spaces, "v1,<base64>", each the
// HMAC-SHA256 of id.timestamp.body; other versions are passed over. The secrets are of [ParseStandardSecrets].
//
// Svix's own names (svix-id and so on) are read when there is none of the others, and never mixed with them. The id is of
// 1 to 256 visible ASCII characters, and holds no dot: with one, an id and a time could be read as another id and time of
// the same signed bytes. Every fault is [ErrSignature], and with it id and time are empty.
func StandardWebhooks(h http.Header, body []byte, secrets Secrets, now time.Time) (id string, at time.Time, err error) {
	id, at, c := standardClaim(h, now)
	if err := c.verify(secrets, sha256.New, base64.StdEncoding.EncodeToString, body); err != nil {
		return "", time.Time{}, err
	}
	return id, at, nil
}

// StandardID is the id of a webhook that [StandardWebhooks] verified, from the same header.
func StandardID(h http.Header) (string, error) {
	if id := only(h, standardNames(h)[0]); plainID(id) {
		return id, nil
	}
	return "", errors.New("webhook-id is missing, there twice or no plain id: send the event's id in it, the same in every retry")
}

// StandardTime is when this try to send a webhook that [StandardWebhooks] verified was signed, from the same header; the
// zero time where none is there. It is another in every retry.
func StandardTime(h http.Header) time.Time {
	at, _ := moment(only(h, standardNames(h)[1]), time.Second)
	return at
}

// standardNames are the headers that count, of the id, the time and the signatures.
func standardNames(h http.Header) [3]string {
	names := [...]string{IDHeader, TimestampHeader, SignatureHeader}
	if h.Values(names[0]) == nil && h.Values(names[1]) == nil && h.Values(names[2]) == nil {
		names = [...]string{"Svix-Id", "Svix-Timestamp", "Svix-Signature"}
	}
	return names
}

func standardClaim(h http.Header, now time.Time) (string, time.Time, claim) {
	names := standardNames(h)
	id, stamp := only(h, names[0]), only(h, names[1])
	at, ok := moment(stamp, time.Second)
	c := claim{ahead: id + "." + stamp + ".", sound: ok && plainID(id) && near(at, now, Tolerance)}
	for item := range strings.SplitSeq(only(h, names[2]), " ") {
		text, ok := strings.CutPrefix(item, "v1,")
		if !ok {
			continue
		}
		if len(c.signatures) == maxSignatures {
			return "", time.Time{}, claim{}
		}
		c.signatures = append(c.signatures, text)
	}
	return id, at, c
}

func plainID(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' || id[i] == '.' {
			return false
		}
	}
	return id != "" && len(id) <= maxID
}

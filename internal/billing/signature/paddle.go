package signature

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"
)

// PaddleHeader is where Paddle Billing signs.
const PaddleHeader = "Paddle-Signature"

// Paddle verifies what Paddle Billing sent: "ts=<seconds>;h1=<hex>[;h1=<hex>]", where each h1 is the HMAC-SHA256 of
// ts:body. Other names are passed over. The secret's whole text is the key ([ParseSecrets]). Every fault is [ErrSignature].
func Paddle(h http.Header, body []byte, secrets Secrets, now time.Time) error {
	c := stamped(only(h, PaddleHeader), ";", "ts", "h1", ":", now)
	return c.verify(secrets, sha256.New, hex.EncodeToString, body)
}

package signature

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"
)

// StripeHeader is where Stripe signs.
const StripeHeader = "Stripe-Signature"

// Stripe verifies what Stripe sent: "t=<seconds>,v1=<hex>[,v1=<hex>]", where each v1 is the HMAC-SHA256 of t.body. Other
// names (v0) are passed over. The secret's whole text is the key ([ParseSecrets]). Every fault is [ErrSignature].
func Stripe(h http.Header, body []byte, secrets Secrets, now time.Time) error {
	c := stamped(only(h, StripeHeader), ",", "t", "v1", ".", now)
	return c.verify(secrets, sha256.New, hex.EncodeToString, body)
}

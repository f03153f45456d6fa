package signature

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
)

// authorization is the header that a login stands in.
const authorization = "Authorization"

// Static verifies that a header is one of the secrets, to the letter ([ParseSecrets]): RevenueCat sends its Authorization
// as the operator wrote it, "Bearer " included where it was. Nothing is signed: whoever sees one request can send any. A
// header given twice is a fault. Every fault is [ErrSignature].
func Static(h http.Header, header string, secrets Secrets) error {
	return equal(only(h, header), secrets, func(key []byte) string { return string(key) })
}

// Basic verifies that a request carries one of the logins ([ParseLogins]), as Chargebee's do (RFC 7617). Nothing is signed:
// whoever sees one request can send any. An Authorization given twice is a fault. Every fault is [ErrSignature].
func Basic(h http.Header, logins Secrets) error {
	scheme, credentials, _ := strings.Cut(only(h, authorization), " ")
	if len(scheme) != len("Basic") || !strings.EqualFold(scheme, "Basic") { // some letters of other scripts fold to these
		credentials = ""
	}
	return equal(credentials, logins, base64.StdEncoding.EncodeToString)
}

// equal compares what was sent with every secret as it would be sent. Hashes are compared, so that a difference in length
// is none in time.
func equal(sent string, secrets Secrets, write func([]byte) string) error {
	got := sha256.Sum256([]byte(sent))
	same := 0
	for _, key := range secrets.keys() {
		right := sha256.Sum256([]byte(write(key)))
		same |= subtle.ConstantTimeCompare(got[:], right[:])
	}
	if same != 1 {
		return ErrSignature
	}
	return nil
}

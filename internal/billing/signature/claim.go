package signature

import (
	"crypto/hmac"
	"crypto/subtle"
	"hash"
	"io"
	"net/http"
	"strings"
	"time"
)

// claim is what a request's headers say: each of the signatures is of the text ahead and the body after it. The zero
// value is that of headers that cannot be read, or whose time is over.
type claim struct {
	ahead      string
	signatures []string // in the one way of writing each that is right
	sound      bool
}

// verify holds a claim against the secrets. write is how a signature is written.
func (c claim) verify(secrets Secrets, newHash func() hash.Hash, write func([]byte) string, body []byte) error {
	same := 0
	for _, key := range secrets.keys() {
		mac := hmac.New(newHash, key)
		_, _ = io.WriteString(mac, c.ahead)
		_, _ = mac.Write(body)
		right := []byte(write(mac.Sum(nil)))
		for _, s := range c.signatures {
			same |= subtle.ConstantTimeCompare(right, []byte(s))
		}
	}
	if !c.sound || same != 1 {
		return ErrSignature
	}
	return nil
}

// stamped reads the claim of a header that holds a time and signatures, each with its name before it, and whatever else by
// other names: "t=1,v1=ab,v1=cd". What is signed is the time, then the byte joint, then the body.
func stamped(header, between, timeName, signatureName, joint string, now time.Time) claim {
	var stamp string
	var signatures []string
	stamps := 0
	for item := range strings.SplitSeq(header, between) {
		name, value, ok := strings.Cut(item, "=")
		switch {
		case !ok:
			return claim{}
		case name == timeName:
			stamp = value
			stamps++
		case name == signatureName && len(signatures) == maxSignatures:
			return claim{}
		case name == signatureName:
			signatures = append(signatures, value)
		}
	}
	at, ok := moment(stamp, time.Second)
	ok = ok && stamps == 1 // of two, which was signed?
	return claim{ahead: stamp + joint, signatures: signatures, sound: ok && near(at, now, Tolerance)}
}

// only is the value of a header that stands there once; empty when it does not, or is longer than one may be.
func only(h http.Header, name string) string {
	values := h.Values(name)
	if len(values) != 1 || len(values[0]) > maxHeader {
		return ""
	}
	return values[0]
}

package signature

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strings"
	"time"
)

// HMAC are the settings by which a provider without a verifier of its own signs:
//
//	Lemon Squeezy  {Header: "X-Signature"}
//	BTCPay         {Header: "BTCPay-Sig", Prefix: "sha256="}
//	Mollie         {Header: "X-Mollie-Signature", Prefix: "sha256="}       next-gen webhooks
//	Lago           {Header: "X-Lago-Signature", Encoding: Base64}          with the algorithm hmac, not jwt
//	Recurly        {Header: "recurly-signature", Signed: TimeAheadAndBody, Milliseconds: true}
//
// The header holds one signature, or several between commas, of which one must be right. It may be repeated (Mollie does
// while a secret changes), save where a time stands in it too.
type HMAC struct {
	// Header is the name of the header that holds the signatures.
	Header string
	// Prefix stands before each signature, "sha256="; what stands there without it is passed over. It holds no comma.
	Prefix string
	// Encoding is how a signature is written; Hex when it is empty.
	Encoding Encoding
	// Hash is what the HMAC is made with; SHA256 when it is empty.
	Hash Hash
	// Signed is what a signature is of; Body when it is empty, and then no time is checked.
	Signed Signed
	// TimeHeader is the name of the header that holds the time, for TimeHeaderAndBody.
	TimeHeader string
	// Milliseconds: the time is in these, not in seconds.
	Milliseconds bool
	// Tolerance is how far the time may be from ours, before or after, up to a day; [Tolerance] when it is 0.
	Tolerance time.Duration
}

// Encoding is how a signature is written.
type Encoding string

// The encodings.
const (
	Hex    Encoding = "hex"    // in either case
	Base64 Encoding = "base64" // the standard alphabet, padded or not
)

// Hash is a hash function.
type Hash string

// The hashes. SHA-1 and MD5 are not among them.
const (
	SHA256 Hash = "sha256"
	SHA512 Hash = "sha512"
)

// Signed is what a signature is of.
type Signed string

// What may be signed. The time is the text as it came in: a Unix time.
const (
	Body              Signed = "body"        // the body alone
	TimeAheadAndBody  Signed = "time.body"   // the signature's header begins with the time: "time,signature[,signature]"
	TimeHeaderAndBody Signed = "header.body" // the time is in a header of its own
)

// maxTolerance keeps the time of a signature worth something.
const maxTolerance = 24 * time.Hour

// Check says what is wrong with the settings. Settings with a fault verify nothing.
func (c HMAC) Check() error {
	timed := c.Signed == TimeAheadAndBody || c.Signed == TimeHeaderAndBody
	switch {
	case !headerName(c.Header):
		return errors.New("header: name the header that holds the signature")
	case strings.Contains(c.Prefix, ",") || strings.TrimSpace(c.Prefix) != c.Prefix:
		return errors.New("prefix: a comma, or a space at an end of it, cannot be told from what stands between signatures: leave it out")
	case c.encoding() == nil:
		return fmt.Errorf("encoding: write %s or %s", Hex, Base64)
	case c.hash() == nil:
		return fmt.Errorf("hash: write %s or %s", SHA256, SHA512)
	case !timed && c.Signed != Body && c.Signed != "":
		return fmt.Errorf("signed: write %s, %s or %s", Body, TimeAheadAndBody, TimeHeaderAndBody)
	case c.Signed == TimeHeaderAndBody && !headerName(c.TimeHeader):
		return errors.New("time_header: name the header that holds the time")
	case c.Signed == TimeHeaderAndBody && strings.EqualFold(c.TimeHeader, c.Header):
		return fmt.Errorf("time_header: it is the signature's own: name another, or have signed be %s", TimeAheadAndBody)
	case c.Signed != TimeHeaderAndBody && c.TimeHeader != "":
		return fmt.Errorf("time_header: it is read only where signed is %s: remove one or correct the other", TimeHeaderAndBody)
	case !timed && (c.Milliseconds || c.Tolerance != 0):
		return errors.New("milliseconds, tolerance: no time is signed, so none is checked: remove them or correct signed")
	case c.Tolerance < 0 || c.Tolerance > maxTolerance:
		return fmt.Errorf("tolerance: write a time up to %s, or none for %s", maxTolerance, Tolerance)
	}
	return nil
}

// Verify verifies a request. The secrets are of [ParseSecrets]. Every fault is [ErrSignature], one of the settings too.
func (c HMAC) Verify(h http.Header, body []byte, secrets Secrets, now time.Time) error {
	if c.Check() != nil {
		return ErrSignature
	}
	return c.claim(h, now).verify(secrets, c.hash(), c.encoding(), body)
}

func (c HMAC) claim(h http.Header, now time.Time) claim {
	var ahead string
	sound := true
	list := strings.Join(h.Values(c.Header), ",") // what a repeated header means (RFC 9110, 5.3)
	if len(list) > maxHeader {
		return claim{}
	}
	if c.Signed == TimeAheadAndBody || c.Signed == TimeHeaderAndBody {
		stamp := only(h, c.TimeHeader)
		if c.Signed == TimeAheadAndBody {
			stamp, list, _ = strings.Cut(only(h, c.Header), ",")
		}
		ahead, sound = stamp+".", c.near(stamp, now)
	}
	var signatures []string
	for item := range strings.SplitSeq(list, ",") {
		text, ok := strings.CutPrefix(strings.Trim(item, " \t"), c.Prefix)
		if !ok {
			continue
		}
		if len(signatures) == maxSignatures {
			return claim{}
		}
		signatures = append(signatures, c.oneWay(text))
	}
	return claim{ahead: ahead, signatures: signatures, sound: sound}
}

func (c HMAC) near(stamp string, now time.Time) bool {
	unit, tolerance := time.Second, Tolerance
	if c.Milliseconds {
		unit = time.Millisecond
	}
	if c.Tolerance != 0 {
		tolerance = c.Tolerance
	}
	at, ok := moment(stamp, unit)
	return ok && near(at, now, tolerance)
}

// oneWay writes a signature as encoding does: hex in lowercase, base64 padded.
func (c HMAC) oneWay(text string) string {
	if c.Encoding == Base64 {
		if strings.Contains(text, "=") {
			return text
		}
		return text + strings.Repeat("=", (4-len(text)%4)%4)
	}
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'F' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}

func (c HMAC) encoding() func([]byte) string {
	switch c.Encoding {
	case "", Hex:
		return hex.EncodeToString
	case Base64:
		return base64.StdEncoding.EncodeToString
	}
	return nil
}

func (c HMAC) hash() func() hash.Hash {
	switch c.Hash {
	case "", SHA256:
		return sha256.New
	case SHA512:
		return sha512.New
	}
	return nil
}

// headerName says whether a text can be the name of a header, as those of webhooks are: letters, digits, - and _.
func headerName(s string) bool {
	return s != "" && len(s) <= 256 && strings.IndexFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	}) < 0
}

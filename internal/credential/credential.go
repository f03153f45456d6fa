// Package credential knows what viewers and publishers present: opaque keys, made here and stored elsewhere as their
// SHA-256 only, and JSON Web Tokens, verified here and stored nowhere.
//
// [Classify] tells the forms apart and puts back the letter that MistServer loses from a Bearer header; [FromURL] and
// [LastPathElement] find a credential in a request's URL; [JWTs] verifies tokens, with keys from the catalog and from a
// JWKS URL; [SignJWT] makes a token for trying out. How tokens arrive is written in the project's FACTS.md ("Sessions"),
// and shown by the recordings USER_NEW.*.http.
//
// It must never accept a token because of what the token says of itself: a key is for one algorithm, and neither the
// header's alg nor a key or address inside the token chooses another. It must never fetch anything while a viewer
// waits. It must never put a token, a claim or a secret into a message. It never judges time: a token that has expired is
// handed on with its times, and package policy holds them against the moment it decides for.
package credential

import (
	"crypto/rand"
	"strings"
)

// Form is what a text looks like. Only looks: a [Key] need not be one that was given out, a [JWT] need not be genuine.
type Form uint8

// The forms of what is presented as a token.
const (
	// None: nothing was presented. The token is empty, or a number that MistServer made up in its place.
	None Form = iota
	// Key: an opaque key, as NewKey makes them.
	Key
	// JWT: a signed JSON Web Token in its compact form.
	JWT
	// Other: something was presented, in no form known here.
	Other
)

// String names the form.
func (f Form) String() string {
	switch f {
	case None:
		return "none"
	case Key:
		return "key"
	case JWT:
		return "jwt"
	}
	return "other"
}

const (
	// keyPrefix begins every key, so that a key without its first letter can be told from anything else.
	keyPrefix = "ak_"
	// minKeyText is 26 letters of base32: 130 bits. rand.Text says that it may give more some day, hence maxKeyText.
	minKeyText, maxKeyText = 26, 64
	// jwtPrefix begins every JSON object that has no space after its brace, in base64url.
	jwtPrefix = "eyJ"
	// maxToken is the longest token looked at, in bytes.
	maxToken = 8 << 10
	// maxMadeUp is the longest number that MistServer makes up where there is no token: 64 bits in decimal.
	maxMadeUp = 20
)

// NewKey makes an opaque key of at least 128 random bits. It is shown once and stored as policy.HashKey of it.
func NewKey() string { return keyPrefix + rand.Text() }

// Classify says which form a token has and returns it whole: of a Bearer header MistServer passes on all but the first
// character (recorded in USER_NEW.bearer-first-character-lost.http), and what begins with "k_" or "yJ" and is otherwise
// right can be nothing else. The text of a Key or a JWT is the credential to look up or verify; of any other form it is
// the token as it came.
//
// A short number is None: MistServer makes one up for a viewer without a token, and for RTMP and RTSP the token is a
// process id. A token of more than 8 KiB is Other.
func Classify(token string) (Form, string) {
	switch {
	case len(token) > maxToken:
		return Other, token
	case isMadeUp(token):
		return None, token
	case isKey(token):
		return Key, token
	case isJWT(token):
		return JWT, token
	case strings.HasPrefix(token, keyPrefix[1:]) && isKeyText(token[len(keyPrefix)-1:]):
		return Key, keyPrefix[:1] + token
	case strings.HasPrefix(token, jwtPrefix[1:]) && len(token) < maxToken:
		if whole := jwtPrefix[:1] + token; isJWT(whole) {
			return JWT, whole
		}
	}
	return Other, token
}

// isMadeUp says whether a token is empty or a short decimal number.
func isMadeUp(token string) bool {
	if len(token) > maxMadeUp {
		return false
	}
	for i := range len(token) {
		if token[i] < '0' || token[i] > '9' {
			return false
		}
	}
	return true
}

func isKey(s string) bool {
	text, ok := strings.CutPrefix(s, keyPrefix)
	return ok && isKeyText(text)
}

// isKeyText says whether s is as long as, and of the letters of, what rand.Text gives: base32.
func isKeyText(s string) bool {
	if len(s) < minKeyText || len(s) > maxKeyText {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

func isJWT(s string) bool {
	_, ok := splitJWT(s)
	return ok
}

// compact is a token's three parts, still encoded, and what its signature is for: the first two and the dot between.
type compact struct{ header, claims, signature, signed string }

// splitJWT takes a token in compact form apart. It is strict about every byte: what Go's base64 overlooks (line breaks)
// or another decoder might (padding, the other alphabet) is not a token.
func splitJWT(s string) (compact, bool) {
	if len(s) > maxToken || !strings.HasPrefix(s, jwtPrefix) {
		return compact{}, false
	}
	var dots [2]int
	n := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if n == len(dots) {
				return compact{}, false
			}
			dots[n] = i
			n++
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return compact{}, false
		}
	}
	if n != len(dots) || dots[1] == dots[0]+1 || dots[1] == len(s)-1 {
		return compact{}, false
	}
	return compact{
		header:    s[:dots[0]],
		claims:    s[dots[0]+1 : dots[1]],
		signature: s[dots[1]+1:],
		signed:    s[:dots[1]],
	}, true
}

package credential

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/golang-jwt/jwt/v5"

	"authhook/internal/policy"
)

// The accepted algorithms.
const (
	hs256 = "HS256"
	rs256 = "RS256"
	es256 = "ES256"
	edDSA = "EdDSA"
)

// methods are the accepted algorithms and nothing else. golang-jwt knows more, "none" among them, so a token's alg is
// looked up here and never in its registry.
var methods = map[string]jwt.SigningMethod{
	hs256: jwt.SigningMethodHS256,
	rs256: jwt.SigningMethodRS256,
	es256: jwt.SigningMethodES256,
	edDSA: jwt.SigningMethodEdDSA,
}

const (
	minSecret  = 32 // bytes: HS256's key is at least as long as its hash (RFC 7518, 3.2)
	minRSABits = 2048
	maxRSABits = 8192
	maxName    = 256 // bytes of a kid, a sub, a stream pattern
	// maxUnnamed is how many keys a token without a kid is tried with. It bounds what such a token costs.
	maxUnnamed = 8
)

// verifyKey is a key and the one algorithm it is for.
type verifyKey struct {
	kid, alg string
	key      any // []byte for HS256, else *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	// retired is set once the key is in use no more: then nothing counts that was verified with it.
	retired atomic.Bool
}

// verifies says whether the signature over signed was made with the key.
func (k *verifyKey) verifies(signed string, signature []byte) bool {
	return methods[k.alg].Verify(signed, signature, k.key) == nil
}

// same says whether both are the same public key under the same name.
func (k *verifyKey) same(other *verifyKey) bool {
	pub, ok := k.key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.kid == other.kid && k.alg == other.alg && pub.Equal(other.key)
}

// keyRing is all keys of one moment. It is replaced, never changed.
type keyRing struct {
	fetched []*verifyKey // those from the JWKS URL; nil until it was read
	named   map[keyName][]*verifyKey
	byAlg   map[string][]*verifyKey
}

// keyName is what a token names its key by. A kid alone would let a token choose the algorithm.
type keyName struct{ alg, kid string }

func newKeyRing(catalog, fetched []*verifyKey) *keyRing {
	r := &keyRing{fetched: fetched, named: map[keyName][]*verifyKey{}, byAlg: map[string][]*verifyKey{}}
	for _, keys := range [][]*verifyKey{catalog, fetched} {
		for _, k := range keys {
			if k.kid != "" {
				name := keyName{k.alg, k.kid}
				r.named[name] = append(r.named[name], k)
			}
			r.byAlg[k.alg] = append(r.byAlg[k.alg], k)
		}
	}
	return r
}

// CheckKey says what keeps a key of the catalog from being verified with; nil when nothing does. The error does not quote it.
func CheckKey(k policy.JWTKey) error {
	_, err := catalogKey(k)
	return err
}

// catalogKeys reads the keys of the catalog. Errors name the key and what is wrong with it, never its content.
func catalogKeys(config []policy.JWTKey) ([]*verifyKey, error) {
	keys := make([]*verifyKey, 0, len(config))
	seen := map[keyName]bool{}
	for i, c := range config {
		k, err := catalogKey(c)
		if err == nil && c.KID != "" && seen[keyName{c.Alg, c.KID}] {
			err = errors.New("a key before it has the same kid and alg")
		}
		if err != nil {
			return nil, fmt.Errorf("jwt.keys[%d] (kid %.64q): %w", i, c.KID, err)
		}
		seen[keyName{c.Alg, c.KID}] = true
		keys = append(keys, k)
	}
	return keys, nil
}

func catalogKey(c policy.JWTKey) (*verifyKey, error) {
	switch {
	case methods[c.Alg] == nil:
		return nil, errors.New("alg must be HS256, RS256, ES256 or EdDSA")
	case len(c.KID) > maxName:
		return nil, fmt.Errorf("kid is longer than %d bytes", maxName)
	case c.Secret != "" && c.PublicKey != "":
		return nil, errors.New("secret and public_key are both set: a key is one of them")
	case c.Alg == hs256:
		if err := checkSecret(c.Secret); err != nil {
			return nil, err
		}
		return &verifyKey{kid: c.KID, alg: hs256, key: []byte(c.Secret)}, nil
	case c.PublicKey == "":
		return nil, fmt.Errorf("%s needs a public_key in PEM", c.Alg)
	}
	pub, err := parsePublicKey(c.PublicKey)
	if err != nil {
		return nil, err
	}
	alg, err := algorithmOf(pub)
	if err != nil {
		return nil, err
	}
	if alg != c.Alg {
		return nil, fmt.Errorf("alg is %s, and public_key is a key for %s", c.Alg, alg)
	}
	return &verifyKey{kid: c.KID, alg: alg, key: pub}, nil
}

// checkSecret refuses a secret that could be guessed, and one that is no secret: with a public key for an HS256 secret
// anyone could sign.
func checkSecret(secret string) error {
	switch {
	case secret == "":
		return errors.New("HS256 needs a secret")
	case len(secret) < minSecret:
		return fmt.Errorf("the secret has %d bytes, and HS256 needs at least %d", len(secret), minSecret)
	case strings.Contains(secret, "-----BEGIN "):
		return errors.New("the secret is a PEM block: a public key belongs in public_key, with its own alg")
	}
	return nil
}

func parsePublicKey(text string) (any, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("public_key is not PEM")
	}
	if strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("public_key holds more than one PEM block")
	}
	var pub any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		pub, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		pub, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		return nil, errors.New("public_key is a certificate: give the key in it (openssl x509 -pubkey)")
	default:
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, errors.New("public_key is a private key: give its public one, and keep this one secret")
		}
		return nil, errors.New("public_key is a PEM block of another kind: PUBLIC KEY or RSA PUBLIC KEY is needed")
	}
	if err != nil {
		return nil, errors.New("public_key is damaged: its PEM block holds no key that can be read")
	}
	return pub, nil
}

// algorithmOf is the one algorithm that a public key is accepted for.
func algorithmOf(pub any) (string, error) {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		switch bits := pub.N.BitLen(); {
		case bits < minRSABits:
			return "", fmt.Errorf("the RSA key has %d bits, and at least %d are needed", bits, minRSABits)
		case bits > maxRSABits:
			return "", fmt.Errorf("the RSA key has %d bits, and at most %d are read", bits, maxRSABits)
		case pub.E < 3 || pub.E%2 == 0:
			return "", errors.New("the RSA key's exponent is not one that can be")
		}
		return rs256, nil
	case *ecdsa.PublicKey:
		if pub.Curve != elliptic.P256() {
			return "", errors.New("the elliptic curve is not P-256, the one of ES256")
		}
		if _, err := pub.ECDH(); err != nil {
			return "", errors.New("the elliptic curve's point is not on the curve")
		}
		return es256, nil
	case ed25519.PublicKey:
		return edDSA, nil
	}
	return "", errors.New("the key is of a kind that no accepted algorithm uses")
}

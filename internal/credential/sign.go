package credential

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"authhook/internal/policy"
)

// SigningKey is a key to sign tokens with: exactly one of Secret (HS256) and PrivateKey (PEM: RS256, ES256 or EdDSA, by
// its kind) is set. It is the other half of a policy.JWTKey.
type SigningKey struct {
	KID        string
	Secret     string
	PrivateKey string
}

// SignJWT makes a token that verifies as the credential c, for trying out: c.User and c.Until are needed; c.From,
// Streams, Addresses and Publish, issuer and audience are put into it where they are set. Fractions of seconds are cut
// off so that the token is good for no longer than c. What would not verify is not signed. Errors never quote the key.
func SignJWT(key SigningKey, c policy.Credential, issuer, audience string) (string, error) {
	alg, signer, err := signingKey(key)
	if err != nil {
		return "", err
	}
	if c.Until.IsZero() {
		return "", errors.New("a token needs a moment at which it expires")
	}
	claims := jwt.MapClaims{"sub": c.User, "exp": c.Until.Unix()}
	if !c.From.IsZero() {
		claims["nbf"] = c.From.Add(time.Second - 1).Unix()
	}
	if len(c.Streams) > 0 {
		claims["stream"] = c.Streams
	}
	if len(c.Addresses) > 0 {
		claims["ip"] = c.Addresses
	}
	if c.Publish {
		claims["publish"] = true
	}
	if issuer != "" {
		claims["iss"] = issuer
	}
	if audience != "" {
		claims["aud"] = audience
	}
	t := jwt.NewWithClaims(methods[alg], claims)
	if key.KID != "" {
		t.Header["kid"] = key.KID
	}
	token, err := t.SignedString(signer)
	if err != nil {
		return "", errors.New("the key does not sign")
	}
	if err := checkSigned(token); err != nil {
		return "", err
	}
	return token, nil
}

// checkSigned reads a token as VerifyJWT does, but for the signature.
func checkSigned(token string) error {
	parts, ok := splitJWT(token)
	if !ok {
		return errors.New("the token would not be accepted: it is longer than 8 KiB")
	}
	head, err := segment.DecodeString(parts.header)
	if err == nil {
		_, err = readHeader(head)
	}
	if err == nil {
		var body []byte
		if body, err = segment.DecodeString(parts.claims); err == nil {
			_, err = readClaims(body, policy.JWT{})
		}
	}
	if err != nil {
		return fmt.Errorf("the token would not be accepted: %w", err)
	}
	return nil
}

func signingKey(key SigningKey) (alg string, signer any, err error) {
	switch {
	case key.Secret != "" && key.PrivateKey != "":
		return "", nil, errors.New("a secret and a private key are both given: one signs")
	case key.PrivateKey == "":
		return hs256, []byte(key.Secret), checkSecret(key.Secret)
	}
	block, rest := pem.Decode([]byte(key.PrivateKey))
	if block != nil && block.Type == "EC PARAMETERS" { // openssl ecparam -genkey writes these before the key
		block, rest = pem.Decode(rest)
	}
	if block == nil || strings.TrimSpace(string(rest)) != "" {
		return "", nil, errors.New("the private key is not one PEM block")
	}
	switch block.Type {
	case "PRIVATE KEY":
		signer, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		signer, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		signer, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		err = errors.New("another kind")
	}
	private, ok := signer.(crypto.Signer)
	if err != nil || !ok {
		return "", nil, errors.New("the private key cannot be read: an unencrypted one in PKCS #8, PKCS #1 or SEC 1 is needed")
	}
	alg, err = algorithmOf(private.Public())
	return alg, signer, err
}

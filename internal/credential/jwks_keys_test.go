package credential

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
)

func TestJWKSKeysThatAreRefused(t *testing.T) {
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	small := &rsa.PublicKey{N: must(rand.Prime(rand.Reader, 1024)), E: 65537}
	for _, c := range []struct{ name, jwk, want string }{
		{"oct", `{"kty":"oct","kid":"k","alg":"HS256","k":"` + b64(testSecret) + `"}`, "oct"},
		{"oct without alg", `{"kty":"oct","kid":"k","k":"` + b64(testSecret) + `"}`, "oct"},
		{"use enc", jwk("k", testEC.Public(), fields{"use": "enc"}), "use"},
		{"use unknown", jwk("k", testEC.Public(), fields{"use": "foo"}), "use"},
		{"key_ops", jwk("k", testRSA.Public(), fields{"key_ops": []string{"encrypt"}}), "key_ops"},
		{"a private key", jwk("k", testEC.Public(), fields{"d": b64(strings.Repeat("d", 32))}), "private"},
		{"RSA for HS256", jwk("k", testRSA.Public(), fields{"alg": "HS256"}), "alg"},
		{"RSA for RS512", jwk("k", testRSA.Public(), fields{"alg": "RS512"}), "alg"},
		{"RSA for PS256", jwk("k", testRSA.Public(), fields{"alg": "PS256"}), "alg"},
		{"RSA for none", jwk("k", testRSA.Public(), fields{"alg": "none"}), "alg"},
		{"EC for RS256", jwk("k", testEC.Public(), fields{"alg": "RS256"}), "alg"},
		{"EC for ECDH", jwk("k", testEC.Public(), fields{"alg": "ECDH-ES"}), "alg"},
		{"Ed25519 for ES256", jwk("k", testEd.Public(), fields{"alg": "ES256"}), "alg"},
		{"another curve", jwk("k", p384.Public()), "P-256"},
		{"a curve nobody knows", jwk("k", testEC.Public(), fields{"crv": "secp256k1"}), "cannot be read"},
		{"X25519", jwk("k", testEd.Public(), fields{"crv": "X25519"}), "no accepted algorithm"},
		{"not on the curve", jwk("k", testEC.Public(), fields{"x": b64(strings.Repeat("x", 32))}), "cannot be read"},
		{"a coordinate beyond measure", jwk("k", testEC.Public(), fields{"x": b64(strings.Repeat("x", 9000))}), "cannot be read"},
		{"Ed25519 too short", jwk("k", testEd.Public(), fields{"x": "AAAA"}), "cannot be read"},
		{"RSA too small", jwk("k", small), "1024 bits"},
		{"an exponent of 65 bits", jwk("k", testRSA.Public(), fields{"e": b64("\x01\x00\x00\x00\x00\x00\x01\x00\x01")}), "cannot be read"},
		{"no kty", jwk("k", testEC.Public(), fields{"kty": ""}), "cannot be read"},
		{"kid too long", jwk(strings.Repeat("k", 300), testEC.Public()), "kid is longer"},
		{"kid a number", `{"kty":"OKP","crv":"Ed25519","kid":7,"x":"AAAA"}`, "not a JWK"},
		{"no object", `"k"`, "not a JWK"},
	} {
		t.Run(c.name, func(t *testing.T) {
			keys, refused, err := parseJWKS([]byte(set(c.jwk, jwk("good", testEC.Public()))))
			require.NoError(t, err)
			require.Len(t, refused, 1)
			assert.ErrorContains(t, refused[0], c.want)
			assert.ErrorContains(t, refused[0], "keys[0]")
			assert.NotContains(t, refused[0].Error(), b64(testSecret))
			require.Len(t, keys, 1, "one that is in order is not lost with it")
			assert.Equal(t, "good", keys[0].kid)
		})
	}
	e := newEndpoint(t, set(`{"kty":"oct","kid":"hs","alg":"HS256","k":"`+b64(testSecret)+`"}`))
	j, first := reading(t, e)
	require.Len(t, first.Refused, 1)
	refused(t, j, hsToken(goodClaims()), "no key")
}

// A certificate's address beside a key is not followed, and a key is not one more for being there twice.
func TestJWKSExtras(t *testing.T) {
	e := newEndpoint(t, "")
	k := jwk("k", testEC.Public(), fields{"x5u": e.URL, "x5c": []string{"AAAA"}, "x5t": "no"})
	keys, refused, err := parseJWKS([]byte(set(k, k)))
	require.NoError(t, err)
	assert.Empty(t, refused)
	assert.Len(t, keys, 1)
	assert.Zero(t, e.asked.Load())
}

func TestJWKSURLs(t *testing.T) {
	for _, u := range []string{
		"http://issuer.example/jwks", "http://192.0.2.1/jwks", "http://localhost.issuer.example/jwks", "http://127.0.0.1.issuer.example/", "ftp://localhost/jwks",
		"file:///etc/passwd", "issuer.example/jwks", "https:///jwks", "https://", "http://[::2]/", "://", "http://user:swordfish@issuer.example/\x00",
	} {
		j, err := NewJWTs(policy.JWT{JWKSURL: u}, Options{})
		require.Error(t, err, u)
		require.Nil(t, j)
		assert.Contains(t, err.Error(), "jwt.jwks_url")
		assert.NotContains(t, err.Error(), "swordfish")
	}
	for _, u := range []string{"https://issuer.example/jwks", "http://localhost/jwks", "http://127.0.0.1:8080/jwks", "http://127.1.2.3/", "http://[::1]:80/jwks"} {
		_, err := newJWKSReader(u, Options{})
		assert.NoError(t, err, u)
	}
}

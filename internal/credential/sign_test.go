package credential

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"authhook/internal/policy"
)

func signingKeys() map[string]SigningKey {
	sec1 := func(key *ecdsa.PrivateKey) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(key))}))
	}
	parameters := string(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}}))
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testRSA)}))
	return map[string]SigningKey{
		"HS256":        {KID: "hs", Secret: testSecret},
		"RS256":        {KID: "rs", PrivateKey: privatePEM(testRSA)},
		"RS256, PKCS1": {KID: "rs", PrivateKey: pkcs1},
		"ES256":        {KID: "es", PrivateKey: privatePEM(testEC)},
		"ES256, SEC1":  {KID: "es", PrivateKey: parameters + sec1(testEC)},
		"EdDSA":        {KID: "ed", PrivateKey: privatePEM(testEd)},
		"no kid":       {Secret: testSecret},
	}
}

// What is signed verifies as the same credential.
func TestSignJWT(t *testing.T) {
	config := testConfig()
	config.Issuer, config.Audience = "me", "tv"
	j := newJWTs(t, config)
	second := func(t *rapid.T, name string) time.Time {
		return time.Unix(rapid.Int64Range(1, maxSeconds).Draw(t, name), 0).UTC()
	}
	for name, key := range signingKeys() {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				c := policy.Credential{
					Kind: policy.CredentialJWT, User: rapid.StringMatching(`[ -~\x{a0}-\x{fff}]{1,60}`).Draw(t, "user"),
					Until: second(t, "until"), Publish: rapid.Bool().Draw(t, "publish"),
				}
				if rapid.Bool().Draw(t, "from?") {
					c.From = second(t, "from")
				}
				if rapid.Bool().Draw(t, "streams?") {
					c.Streams = rapid.SliceOfN(rapid.StringMatching(`[a-z+_]{0,10}\*|[a-z+_]{1,10}`), 1, 4).Draw(t, "streams")
				}
				if rapid.Bool().Draw(t, "addresses?") {
					c.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")}
				}
				token, err := SignJWT(key, c, "me", "tv")
				require.NoError(t, err)
				got, _, detail := j.VerifyJWT(token)
				require.NotNil(t, got, detail)
				require.Equal(t, &c, got)
			})
		})
	}
}

func TestSignJWTIsNeverLongerThanWasAsked(t *testing.T) {
	c := policy.Credential{User: "alice", From: time.Unix(1000, 1), Until: time.Unix(4000000000, 999)}
	token, err := SignJWT(SigningKey{KID: "hs", Secret: testSecret}, c, "", "")
	require.NoError(t, err)
	got, _, detail := newJWTs(t, testConfig()).VerifyJWT(token)
	require.NotNil(t, got, detail)
	assert.Equal(t, time.Unix(1001, 0).UTC(), got.From)
	assert.Equal(t, time.Unix(4000000000, 0).UTC(), got.Until)
}

func TestSignJWTErrors(t *testing.T) {
	good := policy.Credential{User: "alice", Until: time.Unix(4000000000, 0)}
	with := func(change func(*policy.Credential)) policy.Credential { c := good; change(&c); return c }
	key := SigningKey{Secret: testSecret}
	for _, c := range []struct {
		name string
		key  SigningKey
		c    policy.Credential
		want string
	}{
		{"no key", SigningKey{}, good, "needs a secret"},
		{"two keys", SigningKey{Secret: testSecret, PrivateKey: privatePEM(testEC)}, good, "one signs"},
		{"short secret", SigningKey{Secret: "short"}, good, "at least 32"},
		{"a public key", SigningKey{PrivateKey: publicPEM(testEC)}, good, "cannot be read"},
		{"no PEM", SigningKey{PrivateKey: "x"}, good, "not one PEM block"},
		{"two blocks", SigningKey{PrivateKey: privatePEM(testEC) + privatePEM(testEd)}, good, "not one PEM block"},
		{"damaged", SigningKey{PrivateKey: strings.Replace(privatePEM(testEC), "MIG", "AAA", 1)}, good, "cannot be read"},
		{"another curve", SigningKey{PrivateKey: privatePEM(must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)))}, good, "P-256"},
		{"kid too long", SigningKey{KID: strings.Repeat("k", 257), Secret: testSecret}, good, "kid"},
		{"no user", key, with(func(c *policy.Credential) { c.User = "" }), "sub"},
		{"no until", key, with(func(c *policy.Credential) { c.Until = time.Time{} }), "expires"},
		{"an until of long ago", key, with(func(c *policy.Credential) { c.Until = time.Unix(-5, 0) }), "exp"},
		{"not a pattern", key, with(func(c *policy.Credential) { c.Streams = []string{"a*b"} }), "stream"},
		{"not an address", key, with(func(c *policy.Credential) { c.Addresses = []netip.Prefix{{}} }), "ip"},
		{"too long", key, with(func(c *policy.Credential) { c.Streams = []string{strings.Repeat("s", 9000)} }), "8 KiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			token, err := SignJWT(c.key, c.c, "", "")
			require.ErrorContains(t, err, c.want)
			assert.Empty(t, token)
			if c.key.Secret != "" {
				assert.NotContains(t, err.Error(), c.key.Secret)
			}
		})
	}
}

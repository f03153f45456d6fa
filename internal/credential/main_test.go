package credential

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The keys of all tests; made once, for RSA takes its time.
var (
	testRSA    = must(rsa.GenerateKey(rand.Reader, 2048))
	otherRSA   = must(rsa.GenerateKey(rand.Reader, 2048))
	testEC     = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	otherEC    = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	_, testEd  = must2(ed25519.GenerateKey(rand.Reader))
	_, otherEd = must2(ed25519.GenerateKey(rand.Reader))
)

const testSecret = "a secret of thirty-two bytes, or more"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func must2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}

func publicPEM(key crypto.Signer) string {
	der := must(x509.MarshalPKIXPublicKey(key.Public()))
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func privatePEM(key crypto.Signer) string {
	der := must(x509.MarshalPKCS8PrivateKey(key))
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// testConfig has a key of each algorithm, named after it.
func testConfig() policy.JWT {
	return policy.JWT{Keys: []policy.JWTKey{
		{KID: "hs", Alg: "HS256", Secret: testSecret},
		{KID: "rs", Alg: "RS256", PublicKey: publicPEM(testRSA)},
		{KID: "es", Alg: "ES256", PublicKey: publicPEM(testEC)},
		{KID: "ed", Alg: "EdDSA", PublicKey: publicPEM(testEd)},
	}}
}

func newJWTs(t testing.TB, config policy.JWT, options ...Options) *JWTs {
	t.Helper()
	o := Options{Log: slog.New(slog.DiscardHandler)}
	if len(options) > 0 {
		o = options[0]
		o.Log = slog.New(slog.DiscardHandler)
	}
	j, err := NewJWTs(config, o)
	require.NoError(t, err)
	t.Cleanup(j.Close)
	return j
}

// signer makes the third part of a token. The tests sign by themselves, so that they can do it wrong.
type signer func(signed string) []byte

func hsSigner(secret string) signer {
	return func(signed string) []byte { return must(methods[hs256].Sign(signed, []byte(secret))) }
}

func keySigner(key crypto.Signer) signer {
	alg := must(algorithmOf(key.Public()))
	return func(signed string) []byte { return must(methods[alg].Sign(signed, key)) }
}

// token signs header and claims as they are written.
func token(header, claims string, sign signer) string {
	signed := b64(header) + "." + b64(claims)
	return signed + "." + b64(string(sign(signed)))
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// hsToken has claims as given, and all else right.
func hsToken(claims string) string {
	return token(`{"alg":"HS256","kid":"hs"}`, claims, hsSigner(testSecret))
}

// exp is a moment that is far away, or not, from the clock in use: that of the bubble, in synctest.
func exp(d time.Duration) string { return string(must(json.Marshal(time.Now().Add(d).Unix()))) }

// goodClaims are in order, and valid for an hour.
func goodClaims() string { return `{"sub":"alice","exp":` + exp(time.Hour) + `}` }

package credential

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
)

const hash256 = crypto.SHA256

func sha256Of(s string) []byte { h := sha256.Sum256([]byte(s)); return h[:] }

func pkcs1PEM(key *rsa.PublicKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(key)}))
}

type keyError struct {
	name string
	key  policy.JWTKey
	want string
}

func keyErrors() []keyError {
	public := publicPEM(testRSA)
	small := &rsa.PublicKey{N: must(rand.Prime(rand.Reader, 1024)), E: 65537}
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("some bytes of it")}))
	return []keyError{
		{"no alg", policy.JWTKey{KID: "k", Secret: testSecret}, "alg must be"},
		{"none", policy.JWTKey{KID: "k", Alg: "none", Secret: testSecret}, "alg must be"},
		{"HS512", policy.JWTKey{KID: "k", Alg: "HS512", Secret: testSecret}, "alg must be"},
		{"lowercase", policy.JWTKey{KID: "k", Alg: "hs256", Secret: testSecret}, "alg must be"},
		{"secret missing", policy.JWTKey{KID: "k", Alg: "HS256"}, "needs a secret"},
		{"secret short", policy.JWTKey{KID: "k", Alg: "HS256", Secret: "thirty-one bytes are not enough"}, "31 bytes"},
		{"both", policy.JWTKey{KID: "k", Alg: "HS256", Secret: testSecret, PublicKey: public}, "both set"},
		{"public key for a secret", policy.JWTKey{KID: "k", Alg: "HS256", Secret: public}, "PEM block"},
		{"HS256 with a public key", policy.JWTKey{KID: "k", Alg: "HS256", PublicKey: public}, "needs a secret"},
		{"RS256 with a secret", policy.JWTKey{KID: "k", Alg: "RS256", Secret: testSecret}, "needs a public_key"},
		{"nothing", policy.JWTKey{KID: "k", Alg: "ES256"}, "needs a public_key"},
		{"no PEM", policy.JWTKey{KID: "k", Alg: "RS256", PublicKey: "ssh-rsa AAAAB3NzaC1yc2E"}, "not PEM"},
		{"two blocks", policy.JWTKey{KID: "k", Alg: "RS256", PublicKey: public + public}, "more than one"},
		{"a private key", policy.JWTKey{KID: "k", Alg: "ES256", PublicKey: privatePEM(testEC)}, "private key"},
		{"a certificate", policy.JWTKey{KID: "k", Alg: "RS256", PublicKey: certificate}, "certificate"},
		{"another block", policy.JWTKey{KID: "k", Alg: "RS256", PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "X"}))}, "another kind"},
		{"damaged", policy.JWTKey{KID: "k", Alg: "RS256", PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("not a key, not even nearly")}))}, "damaged"},
		{"RSA too small", policy.JWTKey{KID: "k", Alg: "RS256", PublicKey: pkcs1PEM(small)}, "1024 bits"},
		{"another curve", policy.JWTKey{KID: "k", Alg: "ES256", PublicKey: publicPEM(p384)}, "P-256"},
		{"another alg than the key's", policy.JWTKey{KID: "k", Alg: "ES256", PublicKey: public}, "key for RS256"},
		{"the same kid and alg", policy.JWTKey{KID: "rs", Alg: "RS256", PublicKey: publicPEM(otherRSA)}, "same kid"},
	}
}

func TestKeysOfSizesThatAreNotRead(t *testing.T) {
	n := must(rand.Prime(rand.Reader, 64))
	for name, key := range map[string]*rsa.PublicKey{
		"too large":        {N: n.Lsh(n, maxRSABits), E: 65537},
		"an even exponent": {N: testRSA.N, E: 65536},
		"exponent one":     {N: testRSA.N, E: 1},
	} {
		_, err := algorithmOf(key)
		assert.Error(t, err, name)
	}
}

// TestVectors holds the signatures against the examples of the standards themselves (RFC 7515 A.1 to A.3, RFC 8037
// A.4), with their keys as JWKs. Their claims are not ours: no sub.
func TestVectors(t *testing.T) {
	b, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	var vectors []struct {
		Name, Alg, Token, Secret string
		JWK                      json.RawMessage
	}
	require.NoError(t, json.Unmarshal(b, &vectors))
	require.Len(t, vectors, 4)
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			key := &verifyKey{alg: hs256}
			if v.Secret != "" {
				secret, err := segment.DecodeString(v.Secret)
				require.NoError(t, err)
				key.key = secret
			} else {
				keys, refused, err := parseJWKS([]byte(`{"keys":[` + string(v.JWK) + `]}`))
				require.NoError(t, err)
				require.Empty(t, refused)
				key = keys[0]
			}
			require.Equal(t, v.Alg, key.alg)
			parts, ok := splitJWT(v.Token)
			require.True(t, ok)
			h, err := readHeader(must(segment.DecodeString(parts.header)))
			require.NoError(t, err)
			require.Equal(t, v.Alg, h.alg)
			signature := must(segment.DecodeString(parts.signature))
			assert.True(t, key.verifies(parts.signed, signature))
			assert.False(t, key.verifies(parts.signed+"A", signature))
			signature[5] ^= 1
			assert.False(t, key.verifies(parts.signed, signature))
		})
	}
}

package credential

import (
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
)

// refused checks that a token is refused, and that what is said of it holds nothing of it.
func refused(t *testing.T, j *JWTs, token, detail string) {
	t.Helper()
	for range 2 { // the second time it might be remembered
		c, fault, said := j.VerifyJWT(token)
		require.Nil(t, c)
		require.Equal(t, policy.CredentialUnknown, fault)
		require.Contains(t, said, detail)
		if parts := strings.Split(token, "."); len(parts) > 1 && len(parts[1]) > 3 {
			require.NotContains(t, said, parts[1])
		}
	}
}

func TestGoodTokens(t *testing.T) {
	j := newJWTs(t, testConfig())
	for _, c := range []struct {
		name, header string
		signer
	}{
		{"HS256", `{"alg":"HS256","typ":"JWT","kid":"hs"}`, hsSigner(testSecret)},
		{"RS256", `{"alg":"RS256","kid":"rs"}`, keySigner(testRSA)},
		{"ES256", `{"alg":"ES256","kid":"es"}`, keySigner(testEC)},
		{"EdDSA", `{"alg":"EdDSA","kid":"ed"}`, keySigner(testEd)},
		{"HS256 without kid", `{"alg":"HS256"}`, hsSigner(testSecret)},
		{"RS256 without kid", `{"alg":"RS256"}`, keySigner(testRSA)},
		{"ES256 without kid", `{"alg":"ES256"}`, keySigner(testEC)},
		{"EdDSA without kid", `{"alg":"EdDSA"}`, keySigner(testEd)},
		{"a header with what is ignored", `{"alg":"EdDSA","typ":"at+jwt","cty":"x","x5t":"abc","foo":{"bar":[1]}}`, keySigner(testEd)},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := token(c.header, `{"sub":"alice","exp":4000000000}`, c.signer)
			form, whole := Classify(token)
			require.Equal(t, JWT, form)
			require.Equal(t, token, whole)
			want := &policy.Credential{Kind: policy.CredentialJWT, User: "alice", Until: time.Unix(4000000000, 0).UTC()}
			first, fault, detail := j.VerifyJWT(token)
			require.Zero(t, fault, detail)
			require.Empty(t, detail)
			assert.Equal(t, want, first)
			again, _, _ := j.VerifyJWT(token)
			assert.Same(t, first, again, "remembered")
		})
	}
}

func TestBadHeadersAndSignatures(t *testing.T) {
	j := newJWTs(t, testConfig())
	claims := goodClaims()
	hs, ed, es := hsSigner(testSecret), keySigner(testEd), keySigner(testEC)
	nothing := func(string) []byte { return []byte{0} }
	pkix := must(x509.MarshalPKIXPublicKey(testRSA.Public()))
	edPKIX := must(x509.MarshalPKIXPublicKey(testEd.Public()))
	good := token(`{"alg":"HS256","kid":"hs"}`, claims, hs)
	edGood := token(`{"alg":"EdDSA","kid":"ed"}`, claims, ed)
	other := hsToken(`{"sub":"bob","exp":4000000000}`)
	dot := strings.LastIndex(good, ".")
	const (
		form, alg, head, sig, noKey = "not a JWT", "its algorithm", "its header is not", "its signature is not right", "no key of the catalog"
	)
	for _, c := range []struct{ name, token, detail string }{
		{"none", token(`{"alg":"none"}`, claims, nothing), alg},
		{"none without signature", b64(`{"alg":"none"}`) + "." + b64(claims) + ".", form},
		{"None", token(`{"alg":"None"}`, claims, nothing), alg},
		{"NONE", token(`{"alg":"NONE"}`, claims, nothing), alg},
		{"nOnE", token(`{"alg":"nOnE","kid":"hs"}`, claims, hs), alg},
		{"no algorithm's name", token(`{"alg":"","kid":"hs"}`, claims, hs), alg},
		{"no alg", token(`{"kid":"hs"}`, claims, hs), alg},
		{"alg null", token(`{"alg":null,"kid":"hs"}`, claims, hs), alg},
		{"alg in a list", token(`{"alg":["HS256"],"kid":"hs"}`, claims, hs), alg},
		{"alg in another case", token(`{"alg":"hs256","kid":"hs"}`, claims, hs), alg},
		{"alg with a space", token(`{"alg":"HS256 ","kid":"hs"}`, claims, hs), alg},
		{"Alg", token(`{"Alg":"HS256","kid":"hs"}`, claims, hs), alg},
		{"HS512", token(`{"alg":"HS512","kid":"hs"}`, claims, hs), alg},
		{"PS256", token(`{"alg":"PS256","kid":"rs"}`, claims, keySigner(testRSA)), alg},
		{"ES384", token(`{"alg":"ES384","kid":"es"}`, claims, es), alg},

		{"HS256 with the public key's PEM", token(`{"alg":"HS256","kid":"rs"}`, claims, hsSigner(publicPEM(testRSA))), noKey},
		{"HS256 with its PEM, no kid", token(`{"alg":"HS256"}`, claims, hsSigner(publicPEM(testRSA))), sig},
		{"HS256 with its PEM, trimmed", token(`{"alg":"HS256"}`, claims, hsSigner(strings.TrimSpace(publicPEM(testRSA)))), sig},
		{"HS256 with its DER", token(`{"alg":"HS256"}`, claims, hsSigner(string(pkix))), sig},
		{"HS256 with its DER, its kid", token(`{"alg":"HS256","kid":"rs"}`, claims, hsSigner(string(pkix))), noKey},
		{"HS256 with its PKCS1", token(`{"alg":"HS256"}`, claims, hsSigner(string(x509.MarshalPKCS1PublicKey(&testRSA.PublicKey)))), sig},
		{"HS256 with its modulus", token(`{"alg":"HS256"}`, claims, hsSigner(string(testRSA.N.Bytes()))), sig},
		{"HS256 with the Ed25519 key", token(`{"alg":"HS256","kid":"ed"}`, claims, hsSigner(string(edPKIX[12:]))), noKey},
		{"HS256 with an empty secret", token(`{"alg":"HS256"}`, claims, hsSigner("")), sig},

		{"another kid", token(`{"alg":"HS256","kid":"nobody"}`, claims, hs), noKey},
		{"the kid of another algorithm", token(`{"alg":"HS256","kid":"es"}`, claims, hs), noKey},
		{"another algorithm for the kid", token(`{"alg":"EdDSA","kid":"hs"}`, claims, ed), noKey},
		{"kid in another case", token(`{"alg":"HS256","kid":"HS"}`, claims, hs), noKey},
		{"kid empty", token(`{"alg":"HS256","kid":""}`, claims, hs), "its kid"},
		{"kid null", token(`{"alg":"HS256","kid":null}`, claims, hs), "its kid"},
		{"kid a number", token(`{"alg":"HS256","kid":1}`, claims, hs), "its kid"},
		{"kid a path", token(`{"alg":"HS256","kid":"../../dev/null"}`, claims, hsSigner("")), noKey},
		{"kid too long", token(`{"alg":"HS256","kid":"`+strings.Repeat("k", 257)+`"}`, claims, hs), "its kid"},

		{"HS256 with another secret", token(`{"alg":"HS256","kid":"hs"}`, claims, hsSigner(testSecret+"!")), sig},
		{"RS256 with another key", token(`{"alg":"RS256","kid":"rs"}`, claims, keySigner(otherRSA)), sig},
		{"ES256 with another key", token(`{"alg":"ES256","kid":"es"}`, claims, keySigner(otherEC)), sig},
		{"EdDSA with another key", token(`{"alg":"EdDSA","kid":"ed"}`, claims, keySigner(otherEd)), sig},
		{"RS256 with another key, no kid", token(`{"alg":"RS256"}`, claims, keySigner(otherRSA)), sig},
		{"ES256 with another key, no kid", token(`{"alg":"ES256"}`, claims, keySigner(otherEC)), sig},
		{"EdDSA with another key, no kid", token(`{"alg":"EdDSA"}`, claims, keySigner(otherEd)), sig},

		{"crit", token(`{"alg":"HS256","kid":"hs","crit":["exp"]}`, claims, hs), "crit"},
		{"crit empty", token(`{"alg":"HS256","kid":"hs","crit":[]}`, claims, hs), "crit"},
		{"crit null", token(`{"alg":"HS256","kid":"hs","crit":null}`, claims, hs), "crit"},
		{"b64 as it must be written", token(`{"alg":"HS256","kid":"hs","b64":false,"crit":["b64"]}`, claims, hs), "crit"},
		{"jwk inside", token(`{"alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"`+b64(string(otherEd[32:]))+`"}}`, claims, keySigner(otherEd)), sig},
		{"jku", token(`{"alg":"EdDSA","jku":"https://attacker.example/jwks"}`, claims, keySigner(otherEd)), sig},
		{"x5u", token(`{"alg":"EdDSA","kid":"x","x5u":"https://attacker.example/cert"}`, claims, keySigner(otherEd)), noKey},
		{"x5c", token(`{"alg":"RS256","kid":"rs","x5c":["`+base64.StdEncoding.EncodeToString(pkix)+`"]}`, claims, keySigner(otherRSA)), sig},

		{"header twice the same", token(`{"alg":"HS256","alg":"HS256","kid":"hs"}`, claims, hs), head},
		{"header an array", token(`[]`, claims, hs), form},
		{"header cut short", token(`{"alg":"HS256","kid":"hs"`, claims, hs), head},
		{"header and more", token(`{"alg":"HS256","kid":"hs"}{}`, claims, hs), head},
		{"header not UTF-8", token("{\"alg\":\"HS256\",\"kid\":\"hs\",\"a\":\"\xff\"}", claims, hs), head},
		{"header deep", token(`{"alg":"HS256","kid":"hs","a":`+strings.Repeat("[", 17)+strings.Repeat("]", 17)+`}`, claims, hs), head},
		{"header of an impossible length", "eyJhb" + good[strings.Index(good, "."):], head},

		{"empty", "", form},
		{"no token", "hello", form},
		{"a key", exampleKey, form},
		{"without its first letter", good[1:], form},
		{"four parts", good + ".abc", form},
		{"a dot at the end", good + ".", form},
		{"two parts", good[:dot], form},
		{"no signature", good[:dot+1], form},
		{"a byte short", token(`{"alg":"HS256"}`, claims, func(s string) []byte { return hs(s)[:31] }), sig},
		{"half a signature", token(`{"alg":"HS256"}`, claims, func(s string) []byte { return hs(s)[:16] }), sig},
		{"a byte more", token(`{"alg":"HS256"}`, claims, func(s string) []byte { return append(hs(s), 0) }), sig},
		{"a signature of an impossible length", good + "aa", "its signature is not base64url"},
		{"a space at the end", good + " ", form},
		{"a line break inside", good[:dot+5] + "\n" + good[dot+5:], form},
		{"padding", good + "=", form},
		{"the signature of another token", good[:dot] + other[strings.LastIndex(other, "."):], sig},
		{"claims of another token", swapClaims(good, `{"sub":"bob","exp":4000000000}`), sig},
		{"claims of another token, EdDSA", swapClaims(edGood, `{"sub":"bob","exp":4000000000}`), sig},
		{"claims of an impossible length", signedAs(b64(`{"alg":"HS256"}`)+".abcde", hs), "its claims are not base64url"},
		{"claims with bits of no byte", signedAs(b64(`{"alg":"HS256"}`)+"."+b64(`{"sub":"alice",` + far + `}`)[:42]+"1", hs), "its claims are not base64url"},

		{"too long", good + strings.Repeat("a", maxToken), "8 KiB"},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, j, c.token, c.detail) })
	}
}

func signedAs(signed string, sign signer) string { return signed + "." + b64(string(sign(signed))) }

func swapClaims(token, claims string) string {
	parts := strings.Split(token, ".")
	return parts[0] + "." + b64(claims) + "." + parts[2]
}

// Base64url's last letter holds bits of no byte. A decoder that overlooks them takes four spellings for one signature.
func TestSignatureIsSpelledInOneWay(t *testing.T) {
	j := newJWTs(t, testConfig())
	good := hsToken(goodClaims()) // 32 bytes: 43 letters, of the last of which 2 bits are unused
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, good[len(good)-1])
	require.Zero(t, last%4)
	refused(t, j, good[:len(good)-1]+alphabet[last+1:last+2], "its signature is not base64url")
	c, _, _ := j.VerifyJWT(good)
	require.NotNil(t, c)
}

// ES256's signature is r and s, 32 bytes each. DER, which other software uses, is refused. (r, n-s) is as right as
// (r, s): that is the algorithm's nature, needs a token that is right to begin with, and says nothing else than it.
func TestES256Format(t *testing.T) {
	j := newJWTs(t, testConfig())
	claims := goodClaims()
	es := keySigner(testEC)
	with := func(change func(sig []byte) []byte) string {
		return token(`{"alg":"ES256","kid":"es"}`, claims, func(signed string) []byte { return change(es(signed)) })
	}
	n := testEC.Params().N
	for name, bad := range map[string]string{
		"DER": token(`{"alg":"ES256","kid":"es"}`, claims, func(signed string) []byte {
			return must(testEC.Sign(nil, sha256Of(signed), hash256))
		}),
		"a byte more":   with(func(s []byte) []byte { return append(s, 0) }),
		"a byte less":   with(func(s []byte) []byte { return s[:63] }),
		"zeroes before": with(func(s []byte) []byte { return append(make([]byte, 2), s...) }),
		"r is zero":     with(func(s []byte) []byte { clear(s[:32]); return s }),
		"s is zero":     with(func(s []byte) []byte { clear(s[32:]); return s }),
		"both are zero": with(func(s []byte) []byte { clear(s); return s }),
		"both are n":    with(func([]byte) []byte { return append(n.Bytes(), n.Bytes()...) }),
		"turned round":  with(func(s []byte) []byte { return append(s[32:64:64], s[:32]...) }),
	} {
		t.Run(name, func(t *testing.T) { refused(t, j, bad, "its signature is not right") })
	}
	mirrored := with(func(s []byte) []byte {
		new(big.Int).Sub(n, new(big.Int).SetBytes(s[32:])).FillBytes(s[32:])
		return s
	})
	c, _, detail := j.VerifyJWT(mirrored)
	require.NotNil(t, c, detail)
	assert.Equal(t, "alice", c.User)
}

func TestATokenWithoutKidIsTriedWithFewKeys(t *testing.T) {
	var config policy.JWT
	for i := range maxUnnamed {
		config.Keys = append(config.Keys, policy.JWTKey{Alg: "HS256", Secret: testSecret + strings.Repeat("+", i)})
	}
	last := token(`{"alg":"HS256"}`, goodClaims(), hsSigner(config.Keys[maxUnnamed-1].Secret))
	c, _, detail := newJWTs(t, config).VerifyJWT(last)
	require.NotNil(t, c, detail)

	config.Keys = append(config.Keys, policy.JWTKey{KID: "one-more", Alg: "HS256", Secret: testSecret + "?"})
	refused(t, newJWTs(t, config), last, "too many")
	named := token(`{"alg":"HS256","kid":"one-more"}`, goodClaims(), hsSigner(testSecret+"?"))
	c, _, detail = newJWTs(t, config).VerifyJWT(named)
	require.NotNil(t, c, detail)
}

func TestWithoutKeysNothingVerifies(t *testing.T) {
	j := newJWTs(t, policy.JWT{})
	<-j.Started()
	refused(t, j, hsToken(goodClaims()), "no key of the catalog")
}

// A token is a credential before, within and after its time: Evaluate holds the times against its own moment.
func TestTimeIsNotJudgedHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, err := NewJWTs(testConfig(), Options{})
		require.NoError(t, err)
		defer j.Close()
		good := hsToken(`{"sub":"alice","nbf":` + exp(time.Minute) + `,"exp":` + exp(time.Hour) + `}`)
		from, until := time.Now().Add(time.Minute).UTC(), time.Now().Add(time.Hour).UTC()
		for _, wait := range []time.Duration{0, 2 * time.Minute, time.Hour, 3 * time.Hour} {
			time.Sleep(wait)
			c, fault, detail := j.VerifyJWT(good)
			require.Zero(t, fault, detail)
			assert.Equal(t, from, c.From)
			assert.Equal(t, until, c.Until)
		}
		c, _, detail := j.VerifyJWT(hsToken(`{"sub":"alice","exp":1}`))
		require.NotNil(t, c, detail)
		assert.Equal(t, time.Unix(1, 0).UTC(), c.Until)
	})
}

func TestRememberedUntilItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, err := NewJWTs(testConfig(), Options{})
		require.NoError(t, err)
		defer j.Close()
		good := hsToken(goodClaims())
		first, _, _ := j.VerifyJWT(good)
		time.Sleep(time.Hour - time.Second)
		again, _, _ := j.VerifyJWT(good)
		assert.Same(t, first, again)
		time.Sleep(2 * time.Second)
		late, _, _ := j.VerifyJWT(good)
		assert.NotSame(t, first, late)
		assert.Equal(t, first, late)
		j.remembered.CleanUp()
		assert.Zero(t, j.remembered.EstimatedSize(), "one that expired is not kept")
	})
}

func TestWhatIsRefusedIsNotRemembered(t *testing.T) {
	j := newJWTs(t, testConfig())
	good := hsToken(goodClaims())
	c, _, _ := j.VerifyJWT(good)
	for range 1000 {
		j.VerifyJWT(token(`{"alg":"HS256","kid":"hs"}`, goodClaims(), hsSigner(NewKey())))
	}
	assert.Equal(t, 1, j.remembered.EstimatedSize())
	again, _, _ := j.VerifyJWT(good)
	assert.Same(t, c, again)
}

func TestCatalogKeyErrors(t *testing.T) {
	for _, c := range keyErrors() {
		t.Run(c.name, func(t *testing.T) {
			config := testConfig()
			config.Keys = append(config.Keys, c.key)
			j, err := NewJWTs(config, Options{})
			require.Error(t, err)
			require.Nil(t, j)
			assert.Contains(t, err.Error(), c.want)
			assert.Contains(t, err.Error(), "jwt.keys[4]")
			assert.Contains(t, err.Error(), `"`+c.key.KID+`"`)
			for _, secret := range []string{c.key.Secret, c.key.PublicKey} {
				if len(secret) > 8 {
					assert.NotContains(t, err.Error(), secret[len(secret)/2:len(secret)/2+8])
				}
			}
		})
	}
}

func TestPKCS1AndAddressesOfAJWT(t *testing.T) {
	config := policy.JWT{Keys: []policy.JWTKey{{Alg: "RS256", PublicKey: pkcs1PEM(&testRSA.PublicKey) + "\n \n"}}}
	c, _, detail := newJWTs(t, config).VerifyJWT(token(`{"alg":"RS256"}`, `{"sub":"a","exp":4000000000,"ip":"192.0.2.1"}`, keySigner(testRSA)))
	require.NotNil(t, c, detail)
	assert.Equal(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}, c.Addresses)
}

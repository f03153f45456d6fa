package credential

import (
	"slices"
	"strings"
	"testing"

	"authhook/internal/policy"
)

// signedTokens are right, and can be written in no other way: HMAC and Ed25519 have one signature for one text.
func signedTokens() []string {
	var list []string
	for _, claims := range []string{
		`{"sub":"alice",` + far + `}`,
		`{"sub":"bob","nbf":5,"stream":["a*","b"],"ip":"::1",` + far + `}`,
	} {
		list = append(list,
			token(`{"alg":"HS256","kid":"hs"}`, claims, hsSigner(testSecret)),
			token(`{"alg":"HS256"}`, claims, hsSigner(testSecret)),
			token(`{"alg":"EdDSA","kid":"ed"}`, claims, keySigner(testEd)))
	}
	return list
}

// No text but those that were signed is ever a credential.
func FuzzVerifyJWT(f *testing.F) {
	config := testConfig()
	config.Keys = slices.DeleteFunc(config.Keys, func(k policy.JWTKey) bool { return k.Alg == es256 }) // see TestES256Format
	j := newJWTs(f, config)
	signed := signedTokens()
	for _, s := range signed {
		f.Add(s)
		f.Add(s[1:])
		f.Add(s + ".")
		f.Add(strings.Replace(s, ".", "..", 1))
	}
	f.Add(b64(`{"alg":"none"}`) + "." + b64(`{"sub":"alice",`+far+`}`) + ".")
	f.Add(b64(`{"alg":"HS256","kid":"rs"}`) + "." + b64(`{"sub":"alice",`+far+`}`) + ".AAAA")
	f.Add(b64(`{"alg":"RS256","alg":"HS256"}`) + "." + b64(`{}`) + ".AA")
	f.Fuzz(func(t *testing.T, s string) {
		c, fault, detail := j.VerifyJWT(s)
		if (c == nil) != (fault == policy.CredentialUnknown) || (c == nil) != (detail != "") {
			t.Fatalf("credential %v, fault %v, detail %q", c, fault, detail)
		}
		if (c != nil) != slices.Contains(signed, s) {
			t.Fatalf("%q: credential %v, and it was signed or not: %v", s, c, slices.Contains(signed, s))
		}
	})
}

// Whatever an issuer signs, what comes out is in order, and a claim that narrows the credential narrows it.
func FuzzClaims(f *testing.F) {
	j := newJWTs(f, testConfig())
	for _, s := range []string{
		`{"sub":"alice",` + far + `}`, `{"sub":"a","exp":1e9,"stream":["a","b*"],"ip":["::1","10.0.0.0/8"],"publish":true,"nbf":1.5}`,
		`{"sub":"a","exp":1,"stream":[]}`, `{"sub":"a","exp":1,"ip":null}`, `{"sub":"\ud800","exp":1}`, `[[[[`, `{"a":{"a":{"a":1}}}`, "\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, claims []byte) {
		c, fault, _ := j.VerifyJWT(hsToken(string(claims)))
		if c == nil {
			if fault != policy.CredentialUnknown {
				t.Fatalf("no credential, and the fault is %v", fault)
			}
			return
		}
		if !isName(c.User) || c.Until.IsZero() || c.Until.Unix() < 1 || c.Until.Year() > 9999 || c.Kind != policy.CredentialJWT || c.ID != "" {
			t.Fatalf("%q became %+v", claims, c)
		}
		fields, err := readObject(claims)
		if err != nil {
			t.Fatalf("%q became %+v", claims, c)
		}
		if _, ok := fields["stream"]; ok != (len(c.Streams) > 0) {
			t.Fatalf("%q became %+v", claims, c)
		}
		if _, ok := fields["ip"]; ok != (len(c.Addresses) > 0) {
			t.Fatalf("%q became %+v", claims, c)
		}
		if _, ok := fields["nbf"]; ok == c.From.IsZero() {
			t.Fatalf("%q became %+v", claims, c)
		}
	})
}

func BenchmarkVerifyJWT(b *testing.B) {
	j := newJWTs(b, testConfig())
	for _, c := range []struct {
		name  string
		token string
	}{
		{"HS256", hsToken(goodClaims())},
		{"RS256", token(`{"alg":"RS256","kid":"rs"}`, goodClaims(), keySigner(testRSA))},
		{"ES256", token(`{"alg":"ES256","kid":"es"}`, goodClaims(), keySigner(testEC))},
		{"EdDSA", token(`{"alg":"EdDSA","kid":"ed"}`, goodClaims(), keySigner(testEd))},
	} {
		b.Run(c.name+"/first", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v, _ := j.verify(c.token); v.credential == nil {
					b.Fatal()
				}
			}
		})
		b.Run(c.name+"/remembered", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v, _, _ := j.VerifyJWT(c.token); v == nil {
					b.Fatal()
				}
			}
		})
	}
	b.Run("refused/form", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			j.VerifyJWT("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.")
		}
	})
	b.Run("refused/kid", func(b *testing.B) {
		b.ReportAllocs()
		s := token(`{"alg":"RS256","kid":"nobody"}`, goodClaims(), keySigner(testRSA))
		for b.Loop() {
			j.VerifyJWT(s)
		}
	})
}

func BenchmarkClassify(b *testing.B) {
	jwt := hsToken(goodClaims())
	for name, s := range map[string]string{"key": exampleKey, "key repaired": exampleKey[1:], "jwt": jwt, "jwt repaired": jwt[1:], "none": "15302"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Classify(s)
			}
		})
	}
}

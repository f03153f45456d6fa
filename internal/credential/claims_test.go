package credential

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
)

const far = `"exp":4000000000`

func TestBadClaims(t *testing.T) {
	demanding := testConfig()
	demanding.Issuer, demanding.Audience = "https://issuer.example", "tv"
	plain, demands := newJWTs(t, testConfig()), newJWTs(t, demanding)
	const object, sub, exp, nbf, stream, ip, publish = "claims are not", "no sub", "no exp", "its nbf", "its stream claim", "its ip claim", "its publish claim"
	for _, c := range []struct{ name, claims, detail string }{
		{"nothing at all", ` `, object},
		{"null", `null`, object},
		{"a string", `"alice"`, object},
		{"an array", `[{"sub":"alice",` + far + `}]`, object},
		{"cut short", `{"sub":"alice",` + far, object},
		{"a comma too many", `{"sub":"alice",` + far + `,}`, object},
		{"and more after it", `{"sub":"alice",` + far + `} {}`, object},
		{"and garbage after it", `{"sub":"alice",` + far + `}x`, object},
		{"not UTF-8", "{\"sub\":\"ali\xff\"," + far + "}", object},
		{"not UTF-8 where nobody looks", "{\"sub\":\"alice\",\"x\":\"\xc3\x28\"," + far + "}", object},
		{"UTF-16", "\xff\xfe{\x00}\x00", object},
		{"a byte order mark", "\ufeff{\"sub\":\"alice\"," + far + "}", object},
		{"sub twice", `{"sub":"alice","sub":"bob",` + far + `}`, object},
		{"sub twice, once escaped", `{"sub":"alice","\u0073ub":"bob",` + far + `}`, object},
		{"exp twice", `{"sub":"alice","exp":1,` + far + `}`, object},
		{"deep", `{"sub":"alice",` + far + `,"x":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}`, object},
		{"deep objects", `{"sub":"alice",` + far + `,"x":` + strings.Repeat(`{"a":`, 500) + `1` + strings.Repeat("}", 500) + `}`, object},
		{"deep, never closed", strings.Repeat("[", 5000), object},

		{"no sub", `{` + far + `}`, sub},
		{"sub empty", `{"sub":"",` + far + `}`, sub},
		{"sub null", `{"sub":null,` + far + `}`, sub},
		{"sub a number", `{"sub":7,` + far + `}`, sub},
		{"sub a list", `{"sub":["alice"],` + far + `}`, sub},
		{"sub an object", `{"sub":{"id":"alice"},` + far + `}`, sub},
		{"sub true", `{"sub":true,` + far + `}`, sub},
		{"sub in another case", `{"Sub":"alice",` + far + `}`, sub},
		{"sub too long", `{"sub":"` + strings.Repeat("a", 257) + `",` + far + `}`, sub},
		{"sub with a zero byte", `{"sub":"alice\u0000",` + far + `}`, sub},
		{"sub with a line break", `{"sub":"alice\nbob",` + far + `}`, sub},
		{"sub with half a letter", `{"sub":"alice\ud800",` + far + `}`, sub},

		{"no exp", `{"sub":"alice"}`, exp},
		{"exp null", `{"sub":"alice","exp":null}`, exp},
		{"exp a string", `{"sub":"alice","exp":"4000000000"}`, exp},
		{"exp true", `{"sub":"alice","exp":true}`, exp},
		{"exp a list", `{"sub":"alice","exp":[4000000000]}`, exp},
		{"exp a date", `{"sub":"alice","exp":"2099-01-01T00:00:00Z"}`, exp},
		{"exp negative", `{"sub":"alice","exp":-1}`, exp},
		{"exp zero", `{"sub":"alice","exp":0}`, exp},
		{"exp minus zero", `{"sub":"alice","exp":-0.0}`, exp},
		{"exp of Go's zero time", `{"sub":"alice","exp":-62135596800}`, exp},
		{"exp in milliseconds", `{"sub":"alice","exp":4000000000000}`, exp},
		{"exp after the year 9999", `{"sub":"alice","exp":253402300800}`, exp},
		{"exp huge", `{"sub":"alice","exp":1e300}`, exp},
		{"exp more than huge", `{"sub":"alice","exp":1e999}`, exp},
		{"exp of many digits", `{"sub":"alice","exp":` + strings.Repeat("9", 400) + `}`, exp},
		{"exp of 64 bits and one", `{"sub":"alice","exp":18446744073709551617}`, exp},
		{"exp NaN", `{"sub":"alice","exp":NaN}`, object},
		{"exp hexadecimal", `{"sub":"alice","exp":0xffffffff}`, object},
		{"exp with a plus", `{"sub":"alice","exp":+4000000000}`, object},

		{"nbf null", `{"sub":"alice",` + far + `,"nbf":null}`, nbf},
		{"nbf a string", `{"sub":"alice",` + far + `,"nbf":"1"}`, nbf},
		{"nbf negative", `{"sub":"alice",` + far + `,"nbf":-1}`, nbf},
		{"nbf huge", `{"sub":"alice",` + far + `,"nbf":1e300}`, nbf},

		{"stream null", `{"sub":"alice",` + far + `,"stream":null}`, stream},
		{"stream empty", `{"sub":"alice",` + far + `,"stream":""}`, stream},
		{"stream an empty list", `{"sub":"alice",` + far + `,"stream":[]}`, stream},
		{"stream a list of nothing", `{"sub":"alice",` + far + `,"stream":["live",""]}`, stream},
		{"stream a list with null", `{"sub":"alice",` + far + `,"stream":["live",null]}`, stream},
		{"stream a list of lists", `{"sub":"alice",` + far + `,"stream":[["live"]]}`, stream},
		{"stream a number", `{"sub":"alice",` + far + `,"stream":1}`, stream},
		{"stream an object", `{"sub":"alice",` + far + `,"stream":{"live":true}}`, stream},
		{"stream false", `{"sub":"alice",` + far + `,"stream":false}`, stream},
		{"stream with a star inside", `{"sub":"alice",` + far + `,"stream":"live*x"}`, stream},
		{"stream with two stars", `{"sub":"alice",` + far + `,"stream":"**"}`, stream},
		{"stream too long", `{"sub":"alice",` + far + `,"stream":"` + strings.Repeat("s", 257) + `"}`, stream},
		{"stream with a zero byte", `{"sub":"alice",` + far + `,"stream":"a\u0000"}`, stream},

		{"ip null", `{"sub":"alice",` + far + `,"ip":null}`, ip},
		{"ip empty", `{"sub":"alice",` + far + `,"ip":""}`, ip},
		{"ip an empty list", `{"sub":"alice",` + far + `,"ip":[]}`, ip},
		{"ip a name", `{"sub":"alice",` + far + `,"ip":"localhost"}`, ip},
		{"ip a star", `{"sub":"alice",` + far + `,"ip":"*"}`, ip},
		{"ip with a port", `{"sub":"alice",` + far + `,"ip":"192.0.2.1:80"}`, ip},
		{"ip with a wrong mask", `{"sub":"alice",` + far + `,"ip":"192.0.2.1/33"}`, ip},
		{"ip with a zone", `{"sub":"alice",` + far + `,"ip":"fe80::1%eth0"}`, ip},
		{"ip with octal", `{"sub":"alice",` + far + `,"ip":"192.0.02.1"}`, ip},
		{"ip half mapped", `{"sub":"alice",` + far + `,"ip":"::ffff:1.2.3.4/90"}`, ip},
		{"ip one right and one wrong", `{"sub":"alice",` + far + `,"ip":["192.0.2.1","x"]}`, ip},
		{"ip a number", `{"sub":"alice",` + far + `,"ip":3221225985}`, ip},

		{"publish a string", `{"sub":"alice",` + far + `,"publish":"true"}`, publish},
		{"publish a number", `{"sub":"alice",` + far + `,"publish":1}`, publish},
		{"publish null", `{"sub":"alice",` + far + `,"publish":null}`, publish},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, plain, hsToken(c.claims), c.detail) })
	}

	const iss, aud = `"iss":"https://issuer.example"`, `"aud":"tv"`
	for _, c := range []struct{ name, claims, detail string }{
		{"no issuer", `{"sub":"alice",` + far + `,` + aud + `}`, "issuer"},
		{"another issuer", `{"sub":"alice",` + far + `,` + aud + `,"iss":"https://issuer.example/"}`, "issuer"},
		{"issuer in a list", `{"sub":"alice",` + far + `,` + aud + `,"iss":["https://issuer.example"]}`, "issuer"},
		{"issuer null", `{"sub":"alice",` + far + `,` + aud + `,"iss":null}`, "issuer"},
		{"no audience", `{"sub":"alice",` + far + `,` + iss + `}`, "audience"},
		{"another audience", `{"sub":"alice",` + far + `,` + iss + `,"aud":"tv2"}`, "audience"},
		{"other audiences", `{"sub":"alice",` + far + `,` + iss + `,"aud":["a","b"]}`, "audience"},
		{"no audiences", `{"sub":"alice",` + far + `,` + iss + `,"aud":[]}`, "audience"},
		{"audience null", `{"sub":"alice",` + far + `,` + iss + `,"aud":null}`, "audience"},
		{"audience among what is none", `{"sub":"alice",` + far + `,` + iss + `,"aud":["tv",1]}`, "audience"},
		{"audience an object", `{"sub":"alice",` + far + `,` + iss + `,"aud":{"tv":1}}`, "audience"},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, demands, hsToken(c.claims), c.detail) })
	}
	for _, good := range []string{aud, `"aud":["radio","tv"]`} {
		c, _, detail := demands.VerifyJWT(hsToken(`{"sub":"alice",` + far + `,` + iss + `,` + good + `}`))
		require.NotNil(t, c, detail)
	}
}

func TestGoodClaims(t *testing.T) {
	j := newJWTs(t, testConfig())
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	prefixes := func(list ...string) (p []netip.Prefix) {
		for _, s := range list {
			p = append(p, netip.MustParsePrefix(s))
		}
		return p
	}
	for _, c := range []struct {
		name, claims string
		want         policy.Credential
	}{
		{"nbf", `"nbf":1000,` + far, policy.Credential{From: at(1000)}},
		{"nbf of zero", `"nbf":0,` + far, policy.Credential{From: at(0)}},
		{"fractions narrow", `"nbf":1000.25,"exp":4000000000.75`, policy.Credential{From: at(1001)}},
		{"exponents", `"exp":4e9`, policy.Credential{}},
		{"a stream", `"stream":"live",` + far, policy.Credential{Streams: []string{"live"}}},
		{"streams", `"stream":["live+*","movie","*"],` + far, policy.Credential{Streams: []string{"live+*", "movie", "*"}}},
		{"an address", `"ip":"192.0.2.1",` + far, policy.Credential{Addresses: prefixes("192.0.2.1/32")}},
		{"addresses", `"ip":["192.0.2.9/24","2001:db8::1","2001:db8::/32"],` + far,
			policy.Credential{Addresses: prefixes("192.0.2.0/24", "2001:db8::1/128", "2001:db8::/32")}},
		{"IPv4 as IPv6", `"ip":["::ffff:192.0.2.1","::ffff:192.0.2.0/120"],` + far,
			policy.Credential{Addresses: prefixes("192.0.2.1/32", "192.0.2.0/24")}},
		{"every address, in so many words", `"ip":["0.0.0.0/0","::/0"],` + far, policy.Credential{Addresses: prefixes("0.0.0.0/0", "::/0")}},
		{"publish", `"publish":true,` + far, policy.Credential{Publish: true}},
		{"not publish", `"publish":false,` + far, policy.Credential{}},
		{"others", `"iat":"x","jti":7,"aud":["a"],"iss":5,"scope":{"a":[{"b":null}]},"SUB":"bob",` + far, policy.Credential{}},
		{"brackets in text", `"x":"` + strings.Repeat(`[{\"\\`, 100) + `",` + far, policy.Credential{}},
		{"as deep as can be", `"x":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + `,` + far, policy.Credential{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Kind, c.want.User, c.want.Until = policy.CredentialJWT, "alice", at(4000000000)
			got, fault, detail := j.VerifyJWT(hsToken(`{"sub":"alice",` + c.claims + `}`))
			require.Zero(t, fault, detail)
			assert.Equal(t, &c.want, got)
		})
	}
	for _, sub := range []string{"ünïcödé", strings.Repeat("a", 256), "user:1@example.com", "7", "Alice Smith"} {
		got, _, detail := j.VerifyJWT(hsToken(`{"sub":"` + sub + `",` + far + `}`))
		require.NotNil(t, got, detail)
		assert.Equal(t, sub, got.User)
	}
}

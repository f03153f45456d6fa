package credential

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
)

// fields are more of a JWK's members, or other ones.
type fields map[string]any

// jwk writes a public key as a JWK.
func jwk(kid string, key crypto.PublicKey, more ...fields) string {
	m := fields{"kid": kid}
	switch key := key.(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(string(key.N.Bytes())), b64(string(big.NewInt(int64(key.E)).Bytes()))
	case *ecdsa.PublicKey:
		point := must(key.Bytes())
		half := len(point) / 2
		m["kty"], m["crv"], m["x"], m["y"] = "EC", key.Params().Name, b64(string(point[1:1+half])), b64(string(point[1+half:]))
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(string(key))
	}
	for _, f := range more {
		maps.Copy(m, f)
	}
	return string(must(json.Marshal(m)))
}

func set(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

// endpoint is a JWKS URL on this machine, whose answer a test changes.
type endpoint struct {
	*httptest.Server
	body    atomic.Pointer[string]
	handler atomic.Pointer[http.HandlerFunc] // when set, it answers instead
	asked   atomic.Int32
}

func newEndpoint(t *testing.T, body string) *endpoint {
	e := &endpoint{}
	e.body.Store(&body)
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.asked.Add(1)
	if h := e.handler.Load(); h != nil {
		(*h)(w, r)
		return
	}
	fmt.Fprint(w, *e.body.Load())
}

func (e *endpoint) answer(h http.HandlerFunc) { e.handler.Store(&h) }

// reading is a JWTs with an endpoint, after its first reading.
func reading(t *testing.T, e *endpoint, keys ...policy.JWTKey) (*JWTs, Refresh) {
	t.Helper()
	results := make(chan Refresh, 10)
	j := newJWTs(t, policy.JWT{Keys: keys, JWKSURL: e.URL + "/jwks.json?secret=swordfish"}, Options{Refreshed: func(r Refresh) { results <- r }})
	first := <-results
	<-j.Started()
	return j, first
}

// again reads the endpoint once more; when it does so by itself is another test's business.
func again(t *testing.T, j *JWTs) Refresh {
	return j.jwks.refresh(t.Context(), j.replaceFetched)
}

func esToken(kid string, key *ecdsa.PrivateKey) string {
	return token(`{"alg":"ES256","kid":"`+kid+`"}`, `{"sub":"alice",`+far+`}`, keySigner(key))
}

func accepted(t *testing.T, j *JWTs, token string) *policy.Credential {
	t.Helper()
	c, _, detail := j.VerifyJWT(token)
	require.NotNil(t, c, detail)
	return c
}

func TestJWKSKeysVerify(t *testing.T) {
	e := newEndpoint(t, set(
		jwk("r", testRSA.Public()), jwk("e", testEC.Public(), fields{"use": "sig", "alg": "ES256"}),
		jwk("d", testEd.Public(), fields{"alg": "EdDSA", "key_ops": []string{"verify"}})))
	j, first := reading(t, e, policy.JWTKey{KID: "hs", Alg: "HS256", Secret: testSecret})
	require.NoError(t, first.Err)
	assert.Equal(t, Refresh{Keys: 3, Added: 3}, first)
	claims := goodClaims()
	accepted(t, j, token(`{"alg":"RS256","kid":"r"}`, claims, keySigner(testRSA)))
	accepted(t, j, token(`{"alg":"ES256","kid":"e"}`, claims, keySigner(testEC)))
	accepted(t, j, token(`{"alg":"EdDSA","kid":"d"}`, claims, keySigner(testEd)))
	accepted(t, j, token(`{"alg":"EdDSA"}`, claims, keySigner(testEd)))
	accepted(t, j, hsToken(claims))
	refused(t, j, token(`{"alg":"RS256","kid":"e"}`, claims, keySigner(testRSA)), "no key of the catalog or the JWKS URL")
	refused(t, j, token(`{"alg":"HS256","kid":"r"}`, claims, hsSigner(publicPEM(testRSA))), "no key of the catalog or the JWKS URL")
	refused(t, j, token(`{"alg":"HS256","kid":"r"}`, claims, hsSigner(jwk("r", testRSA.Public()))), "no key of the catalog or the JWKS URL")
	refused(t, j, token(`{"alg":"ES256","kid":"e"}`, claims, keySigner(otherEC)), "its signature")
}

func TestJWKSRotationAndRemoval(t *testing.T) {
	e := newEndpoint(t, set(jwk("old", testEC.Public()), jwk("stays", testEd.Public())))
	j, _ := reading(t, e)
	old, fresh := esToken("old", testEC), esToken("new", otherEC)
	stays := token(`{"alg":"EdDSA","kid":"stays"}`, goodClaims(), keySigner(testEd))
	accepted(t, j, old)
	kept := accepted(t, j, stays)
	refused(t, j, fresh, "no key")

	body := set(jwk("old", testEC.Public()), jwk("new", otherEC.Public()), jwk("stays", testEd.Public()))
	e.body.Store(&body)
	assert.Equal(t, Refresh{Keys: 3, Added: 1}, again(t, j))
	accepted(t, j, old)
	accepted(t, j, fresh)
	assert.Same(t, kept, accepted(t, j, stays), "what was verified with a key that stays is remembered still")

	body2 := set(jwk("new", otherEC.Public()), jwk("stays", testEd.Public()))
	e.body.Store(&body2)
	assert.Equal(t, Refresh{Keys: 2, Removed: 1}, again(t, j))
	refused(t, j, old, "no key")
	accepted(t, j, fresh)

	body3 := set(jwk("new", testEC.Public()), jwk("stays", testEd.Public())) // another key by the same name
	e.body.Store(&body3)
	assert.Equal(t, Refresh{Keys: 2, Added: 1, Removed: 1}, again(t, j))
	refused(t, j, fresh, "its signature")
	accepted(t, j, esToken("new", testEC))

	renamed := set(jwk("renamed", testEC.Public()), jwk("stays", testEd.Public()))
	e.body.Store(&renamed)
	assert.Equal(t, Refresh{Keys: 2, Added: 1, Removed: 1}, again(t, j))
	refused(t, j, esToken("new", testEC), "no key")
	accepted(t, j, esToken("renamed", testEC))

	body4 := set()
	e.body.Store(&body4)
	assert.Equal(t, Refresh{Removed: 2}, again(t, j))
	refused(t, j, stays, "no key")
}

func TestAKeyThatComesBackVerifiesAgain(t *testing.T) {
	body := set(jwk("k", testEC.Public()))
	e := newEndpoint(t, body)
	j, _ := reading(t, e)
	good, none := esToken("k", testEC), set()
	accepted(t, j, good)
	e.body.Store(&none)
	again(t, j)
	refused(t, j, good, "no key")
	e.body.Store(&body)
	again(t, j)
	c := accepted(t, j, good)
	assert.Same(t, c, accepted(t, j, good))
}

// Whatever an endpoint that is out of order answers, the keys that are known go on.
func TestJWKSOutage(t *testing.T) {
	e := newEndpoint(t, set(jwk("k", testEC.Public())))
	j, _ := reading(t, e)
	many := make([]string, maxJWKSKeys+1)
	for i := range many {
		many[i] = jwk("k", testEC.Public())
	}
	say := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "status 500"},
		{"404 with keys", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); fmt.Fprint(w, set()) }, "status 404"},
		{"204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "status 204"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, "status 302"},
		{"nothing", say(""), "not a JWK set"},
		{"HTML", say("<html>"), "not a JWK set"},
		{"null", say("null"), "not a JWK set"},
		{"no keys", say(`{}`), "not a JWK set"},
		{"keys null", say(`{"keys":null}`), "not a JWK set"},
		{"keys an object", say(`{"keys":{}}`), "not a JWK set"},
		{"an error document", say(`{"error":"down"}`), "not a JWK set"},
		{"cut short", say(`{"keys":[`), "not a JWK set"},
		{"two sets", say(`{"keys":[]}{"keys":[]}`), "not a JWK set"},
		{"too many keys", say(set(many...)), "more than 100 keys"},
		{"huge", say(set() + strings.Repeat(" ", maxJWKS)), "longer than"},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, "longer than"},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "asking for it"},
		{"hangs up halfway", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"keys":[]}`)
		}, "reading the answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e.answer(c.answer)
			r := again(t, j)
			require.ErrorContains(t, r.Err, c.want)
			assert.NotContains(t, r.Err.Error(), "swordfish")
			accepted(t, j, token(`{"alg":"ES256","kid":"k"}`, goodClaims(), keySigner(testEC)))
		})
	}
	e.Close()
	r := again(t, j)
	require.ErrorContains(t, r.Err, "asking for it")
	assert.NotContains(t, r.Err.Error(), "swordfish")
	accepted(t, j, esToken("k", testEC))
}

// pending: the token's key may yet come.
func pending(t *testing.T, j *JWTs, token string) {
	t.Helper()
	c, fault, detail := j.VerifyJWT(token)
	require.Nil(t, c)
	require.Equal(t, policy.Unavailable, fault)
	require.Contains(t, detail, "could not be read yet")
}

func TestUnreachableAtStart(t *testing.T) {
	e := newEndpoint(t, "")
	e.Close()
	j, first := reading(t, e, policy.JWTKey{KID: "hs", Alg: "HS256", Secret: testSecret})
	require.Error(t, first.Err)
	accepted(t, j, hsToken(goodClaims()))
	pending(t, j, esToken("k", testEC))
}

// While an endpoint takes its time nobody else does; and who closes does not wait for it.
func TestASlowEndpointHoldsUpNothing(t *testing.T) {
	e := newEndpoint(t, "")
	arrived, gone := make(chan struct{}), make(chan struct{})
	e.answer(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(gone)
	})
	j, err := NewJWTs(policy.JWT{JWKSURL: e.URL, Keys: testConfig().Keys}, Options{})
	require.NoError(t, err)
	<-arrived
	accepted(t, j, hsToken(goodClaims()))
	pending(t, j, esToken("k", testEC))
	j.Close()
	<-gone
	<-j.Started()
	j.Close() // twice is fine
	accepted(t, j, hsToken(goodClaims()))
}

// A new catalog does not make the keys of the URL unknown until they are read again.
func TestPreviousKeysAreInherited(t *testing.T) {
	e := newEndpoint(t, set(jwk("k", testEC.Public())))
	first, _ := reading(t, e)
	accepted(t, first, esToken("k", testEC))
	e.Close()
	config := first.demand
	config.Audience = "tv"
	second := newJWTs(t, config, Options{Previous: first})
	refused(t, second, esToken("k", testEC), "audience")
	accepted(t, second, token(`{"alg":"ES256","kid":"k"}`, `{"sub":"alice","aud":"tv",`+far+`}`, keySigner(testEC)))

	first.replaceFetched(nil) // what the first learns from now on is its own
	good := token(`{"alg":"ES256","kid":"k"}`, `{"sub":"alice","aud":"tv",`+far+`}`, keySigner(testEC))
	assert.Same(t, accepted(t, second, good), accepted(t, second, good))

	config.JWKSURL += "&other=1"
	pending(t, newJWTs(t, config, Options{Previous: second}), esToken("k", testEC))
	config.JWKSURL = ""
	refused(t, newJWTs(t, config, Options{Previous: second}), esToken("k", testEC), "no key of the catalog is")
}

// Verifying, and keys that come and go, at once: for the race detector, and for what must hold throughout.
func TestVerifyingWhileKeysChange(t *testing.T) {
	both, one := set(jwk("a", testEC.Public()), jwk("b", otherEC.Public())), set(jwk("a", testEC.Public()))
	e := newEndpoint(t, both)
	j, _ := reading(t, e)
	a, b := esToken("a", testEC), esToken("b", otherEC)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if c, _, detail := j.VerifyJWT(a); c == nil {
				t.Errorf("a key that stays: %s", detail)
			}
			j.VerifyJWT(b)
		}
	}()
	for range 20 {
		e.body.Store(&one)
		require.Equal(t, 1, again(t, j).Removed)
		refused(t, j, b, "no key")
		e.body.Store(&both)
		require.Equal(t, 1, again(t, j).Added)
		accepted(t, j, b)
	}
	stop()
	<-done
}

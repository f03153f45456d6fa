package credential

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"authhook/internal/policy"
)

// maxRemembered is how many verified tokens are kept at once.
const maxRemembered = 100_000

// Options are what a [JWTs] needs besides the catalog. The zero value is good.
type Options struct {
	// Log is told when the JWKS URL cannot be read or holds keys that are refused; nil: slog.Default().
	Log *slog.Logger
	// RefreshEvery is how often the JWKS URL is read again; 0: every 5 minutes. At least 10 s.
	RefreshEvery time.Duration
	// Refreshed, when set, is called after each reading of the JWKS URL, by the goroutine that reads: it must return
	// soon and must not call Close. A key that was added may be what denied tokens were waiting for.
	Refreshed func(Refresh)
	// Previous, when set, is the value that this one is to follow. If it read the same JWKS URL, the keys it knows are
	// known to the new one from the start, so that a new catalog denies nobody. It is not closed.
	Previous *JWTs
	// Transport makes the requests to the JWKS URL; nil: one of its own.
	Transport http.RoundTripper
}

// JWTs verifies JSON Web Tokens with the keys of one catalog, and those of its JWKS URL. It is a policy.Verifier, for
// use by many at once. A changed catalog needs a new one, so what was verified with an old key counts no more.
type JWTs struct {
	demand     policy.JWT
	catalog    []*verifyKey
	ring       atomic.Pointer[keyRing]
	remembered *otter.Cache[[sha256.Size]byte, verified]

	jwks  *jwksReader // nil without a JWKS URL
	stop  context.CancelFunc
	loops sync.WaitGroup
}

var _ policy.Verifier = (*JWTs)(nil)

// verified is a token that was found genuine: its credential, and the key that it was verified with.
type verified struct {
	credential *policy.Credential
	key        *verifyKey
	// keysPending: no key is known for it, and the JWKS URL was never read. That is an outage, not a verdict.
	keysPending bool
}

// NewJWTs makes a verifier of what the catalog says about JWTs, and begins to read its JWKS URL in the background. An
// error names the setting that is wrong; that the JWKS URL cannot be reached is none. Its owner calls [JWTs.Close].
func NewJWTs(config policy.JWT, options Options) (*JWTs, error) {
	catalog, err := catalogKeys(config.Keys)
	if err != nil {
		return nil, err
	}
	j := &JWTs{demand: config, catalog: catalog}
	if config.JWKSURL != "" {
		if j.jwks, err = newJWKSReader(config.JWKSURL, options); err != nil {
			return nil, err
		}
	}
	j.remembered, err = otter.New(&otter.Options[[sha256.Size]byte, verified]{
		MaximumSize: maxRemembered,
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[[sha256.Size]byte, verified]) time.Duration {
			return time.Until(e.Value.credential.Until)
		}),
	})
	if err != nil {
		return nil, err
	}
	j.ring.Store(newKeyRing(catalog, j.inherited(options.Previous)))
	// The loop serves every request and so has no request's context: its life is this value's, from here to Close.
	ctx, cancel := context.WithCancel(context.Background())
	j.stop = cancel
	if j.jwks != nil {
		j.loops.Go(func() { j.jwks.follow(ctx, j.replaceFetched) })
	}
	return j, nil
}

// Close ends the reading of the JWKS URL and waits for it. Verifying goes on with the keys that are known.
func (j *JWTs) Close() {
	j.stop()
	j.loops.Wait()
	j.remembered.StopAllGoroutines()
}

// Started is closed once the JWKS URL has been tried for the first time, with success or without; from the start when
// there is none. A service that waits for it, not for long, denies nobody for want of keys that were on their way.
func (j *JWTs) Started() <-chan struct{} {
	if j.jwks == nil {
		return closed
	}
	return j.jwks.started
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// VerifyJWT is the credential that a token is; see policy.Verifier. It never waits for anything: before the JWKS URL was
// read for the first time, a token of a key that the catalog lacks is [policy.Unavailable]. The credential is
// shared and must not be changed. A token that has expired, or is not yet valid, is a credential with those times.
//
// A genuine token is remembered by its SHA-256 until it expires. One that is not is never remembered: strangers make as
// many of those as they like, and would crowd out the others.
func (j *JWTs) VerifyJWT(token string) (c *policy.Credential, fault policy.Reason, detail string) {
	if len(token) > maxToken {
		return nil, policy.CredentialUnknown, "the token is longer than 8 KiB"
	}
	hash := sha256.Sum256([]byte(token))
	if v, ok := j.remembered.GetIfPresent(hash); ok && !v.key.retired.Load() {
		return v.credential, 0, ""
	}
	v, detail := j.verify(token)
	switch {
	case v.keysPending:
		return nil, policy.Unavailable, detail
	case v.credential == nil:
		return nil, policy.CredentialUnknown, detail
	}
	if time.Until(v.credential.Until) > 0 {
		j.remembered.Set(hash, v)
	}
	return v.credential, 0, ""
}

// verify does what is cheap first: a token costs a signature only when it is well-formed and names a key that is known,
// and its claims are read only when the signature is right.
func (j *JWTs) verify(token string) (v verified, detail string) {
	parts, ok := splitJWT(token)
	if !ok {
		return v, "it is not a JWT: three parts in base64url, the last a signature"
	}
	data, err := segment.DecodeString(parts.header)
	if err != nil {
		return v, "its header is not base64url"
	}
	h, err := readHeader(data)
	if err != nil {
		return v, err.Error()
	}
	signature, err := segment.DecodeString(parts.signature)
	if err != nil {
		return v, "its signature is not base64url"
	}
	keys, detail, pending := j.candidates(h)
	v.keysPending = pending
	for _, k := range keys {
		if !k.verifies(parts.signed, signature) {
			continue
		}
		if data, err = segment.DecodeString(parts.claims); err != nil {
			return v, "its claims are not base64url"
		}
		c, err := readClaims(data, j.demand)
		if err != nil {
			return v, err.Error()
		}
		return verified{credential: c, key: k}, ""
	}
	return v, detail
}

// candidates are the keys that a token may have been signed with, and what to say when it was with none of them. A
// token that names a key is tried with that one only, one that does not with each of its algorithm.
func (j *JWTs) candidates(h header) (keys []*verifyKey, otherwise string, pending bool) {
	ring := j.ring.Load()
	if h.kid == "" {
		keys = ring.byAlg[h.alg]
		if len(keys) > maxUnnamed {
			return nil, "it names no key (kid), and there are too many of its algorithm to try", false
		}
	} else {
		keys = ring.named[keyName(h)]
	}
	switch {
	case len(keys) > 0:
		return keys, "its signature is not right", false
	case j.jwks == nil:
		return nil, "no key of the catalog is for its algorithm and kid", false
	}
	j.jwks.ask()
	if ring.fetched == nil {
		return nil, "no key is known for its algorithm and kid; the JWKS URL could not be read yet", true
	}
	return nil, "no key of the catalog or the JWKS URL is for its algorithm and kid", false
}

// replaceFetched puts a new reading of the JWKS URL in the place of the last one. A key that is gone is retired, and
// with it what was verified by it; one that stayed stays the same.
func (j *JWTs) replaceFetched(fresh []*verifyKey) (added, removed int) {
	old := j.ring.Load().fetched
	kept := make(map[*verifyKey]bool, len(old))
	next := make([]*verifyKey, len(fresh))
	for i, f := range fresh {
		next[i] = f
		added++
		for _, o := range old {
			if !kept[o] && o.same(f) {
				next[i], kept[o] = o, true
				added--
				break
			}
		}
	}
	j.ring.Store(newKeyRing(j.catalog, next))
	for _, o := range old {
		if !kept[o] {
			o.retired.Store(true)
			removed++
		}
	}
	return added, removed
}

// inherited is copies of the keys that the previous verifier read from the same URL: which of them are gone, each finds
// out by itself.
func (j *JWTs) inherited(previous *JWTs) []*verifyKey {
	if previous == nil || j.jwks == nil || previous.demand.JWKSURL != j.demand.JWKSURL {
		return nil
	}
	var keys []*verifyKey
	for _, k := range previous.ring.Load().fetched {
		keys = append(keys, &verifyKey{kid: k.kid, alg: k.alg, key: k.key})
	}
	return keys
}

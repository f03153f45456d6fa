package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
)

const (
	refreshEvery = 5 * time.Minute
	// minGap is the least time between two readings that unknown kids ask for: anyone can make up kids.
	minGap = 10 * time.Second
	// After a failure the URL is tried again after firstRetry, then after twice as long each time, up to maxRetry.
	firstRetry, maxRetry = time.Second, time.Minute
	// A reading takes at most fetchTimeout, and at most maxJWKS bytes and maxJWKSKeys keys.
	fetchTimeout = 10 * time.Second
	maxJWKS      = 256 << 10
	maxJWKSKeys  = 100
)

// Refresh is what came of one reading of the JWKS URL.
type Refresh struct {
	// Keys is how many keys of the URL are in use now; Added and Removed are how many came and went.
	Keys, Added, Removed int
	// Refused says which keys of the answer are not used, and why.
	Refused []error
	// Err is why the URL could not be read; the keys that were known stay.
	Err error
}

// jwksReader reads a JWKS URL again and again, in the background only. keyfunc and the HTTP storage of jwkset are not
// used for it: they fetch while a request waits when a kid is unknown, read answers of any size, drop the whole set for
// one bad key, and cannot be waited for. A key itself is read by jwkset.
type jwksReader struct {
	url       string
	client    *http.Client
	every     time.Duration
	log       *slog.Logger
	refreshed func(Refresh)

	started chan struct{} // closed after the first attempt
	asked   chan struct{} // holds one wish for a reading
}

func newJWKSReader(rawURL string, o Options) (*jwksReader, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, errors.New("jwt.jwks_url must be an https URL, or http to this machine itself")
	}
	r := &jwksReader{
		url: rawURL, every: o.RefreshEvery, log: o.Log, refreshed: o.Refreshed,
		started: make(chan struct{}), asked: make(chan struct{}, 1),
	}
	if r.every == 0 {
		r.every = refreshEvery
	}
	r.every = max(r.every, minGap)
	if r.log == nil {
		r.log = slog.Default()
	}
	if r.refreshed == nil {
		r.refreshed = func(Refresh) {}
	}
	transport := o.Transport
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DisableKeepAlives = true // nothing is left open between readings
		t.MaxResponseHeaderBytes = 64 << 10
		transport = t
	}
	r.client = &http.Client{
		Transport: transport,
		// Where it leads is for whoever writes the catalog to say, not for the other end.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return r, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// ask wishes for a reading soon. It never waits, and wishes that come together are one.
func (r *jwksReader) ask() {
	select {
	case r.asked <- struct{}{}:
	default:
	}
}

// follow reads the URL until its context ends: at once, then after a while, sooner when asked or after a failure.
func (r *jwksReader) follow(ctx context.Context, replace func([]*verifyKey) (added, removed int)) {
	started := sync.OnceFunc(func() { close(r.started) })
	defer started() // nobody waits for what was given up
	for retry := firstRetry; ; {
		select {
		case <-r.asked: // this reading is the answer
		default:
		}
		begun := time.Now()
		result := r.refresh(ctx, replace)
		if ctx.Err() != nil {
			return
		}
		started()
		r.refreshed(result)

		wait, asked := r.every, r.asked
		if result.Err != nil {
			wait, asked = min(retry, r.every), nil // while it fails it is tried often enough
			retry = min(2*retry, maxRetry)
		} else {
			retry = firstRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-asked:
			timer.Reset(minGap - time.Since(begun))
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

func (r *jwksReader) refresh(ctx context.Context, replace func([]*verifyKey) (added, removed int)) Refresh {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	body, err := r.fetch(ctx)
	var keys []*verifyKey
	var refused []error
	if err == nil {
		keys, refused, err = parseJWKS(body)
	}
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			r.log.WarnContext(ctx, "JWKS URL not read, the keys known so far stay", "error", err)
		}
		return Refresh{Err: err}
	}
	for _, err := range refused {
		r.log.WarnContext(ctx, "key of the JWKS URL refused", "error", err)
	}
	added, removed := replace(keys)
	return Refresh{Keys: len(keys), Added: added, Removed: removed, Refused: refused}
}

// fetch is the URL's answer. Its errors do not hold the URL, which may hold a secret.
func (r *jwksReader) fetch(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, errors.New("the URL makes no request")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("asking for it: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer has status %d: 200 is needed, redirects are not followed", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKS+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > maxJWKS {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxJWKS)
	}
	return body, nil
}

// parseJWKS reads a JWK set. A key that cannot be used is refused by itself; what is no set is an error.
func parseJWKS(body []byte) (keys []*verifyKey, refused []error, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil || set.Keys == nil {
		return nil, nil, errors.New("the answer is not a JWK set")
	}
	if len(set.Keys) > maxJWKSKeys {
		return nil, nil, fmt.Errorf("the answer holds more than %d keys", maxJWKSKeys)
	}
	for i, raw := range set.Keys {
		var m jwkset.JWKMarshal
		if err := json.Unmarshal(raw, &m); err != nil {
			refused = append(refused, fmt.Errorf("keys[%d]: not a JWK", i))
			continue
		}
		k, err := parseJWK(m)
		if err != nil {
			refused = append(refused, fmt.Errorf("keys[%d] (kid %.64q): %w", i, m.KID, err))
			continue
		}
		if !slices.ContainsFunc(keys, k.same) {
			keys = append(keys, k)
		}
	}
	return keys, refused, nil
}

func parseJWK(m jwkset.JWKMarshal) (*verifyKey, error) {
	switch {
	case m.KTY == jwkset.KtyOct:
		return nil, errors.New("it is a secret (oct): what a URL gives to anyone is none")
	case m.D != "":
		return nil, errors.New("it is a private key, and everyone can read it there: replace it")
	case m.USE != "" && m.USE != jwkset.UseSig:
		return nil, errors.New("its use is not signatures (sig)")
	case len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify):
		return nil, errors.New("its key_ops do not include verify")
	case len(m.KID) > maxName:
		return nil, fmt.Errorf("its kid is longer than %d bytes", maxName)
	}
	// Only the key itself: certificates beside it prove nothing here, and jwkset might fetch an x5u.
	bare := jwkset.JWKMarshal{KTY: m.KTY, CRV: m.CRV, X: m.X, Y: m.Y, N: m.N, E: m.E}
	jwk, err := jwkset.NewJWKFromMarshal(bare, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	alg, err := algorithmOf(jwk.Key())
	if err != nil {
		return nil, err
	}
	if m.ALG != "" && m.ALG.String() != alg {
		return nil, fmt.Errorf("its alg is not %s, the one accepted for its kind of key", alg)
	}
	return &verifyKey{kid: m.KID, alg: alg, key: jwk.Key()}, nil
}

package enforce_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/credential"
	"authhook/internal/enforce"
	"authhook/internal/mist/api"
	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
	"authhook/internal/store/cache"
)

// strangers are denied sessions of so many who made up a key, stored.
func (w *world) strangers(many int) {
	w.t.Helper()
	now := time.Now()
	list := make([]policy.Session, many)
	for i := range list {
		list[i] = policy.Session{
			Node: "edge-1", ID: strings.ToLower(credential.NewKey()), State: policy.SessionDenied, Stream: "live+fight", Address: host(i),
			Credential: policy.HashKey(credential.NewKey()), Reason: policy.CredentialUnknown, Opened: now, Decided: now,
		}
	}
	for len(list) > 0 {
		part := list[:min(len(list), 1000)]
		list = list[len(part):]
		require.NoError(w.t, w.db.WriteSessions(context.Background(), part))
	}
}

// readings counts what is asked of the database by credential.
type readings struct {
	policy.Source
	n atomic.Int64
}

func (r *readings) FactsByCredential(ctx context.Context, h policy.CredentialHash) (*policy.Credential, *policy.UserFacts, error) {
	r.n.Add(1)
	return r.Source.FactsByCredential(ctx, h)
}

// Strangers' made-up keys are not looked for in the database at every sweep: anybody can make up many.
func TestStrangersDoNotHaveTheDatabaseReadAtEverySweep(t *testing.T) {
	t.Parallel()
	const many, sweeps = 200, 10
	w := newWorld(t)
	m := w.mist("edge-1")
	w.strangers(many)
	h := w.house(m, func(o *enforce.Options) { o.SweepEvery = 200 * time.Millisecond })
	read := &readings{Source: w.db}
	h.cache = cache.New(read, cache.Options{AbsentFor: time.Millisecond})
	t.Cleanup(h.cache.Close)
	h.decider = policy.NewDecider(h.cache, h.enforcer.Places(), w.db, policy.Options{})
	c, err := w.db.Catalog(t.Context())
	require.NoError(t, err)
	h.decider.SetCatalog(c, nil)
	h.run()
	h.swept("edge-1", sweeps)
	assert.Equal(t, many, h.status("edge-1").Denied, "they are remembered")
	assert.LessOrEqual(t, read.n.Load(), int64(3*many))
}

// What a start remembers of strangers is bounded as what it remembers of them later.
func TestRememberedDenialsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	w.strangers(300)
	h := w.open(m, func(o *enforce.Options) { o.MostDenials = 100 })
	eventually(t, "the start is over", func() bool { return !h.status("edge-1").Listed.IsZero() })
	assert.Equal(t, 100, h.status("edge-1").Denied)
	for i := range 20 {
		await(t, watch(m, "live+fight", credential.NewKey(), i+1), misttest.Denied)
	}
	assert.Equal(t, 100, h.status("edge-1").Denied)
}

// Of the remembered denials the oldest are forgotten for new ones, and who was denied last is let in.
func TestTheOldestDenialsAreForgottenFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, func(o *enforce.Options) { o.MostDenials, o.SweepEvery = 10, time.Hour })
	p := watch(m, "live+fight", w.user("alice"), 1)
	await(t, p, misttest.Denied)
	for i := range 9 {
		await(t, watch(m, "live+fight", credential.NewKey(), i+2), misttest.Denied)
	}
	require.Equal(t, 10, h.status("edge-1").Denied)
	w.entitle("alice", "gold", time.Time{})
	await(t, p, misttest.Watching)
	bob := w.user("bob")
	var last *misttest.Player
	for i := range 20 {
		if i == 15 {
			last = watch(m, "live+fight", bob, 99)
			await(t, last, misttest.Denied)
		}
		await(t, watch(m, "live+fight", credential.NewKey(), i+100), misttest.Denied)
	}
	require.Equal(t, 10, h.status("edge-1").Denied)
	w.entitle("bob", "gold", time.Time{})
	await(t, last, misttest.Watching)
}

// MistServer forgets a denial in time, and so does authhook.
func TestDenialsAreForgottenInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, func(o *enforce.Options) { o.DenialsKept, o.SweepEvery = 300*time.Millisecond, time.Hour })
	p := m.Connect(misttest.Viewer{Stream: "live+fight", Token: credential.NewKey(), Address: host(1)})
	await(t, p, misttest.Denied)
	require.Equal(t, 1, h.status("edge-1").Denied)
	eventually(t, "it is forgotten", func() bool { return h.status("edge-1").Denied == 0 })
}

// A live session that nobody knows is asked about until MistServer has heard it: it may be away for longer than a command
// is repeated.
func TestALostAskIsAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	p := watch(m, "live+fight", credential.NewKey(), 1) // before the trigger was there
	await(t, p, misttest.Watching)
	var lossy atomic.Bool
	lossy.Store(true)
	to, err := url.Parse(m.HTTPURL())
	require.NoError(t, err)
	on := httputil.NewSingleHostReverseProxy(to)
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if lossy.Load() && bytes.Contains(body, []byte("invalidate_sessions")) {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.Header["X-Forwarded-For"] = nil // else it would have to log in
		on.ServeHTTP(w, r)
	}))
	defer between.Close()
	client, err := api.New(between.URL, api.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	h := w.open(m, func(o *enforce.Options) { o.Nodes = []enforce.Node{{Name: "edge-1", API: client}} })
	began := time.Now()
	eventually(t, "asking is given up", func() bool {
		return h.counted(giveUp, "invalidate_sessions") >= 1 && time.Since(began) > 12*time.Second
	})
	assert.Equal(t, misttest.Watching, p.State())
	lossy.Store(false)
	await(t, p, misttest.Denied)
}

// A stream without our trigger is not asked about again for each viewer who comes.
func TestAnUnguardedStreamIsNotAskedAboutForEachViewer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.house(m)
	h.run()
	const viewers = 8
	for i := range viewers {
		await(t, watch(m, "movie", "", i+1), misttest.Watching)
		h.swept("edge-1", 1)
	}
	eventually(t, "all are counted", func() bool { return h.status("edge-1").Unguarded == viewers })
	assert.LessOrEqual(t, h.commands("invalidate_sessions"), viewers/2)
}

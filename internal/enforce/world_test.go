package enforce_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/credential"
	"authhook/internal/enforce"
	"authhook/internal/mist/api"
	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/cache"
	"authhook/internal/store/sqlite"
	"authhook/internal/webhook"
)

// pace is how much faster than the real one everything goes, on both sides.
const pace = 0.1

func paced(d time.Duration) time.Duration { return time.Duration(float64(d) * pace) }

// pacedOptions are the enforcer's defaults at the tests' pace.
func pacedOptions() enforce.Options {
	return enforce.Options{
		SweepEvery: paced(5 * time.Second), LookEvery: paced(300 * time.Millisecond), RepeatAfter: paced(2500 * time.Millisecond),
		SettledAfter: paced(3 * time.Second), VanishedAfter: paced(30 * time.Second), DenialsKept: paced(15 * time.Minute),
		RenewEvery: paced(10 * time.Second), KickedFor: paced(10 * time.Minute),
	}
}

// world is an authhook with its MistServers and its store. Some of it can fail.
type world struct {
	t        testing.TB
	db       *sqlite.Store
	away     atomic.Bool // the store, for whoever asks for facts
	gate     atomic.Pointer[gate]
	mists    []*misttest.Server
	houses   []*house
	mu       sync.Mutex
	position int64
}

// house is one authhook.
type house struct {
	w        *world
	enforcer *enforce.Enforcer
	cache    *cache.Cache
	decider  *policy.Decider
	metrics  *prometheus.Registry
	options  enforce.Options
	server   *httptest.Server
	keys     policy.Verifier // of JWTs
	stop     func()
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t}
	var err error
	w.db, err = sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "authhook.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.db.Close()) })
	require.NoError(t, w.db.Migrate(context.Background()))
	w.apply(&policy.Catalog{
		Plans: []policy.Plan{{Key: "gold", Rank: 20, Tags: []string{"plan:gold"}}},
		Streams: []policy.StreamPolicy{
			{Match: "free", Access: policy.AccessPublic},
			{Match: "*", Access: policy.AccessEntitled, Plans: []string{"gold"}},
		},
	})
	return w
}

// facts are the world's, when the store is not away.
type facts struct{ w *world }

var errAway = fmt.Errorf("the test says so: %w", store.ErrUnavailable)

func (f facts) FactsByCredential(ctx context.Context, h policy.CredentialHash) (*policy.Credential, *policy.UserFacts, error) {
	if f.w.away.Load() {
		return nil, nil, errAway
	}
	c, user, err := f.w.db.FactsByCredential(ctx, h)
	f.w.gate.Load().pass()
	return c, user, err
}

func (f facts) FactsByUser(ctx context.Context, user string) (*policy.UserFacts, error) {
	if f.w.away.Load() {
		return nil, errAway
	}
	facts, err := f.w.db.FactsByUser(ctx, user)
	f.w.gate.Load().pass()
	return facts, err
}

// gate holds up one who has read facts, until it is opened. Others pass.
type gate struct {
	taken         atomic.Bool
	reached, open chan struct{}
}

// closeGate has the next reading of facts held up.
func (w *world) closeGate() *gate {
	g := &gate{reached: make(chan struct{}), open: make(chan struct{})}
	w.gate.Store(g)
	return g
}

func (g *gate) pass() {
	if g != nil && g.taken.CompareAndSwap(false, true) {
		close(g.reached)
		<-g.open
	}
}

// held waits until somebody is held up.
func (g *gate) held(t testing.TB) {
	t.Helper()
	select {
	case <-g.reached:
	case <-time.After(patience):
		t.Fatal("nobody reads facts")
	}
}

// mist starts a MistServer.
func (w *world) mist(name string, change ...func(*misttest.Timing)) *misttest.Server {
	w.t.Helper()
	return w.mistAt(name, "", change...)
}

// mistAt starts a MistServer at an address.
func (w *world) mistAt(name, at string, change ...func(*misttest.Timing)) *misttest.Server {
	w.t.Helper()
	timing := misttest.MeasuredTiming().Scaled(pace)
	timing.TriggerWait = misttest.MeasuredTiming().TriggerWait // the machine is no faster
	timing.SessionTick = misttest.MeasuredTiming().SessionTick // nor are seconds shorter: USER_END counts them
	for _, f := range change {
		f(&timing)
	}
	m, err := misttest.Start(misttest.Options{Name: name, Addr: at, Timing: timing, Seed: 1, Concurrency: 64})
	require.NoError(w.t, err)
	w.t.Cleanup(func() {
		require.False(w.t, m.Corrupted(), "a datagram was too long")
		require.NoError(w.t, m.Close())
	})
	w.mists = append(w.mists, m)
	return m
}

// open opens an authhook that answers a MistServer's triggers and holds its sessions.
func (w *world) open(m *misttest.Server, change ...func(*enforce.Options)) *house {
	w.t.Helper()
	h := w.house(m, change...)
	h.run()
	h.guard(m)
	eventually(w.t, "it has looked, and asked about what it found", func() bool {
		return len(told(m, "active_streams")) > 0 && slices.ContainsFunc(h.enforcer.Nodes(), func(n enforce.NodeStatus) bool { return !n.Listed.IsZero() || n.Failing })
	})
	return h
}

func (w *world) house(m *misttest.Server, change ...func(*enforce.Options)) *house {
	w.t.Helper()
	return w.houseOver(m, w.db, policy.Options{}, change...)
}

// houseOver makes a house over a store of its own, with a decider's settings.
func (w *world) houseOver(m *misttest.Server, over enforce.Store, deciding policy.Options, change ...func(*enforce.Options)) *house {
	w.t.Helper()
	h := &house{w: w, metrics: prometheus.NewRegistry()}
	client, err := api.New(m.UDPURL(), api.Options{})
	require.NoError(w.t, err)
	o := pacedOptions()
	o.Nodes = []enforce.Node{{API: client}}
	o.Metrics = enforce.NewMetrics()
	o.Log = logFor(w.t)
	for _, f := range change {
		f(&o)
	}
	h.options = o
	h.enforcer = enforce.NewEnforcer(over, o)
	o.Metrics.Register(h.metrics)
	h.cache = cache.New(facts{w}, cache.Options{AbsentFor: time.Millisecond})
	w.t.Cleanup(h.cache.Close)
	h.decider = policy.NewDecider(h.cache, h.enforcer.Places(), w.db, deciding)
	c, err := w.db.Catalog(context.Background())
	require.NoError(w.t, err)
	h.decider.SetCatalog(c, nil)
	triggers := webhook.NewTriggers(h.decider, h.enforcer, webhook.NewMetrics(), quiet, webhook.TriggerOptions{Node: "mist"})
	h.server = httptest.NewServer(webhook.NewHandler(triggers, webhook.NewMetrics(), webhook.HandlerOptions{}))
	w.t.Cleanup(h.server.Close)
	w.t.Cleanup(func() { require.NoError(w.t, client.Close()) })
	return h
}

// run has the enforcer run until the test ends or stop is called.
func (h *house) run() {
	ctx, cancel := context.WithCancel(context.Background())
	writing, stopWriting := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := h.enforcer.Run(ctx, h.decider); err != nil && !errors.Is(err, context.Canceled) {
			h.w.t.Error(err)
		}
	})
	var writer sync.WaitGroup
	writer.Go(func() { _ = h.enforcer.Writer().Run(writing) })
	h.stop = sync.OnceFunc(func() {
		h.server.Close()
		cancel()
		running.Wait()
		stopWriting()
		writer.Wait()
	})
	h.w.t.Cleanup(h.stop)
	h.w.mu.Lock()
	h.w.houses = append(h.w.houses, h)
	h.w.mu.Unlock()
}

// guard puts the house's triggers into a MistServer.
func (h *house) guard(m *misttest.Server) {
	h.guardAt(m, h.server.URL+"/trigger")
}

func (h *house) guardAt(m *misttest.Server, url string) {
	m.SetTriggers(map[string][]misttest.Trigger{
		"USER_NEW":     {{Handler: url, Sync: true, Default: "false"}},
		"USER_END":     {{Handler: url}},
		"PLAY_REWRITE": {{Handler: url, Sync: true, Default: ""}},
	})
}

// tell has every house act on what changed, as following the change feed does.
func (w *world) tell() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	changes, err := w.db.Changes(context.Background(), w.position, store.MaxPage)
	require.NoError(w.t, err)
	for _, c := range changes {
		w.position = c.Number
		for _, h := range w.houses {
			h.changed(c)
		}
	}
}

func (h *house) changed(c store.Change) {
	h.cache.Changed(c)
	switch c.Kind {
	case store.ChangeUser:
		h.enforcer.ChangedUser(c.Subject)
	case store.ChangeCredential:
		hash, err := policy.ParseCredentialHash(c.Subject)
		require.NoError(h.w.t, err)
		h.enforcer.ChangedCredential(hash)
	case store.ChangeCatalog:
		catalog, err := h.w.db.Catalog(context.Background())
		require.NoError(h.w.t, err)
		h.decider.SetCatalog(catalog, h.keys)
		h.enforcer.ChangedAll()
	case store.ChangeSession:
		node, id, ok := store.ParseSessionSubject(c.Subject)
		require.True(h.w.t, ok)
		h.enforcer.ChangedSession(node, id)
	case store.ChangeSessionEnd:
		node, id, ok := store.ParseSessionSubject(c.Subject)
		require.True(h.w.t, ok)
		_ = h.enforcer.End(node, id)
	}
}

func (w *world) apply(c *policy.Catalog) {
	w.t.Helper()
	_, _, err := w.db.ApplyCatalog(context.Background(), c, nil)
	require.NoError(w.t, err)
	w.tell()
}

// user makes a user with a key, and returns the key.
func (w *world) user(name string) (key string) {
	w.t.Helper()
	_, _, err := w.db.PutUser(context.Background(), store.UserChange{ID: name, Status: policy.ActiveUser})
	require.NoError(w.t, err)
	key = credential.NewKey()
	_, err = w.db.AddCredential(context.Background(), policy.HashKey(key), policy.Credential{Kind: policy.CredentialKey, User: name}, time.Now())
	require.NoError(w.t, err)
	w.tell()
	return key
}

// entitle gives a user a plan until a moment; zero: for good.
func (w *world) entitle(user, plan string, until time.Time) (id string) {
	w.t.Helper()
	e, err := w.db.AddEntitlement(context.Background(), user, policy.Entitlement{Plan: plan, Until: until, Source: "test"})
	require.NoError(w.t, err)
	w.tell()
	return e
}

// withdraw takes an entitlement back.
func (w *world) withdraw(user, id string) {
	w.t.Helper()
	require.NoError(w.t, w.db.RemoveEntitlement(context.Background(), user, id))
	w.tell()
}

// watch has a viewer come, who comes back whenever it is cut or denied.
func watch(m *misttest.Server, stream, key string, at int) *misttest.Player {
	return m.Connect(misttest.Viewer{
		Stream: stream, Token: key, Address: host(at), Reconnect: paced(time.Second),
	})
}

// host is one of many addresses.
func host(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// await waits for a player's state.
func await(t testing.TB, p *misttest.Player, s misttest.State) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, p.Wait(ctx, s), "a player that is %s is never %s", p.State(), s)
}

// patience is how long a test waits before it says that something never happens.
const patience = 30 * time.Second

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, patience, 5*time.Millisecond, what)
}

// stored is a session as it is stored.
func (w *world) stored(node, id string) policy.Session {
	s, err := w.db.Session(context.Background(), node, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		require.NoError(w.t, err)
	}
	return s
}

// status is what a house knows of a node.
func (h *house) status(node string) enforce.NodeStatus {
	for _, s := range h.enforcer.Nodes() {
		if s.Name == node {
			return s
		}
	}
	return enforce.NodeStatus{}
}

// commands is how many commands of a kind left for MistServer, repetitions not counted.
func (h *house) commands(kind string) int {
	families, err := h.metrics.Gather()
	require.NoError(h.w.t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "authhook_mist_commands_total" && m.GetLabel()[0].GetValue() == kind {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	return 0
}

// confirmed is how many actions of a kind were seen to have come about.
func (h *house) confirmed(action string) int {
	families, err := h.metrics.Gather()
	require.NoError(h.w.t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "authhook_enforce_confirmed_seconds" && m.GetLabel()[0].GetValue() == action {
				return int(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

// counted is what a counter of a house says, over all of its labels that have a value.
func (h *house) counted(name, label string) int {
	families, err := h.metrics.Gather()
	require.NoError(h.w.t, err)
	n := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || len(m.GetLabel()) > 0 && m.GetLabel()[0].GetValue() == label) {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return int(n)
}

// swept waits until a node's list was read so many times, each of them after a sweep was due again.
func (h *house) swept(node string, times int) {
	h.w.t.Helper()
	every := h.options.SweepEvery * 4 / 5
	for range times {
		before := h.status(node).Listed
		eventually(h.w.t, "it is swept", func() bool { return h.status(node).Listed.After(before.Add(every)) })
	}
}

// written waits until all that is recorded is stored.
func (h *house) written() {
	h.w.t.Helper()
	eventually(h.w.t, "all is written", func() bool {
		waiting, _ := h.enforcer.Writer().Pending()
		return waiting == 0
	})
}

// verify has a house verify JWTs by other keys, without telling the enforcer.
func (h *house) verify(v policy.Verifier) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.keys = v
	h.decider.SetCatalog(h.decider.Catalog(), v)
}

// past waits until a moment has passed.
func past(t testing.TB, at time.Time) {
	t.Helper()
	eventually(t, "time passes", func() bool { return time.Now().After(at) })
}

// undisturbed says that a player's connection was never ended, nor refused.
func undisturbed(t testing.TB, p *misttest.Player, why string) {
	t.Helper()
	for _, e := range p.Events() {
		if e.Kind == misttest.EventCut || e.Kind == misttest.EventDenied {
			assert.Fail(t, "a viewer was "+e.Kind.String(), why)
			return
		}
	}
}

// datagramsOnly has a house tell a MistServer nothing over HTTP, which loses nothing.
func datagramsOnly(t testing.TB, m *misttest.Server) func(*enforce.Options) {
	t.Helper()
	client, err := api.New(m.UDPURL(), api.Options{ListURL: "none"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return func(o *enforce.Options) { o.Nodes = []enforce.Node{{API: client}} }
}

// unswept leaves it to the words of changes, and to deadlines, to make the enforcer look.
func unswept(o *enforce.Options) { o.SweepEvery = time.Hour }

// through has a MistServer's triggers come to a house by way of something that may change, delay or answer them.
func (h *house) through(m *misttest.Server, way func(w http.ResponseWriter, r *http.Request, on http.Handler)) {
	h.w.t.Helper()
	to, err := url.Parse(h.server.URL)
	require.NoError(h.w.t, err)
	on := httputil.NewSingleHostReverseProxy(to)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { way(w, r, on) }))
	h.w.t.Cleanup(s.Close)
	h.guardAt(m, s.URL+"/trigger")
}

// late holds up the USER_ENDs on their way to a house, which MistServer sends from processes of their own. What it
// returns says how many have arrived.
func (h *house) late(m *misttest.Server, by time.Duration) (arrived *atomic.Int32) {
	arrived = &atomic.Int32{}
	var under sync.WaitGroup
	h.w.t.Cleanup(under.Wait)
	h.through(m, func(w http.ResponseWriter, r *http.Request, on http.Handler) {
		if r.Header.Get("X-Trigger") != "USER_END" {
			on.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			h.w.t.Error(err)
		}
		again := r.Clone(context.Background())
		again.Body, again.RequestURI, again.URL = io.NopCloser(bytes.NewReader(body)), "", nil
		if again.URL, err = url.Parse(h.server.URL + "/trigger"); err != nil {
			h.w.t.Error(err)
			return
		}
		under.Add(1)
		time.AfterFunc(by, func() {
			defer under.Done()
			answer, err := http.DefaultTransport.RoundTrip(again)
			if err == nil {
				_ = answer.Body.Close()
				arrived.Add(1)
			}
		})
	})
	return arrived
}

// told are the commands of a kind that a MistServer got, by target.
func told(m *misttest.Server, kind string) map[string]int {
	targets := map[string]int{}
	for _, c := range m.Commands() {
		if c.Kind == kind {
			targets[c.Target]++
		}
	}
	return targets
}

// logFor writes a log into the test's.
func logFor(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

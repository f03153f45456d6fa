package webhook_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/catalog"
	"authhook/internal/credential"
	"authhook/internal/logtest"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/cache"
	"authhook/internal/store/sqlite"
	"authhook/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const worldCatalog = `
plans:
  - {key: basic, rank: 10}
  - {key: gold, rank: 20, tags: ["plan:gold"]}
  - {key: single, rank: 5, max_concurrent: 1}
  - {key: metered, rank: 1, quota_minutes: 600}
streams:
  - {match: extra, access: public, deny_addresses: ["203.0.113.0/24"], deny_connectors: [RTSP]}
  - {match: movie, access: entitled, plans: [gold, single], renditions: {basic: movie_sd}}
  - {match: movie_sd, access: entitled, plans: [basic, gold, metered]}
  - {match: live, access: public}
  - {match: "live+*", access: entitled, plans: [gold]}
  - {match: open, access: public, publish: open}
  - {match: shut, access: closed, publish: closed}
`

// world is the edge over everything that is below it: a database, the cache, the decider.
type world struct {
	t        *testing.T
	db       *sqlite.Store
	cache    *cache.Cache
	decider  *policy.Decider
	triggers *webhook.Triggers
	metrics  *webhook.Metrics
	handler  http.Handler
	sessions *recorder
	log      *logtest.Log
}

// recorder keeps what the edge says of sessions.
type recorder struct {
	mu    sync.Mutex
	all   []policy.Session
	asked []string // whose questions had no answer yet, in order; an answer takes one away
}

func (r *recorder) Record(s *policy.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, *s)
}

func (*recorder) Kick(policy.KickedSession) {}

func (r *recorder) Asks(_, session string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, session)
	return true
}

func (r *recorder) Answered(_, session string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.asked, session); i >= 0 {
		r.asked = slices.Delete(r.asked, i, i+1)
	}
}

func (r *recorder) recorded() []policy.Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]policy.Session(nil), r.all...)
}

func newWorld(t *testing.T, o webhook.TriggerOptions, h webhook.HandlerOptions) *world {
	t.Helper()
	ctx := t.Context()
	db, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "authhook.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, db.Migrate(ctx))
	parsed, err := catalog.Parse("catalog.yaml", []byte(worldCatalog))
	require.NoError(t, err)
	_, _, err = db.ApplyCatalog(ctx, parsed, nil)
	require.NoError(t, err)

	w := &world{t: t, db: db, metrics: webhook.NewMetrics(), sessions: &recorder{}, log: &logtest.Log{}}
	w.cache = cache.New(db, cache.Options{})
	t.Cleanup(w.cache.Close)
	w.decider = policy.NewDecider(w.cache, db, db, policy.Options{})
	w.decider.SetCatalog(parsed, nil)
	if o.Node == "" {
		o.Node = "mist"
	}
	w.triggers = webhook.NewTriggers(w.decider, w.sessions, w.metrics, w.logger(), o)
	w.handler = webhook.NewHandler(w.triggers, w.metrics, h)
	return w
}

func (w *world) logger() *slog.Logger { return slog.New(slog.NewTextHandler(w.log, nil)) }

// user makes a user with a key and, where plan is not empty, an entitlement to it.
func (w *world) user(name, plan string, c policy.Credential) (key string) {
	w.t.Helper()
	ctx := w.t.Context()
	_, _, err := w.db.PutUser(ctx, store.UserChange{ID: name, Status: policy.ActiveUser})
	require.NoError(w.t, err)
	key = credential.NewKey()
	c.User, c.Kind = name, policy.CredentialKey
	_, err = w.db.AddCredential(ctx, policy.HashKey(key), c, time.Now())
	require.NoError(w.t, err)
	if plan != "" {
		_, err = w.db.AddEntitlement(ctx, name, policy.Entitlement{Plan: plan, Source: "admin"})
		require.NoError(w.t, err)
	}
	return key
}

// send sends a trigger and returns the answer.
func (w *world) send(trigger, uuid string, body string) *httptest.ResponseRecorder {
	return w.sendTo("/trigger", trigger, uuid, body)
}

func (w *world) sendTo(path, trigger, uuid string, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("X-Trigger", trigger)
	r.Header.Set("X-Trigger-UUID", uuid)
	r.Header.Set("X-Instance", "instance-1")
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, r)
	return answer
}

// counted is the value of a metric, written with its labels as /metrics shows it.
func (w *world) counted(metric string) string {
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(answer.Body.String()) {
		if value, ok := strings.CutPrefix(line, metric+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

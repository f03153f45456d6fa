package admin_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/client"
	"authhook/internal/billing"
	"authhook/internal/catalog"
	"authhook/internal/logtest"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/postgres"
	"authhook/internal/store/sqlite"
	"authhook/internal/store/storetest"
	"authhook/internal/webhook"
	"authhook/internal/webhook/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const adminToken = "the-admin-token-of-tests"

const worldCatalog = `
plans:
  - {key: basic, rank: 10}
  - {key: gold, rank: 20, max_concurrent: 2, on_limit: kick_oldest, grace: 72h, tags: ["plan:gold"]}
streams:
  - {match: extra, access: public}
  - {match: movie, access: entitled, plans: [gold]}
  - {match: "live+*", access: entitled, plans: [gold], tags: [premium], preview: 60s}
prices:
  - {provider: stripe, price: price_gold, plan: gold}
jwt: {keys: [{kid: site, alg: HS256, secret: 0123456789abcdef0123456789abcdef}]}
`

// testStore is what the tests need of a store besides what the API does.
type testStore interface {
	admin.Store
	policy.Source
	policy.Leases
	policy.Previews
	Migrate(context.Context) error
	Close() error
	WriteSessions(context.Context, []policy.Session) error
	EndSession(ctx context.Context, node, id string) error
	PutPayment(context.Context, store.Payment) error
	billing.Inbox
	billing.Ledger
	PruneEventBodies(ctx context.Context, receivedBefore time.Time) (int64, error)
}

// world is the API over a database, behind a server that holds every request and answer against the contract.
type world struct {
	t        *testing.T
	db       testStore
	api      *admin.API
	server   *httptest.Server
	decider  *policy.Decider
	options  admin.Options
	log      *logtest.Log
	mu       sync.Mutex
	observed map[string]int
}

// stores open a new database of each kind.
var stores = map[string]func(*testing.T) testStore{
	"sqlite": func(t *testing.T) testStore { return openSQLite(t) },
	"postgres": func(t *testing.T) testStore {
		t.Helper()
		db, err := postgres.Open(t.Context(), storetest.PostgresSchema(t))
		require.NoError(t, err)
		return db
	},
}

// everyStore runs a test over a new database of each kind.
func everyStore(t *testing.T, test func(*testing.T, *world)) {
	for kind, open := range stores {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, open(t)))
		})
	}
}

func openSQLite(t *testing.T) *sqlite.Store {
	t.Helper()
	db, err := sqlite.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "authhook.db"))
	require.NoError(t, err)
	return db
}

// newWorld takes over the database.
func newWorld(t *testing.T, db testStore, change ...func(*world)) *world {
	t.Helper()
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, db.Migrate(t.Context()))
	parsed, err := catalog.Parse("catalog.yaml", []byte(worldCatalog))
	require.NoError(t, err)
	_, _, err = db.ApplyCatalog(t.Context(), parsed, nil)
	require.NoError(t, err)

	w := &world{t: t, db: db, log: &logtest.Log{}, observed: map[string]int{}}
	w.decider = policy.NewDecider(db, db, db, policy.Options{})
	w.decider.SetCatalog(parsed, nil)
	log := slog.New(slog.NewTextHandler(w.log, nil))
	triggers := webhook.NewTriggers(w.decider, nobody{}, webhook.NewMetrics(), log, webhook.TriggerOptions{Node: "mist"})
	w.options = admin.Options{
		Token: adminToken, Node: "mist", Log: log,
		Changed: func(context.Context) {},
		Applied: func(ctx context.Context) {
			if c, err := db.Catalog(ctx); err == nil {
				w.decider.SetCatalog(c, nil)
			}
		},
		Request: func(triggerType, node string, body []byte) (policy.Request, error) {
			return triggers.Request(&webhook.Call{Type: typeOf(triggerType), Name: node, Body: body})
		},
		Observe: func(operation string, status int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.observed[operation]++
		},
	}
	for _, c := range change {
		c(w)
	}
	w.api, err = admin.New(w.db, w.decider, w.options)
	require.NoError(t, err)
	w.server = httptest.NewServer(underContract(t, w.api))
	t.Cleanup(w.server.Close)
	return w
}

type nobody struct{}

func (nobody) Record(*policy.Session)    {}
func (nobody) Kick(policy.KickedSession) {}
func (nobody) Asks(_, _ string) bool     { return false }
func (nobody) Answered(_, _ string)      {}

// as is a client with a key.
func (w *world) as(token string) *client.ClientWithResponses {
	w.t.Helper()
	c, err := client.New(w.server.URL, token, client.WithHTTPClient(client.Refusals(w.server.Client())))
	require.NoError(w.t, err)
	return c
}

func (w *world) admin() *client.ClientWithResponses { return w.as(adminToken) }

// answer is what came back of a request that the client would not send.
type answer struct {
	*http.Response
	body string
}

// send sends a request as it is.
func (w *world) send(method, path, body string, headers ...string) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+path, strings.NewReader(body))
	require.NoError(w.t, err)
	r.Header.Set("Authorization", "Bearer "+adminToken)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i+1] == "" {
			r.Header.Del(headers[i])
		}
	}
	a, err := w.server.Client().Do(r)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, a.Body.Close()) }()
	text, err := io.ReadAll(a.Body)
	require.NoError(w.t, err)
	return answer{a, string(text)}
}

// refused demands a problem of a type, and returns it.
func refused(t *testing.T, err error, kind client.ProblemType) *client.Problem {
	t.Helper()
	var p *client.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, kind, p.Type, p.Error())
	return p
}

// user makes an active user.
func (w *world) user(id string) {
	w.t.Helper()
	_, err := w.admin().PutUserWithResponse(w.t.Context(), id, nil, client.UserChange{Status: client.Active})
	require.NoError(w.t, err)
}

// key makes a key of the API.
func (w *world) key(role client.Role) (id, key string) {
	w.t.Helper()
	a, err := w.admin().AddKeyWithResponse(w.t.Context(), client.KeyRequest{Name: "test", Role: role})
	require.NoError(w.t, err)
	return a.JSON201.ID, a.JSON201.Key
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

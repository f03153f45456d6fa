package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/redis"
	"authhook/internal/store/storetest"
)

// During an outage nobody waits long to be told that nothing is known: after the first few, no ask reaches the database, for
// facts, for a place, or for a preview. When it is back, everybody is answered as before, and what administers was never
// refused for it.
func TestNobodyWaitsForADatabaseThatIsAway(t *testing.T) {
	for name, outage := range map[string]struct{ begin, end func(*storetest.Proxy) }{
		"refuses": {(*storetest.Proxy).Down, (*storetest.Proxy).Up},
		"silent":  {(*storetest.Proxy).Hang, func(p *storetest.Proxy) { p.Down(); p.Up() }},
	} {
		t.Run(name, func(t *testing.T) {
			proxy, db := storetest.NewProxy(t, storetest.PostgresSchema(t))
			s := serveForTest(t, "--database-url", db, "--admin-token", adminToken, "--redis-url", testRedis(t), "--catalog", write(t, "catalog.yaml", `
plans: [{key: gold, max_concurrent: 1, on_limit: reject}]
streams:
  - {match: movie, access: entitled, plans: [gold]}
  - {match: trailer, access: entitled, plans: [gold], preview: 60s}
`))
			user := func(is string) string { return is + " while it " + name } // others may test with the same Redis
			limited, previews, unknown := s.member(t, user("limited")), s.member(t, user("previews")), s.member(t, user("unknown"))
			for _, u := range []string{"limited", "unknown"} {
				_, err := s.api(t, adminToken).AddEntitlementWithResponse(t.Context(), user(u), client.EntitlementRequest{Plan: "gold"})
				require.NoError(t, err)
			}
			asked := 0
			ask := func(stream, key, session string) string {
				asked++
				lines := strings.Split(recordedWithKey(t, stream, key), "\n")
				lines[5] = strings.Repeat(session, 32)
				return s.ask(t, "USER_NEW", fmt.Sprint("uuid-", asked), strings.Join(lines, "\n"))
			}
			counted := func(metric, calls, more string) string {
				return s.counted(t, `authhook_database_`+metric+`{`+`calls="`+calls+`"`+more+`}`)
			}
			refused := func() [2]string {
				return [2]string{counted("refused_total", "reads", `,cause="away"`), counted("refused_total", "writes", `,cause="away"`)}
			}
			// Their facts are in memory afterwards.
			require.Equal(t, "true", ask("movie", limited, "ab"))
			require.Equal(t, "false", ask("movie", limited, "cd"), "over the limit")
			require.Equal(t, "false", ask("movie", previews, "ef"))

			outage.begin(proxy)
			everybody := func() {
				for range 2 { // the first may be the one that looks
					assert.Equal(t, "false", ask("movie", unknown, "12"))
				}
				for range 2 {
					assert.Equal(t, "false", ask("trailer", previews, "ef"))
				}
				assert.Equal(t, "false", ask("movie", limited, "cd"))
			}
			for counted("open", "reads", "") != "1" || counted("open", "writes", "") != "1" {
				everybody()
				require.NoError(t, t.Context().Err())
			}
			before := refused()
			for is := before; is[0] == before[0] || is[1] == before[1]; is = refused() {
				everybody()
				require.NoError(t, t.Context().Err())
			}
			s.waitLog(t, `the database does not answer.*calls=writes`)

			outage.end(proxy)
			_, err := s.api(t, adminToken).ListUsersWithResponse(t.Context(), nil)
			require.NoError(t, err, "the API asks by itself")
			answered := func(want string, stream, key, session string) {
				t.Helper()
				require.Eventually(t, func() bool { return ask(stream, key, session) == want }, 30*time.Second, 5*time.Millisecond)
			}
			answered("true", "movie", unknown, "12")
			answered("true", "trailer", previews, "ef")
			assert.Equal(t, "false", ask("movie", limited, "cd"), "the limit stands")
			assert.Equal(t, "0", counted("open", "reads", ""))
			assert.Equal(t, "0", counted("open", "writes", ""))
			s.waitLog(t, `the database answers.*calls=writes`)
			looked := 0
			for _, answer := range []string{"hit", "miss", "unverified", "not_asked"} {
				if s.counted(t, `authhook_redis_previews_total{answer="`+answer+`"}`) != "0" {
					looked++
				}
			}
			assert.NotZero(t, looked, "previews go by way of Redis")
			assert.Zero(t, s.stop(), s.log.String())
		})
	}
}

// How old facts may be is a setting, and how much older during an outage.
func TestHowOldFactsMayBeIsASetting(t *testing.T) {
	for stale, answer := range map[string]string{"10m": "true", "0s": "false"} {
		t.Run(stale, func(t *testing.T) {
			schema := storetest.PostgresSchema(t)
			before := serveForTest(t, "--database-url", schema, "--admin-token", adminToken)
			key := before.member(t, "anna")
			require.Zero(t, before.stop()) // so that who hears of her late does not drop what is known of her
			proxy, db := storetest.NewProxy(t, schema)
			s := serveForTest(t, "--database-url", db, "--admin-token", adminToken, "--facts-fresh", "20ms", "--facts-stale", stale,
				"--facts-entries", "1000", "--catalog", write(t, "catalog.yaml", "streams: [{match: movie, access: authenticated}]"))
			asked := 0
			ask := func() string {
				asked++
				return s.ask(t, "USER_NEW", fmt.Sprint("uuid-", asked), recordedWithKey(t, "movie", key))
			}
			require.Equal(t, "true", ask())
			loads := func() string { return s.counted(t, "authhook_facts_loads_total") }
			read := loads()
			require.Eventually(t, func() bool { return ask() == "true" && loads() != read }, 30*time.Second, time.Millisecond, "they are read again")

			proxy.Down()
			usesOld := func() bool { return s.counted(t, `authhook_facts_asked_total{answer="stale"}`) != "0" }
			require.Eventually(t, func() bool { // facts may still be fresh as a renewal of them fails
				return ask() == answer && s.counted(t, `authhook_store_errors_total{cause="facts_load"}`) != "0" && usesOld() == (stale == "10m")
			}, 30*time.Second, time.Millisecond)
			for range 10 {
				assert.Equal(t, answer, ask())
			}
			assert.Equal(t, stale == "10m", usesOld())
			require.Eventually(t, func() bool {
				return ask() == answer && s.counted(t, `authhook_database_open{calls="reads"}`) == "1"
			}, 30*time.Second, time.Millisecond, "facts are read through the gate, also without a Redis")
		})
	}
}

// bookCalls are one of each that a decision by way of Redis asks the database for, by the kind of calls that they count as.
func bookCalls(b redis.Book) map[string]map[string]func(context.Context) error {
	at := time.Now()
	lease := policy.Lease{User: "anna", Plan: "gold", Node: "mist", Session: "1", At: at, Until: at.Add(time.Hour)}
	return map[string]map[string]func(context.Context) error{
		"reads": {
			"LeaseHome":  func(ctx context.Context) error { _, err := b.LeaseHome(ctx, 1); return err },
			"LeaseHomes": func(ctx context.Context) error { _, err := b.LeaseHomes(ctx); return err },
		},
		"writes": {
			"AcquireLeaseLeaving": func(ctx context.Context) error {
				_, _, _, err := b.AcquireLeaseLeaving(ctx, lease, 1, policy.OnLimitReject)
				return err
			},
			"ConfirmLease": func(ctx context.Context) error {
				_, err := b.ConfirmLease(ctx, &store.LeaseDecision{Lease: store.HeldLease{Lease: lease}, Part: 1, Limit: 1, Granted: true})
				return err
			},
			"LendLeases": func(ctx context.Context) error {
				_, err := b.LendLeases(ctx, 1, 0, func(context.Context) (int64, error) { return 0, nil },
					func(context.Context, int64, []store.HeldLease) error { return nil })
				return err
			},
		},
	}
}

// gateCount is what a metric of one kind of calls stands at.
func gateCount(t *testing.T, r *prometheus.Registry, metric, calls string) (sum float64) {
	t.Helper()
	families, err := r.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == metric && l.GetName() == "calls" && l.GetValue() == calls {
					sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

// What decisions by way of Redis ask the database for goes through its gates: such calls alone show that it is away, and then none of
// them waits for it.
func TestWhatRedisAsksTheDatabaseIsGated(t *testing.T) {
	proxy, url := storetest.NewProxy(t, storetest.PostgresSchema(t))
	db, err := (&databaseFlags{DatabaseURL: url}).openReady(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	gates := func(t *testing.T) (redis.Book, *prometheus.Registry) {
		r := prometheus.NewRegistry()
		book, ok := newGated(db, r, slog.New(slog.DiscardHandler)).book()
		require.True(t, ok)
		return book, r
	}

	t.Run("Redis is away", func(t *testing.T) {
		book, r := gates(t)
		redisAway := errors.Join(store.ErrUnavailable, errors.New("Redis does not answer"))
		for range 10 {
			_, err := book.LendLeases(t.Context(), 1, 0, func(context.Context) (int64, error) { return 0, redisAway }, nil)
			require.ErrorIs(t, err, store.ErrUnavailable)
			_, err = book.LendLeases(t.Context(), 1, 0, func(context.Context) (int64, error) { return 0, nil },
				func(context.Context, int64, []store.HeldLease) error { return redisAway })
			require.ErrorIs(t, err, store.ErrUnavailable)
		}
		assert.Zero(t, gateCount(t, r, "authhook_database_open", "writes"), "that says nothing about the database")
	})

	proxy.Down()
	for calls, other := range map[string]string{"reads": "writes", "writes": "reads"} {
		for name := range bookCalls(nil)[calls] {
			t.Run(name, func(t *testing.T) {
				book, r := gates(t)
				call := bookCalls(book)[calls][name]
				for range 5 {
					require.Zero(t, gateCount(t, r, "authhook_database_open", calls))
					require.ErrorIs(t, call(t.Context()), store.ErrUnavailable)
				}
				require.EqualValues(t, 1, gateCount(t, r, "authhook_database_open", calls))
				require.Zero(t, gateCount(t, r, "authhook_database_open", other))
				for range 100 { // one now and then looks
					require.ErrorIs(t, call(t.Context()), store.ErrUnavailable)
				}
				assert.GreaterOrEqual(t, gateCount(t, r, "authhook_database_refused_total", calls), 1.0)
			})
		}
	}
}

func TestHowManyFactsAreKeptIsASetting(t *testing.T) {
	s := serveForTest(t, "--database-url", emptyDatabase(t), "--admin-token", adminToken, "--facts-entries", "2",
		"--catalog", write(t, "catalog.yaml", "streams: [{match: movie, access: authenticated}]"))
	for i := range 10 {
		user := fmt.Sprint("user ", i)
		require.Equal(t, "true", s.ask(t, "USER_NEW", user, recordedWithKey(t, "movie", s.member(t, user))))
	}
	for _, of := range []string{"user", "credential"} {
		assert.Contains(t, []string{"1", "2"}, s.counted(t, `authhook_facts_kept{of="`+of+`"}`), of)
	}
	assert.Zero(t, s.stop(), s.log.String())
}

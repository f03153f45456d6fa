package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/billing/signature/sign"
	"authhook/internal/mist/misttest"
	"authhook/internal/store"
	"authhook/internal/store/sqlite"
)

// BenchmarkPayment is what a payment takes from the moment at which Stripe's webhook is sent to its effect: until the answer is
// there, until the command is at MistServer, until a revoked session is confirmed gone, until a denied viewer watches. The
// subscriptions of a hundred users become active, one after the other, and then unpaid. The next event is sent when the last one is
// answered and seen at the stand-in, which takes its time as in [BenchmarkChange].
func BenchmarkPayment(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) { benchmarkPayment(b, databases(b)[kind]) }) // a new one each time: events count once
	}
}

func benchmarkPayment(b *testing.B, db string) {
	m, err := misttest.Start(misttest.Options{Name: "edge-1"})
	require.NoError(b, err)
	defer func() { require.NoError(b, m.Close()) }()
	s := serveForTest(b, "--database-url", db, "--catalog", catalogFile(b, theatre), "--admin-token", adminToken,
		"--stripe-secret", stripeSecret, "--mist", m.UDPURL())
	m.SetTriggers(map[string][]misttest.Trigger{
		"USER_NEW": {{Handler: s.url + "/trigger", Sync: true, Default: "false"}},
		"USER_END": {{Handler: s.url + "/trigger"}},
	})
	api, err := client.New(s.url, adminToken)
	require.NoError(b, err)
	ctx := context.Background()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	sender := &http.Client{Transport: transport}

	audience, players := changingAudience(b, m, api)
	defer audience.Close()
	var toAnswer, toUnlock, toRevoke, toWatching, toGone []time.Duration
	revokes := map[string][]time.Time{} // when they were asked for, by the session's first digits
	tills, began := make([]*till, changingUsers), make([]time.Time, changingUsers)
	for i := range tills {
		tills[i] = newTill("user-" + strconv.Itoa(i))
	}
	pay := func(i int, status string, effect misttest.EventKind) {
		r := fromStripe(ctx, b, s.url+"/billing/stripe", tills[i].subscription(status), time.Now(), stripeSecret)
		r.Close = false
		seen, err := audience.Change(ctx, players[i], effect, func(context.Context) error {
			a, err := sender.Do(r)
			if err != nil {
				return err
			}
			if a.StatusCode != http.StatusOK {
				return errors.New(a.Status)
			}
			_, err = io.Copy(io.Discard, a.Body)
			return errors.Join(err, a.Body.Close())
		})
		require.NoError(b, err)
		began[i] = seen.Called
		toAnswer = append(toAnswer, seen.Answered)
		switch {
		case seen.Command == 0: // its player met its new right without one
		case effect == misttest.EventAllowed:
			toUnlock = append(toUnlock, seen.Command)
		default:
			toRevoke = append(toRevoke, seen.Command)
			session := players[i].SessionID()[:8]
			revokes[session] = append(revokes[session], seen.Called)
		}
	}
	for b.Loop() {
		for i := range players {
			pay(i, "active", misttest.EventAllowed)
		}
		require.NoError(b, audience.Wait(ctx, misttest.Watching))
		toWatching = append(toWatching, watchingAfter(players, began)...)
		for i := range players {
			pay(i, "unpaid", misttest.EventDenied)
		}
		require.NoError(b, audience.Wait(ctx, misttest.Denied))
		toGone = goneAfter(b, s, revokes)
	}
	b.ReportMetric(0, "ns/op")
	reportTimes(b, "answer", toAnswer)
	reportTimes(b, "unlock", toUnlock)
	reportTimes(b, "revoke", toRevoke)
	reportTimes(b, "watching", toWatching)
	reportTimes(b, "gone", toGone)
}

// catalogFile is a file with a catalog.
func catalogFile(b *testing.B, text string) string {
	path := filepath.Join(b.TempDir(), "catalog.yaml")
	require.NoError(b, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// goneAfter waits until all revokes are confirmed, and says how long after their webhooks that was, as the log tells the times.
func goneAfter(b *testing.B, s *served, revokes map[string][]time.Time) (took []time.Duration) {
	line := regexp.MustCompile(`time=(\S+) .*msg="revoke confirmed".* session=(\S+)`)
	due := 0
	for _, called := range revokes {
		due += len(called)
	}
	for {
		found := line.FindAllStringSubmatch(s.log.String(), -1)
		if len(found) < due {
			<-s.log.changed
			continue
		}
		seen := map[string]int{}
		for _, f := range found {
			at, err := time.Parse(time.RFC3339Nano, f[1])
			require.NoError(b, err)
			if n := seen[f[2]]; n < len(revokes[f[2]]) {
				took = append(took, at.Sub(revokes[f[2]][n]))
			}
			seen[f[2]]++
		}
		return took
	}
}

// purchase is an event of the operator's own, signed. Several for one user make one account, as a subscription's do.
func purchase(ctx context.Context, b *testing.B, url, id, user string, n int) (*http.Request, store.BillingEvent) {
	now := time.Now()
	kind := "payment.succeeded"
	data := object{"user": user, "payment": "pay_" + id, "subscription": "sub_" + user, "amount": 1999, "currency": "usd", "price": "gold",
		"valid_until": now.Add(time.Hour)}
	if n%2 == 0 {
		kind = "subscription.changed"
		data = object{"user": user, "subscription": "sub_" + user, "price": "gold", "status": "active", "period_end": now.Add(time.Hour)}
	}
	body, err := json.Marshal(object{"type": kind, "timestamp": now.Format(time.RFC3339Nano), "data": data})
	require.NoError(b, err)
	key, err := sign.StandardKey(eventsSecret)
	require.NoError(b, err)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/billing/events", bytes.NewReader(body))
	require.NoError(b, err)
	sign.StandardWebhooks(r.Header, id, body, now, key)
	return r, store.BillingEvent{Provider: "events", ID: id, Type: kind, At: now, Received: now, Body: body}
}

// inParallel calls one for each of n, by as many senders, and says how long that took.
func inParallel(b *testing.B, senders, n int, one func(i int) error) time.Duration {
	began := time.Now()
	var wg sync.WaitGroup
	for w := range senders {
		wg.Go(func() {
			for i := w; i < n; i += senders {
				if err := one(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

const inboxSenders = 32

// sends has a service take in events of as many users, over connections that are kept alive, and returns them and how long that
// took.
func sends(b *testing.B, s *served, n, users int) ([]store.BillingEvent, time.Duration) {
	transport := &http.Transport{MaxIdleConnsPerHost: inboxSenders}
	defer transport.CloseIdleConnections()
	sender := &http.Client{Transport: transport}
	requests, rows := make([]*http.Request, n), make([]store.BillingEvent, n)
	what := store.NewID("msg")
	for i := range n {
		requests[i], rows[i] = purchase(b.Context(), b, s.url, fmt.Sprint(what, "_", i), fmt.Sprint("user-", i%users), i/users)
	}
	return rows, inParallel(b, inboxSenders, n, func(i int) error {
		a, err := sender.Do(requests[i])
		if err != nil {
			return err
		}
		defer func() { _ = a.Body.Close() }()
		if _, err := io.Copy(io.Discard, a.Body); err != nil {
			return err
		}
		if a.StatusCode != http.StatusOK {
			return fmt.Errorf("answered %d", a.StatusCode)
		}
		return nil
	})
}

// BenchmarkInbox is how fast events are taken in over HTTP, signatures and all, from 32 senders, beside inserts of the same rows
// into a table of the same columns in the same database, as durable, by the same driver and in the same run: the ratio is of the
// times. No catalog is in force, so nothing is applied meanwhile.
func BenchmarkInbox(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			db := databases(b)[kind]
			s := serveForTest(b, "--database-url", db, "--events-secret", eventsSecret, "--log-level", "warn")
			insert := bareTable(b, db)
			b.ResetTimer()
			rows, took := sends(b, s, b.N, 100)
			b.StopTimer()
			reference := inParallel(b, inboxSenders, b.N, func(i int) error { return insert(rows[i]) })
			b.ReportMetric(float64(took)/float64(reference), "ratio")
			b.ReportMetric(float64(b.N)/took.Seconds(), "events/s")
			b.ReportMetric(float64(b.N)/reference.Seconds(), "bare-events/s")
		})
	}
}

// bareTable makes a table of the inbox's columns in a database, and returns what inserts a row.
func bareTable(b *testing.B, url string) func(store.BillingEvent) error {
	ctx := b.Context()
	if strings.HasPrefix(url, "sqlite:") {
		db, err := sql.Open("sqlite", "file:"+sqlite.Path(url)+"?_pragma=busy_timeout(4000)&_pragma=synchronous(FULL)")
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, db.Close()) })
		db.SetMaxOpenConns(1)
		_, err = db.ExecContext(ctx, `CREATE TABLE bare (number integer PRIMARY KEY, provider text, event_id text, type text,
			provider_at integer, received_at integer, state text, reason text, tries integer, next_at integer, applied_at integer,
			user_id text, subject text, account integer, body blob)`)
		require.NoError(b, err)
		insert, err := db.PrepareContext(ctx, `INSERT INTO bare (provider, event_id, type, provider_at, received_at, state, reason, tries,
			next_at, user_id, subject, body) VALUES (?1, ?2, ?3, ?4, ?5, 'received', '', 0, ?5, '', '', ?6)`)
		require.NoError(b, err)
		return func(e store.BillingEvent) error {
			_, err := insert.ExecContext(ctx, e.Provider, e.ID, e.Type, e.At.UnixMicro(), e.Received.UnixMicro(), e.Body)
			return err
		}
	}
	pool, err := pgxpool.New(ctx, url)
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	_, err = pool.Exec(ctx, `CREATE TABLE bare (number bigint GENERATED ALWAYS AS IDENTITY, provider text, event_id text, type text,
		provider_at timestamptz, received_at timestamptz, state text, reason text, tries integer, next_at timestamptz,
		applied_at timestamptz, user_id text, subject text, account bigint, body bytea)`)
	require.NoError(b, err)
	return func(e store.BillingEvent) error {
		_, err := pool.Exec(ctx, `INSERT INTO bare (provider, event_id, type, provider_at, received_at, state, reason, tries, next_at,
			user_id, subject, body) VALUES ($1, $2, $3, $4, $5, 'received', '', 0, $5, '', '', $6)`, e.Provider, e.ID, e.Type, e.At, e.Received, e.Body)
		return err
	}
}

// BenchmarkBacklog is how fast 2,000 events of a hundred users are applied that have waited for a catalog, from the moment at
// which it is applied.
func BenchmarkBacklog(b *testing.B) {
	const waiting, users = 2000, 100
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			var took time.Duration
			rounds := 0
			for b.Loop() {
				url := databases(b)[kind]
				s := serveForTest(b, "--database-url", url, "--events-secret", eventsSecret, "--log-level", "warn")
				sends(b, s, waiting, users)
				db, err := (&databaseFlags{DatabaseURL: url}).open(b.Context())
				require.NoError(b, err)
				c, err := readCatalog(catalogFile(b, billedCatalog))
				require.NoError(b, err)
				began := time.Now()
				_, _, err = db.ApplyCatalog(b.Context(), c, nil)
				require.NoError(b, err)
				look := time.NewTicker(5 * time.Millisecond)
				for left := int64(1); left > 0; <-look.C {
					counts, err := db.EventCounts(b.Context())
					require.NoError(b, err)
					left = counts[store.EventReceived] + counts[store.EventFailed]
				}
				look.Stop()
				took += time.Since(began)
				rounds++
				counts, err := db.EventCounts(b.Context())
				require.NoError(b, err)
				for state, n := range counts {
					require.Zero(b, n, state)
				}
				require.NoError(b, db.Close())
				require.Zero(b, s.stop())
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(rounds*waiting)/took.Seconds(), "events/s")
		})
	}
}

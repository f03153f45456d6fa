package postgres

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/feed"
	"authhook/internal/store/storetest"
)

// ownDatabase is the URL of a database of the test's own: what is notified in another is not heard there.
func ownDatabase(t testing.TB) string {
	t.Helper()
	base := storetest.PostgresURL(t)
	u, err := url.Parse(base)
	require.NoError(t, err)
	name := store.NewID("d")
	storetest.PostgresExec(t, base, `CREATE DATABASE `+name)
	t.Cleanup(func() { storetest.PostgresExec(t, base, `DROP DATABASE `+name+` WITH (FORCE)`) })
	u.Path = "/" + name
	return u.String()
}

// migrated is a store on a migrated database of its own, with a user anna.
func migrated(t testing.TB) (*Store, string) {
	t.Helper()
	databaseURL := ownDatabase(t)
	s := openAt(t, databaseURL)
	require.NoError(t, s.Migrate(t.Context()))
	require.NoError(t, putUser(t.Context(), s, "anna"))
	return s, databaseURL
}

func openAt(t testing.TB, databaseURL string) *Store {
	t.Helper()
	s, err := Open(t.Context(), databaseURL)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// ear is a listener at work, and what it heard.
type ear struct {
	t    *testing.T
	woke chan struct{}
	stop context.CancelFunc
	log  *written
}

// written is a log that can be read while it is written.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// listen runs a listener with the waits of a test, until it is stopped or the test ends.
func listen(t *testing.T, s *Store) *ear {
	t.Helper()
	e := &ear{t: t, woke: make(chan struct{}, 10_000), log: &written{}}
	ctx, cancel := context.WithCancel(t.Context())
	l := &listener{
		config: s.pool.Config().ConnConfig, wake: func() { e.woke <- struct{}{} }, log: slog.New(slog.NewTextHandler(e.log, nil)),
		askEvery: 100 * time.Millisecond, retryFrom: 10 * time.Millisecond, retryAtMost: 100 * time.Millisecond,
	}
	var done sync.WaitGroup
	done.Go(func() { l.run(ctx) })
	e.stop = func() { cancel(); done.Wait() }
	t.Cleanup(e.stop)
	return e
}

// hears waits until it is woken.
func (e *ear) hears(what string) {
	e.t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	select {
	case <-e.woke:
	case <-deadline.C:
		e.t.Fatalf("not woken: %s\n%s", what, e.log)
	}
}

// unheard says that nothing was heard that was not waited for.
func (e *ear) unheard(what string) {
	e.t.Helper()
	require.Empty(e.t, e.woke, what)
}

// Whoever writes to the feed wakes who listens.
func TestEveryEntryOfTheFeedIsHeard(t *testing.T) {
	t.Parallel()
	s, databaseURL := migrated(t)
	e := listen(t, s)
	e.hears("it has begun to listen")
	writer := openAt(t, databaseURL)
	_, err := writer.AddEntitlement(t.Context(), "anna", policy.Entitlement{Plan: "gold", Source: "test"})
	require.NoError(t, err)
	e.hears("facts")

	now := time.Now()
	lease := policy.Lease{User: "anna", Plan: "gold", Node: "edge-1", Session: "1", At: now, Until: now.Add(time.Hour)}
	_, _, err = writer.AcquireLease(t.Context(), lease, 1, policy.OnLimitKickOldest)
	require.NoError(t, err)
	lease.Session, lease.At = "2", now.Add(time.Second)
	_, kicked, err := writer.AcquireLease(t.Context(), lease, 1, policy.OnLimitKickOldest)
	require.NoError(t, err)
	require.Len(t, kicked, 1)
	e.hears("a session that lost its place")

	require.NoError(t, writer.WriteSessions(t.Context(), []policy.Session{{
		Node: "edge-1", ID: strings.Repeat("ab", 32), State: policy.SessionOpen, Stream: "movie", User: "anna", Plan: "gold",
		Reason: policy.Entitled, Opened: now, Decided: now, Metered: true,
	}}))
	e.hears("who is being counted for a quota")

	_, err = writer.ReceiveEvent(t.Context(), store.BillingEvent{Provider: "stripe", ID: "evt_1", Body: []byte("{}")})
	require.NoError(t, err)
	due, err := writer.DueEvents(t.Context(), time.Now(), 1)
	require.NoError(t, err)
	require.Len(t, due, 1)
	names := []string{"anna"}
	require.NoError(t, writer.ApplyEvent(t.Context(), due[0].Number, names, false,
		func(*store.BillingAccount) (*store.BillingEffect, error) {
			return &store.BillingEffect{
				State: store.EventApplied, Names: names,
				Statuses: map[string]policy.UserStatus{"anna": policy.SuspendedUser, "bob": policy.SuspendedUser},
			}, nil
		}))
	e.hears("a billing event")
	e.unheard("each once, and of the first lease nobody needs to hear")
}

// A notification is heard when what it is about can be read, once for a transaction, and not if that was rolled back.
func TestHeardInTheOrderOfTheCommits(t *testing.T) {
	t.Parallel()
	s, databaseURL := migrated(t)
	e := listen(t, s)
	e.hears("it has begun to listen")
	change := store.Record{Changes: []store.Change{{Kind: store.ChangeUser, Subject: "anna"}}, Action: "test", Subject: "anna", Detail: "{}"}
	begin := func() pgx.Tx {
		tx, err := s.pool.Begin(t.Context())
		require.NoError(t, err)
		require.NoError(t, s.record(t.Context(), tx, change))
		require.NoError(t, s.record(t.Context(), tx, change))
		return tx
	}
	before, err := s.LastChange(t.Context())
	require.NoError(t, err)

	tx := begin()
	storetest.PostgresExec(t, databaseURL, sqlNotify) // somebody else's
	e.hears("somebody else's")
	e.unheard("nothing is committed yet")
	require.NoError(t, tx.Rollback(t.Context()))
	storetest.PostgresExec(t, databaseURL, sqlNotify)
	e.hears("somebody else's")
	e.unheard("nothing was committed")

	tx = begin()
	require.NoError(t, tx.Commit(t.Context()))
	e.hears("the commit")
	last, err := s.LastChange(t.Context())
	require.NoError(t, err)
	require.Equal(t, before+2, last)
	storetest.PostgresExec(t, databaseURL, sqlNotify)
	e.hears("somebody else's")
	e.unheard("a transaction is heard of once")
}

// However many write at once: after the last notification, the feed holds all that was committed.
func TestAfterTheLastNotificationAllCanBeRead(t *testing.T) {
	t.Parallel()
	s, databaseURL := migrated(t)
	const writers, each = 4, 50
	var seen atomic.Int64
	all := make(chan struct{})
	before, err := s.LastChange(t.Context())
	require.NoError(t, err)
	f := feed.New(s, before, feed.Options{Every: time.Hour}, func(_ context.Context, changes []store.Change) {
		if seen.Add(int64(len(changes))) == writers*each {
			close(all)
		}
	}, func() { t.Error("a gap") })
	following(t, s, f)
	writer := openAt(t, databaseURL)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := putUser(t.Context(), writer, fmt.Sprintf("user-%d-%d", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	await(t, all, "every change")
}

// following runs a follower that is woken by notifications.
func following(t *testing.T, s *Store, f *feed.Follower) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.Run(ctx) })
	wg.Go(func() { _ = s.Listen(ctx, f.Wake, slog.New(slog.DiscardHandler)) })
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func await(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	select {
	case <-done:
	case <-deadline.C:
		t.Fatal("no sign of " + what)
	}
}

// Another replica's change is acted on without waiting for the next read, which is an hour away; and so it is after the
// listener has lost its connection.
func TestAnotherReplicasChangeNeedNotWait(t *testing.T) {
	t.Parallel()
	s, databaseURL := migrated(t)
	before, err := s.LastChange(t.Context())
	require.NoError(t, err)
	subjects := make(chan string, 10)
	f := feed.New(s, before, feed.Options{Every: time.Hour}, func(_ context.Context, changes []store.Change) {
		for _, c := range changes {
			subjects <- c.Subject
		}
	}, func() { t.Error("a gap") })
	following(t, s, f)
	await(t, f.Started(), "the first read")
	other := openAt(t, databaseURL)
	told := func(user string) {
		t.Helper()
		require.NoError(t, putUser(t.Context(), other, user))
		deadline := time.NewTimer(30 * time.Second)
		defer deadline.Stop()
		select {
		case got := <-subjects:
			require.Equal(t, user, got)
		case <-deadline.C:
			t.Fatal("not told of " + user)
		}
	}
	told("bob")
	storetest.PostgresExec(t, databaseURL, endListeners)
	told("carol")
}

// endListeners ends the server's side of every connection that listens.
const endListeners = `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND query = '` + sqlListen + `'`

// Who lost its connection, however, makes another one, and looks whether it has missed something.
func TestAListenerComesBack(t *testing.T) {
	t.Parallel()
	_, databaseURL := migrated(t)
	p, through := storetest.NewProxy(t, databaseURL)
	e := listen(t, openAt(t, through))
	e.hears("it has begun to listen")
	writer := openAt(t, databaseURL)
	again := func(what string) {
		t.Helper()
		e.hears(what)
		require.NoError(t, putUser(t.Context(), writer, "anna"+store.NewID("")))
		e.hears("a change, after: " + what)
		e.unheard(what)
	}
	storetest.PostgresExec(t, databaseURL, endListeners)
	again("the server has ended it")
	p.Cut()
	again("the network has cut it")
	p.Down()
	require.NoError(t, putUser(t.Context(), writer, "missed"))
	p.Up()
	again("the network was away")
	p.Hang()
	require.Eventually(t, func() bool { _, made := p.Counts(); return made >= 5 }, 30*time.Second, time.Millisecond,
		"a connection that says nothing any more is given up")
	p.Down()
	p.Up()
	again("nothing got through")
	require.Equal(t, 4, strings.Count(e.log.String(), "level=WARN"), "%s", e.log)
	require.Equal(t, 5, strings.Count(e.log.String(), "level=INFO"), "%s", e.log)
}

// A server that is not there yet holds up nothing, and is listened to when it is.
func TestListeningBeginsWhenTheServerIsThere(t *testing.T) {
	t.Parallel()
	p, through := storetest.NewProxy(t, ownDatabase(t))
	p.Down()
	s := openAt(t, through)
	e := listen(t, s)
	require.Eventually(t, func() bool { return strings.Contains(e.log.String(), "not heard") }, 30*time.Second, time.Millisecond)
	e.unheard("there is no server")
	p.Up()
	e.hears("it is there now") // before there are tables
	e.stop()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.Listen(over, func() { t.Error("the end had come before") }, slog.New(slog.DiscardHandler)))
}

// A role that may do nothing but use the tables writes, and is heard; one that may not even connect is told so once.
func TestRolesWithoutRights(t *testing.T) {
	t.Parallel()
	_, databaseURL := migrated(t)
	role, stranger := store.NewID("r"), store.NewID("r")
	exec := func(sql string) { t.Helper(); storetest.PostgresExec(t, databaseURL, sql) }
	exec(`CREATE ROLE ` + role + ` LOGIN; CREATE ROLE ` + stranger + ` LOGIN;
		GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ` + role + `;
		REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO ` + role + `;
		REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC;
		REVOKE ALL ON DATABASE ` + database(t, databaseURL) + ` FROM PUBLIC; GRANT CONNECT ON DATABASE ` + database(t, databaseURL) + ` TO ` + role)
	t.Cleanup(func() {
		exec(`DROP OWNED BY ` + role + `; DROP ROLE ` + role + `; DROP ROLE ` + stranger)
	})
	as := func(role string) *Store {
		u, err := url.Parse(databaseURL)
		require.NoError(t, err)
		u.User = url.UserPassword(role, "s3cret")
		return openAt(t, u.String())
	}
	s := as(role)
	e := listen(t, s)
	e.hears("it has begun to listen")
	require.NoError(t, putUser(t.Context(), s, "bob"))
	e.hears("its own change")

	refused := listen(t, as(stranger))
	require.Eventually(t, func() bool { return strings.Contains(refused.log.String(), "permission denied") }, 30*time.Second, time.Millisecond, "%s", refused.log)
	require.NoError(t, putUser(t.Context(), s, "carol"))
	e.hears("a change, meanwhile")
	refused.unheard("it may not connect")
	e.stop()
	refused.stop()
	require.Equal(t, 1, strings.Count(refused.log.String(), "level=WARN"), "%s", refused.log)
	require.NotContains(t, refused.log.String(), "s3cret")
}

func database(t *testing.T, databaseURL string) string {
	u, err := url.Parse(databaseURL)
	require.NoError(t, err)
	return strings.TrimPrefix(u.Path, "/")
}

// A pooler that knows no LISTEN is asked again now and then, and said so once.
func TestAPoolerThatRefusesToListen(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	e := listen(t, openAt(t, pooler(t, func(b *pgproto3.Backend) {
		asked.Add(1)
		b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "0A000", Message: "LISTEN is not supported"})
	})))
	require.Eventually(t, func() bool { return asked.Load() > 3 }, 30*time.Second, time.Millisecond)
	e.unheard("it does not listen")
	e.stop()
	require.Equal(t, 1, strings.Count(e.log.String(), "\n"), "%s", e.log)
	require.Contains(t, e.log.String(), "LISTEN is not supported")
}

// A pooler that takes LISTEN and ends the connection each time is not besieged: each attempt waits longer than the last.
func TestAPoolerThatHangsUp(t *testing.T) {
	t.Parallel()
	e := listen(t, openAt(t, pooler(t, func(b *pgproto3.Backend) {
		b.Send(&pgproto3.CommandComplete{CommandTag: []byte("LISTEN")})
	})))
	began := time.Now()
	for range 8 {
		e.hears("it listens")
	}
	e.stop()
	// 10, 20, 40, 80, 100, 100 and 100 ms are waited for, or half of that at least: a lower bound holds on any machine.
	require.Greater(t, time.Since(began), 200*time.Millisecond)
}

// pooler is the URL of a stand-in for a pooler: it answers the first statement of each connection, and hangs up.
func pooler(t *testing.T, answer func(*pgproto3.Backend)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	serve := func(c net.Conn) {
		defer func() { _ = c.Close() }()
		b := pgproto3.NewBackend(c, c)
		if _, err := b.ReceiveStartupMessage(); err != nil {
			return
		}
		b.Send(&pgproto3.AuthenticationOk{})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if b.Flush() != nil {
			return
		}
		if _, err := b.Receive(); err != nil {
			return
		}
		answer(b)
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		_ = b.Flush()
	}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return "postgres://authhook@" + l.Addr().String() + "/authhook?sslmode=disable"
}

// BenchmarkNotify says what notifications cost those who write: the same transaction with and without one, beside as many
// listeners as there may be replicas.
func BenchmarkNotify(b *testing.B) {
	for _, listeners := range []int{0, 3, 30} {
		s, databaseURL := migrated(b)
		listening(b, openAt(b, databaseURL), listeners)
		for _, notify := range []bool{false, true} {
			b.Run(fmt.Sprintf("listeners=%d/notify=%t", listeners, notify), func(b *testing.B) {
				var n atomic.Int64
				b.SetParallelism(4)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						subject := fmt.Sprint(n.Add(1))
						err := s.write(b.Context(), "write", func(ctx context.Context, tx pgx.Tx) error {
							r := store.Record{Changes: []store.Change{{Kind: store.ChangeUser, Subject: subject}}, Action: "test", Detail: "{}"}
							if notify {
								return s.record(ctx, tx, r)
							}
							_, err := tx.Exec(ctx, sqlRecord, s.recordArgs(ctx, r)...)
							return err
						})
						if err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
}

// listening runs listeners who care for nothing.
func listening(b *testing.B, s *Store, many int) {
	ctx, cancel := context.WithCancel(b.Context())
	var wg, begun sync.WaitGroup
	begun.Add(many)
	for range many {
		wg.Go(func() { _ = s.Listen(ctx, sync.OnceFunc(begun.Done), slog.New(slog.DiscardHandler)) })
	}
	begun.Wait()
	b.Cleanup(func() { cancel(); wg.Wait() })
}

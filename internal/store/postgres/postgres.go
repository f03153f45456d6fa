// Package postgres keeps facts in PostgreSQL, for many machines. It is meant to lose nothing that it acknowledged and
// to answer or fail within seconds; it decides nothing. What it must do is written down as tests in store/storetest.
//
// Exactness rests on PostgreSQL's own locks: an advisory lock for each user and plan gives out leases, the change
// feed's one counter row numbers changes in the order of their commits.
//
// Behind a connection pooler that pools by transaction, add default_query_exec_mode=exec to the URL, and have the
// pooler let statement_timeout pass (PgBouncer: ignore_startup_parameters).
package postgres

import (
	"context"
	_ "embed"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// What waits for how long. MistServer waits for an answer for 5 s.
const (
	connectTimeout = 3 * time.Second
	callTimeout    = 4 * time.Second  // a call, retries and all
	longTimeout    = 30 * time.Second // a batch, a catalog, a clean-up
)

// Store is the facts of one PostgreSQL database. It is safe for concurrent use.
type Store struct {
	// Now is the clock, for what is stored with a time of its own and for the month whose usage counts. It is set
	// before the store is used.
	Now func() time.Time

	madeUp    bool // Now is also in place of the database's clock
	pool      *pgxpool.Pool
	lastReset atomic.Int64 // unix nanoseconds
}

// SetClock puts a clock in place of this process's and of the database's own, for a test that makes time up. It is called before
// the store is used.
func (s *Store) SetClock(now func() time.Time) { s.Now, s.madeUp = now, true }

// clock is what statements take for the database's clock: nil for its own.
func (s *Store) clock() *time.Time {
	if !s.madeUp {
		return nil
	}
	now := s.Now()
	return &now
}

// Open prepares a pool of connections to a postgres:// URL. It does not migrate, and it does not connect: a server that
// is away is [store.ErrUnavailable] of each call, until it is back.
//
// Of the URL's parameters, those of pgx are understood (sslmode, pool_max_conns, default_query_exec_mode, …).
func Open(ctx context.Context, url string) (*Store, error) {
	return open(ctx, url, nil)
}

func open(ctx context.Context, databaseURL string, tracer pgx.QueryTracer) (*Store, error) {
	if u, err := url.Parse(databaseURL); err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, errURL
	}
	cfg, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, errURL // pgx's own error may quote the password
	}
	if !strings.Contains(databaseURL, "pool_max_conns") {
		cfg.MaxConns = max(cfg.MaxConns, 16)
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = connectTimeout
	}
	params := cfg.ConnConfig.RuntimeParams
	for name, value := range map[string]string{
		"application_name": "authhook",
		// The server gives up when we have: a client's broken connection does not stop a statement.
		"statement_timeout":                   "30s",
		"idle_in_transaction_session_timeout": "30s",
	} {
		if _, set := params[name]; !set {
			params[name] = value
		}
	}
	// A connection that was idle is not asked whether it is alive: that would be a second round trip. A dead one is
	// noticed by the call that gets it, which then tries again on a new one (see run.go).
	cfg.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	cfg.AfterConnect = prepare
	cfg.ConnConfig.Tracer = tracer
	// Behind a pooler somebody else's LISTEN may have been left on a connection: what it hears must not pile up here.
	cfg.ConnConfig.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, errURL
	}
	return &Store{Now: time.Now, pool: pool}, nil
}

// prepare makes a new connection ready for what a decision waits for. pgx prepares a statement at its first use on a
// connection, with a round trip of its own; here that happens while connecting, so that reading facts is one round trip
// from the first time on. Statements that are prepared are also planned once instead of every time.
func prepare(ctx context.Context, conn *pgx.Conn) error {
	if conn.Config().DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		return nil
	}
	_, err := conn.Prepare(ctx, sqlFacts, sqlFacts)
	if refused := (*pgconn.PgError)(nil); errors.As(err, &refused) {
		return nil // not migrated yet: the call will say so
	}
	return err
}

// Close closes every connection, once the calls that use them have ended.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	return s.read(ctx, "ping the database", func(ctx context.Context) error { return s.pool.Ping(ctx) })
}

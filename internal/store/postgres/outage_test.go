package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/storetest"
	"authhook/migrations"
)

// behindProxy is a migrated store with a user anna and a catalog, and the proxy before its server.
func behindProxy(t *testing.T) (*Store, *storetest.Proxy) {
	p, through := storetest.NewProxy(t, storetest.PostgresSchema(t))
	s, err := Open(t.Context(), through)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.NoError(t, s.Migrate(t.Context()))
	require.NoError(t, putUser(t.Context(), s, "anna"))
	_, _, err = s.ApplyCatalog(t.Context(), &policy.Catalog{}, nil)
	require.NoError(t, err)
	return s, p
}

func putUser(ctx context.Context, s *Store, id string) error {
	_, _, err := s.PutUser(ctx, store.UserChange{ID: id, Status: policy.ActiveUser})
	return err
}

func TestOneRoundTrip(t *testing.T) {
	t.Parallel()
	s, p := behindProxy(t)
	hash := policy.HashKey("ak_1")
	_, err := s.AddCredential(t.Context(), hash, policy.Credential{Kind: policy.CredentialKey, User: "anna"}, time.Now())
	require.NoError(t, err)

	// A new connection, on which nothing was asked yet: pgx would prepare the statement now, if it were not prepared.
	s.pool.Reset()
	require.NoError(t, s.Ping(t.Context()))
	trips := func(call func() error) int {
		t.Helper()
		before, connections := p.Counts()
		require.NoError(t, call())
		after, now := p.Counts()
		require.Equal(t, connections, now, "on the same connection")
		return after - before
	}
	byCredential := func() error { _, _, err := s.FactsByCredential(t.Context(), hash); return err }
	byUser := func() error { _, err := s.FactsByUser(t.Context(), "anna"); return err }
	lease := func() error {
		_, _, err := s.AcquireLease(t.Context(), policy.Lease{User: "anna", Plan: "gold", Session: "1", At: time.Now(),
			Until: time.Now().Add(time.Hour)}, 1, policy.OnLimitReject)
		return err
	}
	require.Equal(t, 1, trips(byCredential), "the first time too")
	require.Equal(t, 1, trips(byUser))
	require.NoError(t, lease())
	require.Equal(t, 1, trips(lease), "a lease is one round trip once its statements are prepared")

	// pgx asks a connection that was idle for a second whether it is alive: that would be another round trip.
	idle := pgxpool.ShouldPingParams{IdleDuration: time.Hour}
	require.False(t, s.pool.Config().ShouldPing(t.Context(), idle))
}

func TestOutage(t *testing.T) {
	t.Parallel()
	s, p := behindProxy(t)
	for round := range 2 {
		p.Down()
		for name, call := range storetest.Calls(s) {
			began := time.Now()
			require.ErrorIs(t, call(t.Context()), store.ErrUnavailable, name)
			require.Less(t, time.Since(began), callTimeout+time.Second, name)
		}
		p.Up()
		for name, call := range storetest.Calls(s) {
			require.NoError(t, call(t.Context()), "%s, back for the %d. time", name, round+1)
		}
	}
}

func TestOpenWhileAway(t *testing.T) {
	t.Parallel()
	p, through := storetest.NewProxy(t, storetest.PostgresSchema(t))
	p.Down()
	s, err := Open(t.Context(), through)
	require.NoError(t, err, "the server may come later")
	defer s.Close()
	require.ErrorIs(t, s.Ping(t.Context()), store.ErrUnavailable)
	require.ErrorIs(t, s.Migrate(t.Context()), store.ErrUnavailable)
	_, err = s.Version(t.Context())
	require.ErrorIs(t, err, store.ErrUnavailable)
	p.Up()
	require.NoError(t, s.Migrate(t.Context()))
	require.NoError(t, putUser(t.Context(), s, "anna"))
}

// TestDeadConnections: connections that died while idle are nobody's trouble, however many.
func TestDeadConnections(t *testing.T) {
	t.Parallel()
	s, p := behindProxy(t)
	for name, call := range storetest.Calls(s) {
		idle := make([]*pgxpool.Conn, 8)
		for i := range idle {
			c, err := s.pool.Acquire(t.Context())
			require.NoError(t, err)
			idle[i] = c
		}
		for _, c := range idle {
			c.Release()
		}
		s.lastReset.Store(0)
		p.Cut()
		require.NoError(t, call(t.Context()), name)
	}
}

// TestServerSaysGoodbye: an administrator's command ends sessions of the server, as its restart does.
func TestServerSaysGoodbye(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.PostgresSchema(t)
	name := store.NewID("app")
	s, err := Open(t.Context(), databaseURL+"&application_name="+name)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Migrate(t.Context()))
	require.NoError(t, putUser(t.Context(), s, "anna"))
	_, _, err = s.ApplyCatalog(t.Context(), &policy.Catalog{}, nil)
	require.NoError(t, err)
	for what, call := range storetest.Calls(s) {
		s.lastReset.Store(0)
		storetest.PostgresExec(t, databaseURL, `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = '`+name+`'`)
		require.NoError(t, call(t.Context()), what)
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	s, p := behindProxy(t)
	p.Hang()
	began := time.Now()
	_, err := s.FactsByUser(t.Context(), "anna")
	require.ErrorIs(t, err, store.ErrUnavailable, "without a deadline of the caller's, our own")
	require.Less(t, time.Since(began), callTimeout+time.Second)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.FactsByUser(ctx, "anna")
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = s.FactsByUser(ctx, "anna")
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, store.ErrUnavailable)
	p.Cut()
}

func TestNewerDatabase(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.PostgresSchema(t)
	s, err := Open(t.Context(), databaseURL)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Migrate(t.Context()))
	storetest.PostgresExec(t, databaseURL, `UPDATE schema_migrations SET version = 9999`)
	err = s.Migrate(t.Context())
	newer := new(migrations.NewerError)
	require.ErrorAs(t, err, &newer)
	require.ErrorContains(t, err, "version 9999")
	v, err := s.Version(t.Context())
	require.ErrorAs(t, err, &newer)
	require.EqualValues(t, 9999, v)
}

// TestURLIsNotShown: errors are logged, and a URL holds a password.
func TestURLIsNotShown(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"postgres://anna:s3cret@host:port/db",
		"postgres://anna:s3/cret@127.0.0.1/db",
		"postgres://anna:s3cret@127.0.0.1/db?sslmode=s3cret",
		"postgres://anna:s3cret%zz@127.0.0.1/db",
		"mysql://anna:s3cret@127.0.0.1/db",
		"host=127.0.0.1 password=s3cret",
		"postgres://anna:s3cret@127.0.0.1/db?pool_max_conns=s3cret",
	} {
		_, err := Open(t.Context(), bad)
		require.ErrorIs(t, err, errURL, bad)
		require.NotContains(t, err.Error(), "cret")
		require.ErrorContains(t, err, "postgres://user:password@host")
	}

	s, err := Open(t.Context(), "postgres://anna:s3cret@127.0.0.1:1/db")
	require.NoError(t, err)
	defer s.Close()
	for name, call := range storetest.Calls(s) {
		err := call(t.Context())
		require.ErrorIs(t, err, store.ErrUnavailable, name)
		require.NotContains(t, err.Error(), "s3cret", name)
	}
	err = s.Migrate(t.Context())
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.NotContains(t, err.Error(), "s3cret")
}

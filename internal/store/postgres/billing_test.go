package postgres

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/storetest"
	"authhook/migrations"
)

// TestUpgradeBilling: a database from before billing events.
func TestUpgradeBilling(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.PostgresSchema(t)
	s, err := Open(t.Context(), databaseURL)
	require.NoError(t, err)
	defer s.Close()
	s.Now = func() time.Time { return time.Unix(1700000000, 0) }
	old := storetest.UntilMigration(t, migrations.Postgres, "0003_lives.up.sql")
	require.NoError(t, s.aside(t.Context(), func(conn *sql.Conn) error {
		return migrations.Apply(t.Context(), conn, migrations.PostgresDialect, old)
	}))
	storetest.UpgradeFrom3(t, s, "now()", func(text string) { storetest.PostgresExec(t, databaseURL, text) })
}

// TestApplyRoundTrips: once its statements are prepared, an event is applied in six round trips, one that changes nothing in
// five, and received in one.
func TestApplyRoundTrips(t *testing.T) {
	t.Parallel()
	s, p := behindProxy(t)
	trips := func(call func() error) int {
		t.Helper()
		before, connections := p.Counts()
		require.NoError(t, call())
		after, now := p.Counts()
		require.Equal(t, connections, now, "on the same connection")
		return after - before
	}
	ids := []string{"1", "2", "3", "4"}
	for i, id := range ids {
		receive := func() error {
			_, err := s.ReceiveEvent(t.Context(), store.BillingEvent{Provider: "stripe", ID: id, Body: []byte("{}")})
			return err
		}
		if took := trips(receive); i > 0 {
			require.Equal(t, 1, took)
		}
	}
	due, err := s.DueEvents(t.Context(), time.Now(), 10)
	require.NoError(t, err)
	require.Len(t, due, len(ids))
	for i, e := range due {
		apply := func() error {
			return s.ApplyEvent(t.Context(), e.Number, []string{"a"}, false, func(*store.BillingAccount) (*store.BillingEffect, error) {
				does := &store.BillingEffect{State: store.EventApplied, Names: []string{"a"},
					Records: []store.BillingRecord{{Kind: "payment", ID: "1", Doc: "{}"}}}
				if i < 3 {
					does.Payments = []store.Payment{{Provider: "stripe", ID: "1", User: "anna", Amount: int64(i), Status: "succeeded"}}
					does.Statuses = map[string]policy.UserStatus{"anna": policy.ActiveUser}
				}
				return does, nil
			})
		}
		switch took := trips(apply); i {
		case 2:
			require.Equal(t, 6, took)
		case 3:
			require.Equal(t, 5, took)
		}
	}
}

// TestApplyAfterAMerge: who waited for an account that is then gone reads the one that it went up in only once it has that one's
// lock.
func TestApplyAfterAMerge(t *testing.T) {
	t.Parallel()
	name := store.NewID("merge")
	databaseURL := storetest.PostgresSchema(t) + "&application_name=" + name
	s, err := Open(t.Context(), databaseURL)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Migrate(t.Context()))
	for _, id := range []string{"older", "younger", "late"} {
		_, err := s.ReceiveEvent(t.Context(), store.BillingEvent{Provider: "stripe", ID: id})
		require.NoError(t, err)
	}
	due, err := s.DueEvents(t.Context(), time.Now(), 10)
	require.NoError(t, err)
	var seen *store.BillingAccount
	fold := func(name string) func(a *store.BillingAccount) (*store.BillingEffect, error) {
		return func(a *store.BillingAccount) (*store.BillingEffect, error) {
			seen = a
			return &store.BillingEffect{State: store.EventApplied, Names: []string{name},
				Records: []store.BillingRecord{{Kind: "k", ID: name, Doc: "{}"}}}, nil
		}
	}
	for i, name := range []string{"older", "younger"} {
		require.NoError(t, s.ApplyEvent(t.Context(), due[i].Number, []string{name}, false, fold(name)))
	}

	pool, err := pgxpool.New(t.Context(), databaseURL)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	begin := func() pgx.Tx {
		tx, err := pool.Begin(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { tx.Rollback(context.WithoutCancel(t.Context())) })
		return tx
	}
	watch := begin()
	waiting := func(n int) bool {
		_, err := watch.Exec(t.Context(), `SELECT pg_stat_clear_snapshot()`)
		require.NoError(t, err)
		var got int
		require.NoError(t, watch.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE application_name = $1
			AND wait_event_type = 'Lock'`, name).Scan(&got))
		return got == n
	}
	merge, next := begin(), begin()
	_, err = merge.Exec(t.Context(), `
		SELECT id FROM billing_accounts ORDER BY id FOR UPDATE;
		UPDATE billing_names SET account = 1; UPDATE billing_records SET account = 1; DELETE FROM billing_accounts WHERE id = 2`)
	require.NoError(t, err)
	held, applied := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := next.Exec(t.Context(), `SELECT id FROM billing_accounts WHERE id = 1 FOR UPDATE`)
		held <- err
	}()
	for !waiting(1) {
	}
	go func() {
		applied <- s.ApplyEvent(t.Context(), due[2].Number, []string{"younger"}, false, fold("younger"))
	}()
	for !waiting(2) {
	}
	require.NoError(t, merge.Commit(t.Context()))
	require.NoError(t, <-held)
	for !waiting(1) { // for the older one, in its place
		require.Empty(t, applied)
	}
	_, err = next.Exec(t.Context(), `INSERT INTO billing_records VALUES ('stripe', 'k', 'told meanwhile', 1, '{}')`)
	require.NoError(t, err)
	require.NoError(t, next.Commit(t.Context()))
	require.NoError(t, <-applied)
	require.Len(t, seen.Records, 3)
}

// BenchmarkReceive beside an insert into a table of the same columns, a transaction each, as durable as the server is.
func BenchmarkReceive(b *testing.B) {
	databaseURL := storetest.PostgresSchema(b)
	pool, err := pgxpool.New(b.Context(), databaseURL)
	require.NoError(b, err)
	defer pool.Close()
	_, err = pool.Exec(b.Context(), `CREATE TABLE bare (number bigint GENERATED ALWAYS AS IDENTITY, provider text, event_id text, type text,
		provider_at timestamptz, received_at timestamptz, state text, reason text, tries integer, next_at timestamptz,
		applied_at timestamptz, user_id text, subject text, account bigint, body bytea)`)
	require.NoError(b, err)
	storetest.BenchReceive(b, newDatabase, func(ctx context.Context, e store.BillingEvent) error {
		_, err := pool.Exec(ctx, `INSERT INTO bare (provider, event_id, type, provider_at, received_at, state, reason, tries, next_at, user_id,
			subject, body) VALUES ($1, $2, $3, $4, $5, 'received', '', 0, $5, '', '', $6)`, e.Provider, e.ID, e.Type, e.At, e.Received, e.Body)
		return err
	})
}

package postgres

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/store"
	"authhook/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) { storetest.Run(t, newDatabase) }

func BenchmarkStore(b *testing.B) { storetest.Bench(b, newDatabase) }

func newDatabase(t testing.TB) storetest.Open {
	databaseURL := newSchema(t)
	return func(t testing.TB, now func() time.Time) storetest.Store {
		s, err := Open(t.Context(), databaseURL)
		require.NoError(t, err)
		s.Now = now
		return s
	}
}

// newSchema makes a schema of the test's own and returns the URL that leads there.
func newSchema(t testing.TB) string {
	t.Helper()
	base := storetest.PostgresURL(t)
	u, err := url.Parse(base)
	require.NoError(t, err)
	schema := store.NewID("t")
	admin(t, base, `CREATE SCHEMA `+schema)
	t.Cleanup(func() { admin(t, base, `DROP SCHEMA `+schema+` CASCADE`) })
	q := u.Query()
	q.Set("search_path", schema)
	q.Set("pool_max_conns", "12")
	u.RawQuery = q.Encode()
	return u.String()
}

func admin(t testing.TB, databaseURL, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	cfg, err := pgxpool.ParseConfig(databaseURL)
	require.NoError(t, err)
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	require.NoError(t, err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	require.NoError(t, err)
}

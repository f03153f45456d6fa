package postgres

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/store/storetest"
	"authhook/migrations"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) { storetest.Run(t, newDatabase) }

func BenchmarkStore(b *testing.B) { storetest.Bench(b, newDatabase) }

func newDatabase(t testing.TB) storetest.Open {
	databaseURL := storetest.PostgresSchema(t)
	return func(t testing.TB, now func() time.Time) storetest.Store {
		s, err := Open(t.Context(), databaseURL)
		require.NoError(t, err)
		s.SetClock(now)
		return s
	}
}

// TestUpgrade: a database of the first schema, with what was in it.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.PostgresSchema(t)
	s, err := Open(t.Context(), databaseURL)
	require.NoError(t, err)
	defer s.Close()
	first := storetest.UntilMigration(t, migrations.Postgres, "0001_facts.up.sql")
	require.NoError(t, s.aside(t.Context(), func(conn *sql.Conn) error {
		return migrations.Apply(t.Context(), conn, migrations.PostgresDialect, first)
	}))
	storetest.UpgradeFrom1(t, s, "now()", func(text string) { storetest.PostgresExec(t, databaseURL, text) })
}

package postgres

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) { storetest.Run(t, newDatabase) }

func BenchmarkStore(b *testing.B) { storetest.Bench(b, newDatabase) }

func newDatabase(t testing.TB) storetest.Open {
	databaseURL := storetest.PostgresSchema(t)
	return func(t testing.TB, now func() time.Time) storetest.Store {
		s, err := Open(t.Context(), databaseURL)
		require.NoError(t, err)
		s.Now = now
		return s
	}
}

package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/store/sqlite"
	"authhook/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) { storetest.Run(t, newDatabase) }

func BenchmarkStore(b *testing.B) { storetest.Bench(b, newDatabase) }

func newDatabase(t testing.TB) storetest.Open {
	path := filepath.Join(t.TempDir(), "authhook.db")
	return func(t testing.TB, now func() time.Time) storetest.Store {
		s, err := sqlite.Open(t.Context(), path)
		require.NoError(t, err)
		s.Now = now
		return s
	}
}

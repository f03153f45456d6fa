package migrations

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSameOnBoth: each migration exists for both databases, under the same number and name.
func TestSameOnBoth(t *testing.T) {
	names := func(source fs.FS) (list []string) {
		files, err := fs.ReadDir(source, ".")
		require.NoError(t, err)
		for _, f := range files {
			list = append(list, f.Name())
		}
		return list
	}
	require.Equal(t, names(Postgres), names(SQLite))

	sqlite, err := Latest(SQLite)
	require.NoError(t, err)
	require.EqualValues(t, len(names(SQLite)), sqlite, "numbered from 1 without a gap")
	postgres, err := Latest(Postgres)
	require.NoError(t, err)
	require.Equal(t, sqlite, postgres)
}

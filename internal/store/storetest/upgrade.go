package storetest

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// UntilMigration are the migrations up to a number, as an older program had them.
func UntilMigration(t testing.TB, all fs.FS, name string) fs.FS {
	t.Helper()
	files, err := fs.ReadDir(all, ".")
	require.NoError(t, err)
	some := fstest.MapFS{}
	for _, f := range files {
		if f.Name() <= name {
			text, err := fs.ReadFile(all, f.Name())
			require.NoError(t, err)
			some[f.Name()] = &fstest.MapFile{Data: text}
		}
	}
	require.NotEmpty(t, some)
	require.Less(t, len(some), len(files), "there is something to upgrade to")
	return some
}

// UpgradeFrom1 tests the upgrade of a database that is at the first migration. Exec runs SQL there; moment is any moment as
// it writes one.
func UpgradeFrom1(t *testing.T, s Store, moment string, exec func(sql string)) {
	exec(`INSERT INTO users (id, status, created_at, updated_at) VALUES ('anna', 'suspended', ` + moment + `, ` + moment + `)`)
	exec(`UPDATE catalog SET jwt = '{}', applied_at = ` + moment)
	require.NoError(t, s.Migrate(t.Context()))
	require.EqualValues(t, 1, user(t, s, "anna").Version)
	require.EqualValues(t, 2, put(t, s, "anna", policy.ActiveUser, nil).Version)
	c, err := s.Catalog(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, c.Version)
	require.Len(t, audit(t, s, store.AuditFilter{}), 1)
}

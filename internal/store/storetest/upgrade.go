package storetest

import (
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

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
	// A session that ended, and one that came back since, as the first schema has them.
	for _, row := range []string{`'1', 'ended', ` + moment + `, 60000000`, `'2', 'open', NULL, 0`} {
		exec(`INSERT INTO sessions (node, id, state, ended_at, duration, last_end, instance, stream, address, connector, user_id, jwt,
			reason, plan, tags, opened_at, decided_at, bytes_up, bytes_down, connectors)
			VALUES ('n', ` + row + `, ` + moment + `, 'i', 'x', '', 'HLS', 'anna', '', 'entitled', 'gold', '', ` + moment + `, ` + moment + `, 0, 0, '')`)
	}
	exec(`UPDATE catalog SET jwt = '{}', applied_at = ` + moment)
	require.NoError(t, s.Migrate(t.Context()))
	require.EqualValues(t, 1, user(t, s, "anna").Version)
	require.EqualValues(t, 2, put(t, s, "anna", policy.ActiveUser, nil).Version)
	c, err := s.Catalog(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, c.Version)
	require.Len(t, audit(t, s, store.AuditFilter{}), 1)

	ended := stored(t, s, "1")
	require.False(t, ended.Estimated)
	open := ended
	open.State, open.Opened, open.Decided = policy.SessionOpen, ended.Ended.Add(time.Second), ended.Ended.Add(time.Second)
	again := policy.Session{Node: "n", ID: "1", State: policy.SessionEnded, Ended: ended.Ended.Add(9 * time.Second), Duration: time.Minute}
	write(t, s, open, again)
	require.Equal(t, policy.SessionOpen, stored(t, s, "1").State, "its last end is told again, and is known by how long it was")
	require.Equal(t, []string{"n/1", "n/2"}, held(t, s, "n", noon))
}

package sqlite

import (
	"context"
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/storetest"
	"authhook/migrations"
)

func newStore(t *testing.T) (*Store, string) {
	path := filepath.Join(t.TempDir(), "authhook.db")
	s, err := Open(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	require.NoError(t, s.Migrate(t.Context()))
	return s, path
}

func putUser(ctx context.Context, s *Store, id string) error {
	_, _, err := s.PutUser(ctx, store.UserChange{ID: id, Status: policy.ActiveUser})
	return err
}

func TestPath(t *testing.T) {
	for url, want := range map[string]string{
		"sqlite:authhook.db":               "authhook.db",
		"sqlite:/var/lib/authhook.db":      "/var/lib/authhook.db",
		"sqlite:///var/lib/authhook.db":    "/var/lib/authhook.db",
		"sqlite://authhook.db":             "authhook.db",
		"authhook.db":                      "authhook.db",
		"/a/b":                             "/a/b",
		"sqlite:C:\\authhook\\authhook.db": "C:\\authhook\\authhook.db",
	} {
		require.Equal(t, want, Path(url), url)
	}
}

// TestOddPaths: what looks like part of a URI is part of the name.
func TestOddPaths(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a b.db", "a?mode=memory.db", "a#b.db", "100%25.db", "ü&_pragma=x.db"} {
		path := filepath.Join(dir, name)
		s, err := Open(t.Context(), "sqlite:"+path)
		require.NoError(t, err, name)
		require.NoError(t, s.Migrate(t.Context()), name)
		require.NoError(t, s.Close(), name)
		info, err := os.Stat(path)
		require.NoError(t, err, name)
		require.Positive(t, info.Size(), name)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), "it holds secrets")
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 5, "nothing is left beside a closed database")
}

// TestOpenErrors: what is wrong with a place is said together with what to do about it.
func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.db")
	require.NoError(t, os.WriteFile(text, []byte("this is a text and no database, and it is long enough to have a header"), 0o600))
	for path, want := range map[string]string{
		"":                           "names no file",
		"sqlite::memory:":            "names no file",
		filepath.Join(dir, "a", "b"): "the directory " + filepath.Join(dir, "a") + " does not exist: make it",
		dir:                          "is a directory: name a file in it",
		"/proc/authhook.db":          "let authhook write in the directory /proc", // where not even root can
		text:                         "is not an SQLite database: move it away",
	} {
		s, err := Open(t.Context(), path)
		require.ErrorContains(t, err, want, path)
		require.Nil(t, s)
	}
	after, err := os.ReadFile(text)
	require.NoError(t, err)
	require.Contains(t, string(after), "this is a text", "nothing happened to it")
}

func TestNewerDatabase(t *testing.T) {
	s, path := newStore(t)
	require.NoError(t, s.inTurn(t.Context(), func() error {
		_, err := s.conn.ExecContext(t.Context(), `UPDATE schema_migrations SET version = 9999`)
		return err
	}))
	newer := new(migrations.NewerError)
	err := s.Migrate(t.Context())
	require.ErrorAs(t, err, &newer)
	require.NoError(t, s.Close())
	_, err = Open(t.Context(), path)
	require.ErrorAs(t, err, &newer)
	require.ErrorContains(t, err, "version 9999")
	require.ErrorContains(t, err, "newer authhook")
}

// TestInterruptedMigration: what fails half-way never was, and can be tried again.
func TestInterruptedMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "authhook.db")
	s, err := Open(t.Context(), path)
	require.NoError(t, err)
	defer s.Close()
	source := fstest.MapFS{
		"1_a.up.sql": {Data: []byte(`CREATE TABLE a (x);`)},
		"2_b.up.sql": {Data: []byte(`CREATE TABLE b (x); INSERT INTO b VALUES (1); INSERT INTO nowhere VALUES (1);`)},
	}
	require.ErrorContains(t, migrations.Apply(t.Context(), s.conn, migrations.SQLiteDialect, source), "nowhere")
	var n int
	require.NoError(t, s.conn.QueryRowContext(t.Context(), `SELECT count(*) FROM sqlite_schema`).Scan(&n))
	require.Zero(t, n)

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, migrations.Apply(cancelled, s.conn, migrations.SQLiteDialect, source), context.Canceled)

	source["2_b.up.sql"] = &fstest.MapFile{Data: []byte(`CREATE TABLE b (x);`)}
	for range 2 {
		require.NoError(t, migrations.Apply(t.Context(), s.conn, migrations.SQLiteDialect, source))
		v, err := migrations.Version(t.Context(), s.conn, migrations.SQLiteDialect, source)
		require.NoError(t, err)
		require.EqualValues(t, 2, v)
	}
}

// TestUpgrade: a database of the first schema, with what was in it.
func TestUpgrade(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "authhook.db"))
	require.NoError(t, err)
	defer s.Close()
	first := storetest.UntilMigration(t, migrations.SQLite, "0001_facts.up.sql")
	require.NoError(t, migrations.Apply(t.Context(), s.conn, migrations.SQLiteDialect, first))
	storetest.UpgradeFrom1(t, s, "1700000000000000", func(text string) {
		_, err := s.conn.ExecContext(t.Context(), text)
		require.NoError(t, err)
	})
}

// TestBusy: another process that writes for long is an outage, while reading goes on.
func TestBusy(t *testing.T) {
	s, path := newStore(t)
	require.NoError(t, putUser(t.Context(), s, "anna"))
	other, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer other.Close()
	other.SetMaxOpenConns(1)
	_, err = other.ExecContext(t.Context(), `BEGIN IMMEDIATE`)
	require.NoError(t, err)

	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = putUser(ctx, s, "ben")
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(began), 2*time.Second, "the caller's time is kept")
	_, err = s.User(t.Context(), "anna")
	require.NoError(t, err)
	err = putUser(t.Context(), s, "ben")
	require.ErrorIs(t, err, store.ErrUnavailable)

	_, err = other.ExecContext(t.Context(), `ROLLBACK`)
	require.NoError(t, err)
	require.NoError(t, putUser(t.Context(), s, "ben"))
}

// TestDiskFull: a full disk is an outage, leaves nothing half, and passes.
func TestDiskFull(t *testing.T) {
	s, _ := newStore(t)
	require.NoError(t, putUser(t.Context(), s, "anna"))
	var pages int
	limit := func(pragma string) {
		require.NoError(t, s.conn.QueryRowContext(t.Context(), pragma).Scan(&pages))
	}
	limit(`PRAGMA max_page_count = 1`) // no more than there are
	var err error
	stored := 0
	for ; err == nil && stored < 1000; stored++ {
		_, err = s.AddHold(t.Context(), "anna", policy.Hold{Kind: "abuse", Ref: strings.Repeat("x", 4000)})
	}
	require.ErrorIs(t, err, store.ErrUnavailable)
	limit(`PRAGMA max_page_count = 100000`)
	_, err = s.AddHold(t.Context(), "anna", policy.Hold{Kind: "abuse"})
	require.NoError(t, err)
	holds, err := s.Holds(t.Context(), "anna", store.Page{Limit: store.MaxFacts})
	require.NoError(t, err)
	require.Len(t, holds, stored)
	last, err := s.LastChange(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, stored+1, last, "what failed has no entry in the feed")
}

// TestDurability: facts wait for the disk, what is of the moment does not.
func TestDurability(t *testing.T) {
	s, _ := newStore(t)
	synchronous := func() (level int) {
		require.NoError(t, s.conn.QueryRowContext(t.Context(), `PRAGMA synchronous`).Scan(&level))
		return level
	}
	require.NoError(t, putUser(t.Context(), s, "anna"))
	require.Equal(t, 2, synchronous(), "FULL")
	require.NoError(t, s.WriteSessions(t.Context(), []policy.Session{{Node: "n", ID: "1", State: policy.SessionOpen}}))
	require.Equal(t, 1, synchronous(), "NORMAL")
	_, _, err := s.ApplyCatalog(t.Context(), &policy.Catalog{}, nil)
	require.NoError(t, err)
	require.Equal(t, 2, synchronous(), "FULL")
	var mode string
	require.NoError(t, s.conn.QueryRowContext(t.Context(), `PRAGMA journal_mode`).Scan(&mode))
	require.Equal(t, "wal", mode)
}

func TestClosed(t *testing.T) {
	s, _ := newStore(t)
	require.NoError(t, s.Close())
	require.ErrorIs(t, putUser(t.Context(), s, "anna"), store.ErrUnavailable)
	_, err := s.FactsByUser(t.Context(), "anna")
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.NoError(t, s.Close(), "again")
}

// A file that was removed or replaced under the store is no database any more, whatever can still be read of it.
func TestPingOfALostFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "authhook.db")
	s, err := Open(t.Context(), path)
	require.NoError(t, err)
	defer func() { _ = s.Close() }()
	require.NoError(t, s.Migrate(t.Context()))
	require.NoError(t, s.Ping(t.Context()))
	require.NoError(t, os.Rename(path, path+".old"))
	require.ErrorIs(t, s.Ping(t.Context()), store.ErrUnavailable)
	other, err := Open(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.ErrorIs(t, s.Ping(t.Context()), store.ErrUnavailable)
}

// Package sqlite keeps facts in one SQLite file, embedded, for one machine. It decides nothing. What it must do is
// written down as tests in store/storetest.
//
// The file is in WAL mode: readers never wait for the writer. There is one connection that writes, taken in turn, and
// every transaction that writes begins as such, so nothing that was read in it can change before it ends. Other
// processes (authhook apply, while authhook serve runs) take part through SQLite's own lock.
//
// Facts are synced to the disk before they are acknowledged (synchronous=FULL): a payment survives a power cut. Leases,
// previews and sessions are not (NORMAL): they are of the moment, are written for every viewer, and after a power cut
// the node's own list of sessions says what is true. A crash of the process alone loses neither.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"authhook/internal/store"
	"authhook/migrations"
)

// What waits for how long. MistServer waits for an answer for 5 s.
const (
	callTimeout = 4 * time.Second
	longTimeout = 30 * time.Second // a batch, a catalog, a clean-up
)

// Store is the facts of one SQLite file. It is safe for concurrent use.
type Store struct {
	// Now is the clock, for what is stored with a time of its own and for the month whose usage counts. It is set
	// before the store is used.
	Now func() time.Time

	readers  *pool
	writer   *pool
	turn     chan struct{} // held by whoever writes
	conn     *sql.Conn     // the writer's
	receipts receipts
	closed   atomic.Bool
	path     string
	file     os.FileInfo // what stood at the path when it was opened
}

// Path is the file that a URL such as sqlite:authhook.db or sqlite:///var/lib/authhook.db names. A path stays as it is.
func Path(url string) string {
	return strings.TrimPrefix(strings.TrimPrefix(url, "sqlite:"), "//")
}

// Open opens the file at a path (or a URL, see [Path]), and makes it when there is none. It does not migrate.
func Open(ctx context.Context, path string) (*Store, error) {
	path = Path(path)
	if err := makeFile(path); err != nil {
		return nil, err
	}
	file, err := os.Stat(path)
	if err != nil {
		return nil, openError(path, err)
	}
	s := &Store{Now: time.Now, turn: make(chan struct{}, 1), path: path, file: file,
		receipts: receipts{lead: make(chan struct{}, 1)}}
	if s.writer, err = openPool(path, 1, busyReader, "journal_mode(WAL)", "foreign_keys(1)"); err != nil {
		return nil, openError(path, err)
	}
	if s.readers, err = openPool(path, max(4, runtime.NumCPU()), busyReader, "query_only(1)"); err != nil {
		return nil, errors.Join(openError(path, err), s.writer.db.Close())
	}
	if s.conn, err = s.writer.db.Conn(ctx); err == nil {
		_, err = migrations.Version(ctx, s.conn, migrations.SQLiteDialect, migrations.SQLite)
	}
	if err == nil {
		_, err = s.conn.ExecContext(ctx, busyWriter)
	}
	if err != nil {
		return nil, errors.Join(openError(path, err), s.Close())
	}
	return s, nil
}

// How long SQLite waits for another process, in milliseconds: where it opens a file or reads, where it begins to
// write (see begin), and where another process may be migrating.
const (
	busyReader   = "busy_timeout(4000)"
	busyWriter   = "PRAGMA busy_timeout = 18"
	busyMigrator = "PRAGMA busy_timeout = 60000"
)

// openPool prepares connections. The pragmas run in the order given.
func openPool(path string, size int, pragmas ...string) (*pool, error) {
	q := url.Values{"_pragma": append(pragmas, "cache_size(-16000)", "temp_store(MEMORY)")}
	q.Set("_dqs", "0")      // "text" is never a string
	q.Set("_error_rc", "1") // an error's text is of that error
	// In a URI, which SQLite reads itself, a path must not look like more than a path.
	escaped := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	db, err := sql.Open("sqlite", "file:"+escaped+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return &pool{db: db, stmts: map[string]*sql.Stmt{}}, nil
}

// makeFile makes an empty file that only its owner can read (it will hold the secrets of JWTs), and finds out what is
// wrong with the place while the errors are still clear. An existing file is not opened: closing it again would take
// away the locks that SQLite holds on it in this process.
func makeFile(path string) error {
	if path == "" || strings.HasPrefix(path, ":memory:") {
		return fmt.Errorf("%q names no file: the database must be one, such as sqlite:authhook.db", path)
	}
	if info, err := os.Stat(path); err == nil {
		if info.IsDir() {
			return fmt.Errorf("%s is a directory: name a file in it, such as %s", path, filepath.Join(path, "authhook.db"))
		}
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return f.Close()
	}
	dir := filepath.Dir(path)
	if errors.Is(err, fs.ErrExist) {
		return nil // somebody else was faster
	}
	if _, statErr := os.Stat(dir); errors.Is(statErr, fs.ErrNotExist) {
		return fmt.Errorf("the directory %s does not exist: make it, or name another file: %w", dir, fs.ErrNotExist)
	}
	return fmt.Errorf("cannot make %s: let authhook write in the directory %s, or name another file: %w", path, dir, err)
}

// openError says what to do about a file that cannot be opened.
func openError(path string, err error) error {
	dir := filepath.Dir(path)
	switch primary(err) {
	case codeNotADB:
		return fmt.Errorf("%s is not an SQLite database: move it away, or name another file: %w", path, err)
	case codeCorrupt:
		return fmt.Errorf("%s is damaged: restore a backup, or try SQLite's .recover on a copy: %w", path, err)
	case codeCantOpen, codeReadOnly, codePerm:
		return fmt.Errorf("cannot write %s: let authhook write the file and its directory %s, where SQLite keeps two more "+
			"(-wal, -shm): %w", path, dir, err)
	}
	if newer, ok := errors.AsType[*migrations.NewerError](err); ok {
		return fmt.Errorf("%s: %w", path, newer)
	}
	return explain(context.Background(), "open "+path, err)
}

// Close waits for who is writing and closes the file.
func (s *Store) Close() error {
	s.closed.Store(true)
	s.turn <- struct{}{}
	var err error
	if s.conn != nil {
		s.writer.forget()
		err = s.conn.Close()
		s.conn = nil
	}
	<-s.turn
	return errors.Join(err, s.readers.close(), s.writer.close())
}

// Ping says whether the database answers, from the file that stands at its path. One that was removed or replaced is
// written to all the same, and lost.
func (s *Store) Ping(ctx context.Context) error {
	now, err := os.Stat(s.path)
	if err != nil || !os.SameFile(now, s.file) {
		return fmt.Errorf("ping the database: another file or none is at %s, start anew: %w", s.path, store.ErrUnavailable)
	}
	return s.read(ctx, "ping the database", func(ctx context.Context) error {
		var tables int
		return s.readers.db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&tables)
	})
}

// Migrate brings the schema up to date. Processes that start at once wait for the first one of them.
func (s *Store) Migrate(ctx context.Context) error {
	return s.aside(ctx, "migrate the database", func(ctx context.Context) error {
		if _, err := s.conn.ExecContext(ctx, busyMigrator); err != nil {
			return err
		}
		err := migrations.Apply(ctx, s.conn, migrations.SQLiteDialect, migrations.SQLite)
		_, back := s.conn.ExecContext(context.WithoutCancel(ctx), busyWriter)
		return errors.Join(err, back)
	})
}

// Version is the number of the last migration that was applied, 0 when there was none. A database that is newer than
// this program is an error, beside its version.
func (s *Store) Version(ctx context.Context) (version uint, err error) {
	err = s.aside(ctx, "read the database's version", func(ctx context.Context) (err error) {
		version, err = migrations.Version(ctx, s.conn, migrations.SQLiteDialect, migrations.SQLite)
		return err
	})
	return version, err
}

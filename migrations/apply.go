package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source/iofs"
)

// Dialect is what differs between the databases.
type Dialect struct {
	Name string
	// Begin begins the one transaction that everything runs in, and keeps others from migrating until it ends.
	Begin []string
	// Exists says (as one row, 0 or 1) whether the table of versions exists.
	Exists string
}

// The dialects of the two databases.
var (
	SQLiteDialect = Dialect{
		Name:   "sqlite",
		Begin:  []string{`BEGIN IMMEDIATE`},
		Exists: `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations'`,
	}
	PostgresDialect = Dialect{
		Name: "postgres",
		// The lock is of the database, so migrations of different schemas wait for each other too: they are rare.
		// The number is "authhook" in bytes.
		Begin:  []string{`BEGIN`, `SELECT pg_advisory_xact_lock(7022647185731710827)`},
		Exists: `SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_migrations'`,
	}
)

// The table is golang-migrate's own, so that its command-line tool works on the same database.
const (
	sqlCreateVersions = `CREATE TABLE IF NOT EXISTS schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)`
	sqlReadVersion    = `SELECT version, dirty FROM schema_migrations LIMIT 1`
	sqlDropVersion    = `DELETE FROM schema_migrations`
	sqlWriteVersion   = `INSERT INTO schema_migrations (version, dirty) VALUES ($1, $2)`
)

// NewerError says that the database was migrated by a newer program than this one.
type NewerError struct{ Have, Known uint }

func (e *NewerError) Error() string {
	return fmt.Sprintf("the database has version %d and this authhook knows versions up to %d: start the newer authhook, "+
		"or restore the backup from before the upgrade", e.Have, e.Known)
}

// Apply brings the database behind a connection up to date. Several may do so at once: one migrates, the others wait
// and find nothing left to do. Everything happens in one transaction: an interrupted migration never was.
func Apply(ctx context.Context, conn *sql.Conn, d Dialect, source fs.FS) error {
	known, err := Latest(source)
	if err != nil {
		return err
	}
	src, err := iofs.New(source, ".")
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	m, err := migrate.NewWithInstance("iofs", src, d.Name, &driver{ctx: ctx, conn: conn, dialect: d, known: known})
	if err != nil {
		return err
	}
	m.LockTimeout = time.Hour // how long to wait is the context's to say
	err = m.Up()
	if errors.Is(err, migrate.ErrNoChange) {
		err = nil
	}
	srcErr, _ := m.Close()
	return errors.Join(err, srcErr)
}

// Version is the number of the last migration that was applied, 0 when there was none. A database that is newer than
// this program is a [NewerError], beside its version.
func Version(ctx context.Context, conn *sql.Conn, d Dialect, source fs.FS) (uint, error) {
	known, err := Latest(source)
	if err != nil {
		return 0, err
	}
	var exists int
	if err := conn.QueryRowContext(ctx, d.Exists).Scan(&exists); err != nil || exists == 0 {
		return 0, err
	}
	v, _, err := (&driver{ctx: ctx, conn: conn, dialect: d, known: known}).Version()
	return uint(max(v, 0)), err
}

// driver is golang-migrate's view of a connection. Its own drivers for these databases commit step by step, so that a
// crash leaves a "dirty" database for a person to repair, and the one for SQLite locks within the process only. Here
// the lock is the transaction: Lock begins it, Unlock ends it.
type driver struct {
	ctx     context.Context // golang-migrate passes none
	conn    *sql.Conn
	dialect Dialect
	known   uint
	failed  bool
}

func (d *driver) Lock() error {
	for _, q := range d.dialect.Begin {
		if err := d.exec(q); err != nil {
			d.end(`ROLLBACK`) // an interrupted BEGIN may have begun
			return fmt.Errorf("wait for other migrations: %w", err)
		}
	}
	if err := d.exec(sqlCreateVersions); err != nil {
		d.end(`ROLLBACK`)
		return fmt.Errorf("make the table of versions: %w", err)
	}
	return nil
}

func (d *driver) Unlock() error {
	if d.failed {
		return d.end(`ROLLBACK`)
	}
	if err := d.end(`COMMIT`); err != nil {
		d.end(`ROLLBACK`)
		return err
	}
	return nil
}

func (d *driver) Run(migration io.Reader) error {
	text, err := io.ReadAll(migration)
	if err != nil {
		return d.note(err)
	}
	return d.note(d.exec(string(text)))
}

func (d *driver) SetVersion(version int, dirty bool) error {
	if err := d.exec(sqlDropVersion); err != nil {
		return d.note(err)
	}
	_, err := d.conn.ExecContext(d.ctx, sqlWriteVersion, version, dirty)
	return d.note(err)
}

func (d *driver) Version() (int, bool, error) {
	var version int
	var dirty bool
	err := d.conn.QueryRowContext(d.ctx, sqlReadVersion).Scan(&version, &dirty)
	if errors.Is(err, sql.ErrNoRows) {
		return database.NilVersion, false, nil
	}
	if err != nil {
		return 0, false, d.note(err)
	}
	if version > int(d.known) {
		return version, dirty, d.note(&NewerError{Have: uint(version), Known: d.known})
	}
	return version, dirty, nil
}

// exec runs SQL text of one or several statements.
func (d *driver) exec(text string) error {
	_, err := d.conn.ExecContext(d.ctx, text)
	return err
}

// end ends the transaction even when the caller has gone.
func (d *driver) end(how string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.ctx), 10*time.Second)
	defer cancel()
	_, err := d.conn.ExecContext(ctx, how)
	return err
}

func (d *driver) note(err error) error {
	d.failed = d.failed || err != nil
	return err
}

func (d *driver) Open(string) (database.Driver, error) { return d, nil }
func (d *driver) Close() error                         { return nil } // the connection is the caller's
func (d *driver) Drop() error                          { return errors.New("authhook drops no database") }

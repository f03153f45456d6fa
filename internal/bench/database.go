package bench

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/postgres"
	"authhook/internal/store/sqlite"
)

// Database is one that holds nothing yet, of the measuring's own.
type Database struct {
	Kind string // SQLite, PostgreSQL
	URL  string
	// Fill opens it, has it filled, and closes it.
	Fill func(context.Context, func(context.Context, FillStore) error) error
	// Drop leaves nothing of it.
	Drop func() error
}

// FillStore is what a database is filled by.
type FillStore interface {
	Store
	WriteSessions(context.Context, []policy.Session) error
	io.Closer
}

// fill fills what was opened, and closes it.
func fill(ctx context.Context, s FillStore, with func(context.Context, FillStore) error) error {
	return errors.Join(with(ctx, s), s.Close())
}

// NewSQLite is a file in a directory. It is filled in memory, where the machine has a place for files there: what is on the disk
// when the measuring begins is the same, and every fact is synced from then on.
func NewSQLite(dir string) *Database {
	path := filepath.Join(dir, store.NewID("facts")+".db")
	return &Database{
		Kind: "SQLite", URL: "sqlite:" + path,
		Fill: func(ctx context.Context, with func(context.Context, FillStore) error) error {
			return fillSQLite(ctx, path, with)
		},
		Drop: func() error { return nil }, // with its directory
	}
}

func fillSQLite(ctx context.Context, path string, with func(context.Context, FillStore) error) (err error) {
	const memory = "/dev/shm"
	if info, err := os.Stat(memory); err != nil || !info.IsDir() {
		s, err := sqlite.Open(ctx, path)
		if err != nil {
			return err
		}
		return fill(ctx, s, with)
	}
	dir, err := os.MkdirTemp(memory, "authhook-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := sqlite.Open(ctx, filepath.Join(dir, "facts.db"))
	if err != nil {
		return err
	}
	if err := fill(ctx, s, with); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "facts.db-wal")); err == nil {
		return errors.New("SQLite left a log beside its file")
	}
	return copyFile(filepath.Join(dir, "facts.db"), path)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// NewPostgres is a schema in the database at a URL.
func NewPostgres(ctx context.Context, base string) (*Database, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, errors.New("the PostgreSQL to measure with is given by no URL") // which may hold a password
	}
	schema := store.NewID("bench")
	if err := inPostgres(ctx, base, `CREATE SCHEMA `+schema); err != nil {
		return nil, err
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return &Database{
		Kind: "PostgreSQL", URL: u.String(),
		Fill: func(ctx context.Context, with func(context.Context, FillStore) error) error {
			s, err := postgres.Open(ctx, u.String())
			if err != nil {
				return err
			}
			return fill(ctx, s, with)
		},
		Drop: func() error {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
			defer cancel()
			return inPostgres(last, base, `DROP SCHEMA `+schema+` CASCADE`)
		},
	}, nil
}

func inPostgres(ctx context.Context, base, statement string) error {
	cfg, err := pgxpool.ParseConfig(base) // which knows of the pool's parameters
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return errors.Join(err, conn.Close(ctx))
}

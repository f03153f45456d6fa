package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"authhook/internal/enforce"
	"authhook/internal/policy"
	"authhook/internal/store/feed"
	"authhook/internal/store/postgres"
	"authhook/internal/store/redis"
	"authhook/internal/store/sqlite"
	"authhook/internal/webhook/admin"
)

// database is what the commands need of the place where facts live.
type database interface {
	policy.Source
	redis.Source
	policy.Previews
	enforce.Store
	EndSession(ctx context.Context, node, id string) error
	feed.Reader
	pruner
	inbox
	admin.Store

	Migrate(context.Context) error
	Ping(context.Context) error
	Close() error
}

// databaseFlags say which database to use.
type databaseFlags struct {
	DatabaseURL     string `default:"sqlite:authhook.db" placeholder:"URL" help:"Where facts live: sqlite:FILE on one machine, postgres://user:password@host/name for many."`
	DatabaseURLFile string `placeholder:"FILE" help:"A file that holds the database URL."`
}

// url is the database's URL, from the flag or from its file.
func (f *databaseFlags) url() (string, error) {
	if f.DatabaseURLFile == "" {
		return f.DatabaseURL, nil
	}
	given := f.DatabaseURL
	if given == defaultDatabase {
		given = ""
	}
	return secretFrom("database-url", given, f.DatabaseURLFile)
}

const defaultDatabase = "sqlite:authhook.db"

// check says whether the URL is one, without opening anything.
func (f *databaseFlags) check() error {
	url, err := f.url()
	if err != nil {
		return err
	}
	switch scheme, _, _ := strings.Cut(url, ":"); scheme {
	case "sqlite", "postgres", "postgresql":
		return nil
	}
	return wrongSetting("--database-url must begin with sqlite: or postgres://")
}

// open opens the database without touching it: the tables may be missing, and a PostgreSQL may be away.
func (f *databaseFlags) open(ctx context.Context) (database, error) {
	url, err := f.url()
	if err != nil {
		return nil, err
	}
	switch scheme, _, _ := strings.Cut(url, ":"); scheme {
	case "sqlite":
		return asDatabase(sqlite.Open(ctx, url))
	case "postgres", "postgresql":
		return asDatabase(postgres.Open(ctx, url))
	default:
		return nil, wrongSetting("--database-url must begin with sqlite: or postgres://")
	}
}

// asDatabase keeps a failed open from becoming an interface that is not nil.
func asDatabase[S database](s S, err error) (database, error) {
	if err != nil {
		return nil, wrongSetting("--database-url: %s", err)
	}
	return s, nil
}

// openThere opens a database that must be there already: for a command without effect, which must not make one.
func (f *databaseFlags) openThere(ctx context.Context) (database, error) {
	url, err := f.url()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(url, "sqlite:") {
		if _, err := os.Stat(sqlite.Path(url)); errors.Is(err, fs.ErrNotExist) {
			return nil, wrongSetting("--database-url: there is no %s yet: 'authhook apply' or 'authhook serve' makes it", sqlite.Path(url))
		}
	}
	return f.open(ctx)
}

// openReady opens the database with its tables up to date, for a command that uses it once.
func (f *databaseFlags) openReady(ctx context.Context) (database, error) {
	db, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

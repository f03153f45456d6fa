package main

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"authhook/internal/enforce"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/feed"
	"authhook/internal/store/postgres"
	"authhook/internal/store/sqlite"
)

// database is what the commands need of the place where facts live.
type database interface {
	policy.Source
	policy.Leases
	policy.Previews
	enforce.SessionStore
	feed.Reader
	pruner

	Migrate(context.Context) error
	Ping(context.Context) error
	Close() error

	Catalog(context.Context) (*policy.Catalog, error)
	ApplyCatalog(context.Context, *policy.Catalog) (changed bool, err error)

	PutUser(ctx context.Context, user string, status policy.UserStatus, attributes json.RawMessage) error
	User(ctx context.Context, user string) (store.User, error)
	AddCredential(ctx context.Context, hash policy.CredentialHash, c policy.Credential, now time.Time) (id string, err error)
	AddEntitlement(ctx context.Context, user string, e policy.Entitlement) (id string, err error)
}

// databaseFlags say which database to use.
type databaseFlags struct {
	DatabaseURL     string `default:"sqlite:authhook.db" placeholder:"URL" help:"Where facts live: sqlite:FILE on one machine, postgres://user:password@host/name for many."`
	DatabaseURLFile string `placeholder:"FILE" help:"A file that holds the database URL."`
}

// open opens the database without touching it: the tables may be missing, and a PostgreSQL may be away.
func (f *databaseFlags) open(ctx context.Context) (database, error) {
	url := f.DatabaseURL
	if f.DatabaseURLFile != "" {
		var err error
		if url, err = secretFrom("database-url", "", f.DatabaseURLFile); err != nil {
			return nil, err
		}
	}
	scheme, rest, _ := strings.Cut(url, ":")
	switch scheme {
	case "sqlite":
		return asDatabase(sqlite.Open(ctx, strings.TrimPrefix(rest, "//")))
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

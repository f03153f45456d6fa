package postgres

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5/stdlib"

	"authhook/migrations"
)

// Migrate brings the schema up to date. Replicas that start at once wait for the first one of them, as long as ctx
// lets them.
func (s *Store) Migrate(ctx context.Context) error {
	err := s.aside(ctx, func(conn *sql.Conn) error {
		return migrations.Apply(ctx, conn, migrations.PostgresDialect, migrations.Postgres)
	})
	if err != nil {
		return explain(ctx, "migrate the database", err)
	}
	s.pool.Reset() // connections from before have not prepared what they should
	return nil
}

// Version is the number of the last migration that was applied, 0 when there was none. A database that is newer than
// this program is an error, beside its version.
func (s *Store) Version(ctx context.Context) (version uint, err error) {
	err = s.aside(ctx, func(conn *sql.Conn) (err error) {
		version, err = migrations.Version(ctx, conn, migrations.PostgresDialect, migrations.Postgres)
		return err
	})
	if err != nil {
		err = explain(ctx, "read the database's version", err)
	}
	return version, err
}

// aside lends a connection of its own: a migration may take longer than statements otherwise may.
func (s *Store) aside(ctx context.Context, fn func(*sql.Conn) error) error {
	cfg := s.pool.Config().ConnConfig
	cfg.RuntimeParams["statement_timeout"] = "0"
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return fn(conn)
}

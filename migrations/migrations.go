// Package migrations holds the database's schema as numbered SQL, one directory a database, and applies it with
// golang-migrate's engine.
//
// A migration that was released is never changed; the next one changes what it made. There are no ways down: a backup
// is the way back. Migrations run in a transaction, so they hold nothing that cannot (CREATE INDEX CONCURRENTLY,
// VACUUM, PRAGMA).
package migrations

import (
	"embed"
	"fmt"
	"io/fs"

	"github.com/golang-migrate/migrate/v4/source/iofs"
)

//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

// The migrations of each database.
var (
	SQLite   fs.FS = sub("sqlite")
	Postgres fs.FS = sub("postgres")
)

func sub(dir string) fs.FS {
	f, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the name is a constant of this file
	}
	return f
}

// Latest is the number of the newest migration: the version that this program knows.
func Latest(source fs.FS) (uint, error) {
	src, err := iofs.New(source, ".")
	if err != nil {
		return 0, fmt.Errorf("read the migrations: %w", err)
	}
	defer src.Close()
	last, err := src.First()
	if err != nil {
		return 0, fmt.Errorf("read the migrations: %w", err)
	}
	for {
		next, err := src.Next(last)
		if err != nil { // there is no next one
			return last, nil
		}
		last = next
	}
}

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"authhook/internal/store"
)

const (
	codeBusy     = lib.SQLITE_BUSY
	codeError    = lib.SQLITE_ERROR
	codePerm     = lib.SQLITE_PERM
	codeReadOnly = lib.SQLITE_READONLY
	codeCorrupt  = lib.SQLITE_CORRUPT
	codeCantOpen = lib.SQLITE_CANTOPEN
	codeNotADB   = lib.SQLITE_NOTADB
)

var errClosed = fmt.Errorf("the database is closed: %w", store.ErrUnavailable)

// passing are the errors of a machine in trouble, or busy: trying again later may help.
var passing = map[int]bool{
	lib.SQLITE_BUSY: true, lib.SQLITE_LOCKED: true, lib.SQLITE_NOMEM: true, lib.SQLITE_READONLY: true,
	lib.SQLITE_INTERRUPT: true, lib.SQLITE_IOERR: true, lib.SQLITE_FULL: true, lib.SQLITE_CANTOPEN: true,
	lib.SQLITE_PROTOCOL: true, lib.SQLITE_PERM: true,
}

// code is SQLite's extended result code; 0 when an error is none of SQLite's.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

// primary is SQLite's primary result code.
func primary(err error) int { return code(err) & 0xff }

// explain maps an error of the driver to the store's, once. What the caller cancelled stays cancelled.
func explain(callers context.Context, what string, err error) error {
	if errors.Is(callers.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w", what, context.Canceled)
	}
	switch code(err) {
	case lib.SQLITE_CONSTRAINT_UNIQUE, lib.SQLITE_CONSTRAINT_PRIMARYKEY:
		return fmt.Errorf("%s: it exists already: %w", what, store.ErrConflict)
	case lib.SQLITE_CONSTRAINT_FOREIGNKEY:
		return fmt.Errorf("%s: no such user: %w", what, store.ErrNotFound)
	case codeError: // SQLite has no code of its own for a missing table
		return fmt.Errorf("%s: %w (where a table is missing: run `authhook migrate`)", what, err)
	}
	switch {
	case errors.Is(callers.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w: %w", what, store.ErrUnavailable, context.DeadlineExceeded)
	case passing[primary(err)], errors.Is(err, sql.ErrConnDone):
		return fmt.Errorf("%s: %w: %w", what, store.ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

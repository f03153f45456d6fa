package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"authhook/internal/store"
)

// Codes of PostgreSQL's errors that mean something here (its manual's appendix A).
const (
	foreignKeyViolation  = "23503"
	uniqueViolation      = "23505"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	readOnlyTransaction  = "25006" // the server became a standby
	queryCanceled        = "57014" // statement_timeout
	lockNotAvailable     = "55P03"
	undefinedTable       = "42P01"
	undefinedColumn      = "42703"
	divisionByZero       = "22012"
)

// shuttingDown are those that a server sends on its way down or up.
var shuttingDown = map[string]bool{"57P01": true, "57P02": true, "57P03": true, "57P05": true, "25P03": true}

var errURL = errors.New("the database's URL cannot be used: it must read postgres://user:password@host:port/database, " +
	"with characters such as @ / : ? # in the password percent-encoded (it is not shown here, as it may hold a password)")

// explain maps an error of the driver to the store's, once. What the caller cancelled stays cancelled.
func explain(callers context.Context, what string, err error) error {
	if errors.Is(callers.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w", what, context.Canceled)
	}
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch code := refused.Code; {
		case code == uniqueViolation:
			return fmt.Errorf("%s: it exists already: %w", what, store.ErrConflict)
		case code == foreignKeyViolation:
			return fmt.Errorf("%s: no such user: %w", what, store.ErrNotFound)
		case code == undefinedTable, code == undefinedColumn:
			return fmt.Errorf("%s: the database lacks tables: run `authhook migrate`: %w", what, err)
		case code == serializationFailure, code == deadlockDetected, code == readOnlyTransaction, code == queryCanceled,
			code == lockNotAvailable, shuttingDown[code],
			strings.HasPrefix(code, "08"), // connections
			strings.HasPrefix(code, "53"), // too many connections, disk full, out of memory
			strings.HasPrefix(code, "58"): // input and output
			return unavailable(what, err)
		}
	}
	if lostConnection(err) || errors.Is(err, errRace) {
		return unavailable(what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, store.ErrUnavailable, err)
}

// lostConnection says whether an error means that the server could not be reached or did not answer in time.
func lostConnection(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true // whatever the reason: refused, no such database, wrong password
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	for _, lost := range []error{context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, pgconn.ErrConnClosed,
		puddle.ErrClosedPool, pgx.ErrTxClosed} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return pgconn.Timeout(err) || pgconn.SafeToRetry(err)
}

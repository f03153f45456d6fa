package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"authhook/internal/store"
)

// attempts is how often a call is tried, in all, where trying again can help.
const attempts = 4

// read calls fn, which may be called again after any error that a fresh connection might not have.
func (s *Store) read(ctx context.Context, what string, fn func(context.Context) error) error {
	return s.try(ctx, what, callTimeout, true, fn)
}

// write calls fn in a transaction. When the connection is lost before the commit was asked for, nothing happened, and
// fn is called again; when it is lost during the commit, nobody knows, and the caller is told.
func (s *Store) write(ctx context.Context, what string, fn func(context.Context, pgx.Tx) error) error {
	return s.writeWithin(ctx, what, callTimeout, fn)
}

func (s *Store) writeWithin(ctx context.Context, what string, timeout time.Duration,
	fn func(context.Context, pgx.Tx) error) error {
	return s.try(ctx, what, timeout, true, func(ctx context.Context) error {
		tx, err := s.pool.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() {
			// Also when the caller has gone; a connection that does not obey is closed.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			tx.Rollback(ctx)
		}()
		if err := fn(ctx, tx); err != nil {
			return err
		}
		// From here on it is too late for the caller to think better of it: who leaves now would not know what happened.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if err := tx.Commit(ctx); err != nil {
			return &commitError{err}
		}
		return nil
	})
}

// commitError is an error of which nobody knows whether it came before or after.
type commitError struct{ error }

func (e *commitError) Unwrap() error { return e.error }

// toldError is an error after which trying again would tell somebody of the same rows again.
type toldError struct{ error }

func (e *toldError) Unwrap() error { return e.error }

// try calls fn until it succeeds or trying again is no use, and maps the error. Unless fn is repeatable, it is called
// again only when the server says, or it is certain, that nothing happened.
func (s *Store) try(ctx context.Context, what string, timeout time.Duration, repeatable bool,
	fn func(context.Context) error) error {
	callers := ctx
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for n := 1; ; n++ {
		err := fn(ctx)
		if err == nil {
			return nil
		}
		again := s.worthAnother(err, repeatable)
		if !again || n == attempts || ctx.Err() != nil {
			return explain(callers, what, err)
		}
		pause(ctx, n)
	}
}

// errRace: someone else changed what was just read. Trying again reads it anew.
var errRace = errors.New("lost a race")

// worthAnother says whether trying again may help, after getting rid of connections that cannot.
func (s *Store) worthAnother(err error, repeatable bool) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if _, told := errors.AsType[*toldError](err); told {
		return false
	}
	if errors.Is(err, errRace) {
		return true
	}
	for _, ours := range []error{store.ErrNotFound, store.ErrConflict, store.ErrFeedGap} {
		if errors.Is(err, ours) {
			return false
		}
	}
	if _, connecting := errors.AsType[*pgconn.ConnectError](err); connecting {
		return false // a new connection has just failed
	}
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case refused.Code == serializationFailure, refused.Code == deadlockDetected:
			return true
		case shuttingDown[refused.Code], refused.Code == readOnlyTransaction:
			s.dropIdle()
			return true
		}
		return false
	}
	if !lostConnection(err) {
		return false
	}
	s.dropIdle()
	_, committing := errors.AsType[*commitError](err)
	return pgconn.SafeToRetry(err) || repeatable && !committing
}

// dropIdle closes the idle connections: where one died, the others are likely dead too, and each would cost an attempt.
// Once a second is enough: those made since are alive.
func (s *Store) dropIdle() {
	now := time.Now().UnixNano()
	last := s.lastReset.Load()
	if now-last > int64(time.Second) && s.lastReset.CompareAndSwap(last, now) {
		s.pool.Reset()
	}
}

// pause waits a little, at random, so that those who met do not meet again.
func pause(ctx context.Context, n int) {
	t := time.NewTimer(time.Duration(n) * time.Duration(rand.Int64N(int64(8*time.Millisecond))))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// stamp is a moment as a column holds it: NULL when zero.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"
)

// pool is connections with their prepared statements: compiling one takes longer than running it.
type pool struct {
	db    *sql.DB
	mu    sync.Mutex
	stmts map[string]*sql.Stmt
}

// prepare finds or prepares a statement on whichever connection it is used.
func (p *pool) prepare(ctx context.Context, text string, on interface {
	PrepareContext(context.Context, string) (*sql.Stmt, error)
}) (*sql.Stmt, error) {
	p.mu.Lock()
	stmt := p.stmts[text]
	p.mu.Unlock()
	if stmt != nil {
		return stmt, nil
	}
	stmt, err := on.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if other := p.stmts[text]; other != nil {
		stmt.Close()
		return other, nil
	}
	p.stmts[text] = stmt
	return stmt, nil
}

func (p *pool) close() error {
	if p == nil {
		return nil
	}
	p.forget()
	return p.db.Close()
}

// forget closes the prepared statements. It comes before their connection is closed: the driver would free them with it, and
// once more when they are closed.
func (p *pool) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, stmt := range p.stmts {
		stmt.Close()
	}
	clear(p.stmts)
}

// query runs a statement on a connection that reads.
func (s *Store) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if s.closed.Load() {
		return nil, errClosed
	}
	stmt, err := s.readers.prepare(ctx, text, s.readers.db)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// queryRow scans one row, or returns sql.ErrNoRows.
func (s *Store) queryRow(ctx context.Context, text string, args []any, to ...any) error {
	rows, err := s.query(ctx, text, args...)
	return scanOne(rows, err, to...)
}

// read calls fn within the time of a call, and maps its error.
func (s *Store) read(ctx context.Context, what string, fn func(context.Context) error) error {
	return within(ctx, what, callTimeout, fn)
}

func within(callers context.Context, what string, timeout time.Duration, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(callers, timeout)
	defer cancel()
	if err := fn(ctx); err != nil {
		return explain(callers, what, err)
	}
	return nil
}

// Whether the disk is waited for before a transaction is acknowledged; see the package's comment.
const (
	sqlDurable   = `PRAGMA synchronous = FULL`
	sqlMomentary = `PRAGMA synchronous = NORMAL`
	sqlBegin     = `BEGIN IMMEDIATE`
	sqlCommit    = `COMMIT`
	sqlRollback  = `ROLLBACK`
)

// tx is a transaction on the connection that writes.
type tx struct {
	ctx   context.Context
	store *Store
}

// write calls fn in a transaction that is on the disk once this returns.
func (s *Store) write(ctx context.Context, what string, fn func(*tx) error) error {
	return s.transact(ctx, what, callTimeout, sqlDurable, fn)
}

// jot calls fn in a transaction that a power cut may undo.
func (s *Store) jot(ctx context.Context, what string, timeout time.Duration, fn func(*tx) error) error {
	return s.transact(ctx, what, timeout, sqlMomentary, fn)
}

func (s *Store) transact(ctx context.Context, what string, timeout time.Duration, durability string,
	fn func(*tx) error) error {
	return within(ctx, what, timeout, func(ctx context.Context) error {
		return s.inTurn(ctx, func() error {
			t := &tx{ctx, s}
			if _, err := t.exec(durability); err != nil {
				return err
			}
			err := t.begin()
			if err == nil {
				err = fn(t)
			}
			// The end does not depend on whether the caller is still there, so that an error always means: nothing happened.
			t.ctx = context.WithoutCancel(ctx)
			if err == nil {
				_, err = t.exec(sqlCommit)
			}
			if err != nil {
				// Also when BEGIN failed: a caller who leaves at that moment gets an error and may have begun. It fails where
				// SQLite has rolled back by itself.
				t.exec(sqlRollback)
			}
			return err
		})
	})
}

// begin takes the file for this transaction. Another process may have it: then SQLite waits for only a few milliseconds
// (see busyWriter), and it is asked again for as long as there is time. Left to wait by itself it would look ten times a
// second, never get in where another process writes without a pause, and not notice that the caller has gone.
func (t *tx) begin() error {
	for {
		_, err := t.exec(sqlBegin)
		if primary(err) != codeBusy || t.ctx.Err() != nil {
			return err
		}
	}
}

// aside calls fn with the connection that writes, in turn, for as long as the caller permits.
func (s *Store) aside(ctx context.Context, what string, fn func(context.Context) error) error {
	if err := s.inTurn(ctx, func() error { return fn(ctx) }); err != nil {
		return explain(ctx, what, err)
	}
	return nil
}

// inTurn calls fn while no one else of this process writes.
func (s *Store) inTurn(ctx context.Context, fn func() error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	if s.conn == nil {
		return errClosed
	}
	return fn()
}

func (t *tx) exec(text string, args ...any) (sql.Result, error) {
	stmt, err := t.store.writer.prepare(t.ctx, text, t.store.conn)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(t.ctx, args...)
}

func (t *tx) query(text string, args ...any) (*sql.Rows, error) {
	stmt, err := t.store.writer.prepare(t.ctx, text, t.store.conn)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(t.ctx, args...)
}

// queryRow scans one row, or returns sql.ErrNoRows.
func (t *tx) queryRow(text string, args []any, to ...any) error {
	rows, err := t.query(text, args...)
	return scanOne(rows, err, to...)
}

// changed runs a statement and says how many rows it changed.
func (t *tx) changed(text string, args ...any) (int64, error) {
	res, err := t.exec(text, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func scanOne(rows *sql.Rows, err error, to ...any) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	return errors.Join(rows.Scan(to...), rows.Close())
}

// each calls fn for every row, scanned to the same places.
func each(rows *sql.Rows, err error, to []any, fn func() error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		if err := fn(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// micros is a moment as a column holds it: NULL when zero.
func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

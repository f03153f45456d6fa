package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// batch is statements that are sent together, in one round trip, and what takes their answers.
type batch struct {
	pgx.Batch
	take []func(pgx.BatchResults) error
}

// queue sends a statement whose rows are taken.
func (b *batch) queue(text string, args []any, take func(pgx.Rows) error) {
	b.Queue(text, args...)
	b.take = append(b.take, func(r pgx.BatchResults) error {
		rows, err := r.Query()
		if err != nil {
			return err
		}
		return take(rows)
	})
}

// queueRows sends a statement and collects its rows.
func queueRows[R, T any, P interface {
	*R
	Columns() []any
}](b *batch, text string, args []any, of func(*R) (T, error), to *[]T) {
	b.queue(text, args, func(rows pgx.Rows) (err error) {
		*to, err = rowsOf[R, T, P](rows, nil, of)
		return err
	})
}

// exec sends a statement.
func (b *batch) exec(text string, args ...any) {
	b.Queue(text, args...)
	b.take = append(b.take, func(r pgx.BatchResults) error { _, err := r.Exec(); return err })
}

// one sends a statement that must change one row; otherwise the error is none.
func (b *batch) one(text string, args []any, none error) {
	b.Queue(text, args...)
	b.take = append(b.take, func(r pgx.BatchResults) error {
		tag, err := r.Exec()
		if err == nil && tag.RowsAffected() == 0 {
			err = none
		}
		return err
	})
}

// send sends all, and takes the answers up to the first error.
func (b *batch) send(ctx context.Context, tx pgx.Tx) (err error) {
	if b.Len() == 0 {
		return nil
	}
	results := tx.SendBatch(ctx, &b.Batch)
	defer func() { err = errors.Join(err, results.Close()) }()
	for _, take := range b.take {
		if err := take(results); err != nil {
			return err
		}
	}
	return nil
}

// column reads rows of one column.
func column[T any](rows pgx.Rows, err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}

package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"authhook/internal/store"
)

const (
	// The columns of payments, in the order of the table's and of store.PaymentRow's.
	sqlPaymentColumns = `provider, id, user_id, subscription, price, plan, stream, tag, amount, currency, refunded, status, reason,
    provider_at, recorded_at`

	sqlPaymentValues = `$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15`

	sqlPayment = `SELECT ` + sqlPaymentColumns + ` FROM payments WHERE provider = $1 AND id = $2`

	sqlLockPayment = sqlPayment + ` FOR UPDATE`

	sqlAddPayment = `
INSERT INTO payments (` + sqlPaymentColumns + `) VALUES (` + sqlPaymentValues + `) ON CONFLICT (provider, id) DO NOTHING`

	sqlChangePayment = `
UPDATE payments SET (` + sqlPaymentColumns + `) = (` + sqlPaymentValues + `) WHERE provider = $1 AND id = $2`

	// Planned anew each time: which index serves depends on which of the filters are set.
	sqlPayments = `
SELECT ` + sqlPaymentColumns + ` FROM payments
WHERE (provider, id) > ($1, $2) AND ($3 = '' OR user_id <> '' AND user_id = $3) AND ($4 = '' OR provider = $4)
ORDER BY provider, id
LIMIT $5`
)

// PutPayment stores what is known of a payment, in place of what was known. Where that is the same, nothing happens.
func (s *Store) PutPayment(ctx context.Context, p store.Payment) error {
	if err := store.CheckPayment(p); err != nil {
		return err
	}
	return s.write(ctx, "put a payment", func(ctx context.Context, tx pgx.Tx) error {
		var old *store.Payment
		var r store.PaymentRow
		text := sqlAddPayment
		switch err := tx.QueryRow(ctx, sqlLockPayment, p.Provider, p.ID).Scan(r.Columns()...); {
		case err == nil:
			found, _ := r.Payment()
			old, text = &found, sqlChangePayment
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		row, changed := p.Onto(old, s.Now())
		if !changed {
			return nil
		}
		tag, err := tx.Exec(ctx, text, row.Provider, row.ID, row.User, row.Subscription, row.Price, row.Plan, row.Stream,
			row.Tag, row.Amount, row.Currency, row.Refunded, row.Status, row.Reason, stamp(row.At), row.Recorded)
		if err == nil && tag.RowsAffected() == 0 {
			err = errAddedMeanwhile
		}
		if err != nil {
			return err
		}
		return s.record(ctx, tx, store.PaymentPut(row))
	})
}

// Payment reads a payment. [store.ErrNotFound] when it is not stored.
func (s *Store) Payment(ctx context.Context, provider, id string) (store.Payment, error) {
	return find(ctx, s, "payment", id, sqlPayment, []any{provider, id}, (*store.PaymentRow).Payment)
}

// Payments are those that a filter picks, ordered by provider and id.
func (s *Store) Payments(ctx context.Context, f store.PaymentFilter) ([]store.Payment, error) {
	f = f.Clean()
	args := []any{pgx.QueryExecModeExec, f.After.Provider, f.After.ID, f.User, f.Provider, f.Limit}
	return page(ctx, s, "list payments", sqlPayments, args, (*store.PaymentRow).Payment)
}

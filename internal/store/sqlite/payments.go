package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"authhook/internal/store"
)

const (
	// The columns of payments, in the order of the table's and of store.PaymentRow's.
	sqlPaymentColumns = `provider, id, user_id, subscription, price, plan, stream, tag, amount, currency, refunded, status, reason,
    provider_at, recorded_at`

	sqlPayment = `SELECT ` + sqlPaymentColumns + ` FROM payments WHERE provider = ?1 AND id = ?2`

	sqlPutPayment = `
INSERT INTO payments (` + sqlPaymentColumns + `)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
ON CONFLICT (provider, id) DO UPDATE
SET user_id = ?3, subscription = ?4, price = ?5, plan = ?6, stream = ?7, tag = ?8, amount = ?9, currency = ?10, refunded = ?11,
    status = ?12, reason = ?13, provider_at = ?14, recorded_at = ?15`

	// One statement for each index that can serve; what is left of the filter is tested on the rows.
	sqlPaymentsAfter    = `SELECT ` + sqlPaymentColumns + ` FROM payments WHERE (provider, id) > (?1, ?2)`
	sqlPaymentsPage     = ` AND (?3 = '' OR user_id = ?3) AND (?4 = '' OR provider = ?4) ORDER BY provider, id LIMIT ?5`
	sqlPayments         = sqlPaymentsAfter + sqlPaymentsPage
	sqlPaymentsOfUser   = sqlPaymentsAfter + ` AND user_id <> '' AND user_id = ?3` + sqlPaymentsPage
	sqlPaymentsOfTheirs = sqlPaymentsAfter + ` AND provider = ?4` + sqlPaymentsPage
)

// PutPayment stores what is known of a payment, in place of what was known. Where that is the same, nothing happens.
func (s *Store) PutPayment(ctx context.Context, p store.Payment) error {
	if err := store.CheckPayment(p); err != nil {
		return err
	}
	return s.write(ctx, "put a payment", func(t *tx) error {
		var old *store.Payment
		var r store.PaymentRow
		switch err := t.queryRow(sqlPayment, []any{p.Provider, p.ID}, r.Columns()...); {
		case err == nil:
			found, _ := r.Payment()
			old = &found
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		row, changed := p.Onto(old, s.Now())
		if !changed {
			return nil
		}
		if _, err := t.exec(sqlPutPayment, paymentArgs(row)...); err != nil {
			return err
		}
		return t.record(store.PaymentPut(row))
	})
}

// paymentArgs is a payment as its columns hold it.
func paymentArgs(p store.Payment) []any {
	return []any{p.Provider, p.ID, p.User, p.Subscription, p.Price, p.Plan, p.Stream, p.Tag, p.Amount, p.Currency, p.Refunded,
		string(p.Status), p.Reason, micros(p.At), micros(p.Recorded)}
}

// Payment reads a payment. [store.ErrNotFound] when it is not stored.
func (s *Store) Payment(ctx context.Context, provider, id string) (store.Payment, error) {
	return find(ctx, s, "payment", id, sqlPayment, []any{provider, id}, (*store.PaymentRow).Payment)
}

// Payments are those that a filter picks, ordered by provider and id.
func (s *Store) Payments(ctx context.Context, f store.PaymentFilter) ([]store.Payment, error) {
	f = f.Clean()
	text := sqlPayments
	switch {
	case f.User != "":
		text = sqlPaymentsOfUser
	case f.Provider != "":
		text = sqlPaymentsOfTheirs
	}
	args := []any{f.After.Provider, f.After.ID, f.User, f.Provider, f.Limit}
	return page(ctx, s, "list payments", text, args, (*store.PaymentRow).Payment)
}

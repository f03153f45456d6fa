package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// pruneBatch is how many rows are dropped at once, so that no clean-up holds up what people wait for.
const pruneBatch = 5000

// prune drops old rows, a batch a transaction, until a batch is not full, and says how many. The statement's first parameter says
// which, the second how many at once; more may follow.
func (s *Store) prune(ctx context.Context, what, sql string, which any, more ...any) (int64, error) {
	for total := int64(0); ; {
		var n int64
		err := s.writeWithin(ctx, what, longTimeout, func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, sql, append([]any{which, pruneBatch}, more...)...).Scan(&n)
		})
		total += n
		if err != nil || n < pruneBatch {
			return total, err
		}
	}
}

package sqlite

import (
	"context"
)

// pruneBatch is how many rows are dropped at once, so that no clean-up holds up what people wait for.
const pruneBatch = 5000

// prune drops old rows, a batch a transaction, until a batch is not full, and says how many.
func (s *Store) prune(ctx context.Context, what string, batch func(*tx) (int64, error)) (int64, error) {
	for total := int64(0); ; {
		var n int64
		err := s.jot(ctx, what, longTimeout, func(t *tx) (err error) {
			n, err = batch(t)
			return err
		})
		if err != nil {
			return total, err
		}
		if total += n; n < pruneBatch {
			return total, nil
		}
	}
}

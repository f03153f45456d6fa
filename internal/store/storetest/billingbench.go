package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/store"
)

// BenchReceive measures what a billing system waits for, beside bare, which inserts an event into a table of the same columns
// and no more, as durably and by the same driver. The ratio is of the times for as many events, in the same run.
func BenchReceive(b *testing.B, database func(testing.TB) Open, bare func(ctx context.Context, e store.BillingEvent) error) {
	s := fresh(b, database)
	body := make([]byte, 3<<10) // as an invoice of Stripe's
	send := func(what string, senders, n int, one func(ctx context.Context, e store.BillingEvent) error) time.Duration {
		began := time.Now()
		var wg sync.WaitGroup
		for w := range senders {
			wg.Go(func() {
				for i := w; i < n; i += senders {
					e := told(fmt.Sprintf("%s_%d_%d", what, n, i))
					e.Body = body
					if err := one(b.Context(), e); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return time.Since(began)
	}
	for _, senders := range []int{1, 32} {
		b.Run(fmt.Sprint(senders), func(b *testing.B) {
			what := store.NewID("evt")
			took := send(what, senders, b.N, func(ctx context.Context, e store.BillingEvent) error {
				isFresh, err := s.ReceiveEvent(ctx, e)
				if err == nil && !isFresh {
					err = store.ErrConflict
				}
				return err
			})
			b.StopTimer()
			reference := send(what, senders, b.N, bare)
			b.ReportMetric(float64(took)/float64(reference), "ratio")
			b.ReportMetric(float64(reference.Nanoseconds())/float64(b.N), "bare-ns/op")
		})
	}
	list, err := s.BillingEvents(b.Context(), store.EventFilter{Limit: 1})
	require.NoError(b, err)
	require.Len(b, list, 1)
}

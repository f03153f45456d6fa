package api

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// overHTTP sends the commands until there is a reply. What MistServer refused, or answered in words that are not its
// own, is not repeated.
func (d *delivery) overHTTP(ctx context.Context) error {
	var problem error
	for attempt := range httpAttempts {
		if attempt > 0 {
			wait(ctx, time.Now().Add(httpPause<<(attempt-1)))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		calls := d.say()
		if calls == nil {
			return nil
		}
		var left atomic.Pointer[time.Time]                                           // told by the transport's goroutine
		_, problem = d.queue.client.http.exchange(ctx, slices.Clone(calls), func() { // the transport may read on after an error
			now := time.Now()
			left.CompareAndSwap(nil, &now)
		})
		if at := left.Load(); at != nil {
			d.left(*at)
		}
		if problem == nil || !errors.Is(problem, ErrNotReachable) {
			return problem
		}
	}
	return problem
}

package api

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// overHTTP sends the commands until there is a reply, and does not begin to once more after a moment, unless that is zero.
// What MistServer refused, or answered in words that are not its own, is not repeated.
func (d *delivery) overHTTP(ctx context.Context, until time.Time) error {
	var problem error
	for attempt := range httpAttempts {
		if attempt > 0 {
			again := time.Now().Add(httpPause << (attempt - 1))
			if !until.IsZero() && again.After(until) {
				break
			}
			wait(ctx, again)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		calls := d.say(nil) // its own: the transport may read on after an error
		if calls == nil {
			return nil
		}
		var left atomic.Pointer[time.Time] // told by the transport's goroutine
		_, problem = d.queue.client.http.exchange(ctx, calls, func() {
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

package redis

import (
	"context"
	"errors"
	"sync"
	"time"

	"authhook/internal/store"
)

const (
	// backPage is how many entries of the feed are read backwards at once.
	backPage = 2000
	// backTimeout bounds reading back as a whole.
	backTimeout = 10 * time.Second
)

// lookBack is the reading of the feed before the history's beginning. It is nobody's: who began the history has its facts,
// and does not wait.
type lookBack struct {
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
	closing context.Context
	cancel  context.CancelFunc
}

func (b *lookBack) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.running.Wait()
}

func (f *Facts) lookBackAside() {
	f.back.mu.Lock()
	defer f.back.mu.Unlock()
	if !f.back.closed {
		f.back.running.Go(f.lookBack)
	}
}

// lookBack reads the feed backwards from the history's beginning: until no value in Redis can be older, there is no room,
// or there are no entries any more. Whatever keeps it from that, the history is right, and only begins later.
func (f *Facts) lookBack() {
	ctx, cancel := context.WithTimeout(f.back.closing, backTimeout)
	defer cancel()
	for page := int64(backPage); page > 0; {
		generation, first, room := f.history.edge()
		page = min(page, room, first-1)
		if page <= 0 {
			return
		}
		changes, err := f.next.Changes(ctx, first-1-page, int(page)+1)
		if errors.Is(err, store.ErrFeedGap) {
			page /= 2 // its beginning was cut off, somewhere in between
			continue
		}
		if err != nil || !f.history.prepend(generation, changes) || time.Since(changes[0].At) > f.o.TTL {
			return
		}
	}
}

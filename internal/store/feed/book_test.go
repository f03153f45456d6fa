package feed_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/store"
	"authhook/internal/store/feed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// book is a change feed in memory, and what a follower makes of it.
type book struct {
	mu      sync.Mutex
	first   int64 // the number before the first entry that is still there
	entries []store.Change
	fault   error
	reads   int // of changes
	lasts   int // of the last number
	hang    bool

	told []string // what the follower called: "gap", or the subject of a change
}

func (b *book) Changes(ctx context.Context, after int64, limit int) ([]store.Change, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	if err := b.broken(ctx); err != nil {
		return nil, err
	}
	if after < b.first {
		return nil, fmt.Errorf("reading changes: %w", store.ErrFeedGap)
	}
	from := min(int(after-b.first), len(b.entries))
	return slices.Clone(b.entries[from:min(from+limit, len(b.entries))]), nil
}

func (b *book) LastChange(ctx context.Context) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lasts++
	if err := b.broken(ctx); err != nil {
		return 0, err
	}
	return b.first + int64(len(b.entries)), nil
}

func (b *book) broken(ctx context.Context) error {
	if b.hang {
		b.mu.Unlock()
		<-ctx.Done()
		b.mu.Lock()
		return ctx.Err()
	}
	return b.fault
}

func (b *book) with(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// write adds n changes, each with its number as the subject.
func (b *book) write(n int) {
	b.with(func() {
		for range n {
			number := b.first + int64(len(b.entries)) + 1
			b.entries = append(b.entries, store.Change{Number: number, Kind: store.ChangeUser, Subject: strconv.FormatInt(number, 10)})
		}
	})
}

func (b *book) handle(_ context.Context, changes []store.Change) {
	b.with(func() {
		for _, c := range changes {
			b.told = append(b.told, c.Subject)
		}
	})
}

func (b *book) gap() { b.with(func() { b.told = append(b.told, "gap") }) }

// heard is what the follower called since the last time.
func (b *book) heard() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := b.told
	b.told = nil
	return told
}

// follow runs a test beside a running follower of a feed of five changes.
func follow(t *testing.T, from int64, o feed.Options, test func(t *testing.T, b *book, f *feed.Follower)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		b.write(5)
		f := feed.New(b, from, o, b.handle, b.gap)
		run(t, f, func() { test(t, b, f) })
	})
}

func run(t *testing.T, f *feed.Follower, during func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	defer func() {
		stop()
		require.NoError(t, <-ended)
	}()
	synctest.Wait()
	during()
}

func started(f *feed.Follower) bool {
	select {
	case <-f.Started():
		return true
	default:
		return false
	}
}

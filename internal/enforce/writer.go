package enforce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"authhook/internal/policy"
)

// SessionStore is where sessions are kept.
type SessionStore interface {
	// WriteSessions writes what became of sessions, in the order in which it happened, all or none of it. One that ended
	// gives up the place that it held under its plan's limit.
	WriteSessions(ctx context.Context, sessions []policy.Session) error
}

// Settings of the registry's writing.
const (
	// WriteEvery is how long a session waits to be written with others.
	WriteEvery = 50 * time.Millisecond
	// maxBatch is how many sessions are written at once.
	maxBatch = 1000
	// maxPending bounds what waits while the store is away. Beyond half of it denied sessions are not kept, which strangers
	// can make as many of as they like, and have no end to account for.
	maxPending = 400_000
	// retryAtMost is the longest wait before a failed write is tried again.
	retryAtMost = 2 * time.Second
	// lastWrite bounds the writing at shutdown.
	lastWrite = 5 * time.Second
)

// Registry writes to the store what becomes of sessions.
type Registry struct {
	store SessionStore
	log   *slog.Logger

	mu      sync.Mutex
	pending []policy.Session // in the order in which things happened
	dropped int64
	failed  uint64
	failing bool
	work    chan struct{} // holds a token while there is something to write
}

// NewRegistry makes a registry. Nothing is written until it runs.
func NewRegistry(store SessionStore, log *slog.Logger) *Registry {
	return &Registry{store: store, log: log, work: make(chan struct{}, 1)}
}

// Record notes what became of a session, to be written soon. It does not wait for the store.
func (r *Registry) Record(s policy.Session) {
	r.mu.Lock()
	if n := len(r.pending); n >= maxPending || n >= maxPending/2 && s.State == policy.SessionDenied {
		r.dropped++
	} else {
		r.pending = append(r.pending, s)
	}
	r.mu.Unlock()
	r.wake()
}

func (r *Registry) wake() {
	select {
	case r.work <- struct{}{}:
	default:
	}
}

// Pending is how many sessions wait to be written, and how many were not kept while the store was away.
func (r *Registry) Pending() (waiting int, dropped int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending), r.dropped
}

// Failing says whether the last write failed, so that sessions wait.
func (r *Registry) Failing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failing
}

// Failures is how many writes failed.
func (r *Registry) Failures() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// Run writes until the context ends, and then what is left. It returns an error when something stayed unwritten.
func (r *Registry) Run(ctx context.Context) error {
	retry := WriteEvery
	for {
		select {
		case <-ctx.Done():
			return r.writeLast(ctx)
		case <-r.work:
		}
		select { // others that come now are written with it
		case <-ctx.Done():
			return r.writeLast(ctx)
		case <-time.After(retry):
		}
		if err := r.write(ctx); err != nil {
			if ctx.Err() == nil {
				r.log.Warn("sessions not written, will try again", "error", err, "in", min(2*retry, retryAtMost))
			}
			retry = min(2*retry, retryAtMost)
			r.wake()
			continue
		}
		retry = WriteEvery
	}
}

func (r *Registry) writeLast(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
	defer cancel()
	if err := r.write(ctx); err != nil {
		waiting, _ := r.Pending()
		return errors.Join(err, &UnwrittenError{waiting})
	}
	return nil
}

// UnwrittenError says how many sessions were not written when the registry stopped.
type UnwrittenError struct{ Sessions int }

func (e *UnwrittenError) Error() string {
	return fmt.Sprintf("%d sessions were not written to the store before the end", e.Sessions)
}

// write writes what is pending, in its order. What could not be written stays first.
func (r *Registry) write(ctx context.Context) error {
	for {
		r.mu.Lock()
		batch := r.pending[:min(len(r.pending), maxBatch)]
		r.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		if err := r.store.WriteSessions(ctx, batch); err != nil {
			r.mu.Lock()
			r.failed++
			r.failing = true
			r.mu.Unlock()
			return err
		}
		r.mu.Lock()
		r.failing = false
		r.pending = r.pending[len(batch):]
		if len(r.pending) == 0 {
			r.pending = nil // what was written needs no memory
		}
		r.mu.Unlock()
	}
}

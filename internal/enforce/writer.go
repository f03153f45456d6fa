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

// SessionWriter is where sessions are written.
type SessionWriter interface {
	// WriteSessions writes what became of sessions, in the order in which it happened, all or none of it. One that ended
	// gives up the place that it held under its plan's limit.
	WriteSessions(ctx context.Context, sessions []policy.Session) error
}

// Settings of the writing.
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

// Writer writes to the store what becomes of sessions.
type Writer struct {
	store SessionWriter
	log   *slog.Logger

	mu      sync.Mutex
	pending []policy.Session // in the order in which things happened
	dropped int64
	failed  uint64
	failing bool
	work    chan struct{} // holds a token while there is something to write
}

// NewWriter makes a writer. Nothing is written until it runs.
func NewWriter(store SessionWriter, log *slog.Logger) *Writer {
	return &Writer{store: store, log: log, work: make(chan struct{}, 1)}
}

// Record notes what became of a session, to be written soon. It does not wait for the store.
func (w *Writer) Record(s policy.Session) {
	w.mu.Lock()
	if n := len(w.pending); n >= maxPending || n >= maxPending/2 && s.State == policy.SessionDenied {
		w.dropped++
	} else {
		w.pending = append(w.pending, s)
	}
	w.mu.Unlock()
	w.wake()
}

func (w *Writer) wake() {
	select {
	case w.work <- struct{}{}:
	default:
	}
}

// Pending is how many sessions wait to be written, and how many were not kept while the store was away.
func (w *Writer) Pending() (waiting int, dropped int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.pending), w.dropped
}

// Failing says whether the last write failed, so that sessions wait.
func (w *Writer) Failing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failing
}

// Failures is how many writes failed.
func (w *Writer) Failures() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// Run writes until the context ends, and then what is left. It returns an error when something stayed unwritten.
func (w *Writer) Run(ctx context.Context) error {
	retry := WriteEvery
	for {
		select {
		case <-ctx.Done():
			return w.writeLast(ctx)
		case <-w.work:
		}
		select { // others that come now are written with it
		case <-ctx.Done():
			return w.writeLast(ctx)
		case <-time.After(retry):
		}
		if err := w.write(ctx); err != nil {
			if ctx.Err() == nil {
				w.log.Warn("sessions not written, will try again", "error", err, "in", min(2*retry, retryAtMost))
			}
			retry = min(2*retry, retryAtMost)
			w.wake()
			continue
		}
		retry = WriteEvery
	}
}

func (w *Writer) writeLast(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
	defer cancel()
	if err := w.write(ctx); err != nil {
		waiting, _ := w.Pending()
		return errors.Join(err, &UnwrittenError{waiting})
	}
	return nil
}

// UnwrittenError says how many sessions were not written when the writer stopped.
type UnwrittenError struct{ Sessions int }

func (e *UnwrittenError) Error() string {
	return fmt.Sprintf("%d sessions were not written to the store before the end", e.Sessions)
}

// write writes what is pending, in its order. What could not be written stays first.
func (w *Writer) write(ctx context.Context) error {
	for {
		w.mu.Lock()
		batch := w.pending[:min(len(w.pending), maxBatch)]
		w.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		if err := w.store.WriteSessions(ctx, batch); err != nil {
			w.mu.Lock()
			w.failed++
			w.failing = true
			w.mu.Unlock()
			return err
		}
		w.mu.Lock()
		w.failing = false
		w.pending = w.pending[len(batch):]
		if len(w.pending) == 0 {
			w.pending = nil // what was written needs no memory
		}
		w.mu.Unlock()
	}
}

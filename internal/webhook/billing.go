package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/semaphore"

	"authhook/internal/billing"
)

const (
	// MaxEvent is the largest body of a billing event that is read, in bytes.
	MaxEvent = 1 << 20
	// billingTime is how long a request may take, from its header to the answer. Paddle waits for 5 s.
	billingTime = 4 * time.Second
	// billingRoom is how many bytes of bodies are held at once, and roomWait how long a request waits for its part.
	billingRoom = 64 << 20
	roomWait    = 500 * time.Millisecond
	// firstRoom is what a body takes at first, in bytes. Most events fit.
	firstRoom = 16 << 10
	// retryAfter is when to send again what could not be stored, in seconds. Senders have times of their own.
	retryAfter = "5"
)

// unknownProvider is the label of a name that is no provider's: it is a stranger's to choose.
const unknownProvider = "unknown"

// Receiver takes in what billing systems send. Nil: it is committed, or was before. [billing.ErrSignature]: it is not from
// the provider, or there is no such provider. Any other error: it could not be stored.
type Receiver interface {
	Receive(ctx context.Context, provider string, h http.Header, body []byte) error
}

// Billing is POST /billing/{name}. It answers 200, 401, 405, 413 and 503 and nothing else, whatever comes in: senders take
// some other answers for an end of all sending, and follow no redirect. 200 means that it is committed; at 401 and 503 it is
// sent again. What net/http itself refuses before it is asked, such as a header that is too large, is out of its hands.
type Billing struct {
	receiver  Receiver
	providers []string
	metrics   *Metrics
	log       *slog.Logger
	time      time.Duration
	room      *semaphore.Weighted
}

// BillingOptions are the settings of Billing.
type BillingOptions struct {
	// Providers are the names of those that the receiver knows. They are the labels of metrics.
	Providers []string
	// Time is how long a request may take. Default: 4 s.
	Time time.Duration
	// Room is how many bytes of bodies are held at once. Default: 64 MiB.
	Room int64
}

// NewBilling makes Billing.
func NewBilling(r Receiver, m *Metrics, log *slog.Logger, o BillingOptions) *Billing {
	b := &Billing{receiver: r, providers: o.Providers, metrics: m, log: log, time: o.Time}
	if o.Time == 0 {
		b.time = billingTime
	}
	if o.Room == 0 {
		o.Room = billingRoom
	}
	b.room = semaphore.NewWeighted(o.Room)
	return b
}

// texts are the bodies of the answers. Each status has one: which of several reasons it was is for the log.
var texts = map[int]string{
	http.StatusOK:                    "ok\n",
	http.StatusUnauthorized:          "not verified\n",
	http.StatusMethodNotAllowed:      "billing events are sent with POST\n",
	http.StatusRequestEntityTooLarge: "the body is too large\n",
	http.StatusServiceUnavailable:    "not stored: send it again\n",
}

// serve answers one request, and writes its line.
func (b *Billing) serve(w http.ResponseWriter, r *http.Request, name string) {
	began := time.Now()
	status, size, err := b.take(w, r, name, began)
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	switch status {
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, texts[status])

	provider := unknownProvider
	if b.knows(name) {
		provider = name
	}
	b.metrics.billingRequest(provider, status)
	line := []any{"provider", provider, "answer", status, "bytes", size, "us", time.Since(began).Microseconds()}
	if status == http.StatusServiceUnavailable {
		b.log.Warn("billing", append(line, "error", err)...)
	} else {
		b.log.Info("billing", line...)
	}
}

func (b *Billing) knows(name string) bool { return slices.Contains(b.providers, name) }

var (
	errNoRoom = errors.New("too many bodies are held already")
	errTime   = errors.New("no time is left")
)

// take reads a request and has it received. It says which answer that makes, how many bytes came, and why where the answer
// is 503.
func (b *Billing) take(w http.ResponseWriter, r *http.Request, name string, began time.Time) (status, size int, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			// The value may be made of what was sent: the stack says where it was.
			b.log.Error("panic while receiving a billing event", "kind", fmt.Sprintf("%T", fault), "stack", string(debug.Stack()))
			status, err = http.StatusServiceUnavailable, errors.New("a panic")
		}
	}()
	switch {
	case r.Method != http.MethodPost:
		return http.StatusMethodNotAllowed, 0, nil
	case r.ContentLength > MaxEvent:
		return http.StatusRequestEntityTooLarge, 0, nil
	}
	deadline := began.Add(b.time)
	// A sender that is gone has still sent it: what is whole is stored, and known when it is sent again.
	ctx, cancel := context.WithDeadline(context.WithoutCancel(r.Context()), deadline)
	defer cancel()
	_ = http.NewResponseController(w).SetReadDeadline(deadline) // a recorder of a test has none

	body, held, err := b.read(ctx, http.MaxBytesReader(w, r.Body, MaxEvent))
	defer b.room.Release(held)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge, len(body), nil
	case err != nil:
		w.Header().Set("Connection", "close") // where the next request would begin is not known
		return http.StatusServiceUnavailable, len(body), err
	case ctx.Err() != nil:
		return http.StatusServiceUnavailable, len(body), errTime
	}
	err = billing.ErrSignature
	if b.knows(name) { // asked this late, so that nobody learns which names are
		err = b.receiver.Receive(ctx, name, r.Header, body)
	}
	switch {
	case err == nil:
		return http.StatusOK, len(body), nil
	case errors.Is(err, billing.ErrSignature):
		return http.StatusUnauthorized, len(body), nil
	}
	return http.StatusServiceUnavailable, len(body), err
}

// read reads a body. It takes room for what has come, and not for what is said to come: so those who send slowly, or nothing
// at all, keep nobody out. Held is the room that is to be given back.
func (b *Billing) read(ctx context.Context, from io.Reader) (body []byte, held int64, err error) {
	for {
		if len(body) == cap(body) {
			more := max(firstRoom, cap(body))
			if err := b.hold(ctx, more); err != nil {
				return body, held, err
			}
			held += int64(more)
			grown := make([]byte, len(body), cap(body)+more)
			copy(grown, body)
			body = grown
		}
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err == io.EOF {
			return body, held, nil
		}
		if err != nil {
			return body, held, fmt.Errorf("read the body: %w", err)
		}
	}
}

// hold waits a little for room.
func (b *Billing) hold(ctx context.Context, bytes int) error {
	ctx, cancel := context.WithTimeout(ctx, roomWait)
	defer cancel()
	if b.room.Acquire(ctx, int64(bytes)) != nil {
		return errNoRoom
	}
	return nil
}

// billingRequest counts a request to /billing. The provider is one that is configured, or "unknown".
func (m *Metrics) billingRequest(provider string, status int) {
	m.billing.WithLabelValues(provider, strconv.Itoa(status)).Inc()
}

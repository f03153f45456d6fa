package billing

import (
	"net/http"
	"time"

	"authhook/internal/billing/signature"
)

// Provider is a billing system that sends events. An implementation holds no state and is safe for concurrent use.
type Provider interface {
	// Name is what the catalog's prices, the inbox and the API call it: "events", "stripe", "paddle", or the operator's own.
	Name() string
	// Verify holds a request's raw body against its signature. Every fault is [ErrSignature], with nothing of the secret, of
	// the signature or of the body in it.
	Verify(h http.Header, body []byte, now time.Time) error
	// Envelope reads what names an event, from a body that was verified. The error says what of it cannot be read; then the
	// event is kept as dead under a hash of its body.
	Envelope(h http.Header, body []byte) (Envelope, error)
	// Records reads what an event says. It is a pure function of the body, so that an event can be read again years later.
	// An [*IgnoredError] says that nothing follows from events like it; any other that it cannot be read, and never will be.
	Records(body []byte) ([]Record, error)
}

// Envelope names an event.
type Envelope struct {
	// ID is the provider's own, the same in every retry.
	ID string
	// Type is the provider's word for what happened.
	Type string
	// At is the provider's own time of it; zero where it says none.
	At time.Time
}

// ErrSignature: a request is not from the provider, or too old, or was changed on its way. Which of these is not said.
var ErrSignature = signature.ErrSignature

// IgnoredError says why nothing follows from an event. It is matched with errors.As.
type IgnoredError struct{ Reason string }

func (e *IgnoredError) Error() string { return e.Reason }

// Ignored is an [*IgnoredError].
func Ignored(reason string) error { return &IgnoredError{reason} }

package billing

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"authhook/internal/store"
)

// Inbox keeps events until they are applied, and their ids for good.
type Inbox interface {
	// ReceiveEvent stores an event and says whether it is new. It is on disk when this returns. One of the same provider and
	// id that is there already stays as it is. The error is a [*store.InvalidError] when it can never be stored.
	ReceiveEvent(ctx context.Context, e store.BillingEvent) (fresh bool, err error)
}

// Receiver takes events in. It is safe for concurrent use.
type Receiver struct {
	providers map[string]Provider
	inbox     Inbox
	wake      func()
	now       func() time.Time
}

// NewReceiver makes a Receiver. Wake is called for every new event, once it is stored; it must not block.
func NewReceiver(providers []Provider, inbox Inbox, wake func(), now func() time.Time) *Receiver {
	return &Receiver{providers: byName(providers), inbox: inbox, wake: wake, now: now}
}

func byName(providers []Provider) map[string]Provider {
	m := make(map[string]Provider, len(providers))
	for _, p := range providers {
		m[p.Name()] = p
	}
	return m
}

// Receive verifies a request and stores its event. It returns nil once the event is on disk, or was before. The error is
// [ErrSignature] when the request is not from that provider, or there is no such provider; any other means that the event
// could not be stored, and is to be sent again.
func (r *Receiver) Receive(ctx context.Context, provider string, h http.Header, body []byte) error {
	p := r.providers[provider]
	if p == nil {
		return ErrSignature
	}
	if err := p.Verify(h, body, r.now()); err != nil {
		return ErrSignature
	}
	_, err := r.keep(ctx, p, h, body)
	return err
}

// Keep stores an event that was read from the provider itself, and so needs no signature, and says whether it is new.
func (r *Receiver) Keep(ctx context.Context, provider string, body []byte) (fresh bool, err error) {
	p := r.providers[provider]
	if p == nil {
		return false, fmt.Errorf("there is no billing provider %q", provider)
	}
	return r.keep(ctx, p, http.Header{}, body)
}

// keep stores an event. One that cannot be read is stored too, as dead: to send it again would not help.
func (r *Receiver) keep(ctx context.Context, p Provider, h http.Header, body []byte) (fresh bool, err error) {
	now := r.now()
	dead := store.BillingEvent{Provider: p.Name(), ID: HashID(body), Received: now, Body: body, State: store.EventDead}
	envelope, err := readEnvelope(p, h, body)
	if err == nil {
		fresh, err = r.inbox.ReceiveEvent(ctx, store.BillingEvent{
			Provider: p.Name(), ID: envelope.ID, Type: envelope.Type, At: envelope.At,
			Received: now, Body: body, State: store.EventReceived, Next: now,
		})
		if _, never := errors.AsType[*store.InvalidError](err); never {
			dead.Reason = "cannot be stored: " + err.Error()
			fresh, err = r.inbox.ReceiveEvent(ctx, dead)
		}
	} else {
		dead.Reason = "cannot be read: " + err.Error()
		fresh, err = r.inbox.ReceiveEvent(ctx, dead)
	}
	if err == nil && fresh {
		r.wake()
	}
	return fresh, err
}

// HashID is the id of an event that has none.
func HashID(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// readEnvelope reads what names an event; whatever a body does to its reader is an error like another.
func readEnvelope(p Provider, h http.Header, body []byte) (e Envelope, err error) {
	defer recovered(&err)
	if e, err = p.Envelope(h, body); err == nil && e.ID == "" {
		err = errors.New("it has no id")
	}
	return e, err
}

// readRecords reads what an event says, likewise.
func readRecords(p Provider, body []byte) (records []Record, err error) {
	defer recovered(&err)
	return p.Records(body)
}

// errFault: a reader failed at a body. That is a fault of the reader, which a newer version may not have.
var errFault = errors.New("it confuses its reader")

func recovered(err *error) {
	if fault := recover(); fault != nil {
		*err = errFault
	}
}

package events

import (
	"net/http"
	"time"

	"authhook/internal/billing"
	"authhook/internal/billing/signature"
)

// Name is what the provider of authhook's own events is called.
const Name = "events"

// Provider is the [billing.Provider] of authhook's own events. One without secrets verifies nothing.
type Provider struct {
	// Secrets are those of the senders, see [signature.ParseStandardSecrets].
	Secrets signature.Secrets
}

// Name is "events".
func (*Provider) Name() string { return Name }

// Verify holds a request against its signature, as Standard Webhooks do it.
func (p *Provider) Verify(h http.Header, body []byte, now time.Time) error {
	_, _, err := signature.StandardWebhooks(h, body, p.Secrets, now)
	return err
}

// Envelope reads what names an event: its id is the header's, which the signature covers.
func (*Provider) Envelope(h http.Header, body []byte) (billing.Envelope, error) {
	id, err := signature.StandardID(h)
	if err != nil {
		return billing.Envelope{}, err
	}
	e, err := Read(body)
	if err != nil && (e.Type == "" || e.At.IsZero()) {
		return billing.Envelope{}, err
	}
	return billing.Envelope{ID: id, Type: string(e.Type), At: e.At}, nil
}

// Records reads what an event says.
func (*Provider) Records(body []byte) ([]billing.Record, error) {
	e, err := Read(body)
	if err != nil {
		return nil, err
	}
	return e.Records()
}

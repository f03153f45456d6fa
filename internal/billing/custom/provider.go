package custom

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"authhook/internal/billing"
	"authhook/internal/billing/events"
	"authhook/internal/billing/events/body"
	"authhook/internal/billing/signature"
)

// provider is a billing system by configuration.
type provider struct {
	name     string
	signs    signing
	secrets  signature.Secrets
	id       *source // nil: the event's id is the webhook's, where the scheme has one, or else a hash of its body
	kind     *source
	time     *source
	user     *source
	where    []condition
	unit     string // of amounts: minor or major
	decimals int    // of the currency, where the unit is major
	events   map[string]*mapping
	ignore   map[string]bool
}

// mapping is what one type of the provider's events is in our own.
type mapping struct {
	is     events.Type
	fields map[string]*source
	where  []condition
}

// condition is what must stand at a place, for an event to count.
type condition struct {
	at     pointer
	values []string
}

func (c condition) holds(tree any) bool {
	s, ok := plain(c.at.find(tree))
	for _, v := range c.values {
		if ok && s == v {
			return true
		}
	}
	return false
}

// Name is the operator's name for it.
func (p *provider) Name() string { return p.name }

// Verify holds a request against its signature.
func (p *provider) Verify(h http.Header, body []byte, now time.Time) error {
	switch p.signs.scheme {
	case "hmac":
		return p.signs.hmac.Verify(h, body, p.secrets, now)
	case standardWebhooks:
		_, _, err := signature.StandardWebhooks(h, body, p.secrets, now)
		return err
	case "static":
		return signature.Static(h, p.signs.hmac.Header, p.secrets)
	case "basic":
		return signature.Basic(h, p.secrets)
	}
	return billing.ErrSignature
}

// Envelope reads what names an event.
func (p *provider) Envelope(h http.Header, data []byte) (billing.Envelope, error) {
	tree, err := body.Parse(data)
	if err != nil {
		return billing.Envelope{}, err
	}
	var e billing.Envelope
	if e.Type, err = p.typeOf(tree); err != nil {
		return billing.Envelope{}, err
	}
	switch {
	case p.id != nil:
		var problem string
		if e.ID, problem = p.id.text(tree); problem == "" && e.ID != "" {
			problem = body.CheckID(e.ID)
		}
		if problem != "" {
			return billing.Envelope{}, fault("id", p.id, problem)
		}
	case p.signs.scheme == standardWebhooks:
		if e.ID, err = signature.StandardID(h); err != nil {
			return billing.Envelope{}, err
		}
	}
	if e.ID == "" {
		sum := sha256.Sum256(data)
		e.ID = "sha256:" + hex.EncodeToString(sum[:])
	}
	m := p.events[e.Type]
	if p.signs.scheme == standardWebhooks && p.timeFrom(m) == nil {
		// An event that says no time itself is ignored: the records of others need one, and see no header.
		e.At = signature.StandardTime(h)
		return e, nil
	}
	// A time that cannot be read is a fault of the records: an event that is ignored needs none.
	e.At, _ = p.timeOf(m, tree)
	return e, nil
}

// Records reads what an event says.
func (p *provider) Records(data []byte) ([]billing.Record, error) {
	tree, err := body.Parse(data)
	if err != nil {
		return nil, err
	}
	kind, err := p.typeOf(tree)
	if err != nil {
		return nil, err
	}
	m := p.events[kind]
	switch {
	case m == nil && p.ignore[kind]:
		return nil, billing.Ignored("events of the type " + body.Show(kind) + " are to be ignored")
	case m == nil:
		return nil, billing.Ignored("nothing follows from events of the type " + body.Show(kind))
	}
	for _, where := range [][]condition{p.where, m.where} {
		for _, c := range where {
			if !c.holds(tree) {
				return nil, billing.Ignored("what stands at " + c.at.String() + " is not what was asked for")
			}
		}
	}
	e, err := p.translate(m, tree)
	if err != nil {
		return nil, err
	}
	records, err := e.Records()
	var wrong *body.FieldError
	if errors.As(err, &wrong) {
		return nil, p.explain(m, wrong)
	}
	return records, err
}

func (p *provider) typeOf(tree any) (string, error) {
	kind, problem := p.kind.text(tree)
	if problem == "" && kind == "" {
		problem = "is missing"
	} else if problem == "" {
		problem = body.CheckID(kind)
	}
	if problem != "" {
		return "", fault("type", p.kind, problem)
	}
	return kind, nil
}

// timeFrom is where an event's time stands; nil where no place was named.
func (p *provider) timeFrom(m *mapping) *source {
	if m != nil && m.fields["time"] != nil {
		return m.fields["time"]
	}
	return p.time
}

func (p *provider) timeOf(m *mapping, tree any) (time.Time, error) {
	from := p.timeFrom(m)
	if from == nil {
		return time.Time{}, nil
	}
	at, problem := from.time(tree)
	if problem == "" && at.IsZero() {
		problem = "is missing"
	}
	if problem != "" {
		return at, fault("time", from, problem)
	}
	return at, nil
}

func fault(field string, from *source, problem string) error {
	return &body.FieldError{Field: field + " (" + from.String() + ")", Problem: problem}
}

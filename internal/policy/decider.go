package policy

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"
)

// Options are a Decider's settings. The zero value of each field is its default.
type Options struct {
	// AllowUnavailable answers with an allow when the facts cannot be read. Default: deny.
	AllowUnavailable bool
	// LeaseFor is how long a session keeps its place under a plan's limit when nobody renews or releases it.
	// Default: 12 h.
	LeaseFor time.Duration
	// Timeout bounds what a decision waits for in all. Default: 4 s: MistServer waits for 5 s, and authhook-trigger for
	// 4.5. The source's loads have a time of their own, which must be shorter.
	Timeout time.Duration
	// RememberEvents is how long the answer to one event stays known. Default: 30 s: MistServer asks for 25.
	RememberEvents time.Duration
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Decider answers requests from facts.
type Decider struct {
	source   Source
	leases   Leases
	previews Previews
	options  Options
	rulebook atomic.Pointer[rulebook]
	repeats  repeats
}

// rulebook is a catalog with the keys it brings.
type rulebook struct {
	catalog  *Catalog
	verifier Verifier
}

// NewDecider makes a Decider. Until a catalog is set, every decision is [Unavailable].
func NewDecider(source Source, leases Leases, previews Previews, o Options) *Decider {
	if o.LeaseFor == 0 {
		o.LeaseFor = 12 * time.Hour
	}
	if o.Timeout == 0 {
		o.Timeout = 4 * time.Second
	}
	if o.RememberEvents == 0 {
		o.RememberEvents = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Decider{source: source, leases: leases, previews: previews, options: o, repeats: repeats{keep: o.RememberEvents}}
}

// SetCatalog puts a catalog in force, with the verifier of its JWT keys. Decisions under way end under the old one.
func (d *Decider) SetCatalog(c *Catalog, v Verifier) { d.rulebook.Store(&rulebook{c, v}) }

// Catalog is the one in force; nil when none is.
func (d *Decider) Catalog() *Catalog {
	if b := d.rulebook.Load(); b != nil {
		return b.catalog
	}
	return nil
}

// LongestPreview is how long the beginning of a preview matters at most, under the catalog in force.
func (d *Decider) LongestPreview() time.Duration {
	longest := 24 * time.Hour
	if c := d.Catalog(); c != nil {
		for i := range c.Streams {
			longest = max(longest, c.Streams[i].previewEvery())
		}
	}
	return longest
}

// Decide answers a request. The same event is answered alike, with no second effect: repeated says that it was asked
// before. Decide always answers: what cannot be found out is [Unavailable].
func (d *Decider) Decide(ctx context.Context, r *Request) (decision Decision, repeated bool) {
	now := d.options.Now()
	if r.Event == (EventID{}) {
		return d.decide(ctx, r, now), false
	}
	event, repeated := d.repeats.begin(r.Event, now)
	if repeated {
		if decision, err := event.wait(ctx); err == nil {
			return decision, true
		}
		return d.unavailable(r, nil), true
	}
	defer event.done()
	// Others may wait for this decision: it does not end with its first asker.
	event.decision = d.decide(context.WithoutCancel(ctx), r, now)
	return event.decision, false
}

// Seen says whether this event was told of before, and remembers it: for an event that wants no decision.
func (d *Decider) Seen(id EventID) bool {
	if id == (EventID{}) {
		return false
	}
	event, repeated := d.repeats.begin(id, d.options.Now())
	if !repeated {
		event.done()
	}
	return repeated
}

// unavailable is the answer while the facts cannot be read: the configured one, for an outage is no verdict. What runs goes
// on, and a connection is not stopped for a rule that nobody could read: who watches or publishes is asked about by name. A
// push whose stream only its credential knows can go nowhere. The claims of a JWT, where they are known, come with it: what
// is decided when the facts return needs them.
func (d *Decider) unavailable(r *Request, claims *Credential) Decision {
	allow := d.options.AllowUnavailable || r.Rerun || r.Action == Connect || r.Action == Play
	decision := Decision{Allow: allow && !r.Invalid && !r.StreamOfCredential, Reason: Unavailable, Claims: claims}
	if decision.Allow && r.Action == Push {
		decision.Stream = r.Stream
	}
	return decision
}

func (d *Decider) decide(ctx context.Context, r *Request, now time.Time) Decision {
	book := d.rulebook.Load()
	if book == nil {
		return d.unavailable(r, nil)
	}
	var f Facts
	if err := d.facts(ctx, book, r, now, &f); err != nil {
		return d.unavailable(r, f.claims())
	}
	if r.StreamOfCredential {
		if reason := takeStream(r, &f); reason != 0 {
			return Decision{Reason: reason}
		}
	}
	decision := Evaluate(r, &f, now)
	switch {
	case r.Action == Push && decision.Allow:
		decision.Stream = r.Stream
		return decision
	case r.Action != Watch:
		return decision
	case decision.MayPreview:
		return d.beginPreview(ctx, r, &f, now)
	case decision.Allow && decision.MaxConcurrent > 0:
		return d.takePlace(ctx, r, decision, now)
	}
	return decision
}

// facts reads what a decision about a request needs, and no more.
func (d *Decider) facts(ctx context.Context, book *rulebook, r *Request, now time.Time, f *Facts) error {
	f.Catalog = book.catalog
	needed := needsFacts(r, book.catalog, now)
	if needed == no {
		return nil
	}
	err := d.identify(ctx, book, r, f)
	if err != nil && needed == welcome { // an outage does not close a public stream
		f.Credential, f.User = nil, nil
		return nil
	}
	return err
}

// need says what a decision wants with facts about a user.
type need uint8

const (
	no      need = iota
	welcome      // they are used where they are to be had
	must
)

// needsFacts says whether a decision depends on who asks.
func needsFacts(r *Request, c *Catalog, now time.Time) need {
	if r.StreamOfCredential && !r.Invalid {
		return must
	}
	stream := c.Stream(r.Stream)
	if r.Invalid || stream == nil {
		return no
	}
	switch r.Action {
	case Watch, Rendition:
		switch stream.accessAt(now) {
		case AccessClosed:
			return no
		case AccessPublic:
			if r.Presented.None() {
				return no
			}
			return welcome
		default:
			return must
		}
	case Push:
		if stream.Publish == PublishKey {
			return must
		}
	}
	return no
}

// identify finds out who asks.
func (d *Decider) identify(ctx context.Context, book *rulebook, r *Request, f *Facts) (err error) {
	p := &r.Presented
	switch {
	case p.Unrecognised:
		f.CredentialFault = CredentialUnknown
	case p.Claims != nil:
		f.Credential = p.Claims
	case p.JWT != "":
		f.CredentialFault = CredentialUnknown
		if book.verifier != nil {
			var detail string
			f.Credential, f.CredentialFault, detail = book.verifier.VerifyJWT(p.JWT)
			switch {
			case f.CredentialFault == Unavailable:
				return errors.New(detail)
			case f.Credential == nil && f.CredentialFault == 0:
				f.CredentialFault = CredentialUnknown
			}
		}
	case p.Key != CredentialHash{}:
		f.Credential, f.User, err = d.source.FactsByCredential(ctx, p.Key)
		if f.Credential == nil {
			f.CredentialFault = CredentialUnknown
		}
		return err
	case r.Address.IsValid(): // an address that is bound to a user is a credential of its own
		f.Credential, f.User, err = d.source.FactsByCredential(ctx, HashAddress(r.Address))
		return err
	}
	if f.Credential != nil {
		f.User, err = d.source.FactsByUser(ctx, f.Credential.User)
	}
	return err
}

// takeStream gives a push the stream that its credential was given out for. The reason says why there is none.
func takeStream(r *Request, f *Facts) Reason {
	switch c := f.Credential; {
	case r.Invalid:
		return PayloadInvalid
	case c == nil && f.CredentialFault != 0:
		return f.CredentialFault
	case c == nil:
		return CredentialMissing
	case len(c.Streams) != 1 || strings.HasSuffix(c.Streams[0], "*"):
		return PublisherDenied
	default:
		r.Stream = c.Streams[0]
		return 0
	}
}

// beginPreview begins the viewer's preview, or finds the one that has begun, and decides again.
func (d *Decider) beginPreview(ctx context.Context, r *Request, f *Facts, now time.Time) Decision {
	ctx, cancel := d.remaining(ctx, now)
	defer cancel()
	stream := f.Catalog.Stream(r.Stream)
	began, err := d.previews.StartPreview(ctx, previewer(r, f), stream.Match, now, stream.previewEvery())
	if err != nil {
		return d.unavailable(r, f.claims())
	}
	f.PreviewFrom = began
	return Evaluate(r, f, now)
}

// takePlace takes the session's place under its plan's limit.
func (d *Decider) takePlace(ctx context.Context, r *Request, decision Decision, now time.Time) Decision {
	ctx, cancel := d.remaining(ctx, now)
	defer cancel()
	granted, kicked, err := d.leases.AcquireLease(ctx, Lease{
		User: decision.User, Plan: decision.Plan, Node: r.Node, Session: r.Session,
		At: now, Until: now.Add(d.options.LeaseFor),
	}, decision.MaxConcurrent, decision.OnLimit)
	switch {
	case err != nil:
		return d.unavailable(r, decision.Claims)
	case granted:
		decision.Kicked = kicked
		return decision
	}
	decision.overLimit()
	return decision
}

// remaining is the time that is left of a decision's.
func (d *Decider) remaining(ctx context.Context, began time.Time) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.options.Timeout-d.options.Now().Sub(began))
}

// overLimit turns an allow into the denial of a session that found no place. Until stays: what changes the allow then may
// change the denial too (a window opens, a plan without limits begins).
func (d *Decision) overLimit() { d.Allow, d.Reason, d.Tags = false, ConcurrencyLimit, nil }

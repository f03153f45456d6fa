package store

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"authhook/internal/policy"
)

const (
	// MaxBody bounds the body of a billing event, in bytes.
	MaxBody = 1 << 20

	maxProvider = 256
	maxKind     = 64
	maxReason   = 1024
)

// AllEventStates are the states of a billing event, in the order in which they come about.
var AllEventStates = []EventState{EventReceived, EventApplied, EventStale, EventIgnored, EventUnlinked, EventFailed, EventDead}

// OpenEventStates are those in which somebody or something is still waited for.
var OpenEventStates = []EventState{EventReceived, EventUnlinked, EventFailed, EventDead}

// Incoming is an event as it is put into the inbox: to be applied at once, unless it is to stand as dead or ignored. The error
// is an [*InvalidError].
func (e BillingEvent) Incoming(now time.Time) (BillingEvent, error) {
	if e.Received.IsZero() {
		e.Received = now
	}
	e.At, e.Received = asStored(e.At), asStored(e.Received)
	e.Tries, e.Applied, e.User, e.Subject, e.Next = 0, time.Time{}, "", "", time.Time{}
	e.Reason = clean(e.Reason, maxReason)
	switch e.State {
	case "", EventReceived:
		e.State, e.Next = EventReceived, e.Received
	case EventDead, EventIgnored:
	default:
		return e, &InvalidError{"state", "is none of received, dead and ignored"}
	}
	if e.Body == nil {
		e.Body = []byte{}
	}
	if len(e.Body) > MaxBody {
		return e, &InvalidError{"body", "is longer than 1 MiB"}
	}
	return e, firstOf(checkProvider(e.Provider), checkText("id", e.ID, 1, maxKey), checkText("type", e.Type, 0, maxName),
		checkTime("at", e.At), checkTime("received", e.Received))
}

// checkProvider demands a name that can stand before a slash.
func checkProvider(name string) error {
	if strings.Contains(name, "/") {
		return &InvalidError{"provider", "holds a slash"}
	}
	return checkText("provider", name, 1, maxProvider)
}

// Failed is what becomes of an event that was not applied: by how much its tries grow, and when it is tried again, if ever. The
// error is an [*InvalidError].
func Failed(state EventState, next time.Time) (tries int, again time.Time, err error) {
	switch {
	case state != EventFailed && state != EventDead && state != EventIgnored:
		return 0, again, &InvalidError{"state", "is none of failed, dead and ignored"}
	case state == EventFailed && next.IsZero():
		return 0, again, &InvalidError{"next", "is missing: an event that failed is tried again"}
	}
	if err := checkTime("next", next); err != nil {
		return 0, again, err
	}
	if state != EventIgnored {
		tries = 1
	}
	if state == EventFailed {
		again = next
	}
	return tries, again, nil
}

// NotWaiting is the error of what was to be done to an event that does not wait to be applied.
func (e BillingEvent) NotWaiting() error {
	return fmt.Errorf("billing event %d is %s: %w", e.Number, e.State, ErrConflict)
}

// CleanReason makes a reason of any text.
func CleanReason(reason string) string { return clean(reason, maxReason) }

// CleanNames are names as they are stored, sorted, each once. The error is an [*InvalidError].
func CleanNames(names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, &InvalidError{"names", "are missing: nothing would be found again"}
	}
	for _, n := range names {
		if err := checkText("name", n, 1, maxKey); err != nil {
			return nil, err
		}
	}
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Clean brings a filter into its bounds. Where nothing bounds the numbers or the times, what is beyond all does.
func (f EventFilter) Clean() EventFilter {
	f.Provider, f.Type, f.User = clean(f.Provider, maxProvider+1), clean(f.Type, maxName+1), clean(f.User, MaxUserID+1)
	f.State, f.Limit = EventState(clean(string(f.State), maxName)), pageLimit(f.Limit)
	f.From, f.Until = clampTime(f.From).UTC(), clampTime(f.Until).UTC()
	if f.From.IsZero() {
		f.From = earliest
	}
	if f.Until.IsZero() {
		f.Until = latest
	}
	if f.After = max(f.After, 0); f.Latest && f.After == 0 {
		f.After = math.MaxInt64
	}
	return f
}

// EventRow is a billing event as its columns hold it: number, provider, event_id, type, provider_at, received_at, state,
// reason, tries, next_at, applied_at, user_id, subject, body, and whether there is a body: a driver may take an empty one for
// none.
type EventRow struct {
	event                       BillingEvent
	kept                        bool
	at, received, next, applied Moment
}

// Columns are where a driver scans a row to.
func (r *EventRow) Columns() []any {
	e := &r.event
	return []any{&e.Number, &e.Provider, &e.ID, &e.Type, &r.at, &r.received, &e.State, &e.Reason, &e.Tries, &r.next, &r.applied,
		&e.User, &e.Subject, &e.Body, &r.kept}
}

// Event is what a scanned row holds.
func (r *EventRow) Event() (BillingEvent, error) {
	e := r.event
	e.At, e.Received, e.Next, e.Applied = r.at.Time, r.received.Time, r.next.Time, r.applied.Time
	if r.kept && e.Body == nil {
		e.Body = []byte{}
	}
	return e, nil
}

// OwnedRow is an entitlement or a hold as a driver reads it, with its origin: a stored row with one column more.
type OwnedRow struct {
	StoredRow
	origin string
}

// Columns are where a driver scans a row to.
func (r *OwnedRow) Columns() []any { return append(r.StoredRow.Columns(), &r.origin) }

// OwnedEntitlementOf reads an entitlement.
func OwnedEntitlementOf(r *OwnedRow) (OwnedEntitlement, error) {
	return OwnedEntitlement{EntitlementOf(&r.FactsRow), r.user, r.origin}, nil
}

// OwnedHoldOf reads a hold.
func OwnedHoldOf(r *OwnedRow) (OwnedHold, error) {
	return OwnedHold{HoldOf(&r.FactsRow), r.user, r.origin}, nil
}

// Origin names a record of a provider, as what follows from it does.
func (r BillingRecord) Origin(provider string) string { return provider + "/" + r.Kind + "/" + r.ID }

// stored is an entitlement as it comes back from a database.
func (o OwnedEntitlement) stored() OwnedEntitlement {
	o.From, o.Until, o.GraceFrom = asStored(o.From), asStored(o.Until), asStored(o.GraceFrom)
	return o
}

// activeUser is a user who is made because something follows for them.
func activeUser(id string) UserChange { return UserChange{ID: id, Status: policy.ActiveUser} }

// ErrBodyDropped: an event cannot be applied again.
var ErrBodyDropped error = &InvalidError{"body", "was dropped for its age: it cannot be applied again"}

// Waits says whether an event is still to be applied.
func (e BillingEvent) Waits() bool { return e.State == EventReceived || e.State == EventFailed }

// ErrElsewhere: what an effect says of a record cannot be kept, as the record is another account's. Whoever names a thing must
// have it among the names.
var ErrElsewhere error = &InvalidError{"record", "is another account's: it is not among the names"}

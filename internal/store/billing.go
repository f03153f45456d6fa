package store

import (
	"time"

	"authhook/internal/policy"
)

// EventState says what became of a billing event.
type EventState string

// The states of a billing event.
const (
	// EventReceived: it is stored and not applied yet.
	EventReceived EventState = "received"
	// EventApplied: the facts are what it says.
	EventApplied EventState = "applied"
	// EventStale: what it says was known, or newer word of the same was.
	EventStale EventState = "stale"
	// EventIgnored: nothing follows from events like it.
	EventIgnored EventState = "ignored"
	// EventUnlinked: what it says is noted, and it is not known yet which user it is about.
	EventUnlinked EventState = "unlinked"
	// EventFailed: it could not be applied, and will be tried again.
	EventFailed EventState = "failed"
	// EventDead: it cannot be read, or could not be applied after many tries. Somebody must look at it.
	EventDead EventState = "dead"
)

// BillingEvent is an event of a billing system, as the inbox holds it.
type BillingEvent struct {
	// Number is its place in the order in which events were received. The store gives it.
	Number int64
	// Provider and ID, the provider's own, name it: a second one of the same name is the same event.
	Provider, ID string
	Type         string    // the provider's word
	At           time.Time // the provider's own time of it; zero where it says none
	Received     time.Time
	Body         []byte // as it came in; nil once it was dropped for its age
	State        EventState
	Reason       string    // why it is in its state, where that needs saying
	Tries        int       // how often applying it failed
	Next         time.Time // when it is to be applied, or tried again; zero when it is not
	Applied      time.Time // when it last was applied, whatever it came to; zero when it never was
	User         string    // whom it turned out to be about; empty while that is not known
	Subject      string    // the record that it is about, kind/id; empty until it was applied
}

// BillingRecord is what a provider said of one thing, all events taken together, as package billing writes it.
type BillingRecord struct {
	Kind, ID string
	Doc      string // JSON
}

// OwnedEntitlement is an entitlement that follows from a billing record. Origin names the record: provider/kind/id.
type OwnedEntitlement struct {
	policy.Entitlement
	User, Origin string
}

// OwnedHold is a hold that follows from a billing record. Origin names the record: provider/kind/id.
type OwnedHold struct {
	policy.Hold
	User, Origin string
}

// BillingAccount is everything that is stored of what belongs together at one provider: the records that share names,
// directly or by others, and what follows from them.
type BillingAccount struct {
	// Event is the one to be applied, with its body.
	Event        BillingEvent
	Records      []BillingRecord    // ordered by kind and id
	Entitlements []OwnedEntitlement // whose origin is one of the records, ordered by id
	Holds        []OwnedHold        // whose origin is one of the records, ordered by id
	Payments     []Payment          // of the provider, whose id is that of one of the records of the kind "payment"
	// Unlinked are the other events of the account that wait for a user, without their bodies.
	Unlinked []BillingEvent
}

// BillingEffect is what an event leaves behind, all in one transaction.
type BillingEffect struct {
	// State, Reason, User and Subject are the event's from now on. It is not to be applied again: the state is neither received
	// nor failed. One that is unlinked waits in the account for a user.
	State         EventState
	Reason        string
	User, Subject string
	// Names are all that the account is known by, and is found by from now on. Those that were known stay, whatever is said here;
	// where one leads to another account, the two are one, and the fold is asked again.
	Names []string
	// Records are those that are new or others than before. A record belongs to one account: what names it must be among the
	// names, so that its account is found.
	Records []BillingRecord
	// Add, Change and Remove are entitlements that begin, become others (found by their id) and end; AddHolds and
	// RemoveHolds the same of holds. What changes or ends must be the account's, and the origin of what begins a record of
	// it, new ones included. A user who does not exist is made, active. Ids of new ones are given by the store where they are
	// empty.
	Add, Change, Remove   []OwnedEntitlement
	AddHolds, RemoveHolds []OwnedHold
	// Payments are put in place of what was known of them.
	Payments []Payment
	// Statuses are users' new statuses. A user who does not exist is made.
	Statuses map[string]policy.UserStatus
	// Linked are numbers of events that waited for a user, who is known now, by the user's id.
	Linked map[int64]string
}

// EventFilter picks billing events; an empty field picks all.
type EventFilter struct {
	Provider string
	State    EventState
	Type     string
	User     string
	// From and Until bound when they were received: from ≤ t < until.
	From, Until time.Time
	// After is the number of the last event of the page before. Events come in the order in which they were received, or,
	// where Latest is set, the other way round.
	After  int64
	Latest bool
	// Limit is how many to return at most: 100 when zero, never more than [MaxFacts].
	Limit int
}

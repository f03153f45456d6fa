package store

import (
	"crypto/sha256"
	"time"

	"authhook/internal/policy"
)

// Places under plans' limits are given out in parts, by user. Each part has one home: the database, or a Redis that several
// services share (store/redis tells how the two work together). A move to either begins an epoch.

// LeaseParts is how many parts there are.
const LeaseParts = 256

// LeasePart is the part that a user's places are in.
func LeasePart(user string) int { return int(sha256.Sum256([]byte(user))[0]) }

// LeaseGrace is for how long a place stands at least whose renewals may be known elsewhere only, once its part has moved: as
// long as a place stands that is renewed.
const LeaseGrace = 30 * time.Second

// LeaseHome says where the places of a part are given out.
type LeaseHome struct {
	Part  int
	Epoch int64
	// Redis: there, else in the database.
	Redis bool
}

// Has says whether a decision was made where the part's places are given out.
func (h *LeaseHome) Has(d *LeaseDecision) bool { return h.Redis && h.Epoch == d.Epoch }

// HeldLease is a place that is held. Its At is when its session asked for it last, as whoever asked said. All other moments are by
// the clock of whoever gets them told.
type HeldLease struct {
	policy.Lease
	// Acquired is since when it is held, Seq the order among those of one moment.
	Acquired time.Time
	Seq      int64
}

// LeaseDecision is what was decided elsewhere about a place, for the database to keep.
type LeaseDecision struct {
	Part int
	// Epoch is in which it was decided, Number the how many'th decision of it this is.
	Epoch, Number int64
	// Granted: Lease is held from now on, and Kicked are not. Else it was refused, as Limit others hold theirs.
	Granted bool
	Lease   HeldLease
	Limit   int
	// Kicked are also those whom earlier decisions kicked, on which this one rests: they may not be kept yet.
	Kicked []KickedLease
	// Expired are those that were found to be held by nobody any more.
	Expired []HeldLease
}

// ConfirmedLease is what became of a decision.
type ConfirmedLease struct {
	// Home is where the part's places are given out.
	Home LeaseHome
	// Kept: it stands. Else nothing happened.
	Kept bool
	// Kicked are those who lost their place, as far as nobody was told before.
	Kicked []policy.KickedSession
	// Left is the place that the session gave up for this one where it was another user's: with its user, node, session and At.
	Left []HeldLease
}

// KickedLease is a place that was taken away, by the decision of that number.
type KickedLease struct {
	Node, Session string
	By            int64
}

package store

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"authhook/internal/policy"
)

// The parts of facts, as the one statement that reads them marks its rows.
const (
	partCredential = iota + 1
	partUser
	partUsage
	partEntitlement
	partHold
	partRunning
	partAsOf
)

// FactsRow is one row of the statement that reads the facts of a decision: rows of several tables, laid over the same
// columns, so that everything is read in one round trip and at one moment. The statements are the drivers'
// facts.sql.
type FactsRow struct {
	Part       int
	ID         string
	A, B, C, D string
	Yes, Also  bool
	T1, T2, T3 Moment
	N          int64
}

// Columns are where a driver scans a row to.
func (r *FactsRow) Columns() []any {
	return []any{&r.Part, &r.ID, &r.A, &r.B, &r.C, &r.D, &r.Yes, &r.Also, &r.T1, &r.T2, &r.T3, &r.N}
}

// FactsReader puts facts together, row by row.
type FactsReader struct {
	Credential *policy.Credential
	User       *policy.UserFacts
	// AsOf is the last entry of the change feed at the moment of the facts: they hold every change up to its number, and
	// none after. Zero where the feed has no such entry (nothing changed yet, or it was cut off since).
	AsOf Change
}

// CountsSince is the earliest moment at which a session was opened that counts in a month while it runs: the beginning of
// the month before. One that is older has lasted through a whole month, which no quota that could still end it allows; what
// is left are sessions that nobody will ever end, since no authhook knows their node any more.
func CountsSince(month time.Time) time.Time { return month.AddDate(0, -1, 0) }

// Add takes in a row. A credential's row brings its user along, who may turn out not to exist.
func (f *FactsReader) Add(r *FactsRow, month time.Time) error {
	switch r.Part {
	case partCredential:
		c, err := CredentialOf(r)
		if err != nil {
			return err
		}
		f.Credential = &c
		f.user(c.User, month)
	case partUser:
		f.user(r.ID, month).Status = policy.UserStatus(r.A)
	case partUsage:
		f.user(r.ID, month).Used = time.Duration(r.N) * time.Second
	case partEntitlement:
		u := f.user("", month)
		u.Entitlements = append(u.Entitlements, EntitlementOf(r))
	case partHold:
		u := f.user("", month)
		u.Holds = append(u.Holds, HoldOf(r))
	case partRunning:
		u := f.user(r.ID, month)
		u.Running, u.RunningFrom = int(r.N), r.T1.Time
	case partAsOf:
		f.AsOf = Change{Number: r.N, At: r.T1.Time, Kind: ChangeKind(r.A), Subject: r.B}
	}
	return nil
}

func (f *FactsReader) user(id string, month time.Time) *policy.UserFacts {
	if f.User == nil {
		f.User = &policy.UserFacts{UsedMonth: month}
	}
	if id != "" {
		f.User.User = id
	}
	return f.User
}

// Sort orders the facts as DESIGN has them: the unended entitlements and those that ended last come first.
func (f *FactsReader) Sort() {
	if f.User == nil {
		return
	}
	slices.SortFunc(f.User.Entitlements, func(a, b policy.Entitlement) int {
		if a.Until.IsZero() != b.Until.IsZero() {
			if a.Until.IsZero() {
				return -1
			}
			return 1
		}
		return cmp.Or(b.Until.Compare(a.Until), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(f.User.Holds, func(a, b policy.Hold) int { return cmp.Compare(a.ID, b.ID) })
}

// CredentialOf reads a credential: A kind, B user, C streams, D addresses, Yes revoked, Also publish, T1 from, T2 until.
func CredentialOf(r *FactsRow) (policy.Credential, error) {
	streams, err := DecodeList[string](r.C)
	if err != nil {
		return policy.Credential{}, err
	}
	c := policy.Credential{ID: r.ID, Kind: policy.CredentialKind(r.A), User: r.B, Streams: streams, From: r.T1.Time,
		Until: r.T2.Time, Revoked: r.Yes, Publish: r.Also}
	c.Addresses, err = DecodeList[netip.Prefix](r.D)
	return c, err
}

// EntitlementOf reads an entitlement: A plan, B stream, C tag, D source, T1 from, T2 until, T3 grace.
func EntitlementOf(r *FactsRow) policy.Entitlement {
	return policy.Entitlement{ID: r.ID, Plan: r.A, Stream: r.B, Tag: r.C, Source: r.D, From: r.T1.Time, Until: r.T2.Time,
		GraceFrom: r.T3.Time}
}

// HoldOf reads a hold: A kind, B ref, T1 from.
func HoldOf(r *FactsRow) policy.Hold {
	return policy.Hold{ID: r.ID, Kind: r.A, Ref: r.B, From: r.T1.Time}
}

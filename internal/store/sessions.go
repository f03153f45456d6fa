package store

import (
	"database/sql"
	"net/netip"
	"time"

	"authhook/internal/policy"
)

// What the texts of a session may measure, in bytes. Strangers write them, and one that cannot be stored must not hold
// up the batch it is in: longer ones are cut. MistServer's own are shorter.
const (
	maxNode   = 256
	maxStream = 1024
	maxWord   = 256
)

// maxLength bounds how long a session can have been, so that sums of it stay numbers.
const maxLength = 10 * 365 * 24 * time.Hour

// SessionKey names a session.
type SessionKey struct{ Node, ID string }

// SessionFilter picks sessions; an empty field picks all.
type SessionFilter struct {
	User, Stream, Node string
	State              policy.SessionState
	// After is the last session of the page before. Sessions come ordered by node and id.
	After SessionKey
	// Limit is how many sessions to return at most: 100 when zero, never more than [MaxPage].
	Limit int
}

// Clean brings a filter's limit into its bounds.
func (f SessionFilter) Clean() SessionFilter {
	switch {
	case f.Limit <= 0:
		f.Limit = 100
	case f.Limit > MaxPage:
		f.Limit = MaxPage
	}
	f.User, f.Stream, f.Node = clean(f.User, MaxUserID), clean(f.Stream, maxStream), clean(f.Node, maxNode)
	f.After = CleanKey(f.After)
	return f
}

// CleanKey makes of a session's name what it is stored under.
func CleanKey(k SessionKey) SessionKey {
	return SessionKey{clean(k.Node, maxNode), clean(k.ID, maxNode)}
}

// StoredSession is a session with what the store alone keeps of it.
type StoredSession struct {
	policy.Session
	// LastEnd is the last end that was counted, Counted how much was, and Guessed says that it was an estimated end. They
	// outlive the session's coming back.
	LastEnd time.Time
	Counted time.Duration
	Guessed bool
	// CountsFrom is since when it counts towards a quota, while it is open under a plan: since it was opened, or where that is
	// not known, since it was first decided about; and not before an end that was counted. Zero when it is not Metered.
	CountsFrom time.Time
}

// Usage is what a user watched in a month.
type Usage struct {
	User    string
	Month   time.Time
	Seconds int64
}

// SessionBatch folds the sessions of a batch into what is stored: what happens to one session within a batch becomes
// one row and one sum.
type SessionBatch struct {
	Keys   []SessionKey // in the order of their first appearance
	writes map[SessionKey][]policy.Session
}

// NewSessionBatch takes sessions in the order in which things happened to them. An end that has no time ended now.
func NewSessionBatch(sessions []policy.Session, now time.Time) *SessionBatch {
	b := &SessionBatch{writes: make(map[SessionKey][]policy.Session, len(sessions))}
	for _, s := range sessions {
		s = cleanSession(s)
		if s.State == policy.SessionEnded && s.Ended.IsZero() {
			s.Ended = now
		}
		k := SessionKey{s.Node, s.ID}
		if b.writes[k] == nil {
			b.Keys = append(b.Keys, k)
		}
		b.writes[k] = append(b.writes[k], s)
	}
	return b
}

// cleanSession makes a session that both databases can hold.
func cleanSession(s policy.Session) policy.Session {
	s.Node, s.ID, s.Instance = clean(s.Node, maxNode), clean(s.ID, maxNode), clean(s.Instance, maxWord)
	s.Stream, s.Connector = clean(s.Stream, maxStream), clean(s.Connector, maxWord)
	s.User, s.Plan = clean(s.User, MaxUserID), clean(s.Plan, maxKey)
	s.Duration = min(max(s.Duration, 0), maxLength).Truncate(time.Microsecond)
	s.Tags, s.Connectors = cleanList(s.Tags), cleanList(s.Connectors)
	for _, t := range [...]*time.Time{&s.Opened, &s.Decided, &s.Ended, &s.Until} {
		*t = clampTime(*t).UTC().Truncate(time.Microsecond)
	}
	return s
}

func cleanList(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = clean(s, maxText)
	}
	return out
}

// SessionRow is a session as its columns hold it, in the order of the tables' columns.
type SessionRow struct {
	StoredSession
	address, jwt, reason, tags, connectors string
	credential                             []byte
	duration                               int64
	counted                                sql.NullInt64
	opened, decided, ended, until, lastEnd Moment
	countsFrom                             Moment

	// The tags of the row before, which most rows share.
	tagsRead string
	tagList  []string
}

// Columns are where a driver scans a row to.
func (r *SessionRow) Columns() []any {
	return []any{&r.Node, &r.ID, &r.Instance, &r.State, &r.Stream, &r.address, &r.Connector, &r.User, &r.credential,
		&r.jwt, &r.reason, &r.Plan, &r.tags, &r.opened, &r.decided, &r.ended, &r.until, &r.duration, &r.BytesUp,
		&r.BytesDown, &r.connectors, &r.lastEnd, &r.counted, &r.Guessed, &r.countsFrom}
}

// Session is what a scanned row holds. Rows with the same tags, one after the other, share the list.
func (r *SessionRow) Session() (StoredSession, error) {
	s := r.StoredSession
	var err error
	if r.address != "" {
		if s.Address, err = netip.ParseAddr(r.address); err != nil {
			return s, err
		}
	}
	if s.JWT, err = DecodeClaims(r.jwt); err != nil {
		return s, err
	}
	if r.tags != r.tagsRead {
		if r.tagList, err = DecodeList[string](r.tags); err != nil {
			return s, err
		}
		r.tagsRead = r.tags
	}
	s.Tags = r.tagList
	if s.Connectors, err = DecodeList[string](r.connectors); err != nil {
		return s, err
	}
	s.Credential = policy.CredentialHash{}
	copy(s.Credential[:], r.credential)
	s.Reason, _ = policy.ParseReason(r.reason)
	s.Duration = time.Duration(r.duration) * time.Microsecond
	s.Opened, s.Decided, s.Ended, s.Until = r.opened.Time, r.decided.Time, r.ended.Time, r.until.Time
	s.LastEnd, s.Counted = r.lastEnd.Time, s.Duration
	if r.counted.Valid {
		s.Counted = time.Duration(r.counted.Int64) * time.Microsecond
	}
	s.CountsFrom = r.countsFrom.Time
	s.Metered = !s.CountsFrom.IsZero()
	s.Estimated = s.Guessed && s.State == policy.SessionEnded
	return s, nil
}

// AddressText is a session's address as it is stored: empty when it is not known.
func AddressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// HashBytes is a credential's hash as it is stored: nil (NULL) when there is none.
func HashBytes(h policy.CredentialHash) []byte {
	if h == (policy.CredentialHash{}) {
		return nil
	}
	return h[:]
}

package store

import (
	"slices"
	"time"

	"authhook/internal/policy"
)

// What the store makes of the words about a session.
//
// A session's id comes back with its viewer, so one row stands for several lives, one after the other: each from a decision
// to an end. An end is MistServer's own word, or the estimate of whoever saw the session vanish. MistServer's word says how
// long the life was, and its time is that of its arrival: some 15 s after the last byte, or later, or never. So it may come
// when an estimate stands already, and even when the next life has begun. Each life is counted once all the same, and as
// MistServer says where it does.
//
// For that the row remembers the last end that was counted, how much was, and whether it was an estimate. Whose end a late one
// is shows in its length: no life began before it was opened. Where the lives are shorter than what their ends are late, that
// cannot be told, and the end counts for the life that runs.

// endSlack is by how much MistServer's seconds may exceed the time since a session was opened: they are whole, and the
// session is there before its trigger is.
const endSlack = 2 * time.Second

// Folded is what becomes of a session.
type Folded struct {
	Row StoredSession
	// Watched is what was watched. It is negative where more was counted before than was true.
	Watched []Usage
	// Changed is false when there was nothing new.
	Changed bool
	// Placeless is when the session last ended or was denied: the place that it asked for by then is given up. A denied one
	// may hold a place all the same, when it was given while the answer could not wait for it. Zero when it did neither.
	Placeless time.Time

	known bool
	was   running // before the batch
}

// running is a session as the facts of its user have it among those that run; the zero value is one that does not.
type running struct {
	user string
	from time.Time
}

func (s *StoredSession) running() running {
	if s.State != policy.SessionOpen || s.Plan == "" || s.User == "" || s.CountsFrom.IsZero() {
		return running{}
	}
	return running{s.User, s.CountsFrom}
}

// Fold is what becomes of a session that stood as old, nil when it was not stored.
func (b *SessionBatch) Fold(k SessionKey, old *StoredSession) Folded {
	f := Folded{known: old != nil}
	if old != nil {
		f.Row, f.was = *old, old.running()
	}
	for _, s := range b.writes[k] {
		switch {
		case s.State != policy.SessionEnded:
			f.decided(s)
		case !f.known:
			f.end(s, s.Duration, false)
		case f.Row.State == policy.SessionEnded:
			f.endedAgain(s)
		case s.Estimated:
			f.vanished(s)
		default:
			f.ended(s)
		}
		f.known = true
	}
	return f
}

// decided takes a decision: all of it is new, except for when the session was first decided about, unless that life is over.
func (f *Folded) decided(s policy.Session) {
	r := &f.Row
	if s.State == policy.SessionDenied {
		f.placeless(s.Decided)
	}
	began := s.Opened
	if f.known && r.State != policy.SessionEnded && !otherProcess(r, &s) {
		if !r.Opened.IsZero() {
			s.Opened = r.Opened
		}
		f.countsFrom(s, r.State == s.State, began)
	} else {
		f.countsFrom(s, false, began)
	}
	r.Session, f.Changed = s, true
}

// countsFrom notes since when a session counts that was decided about. One that goes on as it stood keeps that moment. One
// that was denied before began with the decision: what its row says of its opening is when it was first denied.
func (f *Folded) countsFrom(s policy.Session, goesOn bool, began time.Time) {
	r := &f.Row
	if goesOn {
		began = s.Opened
	}
	switch {
	case !s.Metered:
		r.CountsFrom = time.Time{}
	case goesOn && !r.CountsFrom.IsZero():
	case began.IsZero():
		r.CountsFrom = later(s.Decided, r.LastEnd)
	default:
		r.CountsFrom = later(began, r.LastEnd)
	}
}

// vanished takes an estimated end of a session that was decided about since it last ended.
func (f *Folded) vanished(s policy.Session) {
	r := &f.Row
	length, again := f.estimate(s)
	if !s.Ended.Before(r.Opened) {
		f.end(s, length, again)
		return
	}
	if s.Ended.After(r.LastEnd) && !r.endedTruly(began(s)) {
		f.endBefore(s, length, again)
	}
}

// ended takes MistServer's word that a session is over that was decided about since it last ended.
func (f *Folded) ended(s policy.Session) {
	r := &f.Row
	guessed := r.Guessed && !s.Ended.Before(r.lastBegan())
	if !s.Ended.After(r.LastEnd) && !guessed {
		return // this very end, or a later one, was counted
	}
	// Where it was opened before it vanished, whoever thought so has taken it back: it is one life, to its true end.
	again := guessed && !r.Opened.IsZero() && !r.Opened.After(r.LastEnd)
	before := s.Ended.Before(r.Opened) || otherProcess(r, &s)
	if before || began(s).Before(r.Opened.Add(-endSlack)) {
		// It tells of the time before: of the life that ended last, which was counted as it was guessed or as this very word
		// said once already; or of one of which nobody knew; or this one is older than was known.
		again = again || guessed || r.endedTruly(began(s))
		before = before || again && s.Duration <= r.Opened.Sub(r.lastBegan())
	}
	if before {
		f.endBefore(s, s.Duration, again)
		return
	}
	f.end(s, s.Duration, again)
}

// endedAgain takes an end of a session that nobody decided about since it last ended.
func (f *Folded) endedAgain(s policy.Session) {
	r := &f.Row
	f.placeless(s.Ended)
	switch {
	case s.Estimated:
		if s.Ended.After(r.LastEnd) && !r.endedTruly(began(s)) {
			length, again := f.estimate(s) // it was seen for longer, or lived once more without our knowing
			f.end(s, length, again)
		}
	case r.Guessed:
		if !s.Ended.Before(r.lastBegan()) {
			f.end(s, s.Duration, true)
		}
	case !s.Ended.After(r.LastEnd), s.Duration == r.Duration && s.BytesUp == r.BytesUp && s.BytesDown == r.BytesDown:
		// This was told before.
	case r.endedTruly(began(s)):
		// It is of an earlier life than the one that ended last, and too late.
	default:
		f.end(s, s.Duration, false) // it lived once more without our knowing
	}
}

// estimate is how much an estimated end has to be counted for, and whether that includes what was counted last. What came
// before an end that was counted is counted.
func (f *Folded) estimate(s policy.Session) (length time.Duration, again bool) {
	r := &f.Row
	if r.LastEnd.IsZero() || !began(s).Before(r.LastEnd) {
		return s.Duration, false
	}
	length = max(s.Ended.Sub(r.LastEnd), 0)
	if r.Guessed {
		return r.Counted + length, true
	}
	return length, false
}

// end ends the session. The length is counted, instead of what was counted last where again says so. A session that was
// denied was not watched.
func (f *Folded) end(s policy.Session, length time.Duration, again bool) {
	r := &f.Row
	if r.State == policy.SessionDenied || r.notWatched() {
		length, again = 0, false
	}
	if again {
		f.count(r.LastEnd, -r.Counted)
	}
	r.Session, f.Changed = atEnd(r.Session, s, again), true
	f.count(s.Ended, length)
	r.LastEnd, r.Counted, r.Guessed = later(r.LastEnd, s.Ended), length, s.Estimated
	f.placeless(s.Ended)
}

// endBefore takes the end of a life before the one that runs, which goes on.
func (f *Folded) endBefore(s policy.Session, length time.Duration, again bool) {
	r := &f.Row
	if again {
		f.count(r.LastEnd, -r.Counted)
	}
	f.count(s.Ended, length)
	if !r.Opened.IsZero() && s.Ended.After(r.Opened) {
		s.Ended = r.Opened // it came late: this is when it was over at the latest
	}
	r.LastEnd, r.Counted, r.Guessed = later(r.LastEnd, s.Ended), length, s.Estimated
	f.Changed = true
}

// count counts what was watched up to a moment, each month (UTC) its part, or takes it back where the length is negative:
// only what a user watched under a plan.
func (f *Folded) count(until time.Time, length time.Duration) {
	if f.Row.User == "" || f.Row.Plan == "" {
		return
	}
	sign := int64(1)
	if length < 0 {
		sign, length = -1, -length
	}
	for left := int64(length.Round(time.Second) / time.Second); left > 0; {
		month := MonthOf(until.Add(-1))
		part := min(left, int64(until.Sub(month).Round(time.Second)/time.Second))
		f.add(Usage{f.Row.User, month, sign * part})
		left, until = left-part, month
	}
}

// add adds to what was watched in a month.
func (f *Folded) add(u Usage) {
	if u.Seconds == 0 {
		return
	}
	for i := range f.Watched {
		if w := &f.Watched[i]; w.User == u.User && w.Month.Equal(u.Month) {
			if w.Seconds += u.Seconds; w.Seconds == 0 {
				f.Watched = slices.Delete(f.Watched, i, i+1)
			}
			return
		}
	}
	f.Watched = append(f.Watched, u)
}

func (f *Folded) placeless(at time.Time) { f.Placeless = later(f.Placeless, at) }

// lastBegan is when the life that ended last began, as far as it was counted.
func (s *StoredSession) lastBegan() time.Time { return s.LastEnd.Add(-s.Counted) }

// endedTruly says whether what began at a moment ended, as MistServer itself said.
func (s *StoredSession) endedTruly(began time.Time) bool {
	return !s.Guessed && began.Before(s.LastEnd)
}

// notWatched says of a session that vanished that it was a denied one.
func (s *StoredSession) notWatched() bool {
	return s.Guessed && s.Counted == 0 && s.State == policy.SessionEnded && s.Duration > 0
}

// began is when a life began, going by its end.
func began(s policy.Session) time.Time { return s.Ended.Add(-s.Duration) }

// otherProcess says whether a session is one of another server process than the stored one: either restarted in between.
func otherProcess(r *StoredSession, s *policy.Session) bool {
	return r.Instance != "" && s.Instance != "" && r.Instance != s.Instance
}

// atEnd is a session after its end. An end knows little: what it does not say stays as it was.
func atEnd(was, s policy.Session, again bool) policy.Session {
	keep(&s.Instance, was.Instance)
	keep(&s.Stream, was.Stream)
	keep(&s.Address, was.Address)
	keep(&s.Connector, was.Connector)
	if s.User == "" { // who and by what belong together
		s.User, s.Credential, s.JWT = was.User, was.Credential, was.JWT
	}
	keep(&s.Credential, was.Credential)
	keep(&s.JWT, was.JWT)
	keep(&s.Reason, was.Reason)
	keep(&s.Plan, was.Plan)
	s.Metered = was.Metered
	if len(s.Tags) == 0 {
		s.Tags = was.Tags
	}
	if len(s.Connectors) == 0 {
		s.Connectors = was.Connectors
	}
	if !was.Opened.IsZero() && (again || was.State != policy.SessionEnded) {
		s.Opened = was.Opened
	}
	keep(&s.Opened, was.Opened)
	keep(&s.Decided, was.Decided)
	keep(&s.Until, was.Until)
	return s
}

// keep fills what is empty with what was known.
func keep[T comparable](v *T, was T) {
	if *v == *new(T) {
		*v = was
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

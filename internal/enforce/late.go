package enforce

import "time"

// lateness is how long a node's questions take from MistServer to here, beyond the least that they took lately: their own
// times tell, whatever the two clocks are apart. Where many are asked at once, or the machine is short of time, the question
// of a viewer who is back may be under way for seconds, and nobody here knows of it.
type lateness struct {
	span          time.Time     // when the present span began; zero: none did
	least, before time.Duration // the least in this span, and in the one before
	last          time.Time     // when a question last came late
}

const (
	// lateSpan is for how long the least is remembered: one span, up to two.
	lateSpan = time.Minute
	// lateBy is from what on a question comes late.
	lateBy = 250 * time.Millisecond
)

// note takes a question that came at a moment, and when MistServer says that it was asked; zero: it does not say.
func (l *lateness) note(came, asked time.Time) {
	if asked.IsZero() {
		return
	}
	took := came.Sub(asked)
	switch {
	case l.span.IsZero():
		l.span, l.least, l.before = came, took, took
	case came.Sub(l.span) >= lateSpan:
		l.span, l.least, l.before = came, took, l.least
	default:
		l.least = min(l.least, took)
	}
	if took-min(l.least, l.before) > lateBy {
		l.last = came
	}
}

const (
	// longestAsk is how long a question waits for its answer at most: MistServer tries for five times 5 s.
	longestAsk = 25 * time.Second
	// longestLate is for how long nothing is repeated because questions come late.
	longestLate = time.Minute
)

// Asks takes word that MistServer asks about a session anew, which is to be decided about: what ran under its id, or was
// remembered as denied, is over. No command that was for that is to meet what follows. It is called with every question, and
// costs next to nothing where no command is under way.
//
// It says whether this is the question whose answer is waited for: then Answered is to be called. A further attempt of one that
// has no answer yet is not.
func (e *Enforcer) Asks(nodeName, id string) (awaited bool) {
	if e.errands.Load() == 0 {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s, now := e.onErrand(nodeName, id), momentOf(time.Now())
	if s == nil || s.errand.asked != 0 && now.before(s.errand.asked.add(longestAsk)) {
		return false
	}
	s.errand.asked = now
	return true
}

// Answered takes word that the question has its answer. Where that was recorded it is known already; but it may be one that was
// given before, to an earlier attempt, or none.
func (e *Enforcer) Answered(nodeName, id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.onErrand(nodeName, id); s != nil {
		e.unasked(s)
	}
}

// onErrand is a session of which something is wanted; nil: nothing is. The caller holds the lock.
func (e *Enforcer) onErrand(nodeName, id string) *session {
	if n := e.nodes[nodeName]; n != nil {
		if s := n.sessions[id]; s != nil && s.errand != nil {
			return s
		}
	}
	return nil
}

// unasked notes that no question about a session waits for its answer: what was put off for one is due. The caller holds the
// lock.
func (e *Enforcer) unasked(s *session) {
	x := s.errand
	if x == nil || x.asked == 0 {
		return
	}
	if x.retry == x.asked.add(longestAsk) {
		x.retry = momentOf(time.Now())
		e.schedule(s)
	}
	x.asked = 0
}

// backUntil says until when what was told of a session is not told again, since its player is back, or may be: its question has
// come, or others of its node come late, so that it may be on its way. A repetition would end what is let in meanwhile. Zero:
// it is told again. The caller holds the lock.
func (e *Enforcer) backUntil(s *session, now time.Time) moment {
	x, at := s.errand, momentOf(now)
	if until := x.asked.add(longestAsk); x.asked != 0 && at.before(until) {
		return until
	}
	if x.want == revoked || x.want == dismissed || !s.heard() || s.node.late.last.IsZero() {
		return 0
	}
	until := momentOf(s.node.late.last).add(e.o.RepeatAfter)
	if at.before(until) && now.Sub(x.sent) < longestLate {
		return until
	}
	return 0
}

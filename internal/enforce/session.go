package enforce

import (
	"reflect"
	"slices"
	"time"
	"unique"

	"authhook/internal/policy"
)

// session is one session of a node: what was decided about it, and what MistServer is being brought to.
type session struct {
	policy.Session
	node *node

	errand *errand // nil: nothing is wanted

	listed  moment   // when the node last listed it; zero: not in this life
	missing moment   // since when the node's list lacks it; zero: it does not, or was never looked at
	tagged  []string // the tags that MistServer was told of
	placed  moment   // until when its place under its plan's limit is known to be held
	written moment   // when it was last given to the writer as it is; zero: it is to be written with the next decision
	number  uint64   // of the last reconsideration that counts: what was begun before is out of date
	queued  bool     // it waits to be decided about again
	// placeDue says that whether it has its place is in question too.
	placeDue bool
	// lateKnown says that it ran when it was first heard of, nobody knows since when.
	lateKnown bool
	look      moment // when it is to be decided about again, for other reasons than a fact's time; zero: never

	due   moment // when the clock comes to it; zero: never
	index int    // in the clock's heap; -1: not there

	byUser, byPresented, byStream, byDenial link
}

// want is what a session is to be brought to by commands.
type want uint8

const (
	// settled: nothing is wanted.
	settled want = iota
	// revoked: it runs and may no longer.
	revoked
	// unlocked: it is remembered as denied and may watch now.
	unlocked
	// bounced: its player is to come back, on another rendition.
	bounced
	// dismissed: somebody ended it by hand. Its player may come back.
	dismissed
)

// String is the want's word in logs and metrics.
func (w want) String() string {
	return [...]string{"settled", "revoke", "unlock", "bounce", "end"}[w]
}

// errand is what MistServer is to bring about for a session.
type errand struct {
	want  want
	since time.Time // when what made it wanted happened
	sent  time.Time // when MistServer was first told; zero: not yet
	tries int
	retry moment // when MistServer is told again, unless what is wanted has come about
	// received says that MistServer said so, which means no more than that.
	received bool
	byStream bool // it was told by being told to ask about the whole stream
	// anyway says that it is wanted whatever the facts say: only the viewer's asking again can tell.
	anyway bool
	left   moment // when MistServer was last told, the queue's own repetitions aside; zero: not yet
	asked  moment // when a question came that has no answer yet, of the life that follows; zero: none did
}

// pursue has something be wanted of a session; nil: nothing is, any more.
func (s *session) pursue(x *errand) {
	switch errands := &s.node.e.errands; {
	case s.errand == nil && x != nil:
		errands.Add(1)
		s.node.pending++
	case s.errand != nil && x == nil:
		errands.Add(-1)
		s.node.pending--
	}
	s.errand = x
}

// wants is what is wanted of a session.
func (s *session) wants() want {
	if s.errand == nil {
		return settled
	}
	return s.errand.want
}

// begun says whether MistServer was told of what is wanted.
func (s *session) begun() bool { return s.errand != nil && !s.errand.sent.IsZero() }

// heard says whether MistServer is known to have received what was told of the session. While it is not, nobody can be back.
func (s *session) heard() bool {
	x := s.errand
	return x != nil && (x.received || x.byStream && s.node.reasked[s.Stream].received)
}

// moment is a time on the monotonic clock, in a third of time.Time's memory: since just before the process began. Zero
// is none.
type moment time.Duration

var start = time.Now().Add(-time.Second)

func momentOf(t time.Time) moment {
	if t.IsZero() {
		return 0
	}
	return moment(max(t.Sub(start), 1))
}

func (m moment) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return start.Add(time.Duration(m))
}

func (m moment) add(d time.Duration) moment { return m + moment(d) }

// before says whether m is a moment before o, or there is no o.
func (m moment) before(o moment) bool { return m != 0 && (o == 0 || m < o) }

// lastSeen is when the session was last known to live.
func (s *session) lastSeen() time.Time {
	if s.listed != 0 {
		return s.listed.time()
	}
	return s.Decided
}

// rewriteAfter is how old the stored moment of a running session's last decision may become before one that changes nothing
// else is written too: after a start it stands for when the session was last seen.
const rewriteAfter = time.Minute

// keptAs says whether all that the store keeps of a running session is what is to be kept of a new decision about it, which does
// not open it, but for when that was made.
func (s *session) keptAs(decided *policy.Session) bool {
	return s.written != 0 && momentOf(decided.Decided) < s.written.add(rewriteAfter) &&
		s.Node == decided.Node && s.Instance == decided.Instance && s.State == decided.State && s.Stream == decided.Stream &&
		s.Address == decided.Address && s.Connector == decided.Connector && s.User == decided.User && s.Credential == decided.Credential &&
		(s.JWT == decided.JWT || reflect.DeepEqual(s.JWT, decided.JWT)) && s.Reason == decided.Reason && s.Plan == decided.Plan &&
		slices.Equal(s.Tags, decided.Tags) && s.Until.Equal(decided.Until) && s.Metered == decided.Metered
}

// who is the user that a session's facts hang on; empty when nobody is known.
func (s *session) who() string {
	if s.User == "" && s.JWT != nil {
		return s.JWT.User
	}
	return s.User
}

// presented is the hash under which the session's credential is looked up: of the key, or of the address where nothing
// was presented, since the address may be bound to a user tomorrow.
func (s *session) presented() policy.CredentialHash {
	switch {
	case s.JWT != nil:
		return policy.CredentialHash{}
	case s.Credential == policy.CredentialHash{} && s.Address.IsValid():
		return policy.HashAddress(s.Address)
	}
	return s.Credential
}

// intern lets sessions share the texts that many of them have.
func intern(s *policy.Session) {
	for _, text := range [...]*string{&s.Node, &s.Instance, &s.Stream, &s.Connector, &s.User, &s.Plan} {
		*text = intern1(*text)
	}
}

// intern1 is the one copy of a text that many have, which shares no memory with what it came in.
func intern1(text string) string { return unique.Make(text).Value() }

// link is a session's place in one chain.
type link struct{ prev, next *session }

// chain is a list of sessions, the oldest first, with no memory of its own.
type chain struct {
	first, last *session
	link        func(*session) *link
}

func (c *chain) add(s *session) {
	l := c.link(s)
	l.prev, l.next = c.last, nil
	if c.last == nil {
		c.first = s
	} else {
		c.link(c.last).next = s
	}
	c.last = s
}

func (c *chain) remove(s *session) {
	l := c.link(s)
	if l.prev == nil {
		c.first = l.next
	} else {
		c.link(l.prev).next = l.next
	}
	if l.next == nil {
		c.last = l.prev
	} else {
		c.link(l.next).prev = l.prev
	}
	*l = link{}
}

// chains are the lists of sessions that have something in common.
type chains[K comparable] struct {
	of   map[K]*chain
	link func(*session) *link
	none K // sessions with it are in no chain
}

func newChains[K comparable](link func(*session) *link) *chains[K] {
	return &chains[K]{of: make(map[K]*chain), link: link}
}

func (c *chains[K]) add(k K, s *session) {
	if k == c.none {
		return
	}
	list := c.of[k]
	if list == nil {
		list = &chain{link: c.link}
		c.of[k] = list
	}
	list.add(s)
}

func (c *chains[K]) remove(k K, s *session) {
	if list := c.of[k]; list != nil {
		list.remove(s)
		if list.first == nil {
			delete(c.of, k)
		}
	}
}

// all are the sessions of one chain. The chain must not change meanwhile.
func (c *chains[K]) all(k K) func(yield func(*session) bool) {
	return func(yield func(*session) bool) {
		list := c.of[k]
		if list == nil {
			return
		}
		for s := list.first; s != nil; s = c.link(s).next {
			if !yield(s) {
				return
			}
		}
	}
}

package enforce

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"authhook/internal/mist/api"
	"authhook/internal/policy"
)

// Store is what the enforcer needs of the place where facts live.
type Store interface {
	SessionWriter
	policy.Leases
	// HeldSessions reads the open sessions of a node, and those denied since a moment.
	HeldSessions(ctx context.Context, node string, deniedSince time.Time, each func(policy.Session) error) error
	// RenewLeases keeps the places of a node's sessions until a moment, and returns the sessions that have none.
	RenewLeases(ctx context.Context, node string, places []policy.Place, until time.Time) (lost []string, err error)
}

// Decider decides again about sessions.
type Decider interface {
	Reconsider(context.Context, *policy.Session) (policy.Verdict, error)
	Catalog() *policy.Catalog
}

// Node is a MistServer whose sessions are to be held to their decisions.
type Node struct {
	// Name is the server's configured name, as its triggers carry it. Empty: it is asked for it, else its first trigger
	// tells. Only one may be empty.
	Name string
	API  *api.Client
}

// Options are the settings of an Enforcer. Those left zero have the default named.
type Options struct {
	Nodes []Node
	// DefaultNode names a MistServer that has no name.
	DefaultNode string
	// SweepEvery is how often everything is looked at: 5 s.
	SweepEvery time.Duration
	// LookEvery is how often a node's list is looked at while something is to be confirmed: 300 ms. The list itself is a
	// second behind.
	LookEvery time.Duration
	// RepeatAfter is how long a command is given to show its effect: 2.5 s, as a session takes up to 1.03 s to end and the
	// list another second to tell. Each repetition waits twice as long, up to 20 s.
	RepeatAfter time.Duration
	// SettledAfter is how old a session must be before its absence from the list means anything: 3 s. It is listed 0.6 to
	// 1.0 s after it starts.
	SettledAfter time.Duration
	// VanishedAfter is how long a session may be missing from the list before it is over without a USER_END, and its place
	// free: 30 s. A USER_END comes up to 15 s after the last byte.
	VanishedAfter time.Duration
	// DenialsKept is how long a denial is remembered for unlocking: 15 min. MistServer remembers it for 600 s.
	DenialsKept time.Duration
	// MostDenials bounds the remembered denials, which strangers make: 100,000. The oldest are forgotten first.
	MostDenials int
	// LeaseFor is how long a place is kept when nobody renews it, RenewEvery how often they are renewed: 30 s and 10 s.
	LeaseFor, RenewEvery time.Duration
	// KickedFor is how long a session that lost its place to a newer one may not take another's, since it last tried: 15 min.
	// Its player comes back by itself, and the two would throw each other out for ever. MistServer asks every 600 s.
	KickedFor time.Duration
	// ByIDAtMost is up to how many changed verdicts of one stream are acted on by session; beyond that the whole stream is
	// asked about again: 300.
	ByIDAtMost int
	// ReaskRate is how many sessions a second are asked about again, when nothing is urgent: 2,000.
	ReaskRate int
	Log       *slog.Logger
	Metrics   *Metrics
}

func (o Options) withDefaults() Options {
	duration := func(d *time.Duration, or time.Duration) {
		if *d == 0 {
			*d = or
		}
	}
	number := func(n *int, or int) {
		if *n == 0 {
			*n = or
		}
	}
	duration(&o.SweepEvery, 5*time.Second)
	duration(&o.LookEvery, 300*time.Millisecond)
	duration(&o.RepeatAfter, 2500*time.Millisecond)
	duration(&o.SettledAfter, 3*time.Second)
	duration(&o.VanishedAfter, 30*time.Second)
	duration(&o.DenialsKept, 15*time.Minute)
	duration(&o.LeaseFor, 30*time.Second)
	duration(&o.RenewEvery, 10*time.Second)
	duration(&o.KickedFor, 15*time.Minute)
	number(&o.MostDenials, 100_000)
	number(&o.ByIDAtMost, 300)
	number(&o.ReaskRate, 2000)
	if o.DefaultNode == "" {
		o.DefaultNode = "mist"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	return o
}

// Enforcer holds the sessions of its nodes to the decisions about them.
type Enforcer struct {
	o       Options
	log     *slog.Logger
	store   Store
	writer  *Writer
	metrics *Metrics
	decider Decider      // set by Run
	errands atomic.Int64 // of all sessions

	mu          sync.Mutex
	nodes       map[string]*node // by each name that it is known under
	all         []*node
	unnamed     *node // the one whose name is not known yet
	byUser      *chains[string]
	byPresented *chains[policy.CredentialHash]
	denials     chain
	denied      int
	clock       clock
	number      uint64        // of the last reconsideration that was begun
	changed     time.Time     // when facts were last known to change
	queue       []job         // sessions that wait to be decided about again
	shift       time.Duration // by how much the wall clock was set since the start
	renewed     time.Time     // when all places were last renewed
	unrenewed   struct {      // that they last could not be, and why: nil once they were
		at  time.Time
		err error
	}
	renewing chan struct{} // holds a token while places are renewed
	recalled chan struct{} // closed once the sessions from before are known
	running  bool

	clockWoken, queueWoken chan struct{}
}

// NewEnforcer makes an enforcer. It remembers what it is told, and acts once it runs.
func NewEnforcer(store Store, o Options) *Enforcer {
	o = o.withDefaults()
	e := &Enforcer{
		o: o, log: o.Log, store: store, writer: NewWriter(store, o.Log), metrics: o.Metrics,
		nodes:       make(map[string]*node),
		byUser:      newChains[string](func(s *session) *link { return &s.byUser }),
		byPresented: newChains[policy.CredentialHash](func(s *session) *link { return &s.byPresented }),
		denials:     chain{link: func(s *session) *link { return &s.byDenial }},
		clockWoken:  make(chan struct{}, 1), queueWoken: make(chan struct{}, 1), recalled: make(chan struct{}), renewing: make(chan struct{}, 1),
	}
	for _, n := range o.Nodes {
		name := n.Name
		if name == "" {
			name = o.DefaultNode
		}
		held := e.addNode(name, n.API)
		if held.configured = n.Name; n.Name == "" {
			e.unnamed = held
		}
	}
	e.metrics.watch(e)
	return e
}

// Writer is what writes sessions to the store. It runs apart from the enforcer, which it must outlive.
func (e *Enforcer) Writer() *Writer { return e.writer }

// Run holds sessions to their decisions until the context ends. First it learns from the store which sessions there were.
func (e *Enforcer) Run(ctx context.Context, d Decider) error {
	e.mu.Lock()
	e.decider = d
	var nodes []*node
	for _, n := range e.all {
		if n.api != nil {
			nodes = append(nodes, n)
		}
	}
	e.mu.Unlock()
	for _, n := range nodes {
		e.learnName(ctx, n)
		e.recall(ctx, n)
	}
	if ctx.Err() != nil {
		return nil
	}
	e.mu.Lock()
	e.running = true
	close(e.recalled)
	e.wakeQueue()
	e.mu.Unlock()

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { e.tick(ctx); return nil })
	group.Go(func() error { e.settleQueue(ctx); return nil })
	group.Go(func() error { e.keepPlaces(ctx); return nil })
	for _, n := range nodes {
		group.Go(func() error { return ended(ctx, n.commands.Run(ctx)) })
		group.Go(func() error { e.watch(ctx, n); return nil })
		group.Go(func() error { e.tend(ctx, n); return nil })
		group.Go(func() error { n.ask(ctx); return nil })
	}
	return group.Wait()
}

// ended says that ending with the context is no error.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// recall reads the sessions of a node from the store. What was decided about since the start is newer.
func (e *Enforcer) recall(ctx context.Context, n *node) {
	const retryAtMost = 5 * time.Second
	e.mu.Lock()
	name := n.name
	n.recall = false
	e.mu.Unlock()
	if name == "" {
		return
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, retryAtMost) {
		now := time.Now()
		count := 0
		err := e.store.HeldSessions(ctx, name, now.Add(-e.o.DenialsKept), func(s policy.Session) error {
			count++
			e.mu.Lock()
			defer e.mu.Unlock()
			if n.sessions[s.ID] != nil {
				return nil
			}
			if s.Reason == policy.ConcurrencyLimit && now.Sub(s.Decided) < e.o.KickedFor {
				n.kicked[s.ID] = s.Decided
			}
			e.reconsider(e.insert(n, s), now)
			if e.denied > e.o.MostDenials {
				e.forget(e.denials.first)
			}
			return nil
		})
		switch {
		case err == nil:
			e.log.Info("sessions known from before", "node", name, "sessions", count)
			return
		case ctx.Err() != nil:
			return
		}
		e.log.Warn("the sessions from before cannot be read yet, will try again", "node", name, "error", err, "in", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// Record takes what became of a session, as a trigger told it: decided about, or ended. It does not wait, and keeps copies of
// the texts that it needs.
func (e *Enforcer) Record(s *policy.Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodeOf(s.Node)
	e.noticeInstance(n, s.Instance)
	if s.State == policy.SessionEnded {
		e.recordEnd(n, *s)
		return
	}
	n.late.note(s.Opened, s.Told)
	if known := n.sessions[s.ID]; known == nil || !e.recordSame(known, s) {
		e.recordDecision(n, known, *s)
	}
}

// recordSame remembers a decision about a session that runs, where it is the one that stands: most are. It says whether it is.
// The caller holds the lock.
func (e *Enforcer) recordSame(s *session, decided *policy.Session) bool {
	if !decided.Rerun || decided.State != policy.SessionOpen || s.errand != nil || !e.changed.Before(decided.Opened) || !s.keptAs(decided) {
		return false
	}
	if decided.Reason == policy.Unavailable {
		return false // it rests on no facts: what is being found out is none the older for it
	}
	s.Decided, s.PreviewFrom, s.Rerun = decided.Decided, decided.PreviewFrom, true
	e.number++
	s.number = e.number
	s.node.wakeToTag(s)
	return true
}

// recordDecision remembers a decision about a session; nil: about one that is not known yet. The caller holds the lock.
func (e *Enforcer) recordDecision(n *node, s *session, decided policy.Session) {
	intern(&decided)
	began := decided.Opened
	kept := false // the store has it so already
	switch {
	case s == nil:
		decided.ID = strings.Clone(decided.ID)
		if decided.Rerun && decided.State == policy.SessionOpen {
			decided.Opened = time.Time{} // it ran before anybody here knew
		}
		s = e.insert(n, decided)
		s.lateKnown = decided.Rerun && decided.State == policy.SessionOpen
	case decided.Reason == policy.Unavailable && decided.State == policy.SessionOpen && s.State == policy.SessionOpen:
		// It runs and nothing could be found out: what was known of it stands.
		s.Decided = decided.Decided
		e.unasked(s)
		return
	default:
		if decided.JWT == nil && decided.Reason == policy.Unavailable { // the same id has the same token
			decided.JWT = s.JWT
		}
		switch {
		case s.State != policy.SessionOpen:
		case !decided.Rerun: // what ran under this id is over, and its USER_END late or lost
			e.writer.Record(endOf(s, s.lastSeen()))
		case decided.State == policy.SessionDenied: // it is cut within a second, and remembered as denied
			e.writer.Record(endOf(s, decided.Decided))
		default:
			kept = s.keptAs(&decided)
			decided.Opened, decided.Told = s.Opened, s.Told
		}
		decided.ID = s.ID
		e.answered(s, &decided)
		e.replace(s, decided)
	}
	if s.State == policy.SessionDenied && e.denied > e.o.MostDenials {
		e.forget(e.denials.first)
	}
	if !kept {
		s.written = momentOf(decided.Decided)
		e.writer.Record(s.Session)
	}
	if !e.changed.Before(began) { // the decision may rest on facts from before the change
		e.reconsider(s, e.changed)
	}
	n.wakeToTag(s)
}

// answered notes what it means for what is wanted that MistServer asked about a session. The caller holds the lock.
func (e *Enforcer) answered(s *session, decided *policy.Session) {
	again := !decided.Rerun // a first ask: what ran under this id is over
	switch s.wants() {
	case revoked:
		if !again && decided.State == policy.SessionDenied {
			return // it is cut within a second: the list will tell
		}
		e.cameAbout(s, again && s.begun())
	case unlocked:
		e.cameAbout(s, s.begun())
	case bounced, dismissed:
		if again {
			e.cameAbout(s, s.begun())
		}
	}
	if again {
		s.listed, s.missing, s.tagged, s.placed, s.lateKnown = 0, 0, nil, 0, false
	}
}

// recordEnd remembers that a session is over. The caller holds the lock.
func (e *Enforcer) recordEnd(n *node, end policy.Session) {
	intern(&end)
	s := n.sessions[end.ID]
	if s == nil {
		end.ID = strings.Clone(end.ID)
		e.writer.Record(end)
		return
	}
	end.ID = s.ID
	if s.lateKnown && s.State == policy.SessionOpen {
		end.Opened = end.Ended.Add(-end.Duration) // only now it is known
	} else if ofEarlierLife(s, &end) {
		// It was stopped, and its player was back before its USER_END came. What it watched counts; the life that runs goes on,
		// and so does a denial.
		if !end.NeverRan {
			if over := s.Opened.Add(-time.Microsecond); !s.Opened.IsZero() && over.Before(end.Ended) {
				end.Ended = over // when it came says nothing of when it was
			}
			e.writer.Record(end)
			s.written = 0 // the store may take it for the end of the life that runs
		}
		return
	}
	if s.errand != nil {
		e.cameAbout(s, s.begun())
	}
	e.writer.Record(end)
	e.drop(s)
}

// ofEarlierLife says whether an end is of an earlier life of a session than the one that is known. MistServer's own time
// tells, where it says; else how long the life was: none began before it was opened. The end of a denial has a form of its
// own, which is also that of a session that was gone within its first second.
func ofEarlierLife(s *session, end *policy.Session) bool {
	if s.State == policy.SessionDenied && !end.NeverRan {
		return true
	}
	if !end.Told.IsZero() && !s.Told.IsZero() {
		return end.Told.Before(s.Told)
	}
	return s.State == policy.SessionOpen && s.Opened.After(end.Ended.Add(endSlack-end.Duration))
}

// endOf is the end of a session that nobody told of, as far as it is known.
func endOf(s *session, at time.Time) policy.Session {
	opened := s.Opened
	if opened.IsZero() {
		opened = s.Decided
	}
	return policy.Session{
		Node: s.Node, ID: s.ID, Instance: s.Instance, State: policy.SessionEnded, Ended: at,
		Duration: max(at.Sub(opened), 0), Estimated: true,
	}
}

// endSlack is by how much an end's seconds may be wrong: they are whole, and a session is there before its trigger is.
const endSlack = 2 * time.Second

// drop forgets a session that is over. Who was denied for want of its place may have it. The caller holds the lock.
func (e *Enforcer) drop(s *session) {
	user, plan, open := s.who(), s.Plan, s.State == policy.SessionOpen
	e.forget(s)
	if !open || user == "" || plan == "" {
		return
	}
	now := time.Now()
	for other := range e.byUser.all(user) {
		if other.State == policy.SessionDenied && other.Reason == policy.ConcurrencyLimit {
			other.look = momentOf(now).add(4 * WriteEvery) // the place is free once the end is written
			e.schedule(other)
		}
	}
}

// insert adds a session. The caller holds the lock.
func (e *Enforcer) insert(n *node, decided policy.Session) *session {
	intern(&decided)
	s := &session{Session: decided, node: n, index: -1}
	n.sessions[s.ID] = s
	e.index(s)
	e.schedule(s)
	return s
}

// replace puts a new decision in the place of a session's old one. The caller holds the lock.
func (e *Enforcer) replace(s *session, decided policy.Session) {
	e.unindex(s)
	s.Session = decided
	e.number++
	s.number = e.number
	e.index(s)
	e.schedule(s)
}

// forget removes a session from memory. The caller holds the lock.
func (e *Enforcer) forget(s *session) {
	e.unindex(s)
	s.pursue(nil)
	s.State, s.Until, s.look = policy.SessionEnded, time.Time{}, 0
	e.schedule(s)
	delete(s.node.sessions, s.ID)
}

func (e *Enforcer) index(s *session) {
	e.byUser.add(s.who(), s)
	e.byPresented.add(s.presented(), s)
	s.node.byStream.add(s.Stream, s)
	if s.State == policy.SessionDenied {
		e.denials.add(s)
		e.denied++
		s.node.denied++
	} else {
		s.node.open++
	}
}

func (e *Enforcer) unindex(s *session) {
	e.byUser.remove(s.who(), s)
	e.byPresented.remove(s.presented(), s)
	s.node.byStream.remove(s.Stream, s)
	if s.State == policy.SessionDenied {
		e.denials.remove(s)
		e.denied--
		s.node.denied--
	} else {
		s.node.open--
	}
}

// amend changes what is known of a session by way of its fields that it is found under. The caller holds the lock.
func (e *Enforcer) amend(s *session, change func()) {
	e.unindex(s)
	change()
	e.index(s)
}

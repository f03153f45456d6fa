package enforce

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"authhook/internal/mist/api"
	"authhook/internal/policy"
)

// node is one MistServer and its sessions. The enforcer's lock guards it.
type node struct {
	name       string // it may be known under others
	configured string // what --mist calls it; empty: nothing
	nameDue    bool   // it is to be asked what it calls itself
	e          *Enforcer
	api        *api.Client // nil: it is only heard of, and nothing can be told to it
	commands   *api.Queue
	recall     bool // its name came to be known: the store may know sessions of that name

	sessions     map[string]*session
	byStream     *chains[string]
	open, denied int
	pending      int // those of which something is wanted

	instance string   // the server process
	earlier  []string // those before it

	strangers map[string]*stranger // live sessions that nobody decided about
	asks      map[string]*asked    // by stream: how asking about it went
	kicked    map[string]time.Time // when sessions lost their place to a newer one

	undeliveredAt time.Time // when it was last said that commands do not arrive

	looked   time.Time // when its list was last read
	lookSoon bool      // something is to be confirmed
	tagSoon  bool      // sessions wait to be listed, for their tags
	failing  bool      // its list could not be read
	lookWake chan struct{}
	late     lateness // of its questions

	asking  map[string]waiting // streams to be asked about, when there is time
	order   []string           // the same in their order
	askWake chan struct{}
	hurry   chan struct{}    // something urgent is to be asked about
	reasked map[string]reask // by stream: how MistServer was last told to ask about its sessions
	lifted  bool             // denials from before the start have been lifted

	streamTags map[string][]string // what its streams were tagged with by us
	viewers    map[string]int      // of its active streams, when last read
	unguarded  int                 // live sessions that stayed strangers
}

// stranger is a live session that nobody decided about.
type stranger struct {
	stream        string
	since, listed time.Time // when it was first and last seen
}

// waiting is how a stream waits to be asked about.
type waiting struct {
	since  time.Time
	urgent bool // also while the answers of the last time may be under way
}

// reask is one telling of MistServer to ask about a stream's sessions.
type reask struct {
	at       time.Time
	received bool // MistServer said so
}

// asked is how asking about a stream's strangers went.
type asked struct {
	at    time.Time // when MistServer was last told to; zero: not yet
	tries int
}

// maxNodes bounds the nodes that are only heard of: their names come with the triggers.
const maxNodes = 1000

// addNode adds a node. The caller holds the lock, or nobody else knows the enforcer yet.
func (e *Enforcer) addNode(name string, client *api.Client) *node {
	n := &node{
		name: name, e: e, api: client,
		sessions: make(map[string]*session), byStream: newChains[string](func(s *session) *link { return &s.byStream }),
		strangers: make(map[string]*stranger), asks: make(map[string]*asked), kicked: make(map[string]time.Time),
		lookWake: make(chan struct{}, 1), asking: make(map[string]waiting), askWake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), reasked: make(map[string]reask),
		streamTags: make(map[string][]string), viewers: make(map[string]int),
	}
	if client != nil {
		n.commands = client.NewQueue(api.QueueOptions{Wanted: n.wanted, Sent: n.sent, Received: n.received, Failed: n.undelivered})
	}
	e.nodes[name] = n
	e.all = append(e.all, n)
	return n
}

// nodeOf is the node of a name. A name that nobody knows may be that of a MistServer which is configured here under another:
// each is asked what it calls itself. The caller holds the lock.
func (e *Enforcer) nodeOf(name string) *node {
	if n := e.nodes[name]; n != nil {
		return n
	}
	name = intern1(name) // it is part of what was sent
	if e.unnamed != nil {
		n := e.unnamed
		e.unnamed = nil
		e.call(n, name)
		return n
	}
	if len(e.nodes) >= maxNodes {
		name = "other"
		if n := e.nodes[name]; n != nil {
			return n
		}
	}
	n := e.addNode(name, nil)
	for _, held := range e.all {
		if held.api != nil {
			held.nameDue = true
			held.wakeToLook()
		}
	}
	return n
}

// call has a MistServer known by a name that it goes by. What was heard of under that name is its own. The caller holds the
// lock.
func (e *Enforcer) call(n *node, name string) {
	other := e.nodes[name]
	if other == n {
		return
	}
	if other != nil && other.api != nil {
		e.log.Error("two MistServers go by one name: give each its own, or their sessions are taken for each other's", "node", name)
		return
	}
	e.log.Info("this MistServer's name is known now", "node", name, "was", n.name)
	e.nodes[name] = n
	n.name, n.recall = name, true
	n.wakeToLook()
	if other == nil {
		return
	}
	for id, s := range other.sessions {
		e.unindex(s)
		s.node = n
		if s.errand != nil {
			n.pending++
		}
		if n.sessions[id] == nil {
			n.sessions[id] = s
			e.index(s)
			continue
		}
		s.pursue(nil)
		s.State, s.Until, s.look = policy.SessionEnded, time.Time{}, 0
		e.schedule(s)
	}
	maps.Copy(n.kicked, other.kicked)
	if n.instance == "" {
		n.instance = other.instance
	}
	e.all = slices.DeleteFunc(e.all, func(x *node) bool { return x == other })
}

// learnTimeout bounds how long a MistServer's name is waited for.
const learnTimeout = 2 * time.Second

// learnName asks a MistServer what it calls itself: so its sessions are called, whatever it is called here.
func (e *Enforcer) learnName(ctx context.Context, n *node) {
	asking, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	config, err := n.api.Config(asking)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		n.nameDue = true
		e.log.Warn("MistServer cannot be asked for its name, will try again", "node", n.name, "error", err)
		return
	}
	n.nameDue = false
	if e.unnamed == n {
		e.unnamed = nil
	}
	name := cmp.Or(config.ServerName, e.o.DefaultNode)
	if name != n.name && n.configured != "" {
		e.log.Error("this MistServer calls itself otherwise than --mist does: its own name holds", "mist", n.configured, "node", name)
	}
	e.call(n, name)
}

// noticeInstance sees that a node restarted: the sessions of the process before are over. The caller holds the lock.
func (e *Enforcer) noticeInstance(n *node, instance string) {
	if instance == "" || instance == n.instance || slices.Contains(n.earlier, instance) {
		return
	}
	was := n.instance
	n.instance, n.late = intern1(instance), lateness{}
	if was != "" {
		n.earlier = append(n.earlier, was)
		if len(n.earlier) > 8 {
			n.earlier = n.earlier[1:]
		}
	}
	over := 0
	for _, s := range n.sessions {
		if s.Instance != instance && s.Instance != "" {
			e.vanished(s)
			over++
		}
	}
	if was != "" || over > 0 {
		e.log.Warn("MistServer restarted: its sessions are over", "node", n.name, "sessions", over)
		clear(n.strangers)
	}
}

// vanished ends a session whose end nobody told. The caller holds the lock.
func (e *Enforcer) vanished(s *session) {
	if s.State == policy.SessionOpen {
		e.writer.Record(endOf(s, s.lastSeen()))
	}
	e.drop(s)
}

// atFirst is in what part of RepeatAfter the queue may repeat a command that has no reply: a denial takes as long to be lifted, and
// nobody is back.
const atFirst = 5

// wanted says, right before a command leaves, whether it is still wanted.
func (n *node) wanted(c api.Command) bool {
	n.e.mu.Lock()
	defer n.e.mu.Unlock()
	switch c.Kind {
	case api.StopSession:
		s, now := n.sessions[c.Session], time.Now()
		if s == nil || s.errand == nil {
			return false
		}
		if x := s.errand; x.asked == 0 && x.left != 0 && now.Sub(x.left.time()) < n.e.o.RepeatAfter/atFirst {
			return true
		}
		return n.e.backUntil(s, now) == 0
	case api.TagSession:
		s := n.sessions[c.Session]
		return s != nil && s.State == policy.SessionOpen
	}
	return true
}

func (n *node) sent(c api.Command, at time.Time) {
	if c.Kind != api.StopSession {
		n.e.metrics.command(c.Kind)
		return
	}
	n.e.mu.Lock()
	defer n.e.mu.Unlock()
	if s := n.sessions[c.Session]; s != nil && s.errand != nil {
		n.e.sent(s, at)
		s.errand.left = momentOf(at)
	}
	n.e.metrics.command(c.Kind)
}

func (n *node) received(c api.Command, at time.Time) {
	n.e.mu.Lock()
	defer n.e.mu.Unlock()
	switch c.Kind {
	case api.StopSession:
		if s := n.sessions[c.Session]; s != nil && s.errand != nil && !s.errand.received {
			s.errand.received, s.errand.tries = true, 1 // those before this one reached nobody
		}
	case api.InvalidateStream:
		if r, ok := n.reasked[c.Stream]; ok {
			r.received = true
			n.reasked[c.Stream] = r
		}
		if a := n.asks[c.Stream]; a != nil {
			a.at = at
			a.tries++
		}
	}
}

// undelivered hears of a command that MistServer did not receive. Whatever it was for is still wanted, and comes again.
func (n *node) undelivered(c api.Command, err error) {
	n.e.metrics.undelivered(c.Kind)
	n.e.mu.Lock()
	defer n.e.mu.Unlock()
	if c.Kind == api.TagSession {
		if s := n.sessions[c.Session]; s != nil {
			s.tagged = slices.DeleteFunc(slices.Clone(s.tagged), func(tag string) bool { return tag == c.Tag })
		}
	}
	switch c.Kind {
	case api.TagStream:
		delete(n.streamTags, c.Stream)
	case api.InvalidateStream: // whom it was to reach nobody knows: it is asked about again
		delete(n.reasked, c.Stream)
		n.askLater(c.Stream)
	}
	if n.undeliveredAt.Before(time.Now().Add(-undeliveredEvery)) {
		n.undeliveredAt = time.Now()
		n.e.log.Error("MistServer does not receive commands: sessions are not ended or unlocked until it does", "node", n.name, "error", err)
	}
	n.e.log.Debug("MistServer did not receive a command", "node", n.name, "command", c.Kind.String(), "error", err)
}

// undeliveredEvery is how often it is said that commands do not arrive.
const undeliveredEvery = time.Minute

// wakeToLook has the node's list read soon. The caller holds the lock.
func (n *node) wakeToLook() {
	n.lookSoon = true
	select {
	case n.lookWake <- struct{}{}:
	default:
	}
}

// wakeToTag has the node's list read soon where a session has tags that MistServer was not told of. The caller holds the
// lock.
func (n *node) wakeToTag(s *session) {
	if n.commands == nil || s.State != policy.SessionOpen || len(s.Tags) == 0 || subset(s.Tags, s.tagged) {
		return
	}
	if s.listed != 0 {
		n.tag(s)
		return
	}
	n.tagSoon = true
	select {
	case n.lookWake <- struct{}{}:
	default:
	}
}

// tag tells MistServer of a listed session's tags. Before it is listed a tag would be dropped; and there is no way to take
// one away. The caller holds the lock.
func (n *node) tag(s *session) {
	for _, tag := range s.Tags {
		if !slices.Contains(s.tagged, tag) {
			n.commands.Add(api.Command{Kind: api.TagSession, Session: s.ID, Tag: tag})
		}
	}
	if len(s.tagged) == 0 {
		s.tagged = s.Tags // shared: most sessions never have others
		return
	}
	s.tagged = slices.Clone(s.tagged)
	for _, tag := range s.Tags {
		if !slices.Contains(s.tagged, tag) {
			s.tagged = append(s.tagged, tag)
		}
	}
}

func subset(part, of []string) bool {
	for _, x := range part {
		if !slices.Contains(of, x) {
			return false
		}
	}
	return true
}

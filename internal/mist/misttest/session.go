package misttest

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"authhook/internal/mist"
)

// session is what the real server runs a process of its own for. The server's lock guards all of it.
type session struct {
	server *Server
	id     string
	stream string
	first  *Player // who opened it: its parameters are what a re-run brings
	host   string
	token  string
	by     string // the connector that opened it
	url    string
	pid    int

	since     time.Time
	listed    time.Time // when it is listed and can be tagged; zero before it is open
	denied    time.Time // when its denial is forgotten; zero when it is not denied
	asking    bool      // a USER_NEW is under way
	again     bool      // it is to ask once more
	stopping  bool
	stopped   bool // it ends as soon as it is answered
	playedHLS bool

	connections []*Player
	active      time.Time // since when there is one
	ticks       time.Time // what its seconds are counted from
	seconds     int64
	bytesUp     int64
	connectors  []share
	hosts       []share
	streams     []share
	tags        []string
	ended       time.Time // when the last viewer left

	linger, memory, cutting *alarm
}

// share is what a connector, an address or a stream had of a session.
type share struct {
	name    string
	seconds int64
}

// bytesPerSecond is made up: about what USER_END.http has.
const bytesPerSecond = 65_964

// join brings a connection into the session of its id. Whatever joins one asks nothing: the session that a request for
// the player's information opens is the one that HLS then plays in (USER_NEW.info-request.http).
func (s *Server) join(p *Player) {
	if of := (idParts{s.config.mode, p.stream, p.key}); of != p.made {
		p.made = of
		p.id = mist.SessionID(s.config.mode, p.stream, p.viewer.Address, p.key, p.viewer.Connector)
	}
	one := s.sessions[p.id]
	if one == nil {
		one = s.open(p.id, p)
		one.enter(p)
		one.ask(false)
		return
	}
	p.session = one
	switch {
	case !one.denied.IsZero():
		p.refused(Event{}) // remembered: nobody is asked
	case one.asking && one.listed.IsZero():
		one.enter(p)
		if p.state != Connecting {
			p.become(Connecting)
		}
	default:
		one.enter(p)
		p.allowed("")
	}
}

func (s *Server) open(id string, p *Player) *session {
	one := &session{
		server: s, id: id, stream: p.stream, first: p, host: p.host(), token: p.key, by: p.viewer.Connector, url: p.url,
		pid: s.nextPID(), since: time.Now(),
	}
	s.sessions[id] = one
	s.streamOf(p.stream).sessions++
	return one
}

func (x *session) enter(p *Player) {
	p.session = x
	p.joined = time.Now()
	if len(x.connections) == 0 {
		x.active = p.joined
		x.server.cancel(x.linger)
	}
	x.connections = append(x.connections, p)
	x.playedHLS = x.playedHLS || p.viewer.Connector == "HLS"
}

// leave takes a connection out of the session, which stays a while without any: until its USER_END.
func (x *session) leave(p *Player) {
	i := slices.Index(x.connections, p)
	if i < 0 {
		return
	}
	x.connections = slices.Delete(x.connections, i, i+1)
	x.account(p)
	if len(x.connections) > 0 {
		return
	}
	now := time.Now()
	x.seconds += x.counted(x.active, now)
	x.bytesUp += int64(float64(x.ran(x.active, now)) / float64(max(x.server.timing.SessionTick, 1)) * bytesPerSecond)
	x.ended = now
	if !x.listed.IsZero() && x.denied.IsZero() && x.server.sessions[x.id] == x {
		x.linger = x.server.inProcess(x.server.timing.UserEnd.pick(x.server.random), x.end)
	}
}

// account gives a connection's seconds to what it used. HTTP, a request for information, counts as no connector
// (USER_END.two-connectors.http).
func (x *session) account(p *Player) {
	n := x.counted(p.joined, time.Now())
	if n == 0 {
		return
	}
	if p.viewer.Connector != "HTTP" {
		x.connectors = give(x.connectors, p.viewer.Connector, n)
	}
	x.hosts = give(x.hosts, p.host(), n)
	x.streams = give(x.streams, p.stream, n)
}

func give(all []share, name string, n int64) []share {
	for i := range all {
		if all[i].name == name {
			all[i].seconds += n
			return all
		}
	}
	return append(all, share{name, n})
}

// ran is how long the session ran, open, from one moment to another.
func (x *session) ran(from, to time.Time) time.Duration {
	if x.ticks.IsZero() || !to.After(x.ticks) {
		return 0
	}
	if from.Before(x.ticks) {
		from = x.ticks
	}
	return to.Sub(from)
}

// counted is how many of its seconds begin in a span. What is over before the first has begun was never there: such a
// session ends as a denied one does (source).
func (x *session) counted(from, to time.Time) int64 {
	tick := x.server.timing.SessionTick
	if tick <= 0 || x.ran(from, to) == 0 {
		return 0
	}
	before := int64(0)
	if from.After(x.ticks) {
		before = int64((from.Sub(x.ticks) + tick - 1) / tick)
	}
	return int64((to.Sub(x.ticks)+tick-1)/tick) - before
}

// ask fires the session's USER_NEW. The seventh line is there on the first ask only (USER_NEW.http,
// USER_NEW.rerun.http).
func (x *session) ask(rerun bool) {
	x.asking, x.again = true, false
	payload := lines(x.stream, x.host, x.token, x.by, x.url, x.id)
	if !rerun {
		payload += "\nfalse"
	}
	asked := x.server.fire(mist.TypeUserNew, x.stream, payload, x.pid, func(a answer) {
		if x.server.sessions[x.id] == x {
			x.answered(a.allow, rerun)
		}
	})
	if !asked {
		x.answered(true, rerun)
		return
	}
	for _, p := range x.connections {
		p.tell(Event{Kind: EventAsked, Trigger: mist.TypeUserNew, Rerun: rerun})
	}
}

func (x *session) answered(allow, rerun bool) {
	x.asking = false
	if x.stopped {
		x.end()
		return
	}
	if !allow {
		x.deny(rerun)
		return
	}
	if rerun {
		for _, p := range x.connections {
			p.tell(Event{Kind: EventAllowed, Trigger: mist.TypeUserNew, Rerun: true})
		}
	} else {
		x.start()
	}
	if x.again && x.server.sessions[x.id] == x {
		x.ask(true)
	}
}

// start lets everybody in who waited.
func (x *session) start() {
	s := x.server
	now := time.Now()
	x.since = now
	// Its seconds do not begin with it: a viewer who is gone before the first was never there (source).
	x.ticks = now.Add(Range{0, s.timing.SessionTick}.pick(s.random))
	x.listed = now.Add(s.timing.Listed.pick(s.random))
	asked := mist.Type("")
	if s.selected(mist.TypeUserNew, x.stream) {
		asked = mist.TypeUserNew
	}
	s.inProcess(time.Until(x.listed), func() {
		// The user agent comes as a tag, once the session is known (USER_END.http).
		if agent := x.first.viewer.UserAgent; agent != "" && s.sessions[x.id] == x {
			x.tag("UA:" + agent)
		}
	})
	for _, p := range slices.Clone(x.connections) {
		p.allowed(asked)
	}
	if len(x.connections) == 0 && x.linger == nil { // all left while it was asked about
		x.ended = now
		x.linger = s.inProcess(s.timing.UserEnd.pick(s.random), x.end)
	}
}

// deny refuses the session, and remembers that: who comes with its id is refused without a trigger, for 600 s. One that
// ran is cut a moment later.
func (x *session) deny(rerun bool) {
	s := x.server
	x.denied = time.Now().Add(s.timing.Denied)
	s.cancel(x.linger)
	x.memory = s.inProcess(s.timing.Denied, x.end)
	waiting := slices.Clone(x.connections)
	if !rerun {
		for _, p := range waiting {
			p.refused(Event{Trigger: mist.TypeUserNew})
		}
	} else {
		for _, p := range waiting {
			p.tell(Event{Kind: EventDenied, Trigger: mist.TypeUserNew, Rerun: true})
		}
		x.cutting = s.inProcess(s.timing.InvalidateCut.pick(s.random), x.cutAll)
	}
	if x.again {
		x.lift()
	}
}

func (x *session) cutAll() {
	for _, p := range slices.Clone(x.connections) {
		p.cut()
	}
}

// invalidate has the session ask again. One that is asking does so once more afterwards (source: a signal, read when
// the answer is there); a denial is no longer remembered.
func (x *session) invalidate() {
	s := x.server
	switch {
	case !x.denied.IsZero():
		x.lift()
	case x.asking:
		x.again = true
	default:
		s.inProcess(s.timing.Reask.pick(s.random), func() {
			switch {
			case s.sessions[x.id] != x || !x.denied.IsZero():
			case x.asking:
				x.again = true
			default:
				x.ask(true)
			}
		})
	}
}

// lift forgets the denial, and with it the session.
func (x *session) lift() {
	if x.stopping {
		return
	}
	x.stopping = true
	x.server.inProcess(x.server.timing.LiftAfter.pick(x.server.random), x.end)
}

// stop ends the session; nothing of it is remembered.
func (x *session) stop() {
	s := x.server
	switch {
	case !x.denied.IsZero():
		x.lift()
	case !x.stopping:
		x.stopping = true
		s.inProcess(s.timing.StopAfter.pick(s.random), func() {
			if x.asking {
				x.stopped = true
				return
			}
			x.end()
		})
	}
}

// end ends the session, with its USER_END. For a denied one this is the only time that it comes
// (USER_END.denied-session.http).
func (x *session) end() {
	s := x.server
	if s.sessions[x.id] != x {
		return
	}
	delete(s.sessions, x.id)
	for _, a := range []*alarm{x.linger, x.memory, x.cutting} {
		s.cancel(a)
	}
	x.cutAll()
	s.fire(mist.TypeUserEnd, x.stream, x.farewell(), x.pid, func(answer) {})
	s.streamOf(x.stream).sessions--
	s.tidy(x.stream)
}

// farewell is the payload of its USER_END: all lines, also where a denied session has nothing to say.
func (x *session) farewell() string {
	tags := ""
	for _, t := range x.tags {
		tags += "[" + t + "]"
	}
	names, times := [3]string{}, [3]string{}
	for i, all := range [][]share{x.streams, x.connectors, x.hosts} {
		var n, t []string
		for _, one := range all {
			n = append(n, one.name)
			t = append(t, strconv.FormatInt(one.seconds, 10))
		}
		names[i], times[i] = strings.Join(n, ","), strings.Join(t, ",")
	}
	up := x.bytesUp
	if x.seconds == 0 {
		up = 0
	}
	return lines(x.token, names[0], names[1], names[2], strconv.FormatInt(x.seconds, 10), strconv.FormatInt(up, 10), "0",
		tags, times[2], times[1], times[0], x.id)
}

// known says whether the server lists the session by now and can tag it.
func (x *session) known(at time.Time) bool {
	return !x.listed.IsZero() && x.denied.IsZero() && !x.listed.After(at)
}

// inList says whether the list of now has it: while a connection is open, and an HLS viewer, who has none between two
// requests, a while longer.
func (x *session) inList(now time.Time) bool {
	if x.listed.IsZero() {
		return false
	}
	if len(x.connections) > 0 {
		return true
	}
	return x.denied.IsZero() && x.playedHLS && now.Before(x.ended.Add(x.server.timing.HLSLinger))
}

func (x *session) tag(t string) {
	if !slices.Contains(x.tags, t) {
		x.tags = append(x.tags, t)
	}
}

// used are the connectors that are or were part of the session. A request for information is none, unless there is
// nothing else.
func (x *session) used() []string {
	var all []string
	add := func(c string) {
		if c != "HTTP" && !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	for _, one := range x.connectors {
		add(one.name)
	}
	for _, p := range x.connections {
		add(p.viewer.Connector)
	}
	return all
}

func (x *session) info() SessionInfo {
	return SessionInfo{
		ID: x.id, Stream: x.stream, Address: x.first.viewer.Address, Token: x.token, Connectors: x.used(),
		Tags: slices.Clone(x.tags), Since: x.since, Connections: len(x.connections), Asking: x.asking, DeniedUntil: x.denied,
	}
}

func lines(parts ...string) string { return strings.Join(parts, "\n") }

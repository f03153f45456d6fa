package misttest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"authhook/internal/mist"
)

// State is what a player is doing.
type State uint8

// The states of a player.
const (
	// Connecting: it waits to be let in, or to come back after it was cut.
	Connecting State = iota
	// Watching: it was let in.
	Watching
	// Denied: it was refused, and may come back when its Reconnect is over.
	Denied
	// Ended: it left for good.
	Ended
	states
)

// String is the state in one word.
func (s State) String() string {
	if s >= states {
		return "unknown"
	}
	return [...]string{"connecting", "watching", "denied", "ended"}[s]
}

// EventKind is what happened to a player.
type EventKind uint8

// The kinds of events.
const (
	// EventAsked: a USER_NEW was fired for its session.
	EventAsked EventKind = iota + 1
	// EventAllowed: it was let in, or, after a re-run, may go on.
	EventAllowed
	// EventDenied: it was refused, or, after a re-run, will be cut.
	EventDenied
	// EventCut: the server ended its connection.
	EventCut
	// EventReconnected: it comes back after it was cut or denied.
	EventReconnected
	// EventLeft: it left for good.
	EventLeft
)

// String is the kind in one word.
func (k EventKind) String() string {
	if k < EventAsked || k > EventLeft {
		return "unknown"
	}
	return [...]string{"asked", "allowed", "denied", "cut", "reconnected", "left"}[k-1]
}

// Event is something that happened to a player.
type Event struct {
	Kind   EventKind
	At     time.Time
	Player *Player
	// Session is the session id, where one was known.
	Session string
	// Trigger is what the server asked, or denied by; empty where it asked nothing: a session that was joined, a denial
	// that was remembered.
	Trigger mist.Type
	// Rerun says that the session was asked about again.
	Rerun bool
}

// idParts are what a session id is made of, beside what a viewer never changes.
type idParts struct {
	mode        mist.SessionMode
	stream, key string
}

// ErrNever is matched by the error of Wait for a state that will not come any more.
var ErrNever = errors.New("the player has left for good")

// eventsKept bounds what a player remembers.
const eventsKept = 256

// Player is a viewer's connection, and those by which it comes back. The server's lock guards all of it.
type Player struct {
	server *Server
	viewer Viewer
	token  string // made up, when the viewer has none

	state     State
	connected int // counts its connections, and is part of what an answer is for
	open      bool
	pid       int
	stream    string
	key       string // the token line of this connection
	url       string
	made      idParts
	id        string // the session id that these make
	session   *session
	joined    time.Time
	retry     *alarm

	events  []Event
	told    observers[Event]
	waiting [states][]chan struct{}
}

// Connect has a viewer connect, now and whenever it comes back.
func (s *Server) Connect(v Viewer) *Player {
	if !v.Address.IsValid() {
		v.Address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if v.Connector == "" {
		v.Connector = "HLS"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &Player{server: s, viewer: v, stream: v.Stream}
	if s.closed {
		p.state = Ended
		return p
	}
	s.players[p] = struct{}{}
	p.connect()
	return p
}

// Viewer is who plays.
func (p *Player) Viewer() Viewer { return p.viewer }

// State is what the player is doing now.
func (p *Player) State() State {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	return p.state
}

// Stream is the stream that it plays, after PLAY_REWRITE.
func (p *Player) Stream() string {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	return p.stream
}

// SessionID is the id of the session that it belongs or last belonged to; empty before its first.
func (p *Player) SessionID() string {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	return p.sessionID()
}

func (p *Player) sessionID() string {
	if p.session == nil {
		return ""
	}
	return p.session.id
}

// Events are the latest that happened to it, in their order.
func (p *Player) Events() []Event {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	return slices.Clone(p.events)
}

// Observe has f told of every event from now on, one at a time, until stop.
func (p *Player) Observe(f func(Event)) (stop func()) {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	return p.told.add(p.server, f)
}

// Wait waits until the player is in the state. A state that it is in for a moment only is not missed. The error is the
// context's, or matches ErrNever.
func (p *Player) Wait(ctx context.Context, wanted State) error {
	p.server.mu.Lock()
	if p.state == wanted {
		p.server.mu.Unlock()
		return nil
	}
	if p.state == Ended {
		p.server.mu.Unlock()
		return ErrNever
	}
	reached, ended := make(chan struct{}), make(chan struct{})
	p.waiting[wanted] = append(p.waiting[wanted], reached)
	p.waiting[Ended] = append(p.waiting[Ended], ended)
	p.server.mu.Unlock()
	defer p.forget(wanted, reached)
	defer p.forget(Ended, ended)
	select {
	case <-reached:
		return nil
	case <-ended:
		select {
		case <-reached:
			return nil
		default:
			return ErrNever
		}
	case <-ctx.Done():
		return fmt.Errorf("waiting for a player who is %v to be %v: %w", p.State(), wanted, ctx.Err())
	}
}

func (p *Player) forget(s State, c chan struct{}) {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	p.waiting[s] = slices.DeleteFunc(p.waiting[s], func(x chan struct{}) bool { return x == c })
}

// Leave has the player close its connection for good.
func (p *Player) Leave() {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	p.end()
}

func (p *Player) end() {
	if p.state == Ended {
		return
	}
	p.disconnect()
	p.server.cancel(p.retry)
	p.tell(Event{Kind: EventLeft})
	p.become(Ended)
	delete(p.server.players, p)
}

func (p *Player) become(s State) {
	p.state = s
	for _, c := range p.waiting[s] {
		close(c)
	}
	p.waiting[s] = nil
}

func (p *Player) tell(e Event) {
	e.At, e.Player, e.Session = time.Now(), p, p.sessionID()
	if len(p.events) >= eventsKept {
		p.events = append(p.events[:0], p.events[eventsKept/4:]...)
	}
	p.events = append(p.events, e)
	p.told.tell(&p.server.herald, e)
}

// connect opens a connection. What it causes is asked in this order: CONN_OPEN, PLAY_REWRITE, USER_NEW, CONN_PLAY (the
// times in CONN_OPEN.http, PLAY_REWRITE.http, USER_NEW.ipv6-jwt.http and CONN_PLAY.http, one viewer's).
func (p *Player) connect() {
	s := p.server
	if s.process == nil {
		p.crashed()
		return
	}
	p.connected++
	p.open = true
	p.pid = s.nextPID()
	p.stream = mist.StreamName(p.viewer.Stream)
	p.request()
	// The URL is not known yet (CONN_OPEN.http).
	p.ask(mist.TypeConnOpen, "", func(a answer) {
		if !a.allow {
			p.refused(Event{Trigger: mist.TypeConnOpen})
			return
		}
		p.rewrite()
	})
}

func (p *Player) rewrite() {
	p.ask(mist.TypePlayRewrite, p.url, func(a answer) {
		if a.answered { // what does not wait rewrites nothing
			p.stream = mist.StreamName(a.text)
		}
		if p.stream == "" {
			p.refused(Event{Trigger: mist.TypePlayRewrite})
			return
		}
		p.server.join(p)
	})
}

// allowed is told by its session that the player belongs to it. A session that was joined asked nothing.
func (p *Player) allowed(asked mist.Type) {
	p.ask(mist.TypeConnPlay, p.url, func(a answer) {
		if !a.allow {
			p.refused(Event{Trigger: mist.TypeConnPlay})
			return
		}
		p.tell(Event{Kind: EventAllowed, Trigger: asked})
		p.become(Watching)
	})
}

// ask fires a trigger of this connection, when one is configured, and goes on with its answer unless the connection is
// gone by then.
func (p *Player) ask(t mist.Type, url string, then func(answer)) {
	if !p.server.selected(t, p.stream) { // most have none, and who is denied comes back again and again
		then(answer{allow: true})
		return
	}
	connection := p.connected
	p.server.fire(t, p.stream, p.payload(url), p.pid, func(a answer) {
		if p.connected == connection && p.open {
			then(a)
		}
	})
	if p.state != Connecting {
		p.become(Connecting)
	}
}

func (p *Player) payload(url string) string {
	return lines(p.stream, p.host(), p.viewer.Connector, url)
}

func (p *Player) host() string { return p.viewer.Address.WithZone("").Unmap().String() }

// refused ends a connection that was not let in.
func (p *Player) refused(e Event) {
	e.Kind = EventDenied
	p.tell(e)
	p.disconnect()
	p.become(Denied)
	p.comeBack()
}

// cut ends a connection that played, or was about to.
func (p *Player) cut() {
	p.disconnect()
	p.tell(Event{Kind: EventCut})
	p.lost()
}

// crashed is when there is no server at the other end.
func (p *Player) crashed() {
	played := p.open
	p.open = false
	if p.session != nil {
		p.session.connections = nil
	}
	switch {
	case played:
		p.tell(Event{Kind: EventCut})
		p.lost()
	case p.state == Denied && p.retry != nil && p.retry.index >= 0: // it will see when it comes back
	case p.state != Denied || p.viewer.Reconnect > 0:
		p.lost()
	}
}

func (p *Player) lost() {
	if p.viewer.Reconnect <= 0 {
		p.become(Ended)
		delete(p.server.players, p)
		return
	}
	p.become(Connecting)
	p.comeBack()
}

// comeBack has a player that comes back do so when its time is over. The time is its own, not the server's.
func (p *Player) comeBack() {
	if p.viewer.Reconnect <= 0 {
		return
	}
	p.server.cancel(p.retry)
	p.retry = p.server.after(p.viewer.Reconnect, func() {
		if p.server.process != nil {
			p.tell(Event{Kind: EventReconnected})
		}
		p.connect()
	})
}

// disconnect closes the connection, if it is open.
func (p *Player) disconnect() {
	if !p.open {
		return
	}
	p.open = false
	if p.session != nil {
		p.session.leave(p)
	}
	if p.server.process != nil && p.server.selected(mist.TypeConnClose, p.stream) {
		p.server.fire(mist.TypeConnClose, p.stream, p.payload(p.url), p.pid, func(answer) {})
	}
}

// madeUp is the token of who presents none, a short decimal number (USER_NEW.forwarded-no-token.http).
func (p *Player) madeUp() string {
	if p.token == "" {
		p.token = strconv.FormatUint(uint64(p.server.random.Uint32()), 10)
	}
	return p.token
}

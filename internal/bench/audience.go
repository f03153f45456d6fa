package bench

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"authhook/internal/mist/misttest"
)

// ComesBackAfter is how long a player of an audience waits after it was cut or refused.
const ComesBackAfter = 250 * time.Millisecond

// Audience is players at a stand-in MistServer whose rights change one at a time.
type Audience struct {
	node    *misttest.Server
	players []*misttest.Player
	stop    []func()

	mu     sync.Mutex
	unseen map[string]*change // by session: of which nothing is seen yet at MistServer
}

// change is a change of a right.
type change struct {
	effect  misttest.EventKind
	command time.Time // zero: the player met its new right without one
	seen    chan struct{}
}

// NewAudience is an audience without players yet.
func NewAudience(node *misttest.Server) *Audience {
	a := &Audience{node: node, unseen: map[string]*change{}}
	a.stop = append(a.stop, node.OnCommand(func(c misttest.Command) {
		if c.Kind == "stop_sessid" {
			a.see(c.Target, 0, c.At)
		}
	}))
	return a
}

// Close forgets the audience. Its players stay.
func (a *Audience) Close() {
	for _, stop := range a.stop {
		stop()
	}
}

// Add has a viewer with a key connect, who comes back for ever.
func (a *Audience) Add(stream, key string) *misttest.Player {
	n := len(a.players)
	p := a.node.Connect(misttest.Viewer{
		Stream: stream, Token: key, Address: netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), Reconnect: ComesBackAfter,
	})
	a.players = append(a.players, p)
	// One that is on its way back meets its new right without a command.
	a.stop = append(a.stop, p.Observe(func(e misttest.Event) { a.see(e.Session, e.Kind, time.Time{}) }))
	return p
}

// see notes what was seen of a session: a command, or what became of its player.
func (a *Audience) see(session string, effect misttest.EventKind, command time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.unseen[session]
	if c == nil || command.IsZero() && effect != c.effect {
		return
	}
	c.command = command
	delete(a.unseen, session)
	close(c.seen)
}

// Effect is when a change began and what it took.
type Effect struct {
	Called   time.Time
	Answered time.Duration // until whoever was told of it had answered
	// Command is how long it was until the command was at MistServer; zero where the player met its new right without one.
	Command time.Duration
}

// Change changes the right of a player, whose session is to be let in or refused by it, and waits until something of it is seen at
// MistServer.
func (a *Audience) Change(ctx context.Context, p *misttest.Player, effect misttest.EventKind, do func(context.Context) error) (Effect, error) {
	c := &change{effect: effect, seen: make(chan struct{})}
	session := p.SessionID()
	a.mu.Lock()
	a.unseen[session] = c
	a.mu.Unlock()
	e := Effect{Called: time.Now()}
	if err := do(ctx); err != nil {
		return e, err
	}
	e.Answered = time.Since(e.Called)
	select {
	case <-c.seen:
	case <-ctx.Done():
		return e, ctx.Err()
	}
	if !c.command.IsZero() {
		e.Command = c.command.Sub(e.Called)
	}
	return e, nil
}

// Wait waits until all are in a state.
func (a *Audience) Wait(ctx context.Context, wanted misttest.State) error {
	for _, p := range a.players {
		if err := p.Wait(ctx, wanted); err != nil {
			return err
		}
	}
	return nil
}

package misttest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"authhook/internal/mist"
)

// Server is a stand-in MistServer.
type Server struct {
	options Options
	timing  Timing
	herald  herald
	closing chan struct{}
	done    sync.WaitGroup // the clock, the herald
	jobs    sync.WaitGroup // triggers under way
	serving sync.WaitGroup // the APIs

	mu       sync.Mutex
	closed   bool
	clock    clock
	random   *mathrand.Rand
	process  *process // nil while it is dead
	addr     string
	config   config
	streams  map[string]*stream
	sessions map[string]*session
	players  map[*Player]struct{}
	pending  queue
	stats    map[mist.Type]*triggerStat
	lossIn   float64
	lossOut  float64
	buffer   int // of the UDP API, in bytes
	corrupt  bool
	pid      int
	commands []Command
	told     observers[Command]
}

// process is what ends when the server is killed or restarts.
type process struct {
	instance string
	alive    context.Context
	kill     context.CancelFunc
	udp      net.PacketConn
	api      *http.Server
	secret   string // of its login challenges
}

// Start starts a stand-in MistServer on loopback ports of its own. Close it.
func Start(o Options) (*Server, error) {
	o.complete()
	s := &Server{
		options: o, timing: o.Timing, closing: make(chan struct{}),
		herald:  herald{wake: make(chan struct{}, 1), close: make(chan struct{})},
		clock:   clock{wake: make(chan struct{}, 1)},
		random:  mathrand.New(mathrand.NewPCG(o.Seed, 0)),
		addr:    o.Addr,
		config:  newConfig(o),
		streams: map[string]*stream{}, sessions: map[string]*session{}, players: map[*Player]struct{}{},
		stats: map[mist.Type]*triggerStat{},
		pid:   30000,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.listen(); err != nil {
		return nil, err
	}
	s.done.Add(1)
	go s.runClock()
	s.done.Go(s.herald.run)
	return s, nil
}

// Close ends the server and all its viewers, and waits until nothing of it runs and every observer was told. So an
// observer must not call it, nor block.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.die()
	for p := range s.players {
		p.end()
	}
	s.mu.Unlock()
	s.serving.Wait()
	s.jobs.Wait()
	close(s.closing)
	close(s.herald.close)
	s.done.Wait()
	return nil
}

// Addr is the host and port of both APIs. It stays the same through restarts.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// UDPURL is the UDP API's, as authhook's setting MIST takes it.
func (s *Server) UDPURL() string { return "udp://" + s.Addr() }

// HTTPURL is the HTTP API's, as authhook's setting MIST takes it, without a login.
func (s *Server) HTTPURL() string { return "http://" + s.Addr() }

// Instance is the id of the server's process, as in X-Instance; empty while it is dead.
func (s *Server) Instance() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return ""
	}
	return s.process.instance
}

// Restart ends the process and starts another one: every session and every remembered denial is gone without a
// USER_END, and players that come back do so after their time. What was configured stays, tags of streams that the API
// set do not.
func (s *Server) Restart() error {
	s.Kill()
	return s.Revive()
}

// Kill ends the process as a crash does. Its ports are closed until Revive.
func (s *Server) Kill() {
	s.mu.Lock()
	s.die()
	s.mu.Unlock()
	s.serving.Wait()
}

// Revive starts the process again after Kill.
func (s *Server) Revive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("misttest: the server is closed")
	}
	if s.process != nil {
		return nil
	}
	return s.listen()
}

func (s *Server) die() {
	if s.process == nil {
		return
	}
	s.options.Log.Debug("process ends", "instance", s.process.instance)
	s.process.kill()
	_ = s.process.udp.Close()
	_ = s.process.api.Close()
	s.process = nil
	s.pending = queue{running: s.pending.running}
	for _, one := range s.sessions {
		for _, a := range []*alarm{one.linger, one.memory, one.cutting} {
			s.cancel(a)
		}
	}
	clear(s.sessions)
	clear(s.stats)
	for name, st := range s.streams {
		st.tags, st.sessions = nil, 0
		s.tidy(name)
	}
	for p := range s.players {
		p.crashed()
	}
}

// listen begins a process on both ports. Where the port is ours to choose, it must be free for both.
func (s *Server) listen() error {
	const tries = 20
	var err error
	for range tries {
		var tcp net.Listener
		if tcp, err = net.Listen("tcp", s.addr); err != nil {
			break
		}
		var udp net.PacketConn
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err != nil {
			_ = tcp.Close()
			continue
		}
		s.addr = tcp.Addr().String()
		s.begin(tcp, udp)
		return nil
	}
	return fmt.Errorf("misttest: listen on %s, UDP and TCP: %w", s.addr, err)
}

func (s *Server) begin(tcp net.Listener, udp net.PacketConn) {
	p := &process{instance: newInstance(), udp: udp, secret: rand.Text()}
	p.alive, p.kill = context.WithCancel(context.Background())
	p.api = s.newAPI(p)
	s.process = p
	s.buffer = udpBuffer
	s.serving.Go(func() { s.serveUDP(p) })
	s.serving.Go(func() { _ = p.api.Serve(tcp) })
	s.options.Log.Debug("process begins", "instance", p.instance, "addr", s.addr)
}

// newInstance makes the id of a process. The real one's have letters and what stands between and around them in ASCII:
// ugaTKwbv^DVkjjr^ (USER_NEW.http), r^B\DLgTkTkyjaoL (USER_NEW.rtmp.http).
func newInstance() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	for i := range b {
		b[i] = 'A' + b[i]%('z'-'A'+1)
	}
	return string(b[:])
}

// nextPID is the id of a process that would have been started.
func (s *Server) nextPID() int {
	s.pid++
	if s.pid > 4<<20 {
		s.pid = 1000
	}
	return s.pid
}

// SetLoss sets the share of UDP datagrams that are lost, 0 to 1: of those that come in, and of the answers.
func (s *Server) SetLoss(in, out float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lossIn, s.lossOut = in, out
}

// Corrupted says whether a datagram ever was longer than the buffer: the real server's memory would be damaged.
func (s *Server) Corrupted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.corrupt
}

// Sessions are all that the server keeps at this moment, in the order of their ids: live ones, those whose last viewer
// left a moment ago, and those whose denial is remembered.
func (s *Server) Sessions() []SessionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]SessionInfo, 0, len(s.sessions))
	for _, one := range s.sessions {
		all = append(all, one.info())
	}
	slices.SortFunc(all, func(a, b SessionInfo) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Commands are the calls that the API received, the latest 100,000, in their order.
func (s *Server) Commands() []Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// OnCommand has f told of every call from now on, one at a time, until stop. When f is told, what the call does has
// begun.
func (s *Server) OnCommand(f func(Command)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told.add(s, f)
}

const commandsKept = 100_000

func (s *Server) note(c Command) {
	c.At = time.Now()
	if len(s.commands) >= commandsKept {
		s.commands = append(s.commands[:0], s.commands[commandsKept/10:]...)
	}
	s.commands = append(s.commands, c)
	s.told.tell(&s.herald, c)
}

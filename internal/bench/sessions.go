package bench

import (
	"context"
	"errors"
	"strconv"
	"time"

	"authhook/internal/mist"
	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
)

// Memory is what sessions cost the process, in bytes: before they were there, and with them.
type Memory struct {
	Sessions       int
	Heap, Resident [2]float64 // of Go, what lives; of the machine (RSS)
}

// HeapEach and ResidentEach are the share of one session.
func (m Memory) HeapEach() float64     { return (m.Heap[1] - m.Heap[0]) / float64(m.Sessions) }
func (m Memory) ResidentEach() float64 { return (m.Resident[1] - m.Resident[0]) / float64(m.Sessions) }

// eventsKept is after how many events the service forgets as many older ones, which it remembers to answer them alike.
const eventsKept = 65_536

// Memory opens sessions of a hundred users at a service, and says what they cost. What is asked before and after is as much as has
// the service remember as many events, so that those do not count; and enough garbage for Go to have collected it since.
func (b *Bench) Memory(ctx context.Context, db *Database, p *People, sessions int) (m Memory, err error) {
	service, err := Start(ctx, b.serve(db, noMist, "--log-level", "warn"))
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, service.Stop()) }()
	known := Again(p.Reruns(Wire, 0, KnownUsers))
	ask := func(events int) error {
		_, err := Ask(ctx, SocketEach.target(service), known, Limits{Askers: writers, Asks: events})
		return err
	}
	before, after := eventsKept*3/2, eventsKept-sessions%eventsKept+eventsKept
	if sessions < eventsKept { // not worth it
		before, after = KnownUsers, KnownUsers
	}
	if err := ask(before); err != nil {
		return m, err
	}
	m.Sessions = sessions
	if m.Heap[0], m.Resident[0], err = b.rest(ctx, service); err != nil {
		return m, err
	}
	if err := b.register(ctx, service, p, sessions); err != nil {
		return m, err
	}
	if err := ask(after); err != nil {
		return m, err
	}
	m.Heap[1], m.Resident[1], err = b.rest(ctx, service)
	return m, err
}

// register opens sessions that were not there, of a hundred users.
func (b *Bench) register(ctx context.Context, service *Program, p *People, sessions int) error {
	few := &People{name: p.name, Keys: p.Keys[:KnownUsers]}
	b.viewers += sessions
	_, err := Ask(ctx, SocketEach.target(service), Once(few.Questions(Wire, b.viewers, sessions)), Limits{Askers: writers})
	if err != nil {
		return err
	}
	return service.Until(ctx, "all sessions are known", func(m Metrics) bool { return m[sessionsOpen] >= float64(sessions) })
}

// rest waits until everything is written, and reads what memory is used. What lives of Go's heap follows from the size at which its
// collector begins again: twice what lived when it last ended, and once more what it reads besides (go.dev/doc/gc-guide).
func (b *Bench) rest(ctx context.Context, service *Program) (living, inAll float64, err error) {
	err = service.Until(ctx, "sessions are written", func(m Metrics) bool {
		living, inAll = (m[nextCollection]-m[stacks])/2, m[resident]
		return m[sessionsWaiting] == 0
	})
	return living, inAll, err
}

// StoredSessions fills a database with sessions that were open when the service was last there, of some users.
func StoredSessions(ctx context.Context, s FillStore, p *People, sessions int) error {
	const batch = 1000
	now := time.Now()
	list := make([]policy.Session, 0, batch)
	for n := range sessions {
		user, key, from := p.User(n%len(p.Keys)), p.Keys[n%len(p.Keys)], Viewer(n)
		list = append(list, policy.Session{
			Node: NodeName, ID: mist.SessionID(mist.DefaultSessionMode, Stream, from, key, "HLS"), Instance: "before", State: policy.SessionOpen,
			Stream: Stream, Address: from, Connector: "HLS", User: user, Credential: policy.HashKey(key), Reason: policy.Entitled, Plan: plan,
			Tags: []string{"plan:" + plan}, Opened: now, Decided: now, Until: now.Add(30 * 24 * time.Hour),
		})
		if len(list) == batch || n == sessions-1 {
			if err := s.WriteSessions(ctx, list); err != nil {
				return err
			}
			list = list[:0]
		}
	}
	return nil
}

// Starts starts a service several times on a database with stored sessions of a MistServer that it holds, and says how long each
// took from the start of the process until it was ready and knew them all.
func (b *Bench) Starts(ctx context.Context, db *Database, sessions, times int) (took Times, err error) {
	node, err := misttest.Start(misttest.Options{Name: NodeName})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	for range times {
		d, err := b.start(ctx, db, node, sessions)
		if err != nil {
			return took, err
		}
		took = append(took, d)
	}
	return took, nil
}

func (b *Bench) start(ctx context.Context, db *Database, node *misttest.Server, sessions int) (took time.Duration, err error) {
	began := time.Now()
	service, err := Begin(ctx, b.serve(db, NodeName+"="+node.UDPURL()))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, service.Stop()) }()
	ready, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := service.until(ready, service.Ready); err != nil {
		return 0, err
	}
	known := func(m Metrics) bool { return m[sessionsOpen] >= float64(sessions) }
	if err := service.Until(ctx, "its "+strconv.Itoa(sessions)+" sessions are known", known); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

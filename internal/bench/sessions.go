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

// Memory opens sessions of a hundred users at a service, and says what they cost. Their events have no UUID: those that a service
// remembers are so many at most, however many sessions there are.
func (b *Bench) Memory(ctx context.Context, db *Database, p *People, sessions int) (m Memory, err error) {
	service, err := Start(ctx, b.serve(db, noMist, "--log-level", "warn"))
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, service.Stop()) }()
	if err := b.warm(ctx, service, SocketEach, p, KnownUsers); err != nil {
		return m, err
	}
	m.Sessions = sessions
	if m.Heap[0], m.Resident[0], err = b.memory(ctx, service, p); err != nil {
		return m, err
	}
	few := &People{name: p.name, Keys: p.Keys[:KnownUsers]}
	b.viewers += sessions
	fresh := Once(few.Questions(WireUnnamed, b.viewers, sessions))
	if _, err := Ask(ctx, SocketEach.target(service), fresh, Limits{Askers: writers}); err != nil {
		return m, err
	}
	m.Heap[1], m.Resident[1], err = b.memory(ctx, service, p)
	return m, err
}

// memory waits until all sessions are written, has Go collect its garbage by making more of it, and reads what memory is used. What
// lives of Go's heap follows from the size at which its collector begins again: twice what lived when it last ended, and once
// more what it reads besides (go.dev/doc/gc-guide).
func (b *Bench) memory(ctx context.Context, service *Program, p *People) (living, inAll float64, err error) {
	const collections, atOnce = "go_gc_duration_seconds_count", 2000
	begin, err := service.written(ctx)
	if err != nil {
		return 0, 0, err
	}
	known := Again(p.Reruns(WireUnnamed, 0, KnownUsers))
	for m := begin; m[collections] < begin[collections]+2; { // the first of them may have begun before
		if _, err := Ask(ctx, SocketEach.target(service), known, Limits{Askers: writers, Asks: atOnce}); err != nil {
			return 0, 0, err
		}
		if m, err = service.Metrics(ctx); err != nil {
			return 0, 0, err
		}
	}
	m, err := service.written(ctx)
	return (m[nextCollection] - m[stacks]) / 2, m[resident], err
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
			Tags: []string{"plan:" + plan}, Opened: now, Decided: now, Until: p.until,
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
	ready, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := service.until(ready, readyEvery, service.Ready); err != nil {
		return 0, err
	}
	known := func(m Metrics) bool { return m[sessionsOpen] >= float64(sessions) }
	if err := service.Until(ctx, "its "+strconv.Itoa(sessions)+" sessions are known", known); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

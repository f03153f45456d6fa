package bench

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// Bench is what all measuring shares.
type Bench struct {
	// Authhook is the program that is measured. Reference is a program, with its first arguments, that runs [ServeReference]; it is
	// told where by --listen and --socket, as "authhook serve" is.
	Authhook  string
	Reference []string
	// Env is added to the environment of every program.
	Env []string
	// Dir is a directory of the measuring's own, which whoever made it clears away. Its path is short: sockets are in it.
	Dir string

	started int
	viewers int // have been taken for new sessions
}

// serve is how "authhook serve" is started on a database. A MistServer that runs on this machine is never told anything: the
// service is given a stand-in's URL, or none.
func (b *Bench) serve(db *Database, mist string, args ...string) Launch {
	return Launch{
		Path: b.Authhook, Args: append([]string{"serve", "--database-url", db.URL, "--mist", mist, "--node", NodeName}, args...),
		Env: b.Env, Dir: b.Dir, Name: b.name("s"),
	}
}

// noMist says that sessions are held by nobody.
const noMist = "none"

// name is one that no other program has.
func (b *Bench) name(prefix string) string {
	b.started++
	return prefix + strconv.Itoa(b.started)
}

// Way is how questions come.
type Way struct {
	Name    string
	framing Framing
	network string
}

// The ways. MistServer comes by the second; authhook-trigger by the third, where both ends are ours and speak no HTTP.
var (
	KeptAlive  = Way{"TCP, kept alive", HTTPKept, "tcp"}
	TCPEach    = Way{"TCP, a connection each", HTTPClose, "tcp"}
	SocketEach = Way{"Unix socket, a connection each", Wire, "unix"}
)

// Ways are all of them.
func Ways() []Way { return []Way{KeptAlive, TCPEach, SocketEach} }

func (w Way) target(p *Program) Target {
	to := Target{Network: w.network, Address: p.Address, Keep: w.framing == HTTPKept}
	if w.network == "unix" {
		to.Address = p.Socket
	}
	return to
}

// KnownUsers is how many users have facts in memory, and knownSessions are theirs.
const KnownUsers, knownSessions = 100, 1000

// BareChi are the trials of the reference, which is asked the same as authhook, over the socket too in HTTP. It runs until it
// is stopped.
func (b *Bench) BareChi(ctx context.Context, p *People) ([]*Trial, *Program, error) {
	reference, err := Start(ctx, Launch{Path: b.Reference[0], Args: b.Reference[1:], Env: b.Env, Dir: b.Dir, Name: b.name("r")})
	if err != nil {
		return nil, nil, err
	}
	var trials []*Trial
	for _, way := range Ways() {
		framing := way.framing
		if framing == Wire {
			framing = HTTPClose
		}
		questions := Again(p.Reruns(framing, 0, knownSessions))
		trials = append(trials, &Trial{Way: way.Name, Subject: "bare chi", Ready: func(context.Context) (Target, *Questions, error) {
			return way.target(reference), questions, nil
		}})
	}
	return trials, reference, nil
}

// InMemory are the trials of sessions that run and are asked about again, of users whose facts are in memory: nothing but the
// decision is to be made. The service runs until it is stopped.
func (b *Bench) InMemory(ctx context.Context, db *Database, p *People) ([]*Trial, *Program, error) {
	service, err := Start(ctx, b.serve(db, noMist))
	if err != nil {
		return nil, nil, err
	}
	first := Limits{Askers: writers}
	if _, err := Ask(ctx, KeptAlive.target(service), Once(p.Questions(HTTPKept, 0, knownSessions)), first); err != nil {
		return nil, nil, errors.Join(err, service.Stop())
	}
	var trials []*Trial
	for _, way := range Ways() {
		questions := Again(p.Reruns(way.framing, 0, knownSessions))
		trials = append(trials, &Trial{Way: way.Name, Subject: "authhook, facts in memory", Ready: func(context.Context) (Target, *Questions, error) {
			return way.target(service), questions, nil
		}})
	}
	return trials, service, nil
}

// NewSessions are the trials in which each ask opens a session that was not there, of users whose facts are in memory: it is
// kept, and written to the database with others. Each round has a service that was just started.
func (b *Bench) NewSessions(db *Database, p *People, most int) []*Trial {
	var trials []*Trial
	for _, way := range Ways() {
		trials = append(trials, b.fresh(way, "authhook, each a new session", func(ctx context.Context) (*Program, *Questions, error) {
			service, err := Start(ctx, b.serve(db, noMist))
			if err != nil {
				return nil, nil, err
			}
			b.viewers += most
			return service, Once(p.Questions(way.framing, b.viewers, most)), b.warm(ctx, service, way, p, KnownUsers)
		}))
	}
	return trials
}

// Cold are the trials in which no fact is in memory: each asks with a credential that the service has not seen. Each round has a
// service that was just started, and that a few others have asked before.
func (b *Bench) Cold(db *Database, p *People) []*Trial {
	return b.cold(db, p, "authhook, cold: "+db.Kind, b.warm)
}

// ColdWithRedis are the same where a service on another machine has read the facts before: they are found in a Redis. That one
// runs until it is stopped.
func (b *Bench) ColdWithRedis(ctx context.Context, db *Database, redis string, p *People) ([]*Trial, *Program, error) {
	other, err := Start(ctx, b.serve(db, noMist, "--redis-url", redis))
	if err != nil {
		return nil, nil, err
	}
	if err := b.fillRedis(ctx, other, p); err != nil {
		return nil, nil, errors.Join(err, other.Stop())
	}
	return b.cold(db, p, "authhook, cold: "+db.Kind+" + Redis", b.warmFromRedis, "--redis-url", redis), other, nil
}

// fillRedis has the other service read all facts, and waits until it has written them to Redis.
func (b *Bench) fillRedis(ctx context.Context, other *Program, p *People) error {
	if err := b.untilRedis(ctx, other, KeptAlive, p, earlier, func(m Metrics) bool { return m[redisWritten] > 0 }); err != nil {
		return err
	}
	if _, err := Ask(ctx, KeptAlive.target(other), Once(p.Questions(HTTPKept, earlier, len(p.Keys)-earlier)), Limits{Askers: writers}); err != nil {
		return err
	}
	const calm = 20 // looks
	last, same := -1.0, 0
	return other.Until(ctx, "facts are in Redis", func(m Metrics) bool {
		if m[redisWritten] != last {
			last, same = m[redisWritten], 0
		}
		same++
		return same > calm
	})
}

// earlier is how many people ask before anything is measured, so that what is made at the first ask is made.
const earlier = 100

// cold has the first people ask by warm before anything is measured.
func (b *Bench) cold(db *Database, p *People, subject string, warm warming, args ...string) []*Trial {
	var trials []*Trial
	for _, way := range Ways() {
		trials = append(trials, b.fresh(way, subject, func(ctx context.Context) (*Program, *Questions, error) {
			service, err := Start(ctx, b.serve(db, noMist, args...))
			if err != nil {
				return nil, nil, err
			}
			return service, Once(p.Questions(way.framing, earlier, len(p.Keys)-earlier)), warm(ctx, service, way, p, earlier)
		}))
	}
	return trials
}

// fresh is a trial with a service of its own each round.
func (b *Bench) fresh(way Way, subject string, start func(context.Context) (*Program, *Questions, error)) *Trial {
	t := &Trial{Way: way.Name, Subject: subject}
	var service *Program
	t.Ready = func(ctx context.Context) (to Target, questions *Questions, err error) {
		if service, questions, err = start(ctx); err != nil {
			return to, nil, err
		}
		return way.target(service), questions, nil
	}
	t.Over = func(ctx context.Context) (err error) {
		if service == nil {
			return nil
		}
		t.Seen, err = service.written(ctx)
		err = errors.Join(err, service.Stop())
		service = nil
		return err
	}
	return t
}

// warm has the first people ask once.
func (b *Bench) warm(ctx context.Context, service *Program, way Way, p *People, people int) error {
	_, err := Ask(ctx, way.target(service), Once(p.Questions(way.framing, 0, people)), Limits{Askers: writers})
	return err
}

type warming func(ctx context.Context, service *Program, way Way, p *People, people int) error

// warmFromRedis is warm, one after the other, until facts are found in Redis.
func (b *Bench) warmFromRedis(ctx context.Context, service *Program, way Way, p *People, people int) error {
	return b.untilRedis(ctx, service, way, p, people, func(m Metrics) bool { return m[redisHits] > 0 })
}

// untilRedis has people ask, one after the other and ever more slowly, until a service does with its Redis what it is to do: after a
// start it asks nothing of it until it answered a probe, and takes no facts from it until it knows where the change feed stands.
func (b *Bench) untilRedis(ctx context.Context, service *Program, way Way, p *People, people int, does func(Metrics) bool) error {
	questions := Once(p.Questions(way.framing, 0, people))
	for n := range people {
		if _, err := Ask(ctx, way.target(service), questions, Limits{Askers: 1, Asks: 1}); err != nil {
			return err
		}
		select {
		case <-time.After(min(time.Duration(n+1)*5*time.Millisecond, 500*time.Millisecond)):
		case <-ctx.Done():
			return ctx.Err()
		}
		m, err := service.Metrics(ctx)
		if err != nil {
			return err
		}
		if does(m) {
			_, err := Ask(ctx, way.target(service), questions, Limits{Askers: writers})
			return err
		}
	}
	return errors.New("the service makes no use of its Redis: " + service.lastWords())
}

// Crowd is what became of many who asked at once.
type Crowd struct {
	Sessions int
	Denied   int           // of them: their facts could not be read in time
	Loads    float64       // reads of the database
	Took     time.Duration // until the last was answered
	P50      time.Duration
}

// Crowd has as many sessions of a few users ask at the same moment, over a connection each, a service that knows nothing yet.
func (b *Bench) Crowd(ctx context.Context, db *Database, p *People, sessions, users int) (c Crowd, err error) {
	service, err := Start(ctx, b.serve(db, noMist))
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, service.Stop()) }()
	// Before that, what is read may be read once more: changes may have been missed.
	if err := service.Until(ctx, "the change feed is followed", func(m Metrics) bool { return m[feedBehind] >= 0 }); err != nil {
		return c, err
	}
	few := &People{name: p.name, Keys: p.Keys[:users]}
	b.viewers += sessions
	answers, err := AskAtOnce(ctx, TCPEach.target(service), few.Questions(HTTPClose, b.viewers, sessions))
	if err != nil {
		return c, err
	}
	m, err := service.written(ctx)
	return Crowd{Sessions: sessions, Denied: answers.Denied, Loads: m[loads], Took: answers.Took, P50: answers.Times.P50()}, err
}

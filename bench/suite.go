package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"authhook/internal/bench"
)

// pace is how much is measured.
type pace struct {
	bench.Pace
	people      int           // whose facts are not in memory
	newSessions int           // a round, at most
	triggers    int           // starts of authhook-trigger
	crowd       int           // sessions that ask at once
	crowdUsers  int           // whose they are
	sessions    int           // in memory, and stored before a start
	starts      int           // of each database
	changing    int           // users whose rights change
	decide      time.Duration // for each run of its benchmark
}

// full is a whole measuring; smoke is enough to see that it works.
var (
	full = pace{
		Pace:   bench.Pace{Rounds: 5, Alone: 400, Askers: 8, Busy: 800 * time.Millisecond},
		people: 5000, newSessions: 30_000, triggers: 300, crowd: 10_000, crowdUsers: 100, sessions: 100_000, starts: 3, changing: 40, decide: time.Second,
	}
	smoke = pace{
		Pace:   bench.Pace{Rounds: 1, Alone: 20, Askers: 8, Busy: 50 * time.Millisecond},
		people: 400, newSessions: 5000, triggers: 5, crowd: 1000, crowdUsers: 100, sessions: 2000, starts: 1, changing: 3, decide: time.Millisecond,
	}
)

// suite is everything that is measured.
type suite struct {
	pace
	postgres, redis string // URLs of servers
	tell            func(format string, values ...any)

	bench.Bench
	trigger string // the program
}

// found is what was measured.
type found struct {
	pace      pace
	began     time.Time
	took      time.Duration
	machine   string
	loads     [2]string // of the machine, at the begin and at the end
	decide    decided
	trials    []*bench.Trial
	triggers  []*bench.Executable
	databases []inDatabase
	memory    bench.Memory
}

// inDatabase is what was measured with one database.
type inDatabase struct {
	kind    string
	crowd   bench.Crowd
	starts  bench.Times
	changes bench.ChangeTimes
}

// measure measures everything, and leaves nothing behind.
func (s *suite) measure(ctx context.Context) (f *found, err error) {
	f = &found{pace: s.pace, began: time.Now(), machine: bench.Machine()}
	f.loads[0] = bench.Load()
	if s.Dir, err = os.MkdirTemp("", "authhook-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.Dir)) }()
	s.tell("building both programs, and deciding in memory")
	if err := s.build(ctx); err != nil {
		return nil, err
	}
	if f.decide, err = decide(ctx, s.decide, s.Rounds); err != nil {
		return nil, err
	}
	s.tell("writing %d users, three times", s.people)
	sqlite := bench.NewSQLite(s.Dir)
	people, err := settle(ctx, sqlite, s.people)
	if err != nil {
		return nil, err
	}
	if f.trials, err = s.throughput(ctx, sqlite, people); err != nil {
		return nil, err
	}
	s.tell("authhook-trigger, %d starts", s.pace.triggers)
	if f.triggers, err = s.Trigger(ctx, sqlite, people, s.trigger, s.pace.triggers); err != nil {
		return nil, err
	}
	s.tell("the memory of %d sessions", s.sessions)
	if f.memory, err = s.Memory(ctx, sqlite, people, s.sessions); err != nil {
		return nil, err
	}
	for _, make := range []func() (*bench.Database, error){
		func() (*bench.Database, error) { return bench.NewSQLite(s.Dir), nil },
		func() (*bench.Database, error) { return bench.NewPostgres(ctx, s.postgres) },
	} {
		in, err := s.inDatabase(ctx, make)
		if err != nil {
			return nil, err
		}
		f.databases = append(f.databases, in)
	}
	f.took, f.loads[1] = time.Since(f.began), bench.Load()
	return f, nil
}

// build builds the programs as `make build` does.
func (s *suite) build(ctx context.Context) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", s.Dir+string(filepath.Separator),
		"authhook/cmd/authhook", "authhook/cmd/authhook-trigger")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, strings.TrimSpace(string(out)))
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.Authhook, s.trigger = filepath.Join(s.Dir, "authhook"), filepath.Join(s.Dir, "authhook-trigger")
	s.Reference = []string{self, asReference}
	return nil
}

// settle fills a database with entitled users.
func settle(ctx context.Context, db *bench.Database, users int) (p *bench.People, err error) {
	err = db.Fill(ctx, func(ctx context.Context, to bench.FillStore) error {
		p, err = bench.Settle(ctx, to, "user", users, true)
		return err
	})
	return p, err
}

// throughput has all ways of answering take turns.
func (s *suite) throughput(ctx context.Context, sqlite *bench.Database, people *bench.People) (trials []*bench.Trial, err error) {
	var running []*bench.Program
	defer func() {
		for _, p := range slices.Backward(running) {
			err = errors.Join(err, p.Stop())
		}
	}()
	add := func(more []*bench.Trial, p *bench.Program, err error) error {
		trials = append(trials, more...)
		if p != nil {
			running = append(running, p)
		}
		return err
	}
	if err := add(s.BareChi(ctx, people)); err != nil {
		return nil, err
	}
	// Each has a database of its own, so that one's sessions are in nobody's way.
	known := bench.NewSQLite(s.Dir)
	knownPeople, err := settle(ctx, known, s.crowdUsers)
	if err != nil {
		return nil, err
	}
	if err := add(s.InMemory(ctx, known, knownPeople)); err != nil {
		return nil, err
	}
	fresh := bench.NewSQLite(s.Dir)
	freshPeople, err := settle(ctx, fresh, s.crowdUsers)
	if err != nil {
		return nil, err
	}
	trials = append(trials, s.NewSessions(fresh, freshPeople, s.newSessions)...)
	trials = append(trials, s.Cold(sqlite, people)...)
	for _, redis := range []string{"", s.redis} {
		db, err := bench.NewPostgres(ctx, s.postgres)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, db.Drop()) }()
		people, err := settle(ctx, db, s.people)
		if err != nil {
			return nil, err
		}
		if redis == "" {
			trials = append(trials, s.Cold(db, people)...)
		} else if err := add(s.ColdWithRedis(ctx, db, redis, people)); err != nil {
			return nil, err
		}
	}
	trials = bench.ByWay(trials)
	return trials, bench.Run(ctx, trials, s.Pace, func(round int) {
		s.tell("asking, %d ways in turn: round %d of %d", len(trials), round, s.Rounds)
	})
}

// inDatabase measures what is measured with each database.
func (s *suite) inDatabase(ctx context.Context, make func() (*bench.Database, error)) (in inDatabase, err error) {
	fill := func(with func(context.Context, bench.FillStore) error) (*bench.Database, error) {
		db, err := make()
		if err != nil {
			return nil, err
		}
		return db, db.Fill(ctx, with)
	}
	var few *bench.People
	db, err := fill(func(ctx context.Context, to bench.FillStore) error {
		if few, err = bench.Settle(ctx, to, "user", s.crowdUsers, true); err != nil {
			return err
		}
		return bench.StoredSessions(ctx, to, few, s.sessions)
	})
	if db != nil {
		defer func() { err = errors.Join(err, db.Drop()) }()
	}
	if err != nil {
		return in, err
	}
	in.kind = db.Kind
	s.tell("%s: %d starts with %d sessions stored", in.kind, s.pace.starts, s.sessions)
	if in.starts, err = s.Starts(ctx, db, s.sessions, s.pace.starts); err != nil {
		return in, err
	}
	s.tell("%s: %d sessions ask at once", in.kind, s.crowd)
	if in.crowd, err = s.Crowd(ctx, db, few, s.crowd, s.crowdUsers); err != nil {
		return in, err
	}
	s.tell("%s: changes of %d users' rights, to the command at MistServer", in.kind, s.changing)
	var unpaid *bench.People
	changes, err := fill(func(ctx context.Context, to bench.FillStore) error {
		unpaid, err = bench.Settle(ctx, to, "user", s.changing, false)
		return err
	})
	if changes != nil {
		defer func() { err = errors.Join(err, changes.Drop()) }()
	}
	if err != nil {
		return in, err
	}
	in.changes, err = s.Changes(ctx, changes, unpaid, max(1, s.Rounds/2))
	return in, err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"authhook/internal/bench"
)

type benchCommand struct {
	Rounds int    `env:"-" default:"3" placeholder:"N" help:"How many times each is measured, in turn: each figure is the median."`
	Dir    string `env:"-" placeholder:"DIRECTORY" help:"Where the database is for as long: on the disk that is to be used. A directory for temporary files when left out."`

	Reference bool   `env:"-" hidden:""`
	Listen    string `env:"-" hidden:""`
	Socket    string `env:"-" hidden:""`
}

// Run measures this program on this machine, and leaves nothing behind.
func (c *benchCommand) Run(ctx context.Context, s streams) error {
	if c.Reference { // it is what is measured beside
		return bench.ServeReference(ctx, c.Listen, c.Socket)
	}
	if c.Rounds < 1 {
		return wrongSetting("--rounds %d: measure once at least", c.Rounds)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	// A terminal that is closed would end the program with its files left.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	m := measuring{program: program, dir: c.Dir, out: s.out, people: 2000, newSessions: 20_000, changing: 20, pace: bench.Pace{
		Rounds: c.Rounds, Alone: 200, Askers: 8, Busy: 500 * time.Millisecond,
	}}
	err = m.run(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return errors.New("stopped before anything could be said")
	}
	return err
}

// measuring is what an operator wants to know of a machine: how many viewers may come at once, how long each waits, and how fast a
// payment has its effect. All of authhook is measured by bench/ in its repository.
type measuring struct {
	program     string
	env         []string // added to the environment of what is measured
	dir         string
	people      int // whose facts are not in memory
	newSessions int // a round, at most
	changing    int // users whose rights change
	pace        bench.Pace
	out         io.Writer
}

func (m *measuring) run(ctx context.Context) (err error) {
	b := &bench.Bench{Authhook: m.program, Reference: []string{m.program, "bench", "--reference"}, Env: m.env}
	if b.Dir, err = os.MkdirTemp("", "authhook-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.Dir)) }()
	files, err := os.MkdirTemp(m.dir, "authhook-bench-")
	if err != nil {
		return wrongSetting("--dir: %s", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(files)) }()
	load := bench.Load()
	_, _ = fmt.Fprintf(m.out, "authhook %s beside a bare HTTP handler, on a database of its own. It takes a minute or so.\n", version)
	trials, err := m.throughput(ctx, b, files)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(m.out, "  changes of rights")
	db, unpaid, err := m.settle(ctx, files, m.changing, false)
	if err != nil {
		return err
	}
	times, err := b.Changes(ctx, db, unpaid, 1)
	if err != nil {
		return err
	}
	text := &strings.Builder{}
	fmt.Fprintf(text, "\n%s. Load when it began: %s\n\n", bench.Machine(), load)
	changes := bench.NewChangeTable()
	times.AddTo(changes, db.Kind)
	for _, part := range []struct {
		about string
		table *bench.Table
	}{
		{fmt.Sprintf("%d askers without a pause, on the same cores:", m.pace.Askers), bench.Throughput(trials)},
		{"From a question to its answer:", bench.Latency(trials, m.pace.Askers)},
		{"From a change until the command is at a stand-in for MistServer:", changes},
	} {
		fmt.Fprintf(text, "%s\n\n", part.about)
		_, _ = part.table.WriteTo(text) // a Builder takes everything
		fmt.Fprintln(text)
	}
	if denied, asked := bench.Denied(trials); denied > 0 {
		fmt.Fprintf(text, "%d of %d asks were denied, since their facts could not be read in time.\n", denied, asked)
	}
	_, err = io.WriteString(m.out, text.String())
	return err
}

// settle is a database with users.
func (m *measuring) settle(ctx context.Context, dir string, users int, entitled bool) (db *bench.Database, p *bench.People, err error) {
	db = bench.NewSQLite(dir)
	err = db.Fill(ctx, func(ctx context.Context, to bench.FillStore) error {
		p, err = bench.Settle(ctx, to, "user", users, entitled)
		return err
	})
	return db, p, err
}

// throughput has the ways of answering take turns.
func (m *measuring) throughput(ctx context.Context, b *bench.Bench, files string) (trials []*bench.Trial, err error) {
	db, people, err := m.settle(ctx, files, m.people, true)
	if err != nil {
		return nil, err
	}
	bare, reference, err := b.BareChi(ctx, people)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reference.Stop()) }()
	known, knownPeople, err := m.settle(ctx, files, bench.KnownUsers, true)
	if err != nil {
		return nil, err
	}
	inMemory, service, err := b.InMemory(ctx, known, knownPeople)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, service.Stop()) }()
	fresh, freshPeople, err := m.settle(ctx, files, bench.KnownUsers, true)
	if err != nil {
		return nil, err
	}
	trials = append(append(append(bare, inMemory...), b.NewSessions(fresh, freshPeople, m.newSessions)...), b.Cold(db, people)...)
	trials = bench.ByWay(trials)
	return trials, bench.Run(ctx, trials, m.pace, func(round int) {
		_, _ = fmt.Fprintf(m.out, "  %d ways of asking in turn: round %d of %d\n", len(trials), round, m.pace.Rounds)
	})
}

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"authhook/internal/bench"
)

// budget is what may be spent on something, and what was.
type budget struct {
	what, most string
	measured   string
	met        bool
}

// The subjects whose figures are held against budgets.
const inMemory = "authhook, facts in memory"

// budgets are all of them, in the order of docs/benchmarks.md.
func (f *found) budgets() []budget {
	// A ratio is of the requests per second of a bare chi handler.
	ratio := func(way bench.Way, reference bench.Way, least float64, what string) budget {
		of := bench.Find(f.trials, way.Name, inMemory)
		r, from, to := of.Ratio(bench.Reference(f.trials, reference.Name))
		return budget{what, fmt.Sprintf("at least %.1f of bare chi's", least), fmt.Sprintf("%.2f (%.2f to %.2f)", r, from, to), r >= least}
	}
	within := func(what string, took, most time.Duration, more string) budget {
		return budget{what, bench.Terse(most), bench.Brief(took) + more, took <= most}
	}
	all := []budget{
		{"deciding, facts in memory", "5 µs, 10 allocations", fmt.Sprintf("%s, %.0f allocations", bench.Brief(f.decide.took), f.decide.allocations),
			f.decide.took <= 5*time.Microsecond && f.decide.allocations <= 10},
		ratio(bench.KeptAlive, bench.KeptAlive, 0.9, "`POST /trigger`, facts in memory, kept alive"),
		ratio(bench.TCPEach, bench.TCPEach, 0.9, "`POST /trigger`, facts in memory, a connection each (as MistServer asks)"),
	}
	for _, kind := range []string{"SQLite", "PostgreSQL"} {
		each := f.loadsEach(kind)
		all = append(all, budget{"a decision with no fact in memory, " + kind, "one round trip", fmt.Sprintf("%.2f loads a decision", each), each < 1.005})
	}
	for _, in := range f.databases {
		c := in.crowd
		measured := fmt.Sprintf("%.0f loads, all answered in %s", c.Loads, bench.Brief(c.Took))
		if c.Denied > 0 {
			measured += fmt.Sprintf(", %d denied: their facts could not be read in time", c.Denied)
		}
		all = append(all, budget{
			fmt.Sprintf("%s sessions of %d users ask at once, %s", bench.Thousands(float64(c.Sessions)), f.pace.crowdUsers, in.kind),
			fmt.Sprintf("%d loads", f.pace.crowdUsers), measured, c.Loads <= float64(f.pace.crowdUsers) && c.Denied == 0,
		})
	}
	others := ""
	for _, e := range f.triggers[1:] {
		others += fmt.Sprintf("; %s %s", e.Name, bench.Brief(e.Times.P50()))
	}
	all = append(all,
		within("`authhook-trigger`, start to exit", f.triggers[0].Times.P50(), 3*time.Millisecond, others),
		ratio(bench.SocketEach, bench.TCPEach, 1.3, "decisions over the Unix socket, a connection each; bare chi over TCP"),
	)
	for _, in := range f.databases {
		singly := in.changes.PaymentsSingly
		all = append(all, within("a payment webhook sent → the command at MistServer, median, "+in.kind, singly.P50(), 10*time.Millisecond,
			", p99 "+bench.Brief(singly.P99())))
	}
	all = append(all, budget{"a live session in the registry", "1 KiB", bench.Bytes(f.memory.HeapEach()) + " of Go's heap", f.memory.HeapEach() <= 1<<10})
	for _, in := range f.databases {
		all = append(all, within(fmt.Sprintf("start with %s sessions stored, until all are known, %s", bench.Thousands(float64(f.pace.sessions)), in.kind),
			in.starts.P50(), 2*time.Second, ""))
	}
	return all
}

// loadsEach is how many reads of a database a decision took that had no fact in memory, in the last round.
func (f *found) loadsEach(kind string) float64 {
	m := bench.Find(f.trials, bench.TCPEach.Name, "authhook, cold: "+kind).Seen
	return m.LoadsEach()
}

// writeTables writes all figures.
func (f *found) writeTables(w io.Writer) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s. Load of the machine: %s at the begin, %s at the end, which the measuring itself makes most of. %s, in %s.\n",
		f.machine, f.loads[0], f.loads[1], f.began.UTC().Format("2006-01-02 15:04 MST"), f.took.Round(time.Second))
	fmt.Fprintf(b, "Each figure is the median of %d rounds in which all took turns, unless it says otherwise.\n", f.pace.Rounds)

	heading := func(text string) { fmt.Fprintf(b, "\n## %s\n\n", text) }
	write := func(t *bench.Table) {
		_, _ = t.WriteTo(b) // a Builder takes everything
	}
	heading("Budgets")
	budgets := &bench.Table{Texts: 4, Head: []string{"what", "budget", "measured", "met"}}
	for _, x := range f.budgets() {
		met := "yes"
		if !x.met {
			met = "**no**"
		}
		budgets.Add(x.what, x.most, x.measured, met)
	}
	write(budgets)

	heading("Throughput")
	fmt.Fprintf(b, "%d askers without a pause, on the cores of the service.\n\n", f.pace.Askers)
	write(bench.Throughput(f.trials))
	redis := bench.Find(f.trials, bench.TCPEach.Name, "authhook, cold: PostgreSQL + Redis")
	fmt.Fprintf(b, "\nWith Redis, another service had read all facts before: %.1f %% of what was looked for there was found.\n", 100*redis.Seen.FromRedis())
	if denied, asked := bench.Denied(f.trials); denied > 0 {
		fmt.Fprintf(b, "%d of %s asks were denied, since their facts could not be read in time.\n", denied, bench.Thousands(float64(asked)))
	}

	heading("Latency")
	write(bench.Latency(f.trials, f.pace.Askers))

	heading("`authhook-trigger`, from its start to its exit")
	programs := &bench.Table{Texts: 1, Head: []string{"program", "p50", "p99"}}
	for _, e := range f.triggers {
		programs.Add(e.Name, bench.Brief(e.Times.P50()), bench.Brief(e.Times.P99()))
	}
	write(programs)

	heading("From a change to its command")
	fmt.Fprint(b, "From the moment at which it is sent until the command is at a stand-in MistServer, the commit included. Of all that there were.\n\n")
	changes := bench.NewChangeTable()
	for _, in := range f.databases {
		in.changes.AddTo(changes, in.kind)
	}
	write(changes)

	heading("Many sessions")
	many := &bench.Table{Texts: 2, Head: []string{"what", "measured"}}
	for _, in := range f.databases {
		many.Add(fmt.Sprintf("%s ask at once, %s: half are answered after", bench.Thousands(float64(in.crowd.Sessions)), in.kind), bench.Brief(in.crowd.P50))
	}
	n := bench.Thousands(float64(f.pace.sessions))
	many.Add("memory before "+n+" sessions, and with them: Go's heap", bench.Bytes(f.memory.Heap[0])+", "+bench.Bytes(f.memory.Heap[1]))
	many.Add("the same: resident (RSS)", bench.Bytes(f.memory.Resident[0])+", "+bench.Bytes(f.memory.Resident[1]))
	many.Add("resident, of each session", bench.Bytes(f.memory.ResidentEach()))
	write(many)
	_, err := io.WriteString(w, b.String())
	return err
}

const resultsHead = `# What was measured

` + "`make bench`" + ` wrote this page and its pictures. How it measures, and what is meant: [docs/benchmarks.md](../docs/benchmarks.md).

![Requests a second](throughput.svg)

![Latency](latency.svg)

`

// writeFiles writes the page and its pictures.
func (f *found) writeFiles(dir string) error {
	note := f.machine + ", " + f.began.UTC().Format("2006-01-02")
	for name, write := range map[string]func(io.Writer) error{
		"RESULTS.md": func(w io.Writer) error {
			if _, err := io.WriteString(w, resultsHead); err != nil {
				return err
			}
			return f.writeTables(w)
		},
		"throughput.svg": func(w io.Writer) error { _, err := bench.ThroughputChart(f.trials, note).WriteTo(w); return err },
		"latency.svg": func(w io.Writer) error {
			_, err := bench.LatencyChart(f.trials, f.pace.Askers, note).WriteTo(w)
			return err
		},
	} {
		file, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := errors.Join(write(file), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

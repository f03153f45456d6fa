package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"authhook/internal/bench"
)

// figures are ones of which each is by a factor of what its budget permits: above 1 it is more, and none is met.
func figures(factor float64) *found {
	of := func(d time.Duration) bench.Times { return bench.Times{time.Duration(float64(d) * factor)} }
	trial := func(way bench.Way, subject string, perSecond float64) *bench.Trial {
		busy := bench.Answers{Times: make(bench.Times, int(perSecond)), Took: time.Second}
		return &bench.Trial{Way: way.Name, Subject: subject, Rounds: []bench.Round{{Busy: busy}},
			Seen: bench.Metrics{"authhook_facts_loads_total": 1000 * factor, `authhook_decisions_total{reason="entitled"}`: 1000}}
	}
	f := &found{pace: full, machine: "a machine, 2 cores", decide: decided{of(5 * time.Microsecond)[0], 10 * factor}}
	for _, way := range bench.Ways() {
		least := 0.9
		if way == bench.SocketEach {
			least = 1.3 // of the other way's reference
		}
		f.trials = append(f.trials, trial(way, "bare chi", 10_000), trial(way, inMemory, 10_000*least/factor))
	}
	for _, kind := range []string{"SQLite", "PostgreSQL"} {
		f.trials = append(f.trials, trial(bench.TCPEach, "authhook, cold: "+kind, 1000))
		f.databases = append(f.databases, inDatabase{
			kind: kind, crowd: bench.Crowd{Sessions: 10_000, Loads: 100 * factor},
			starts: of(2 * time.Second), changes: bench.ChangeTimes{PaymentsSingly: of(10 * time.Millisecond)},
		})
	}
	f.trials = append(f.trials, trial(bench.TCPEach, "authhook, cold: PostgreSQL + Redis", 1000))
	f.triggers = []*bench.Executable{{Name: "authhook-trigger", Times: of(3 * time.Millisecond)}, {Name: "true", Times: of(time.Millisecond)}}
	f.memory = bench.Memory{Sessions: 100_000, Heap: [2]float64{1 << 20, 1<<20 + 100_000*1024*factor}}
	return f
}

// What is within its budget is said to be, and what is not is not, each by its own figure.
func TestBudgetsAreMetOrNot(t *testing.T) {
	met := func(f *found) (is, not []string) {
		for _, b := range f.budgets() {
			if b.met {
				is = append(is, b.what)
			} else {
				not = append(not, b.what)
			}
		}
		return is, not
	}
	is, not := met(figures(1))
	assert.Len(t, is, 14)
	assert.Empty(t, not)
	is, not = met(figures(1.02))
	assert.Len(t, not, 14)
	assert.Empty(t, is)

	f := figures(1)
	f.databases[1].crowd.Denied = 1
	_, not = met(f)
	assert.Equal(t, []string{"10,000 sessions of 100 users ask at once, PostgreSQL"}, not)
	f = figures(1)
	f.decide.took = 6 * time.Microsecond
	_, not = met(f)
	assert.Equal(t, []string{"deciding, facts in memory"}, not)

	page := &strings.Builder{}
	assert.NoError(t, figures(1.02).writeTables(page))
	assert.Equal(t, 14, strings.Count(page.String(), "**no**"))
	assert.Contains(t, page.String(), "a machine, 2 cores")
}

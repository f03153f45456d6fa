package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/bench"
)

// The shortest measuring says all that a whole one says, and leaves nothing behind.
func TestBench(t *testing.T) {
	temporary, files := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temporary)
	out := &strings.Builder{}
	m := measuring{program: os.Args[0], env: []string{asAuthhook + "=1"}, dir: files, out: out, people: 150, newSessions: 2000, changing: 1,
		pace: bench.Pace{Rounds: 1, Alone: 5, Askers: 2, Busy: 20 * time.Millisecond}}
	require.NoError(t, m.run(t.Context()))
	told := out.String()
	for _, way := range bench.Ways() {
		for _, subject := range []string{"bare chi", "authhook, facts in memory", "authhook, each a new session", "authhook, cold: SQLite"} {
			rows := 0
			for line := range strings.Lines(told) {
				if strings.HasPrefix(line, "| "+way.Name+" ") && strings.Contains(line, "| "+subject+" ") {
					rows++
				}
			}
			assert.Equal(t, 2, rows, "%s, %s", way.Name, subject)
		}
	}
	assert.Regexp(t, `\| a payment webhook, one at a time +\| SQLite +\| .* \| +2 \|`, told, "a right is gained, and lost")
	for _, dir := range []string{temporary, files} {
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Empty(t, left)
	}
}

func TestBenchRefuses(t *testing.T) {
	for text, args := range map[string][]string{
		"once at least": {"bench", "--rounds", "0"},
		"--dir":         {"bench", "--dir", t.TempDir() + "/nowhere"},
	} {
		out := newOutput()
		assert.Equal(t, exitUsage, run(t.Context(), args, out, out))
		assert.Contains(t, out.String(), text)
	}
}

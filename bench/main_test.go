package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/bench"
)

// TestMain lets this program be the reference, as the command is one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asReference {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// A short measuring measures everything: each budget has its figure, each way of answering is in each table and picture, and
// nothing is left behind. What the figures are is not for a test to say.
func TestEverythingIsMeasured(t *testing.T) {
	require.NotEmpty(t, os.Getenv(postgresVariable), "scripts/with-services go test ./bench")
	dir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	out := &strings.Builder{}
	require.NoError(t, run(t.Context(), []string{"-short", "-out", dir}, out), "%s", out)

	page, err := os.ReadFile(filepath.Join(dir, "RESULTS.md"))
	require.NoError(t, err)
	sections := map[string]string{}
	for _, section := range strings.Split(string(page), "\n## ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		sections[name] = text
	}
	for _, what := range []string{
		"deciding, facts in memory", "kept alive", "a connection each (as MistServer asks)",
		"a decision with no fact in memory, SQLite", "a decision with no fact in memory, PostgreSQL",
		"ask at once, SQLite", "ask at once, PostgreSQL", "`authhook-trigger`", "over the Unix socket",
		"payment webhook sent → the command at MistServer, median, SQLite", "payment webhook sent → the command at MistServer, median, PostgreSQL",
		"a live session in the registry", "until all are known, SQLite", "until all are known, PostgreSQL",
	} {
		assert.Equal(t, 1, strings.Count(sections["Budgets"], what), what)
	}
	assert.Regexp(t, `\| (0\.\d\d|1\.0\d) loads a decision `, sections["Budgets"])
	assert.Contains(t, sections["Budgets"], " loads, all answered in ")
	assert.Contains(t, sections["Throughput"], "% of what was looked for there was found")

	pictures := map[string]string{}
	for _, name := range []string{"throughput.svg", "latency.svg"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		pictures[name] = string(text)
		wellFormed(t, name, string(text))
	}
	for _, way := range bench.Ways() {
		for _, subject := range []string{
			"bare chi", "authhook, facts in memory", "authhook, each a new session", "authhook, cold: SQLite", "authhook, cold: PostgreSQL",
			"authhook, cold: PostgreSQL + Redis",
		} {
			for _, table := range []string{"Throughput", "Latency"} {
				rows := 0
				for line := range strings.Lines(sections[table]) {
					if cells := strings.Split(line, "|"); len(cells) > 3 && strings.TrimSpace(cells[1]) == way.Name && strings.TrimSpace(cells[2]) == subject {
						rows++
						assert.NotContains(t, line, "NaN")
					}
				}
				assert.Equal(t, 1, rows, "%s, %s in %s", way.Name, subject, table)
			}
			for name, text := range pictures {
				assert.Equal(t, len(bench.Ways()), strings.Count(text, ">"+subject+"<"), "%s in %s", subject, name)
			}
		}
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func wellFormed(t *testing.T, name, text string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if !assert.NoError(t, err, name) {
			return
		}
	}
}

func TestArguments(t *testing.T) {
	for name, args := range map[string][]string{"a word": {"everything"}, "no flag": {"-everything"}} {
		assert.Error(t, run(t.Context(), args, io.Discard), name)
	}
	t.Setenv(postgresVariable, "")
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard), "make bench")
}

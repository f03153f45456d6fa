// Package eventtest holds readers of events against samples and the results that are written beside them. It is for tests
// alone.
package eventtest

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/events/body"
)

var update = flag.Bool("update", false, "write the expected results in testdata anew")

// Samples are the bodies in a directory, by the name of their file without its ending.
func Samples(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	samples := make(map[string][]byte)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		samples[strings.TrimSuffix(filepath.Base(path), ".json")] = data
	}
	return samples
}

// Golden holds a text against a file.
func Golden(t testing.TB, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
}

// Reads holds what a provider reads from each sample of a directory against the text beside it.
func Reads(t *testing.T, p billing.Provider, h http.Header, dir string) {
	for name, data := range Samples(t, dir) {
		t.Run(name, func(t *testing.T) {
			Golden(t, filepath.Join(dir, name+".txt"), Text(t, p, h, data))
		})
	}
}

// Text is what a provider reads from a body.
func Text(t testing.TB, p billing.Provider, h http.Header, data []byte) string {
	t.Helper()
	text := ""
	named, err := p.Envelope(h, data)
	if err != nil {
		text = "envelope: " + err.Error() + "\n"
	} else {
		text = fmt.Sprintf("%s %s %s\n", named.ID, named.Type, named.At.Format("2006-01-02T15:04:05.999999999Z07:00"))
	}
	records, err := p.Records(data)
	var ignored *billing.IgnoredError
	switch {
	case errors.As(err, &ignored):
		return text + "ignored: " + err.Error() + "\n"
	case err != nil:
		return text + "error: " + err.Error() + "\n"
	}
	return text + Records(t, records)
}

// Records are records as a text. They are checked too: each must be of a thing with a name, and read back as it was written.
func Records(t testing.TB, records []billing.Record) string {
	t.Helper()
	var text strings.Builder
	assert.NotEmpty(t, records)
	for _, r := range records {
		doc, err := json.Marshal(r)
		require.NoError(t, err)
		back := billing.Record{Kind: r.Kind, ID: r.ID}
		require.NoError(t, json.Unmarshal(doc, &back))
		assert.Equal(t, r, back)
		assert.NotEmpty(t, r.Kind)
		assert.NotEmpty(t, r.ID)
		assert.NotContains(t, r.Aliases, "")
		assert.Equal(t, r, r.Join(r))
		fmt.Fprintf(&text, "%s %s %s\n", r.Kind, r.ID, doc)
	}
	return text.String()
}

// faults are what is put in the place of each value of a sample.
var faults = []struct{ name, value string }{
	{"null", "null"}, {"empty", `""`}, {"text", `"x"`}, {"spaced", `"a\u0001b"`}, {"broken", `"\ud800"`}, {"long", `"` + strings.Repeat("x", 300) + `"`},
	{"number", "7"}, {"negative", "-7"}, {"fraction", "9.99"}, {"huge", "9007199254740992"}, {"exponent", "1e3"},
	{"bool", "true"}, {"list", "[]"}, {"list of text", `["x"]`}, {"object", "{}"},
}

// Faults holds what a provider makes of some samples of a directory, after each of its fields was removed, written twice, or given another
// value, against the text NAME.faults beside it.
func Faults(t *testing.T, p billing.Provider, h http.Header, dir string, names ...string) {
	samples := Samples(t, dir)
	for _, name := range names {
		data := samples[name]
		t.Run(name, func(t *testing.T) {
			tree, err := body.Parse(data)
			require.NoError(t, err)
			right := Text(t, p, h, write(tree, "", change{}))
			var text strings.Builder
			outcomes := map[string][]string{} // what was done, by what came of it
			try := func(what string, data []byte) {
				got := Text(t, p, h, data)
				switch lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n"); {
				case got == right:
					got = "the same"
				case len(lines) == 2 && strings.HasPrefix(lines[0], "envelope: ") && strings.HasSuffix(lines[1], strings.TrimPrefix(lines[0], "envelope: ")):
					got = lines[0]
				case strings.HasPrefix(lines[1], "error: "), strings.HasPrefix(lines[1], "ignored: "):
					got = lines[1]
				default:
					got = "other records"
				}
				outcomes[got] = append(outcomes[got], what)
			}
			for _, path := range paths(tree, "") {
				try("gone", write(tree, "", change{at: path, gone: true}))
				try("twice", write(tree, "", change{at: path, twice: true}))
				for _, f := range faults {
					try(f.name, write(tree, "", change{at: path, value: f.value}))
				}
				fmt.Fprintln(&text, path)
				for _, got := range slices.Sorted(maps.Keys(outcomes)) {
					fmt.Fprintf(&text, "  %s\n      %s\n", strings.Join(outcomes[got], ", "), got)
				}
				clear(outcomes)
			}
			Golden(t, filepath.Join(dir, name+".faults"), text.String())
		})
	}
}

// paths are those of all fields, in order.
func paths(v any, at string) (list []string) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			list = append(list, at+"/"+name)
			list = append(list, paths(v[name], at+"/"+name)...)
		}
	case []any:
		for i, item := range v {
			list = append(list, paths(item, fmt.Sprintf("%s/%d", at, i))...)
		}
	}
	return list
}

// change is what becomes of one field.
type change struct {
	at          string
	gone, twice bool
	value       string
}

func write(v any, at string, c change) []byte {
	if at != "" && at == c.at && c.value != "" {
		return []byte(c.value)
	}
	var b []byte
	switch v := v.(type) {
	case map[string]any:
		b = append(b, '{')
		for _, name := range slices.Sorted(maps.Keys(v)) {
			path, times := at+"/"+name, 1
			if path == c.at && c.gone {
				times = 0
			} else if path == c.at && c.twice {
				times = 2
			}
			for range times {
				if len(b) > 1 {
					b = append(b, ',')
				}
				key, _ := json.Marshal(name)
				b = append(append(append(b, key...), ':'), write(v[name], path, c)...)
			}
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, write(item, fmt.Sprintf("%s/%d", at, i), c)...)
		}
		return append(b, ']')
	default:
		b, _ = json.Marshal(v)
		return b
	}
}

// Fuzz looks for bodies that a provider must not choke on, beginning with samples.
func Fuzz(f *testing.F, p billing.Provider, dir string) {
	for _, data := range Samples(f, dir) {
		f.Add(data)
	}
	for _, s := range []string{"", "{}", "[]", "null", `{"a":1,"a":2}`, strings.Repeat("[", 10_000), "\xff", `{"type":"\u0000"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = p.Envelope(http.Header{}, data)
		records, err := p.Records(data)
		if err != nil {
			assert.Empty(t, records)
			assert.Less(t, len(err.Error()), 500)
			return
		}
		Records(t, records)
	})
}

package catalog_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/catalog"
)

// Bytes that are no YAML, however they come about, are named with their place.
func TestParseBytes(t *testing.T) {
	for _, tt := range []struct{ name, data, want string }{
		{"NUL", "streams: []\nplans: \x00[]", "c:2: the character U+0000 cannot stand in a YAML document; remove it"},
		{"escape", "a\r\nb\rc: \x1b[0m", "c:3: the character U+001B cannot stand in a YAML document; remove it"},
		{"Latin-1", "streams: []\n# f\xfcr", "c:2: the byte 0xFC is no UTF-8; save the document as UTF-8"},
		{"UTF-16", "\xff\xfes\x00t\x00", "c:1: the document is UTF-16; save it as UTF-8"},
		{"byte order mark inside", "streams: \ufeff[]", "c:1: the character U+FEFF cannot stand in a YAML document; remove it"},
		{"too large", "#" + strings.Repeat(" ", 10<<20), "c: the document has 10485761 bytes; a catalog has at most 4194304 (4 MiB)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := catalog.Parse("c", []byte(tt.data))
			assert.EqualError(t, err, tt.want)
		})
	}
	_, err := catalog.Parse("c", []byte("\ufeffstreams: []"))
	assert.NoError(t, err, "a byte order mark at the beginning is usual")
	_, err = catalog.Parse("c", []byte("streams: []"+strings.Repeat(" ", catalog.MaxSize-len("streams: []"))))
	assert.NoError(t, err, "4 MiB are allowed")
}

// Documents that are made to cost much cost little, and are refused in words.
func TestParseHostile(t *testing.T) {
	var laughs strings.Builder
	laughs.WriteString("a: &l0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 12 {
		fmt.Fprintf(&laughs, "a%d: &l%d [%s]\n", i, i+1, strings.Repeat(fmt.Sprintf("*l%d, ", i), 10))
	}
	laughs.WriteString("streams: *l12\n")

	// A thousand streams share one list of 20,000 connectors: twenty million values in 200 KB.
	var unfold strings.Builder
	unfold.WriteString("streams:\n  - {match: a, access: public, deny_connectors: &w [")
	for i := range 20_000 {
		fmt.Fprintf(&unfold, "C%d, ", i)
	}
	unfold.WriteString("]}\n")
	for i := range 1000 {
		fmt.Fprintf(&unfold, "  - {match: a%d, access: public, deny_connectors: *w}\n", i)
	}

	var many strings.Builder
	many.WriteString("streams: []\nplans:\n")
	for i := range 20_000 {
		fmt.Fprintf(&many, "  - {key: plan%d, rank: -1}\n", i)
	}

	// Every price names a plan and a stream that are not there, and there are many to compare them with.
	var references strings.Builder
	references.WriteString("plans:\n")
	for i := range 10_000 {
		fmt.Fprintf(&references, "  - {key: plan%d}\n", i)
	}
	references.WriteString("streams:\n")
	for i := range 10_000 {
		fmt.Fprintf(&references, "  - {match: stream%d*, access: public}\n", i)
	}
	references.WriteString("prices:\n")
	for i := range 20_000 {
		fmt.Fprintf(&references, "  - {provider: p, price: %d-, stream: strea%d}\n  - {provider: p, price: %d+, plan: pla%d}\n", i, i, i, i)
	}

	for _, tt := range []struct{ name, data, want string }{
		{"billion laughs", laughs.String(), "streams[0]: is a list; it must be a mapping of fields"},
		{"unfolding", unfold.String(), "aliases unfold to more than 100000 values: write the values out"},
		{"brackets", strings.Repeat("[", 1<<20), "c:1: not YAML: brackets or indentation are nested too deeply"},
		{"braces", strings.Repeat("{a: ", 1<<20), "c:1: not YAML: brackets or indentation are nested too deeply"},
		{"dashes", strings.Repeat("- ", 1<<20), "c:1: not YAML: brackets or indentation are nested too deeply"},
		{"deep, and right as YAML", "streams: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000), "c:1: streams[0]: is a list"},
		{"many errors", many.String(), "\nc:1002: there are more than 1000 errors: correct these first"},
		{"many references", references.String(), "there are more than 1000 errors"},
		{"documents", strings.Repeat("---\n", 1<<20), "c:2: a second document begins here"},
		{"long lines", strings.Repeat("a", 4<<20), "c:1: the document is a text"},
		{"one field many times", strings.Repeat("a: 1\n", 80_000), "there are more than 1000 errors"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := catalog.Parse("c", []byte(tt.data))
			runtime.ReadMemStats(&after)
			require.Error(t, err)
			assert.Contains(t, err.Error(), tt.want)
			assert.Less(t, len(err.Error()), 1<<20)
			// What is allocated stands for the work, and is the same on every machine.
			t.Logf("%d MiB", (after.TotalAlloc-before.TotalAlloc)>>20)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(512<<20))
		})
	}
}

// A price may sell what a policy covers only in part, either way round.
func TestSoldStreams(t *testing.T) {
	for _, tt := range []struct {
		match, sold string
		ok          bool
	}{
		{"movie", "movie", true}, {"movie", "movi", false}, {"movie", "movies", false}, {"movie", "mov*", true},
		{"movie", "movie*", true}, {"movie", "movies*", false}, {"movie", "*", true},
		{"mov*", "movie", true}, {"mov*", "mov", true}, {"mov*", "mo", false}, {"mov*", "mo*", true}, {"mov*", "movie*", true},
		{"mov*", "max*", false}, {"mov*", "n*", false}, {"*", "anything", true}, {"*", "a*", true},
	} {
		_, err := catalog.Parse("c", fmt.Appendf(nil,
			"streams: [{match: '%s', access: public}]\nprices: [{provider: p, price: x, stream: '%s'}]", tt.match, tt.sold))
		assert.Equal(t, tt.ok, err == nil, "%s sells %s: %v", tt.match, tt.sold, err)
	}
}

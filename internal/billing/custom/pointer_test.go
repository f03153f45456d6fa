package custom

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing/events/body"
)

// The document and the pointers of RFC 6901, section 5, save the empty one, which is the whole document.
func TestPointer(t *testing.T) {
	tree, err := body.Parse([]byte(`{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7,
		"m~n": 8, "~1": 9, "deep": {"0": [{"x": null, "y": false}]}}`))
	require.NoError(t, err)
	for s, want := range map[string]any{
		"/foo": []any{"bar", "baz"}, "/foo/0": "bar", "/foo/1": "baz", "/": json.Number("0"), "/a~1b": json.Number("1"),
		"/c%d": json.Number("2"), "/e^f": json.Number("3"), "/g|h": json.Number("4"), `/i\j`: json.Number("5"), `/k"l`: json.Number("6"),
		"/ ": json.Number("7"), "/m~0n": json.Number("8"), "/~01": json.Number("9"), "/deep/0/0/y": false,
		// Nothing stands there.
		"/foo/2": nil, "/foo/-": nil, "/foo/00": nil, "/foo/01": nil, "/foo/+1": nil, "/foo/-1": nil, "/foo/99999999999999999999": nil,
		"/foo/": nil, "/foo/0/x": nil, "/FOO": nil, "/deep/0/0/x": nil, "/deep/0/0/x/y": nil, "/a/b": nil, "//": nil,
	} {
		p, err := parsePointer(s)
		require.NoError(t, err, s)
		assert.Equal(t, want, p.find(tree), s)
		assert.Equal(t, s, p.String())
	}
	for _, s := range []string{"", "foo", "#/foo", " /foo", "/~", "/~2", "/a~", "/~~0", strings.Repeat("/a", 300)} {
		_, err := parsePointer(s)
		assert.ErrorContains(t, err, "JSON pointer", s)
	}
}

func FuzzPointer(f *testing.F) {
	f.Add("/a~1b/0", `{"a/b": ["x"]}`)
	f.Add("/~01/-", `{"~1": [1, 2]}`)
	f.Fuzz(func(t *testing.T, s, doc string) {
		p, err := parsePointer(s)
		if err != nil {
			return
		}
		assert.Equal(t, s, p.String())
		if tree, err := body.Parse([]byte(doc)); err == nil {
			p.find(tree)
		}
	})
}

package stripe_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/signature"
	"authhook/internal/billing/stripe"
)

const secret = "whsec_test_secret"

func provider(t testing.TB, o stripe.Options) *stripe.Provider {
	t.Helper()
	secrets, err := signature.ParseSecrets(secret)
	require.NoError(t, err)
	o.Secrets = secrets
	p, err := stripe.New(o)
	require.NoError(t, err)
	return p
}

// samples are whole events as Stripe sends them, by the name of their file: the type, and what is special about it.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := make(map[string][]byte, len(files))
	for _, file := range files {
		body, err := os.ReadFile(file)
		require.NoError(t, err)
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = body
	}
	return all
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	body, ok := samples(t)[name]
	require.True(t, ok, name)
	return body
}

// gone takes a field away.
type gone struct{}

// change is a body with other fields, each at its path: "data.object.items.data.0.price".
func change(t testing.TB, body []byte, changes map[string]any) []byte {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var doc any
	require.NoError(t, d.Decode(&doc))
	for path, value := range changes {
		doc = set(t, doc, strings.Split(path, "."), value)
	}
	changed, err := json.Marshal(doc)
	require.NoError(t, err)
	return changed
}

func set(t testing.TB, in any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	switch in := in.(type) {
	case map[string]any:
		if _, out := value.(gone); out && len(path) == 1 {
			delete(in, path[0])
		} else {
			in[path[0]] = set(t, in[path[0]], path[1:], value)
		}
		return in
	case []any:
		i, err := strconv.Atoi(path[0])
		require.NoError(t, err)
		if _, out := value.(gone); out && len(path) == 1 {
			return append(in[:i:i], in[i+1:]...)
		}
		in[i] = set(t, in[i], path[1:], value)
		return in
	case nil:
		return map[string]any{path[0]: set(t, nil, path[1:], value)}
	}
	require.Fail(t, "no such path", "%v", path)
	return nil
}

// get is what stands at a path.
func get(t testing.TB, body []byte, path string) any {
	t.Helper()
	var at any
	require.NoError(t, json.Unmarshal(body, &at))
	for step := range strings.SplitSeq(path, ".") {
		if list, ok := at.([]any); ok {
			i, err := strconv.Atoi(step)
			require.NoError(t, err)
			at = list[i]
			continue
		}
		object, ok := at.(map[string]any)
		require.True(t, ok, path)
		at = object[step]
	}
	return at
}

// lines are records as text, one on each line.
func lines(t testing.TB, records []billing.Record) string {
	t.Helper()
	var b strings.Builder
	for _, r := range records {
		doc, err := json.Marshal(r)
		require.NoError(t, err)
		b.WriteString(string(r.Kind) + " " + r.ID + " " + string(doc) + "\n")
	}
	return b.String()
}

func unix(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

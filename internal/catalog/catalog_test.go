package catalog_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/catalog"
	"authhook/internal/policy"
)

var update = flag.Bool("update", false, "write the expected results in testdata anew")

// environment is what the documents in testdata find.
func environment(name string) string {
	return map[string]string{
		"JWT_SECRET":   "a secret of the environment 0123456789",
		"SHORT_SECRET": "hunter2",
	}[name]
}

// documents are the catalogs of a directory in testdata: YAML and JSON.
func documents(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for _, pattern := range []string{"*.yaml", "*.json"} {
		paths, err := filepath.Glob(filepath.Join("testdata", dir, pattern))
		require.NoError(t, err)
		for _, path := range paths {
			found[path], err = os.ReadFile(path)
			require.NoError(t, err)
		}
	}
	require.NotEmpty(t, found)
	return found
}

// golden holds a result against the text file next to a document.
func golden(t *testing.T, document, got string) {
	t.Helper()
	path := strings.TrimSuffix(document, filepath.Ext(document)) + ".txt"
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
}

// Every document in testdata/bad has exactly the errors in the text file next to it, and gives no catalog.
func TestParseBad(t *testing.T) {
	for path, data := range documents(t, "bad") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			c, err := catalog.Parse(path, data, catalog.WithEnv(environment))
			require.Error(t, err)
			assert.Nil(t, c)
			golden(t, path, err.Error()+"\n")

			var errs catalog.Errors
			require.ErrorAs(t, err, &errs)
			for i, e := range errs {
				assert.Positive(t, e.Line, e)
				assert.Equal(t, path, e.File)
				assert.NotContains(t, e.Problem, "\n")
				if i > 0 {
					assert.LessOrEqual(t, errs[i-1].Line, e.Line)
				}
			}
			assert.NotContains(t, err.Error(), "hunter2", "a secret is quoted")
			assert.NotContains(t, err.Error(), "7777777", "a secret is quoted")
			assert.NotContains(t, err.Error(), "0123456789abcdef", "a secret is quoted")
			assert.NotContains(t, err.Error(), "maybe a secret", "a secret is quoted")
		})
	}
}

// An error stands where the value does.
func TestErrorsHaveAPlace(t *testing.T) {
	_, err := catalog.Parse("c.yaml", []byte("plans:\n  - {rank: 1, key: ..}\nstreams: []"))
	assert.Equal(t, catalog.Errors{{
		File: "c.yaml", Line: 2, Column: 20, Path: "plans[0].key", Problem: "cannot be .., which in a path is a step and no name",
	}}, err)
}

// Every document in testdata/good, and the example that operators begin with, is read as the text file next to it says
// (written by Format), the same each time.
func TestParseGood(t *testing.T) {
	for path, data := range documents(t, "good") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			c, err := catalog.Parse(path, data, catalog.WithEnv(environment))
			require.NoError(t, err)
			text, err := catalog.Format(c)
			require.NoError(t, err)
			golden(t, path, string(text))

			same, err := catalog.Parse(path, data, catalog.WithEnv(environment))
			require.NoError(t, err)
			assert.Equal(t, c, same)
			again, err := catalog.Parse("formatted", text)
			require.NoError(t, err)
			assert.Equal(t, c, again)
		})
	}
}

func TestExample(t *testing.T) {
	path := filepath.Join("..", "..", "examples", "catalog.yaml")
	data, err := os.ReadFile(path)
	require.NoError(t, err)

	first, _, _ := strings.Cut(string(data), "\n")
	at, ok := strings.CutPrefix(first, "# yaml-language-server: $schema=")
	require.True(t, ok, first)
	named, err := os.ReadFile(filepath.Join(filepath.Dir(path), at))
	require.NoError(t, err)
	assert.Equal(t, string(catalog.Schema()), string(named))

	c, err := catalog.Parse(path, data)
	require.NoError(t, err)
	assert.Equal(t, policy.AccessPublic, c.Stream("extra").Access, "USER_NEW.http asks for it without a credential")
	assert.Equal(t, policy.AccessEntitled, c.Stream("movie").Access)
	assert.Equal(t, "movie_sd", c.Stream("movie").Renditions["basic"])
	assert.Equal(t, "live+*", c.Stream("live+fight").Match)
	assert.NotZero(t, c.Stream("live+fight").Preview)
	assert.Equal(t, policy.AccessClosed, c.Stream("archive").Access)
	assert.Nil(t, c.Stream("other"))
	assert.Equal(t, policy.OnLimitKickOldest, c.Plan("gold").OnLimit)
	assert.NotZero(t, c.Plan("gold").Grace)

	// What is commented out is right too.
	uncommented := strings.ReplaceAll(string(data), "\n# jwt:\n#   keys:\n#     - {", "\njwt:\n  keys:\n    - {")
	require.NotEqual(t, string(data), uncommented)
	c, err = catalog.Parse(path, []byte(uncommented), catalog.WithEnv(environment))
	require.NoError(t, err)
	assert.Len(t, c.JWT.Keys, 1)
}

// The catalog can be asked at once, and what has a default has it.
func TestDefaults(t *testing.T) {
	c, err := catalog.Parse("", []byte("plans: [{key: one}]\nstreams: [{match: a*, access: entitled}]"))
	require.NoError(t, err)
	p := c.Plan("one")
	require.NotNil(t, p)
	assert.Equal(t, policy.Plan{
		Key: "one", OnLimit: policy.OnLimitReject, Refund: policy.OnEventVoid, Dispute: policy.OnEventHold,
		Cancel: policy.OnCancelPeriodEnd,
	}, *p)
	s := c.Stream("abc")
	require.NotNil(t, s)
	assert.Equal(t, "24h0m0s", s.PreviewEvery.String())
	assert.Equal(t, policy.PublishKey, s.Publish)
	assert.Equal(t, []policy.Price{}, c.Prices, "JSON shows a list, not null")
}

// Where a secret comes from is the caller's to say; a catalog that was sent reaches neither files nor environment.
func TestSecretSources(t *testing.T) {
	const doc = "streams: []\njwt: {keys: [{kid: a, alg: HS256, secret_file: %}, {kid: b, alg: HS256, secret_env: B}]}"
	const secret = "0123456789abcdef0123456789abcdef"
	for written, path := range map[string]string{"x/s.txt": "/etc/authhook/x/s.txt", "/run/s.txt": "/run/s.txt", "../s.txt": "/etc/s.txt"} {
		c, err := catalog.Parse("/etc/authhook/catalog.yaml", []byte(strings.Replace(doc, "%", written, 1)),
			catalog.WithReadFile(func(p string) ([]byte, error) {
				assert.Equal(t, path, p)
				return []byte(secret + "\r\n"), nil
			}),
			catalog.WithEnv(func(name string) string { assert.Equal(t, "B", name); return "env" + secret }))
		require.NoError(t, err)
		assert.Equal(t, secret, c.JWT.Keys[0].Secret)
		assert.Equal(t, "env"+secret, c.JWT.Keys[1].Secret)
	}

	_, err := catalog.Parse("sent.yaml", []byte(strings.Replace(doc, "%", "/etc/passwd", 1)), catalog.WithoutReferences())
	assert.EqualError(t, err, "sent.yaml:2: jwt.keys[0].secret_file: a catalog that was sent cannot refer to this machine's files: write secret\n"+
		"sent.yaml:2: jwt.keys[1].secret_env: a catalog that was sent cannot refer to this machine's environment: write secret")

	_, err = catalog.Parse("c.yaml", []byte(strings.Replace(doc, "%", "s", 1)),
		catalog.WithReadFile(func(string) ([]byte, error) { return nil, errors.New("disk on fire: hunter2") }),
		catalog.WithEnv(func(string) string { return "\xff" + secret }))
	assert.EqualError(t, err, "c.yaml:2: jwt.keys[0].secret_file: the file s cannot be read (it is not readable): correct the path, which is relative to the catalog, or the file\n"+
		"c.yaml:2: jwt.keys[1].secret_env: the secret holds bytes that are no text, or a line break: make one with openssl rand -hex 32")
}

// A secret file that never ends is read only as far as a secret can reach.
func TestSecretFileIsBounded(t *testing.T) {
	_, err := catalog.Parse("c.yaml", []byte("streams: []\njwt: {keys: [{alg: HS256, secret_file: /dev/zero}]}"))
	assert.EqualError(t, err, "c.yaml:2: jwt.keys[0].secret_file: the secret is longer than 4096 bytes: make one with openssl rand -hex 32")
}

package custom_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing/custom"
	"authhook/internal/billing/events/eventtest"
	"authhook/internal/catalog"
)

// Every configuration in testdata/bad has exactly the errors in the text beside it, each with its line, and none with a
// secret, wherever that stands.
func TestParseBad(t *testing.T) {
	paths, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	env := func(name string) string {
		if name == "SHORT" {
			return "hunter2"
		}
		return environment(name)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			list, err := custom.Parse(path, data, custom.WithEnv(env), custom.WithReadFile(files))
			assert.Empty(t, list)
			var errs catalog.Errors
			require.ErrorAs(t, err, &errs)
			for _, e := range errs {
				assert.Positive(t, e.Line, e)
			}
			assert.NotContains(t, strings.ToLower(err.Error()), "hunter2", "a secret is quoted")
			eventtest.Golden(t, strings.TrimSuffix(path, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

func TestNoProviders(t *testing.T) {
	assert.Empty(t, parse(t, "billing.yaml", "providers: []"))
}

func TestTooLarge(t *testing.T) {
	_, err := custom.Parse("billing.yaml", make([]byte, 2<<20))
	assert.ErrorContains(t, err, "billing.yaml: the document has 2097152 bytes")
}

// The file of a secret is relative to the configuration; the reasons why it cannot be read are told apart.
func TestSecretFiles(t *testing.T) {
	const config = "providers: [{name: a, preset: lago, secret_file: x/a.secret}]"
	for _, c := range []struct {
		data string
		err  error
		want string
	}{
		{data: secret + "\r\n"},
		{data: secret + "," + secret + "2\n"},
		{err: fs.ErrNotExist, want: "there is no such file"},
		{err: fs.ErrPermission, want: "permission denied"},
		{err: fs.ErrClosed, want: "it is not readable"},
		{data: "", want: "the secret in the file is not good: the first secret is empty"},
		{data: "short\n", want: "less than 16 bytes"},
		{data: secret + "\nmore", want: "line break"},
	} {
		list, err := custom.Parse("etc/billing.yaml", []byte(config), custom.WithReadFile(func(path string) ([]byte, error) {
			assert.Equal(t, filepath.Join("etc", "x", "a.secret"), path)
			return []byte(c.data), c.err
		}))
		if c.want == "" {
			require.NoError(t, err)
			assert.Len(t, list, 1)
			continue
		}
		assert.ErrorContains(t, err, c.want)
	}

	path := filepath.Join(t.TempDir(), "long.secret")
	require.NoError(t, os.WriteFile(path, make([]byte, 100<<10), 0o600))
	_, err := custom.Parse("billing.yaml", []byte("providers: [{name: a, preset: lago, secret_file: "+path+"}]"))
	assert.ErrorContains(t, err, "cannot be read")
	require.NoError(t, os.WriteFile(path, []byte(secret), 0o600))
	_, err = custom.Parse("billing.yaml", []byte("providers: [{name: a, preset: lago, secret_file: "+path+"}]"))
	assert.NoError(t, err)
}

func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(f, err)
	for _, path := range append(paths, filepath.Join("..", "..", "..", "examples", "billing.yaml")) {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(data)
	}
	for _, name := range custom.Presets() {
		f.Add(custom.Preset(name))
		f.Add([]byte("providers: [{name: x, preset: " + name + ", " + besides(name) + "}]"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := custom.Parse("billing.yaml", data, custom.WithEnv(environment), custom.WithReadFile(files))
		if err != nil {
			var errs catalog.Errors
			require.ErrorAs(t, err, &errs)
			assert.NotEmpty(t, errs)
			assert.Empty(t, list)
			return
		}
		for _, p := range list {
			assert.NotEmpty(t, p.Name())
			assert.Error(t, p.Verify(nil, nil, now))
			_, _ = p.Envelope(nil, []byte(`{"type": "x"}`))
			_, _ = p.Records([]byte(`{"type": "x"}`))
		}
	})
}

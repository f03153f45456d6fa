package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// answering is the URL of a server that always gives one answer.
func answering(t *testing.T, status int, text string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestHealth(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := "http://" + l.Addr().String()
	require.NoError(t, l.Close())

	for _, test := range []struct {
		name, url, out, err string
		code                int
	}{
		{name: "alive", url: answering(t, 200, "ok\n"), out: "healthy\n"},
		{name: "any 2xx", url: answering(t, 204, ""), out: "healthy\n"},
		{name: "not ready", url: answering(t, 503, "{\n\"database\": \"does not answer\"\n}"), code: 1,
			err: "authhook: not healthy: 503 Service Unavailable { \"database\": \"does not answer\" }\n"},
		{name: "not what was asked for", url: answering(t, 404, ""), code: 1, err: "authhook: not healthy: 404 Not Found\n"},
		{name: "away", url: nobody, code: 1, err: "connection refused\n"},
		{name: "no URL", url: "://", code: 1, err: "missing protocol scheme\n"},
		{name: "a password in the URL", url: "ftp://user:secret@127.0.0.1/", code: 1, err: "unsupported protocol scheme \"ftp\"\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, errOut, code := authhook(t, "health", "--url", test.url)
			assert.Equal(t, test.code, code)
			assert.Equal(t, test.out, out)
			if test.err == "" {
				assert.Empty(t, errOut)
				return
			}
			assert.True(t, strings.HasSuffix(errOut, test.err), errOut)
			assert.Equal(t, 1, strings.Count(errOut, "\n"), "one line: %q", errOut)
			assert.NotContains(t, errOut, "secret")
		})
	}
}

func TestHealthOfTheService(t *testing.T) {
	s := serveForTest(t, "--database-url", emptyDatabase(t), "--catalog", exampleCatalog)
	for _, path := range []string{"/healthz", "/readyz"} {
		t.Setenv("AUTHHOOK_HEALTH_URL", s.url+path)
		assert.Equal(t, "healthy\n", mustAuthhook(t, "health"))
	}
	assert.Zero(t, s.stop(), s.log.String())
	_, _, code := authhook(t, "health")
	assert.Equal(t, exitError, code)
}

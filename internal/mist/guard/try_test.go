package guard

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTry(t *testing.T) {
	var asked []*http.Request
	answer := func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r)
		switch {
		case r.URL.Path == "/healthz" || r.URL.Path == "/below/healthz":
			_, _ = w.Write([]byte("ok\n"))
		case r.URL.Path == "/odd/healthz":
			_, _ = w.Write([]byte("<html>"))
		case r.URL.Path == "/trigger/wrong":
			w.Header().Set(problemHeader, keyWrong)
			_, _ = w.Write([]byte("true"))
		case r.URL.Path == "/trigger/unauthorized":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/trigger/redirect":
			http.Redirect(w, r, "/trigger", http.StatusTemporaryRedirect)
		case r.URL.Path == "/trigger/denied":
			_, _ = w.Write([]byte("false"))
		case r.URL.Path == "/trigger" || r.URL.Path == "/below/trigger/key" || r.URL.Path == "/odd/trigger":
			_, _ = w.Write([]byte("true"))
		default:
			http.NotFound(w, r)
		}
	}
	s := httptest.NewServer(http.HandlerFunc(answer))
	defer s.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := "http://" + l.Addr().String() + "/trigger/" + secret
	require.NoError(t, l.Close())

	dir := t.TempDir()
	program, plain := filepath.Join(dir, Program), filepath.Join(dir, "plain")
	require.NoError(t, os.WriteFile(program, nil, 0o700))
	require.NoError(t, os.WriteFile(plain, nil, 0o600))

	for _, test := range []struct {
		handler string
		local   bool
		want    Result
	}{
		{s.URL + "/trigger", true, Answers},
		{s.URL + "/below/trigger/key", true, Answers},
		{s.URL + "/trigger/wrong", true, KeyRefused},
		{s.URL + "/trigger/unauthorized", true, KeyRefused},
		{s.URL + "/trigger/redirect", true, NotAuthhook},
		{s.URL + "/trigger/denied", true, NotAuthhook},
		{s.URL + "/trigger/else", true, NotAuthhook},
		{s.URL + "/other/trigger", true, NotAuthhook},
		{s.URL + "/odd/trigger", true, NotAuthhook},
		{s.URL + "/hook", true, NotTried},
		{s.URL + "/trigger", false, NotTried},
		{nobody, true, Unreachable},
		{"http://127.0.0.1:0x/trigger/" + secret, true, NotTried},
		{program, true, Answers},
		{program, false, NotTried},
		{plain, true, NoProgram},
		{dir, true, NoProgram},
		{filepath.Join(dir, "none"), true, NoProgram},
		{filepath.Join(program, "none"), true, NotTried},
	} {
		got := Try(t.Context(), test.handler, test.local)
		assert.Equal(t, test.want, got.Result, "%s: %s", test.handler, got.Cause)
		assert.NotContains(t, got.Cause, secret)
		f, worth := got.Finding(test.handler, test.local)
		assert.Equal(t, test.want != Answers, worth)
		assert.NotContains(t, f.What, secret)
	}
	for _, r := range asked {
		assert.Equal(t, tryType, r.Header.Get("X-Trigger"), "no trigger that anything is decided about")
	}
}

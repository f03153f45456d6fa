package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mistHTTP is a MistServer's API over HTTP, as another host sees it.
type mistHTTP struct {
	*httptest.Server
	account   [2]string // user, password; empty: there is none
	local     bool      // the client is on the same host: no login
	challenge atomic.Value
	answer    func(calls map[string]json.RawMessage) string // the members of the reply after the login's

	mu    sync.Mutex
	asked []map[string]json.RawMessage
}

func newMistHTTP(t *testing.T, m *mistHTTP) *mistHTTP {
	m.challenge.Store("c1")
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/api2" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "" {
			http.Error(w, "not MistServer's API", http.StatusTeapot)
			return
		}
		var calls map[string]json.RawMessage
		if json.NewDecoder(r.Body).Decode(&calls) != nil {
			http.Error(w, "not JSON", http.StatusTeapot)
			return
		}
		m.mu.Lock()
		m.asked = append(m.asked, calls)
		m.mu.Unlock()
		login, in := m.login(calls["authorize"])
		reply := `{"LTS":1,"authorize":` + login
		if !in {
			reply = `{"authorize":` + login
		} else if m.answer != nil {
			reply += "," + m.answer(calls)
		}
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = io.WriteString(w, reply+"}\n\n")
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *mistHTTP) login(raw json.RawMessage) (reply string, in bool) {
	var a struct{ Username, Password string }
	_ = json.Unmarshal(raw, &a)
	challenge := m.challenge.Load().(string)
	switch {
	case m.account[0] == "":
		return `{"status":"NOACC"}`, m.local
	case m.local:
		return `{"local":true,"status":"OK"}`, true
	case a.Username == m.account[0] && a.Password == hexMD5(hexMD5(m.account[1])+challenge):
		return `{"status":"OK"}`, true
	}
	return fmt.Sprintf(`{"challenge":%q,"status":"CHALL"}`, challenge), false
}

// with is the server's URL with a user.
func (m *mistHTTP) with(user string) string {
	return strings.Replace(m.URL, "://", "://"+user+"@", 1)
}

func answerVersion(map[string]json.RawMessage) string { return `"version":{"version":"3.10"}` }

func TestLogin(t *testing.T) {
	m := newMistHTTP(t, &mistHTTP{account: [2]string{"op", "p@ss\""}, answer: answerVersion})
	c := newClient(t, m.with("op:p%40ss%22"), Options{})
	for _, challenge := range []string{"c1", "c1", "c2"} {
		m.challenge.Store(challenge)
		v, err := c.Version(t.Context())
		require.NoError(t, err)
		require.Equal(t, "3.10", v.Version)
	}
	// One request to be challenged, one each for the calls, one more when the challenge is another.
	require.Len(t, m.asked, 5)
	for _, calls := range m.asked {
		require.Contains(t, calls, "version", "the calls go with the login")
		require.NotContains(t, string(calls["authorize"]), "p@ss")
	}
}

func TestNoLogin(t *testing.T) {
	for name, m := range map[string]*mistHTTP{
		"local":                  {account: [2]string{"op", "pass"}, local: true, answer: answerVersion},
		"local, and no accounts": {local: true, answer: answerVersion},
	} {
		m := newMistHTTP(t, m)
		for _, url := range []string{m.URL, m.with("op:pass")} {
			v, err := newClient(t, url, Options{}).Version(t.Context())
			require.NoError(t, err, name)
			require.Equal(t, "3.10", v.Version)
		}
		require.Len(t, m.asked, 2, name)
	}
}

func TestLoginRefused(t *testing.T) {
	accounts := newMistHTTP(t, &mistHTTP{account: [2]string{"op", "pass"}})
	none := newMistHTTP(t, &mistHTTP{})
	for _, test := range []struct{ url, says string }{
		{accounts.with("op:s3cret"), "wrong"},
		{accounts.with("other:pass"), "wrong"},
		{accounts.URL, "the URL has none"},
		{none.with("op:s3cret"), "no account yet"},
	} {
		c := newClient(t, test.url, Options{})
		err := c.Save(t.Context())
		require.ErrorIs(t, err, ErrLogin)
		require.ErrorContains(t, err, test.says)
		require.ErrorContains(t, err, c.String())
		require.NotContains(t, err.Error(), "s3cret")
	}
	for _, calls := range none.asked {
		require.NotContains(t, string(calls["authorize"]), "new_", "an account is never made")
	}
}

func TestHTTPRefuses(t *testing.T) {
	var visited atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visited.Store(true) }))
	defer elsewhere.Close()
	hang := make(chan struct{})
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		err   error
		says  string
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, ErrReply, "status 307"},
		"status":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, ErrReply, "status 502"},
		"a page":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, ErrReply, "an object"},
		"nothing": {func(http.ResponseWriter, *http.Request) {}, ErrReply, "cut"},
		"empty":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, ErrReply, "nothing in it"},
		"other status": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"authorize":{"status":"\u0000X"}}`)
		}, ErrLogin, `"\x00X"`},
		"no challenge": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"authorize":{"status":"CHALL"}}`)
		}, ErrReply, "challenge"},
		"hanging": {func(http.ResponseWriter, *http.Request) { <-hang }, ErrNotReachable, "no answer within 50ms"},
		"reply is cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			_, _ = io.WriteString(w, "{")
		}, ErrNotReachable, "cut after 1 bytes"},
		"connection is": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ErrNotReachable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(test.serve)
			defer server.Close()
			url := strings.Replace(server.URL, "://", "://op:s3cret@", 1)
			timeout := 5 * time.Second
			if name == "hanging" {
				defer close(hang)
				timeout = 50 * time.Millisecond
			}
			c := newClient(t, url, Options{Timeout: timeout})
			_, err := c.Do(t.Context(), map[string]any{"version": true})
			require.ErrorIs(t, err, test.err)
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "s3cret")
		})
	}
	require.False(t, visited.Load(), "a redirect is not followed")
}

func TestChallengeWithoutEnd(t *testing.T) {
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"authorize":{"challenge":"%d","status":"CHALL"}}`, n.Add(1))
	}))
	defer server.Close()
	err := newClient(t, strings.Replace(server.URL, "://", "://op:pass@", 1), Options{}).Save(t.Context())
	require.ErrorIs(t, err, ErrLogin)
	require.EqualValues(t, 3, n.Load())
}

// A reply without end is not read to its end.
func TestHTTPReplyIsBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"x":"`)
		for chunk := strings.Repeat("x", 1<<20); ; {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	err := newClient(t, server.URL, Options{Timeout: time.Minute}).Save(t.Context())
	require.ErrorIs(t, err, ErrReply)
	require.ErrorContains(t, err, "over 67108864 bytes")
}

// A connection that MistServer closed while it was not needed is no error.
func TestClosedConnection(t *testing.T) {
	m := newMistHTTP(t, &mistHTTP{account: [2]string{"op", "pass"}, local: true})
	c := newClient(t, m.URL, Options{})
	for range 5 {
		require.NoError(t, c.Save(t.Context()))
		m.CloseClientConnections()
	}
}

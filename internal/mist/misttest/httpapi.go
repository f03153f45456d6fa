package misttest

import (
	"context"
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// login is whether a connection is authorized; once it is, it stays so.
type login struct{ done atomic.Bool }

type loginKey struct{}

// newAPI is the HTTP API of a process: the same calls and answers as over UDP, without a limit, and the counters.
func (s *Server) newAPI(p *process) *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serveHTTP(p, w, r) }),
		ReadHeaderTimeout: 10 * time.Second,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, loginKey{}, &login{})
		},
	}
}

func (s *Server) serveHTTP(p *process, w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	prometheus := "/" + s.config.prometheus
	s.mu.Unlock()
	switch r.URL.Path {
	case "/api", "/api2":
	case prometheus:
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, s.counters())
		return
	default:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!DOCTYPE html><title>MistServer</title>\n")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	reply, failed := s.apiRequest(p, r, body)
	if failed {
		select { // a wrong password costs time (source)
		case <-time.After(s.timing.LoginFail):
		case <-r.Context().Done():
			return
		case <-p.alive.Done():
			return
		}
	}
	answer, err := json.Marshal(reply)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "text/javascript")
	_, _ = w.Write(append(answer, "\n\n"...))
}

func (s *Server) apiRequest(p *process, r *http.Request, body []byte) (reply map[string]any, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != p {
		return nil, false
	}
	status, failed := s.authorize(p, r, body)
	if status["status"] != "OK" {
		return map[string]any{"authorize": status}, failed
	}
	reply = s.call("http", body)
	reply["authorize"] = status
	return reply, false
}

// authorize says whether a request is allowed: from the local host, without forwarding headers, it needs no login.
// Else the password to send is md5(md5(password)+challenge), in the same request as the calls.
func (s *Server) authorize(p *process, r *http.Request, body []byte) (status map[string]any, failed bool) {
	state := r.Context().Value(loginKey{}).(*login)
	if state.done.Load() {
		return map[string]any{"status": "OK"}, false
	}
	if s.options.Password == "" {
		if local(r) {
			return map[string]any{"status": "OK", "local": true}, false
		}
		return map[string]any{"status": "NOACC"}, false // no account exists yet
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	challenge := md5Hex(p.secret + host)
	var request struct {
		Authorize struct {
			Username string `json:"username"`
			Password string `json:"password"`
		} `json:"authorize"`
	}
	_ = json.Unmarshal(body, &request)
	given := request.Authorize
	expected := md5Hex(md5Hex(s.options.Password) + challenge)
	if given.Username == s.options.Username && subtle.ConstantTimeCompare([]byte(given.Password), []byte(expected)) == 1 {
		state.done.Store(true)
		return map[string]any{"status": "OK"}, false
	}
	return map[string]any{"status": "CHALL", "challenge": challenge}, given.Password != ""
}

func md5Hex(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

func local(r *http.Request) bool {
	for name := range r.Header {
		if name == "X-Real-Ip" || name == "Forwarded" || strings.HasPrefix(name, "X-Forwarded-") {
			return false
		}
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback()
}

// counters are what a Prometheus reads: of each trigger's type how often it was fired, for how many milliseconds, and
// how often without an answer (source: the form, which has no space before the number).
func (s *Server) counters() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	b.WriteString("# HELP mist_trigger_count Total executions for the given trigger\n")
	b.WriteString("# HELP mist_trigger_time Total execution time in millis for the given trigger\n")
	b.WriteString("# HELP mist_trigger_fails Total failed executions for the given trigger\n")
	for _, kind := range slices.Sorted(maps.Keys(s.stats)) {
		st := s.stats[kind]
		for _, one := range []struct {
			name  string
			value int64
		}{{"count", st.count}, {"time", st.spent.Milliseconds()}, {"fails", st.fails}} {
			fmt.Fprintf(&b, "mist_trigger_%s{trigger=%q}%d\n", one.name, kind, one.value)
		}
	}
	return b.String()
}

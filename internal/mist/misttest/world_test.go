package misttest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/mist"
	"authhook/internal/mist/misttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for what comes in a moment; nothing waits for it to be over.
const patience = 20 * time.Second

// fast is twenty times as fast as the real server.
func fast() misttest.Timing { return misttest.MeasuredTiming().Scaled(0.05) }

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, o misttest.Options) *misttest.Server {
	t.Helper()
	if o.Timing == (misttest.Timing{}) {
		o.Timing = fast()
	}
	s, err := misttest.Start(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// asked is one request of a trigger.
type asked struct {
	at     time.Time
	path   string
	header http.Header
	body   string
}

func (a asked) kind() mist.Type { return mist.Type(a.header.Get("X-Trigger")) }

func (a asked) lines() []string { return strings.Split(a.body, "\n") }

// desk answers triggers and keeps what it was asked.
type desk struct {
	URL    string
	mu     sync.Mutex
	all    []asked
	answer func(asked) string // "" is an empty answer; "503" a status
	more   chan struct{}
}

func newDesk(t *testing.T, answer func(asked) string) *desk {
	t.Helper()
	d := &desk{answer: answer, more: make(chan struct{}, 1)}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	d.URL = server.URL + "/trigger"
	return d
}

func yes(asked) string { return "true" }

func no(asked) string { return "false" }

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a := asked{time.Now(), r.URL.Path, r.Header, string(body)}
	d.mu.Lock()
	d.all = append(d.all, a)
	answer := d.answer
	d.mu.Unlock()
	select {
	case d.more <- struct{}{}:
	default:
	}
	text := answer(a)
	if text == "503" {
		w.WriteHeader(http.StatusServiceUnavailable)
		text = "true"
	}
	_, _ = io.WriteString(w, text)
}

func (d *desk) set(answer func(asked) string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = answer
}

func (d *desk) asked(kind mist.Type) []asked {
	d.mu.Lock()
	defer d.mu.Unlock()
	var some []asked
	for _, a := range d.all {
		if kind == "" || a.kind() == kind {
			some = append(some, a)
		}
	}
	return some
}

// await waits until a type was asked for so many times.
func (d *desk) await(t *testing.T, kind mist.Type, n int) []asked {
	t.Helper()
	ctx := within(t)
	for {
		if some := d.asked(kind); len(some) >= n {
			return some
		}
		select {
		case <-d.more:
		case <-ctx.Done():
			require.Failf(t, "not asked", "%s: %d times, not %d", kind, len(d.asked(kind)), n)
		}
	}
}

func sync1(url string, kinds ...mist.Type) map[string][]misttest.Trigger {
	triggers := map[string][]misttest.Trigger{}
	for _, k := range kinds {
		wait := k.Answer() != mist.AnswerNone
		triggers[string(k)] = []misttest.Trigger{{Handler: url, Sync: wait, Default: "false"}}
	}
	return triggers
}

// world is a server whose USER_NEW and USER_END go to a desk.
func world(t *testing.T, answer func(asked) string) (*misttest.Server, *desk) {
	t.Helper()
	d := newDesk(t, answer)
	s := start(t, misttest.Options{Name: "edge-1"})
	s.SetTriggers(sync1(d.URL, mist.TypeUserNew, mist.TypeUserEnd))
	return s, d
}

// observed are a player's events as they come.
func observed(t *testing.T, p *misttest.Player) <-chan misttest.Event {
	t.Helper()
	events := make(chan misttest.Event, 1000)
	t.Cleanup(p.Observe(func(e misttest.Event) { events <- e }))
	return events
}

func next(t *testing.T, events <-chan misttest.Event, kind misttest.EventKind) misttest.Event {
	t.Helper()
	ctx := within(t)
	for {
		select {
		case e := <-events:
			if e.Kind == kind {
				return e
			}
		case <-ctx.Done():
			require.Failf(t, "no event", "%v did not come", kind)
		}
	}
}

func reach(t *testing.T, p *misttest.Player, s misttest.State) {
	t.Helper()
	require.NoError(t, p.Wait(within(t), s))
}

// client speaks UDP to a server.
type client struct {
	t    *testing.T
	conn net.Conn
}

func dialUDP(t *testing.T, s *misttest.Server) *client {
	t.Helper()
	conn, err := net.Dial("udp", s.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t, conn}
}

func (c *client) send(text string) {
	c.t.Helper()
	_, err := c.conn.Write([]byte(text))
	require.NoError(c.t, err)
}

func (c *client) receive() map[string]any {
	c.t.Helper()
	require.NoError(c.t, c.conn.SetReadDeadline(time.Now().Add(patience)))
	b := make([]byte, 65_536)
	n, err := c.conn.Read(b)
	require.NoError(c.t, err)
	var reply map[string]any
	require.NoError(c.t, json.Unmarshal(b[:n], &reply))
	return reply
}

func (c *client) call(text string) map[string]any {
	c.t.Helper()
	c.send(text)
	return c.receive()
}

// listed are the rows of the list of a second ago, without inputs, by session id.
func (c *client) listed(fields ...string) map[string]map[string]any {
	c.t.Helper()
	f, _ := json.Marshal(append(fields, "sessid"))
	reply := c.call(`{"clients":{"time":-1,"fields":` + string(f) + `}}`)["clients"].(map[string]any)
	all := map[string]map[string]any{}
	data, _ := reply["data"].([]any)
	for _, r := range data {
		row := map[string]any{}
		for i, name := range reply["fields"].([]any) {
			row[name.(string)] = r.([]any)[i]
		}
		if id := row["sessid"].(string); id[0] != 'I' {
			all[id] = row
		}
	}
	return all
}

// until asks again until what is asked for is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	require.Eventually(t, so, patience, 2*time.Millisecond, what)
}

// raw takes one connection and returns all of the request as it came, then answers true.
func raw(t *testing.T) (url string, requests <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	all := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all <- readRaw(conn)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue")
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "http://" + l.Addr().String() + "/trigger", all
}

func readRaw(conn net.Conn) string {
	var b strings.Builder
	r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &b)))
	if err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	return b.String()
}

func newServer(t *testing.T, h http.Handler) (url string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// bareHandler answers true and keeps nothing.
func bareHandler(b *testing.B) (url string, stop func()) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "true")
	}))
	return server.URL, server.Close
}

package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/logtest"
	"authhook/internal/store"
	"authhook/internal/webhook"
)

// inbox is a receiver: what bears the header X-Good is from the provider.
type inbox struct {
	mu      sync.Mutex
	stored  []string
	asked   int
	fail    error
	receive func(ctx context.Context) error // in place of storing, where it is set
}

func (i *inbox) Receive(ctx context.Context, provider string, h http.Header, body []byte) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	switch {
	case provider != "events" && provider != "shop":
		panic("asked about " + provider)
	case h.Get("X-Good") == "":
		return fmt.Errorf("%s: %w", provider, billing.ErrSignature)
	case i.receive != nil:
		return i.receive(ctx)
	case i.fail != nil:
		return i.fail
	}
	i.stored = append(i.stored, provider+":"+string(body))
	return nil
}

// billed is a world whose edge serves billing.
func billed(t *testing.T, i *inbox, o webhook.BillingOptions) *world {
	t.Helper()
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	w.bill(i, o)
	return w
}

// bill has the edge serve billing, with an empty log.
func (w *world) bill(i *inbox, o webhook.BillingOptions) {
	o.Providers, w.log = []string{"events", "shop"}, &logtest.Log{}
	w.handler = webhook.NewHandler(w.triggers, w.metrics, webhook.HandlerOptions{
		TriggerKey: "0123456789abcdef",
		Billing:    webhook.NewBilling(i, w.metrics, w.logger(), o),
	})
}

// post makes a request that is from the provider.
func post(t *testing.T, path, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("X-Good", "secret-signature")
	return r
}

func (w *world) answer(r *http.Request) *httptest.ResponseRecorder {
	a := httptest.NewRecorder()
	w.handler.ServeHTTP(a, r)
	return a
}

const notVerified = "not verified\n"

// Whatever comes in, the answer is one of five.
func TestBillingAnswers(t *testing.T) {
	bad := func(r *http.Request) { r.Header.Del("X-Good") }
	method := func(m string) func(*http.Request) { return func(r *http.Request) { r.Method = m } }
	chunked := func(r *http.Request) { r.ContentLength = -1 }
	full := strings.Repeat("x", webhook.MaxEvent)
	tests := []struct {
		name, path, body string
		change           func(*http.Request)
		fail             error
		status           int
		stored           string
	}{
		{"an event", "/billing/events", "{}", nil, nil, 200, "events:{}"},
		{"of another provider", "/billing/shop", "{}", nil, nil, 200, "shop:{}"},
		{"of no length that is said", "/billing/shop", "{}", chunked, nil, 200, "shop:{}"},
		{"nothing in it", "/billing/events", "", nil, nil, 200, "events:"},
		{"not text", "/billing/events", "\x00\xff\n", nil, nil, 200, "events:\x00\xff\n"},
		{"said to be compressed", "/billing/events", "\x1f\x8b", func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, nil, 200, "events:\x1f\x8b"},
		{"of another kind", "/billing/events", "{}", func(r *http.Request) { r.Header.Set("Content-Type", "text/html; x") }, nil, 200, "events:{}"},
		{"with a query", "/billing/events?a=b&c", "{}", nil, nil, 200, "events:{}"},
		{"with the admin's words", "/billing/events", "{}", func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, nil, 200, "events:{}"},
		{"as large as can be", "/billing/events", full, nil, nil, 200, "events:" + full},
		{"as large as can be, in chunks", "/billing/events", full, chunked, nil, 200, "events:" + full},
		{"letters written otherwise", "/billing/%65vents", "{}", nil, nil, 200, "events:{}"},

		{"not signed", "/billing/events", "{}", bad, nil, 401, ""},
		{"no such provider", "/billing/nosuch", "{}", nil, nil, 401, ""},
		{"nor this", "/billing/unknown", "{}", nil, nil, 401, ""},
		{"no provider", "/billing", "{}", nil, nil, 401, ""},
		{"an empty one", "/billing/", "{}", nil, nil, 401, ""},
		{"below one", "/billing/events/b", "{}", nil, nil, 401, ""},
		{"a slash more", "/billing/events/", "{}", nil, nil, 401, ""},
		{"a slash in it", "/billing/events%2Fb", "{}", nil, nil, 401, ""},
		{"two slashes", "/billing//events", "{}", nil, nil, 401, ""},
		{"in capitals", "/billing/EVENTS", "{}", nil, nil, 401, ""},
		{"a step back", "/billing/../trigger", "{}", nil, nil, 401, ""},
		{"a step back, written otherwise", "/billing/%2e%2e/trigger/0123456789abcdef", "{}", nil, nil, 401, ""},
		{"to the API", "/billing/..%2fapi/v1/users", "{}", nil, nil, 401, ""},
		{"a step in place", "/billing/./events", "{}", nil, nil, 401, ""},
		{"a zero byte", "/billing/events%00", "{}", nil, nil, 401, ""},
		{"a line", "/billing/events%0a%0d", "{}", nil, nil, 401, ""},
		{"a long name", "/billing/" + strings.Repeat("x", 8000), "{}", nil, nil, 401, ""},

		{"read", "/billing/events", "", method(http.MethodGet), nil, 405, ""},
		{"head", "/billing/events", "", method(http.MethodHead), nil, 405, ""},
		{"options", "/billing/events", "", method(http.MethodOptions), nil, 405, ""},
		{"put", "/billing/events", "{}", method(http.MethodPut), nil, 405, ""},
		{"patch", "/billing/events", "{}", method(http.MethodPatch), nil, 405, ""},
		{"delete", "/billing/nosuch", "{}", method(http.MethodDelete), nil, 405, ""},
		{"a method that nobody knows", "/billing/a/b", "{}", method("BREW"), nil, 405, ""},
		{"a method in small letters", "/billing/events", "{}", method("post"), nil, 405, ""},

		{"too large", "/billing/events", full + "x", nil, nil, 413, ""},
		{"too large, and not signed", "/billing/events", full + "x", bad, nil, 413, ""},
		{"too large, for nobody", "/billing/nosuch", full + "x", nil, nil, 413, ""},
		{"too large, in chunks", "/billing/events", full + "x", chunked, nil, 413, ""},
		{"much too large, in chunks", "/billing/events", strings.Repeat(full, 3), chunked, nil, 413, ""},

		{"the database is away", "/billing/events", "{}", nil, fmt.Errorf("store: %w", store.ErrUnavailable), 503, ""},
		{"something else is", "/billing/events", "{}", nil, errors.New("odd"), 503, ""},
		{"a body that breaks off", "/billing/events", "{}", func(r *http.Request) { r.Body = io.NopCloser(io.MultiReader(strings.NewReader("{"), broken{})) }, nil, 503, ""},
		{"a body that panics", "/billing/events", "{}", func(r *http.Request) { r.Body = io.NopCloser(panickingBody{}) }, nil, 503, ""},
	}
	uniform := map[int]string{}
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := &inbox{fail: test.fail}
			w.bill(i, webhook.BillingOptions{})
			r := post(t, test.path, test.body)
			if test.change != nil {
				test.change(r)
			}
			a := w.answer(r)
			require.Equal(t, test.status, a.Code)
			if first, ok := uniform[a.Code]; ok {
				assert.Equal(t, first, a.Body.String(), "one body for each answer")
			}
			uniform[a.Code] = a.Body.String()
			var stored []string
			if test.stored != "" {
				stored = []string{test.stored}
			}
			assert.Equal(t, stored, i.stored, "what is answered with 200 is stored, and nothing else")
			assert.Equal(t, a.Code == 405, a.Header().Get("Allow") == "POST")
			assert.Equal(t, a.Code == 503, a.Header().Get("Retry-After") != "")
			assert.Empty(t, a.Header().Get("Location"))
			log := w.log.String()
			assert.NotContains(t, log, "trigger=", "nothing was decided")
			assert.Equal(t, 1, strings.Count(log, "msg=billing "), "one line")
			assert.Regexp(t, fmt.Sprintf(`provider=(events|shop|unknown) answer=%d bytes=\d+ us=\d+`, test.status), log)
			for _, never := range []string{"secret-signature", "nosuch", "BREW", "xxxx"} {
				assert.NotContains(t, log, never)
			}
		})
	}
	assert.Equal(t, notVerified, uniform[401])
	assert.Len(t, uniform, 5)
}

// Whatever a stranger sends, the answer is one of the five, and what is not from the provider is not stored.
func FuzzBillingAnswers(f *testing.F) {
	f.Add("POST", "/events", "X-Good", "yes", []byte("{}"), int64(2))
	f.Add("GET", "", "", "", []byte(nil), int64(0))
	f.Add("post", "/../trigger", "Expect", "100-continue", []byte("x"), int64(-1))
	f.Add("POST", "/a/b", "Transfer-Encoding", "chunked", []byte("\x00"), int64(1<<40))
	f.Add("POST", "//events", "Content-Length", "-5", bytes.Repeat([]byte("x"), webhook.MaxEvent+1), int64(-1))
	i, m := &inbox{}, webhook.NewMetrics()
	log := slog.New(slog.DiscardHandler)
	handler := webhook.NewHandler(webhook.NewTriggers(nil, nil, m, log, webhook.TriggerOptions{}), m, webhook.HandlerOptions{
		Billing: webhook.NewBilling(i, m, log, webhook.BillingOptions{Providers: []string{"events", "shop"}}),
	})
	f.Fuzz(func(t *testing.T, method, path, header, value string, body []byte, length int64) {
		if path != "" && path[0] != '/' {
			path = "/" + path
		}
		r := (&http.Request{
			Method: method, URL: &url.URL{Path: "/billing" + path}, Header: http.Header{}, ContentLength: length,
			Body: io.NopCloser(bytes.NewReader(body)),
		}).WithContext(t.Context())
		r.Header.Set(header, value)
		i.stored = nil
		a := httptest.NewRecorder()
		handler.ServeHTTP(a, r)
		assert.Contains(t, []int{200, 401, 405, 413, 503}, a.Code)
		good := r.Header.Get("X-Good") != "" && method == http.MethodPost && (path == "/events" || path == "/shop") && len(body) <= webhook.MaxEvent
		if a.Code == http.StatusOK {
			assert.True(t, good)
		}
		assert.Equal(t, a.Code == http.StatusOK, len(i.stored) == 1)
	})
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type panickingBody struct{}

func (panickingBody) Read([]byte) (int, error) { panic("hunter2") }

// What is beside /billing is not billing's.
func TestWhatIsNotBilling(t *testing.T) {
	i := &inbox{}
	w := billed(t, i, webhook.BillingOptions{})
	for _, path := range []string{"//billing/events", "/billings/events", "/Billing/events", "/x/../billing/events", "/%2Fbilling/events"} {
		assert.Equal(t, http.StatusNotFound, w.answer(post(t, path, "{}")).Code, path)
	}
	a := w.answer(post(t, "/trigger/../billing/events", "{}"))
	assert.Equal(t, http.StatusOK, a.Code)
	assert.Equal(t, "false", a.Body.String(), "a trigger with a wrong key")
	assert.Zero(t, i.asked)
	bare := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	assert.Equal(t, http.StatusNotFound, bare.answer(post(t, "/billing/events", "{}")).Code)
}

// A receiver that panics, or does not come back in time, is answered with 503; the next request finds everything in order.
func TestAReceiverThatFails(t *testing.T) {
	i := &inbox{receive: func(context.Context) error { panic("hunter2") }}
	w := billed(t, i, webhook.BillingOptions{})
	a := w.answer(post(t, "/billing/events", "{}"))
	assert.Equal(t, http.StatusServiceUnavailable, a.Code)
	assert.Equal(t, "5", a.Header().Get("Retry-After"))
	assert.NotContains(t, w.log.String(), "hunter2", "it may be made of what was sent")
	assert.Contains(t, w.log.String(), "billing_test.go", "where it was")
	i.receive = nil
	assert.Equal(t, http.StatusOK, w.answer(post(t, "/billing/events", "{}")).Code)

	i.receive = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	w = billed(t, i, webhook.BillingOptions{Time: 20 * time.Millisecond})
	assert.Equal(t, http.StatusServiceUnavailable, w.answer(post(t, "/billing/events", "{}")).Code)
}

// The receiver has what is left of the 4 s, which end before Paddle's 5, also where the sender has gone.
func TestTheTimeOfABillingRequest(t *testing.T) {
	var left time.Duration
	i := &inbox{receive: func(ctx context.Context) error {
		deadline, ok := ctx.Deadline()
		if !ok || ctx.Err() != nil {
			return errors.New("no deadline, or none left")
		}
		left = time.Until(deadline)
		return nil
	}}
	w := billed(t, i, webhook.BillingOptions{})
	gone, leave := context.WithCancel(t.Context())
	leave()
	assert.Equal(t, http.StatusOK, w.answer(post(t, "/billing/events", "{}").WithContext(gone)).Code)
	assert.Positive(t, left)
	assert.LessOrEqual(t, left, 4*time.Second)
}

func TestBillingIsCounted(t *testing.T) {
	w := billed(t, &inbox{}, webhook.BillingOptions{})
	w.answer(post(t, "/billing/events", "{}"))
	w.answer(post(t, "/billing/events", "{}"))
	for _, name := range []string{"a", "b", "unknown"} {
		w.answer(post(t, "/billing/"+name, "{}"))
	}
	r := post(t, "/billing/shop", "{}")
	r.Method = http.MethodGet
	w.answer(r)
	for labels, want := range map[string]string{
		`answer="200",provider="events"`: "2", `answer="401",provider="unknown"`: "3", `answer="405",provider="shop"`: "1",
		`answer="401",provider="a"`: "",
	} {
		assert.Equal(t, want, w.counted("authhook_billing_requests_total{"+labels+"}"), labels)
	}
}

// listening is a world that answers at an address, as serve does.
func listening(t *testing.T, w *world) string {
	t.Helper()
	server := httptest.NewUnstartedServer(w.handler)
	server.Config = webhook.NewServer(w.handler, w.logger())
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// dial opens a connection to a listening world.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
	return c
}

// answered reads an answer to a request of a method.
func answered(t *testing.T, c net.Conn, method string) *http.Response {
	t.Helper()
	a, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, a.Body)
	require.NoError(t, err)
	require.NoError(t, a.Body.Close())
	return a
}

const head = "POST /billing/events HTTP/1.1\r\nHost: h\r\nX-Good: yes\r\n"

// What comes over a real connection, and how it is left.
func TestBillingOverAConnection(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat("x", 64<<10))
	for _, test := range []struct {
		name, sends string
		status      int
		closes      bool
	}{
		{"whole", head + "Content-Length: 2\r\n\r\n{}", 200, false},
		{"in chunks", head + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 200, false},
		{"with a trailer", head + "Transfer-Encoding: chunked\r\nTrailer: X-Good\r\n\r\n2\r\n{}\r\n0\r\nX-Good: no\r\n\r\n", 200, false},
		{"in the old way", "POST /billing/events HTTP/1.0\r\nX-Good: yes\r\nContent-Length: 2\r\n\r\n{}", 200, true},
		{"with a whole URL", "POST http://h/billing/events HTTP/1.1\r\nHost: h\r\nX-Good: yes\r\nContent-Length: 2\r\n\r\n{}", 200, false},
		{"head", "HEAD /billing/events HTTP/1.1\r\nHost: h\r\n\r\n", 405, false},
		{"options", "OPTIONS /billing/x HTTP/1.1\r\nHost: h\r\n\r\n", 405, false},
		{"said to be too large", head + "Content-Length: 1048577\r\n\r\n", 413, true},
		{"said to be too large, and asks first", head + "Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", 413, true},
		{"chunks that grow too many", head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk, 17), 413, true},
		{"nothing of what is said to come", head + "Content-Length: 1048576\r\n\r\n", 503, true},
		{"half of it", head + "Content-Length: 10\r\n\r\n{\"a\"", 503, true},
		{"a chunk that does not come", head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{", 503, true},
		{"chunks that cannot be read", head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", 503, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			i := &inbox{}
			w.bill(i, webhook.BillingOptions{Time: 300 * time.Millisecond})
			c := dial(t, listening(t, w))
			go func() { _, _ = io.WriteString(c, test.sends) }() // what is refused is not read to its end
			method, _, _ := strings.Cut(test.sends, " ")
			a := answered(t, c, method)
			assert.Equal(t, test.status, a.StatusCode)
			assert.Equal(t, test.closes, a.Close)
			assert.Equal(t, test.status == 200, len(i.stored) == 1)
		})
	}
}

// A body that comes byte by byte has no more time than one that comes at once.
func TestASlowBillingBody(t *testing.T) {
	i := &inbox{}
	w := billed(t, i, webhook.BillingOptions{Time: 300 * time.Millisecond})
	c := dial(t, listening(t, w))
	_, err := io.WriteString(c, head+"Content-Length: 1000000\r\n\r\n")
	require.NoError(t, err)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
			}
		}
	}()
	a := answered(t, c, http.MethodPost)
	close(stop)
	<-stopped
	assert.Equal(t, http.StatusServiceUnavailable, a.StatusCode)
	assert.Equal(t, "5", a.Header.Get("Retry-After"))
	assert.Zero(t, i.asked)
}

// Where there is no room for one body more, it is to be sent again; who only announces one takes no room from others.
func TestTheRoomForBodies(t *testing.T) {
	const room = 48 << 10 // three small bodies
	entered, leave := make(chan struct{}), make(chan struct{})
	i := &inbox{}
	w := billed(t, i, webhook.BillingOptions{Room: room, Time: time.Minute})
	address := listening(t, w)
	var idle []net.Conn
	for range 2 {
		c := dial(t, address)
		_, err := io.WriteString(c, head+"Content-Length: 1048576\r\n\r\nx")
		require.NoError(t, err)
		idle = append(idle, c)
	}
	i.receive = func(context.Context) error { entered <- struct{}{}; <-leave; return nil }
	first := make(chan int, 1)
	go func() { first <- w.answer(post(t, "/billing/events", "{}")).Code }()
	<-entered // a third one, and the two that say so much more is to come, leave a place each
	assert.Equal(t, http.StatusServiceUnavailable, w.answer(post(t, "/billing/shop", strings.Repeat("x", room))).Code)
	assert.Contains(t, w.log.String(), "too many bodies are held already")
	close(leave)
	assert.Equal(t, http.StatusOK, <-first)
	for _, c := range idle {
		require.NoError(t, c.Close())
	}
	i.mu.Lock()
	i.receive = nil
	i.mu.Unlock()
	require.Eventually(t, func() bool {
		return w.answer(post(t, "/billing/events", string(bytes.Repeat([]byte("x"), room/2)))).Code == http.StatusOK
	}, 10*time.Second, time.Millisecond, "all of it is given back")
}

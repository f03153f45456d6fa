package socket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"authhook/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipes is a listener in memory, so that these tests run on synctest's clock.
type pipes struct {
	calls    chan net.Conn
	accepted atomic.Int32
	fail     chan error // errors for Accept to return
	closed   chan struct{}
	once     sync.Once
}

func newPipes() *pipes {
	return &pipes{calls: make(chan net.Conn), fail: make(chan error), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case <-p.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-p.calls:
		p.accepted.Add(1)
		return c, nil
	case err := <-p.fail:
		return nil, err
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// dial connects, or is nil when the listener is closed.
func (p *pipes) dial() net.Conn {
	near, far := net.Pipe()
	select {
	case p.calls <- far:
		return near
	case <-p.closed:
		return nil
	}
}

// service is a running Serve and what it told.
type service struct {
	*pipes
	stop func()
	done chan error

	mu       sync.Mutex
	problems []string
	errs     []error
}

// start runs Serve in the test's bubble. The test stops it and finds it ended.
func start(t *testing.T, h Handler, o Options) *service {
	t.Helper()
	s := &service{pipes: newPipes(), done: make(chan error, 1)}
	o.OnProblem = func(kind string, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.problems = append(s.problems, kind)
		s.errs = append(s.errs, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	go func() { s.done <- Serve(ctx, s.pipes, h, o) }()
	return s
}

// end stops the service and says what it was told.
func (s *service) end(t *testing.T) []string {
	t.Helper()
	s.stop()
	if err := <-s.done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	return s.problems
}

func request(t *testing.T, c *wire.Call) []byte {
	t.Helper()
	b, err := wire.AppendCall(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// exchange writes b in pieces of a size, and reads everything that comes back.
func exchange(conn net.Conn, b []byte, piece int) string {
	defer conn.Close()
	go func() {
		for p := range slices.Chunk(b, piece) {
			if _, err := conn.Write(p); err != nil {
				return
			}
		}
	}()
	back, _ := io.ReadAll(conn)
	return string(back)
}

func echo(_ context.Context, c *wire.Call) []byte { return append([]byte(c.Type+":"), c.Body...) }

func framed(answer string) string {
	b, err := wire.AppendAnswer(nil, []byte(answer))
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestCallsAreAnswered(t *testing.T) {
	large := strings.Repeat("b", wire.MaxBody-9)
	for name, x := range map[string]struct {
		call  wire.Call
		piece int
		want  string
	}{
		"at once":          {wire.Call{Type: "USER_NEW", Body: []byte("a\n")}, wire.MaxCall, framed("USER_NEW:a\n")},
		"byte by byte":     {wire.Call{Type: "USER_NEW", Body: []byte("a\n")}, 1, framed("USER_NEW:a\n")},
		"the largest":      {wire.Call{Type: "USER_NEW", Body: []byte(large)}, wire.MaxCall, framed("USER_NEW:" + large)},
		"large, in pieces": {wire.Call{Type: "USER_NEW", Body: []byte(large)}, 1000, framed("USER_NEW:" + large)},
		"empty":            {wire.Call{}, 1, framed(":")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, echo, Options{})
				if got := exchange(s.dial(), request(t, &x.call), x.piece); got != x.want {
					t.Errorf("answered %.60q (%d bytes), want %.60q (%d bytes)", got, len(got), x.want, len(x.want))
				}
				if p := s.end(t); p != nil {
					t.Errorf("problems %v: %v", p, s.errs)
				}
			})
		})
	}
}

func TestAnEmptyAnswerIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, func(context.Context, *wire.Call) []byte { return nil }, Options{})
		if got := exchange(s.dial(), request(t, &wire.Call{}), wire.MaxCall); got != framed("") {
			t.Errorf("answered %q, want %q", got, framed(""))
		}
		s.end(t)
	})
}

// A handler may keep its call: the next one is read into other memory.
func TestCallOutlivesItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []*wire.Call
		s := start(t, func(_ context.Context, c *wire.Call) []byte { calls = append(calls, c); return nil }, Options{})
		for _, body := range []string{"first", "other", "third"} {
			exchange(s.dial(), request(t, &wire.Call{Type: body, Body: []byte(body)}), wire.MaxCall)
		}
		s.end(t)
		for i, want := range []string{"first", "other", "third"} {
			if calls[i].Type != want || string(calls[i].Body) != want {
				t.Errorf("call %d is now %+v", i, calls[i])
			}
		}
	})
}

func TestProblemsAreToldAndNotAnswered(t *testing.T) {
	whole := request(t, &wire.Call{Type: "USER_NEW", Body: []byte("a\n")})
	answer := func(b []byte) Handler { return func(context.Context, *wire.Call) []byte { return b } }
	for name, x := range map[string]struct {
		send    []byte
		hangUp  bool // after sending; else it waits
		handler Handler
		want    []string
	}{
		"hangs up at once":    {nil, true, echo, nil},
		"hangs up in between": {whole[:len(whole)-1], true, echo, []string{ProblemRead}},
		"hangs up in prefix":  {whole[:5], true, echo, []string{ProblemRead}},
		"says nothing":        {nil, false, echo, []string{ProblemRead}},
		"stops in the prefix": {whole[:5], false, echo, []string{ProblemRead}},
		"stops in the call":   {whole[:len(whole)-1], false, echo, []string{ProblemRead}},
		"speaks HTTP":         {[]byte("GET / HTTP/1.1\r\n\r\n"), false, echo, []string{ProblemMalformed}},
		"claims 4 GiB":        {[]byte("ahC\x01\xff\xff\xff\xff"), false, echo, []string{ProblemMalformed}},
		"says too much":       {append(slices.Clone(whole), 0), false, echo, []string{ProblemMalformed}},
		"speaks nonsense":     {append([]byte("ahC\x01\x00\x00\x00\x14"), bytes.Repeat([]byte{0xff}, 20)...), false, echo, []string{ProblemMalformed}},
		"answer too large":    {whole, false, answer(make([]byte, wire.MaxAnswer+1)), []string{ProblemAnswer}},
		"handler panics":      {whole, false, func(context.Context, *wire.Call) []byte { panic("out of order") }, []string{ProblemPanic}},
		"handler gives up":    {whole, false, func(context.Context, *wire.Call) []byte { runtime.Goexit(); return nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, x.handler, Options{})
				conn := s.dial()
				if x.hangUp {
					_, _ = conn.Write(x.send)
					_ = conn.Close()
				} else if got := exchange(conn, x.send, max(len(x.send), 1)); got != "" {
					t.Errorf("answered %q", got)
				}
				// The next caller is served as if nothing had been.
				s.stillServes(t)
				if got := s.end(t); !slices.Equal(got, x.want) {
					t.Errorf("problems %v (%v), want %v", got, s.errs, x.want)
				}
			})
		})
	}
}

// stillServes shows that the service still takes connections.
func (s *service) stillServes(t *testing.T) {
	t.Helper()
	conn := s.dial()
	if conn == nil {
		t.Fatal("the service takes no connections any more")
	}
	_ = conn.Close()
}

func TestPanicTellsItsStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, func(context.Context, *wire.Call) []byte { panic("out of order") }, Options{})
		exchange(s.dial(), request(t, &wire.Call{}), wire.MaxCall)
		s.end(t)
		if len(s.errs) != 1 || !strings.Contains(s.errs[0].Error(), "out of order") || !strings.Contains(s.errs[0].Error(), "serve_test.go") {
			t.Errorf("told %v", s.errs)
		}
	})
}

func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var deadline time.Time
		s := start(t, func(ctx context.Context, _ *wire.Call) []byte {
			deadline, _ = ctx.Deadline()
			return []byte("true")
		}, Options{ReadTimeout: 3 * time.Second, AnswerTimeout: 5 * time.Second, WriteTimeout: 7 * time.Second})

		exchange(s.dial(), []byte("ah"), 1)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("a call that does not come is waited for %v, want 3 s", took)
		}

		began = time.Now()
		conn := s.dial()
		if _, err := conn.Write(request(t, &wire.Call{})); err != nil {
			t.Fatal(err)
		}
		// Nobody reads the answer, so writing it ends at its deadline.
		s.stop()
		<-s.done
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("an answer that nobody reads is written for %v, want 7 s", took)
		}
		if got := deadline.Sub(began); got != 5*time.Second {
			t.Errorf("the handler has %v, want 5 s", got)
		}
		if want := []string{ProblemRead, ProblemWrite}; !slices.Equal(s.problems, want) {
			t.Errorf("problems %v, want %v", s.problems, want)
		}
		_ = conn.Close()
	})
}

// A caller that sends a byte now and then does not get more time for it.
func TestDrippingCallIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, echo, Options{})
		conn, began := s.dial(), time.Now()
		for _, b := range request(t, &wire.Call{}) {
			if _, err := conn.Write([]byte{b}); err != nil {
				break
			}
			<-time.After(300 * time.Millisecond)
		}
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("cut off after %v", took)
		}
		_ = conn.Close()
		if want := []string{ProblemRead}; !slices.Equal(s.end(t), want) {
			t.Errorf("problems %v, want %v", s.problems, want)
		}
	})
}

func TestConnectionsOverTheCapWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := start(t, func(context.Context, *wire.Call) []byte { <-release; return []byte("true") }, Options{MaxConns: 2})
		answers := make(chan string, 5)
		for range 5 {
			go func() { answers <- exchange(s.dial(), request(t, &wire.Call{}), wire.MaxCall) }()
		}
		for _, want := range []int32{2, 3, 4, 5} {
			synctest.Wait() // all that can happen has happened
			if got := s.accepted.Load(); got != want {
				t.Errorf("%d connections taken, want %d", got, want)
			}
			release <- struct{}{}
		}
		release <- struct{}{}
		for range 5 {
			if got := <-answers; got != framed("true") {
				t.Errorf("answered %q", got)
			}
		}
		s.end(t)
	})
}

func TestShutdownFinishesWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var ended error
		s := start(t, func(ctx context.Context, _ *wire.Call) []byte {
			<-release
			ended = ctx.Err()
			return []byte("true")
		}, Options{})
		answer := make(chan string, 1)
		go func() { answer <- exchange(s.dial(), request(t, &wire.Call{}), wire.MaxCall) }()
		synctest.Wait()
		s.stop()
		synctest.Wait()
		select {
		case <-s.done:
			t.Fatal("Serve returned while a call was under way")
		default:
		}
		if s.dial() != nil {
			t.Error("a connection was taken after the end")
		}
		close(release)
		if got := <-answer; got != framed("true") {
			t.Errorf("answered %q", got)
		}
		if err := <-s.done; err != nil {
			t.Error(err)
		}
		if ended != nil {
			t.Errorf("the handler's context ended with the service: %v", ended)
		}
	})
}

// At the cap, nothing is accepted, and the shutdown must be seen all the same.
func TestShutdownAtTheCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := start(t, func(context.Context, *wire.Call) []byte { <-release; return nil }, Options{MaxConns: 1})
		answer := make(chan string, 1)
		go func() { answer <- exchange(s.dial(), request(t, &wire.Call{}), wire.MaxCall) }()
		synctest.Wait()
		s.stop()
		synctest.Wait()
		close(release)
		<-answer
		if err := <-s.done; err != nil {
			t.Error(err)
		}
	})
}

func TestAcceptIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, echo, Options{MaxConns: 1})
		began := time.Now()
		for range 20 {
			s.fail <- errors.New("too many open files")
		}
		if got := exchange(s.dial(), request(t, &wire.Call{Type: "A"}), wire.MaxCall); got != framed("A:") {
			t.Errorf("answered %q", got)
		}
		// The pause doubles from 5 ms up to 1 s: 8 pauses of 1.275 s together, then 12 of 1 s.
		if took := time.Since(began); took != 13275*time.Millisecond {
			t.Errorf("20 failures took %v", took)
		}
		s.fail <- errors.New("too many open files")
		synctest.Wait() // it pauses, and ends all the same
		began = time.Now()
		if p := s.end(t); len(p) != 21 || p[0] != ProblemAccept {
			t.Errorf("problems %v", p)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the end waited %v for the next try", took)
		}
	})
}

func TestListenerThatIsClosedByOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, echo, Options{})
		_ = s.Close()
		if err := <-s.done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
		s.stop()
	})
}

func TestServeWithoutOptionsOnARealSocket(t *testing.T) {
	path := t.TempDir() + "/s"
	l, err := Listen(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Serve(ctx, l, echo, Options{}) }()
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Error(err)
				return
			}
			if got := exchange(conn, request(t, &wire.Call{Type: "A", Body: []byte("b")}), wire.MaxCall); got != framed("A:b") {
				t.Errorf("answered %q", got)
			}
		})
	}
	calls.Wait()
	// Without OnProblem a problem is nobody's.
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	exchange(conn, []byte("GET / HTTP/1.1\r\n\r\n"), 100)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's file is still there: %v", err)
	}
}

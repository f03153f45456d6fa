// Package socket is the service's end of the Unix socket that authhook-trigger calls: it reads a [wire.Call] from each
// connection, has it answered, and closes.
//
// It knows nothing of triggers. It must never let one connection harm another: each has deadlines, there are never more
// than a given number of them, and a handler that panics costs its own caller the answer and nobody else anything. A
// call that is not answered is never answered in part: authhook-trigger then prints MistServer's default.
//
// It is apart from package wire so that authhook-trigger, which must start fast, links neither net nor this.
package socket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"authhook/internal/wire"
)

// Handler answers a call. Its context ends after [Options.AnswerTimeout], and not at the service's shutdown. An empty
// answer, nil as well, is an answer: MistServer takes it for "false", or for an empty value. The handler may keep the
// call; what it returns is not changed.
type Handler func(ctx context.Context, c *wire.Call) []byte

// The kinds of problems that [Options.OnProblem] is told of. In each of them the caller got no answer, except that for
// [ProblemAccept] there is no caller.
const (
	// ProblemAccept: no connection could be taken, for want of file descriptors for example. It is tried again.
	ProblemAccept = "accept"
	// ProblemRead: the call was cut off, or did not come in time.
	ProblemRead = "read"
	// ProblemMalformed: what came is not a call.
	ProblemMalformed = "malformed"
	// ProblemPanic: the handler panicked. The error holds the stack.
	ProblemPanic = "panic"
	// ProblemAnswer: the handler's answer is over [wire.MaxAnswer].
	ProblemAnswer = "answer"
	// ProblemWrite: the answer could not be written, most often because the caller had given up waiting.
	ProblemWrite = "write"
)

// Options are what may be changed. A zero value stands for the default.
type Options struct {
	// MaxConns is how many connections are served at once. More wait in the kernel's queue. Default 256.
	MaxConns int
	// ReadTimeout is how long a call may take to arrive. Default 1 s.
	ReadTimeout time.Duration
	// AnswerTimeout is how long the handler's context lasts. Default 4.3 s: less than [wire.Patience], so that a handler
	// that finds its database hanging can still answer with what is configured for that.
	AnswerTimeout time.Duration
	// WriteTimeout is how long the answer may take to leave. Default 1 s.
	WriteTimeout time.Duration
	// OnProblem is told of each problem, so that it can be counted; kind is one of the Problem constants. It is called
	// from many goroutines, and must return quickly. Nil: nobody is told.
	OnProblem func(kind string, err error)
}

// Serve answers the calls on l until ctx ends; then it stops accepting, lets the calls that are under way finish, and
// returns nil. It returns an error only when l fails for good. Either way l is closed and no goroutine is left.
func Serve(ctx context.Context, l net.Listener, h Handler, o Options) error {
	s := &server{handler: h, o: o, slots: make(chan struct{}, cmp.Or(o.MaxConns, 256))}
	s.o.ReadTimeout = cmp.Or(o.ReadTimeout, time.Second)
	s.o.AnswerTimeout = cmp.Or(o.AnswerTimeout, wire.Patience-200*time.Millisecond)
	s.o.WriteTimeout = cmp.Or(o.WriteTimeout, time.Second)
	if o.OnProblem == nil {
		s.o.OnProblem = func(string, error) {}
	}

	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = l.Close()
	})
	err := s.acceptAll(ctx, l)
	if stop() {
		_ = l.Close()
	} else {
		<-closed
	}
	s.running.Wait()
	return err
}

type server struct {
	handler Handler
	o       Options
	slots   chan struct{} // holds one for each connection
	running sync.WaitGroup
}

// acceptAll takes connections until ctx ends, only as many at a time as there are slots.
func (s *server) acceptAll(ctx context.Context, l net.Listener) error {
	const longest = time.Second
	pause := 5 * time.Millisecond
	for {
		select {
		case <-ctx.Done():
			return nil
		case s.slots <- struct{}{}:
		}
		conn, err := l.Accept()
		if err == nil {
			pause = 5 * time.Millisecond
			s.running.Go(func() {
				defer func() { <-s.slots }()
				s.serve(ctx, conn)
			})
			continue
		}
		<-s.slots
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept calls of authhook-trigger: %w", err)
		}
		s.o.OnProblem(ProblemAccept, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
	}
}

// serve answers the one call of a connection.
func (s *server) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer func() {
		if r := recover(); r != nil {
			s.o.OnProblem(ProblemPanic, fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
		}
	}()
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)

	_ = conn.SetReadDeadline(time.Now().Add(s.o.ReadTimeout))
	call, problem, err := readCall(conn, *b)
	if err != nil {
		if problem != "" {
			s.o.OnProblem(problem, err)
		}
		return
	}
	answer := s.answer(ctx, call)
	frame, err := wire.AppendAnswer((*b)[:0], answer)
	if err != nil {
		s.o.OnProblem(ProblemAnswer, fmt.Errorf("%d bytes answered to %s: %w", len(answer), call.Type, err))
		return
	}
	_ = conn.SetWriteDeadline(time.Now().Add(s.o.WriteTimeout))
	if _, err := conn.Write(frame); err != nil {
		s.o.OnProblem(ProblemWrite, err)
	}
}

// answer asks the handler. A shutdown does not end the handler's context: what is under way is to finish.
func (s *server) answer(ctx context.Context, call *wire.Call) []byte {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.AnswerTimeout)
	defer cancel()
	return s.handler(ctx, call)
}

// buffers hold a usual call and a usual answer whole. Nobody keeps them beyond a connection.
var buffers = sync.Pool{New: func() any { b := make([]byte, 4<<10); return &b }}

// readCall reads a call: in one read where it fits the buffer and came in one piece. A connection that says nothing is
// an error but no problem: another service asks in this way whether somebody listens (see [Listen]).
func readCall(r io.Reader, buf []byte) (c *wire.Call, problem string, err error) {
	n, err := io.ReadAtLeast(r, buf, wire.PrefixSize)
	if err != nil {
		if n == 0 && errors.Is(err, io.EOF) {
			return nil, "", err
		}
		return nil, ProblemRead, fmt.Errorf("read a call: %w", err)
	}
	size, err := wire.CallSize(buf)
	if err != nil {
		return nil, ProblemMalformed, err
	}
	whole := wire.PrefixSize + size
	if n > whole {
		return nil, ProblemMalformed, fmt.Errorf("%d bytes after the call: %w", n-whole, wire.ErrMalformed)
	}
	if whole > len(buf) {
		buf = append(make([]byte, 0, whole), buf[:n]...)
	}
	if _, err := io.ReadFull(r, buf[n:whole]); err != nil {
		return nil, ProblemRead, fmt.Errorf("read a call of %d bytes: %w", whole, err)
	}
	if c, err = wire.ParseCall(buf[wire.PrefixSize:whole]); err != nil {
		return nil, ProblemMalformed, err
	}
	return c, "", nil
}

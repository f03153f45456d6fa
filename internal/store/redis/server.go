package redis

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"authhook/internal/store/breaker"
)

const (
	// failuresToOpen is how many calls in a row fail before no more are made.
	failuresToOpen = 5
	// probeEvery is how long after a failed probe, and after opening, the next one is due.
	probeEvery = time.Second
	// probeTimeout bounds the first half of a probe, which may have to connect.
	probeTimeout = 2 * time.Second
)

// errOpen: Redis was not asked, as it did not answer lately.
var errOpen = errors.New("redis is not asked: it did not answer lately")

// server is a Redis that may be away.
type server struct {
	client  goredis.UniversalClient
	timeout time.Duration
	metrics *Metrics
	log     *slog.Logger
	// breaker is open at first, until one probe got through: so nobody waits for a connection to be made.
	breaker *breaker.Breaker

	mu      sync.Mutex // guards ended against what begins aside
	ended   bool
	aside   sync.WaitGroup // probes, and what its owners do
	closing context.Context
	cancel  context.CancelFunc
}

func newServer(client goredis.UniversalClient, timeout time.Duration, m *Metrics, log *slog.Logger) *server {
	s := &server{client: client, timeout: timeout, metrics: m, log: log, breaker: breaker.NewOpen(failuresToOpen, probeEvery)}
	// A probe is nobody's call, so no caller's context can be its parent.
	s.closing, s.cancel = context.WithCancel(context.Background())
	return s
}

// close ends the probe that runs, and waits for all that is done aside. Nothing is asked afterwards; the client is its owner's to
// close.
func (s *server) close() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.cancel()
	s.aside.Wait()
	s.breaker.Shut()
}

// call has something asked of Redis, within the time of a call, unless the breaker is open. An error is counted here.
func (s *server) call(ctx context.Context, ask func(context.Context) error) error {
	return s.callWithin(ctx, s.timeout, ask)
}

// callWithin is call for what may take another time.
func (s *server) callWithin(ctx context.Context, timeout time.Duration, ask func(context.Context) error) error {
	period, probe := s.breaker.Allow()
	if probe {
		s.probeAside()
	}
	if period == 0 {
		return errOpen
	}
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := ask(within)
	cause := causeOf(err)
	if cause != "" && ctx.Err() != nil {
		return err // the asker left: that says nothing about Redis
	}
	if cause != "" {
		s.metrics.failed(cause)
	}
	if s.breaker.Report(period, cause != "" && !cause.answered()) {
		s.log.Warn("redis does not answer: nothing is asked of it until it does", "cause", string(cause))
	}
	return err
}

// lookAside has it looked, aside, whether Redis answers, where that is due.
func (s *server) lookAside() {
	if _, probe := s.breaker.Allow(); probe {
		s.probeAside()
	}
}

func (s *server) probeAside() { s.goAside(func() { s.probe(s.closing) }) }

// goAside has something done that close waits for; after close, nothing.
func (s *server) goAside(do func()) {
	if s.mayAside() {
		go func() {
			defer s.aside.Done()
			do()
		}()
	}
}

// mayAside says whether something may be done that close waits for, which is said to s.aside once it is done.
func (s *server) mayAside() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.aside.Add(1)
	}
	return !s.ended
}

// probe asks twice: whether Redis answers at all, for which it may take its time to connect, and whether it does within
// the time of a call, as all others must.
func (s *server) probe(ctx context.Context) {
	err := s.ping(ctx, probeTimeout)
	if err == nil {
		err = s.ping(ctx, s.timeout)
	}
	s.breaker.Probed(err != nil)
	if err == nil {
		s.log.Info("redis answers")
	} else if ctx.Err() == nil {
		s.metrics.failed(causeOf(err))
	}
}

func (s *server) ping(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.client.Ping(ctx).Err()
}

// cause is what kept Redis from doing what it was asked; empty for nothing.
type cause string

const (
	causeTimeout    cause = "timeout"
	causeConnection cause = "connection"
	causeFull       cause = "full"      // it has no memory for it
	causeType       cause = "type"      // another kind of value is under the key
	causeForbidden  cause = "forbidden" // this user, or this replica, may not
	causeNotReady   cause = "not_ready" // it is loading, busy, or has no primary
	causePassword   cause = "password"  // it does not know us
	causeOther      cause = "other"
)

var causes = []cause{causeTimeout, causeConnection, causeFull, causeType, causeForbidden, causeNotReady, causePassword, causeOther}

// answered says whether Redis is well, and only this was not to be had.
func (c cause) answered() bool { return c == causeFull || c == causeType || c == causeForbidden }

// By the first word of an error that Redis answers.
var causeByWord = map[string]cause{
	"OOM":       causeFull,
	"WRONGTYPE": causeType,
	"NOPERM":    causeForbidden, "READONLY": causeForbidden, "MISCONF": causeForbidden, "NOREPLICAS": causeForbidden,
	"LOADING": causeNotReady, "BUSY": causeNotReady, "MASTERDOWN": causeNotReady, "CLUSTERDOWN": causeNotReady,
	"TRYAGAIN": causeNotReady,
	"NOAUTH":   causePassword, "WRONGPASS": causePassword,
}

func causeOf(err error) cause {
	if err == nil {
		return ""
	}
	if _, answered := errors.AsType[goredis.Error](err); answered {
		for word, cause := range causeByWord {
			if goredis.HasErrorPrefix(err, word) {
				return cause
			}
		}
		return causeOther
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, goredis.ErrPoolTimeout) {
		return causeTimeout
	}
	return causeConnection
}

package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/logtest"
	"authhook/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is what calls reach, in place of a database.
type server struct {
	is      atomic.Pointer[func(context.Context) error]
	reached atomic.Int64
}

func (s *server) become(is func(context.Context) error) { s.is.Store(&is) }

func (s *server) call(ctx context.Context) error {
	s.reached.Add(1)
	return (*s.is.Load())(ctx)
}

func well(context.Context) error { return nil }

func refusing(context.Context) error { return fmt.Errorf("connect: %w", store.ErrUnavailable) }

// silent is what a driver makes of a server that does not answer.
func silent(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	<-ctx.Done()
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
}

// before is a gate before a server.
func before(o Options) (*gate, *server) {
	o = o.withDefaults()
	s := &server{}
	s.become(well)
	return newGate(reads, &o), s
}

func (g *gate) refusals(why refusal) float64 { return count(g.o.Metrics.refusals[g.calls][why]) }

// count is what a counter or a gauge stands at.
func count(c prometheus.Collector) float64 {
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		panic(err)
	}
	m := families[0].GetMetric()[0]
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

// fail opens a gate.
func fail(t *testing.T, g *gate, s *server) {
	t.Helper()
	s.become(refusing)
	for range g.o.FailuresToOpen {
		require.False(t, g.breaker.Open())
		require.ErrorIs(t, g.do(t.Context(), s.call), store.ErrUnavailable)
	}
	require.True(t, g.breaker.Open())
	s.reached.Store(0)
}

// While it lasts, a call now and then looks, and nobody else is kept by it; the first that finds the database opens the gate.
func TestNobodyWaitsForWhatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logtest.Log
		g, s := before(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		s.become(silent)
		var first sync.WaitGroup
		for range 10 {
			first.Go(func() {
				if err := g.do(t.Context(), s.call); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
			})
		}
		first.Wait()
		require.EqualValues(t, 10, s.reached.Swap(0), "it was not known before")

		const asks = 10_000
		var asking sync.WaitGroup
		for range asks {
			asking.Go(func() { _ = g.do(t.Context(), s.call) })
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		asking.Wait()
		// Looks take 0.5, 1, 2 and 4 s, which is what the driver waits, and there are 100 to 125 ms between two.
		reached := s.reached.Swap(0)
		require.EqualValues(t, 5, reached, "looks in 10 s")
		require.EqualValues(t, asks-reached, g.refusals(away))
		require.Zero(t, g.refusals(busy))

		s.become(well)
		time.Sleep(125 * time.Millisecond)
		for range 100 {
			require.NoError(t, g.do(t.Context(), s.call))
		}
		require.Equal(t, 1, strings.Count(log.String(), "the database does not answer"))
		require.Equal(t, 1, strings.Count(log.String(), "the database answers"))
	})
}

// A database that is slow, but answers, is found: a look takes as long as it must, as far as its asker's time goes.
func TestALookTakesAsLongAsItMust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := before(Options{})
		fail(t, g, s)
		s.become(func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
			case <-time.After(1800 * time.Millisecond):
				return nil
			}
		})
		looks := func(given time.Duration) error {
			time.Sleep(125 * time.Millisecond)
			ctx, cancel := context.WithTimeout(t.Context(), given)
			defer cancel()
			return g.do(ctx, s.call)
		}
		require.ErrorIs(t, looks(time.Hour), store.ErrUnavailable, "0.5 s")
		require.ErrorIs(t, looks(time.Hour), store.ErrUnavailable, "1 s")
		for range 3 {
			require.ErrorIs(t, looks(1500*time.Millisecond), store.ErrUnavailable, "its asker has no more")
		}
		require.NoError(t, looks(time.Hour), "2 s")
		require.False(t, g.breaker.Open())
		require.Equal(t, g.o.ProbeTimeout, g.look, "the next outage begins anew")
	})
}

// That an asker's time is up speaks against the database only after the call had enough of it.
func TestAnAskersTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := before(Options{})
		s.become(silent)
		ask := func(given time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), given)
			defer cancel()
			require.ErrorIs(t, g.do(ctx, s.call), store.ErrUnavailable)
		}
		for range 10 {
			ask(499 * time.Millisecond)
		}
		require.False(t, g.breaker.Open())
		for range 5 {
			ask(500 * time.Millisecond)
		}
		require.True(t, g.breaker.Open())
	})
}

// What must be is asked though the gate be shut, for as long as it takes, and opens it.
func TestWhatMustBeIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := before(Options{})
		fail(t, g, s)
		for range 3 {
			require.ErrorIs(t, g.must(t.Context(), s.call), store.ErrUnavailable)
		}
		require.EqualValues(t, 3, s.reached.Load())
		require.ErrorIs(t, g.do(t.Context(), s.call), errAway)
		s.become(func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Minute):
				return nil
			}
		})
		require.NoError(t, g.must(t.Context(), s.call))
		require.False(t, g.breaker.Open())
	})
}

// Calls that hang keep no look from being made.
func TestALookNeedsNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := before(Options{AtOnce: 4, FailuresToOpen: 2})
		hang := make(chan struct{})
		var hanging sync.WaitGroup
		for range 4 {
			hanging.Go(func() { _ = g.do(t.Context(), func(context.Context) error { <-hang; return nil }) })
		}
		synctest.Wait()
		for range 2 {
			require.ErrorIs(t, g.must(t.Context(), refusing), store.ErrUnavailable)
		}
		require.ErrorIs(t, g.do(t.Context(), s.call), errAway)
		time.Sleep(125 * time.Millisecond)
		require.NoError(t, g.do(t.Context(), s.call))
		require.False(t, g.breaker.Open())
		close(hang)
		hanging.Wait()
	})
}

// Only what the database did or failed to do says something about it.
func TestWhatSaysSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		invalid := &store.InvalidError{Field: "viewer", Problem: "is empty"}
		left, leave := context.WithCancel(t.Context())
		leave()
		g, s := before(Options{FailuresToOpen: 2})
		for name, answer := range map[string]error{"none": store.ErrNotFound, "conflict": store.ErrConflict, "fine": nil} {
			fail(t, g, s)
			time.Sleep(125 * time.Millisecond)
			require.ErrorIs(t, g.do(t.Context(), func(context.Context) error { return answer }), answer, name)
			require.False(t, g.breaker.Open(), name)
			for range 5 {
				_ = g.do(t.Context(), refusing)
				_ = g.do(t.Context(), func(context.Context) error { return answer })
			}
			require.False(t, g.breaker.Open(), "%s: never twice in a row", name)
		}
		for name, call := range map[string]func(context.Context) error{
			"invalid": func(context.Context) error { return invalid },
			"left":    func(context.Context) error { return left.Err() },
			"broken":  func(context.Context) error { return errors.New("a column is missing") },
		} {
			for range 10 {
				require.Error(t, g.do(left, call), name)
			}
			require.False(t, g.breaker.Open(), name)
			require.Error(t, g.do(t.Context(), refusing))
			require.Error(t, g.do(left, call), name)
			require.Error(t, g.do(t.Context(), refusing))
			require.True(t, g.breaker.Open(), "%s, between two failures, is neither", name)
			time.Sleep(125 * time.Millisecond)
			require.NoError(t, g.do(t.Context(), well))
			fail(t, g, s)
			time.Sleep(125 * time.Millisecond)
			require.Error(t, g.do(left, call), name)
			require.True(t, g.breaker.Open(), "%s closes nothing", name)
			require.NoError(t, g.do(t.Context(), well), "%s: the next one looks at once", name)
			require.False(t, g.breaker.Open())
		}
		require.Panics(t, func() { _ = g.do(t.Context(), func(context.Context) error { panic("broken") }) })
		fail(t, g, s)
		time.Sleep(125 * time.Millisecond)
		require.Panics(t, func() { _ = g.do(t.Context(), func(context.Context) error { panic("broken") }) })
		require.NoError(t, g.do(t.Context(), well))
		require.Empty(t, g.places)
	})
}

func TestSoManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := before(Options{AtOnce: 4, Wait: 300 * time.Millisecond})
		var running, most atomic.Int64
		s.become(func(context.Context) error {
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(200 * time.Millisecond)
			running.Add(-1)
			return nil
		})
		var asking sync.WaitGroup
		var served, refused atomic.Int64
		began := time.Now()
		for range 100 {
			asking.Go(func() {
				switch err := g.do(t.Context(), s.call); {
				case err == nil:
					served.Add(1)
				case errors.Is(err, store.ErrBusy) && time.Since(began) == 300*time.Millisecond:
					refused.Add(1)
				default:
					t.Errorf("%v after %v", err, time.Since(began))
				}
			})
		}
		synctest.Wait()
		require.NoError(t, g.must(t.Context(), func(context.Context) error { return nil }), "what must be is not in the crowd")
		hurried, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, g.do(hurried, s.call), context.DeadlineExceeded)
		asking.Wait()
		require.EqualValues(t, 4, most.Load())
		require.EqualValues(t, 8, served.Load(), "those of the first and of the second 200 ms")
		require.EqualValues(t, 92, refused.Load())
		require.EqualValues(t, 92, g.refusals(busy))
		require.False(t, g.breaker.Open(), "a crowd says nothing about the database")
		require.Empty(t, g.places)
	})
}

// Who waits for a turn while the others find no database is not sent after them.
func TestWhoWaitedWhenItOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := before(Options{AtOnce: 8, Wait: time.Hour})
		s.become(silent)
		var asking sync.WaitGroup
		for range 1000 {
			asking.Go(func() { _ = g.do(t.Context(), s.call) })
		}
		asking.Wait()
		// The first four who fail make room before it is known.
		reached := s.reached.Load()
		require.True(t, reached >= 8 && reached <= 12, "%d", reached)
		require.EqualValues(t, 1000-reached, g.refusals(away))
		require.Empty(t, g.places)
	})
}

// A database that comes back is not asked by all at once who waited for it.
func TestNoStampede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := before(Options{})
		fail(t, g, s)
		time.Sleep(125 * time.Millisecond)
		var running, most atomic.Int64
		s.become(func(context.Context) error {
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(5 * time.Millisecond)
			running.Add(-1)
			return nil
		})
		var asking sync.WaitGroup
		for range 5000 {
			asking.Go(func() { _ = g.do(t.Context(), s.call) })
		}
		synctest.Wait()
		require.EqualValues(t, 1, running.Load(), "one looks")
		asking.Wait()
		require.EqualValues(t, 1, most.Swap(0))
		for range 5000 {
			asking.Go(func() {
				if err := g.do(t.Context(), s.call); err != nil {
					t.Errorf("got %v", err)
				}
			})
		}
		asking.Wait()
		require.EqualValues(t, 64, most.Load())
	})
}

func TestMetrics(t *testing.T) {
	m := NewMetrics()
	d := New(nil, Options{Metrics: m})
	r := prometheus.NewPedanticRegistry()
	m.Register(r)
	families, err := r.Gather()
	require.NoError(t, err)
	is := map[string]int{}
	for _, family := range families {
		is[family.GetName()] = len(family.GetMetric())
	}
	require.Equal(t, map[string]int{"authhook_database_open": 2, "authhook_database_refused_total": 4}, is)
	require.Zero(t, count(m.collectors[1]))
	d.reads.breaker.Shut()
	require.EqualValues(t, 1, count(m.collectors[1]))
	require.Zero(t, count(m.collectors[2]), "writes have one of their own")
}

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// told is what a queue told of its commands.
type told struct {
	busy atomic.Bool // in one of the functions

	mu                 sync.Mutex
	first, done, ended []Command
	sentAt, receivedAt map[Command]time.Time
	err                error
}

// options are those of a queue that tells, one thing at a time.
func (w *told) options(t *testing.T) QueueOptions {
	w.sentAt, w.receivedAt = make(map[Command]time.Time), make(map[Command]time.Time)
	alone := func(f func()) {
		if w.busy.Swap(true) {
			t.Error("two at a time")
		}
		w.mu.Lock()
		f()
		w.mu.Unlock()
		w.busy.Store(false)
	}
	return QueueOptions{
		Sent:     func(c Command, at time.Time) { alone(func() { w.first = append(w.first, c); w.sentAt[c] = at }) },
		Received: func(c Command, at time.Time) { alone(func() { w.done = append(w.done, c); w.receivedAt[c] = at }) },
		Failed:   func(c Command, err error) { alone(func() { w.ended = append(w.ended, c); w.err = err }) },
	}
}

func (w *told) sent() []Command     { w.mu.Lock(); defer w.mu.Unlock(); return slices.Clone(w.first) }
func (w *told) received() []Command { w.mu.Lock(); defer w.mu.Unlock(); return slices.Clone(w.done) }
func (w *told) failed() []Command   { w.mu.Lock(); defer w.mu.Unlock(); return slices.Clone(w.ended) }

func (w *told) when(at map[Command]time.Time, c Command) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return at[c]
}

// pass lets virtual time pass, and everything happen that it brings.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// running runs a queue until the returned function is called, which waits for its end.
func running(t *testing.T, q *Queue) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- q.Run(ctx) }()
	return func() {
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
	}
}

func stopSession(i int) Command {
	return Command{Kind: StopSession, Session: fmt.Sprintf("%064x", i)}
}

func TestQueueSendsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{answer: acknowledge, delay: time.Millisecond}
		var w told
		q := n.client(t, Options{}).NewQueue(w.options(t))
		stop := running(t, q)
		for i := range 3 {
			pass(time.Second) // virtual: the queue is idle
			began := time.Now()
			q.Add(stopSession(i))
			synctest.Wait()
			require.Equal(t, began, w.when(w.sentAt, stopSession(i)))
			require.Empty(t, w.when(w.receivedAt, stopSession(i)))
			pass(time.Millisecond)
			require.Equal(t, began.Add(time.Millisecond), w.when(w.receivedAt, stopSession(i)))
		}
		stop()
		require.Equal(t, 3, n.sockets)
	})
}

// Every kind as MistServer reads it.
func TestQueueSaysEveryKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{answer: acknowledge}
		q := n.client(t, Options{}).NewQueue(QueueOptions{})
		q.Add(
			Command{Kind: StopSession, Session: "a"}, Command{Kind: TagSession, Session: "b", Tag: "user:1"},
			Command{Kind: InvalidateStream, Stream: "live+\"x\"\n"}, Command{Kind: TagStream, Stream: "m", Tag: "p"},
			Command{Kind: UntagStream, Stream: "n", Tag: "p"}, Command{Kind: StopSession, Session: "c"},
			Command{Kind: UntagStream, Stream: "o\xff中", Tag: "\x00"}, Command{}, Command{Kind: kinds},
		)
		require.Equal(t, 7, q.Waiting())
		stop := running(t, q)
		synctest.Wait()
		stop()
		require.Equal(t, []string{`{"stop_sessid":["a","c"],"tag_sessid":{"b":"user:1"},"invalidate_sessions":["live+\"x\"\n"],` +
			`"tag_stream":{"m":["p"]},"untag_stream":{"n":["p"],"o` + "\xff中" + `":["\u0000"]}}`},
			n.datagrams())
		require.Zero(t, q.Waiting())
	})
}

// A lost reply holds up its own sessions and streams, and nobody else's.
func TestQueueSlowExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := Command{Kind: StopSession, Session: "slow"}
		after := Command{Kind: TagSession, Session: "slow", Tag: "t"}
		began := time.Now()
		n := &network{answer: func(d []byte) []byte {
			if strings.Contains(string(d), "slow") && time.Since(began) < time.Second {
				return nil
			}
			return acknowledge(d)
		}}
		var w told
		q := n.client(t, Options{}).NewQueue(w.options(t))
		stop := running(t, q)
		q.Add(slow)
		synctest.Wait()
		q.Add(after)
		for i := range 100 {
			q.Add(stopSession(i))
		}
		pass(20 * time.Millisecond)
		require.Len(t, w.received(), 100)
		require.NotContains(t, w.sent(), after)
		require.Equal(t, 1, q.Waiting())
		pass(2 * time.Second)
		stop()
		require.Equal(t, []Command{slow, after}, w.received()[100:])
		require.False(t, w.when(w.sentAt, after).Before(w.when(w.receivedAt, slow)))
		require.Len(t, w.sent(), 102, "each is sent for the first time once")
	})
}

// No more exchanges at once than are allowed, no faster than is allowed.
func TestQueuePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var under, most atomic.Int64
		n := &network{}
		n.answer = func([]byte) []byte {
			most.Store(max(most.Load(), under.Add(1)))
			time.AfterFunc(19*time.Millisecond, func() { under.Add(-1) })
			return []byte(`{"LTS":1}`)
		}
		n.delay = 20 * time.Millisecond // less than the first pause
		var w told
		o := w.options(t)
		o.InFlight = 3
		q := n.client(t, Options{}).NewQueue(o)
		for i := range 200 {
			q.Add(stopSession(i))
		}
		stop := running(t, q)
		pass(time.Second)
		stop()
		require.Len(t, w.received(), 200)
		require.EqualValues(t, 3, most.Load())

		n.delay, n.answer = 0, acknowledge
		var paced told
		o = paced.options(t)
		o.Interval = 100 * time.Millisecond
		q = n.client(t, Options{}).NewQueue(o)
		for i := range 100 { // five datagrams
			q.Add(stopSession(i))
		}
		began := time.Now()
		stop = running(t, q)
		pass(time.Second)
		stop()
		require.InDelta(t, 400, paced.when(paced.sentAt, stopSession(99)).Sub(began).Milliseconds(), 10)
	})
}

// What became wrong is not repeated, and nothing more is told of it.
func TestQueueAsksWhetherWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		n := &network{answer: func(d []byte) []byte {
			if time.Since(began) < 200*time.Millisecond {
				return nil
			}
			return acknowledge(d)
		}}
		var w told
		o := w.options(t)
		o.Wanted = func(c Command) bool {
			switch c {
			case stopSession(1):
				return false
			case stopSession(2):
				return time.Since(began) < 20*time.Millisecond
			}
			return true
		}
		q := n.client(t, Options{}).NewQueue(o)
		q.Add(stopSession(1), stopSession(2), stopSession(3), Command{Kind: TagSession, Session: stopSession(2).Session, Tag: "t"})
		stop := running(t, q)
		pass(10 * time.Second)
		stop()
		require.Equal(t, []Command{stopSession(2), stopSession(3)}, w.sent()[:2])
		require.NotContains(t, w.received(), stopSession(2))
		require.Contains(t, w.received(), stopSession(3))
		require.Len(t, w.received(), 2)
		require.Empty(t, w.failed())
		datagrams := n.datagrams()
		require.Len(t, commandsOf(t, datagrams[0]), 2)
		require.Equal(t, []Command{stopSession(3)}, commandsOf(t, datagrams[1]))
		for _, d := range datagrams {
			require.NotContains(t, commandsOf(t, d), stopSession(1))
		}
	})
}

// While MistServer is away everything is given up after some seconds, and what is added again waits once.
func TestQueueAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{answer: func([]byte) []byte { return nil }}
		var w told
		q := n.client(t, Options{}).NewQueue(w.options(t))
		for range 10 {
			for i := range 1000 {
				q.Add(stopSession(i))
			}
		}
		require.Equal(t, 1000, q.Waiting())
		stop := running(t, q)
		pass(time.Hour)
		require.Len(t, w.failed(), 1000)
		require.ErrorIs(t, w.err, ErrNotReachable)
		require.Empty(t, w.received())
		require.Empty(t, q.lanes.all, "nothing is left of them")

		n.answer = acknowledge
		q.Add(stopSession(1))
		pass(time.Second)
		stop()
		require.Equal(t, []Command{stopSession(1)}, w.received())
	})
}

// The end of the context ends everything, and says nothing of what was under way.
func TestQueueEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{answer: func([]byte) []byte { return nil }}
		var w told
		q := n.client(t, Options{}).NewQueue(w.options(t))
		stop := running(t, q)
		q.Add(stopSession(1))
		synctest.Wait()
		stop()
		require.Len(t, w.sent(), 1)
		require.Empty(t, w.failed())
		q.Add(stopSession(1))
		require.Equal(t, 1, q.Waiting())
	})
}

// With half of all datagrams lost both ways everything arrives within seconds, in order, and never two datagrams for one
// session or stream at a time.
func TestQueueHalfLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chance := rand.New(rand.NewPCG(3, 4))
		var lock = make(chan struct{}, 1)
		n := &network{answer: acknowledge, delay: time.Millisecond, lost: func() bool {
			lock <- struct{}{}
			defer func() { <-lock }()
			return chance.IntN(2) == 0
		}}
		var w told
		q := n.client(t, Options{}).NewQueue(w.options(t))
		stop := running(t, q)
		var all []Command
		for i := range 1000 {
			stream := fmt.Sprintf("live+%d", i%300)
			all = append(all, stopSession(i), Command{Kind: Kind(3 + i%3), Stream: stream, Tag: fmt.Sprint(i)})
		}
		q.Add(all...)
		pass(time.Minute)
		stop()
		require.Empty(t, w.failed())
		require.ElementsMatch(t, all, w.received())
		require.ElementsMatch(t, all, w.sent())
		var last time.Time
		for _, at := range w.receivedAt {
			if at.After(last) {
				last = at
			}
		}
		t.Logf("2000 commands in %d datagrams, the last after %s", len(n.datagrams()), time.Minute-time.Since(last))
		order := make(map[subject][]Command)
		for _, c := range all {
			order[c.subject()] = append(order[c.subject()], c)
		}
		for s, want := range order {
			require.Equal(t, want, slices.DeleteFunc(slices.Clone(w.received()), func(c Command) bool { return c.subject() != s }))
		}
	})
}

// What does not fit a datagram goes over HTTP, or is given up with a word.
func TestQueueTooLong(t *testing.T) {
	long := Command{Kind: InvalidateStream, Stream: strings.Repeat("x", 1500)}
	url := mistUDP(t, func(d []byte) []byte {
		if len(d) > maxDatagram {
			t.Errorf("a datagram of %d bytes", len(d))
		}
		return []byte(`{"LTS":1}`)
	})
	m := newMistHTTP(t, &mistHTTP{local: true})
	for list, wantReceived := range map[string]bool{m.URL: true, "none": false} {
		done := make(chan error, 3)
		q := newClient(t, url, Options{ListURL: list}).NewQueue(QueueOptions{
			Received: func(Command, time.Time) { done <- nil },
			Failed:   func(_ Command, err error) { done <- err },
		})
		q.Add(stopSession(1), long, stopSession(2))
		stop := running(t, q)
		var failed error
		for range 3 {
			if err := <-done; err != nil {
				failed = err
			}
		}
		stop()
		if wantReceived {
			require.NoError(t, failed)
			require.Len(t, m.asked, 1)
			require.Len(t, m.asked[0]["invalidate_sessions"], 1504)
		} else {
			require.ErrorIs(t, failed, ErrTooLong)
			require.NotContains(t, failed.Error(), "xxx")
		}
	}
}

// Over HTTP commands go as over UDP, many more in one exchange.
func TestQueueOverHTTP(t *testing.T) {
	m := newMistHTTP(t, &mistHTTP{account: [2]string{"op", "pass"}})
	received := make(chan Command, 1000)
	var sent atomic.Int64
	q := newClient(t, m.with("op:pass"), Options{}).NewQueue(QueueOptions{
		Sent:     func(Command, time.Time) { sent.Add(1) },
		Received: func(c Command, _ time.Time) { received <- c },
	})
	for i := range 1000 {
		q.Add(stopSession(i))
	}
	stop := running(t, q)
	for range 1000 {
		<-received
	}
	stop()
	require.EqualValues(t, 1000, sent.Load())
	ids := make(map[string]bool)
	for _, calls := range m.asked {
		if strings.Contains(string(calls["authorize"]), `"password":""`) {
			continue // to be challenged
		}
		var some []string
		require.NoError(t, json.Unmarshal(calls["stop_sessid"], &some))
		for _, id := range some {
			ids[id] = true
		}
	}
	require.Len(t, ids, 1000)
	require.Less(t, len(m.asked), 10)
}

// A refused login is not tried again.
func TestQueueLoginRefused(t *testing.T) {
	m := newMistHTTP(t, &mistHTTP{account: [2]string{"op", "pass"}})
	failed := make(chan error, 1)
	q := newClient(t, m.with("op:s3cret"), Options{}).NewQueue(QueueOptions{Failed: func(_ Command, err error) { failed <- err }})
	q.Add(stopSession(1))
	stop := running(t, q)
	err := <-failed
	stop()
	require.ErrorIs(t, err, ErrLogin)
	require.NotContains(t, err.Error(), "s3cret")
	require.Len(t, m.asked, 2)
}

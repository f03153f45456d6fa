package api

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func acknowledgeHTTP(string) string { return `{"LTS":1}` }

func silence([]byte) []byte { return nil }

// A MistServer that found its UDP port taken listens on another one, or what took it stays silent or talks nonsense:
// commands come to it over HTTP, and soon without waiting first. When it can be reached over UDP again, that is found out.
func TestQueueUDPIsDead(t *testing.T) {
	for name, test := range map[string]struct {
		refused error
		answer  func([]byte) []byte
		waits   time.Duration // at most, the first time
	}{
		"nobody listens": {syscall.ECONNREFUSED, nil, 0},
		"no reply":       {nil, silence, 300 * time.Millisecond},
		"another's":      {nil, func([]byte) []byte { return []byte("hello") }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{refused: test.refused, answer: test.answer, overHTTP: acknowledgeHTTP}
				var w told
				q := n.client(t, Options{}).NewQueue(w.options(t))
				stop := running(t, q)
				defer stop()
				send := func(i int) (took time.Duration) {
					began := time.Now()
					q.Add(stopSession(i))
					pass(time.Second)
					require.Len(t, w.received(), i, "it is delivered")
					require.Equal(t, w.received(), w.sent(), "each is sent for the first time once")
					return w.when(w.receivedAt, stopSession(i)).Sub(began)
				}
				require.LessOrEqual(t, send(1), test.waits)
				tried := len(n.datagrams())
				for i := 2; i <= 8; i++ {
					require.Zero(t, send(i), "what is known is not waited for")
				}
				require.Len(t, n.requests(), 8)
				require.Len(t, n.datagrams(), tried)

				pass(5 * time.Second)
				require.LessOrEqual(t, send(9), test.waits)
				if test.answer != nil {
					require.Greater(t, len(n.datagrams()), tried, "UDP is tried again")
				}
				require.Len(t, n.requests(), 9)

				n.refused, n.answer = nil, acknowledge
				require.Zero(t, send(10))
				require.Len(t, n.requests(), 10)
				pass(10 * time.Second)
				for i := 11; i <= 20; i++ {
					require.Zero(t, send(i))
				}
				require.Len(t, n.requests(), 10, "back to UDP")
				require.Empty(t, w.failed())
			})
		})
	}
}

// Where neither way leads anywhere a command is given up after some seconds, with a word of both.
func TestQueueBothWaysAreDead(t *testing.T) {
	for name, n := range map[string]*network{
		"refused":              {refused: syscall.ECONNREFUSED},
		"refused, HTTP silent": {refused: syscall.ECONNREFUSED, overHTTP: func(string) string { return "" }},
		"silent":               {answer: silence},
		"silent, HTTP too":     {answer: silence, overHTTP: func(string) string { return "" }},
		"silent, login wanted": {answer: silence, overHTTP: func(string) string { return `{"authorize":{"status":"CHALL","challenge":"c"}}` }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w told
				q := n.client(t, Options{}).NewQueue(w.options(t))
				stop := running(t, q)
				defer stop()
				for i := 1; i <= 2; i++ {
					q.Add(stopSession(i))
					pass(3 * time.Second)
					require.Len(t, w.failed(), i-1, "it is not given up at once")
					pass(4 * time.Second)
					require.Len(t, w.failed(), i)
					require.ErrorIs(t, w.err, ErrNotReachable)
					require.ErrorContains(t, w.err, "over UDP: ")
					require.ErrorContains(t, w.err, "over HTTP: ")
				}
				require.Empty(t, w.received())

				n.refused, n.answer = nil, acknowledge
				q.Add(stopSession(3))
				synctest.Wait()
				require.Equal(t, []Command{stopSession(3)}, w.received(), "UDP was not held to be dead")
			})
		})
	}
}

// While HTTP is of no use, UDP goes on being tried; and the other way round, when HTTP was.
func TestQueueTheOtherWayAfterAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		n := &network{overHTTP: func(string) string { return "" }}
		n.answer = func(d []byte) []byte {
			if time.Since(began) < 2*time.Second {
				return nil
			}
			return acknowledge(d)
		}
		var w told
		q := n.client(t, Options{}).NewQueue(w.options(t))
		stop := running(t, q)
		defer stop()
		q.Add(stopSession(1))
		pass(3 * time.Second)
		require.Equal(t, []Command{stopSession(1)}, w.received())

		n.answer, n.overHTTP = silence, acknowledgeHTTP
		q.Add(stopSession(2))
		pass(time.Second)
		require.Len(t, w.received(), 2)
		n.answer, n.overHTTP = acknowledge, func(string) string { return "" }
		q.Add(stopSession(3))
		pass(time.Second)
		require.Len(t, w.received(), 3)
	})
}

// What became wrong while UDP was silent is not said over HTTP either.
func TestQueueAsksWhetherWantedOverHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{answer: silence, overHTTP: acknowledgeHTTP}
		began := time.Now()
		var w told
		o := w.options(t)
		o.Wanted = func(c Command) bool {
			return c != stopSession(1) && c != stopSession(3) || time.Since(began) < 100*time.Millisecond
		}
		q := n.client(t, Options{}).NewQueue(o)
		stop := running(t, q)
		defer stop()
		q.Add(stopSession(1), stopSession(2))
		pass(time.Second)
		require.Equal(t, []Command{stopSession(1), stopSession(2)}, w.sent())
		require.Equal(t, []Command{stopSession(2)}, w.received())
		require.Equal(t, []string{`{"stop_sessid":["` + stopSession(2).Session + `"]}`}, n.requests())
		q.Add(stopSession(3))
		pass(10 * time.Second)
		require.Len(t, w.received(), 1)
		require.Len(t, n.requests(), 1)
		require.Empty(t, w.failed())
	})
}

// Where others have replies datagrams are merely lost, and where nothing was wanted any more nobody knows: UDP is not held
// to be dead.
func TestQueueUDPIsNotDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{overHTTP: acknowledgeHTTP}
		n.answer = func(d []byte) []byte {
			if strings.Contains(string(d), stopSession(1).Session) {
				return nil
			}
			return acknowledge(d)
		}
		var w told
		unwanted := 0
		o := w.options(t)
		o.Wanted = func(c Command) bool {
			if c != stopSession(4) {
				return true
			}
			unwanted++
			return unwanted == 1
		}
		q := n.client(t, Options{}).NewQueue(o)
		stop := running(t, q)
		defer stop()
		q.Add(stopSession(1))
		pass(50 * time.Millisecond)
		q.Add(stopSession(2))
		pass(time.Second)
		require.Equal(t, []Command{stopSession(2), stopSession(1)}, w.received())
		require.Len(t, n.requests(), 1)
		q.Add(stopSession(3))
		pass(time.Second)
		require.Len(t, w.received(), 3)
		require.Len(t, n.requests(), 1)

		n.refused = syscall.ECONNREFUSED
		q.Add(stopSession(4))
		pass(time.Second)
		require.Greater(t, unwanted, 1)
		n.refused = nil
		q.Add(stopSession(5))
		pass(time.Second)
		require.Len(t, w.received(), 4)
		require.Len(t, n.requests(), 1)
	})
}

// With half of all datagrams lost both ways HTTP helps: everything arrives sooner, and in order all the same.
func TestQueueHalfLostAndHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lock sync.Mutex
		chance := rand.New(rand.NewPCG(5, 6))
		n := &network{answer: acknowledge, overHTTP: acknowledgeHTTP, delay: time.Millisecond, lost: func() bool {
			lock.Lock()
			defer lock.Unlock()
			return chance.IntN(2) == 0
		}}
		var w told
		q := n.client(t, Options{}).NewQueue(w.options(t))
		stop := running(t, q)
		defer stop()
		began := time.Now()
		var all []Command
		for i := range 1000 {
			all = append(all, stopSession(i), Command{Kind: Kind(3 + i%3), Stream: fmt.Sprintf("live+%d", i%300), Tag: fmt.Sprint(i)})
		}
		q.Add(all...)
		pass(time.Minute)
		require.Empty(t, w.failed())
		require.ElementsMatch(t, all, w.received())
		require.ElementsMatch(t, all, w.sent())
		for _, c := range all {
			require.Less(t, w.receivedAt[c].Sub(began), 5*time.Second)
		}
		order := make(map[subject][]Command)
		for _, c := range all {
			order[c.subject()] = append(order[c.subject()], c)
		}
		for s, want := range order {
			require.Equal(t, want, slices.DeleteFunc(slices.Clone(w.received()), func(c Command) bool { return c.subject() != s }))
		}
	})
}

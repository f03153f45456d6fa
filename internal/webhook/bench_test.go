package webhook_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/bench"
	"authhook/internal/credential"
	"authhook/internal/logline"
	"authhook/internal/mist"
	"authhook/internal/policy"
	"authhook/internal/store/cache"
	"authhook/internal/webhook"
	"authhook/internal/wire"
)

// facts in memory, as the in-process cache holds them after the first question.
type heldFacts map[policy.CredentialHash]*policy.UserFacts

func (h heldFacts) FactsByCredential(_ context.Context, hash policy.CredentialHash) (*policy.Credential, *policy.UserFacts, error) {
	u := h[hash]
	if u == nil {
		return nil, nil, nil
	}
	return &policy.Credential{ID: "cred_" + u.User, Kind: policy.CredentialKey, User: u.User}, u, nil
}

func (h heldFacts) FactsByUser(_ context.Context, user string) (*policy.UserFacts, error) {
	for _, u := range h {
		if u.User == user {
			return u, nil
		}
	}
	return &policy.UserFacts{User: user}, nil
}

type nowhere struct{}

func (nowhere) Record(*policy.Session)    {}
func (nowhere) Kick(policy.KickedSession) {}
func (nowhere) Asks(_, _ string) bool     { return false }
func (nowhere) Answered(_, _ string)      {}

// benchService answers triggers as the service does: a hundred users' facts in memory, a catalog, metrics, a log, and as
// many events remembered as there can be.
type benchService struct {
	triggers *webhook.Triggers
	handler  http.Handler
}

func newBenchService(b *testing.B) (s *benchService, end func()) {
	catalog := &policy.Catalog{
		Plans:   []policy.Plan{{Key: "gold", Rank: 20, Tags: []string{"plan:gold"}}},
		Streams: []policy.StreamPolicy{{Match: "live+*", Access: policy.AccessEntitled, Plans: []string{"gold"}}},
	}
	catalog.Index()
	held := heldFacts{}
	for i, key := range benchKeys {
		held[policy.HashKey(key)] = &policy.UserFacts{
			User: fmt.Sprintf("user-%d", i), Status: policy.ActiveUser,
			Entitlements: []policy.Entitlement{{ID: "ent_1", Plan: "gold", Until: time.Now().Add(720 * time.Hour)}},
		}
	}
	source := cache.New(held, cache.Options{FreshFor: time.Hour})
	decider := policy.NewDecider(source, nil, nil, policy.Options{})
	decider.SetCatalog(catalog, nil)
	fillEvents(b, decider)

	file, err := os.Create(filepath.Join(b.TempDir(), "log"))
	require.NoError(b, err)
	log, flush := logline.New(file, slog.LevelInfo, logline.Text)
	metrics := webhook.NewMetrics()
	s = &benchService{triggers: webhook.NewTriggers(decider, nowhere{}, metrics, log, webhook.TriggerOptions{Node: "bench"})}
	s.handler = webhook.NewHandler(s.triggers, metrics, webhook.HandlerOptions{})
	return s, func() {
		source.Close()
		flush()
		_ = file.Close()
	}
}

// fillEvents has a decider asked about more events than it remembers, of all users in turn.
func fillEvents(b *testing.B, d *policy.Decider) {
	for i := range uint64(160_000) {
		r := policy.Request{
			Action: policy.Watch, Event: policy.EventID{UUID: 1, Digest: i}, Stream: "live+fight",
			Presented: policy.Presented{Key: policy.HashKey(benchKeys[i%uint64(len(benchKeys))])},
		}
		if decision, repeated := d.Decide(b.Context(), &r); !decision.Allow || repeated {
			b.Fatal("this is not the decision to be measured")
		}
	}
}

// benchKeys are the keys of the service's users.
var benchKeys = func() (keys [100]string) {
	for i := range keys {
		keys[i] = credential.NewKey()
	}
	return keys
}()

// BenchmarkTrigger is POST /trigger with facts in memory, beside a bare chi handler in the same run, kept alive and with
// a connection for each request, as MistServer comes. Budget: 0.9 of the bare handler's requests per second.
func BenchmarkTrigger(b *testing.B) {
	for _, alive := range []bool{true, false} {
		mode := "a-connection-each"
		if alive {
			mode = "kept-alive"
		}
		b.Run(mode, func(b *testing.B) {
			takeTurns(b, []contender{
				{"chi", func(b *testing.B) turn { return overTCP(b, bench.BareChi(), alive) }},
				{"authhook", func(b *testing.B) turn {
					s, end := newBenchService(b)
					t := overTCP(b, s.handler, alive)
					return t.with(end)
				}},
			})
		})
	}
}

// BenchmarkSocket is a decision over the Unix socket of authhook-trigger, a connection each, beside a bare chi handler
// over TCP, a connection each, in the same run. Budget: 1.3 times its requests per second.
func BenchmarkSocket(b *testing.B) {
	takeTurns(b, []contender{
		{"chi", func(b *testing.B) turn { return overTCP(b, bench.BareChi(), false) }},
		{"socket", func(b *testing.B) turn {
			s, end := newBenchService(b)
			return overSocket(b, s.triggers).with(end)
		}},
	})
}

// contender is a service that is measured beside others. It begins anew for each of its turns.
type contender struct {
	name  string
	begin func(b *testing.B) turn
}

// turn is a service at work: how to call it, and how to end it.
type turn struct {
	network, address string
	calls            [][]byte // what is sent, one after the other, each with a number of its own
	numberAt         []int    // where in each call that number stands
	alive            bool
	end              func()
}

// with is the turn with something more to be ended.
func (t turn) with(end func()) turn {
	first := t.end
	t.end = func() {
		first()
		end()
	}
	return t
}

// turnRequests is how many requests one turn takes at most.
const turnRequests = 1000

// takeTurns has each contender answer b.N requests, a turn after the other's, so that all have the machine as it is at
// the time, and reports medians over the turns: the requests per second, the CPU time of a request with its caller's
// part, and what the others make of the first one's. Each begins its turn with a heap of its own: what one keeps in
// memory is not searched for garbage in the turn of another.
func takeTurns(b *testing.B, all []contender) {
	rates, costs := make([][]float64, len(all)), make([][]float64, len(all))
	b.StopTimer()
	for n := 0; n*turnRequests < b.N; n++ {
		requests := min(b.N-n*turnRequests, turnRequests)
		for k := range all {
			i := (k + n) % len(all) // nobody is always the first
			t := all[i].begin(b)
			ask(b, t, requests/4+1) // what is made on first use is made
			runtime.GC()
			began, used := time.Now(), cpuTime(b)
			b.StartTimer()
			ask(b, t, requests)
			b.StopTimer()
			rates[i] = append(rates[i], float64(requests)/time.Since(began).Seconds())
			costs[i] = append(costs[i], float64((cpuTime(b)-used).Microseconds())/float64(requests))
			t.end()
			runtime.GC()
		}
	}
	for i, c := range all {
		b.ReportMetric(median(rates[i]), c.name+"-req/s")
		b.ReportMetric(median(costs[i]), c.name+"-cpu-µs")
		if i > 0 {
			b.ReportMetric(median(quotients(rates[i], rates[0])), c.name+"-ratio")
			b.ReportMetric(median(quotients(costs[0], costs[i])), c.name+"-cpu-ratio")
		}
	}
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

func quotients(a, b []float64) []float64 {
	q := make([]float64, len(a))
	for i := range q {
		q[i] = a[i] / b[i]
	}
	return q
}

// cpuTime is what this process, callers and all, has used so far.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// overTCP serves a handler as the service does.
func overTCP(b *testing.B, h http.Handler, alive bool) turn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	server := webhook.NewServer(h, slog.New(slog.DiscardHandler))
	go func() { _ = server.Serve(l) }()
	t := turn{network: "tcp", address: l.Addr().String(), alive: alive, end: func() { _ = server.Close() }}
	for i, key := range benchKeys {
		t.calls, t.numberAt = append(t.calls, benchRequest(key, i, alive)), append(t.numberAt, len(requestHead))
	}
	return t
}

// overSocket serves authhook-trigger's calls.
func overSocket(b *testing.B, triggers *webhook.Triggers) turn {
	ctx, cancel := context.WithCancel(b.Context())
	l, err := webhook.ListenSocket(ctx, filepath.Join(b.TempDir(), "s"), 0)
	require.NoError(b, err)
	served := make(chan error)
	go func() { served <- triggers.ServeSocket(ctx, l) }()
	t := turn{network: "unix", address: l.Addr().String(), end: func() {
		cancel()
		require.NoError(b, <-served)
	}}
	for i, key := range benchKeys {
		call, err := wire.AppendCall(nil, &wire.Call{
			Type: "USER_NEW", UUID: noNumber, Instance: "ugaTKwbv^DVkjjr^", Name: "edge-1", Default: "false",
			PID: 30077, UnixMillis: 1795327221030, Body: []byte(benchBody(key, i)),
		})
		require.NoError(b, err)
		t.calls, t.numberAt = append(t.calls, call), append(t.numberAt, bytes.Index(call, []byte(noNumber)))
	}
	return t
}

// benchEvent numbers the events: each is another one.
var benchEvent atomic.Int64

// ask calls as cheaply as it can, so that the service is what is measured.
func ask(b *testing.B, t turn, requests int) {
	var left atomic.Int64
	left.Store(int64(requests))
	var asking sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		asking.Go(func() {
			var conn net.Conn
			buffer := make([]byte, 4096)
			out := make([]byte, 0, 2048)
			for left.Add(-1) >= 0 {
				event := benchEvent.Add(1)
				if conn == nil {
					var err error
					if conn, err = net.Dial(t.network, t.address); err != nil {
						b.Error(err)
						return
					}
				}
				i := int(event) % len(t.calls)
				out = append(out[:0], t.calls[i]...)
				strconv.AppendInt(out[:t.numberAt[i]], 1e15+event, 10)
				if _, err := conn.Write(out); err != nil {
					b.Error(err)
					return
				}
				n, err := conn.Read(buffer)
				if err != nil || string(buffer[n-4:n]) != "true" {
					b.Errorf("answer %q: %v", buffer[:n], err)
					return
				}
				if !t.alive {
					_ = conn.Close()
					conn = nil
				}
			}
			if conn != nil {
				_ = conn.Close()
			}
		})
	}
	asking.Wait()
}

const (
	requestHead = "POST /trigger HTTP/1.1\r\nX-Trigger-UUID: "
	noNumber    = "0000000000000000" // as long as each event's
)

func benchRequest(key string, i int, alive bool) []byte {
	keep := "close"
	if alive {
		keep = "keep-alive"
	}
	body := benchBody(key, i)
	return []byte(requestHead + noNumber + "\r\nAccept: */*\r\nConnection: " + keep + "\r\nContent-Length: " + strconv.Itoa(len(body)) +
		"\r\nContent-Type: text/plain\r\nDate: Sun, 22 Nov 2026 06:00:21 +0000\r\nHost: 127.0.0.1:4280\r\nUser-Agent: MistServer/3.10\r\n" +
		"X-Attempt: 1\r\nX-Instance: ugaTKwbv^DVkjjr^\r\nX-Name: edge-1\r\nX-PID: 30077\r\nX-Trigger: USER_NEW\r\n" +
		"X-Trigger-UnixMillis: 1795327221030\r\nX-Version: 3.10\r\n\r\n" + body)
}

func benchBody(key string, i int) string {
	address := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
	return "live+fight\n" + address.String() + "\n" + key + "\nHLS\nhttp://127.0.0.1:8080/hls/live+fight/index.m3u8?tkn=" + key + "\n" +
		mist.SessionID(mist.DefaultSessionMode, "live+fight", address, key, "HLS") + "\nfalse"
}

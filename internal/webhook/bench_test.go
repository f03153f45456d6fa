package webhook_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"

	"authhook/internal/credential"
	"authhook/internal/mist"
	"authhook/internal/policy"
	"authhook/internal/store/cache"
	"authhook/internal/webhook"
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

func (nowhere) Record(policy.Session)     {}
func (nowhere) Kick(policy.KickedSession) {}
func (nowhere) Asks(_, _ string)          {}

// benchService is POST /trigger with a hundred users' facts in memory, a catalog, metrics and its log.
func benchService(b *testing.B) (http.Handler, []string) {
	catalog := &policy.Catalog{
		Plans:   []policy.Plan{{Key: "gold", Rank: 20, Tags: []string{"plan:gold"}}},
		Streams: []policy.StreamPolicy{{Match: "live+*", Access: policy.AccessEntitled, Plans: []string{"gold"}}},
	}
	catalog.Index()
	held := heldFacts{}
	var keys []string
	for i := range 100 {
		key := credential.NewKey()
		keys = append(keys, key)
		held[policy.HashKey(key)] = &policy.UserFacts{
			User: fmt.Sprintf("user-%d", i), Status: policy.ActiveUser,
			Entitlements: []policy.Entitlement{{ID: "ent_1", Plan: "gold", Until: time.Now().Add(720 * time.Hour)}},
		}
	}
	source := cache.New(held, cache.Options{FreshFor: time.Hour})
	b.Cleanup(source.Close)
	decider := policy.NewDecider(source, nil, nil, policy.Options{})
	decider.SetCatalog(catalog, nil)

	file, err := os.Create(filepath.Join(b.TempDir(), "log"))
	require.NoError(b, err)
	b.Cleanup(func() { _ = file.Close() })
	log := slog.New(slog.NewTextHandler(bufio.NewWriterSize(file, 256<<10), nil))
	metrics := webhook.NewMetrics()
	triggers := webhook.NewTriggers(decider, nowhere{}, metrics, log, webhook.TriggerOptions{Node: "bench"})
	return webhook.NewHandler(triggers, metrics, webhook.HandlerOptions{}), keys
}

// bareChi is the reference: a chi handler that reads the body and answers true.
func bareChi() http.Handler {
	r := chi.NewRouter()
	r.Post("/trigger", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, "true")
	})
	return r
}

// BenchmarkTrigger is POST /trigger with facts in memory, beside a bare chi handler in the same run, kept alive and with
// a connection for each request. MistServer never keeps alive. Budget: 0.9 of the bare handler's requests per second.
func BenchmarkTrigger(b *testing.B) {
	service, keys := benchService(b)
	handlers := []struct {
		name    string
		handler http.Handler
	}{{"bare-chi", bareChi()}, {"authhook", service}}
	for _, alive := range []bool{true, false} {
		for _, h := range handlers {
			mode := "a-connection-each"
			if alive {
				mode = "kept-alive"
			}
			b.Run(mode+"/"+h.name, func(b *testing.B) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				require.NoError(b, err)
				server := webhook.NewServer(h.handler, slog.New(slog.DiscardHandler))
				go func() { _ = server.Serve(l) }()
				defer func() { _ = server.Close() }()
				ask(b, l.Addr().String(), keys, alive)
			})
		}
	}
}

var benchEvent atomic.Int64

// ask asks over raw connections, as cheaply as it can, so that the server is what is measured.
func ask(b *testing.B, address string, keys []string, alive bool) {
	var requests [][]byte
	for i, key := range keys {
		requests = append(requests, benchRequest(key, i, alive))
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var conn net.Conn
		buffer := make([]byte, 4096)
		out := make([]byte, 0, 2048)
		for pb.Next() {
			event := benchEvent.Add(1)
			if conn == nil {
				var err error
				if conn, err = net.Dial("tcp", address); err != nil {
					b.Error(err)
					return
				}
			}
			out = append(out[:0], requests[int(event)%len(requests)]...)
			uuid := strconv.AppendInt(nil, 1e15+event, 10)
			copy(out[uuidAt:], uuid)
			if _, err := conn.Write(out); err != nil {
				b.Error(err)
				return
			}
			n, err := conn.Read(buffer)
			if err != nil || string(buffer[n-4:n]) != "true" {
				b.Errorf("answer %q: %v", buffer[:n], err)
				return
			}
			if !alive {
				_ = conn.Close()
				conn = nil
			}
		}
		if conn != nil {
			_ = conn.Close()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

const requestHead = "POST /trigger HTTP/1.1\r\nX-Trigger-UUID: "

var uuidAt = len(requestHead)

func benchRequest(key string, i int, alive bool) []byte {
	address := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
	body := "live+fight\n" + address.String() + "\n" + key + "\nHLS\nhttp://127.0.0.1:8080/hls/live+fight/index.m3u8?tkn=" + key + "\n" +
		mist.SessionID(mist.DefaultSessionMode, "live+fight", address, key, "HLS") + "\nfalse"
	keep := "close"
	if alive {
		keep = "keep-alive"
	}
	return []byte(requestHead + "0000000000000000\r\nAccept: */*\r\nConnection: " + keep + "\r\nContent-Length: " + strconv.Itoa(len(body)) +
		"\r\nContent-Type: text/plain\r\nDate: Sun, 22 Nov 2026 06:00:21 +0000\r\nHost: 127.0.0.1:4280\r\nUser-Agent: MistServer/3.10\r\n" +
		"X-Attempt: 1\r\nX-Instance: ugaTKwbv^DVkjjr^\r\nX-Name: edge-1\r\nX-PID: 30077\r\nX-Trigger: USER_NEW\r\n" +
		"X-Trigger-UnixMillis: 1795327221030\r\nX-Version: 3.10\r\n\r\n" + body)
}

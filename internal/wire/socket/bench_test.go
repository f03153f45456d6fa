package socket

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"

	"authhook/internal/wire"
)

const userNew = "live+a\n192.0.2.7\nak_0123456789abcdef\nHLS\nhttp://example.com/hls/live+a/index.m3u8?tkn=ak_0123456789abcdef\n" +
	"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\nfalse"

// BenchmarkConnection is one call a connection, answered "true" without thought, and the same asked of a bare chi
// handler over TCP, as MistServer would. The callers are as simple as can be, so that the services are compared.
func BenchmarkConnection(b *testing.B) {
	b.Run("socket", func(b *testing.B) {
		l, err := Listen(b.Context(), b.TempDir()+"/s", 0)
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error)
		go func() {
			done <- Serve(ctx, l, func(context.Context, *wire.Call) []byte { return []byte("true") }, Options{})
		}()
		call, err := wire.AppendCall(nil, &wire.Call{Type: "USER_NEW", UUID: "0b2c6c6c-45d7-4a52-9f3e-0c8d2a1b3c4d", Default: "false", Body: []byte(userNew)})
		if err != nil {
			b.Fatal(err)
		}
		benchmarkCalls(b, l.Addr(), call)
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	})
	b.Run("chi", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		r := chi.NewRouter()
		r.Post("/trigger", func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err != nil {
				panic(err)
			}
			_, _ = io.WriteString(w, "true")
		})
		s := &http.Server{Handler: r}
		done := make(chan error)
		go func() { done <- s.Serve(l) }()
		benchmarkCalls(b, l.Addr(), fmt.Appendf(nil, "POST /trigger HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Type: text/plain\r\n"+
			"X-Trigger: USER_NEW\r\nX-Trigger-UUID: 0b2c6c6c-45d7-4a52-9f3e-0c8d2a1b3c4d\r\nContent-Length: %d\r\n\r\n%s", l.Addr(), len(userNew), userNew))
		_ = s.Close()
		<-done
	})
}

func benchmarkCalls(b *testing.B, to net.Addr, request []byte) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		answer := bufio.NewReader(nil)
		for pb.Next() {
			conn, err := net.Dial(to.Network(), to.String())
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := conn.Write(request); err != nil {
				b.Error(err)
				return
			}
			answer.Reset(conn)
			if n, err := io.Copy(io.Discard, answer); err != nil || n < 5 {
				b.Errorf("%d bytes answered, error %v", n, err)
				return
			}
			_ = conn.Close()
		}
	})
}

package api

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func BenchmarkSessions10000(b *testing.B) {
	reply := `{"LTS":1,"authorize":{"status":"OK"},` + sessionsReply(10_000) + "}\n\n"
	b.SetBytes(int64(len(reply)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readVerdict(reply); err != nil {
			b.Fatal(err)
		}
		if list, err := parseSessions(reply); err != nil || len(list.Sessions) != 10_000 {
			b.Fatal(err)
		}
	}
}

// The list of a node of 10,000 sessions is read several times a minute.
func TestParseSessionsAllocations(t *testing.T) {
	reply := "{" + sessionsReply(10_000) + "}"
	require.LessOrEqual(t, testing.AllocsPerRun(3, func() { _, _ = parseSessions(reply) }), 20.0)
}

// benchServer is a MistServer that answers at once. received is told of every datagram.
func benchServer(b *testing.B, received func()) *Client {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(b, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 64<<10)
		for {
			_, from, err := conn.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			received()
			_, _ = conn.WriteToUDPAddrPort([]byte(`{"LTS":1}`), from)
		}
	}()
	c, err := New("udp://"+conn.LocalAddr().String(), Options{})
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close(); <-done; _ = c.Close() })
	return c
}

// From Add to the datagram at the server, the queue idle before.
func BenchmarkQueueLatency(b *testing.B) {
	arrived := make(chan time.Time, 1)
	c := benchServer(b, func() { arrived <- time.Now() })
	received := make(chan struct{})
	q := c.NewQueue(QueueOptions{Received: func(Command, time.Time) { received <- struct{}{} }, Interval: -1})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = q.Run(ctx) }()
	var sum time.Duration
	i := 0
	for b.Loop() {
		i++
		began := time.Now()
		q.Add(stopSession(i))
		sum += (<-arrived).Sub(began)
		<-received
	}
	b.ReportMetric(float64(sum.Microseconds())/float64(i), "µs-to-arrival")
	cancel()
	<-ended
}

// 10,000 sessions are stopped.
func BenchmarkQueue10000(b *testing.B) {
	c := benchServer(b, func() {})
	for b.Loop() {
		done := make(chan struct{})
		n := 0
		q := c.NewQueue(QueueOptions{
			Received: func(Command, time.Time) {
				if n++; n == 10_000 {
					close(done)
				}
			},
			Failed: func(_ Command, err error) { b.Error(err) },
		})
		for i := range 10_000 {
			q.Add(stopSession(i))
		}
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = q.Run(ctx) }()
		<-done
		cancel()
		<-ended
	}
}

// What a command that waits costs, its session id aside.
func BenchmarkQueueMemory(b *testing.B) {
	const commands = 100_000
	all := make([]Command, commands)
	for i := range all {
		all[i] = stopSession(i)
	}
	c, err := New("udp://192.0.2.1", Options{})
	require.NoError(b, err)
	var bytes float64
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		q := c.NewQueue(QueueOptions{})
		q.Add(all...)
		runtime.GC()
		runtime.ReadMemStats(&after)
		bytes = float64(after.HeapAlloc-before.HeapAlloc) / commands
		require.Equal(b, commands, q.Waiting())
	}
	b.ReportMetric(bytes, "B/command")
}

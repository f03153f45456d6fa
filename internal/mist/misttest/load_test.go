package misttest_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/mist"
	"authhook/internal/mist/misttest"
)

func TestAThousandAreAskedAgainAtOnce(t *testing.T) {
	const n = 1000
	s, d := world(t, yes)
	var players []*misttest.Player
	for i := range n {
		players = append(players, s.Connect(misttest.Viewer{Stream: "movie", Token: fmt.Sprint(i)}))
	}
	for _, p := range players {
		reach(t, p, misttest.Watching)
	}
	before := runtime.NumGoroutine()
	require.Less(t, before, n/2, "who watches has no goroutine")
	dialUDP(t, s).call(`{"invalidate_sessions":"movie"}`)
	d.await(t, mist.TypeUserNew, 2*n)
}

// BenchmarkViewers says what 30,000 viewers cost who watch and do nothing: connect is the time for all to be let in
// by a handler that is asked about each.
func BenchmarkViewers(b *testing.B) {
	const n = 30_000
	for b.Loop() {
		url, stop := bareHandler(b)
		s, err := misttest.Start(misttest.Options{})
		require.NoError(b, err)
		s.SetTriggers(sync1(url, mist.TypeUserNew))
		runtime.GC()
		before, cpu, began := heap(), cpuTime(b), time.Now()
		players := make([]*misttest.Player, n)
		for i := range players {
			players[i] = s.Connect(misttest.Viewer{Stream: "movie", Token: fmt.Sprintf("ak_%032d", i)})
		}
		for _, p := range players {
			require.NoError(b, p.Wait(b.Context(), misttest.Watching))
		}
		b.ReportMetric(time.Since(began).Seconds(), "connect-s")
		b.ReportMetric((cpuTime(b) - cpu).Seconds(), "connect-cpu-s")
		runtime.GC()
		b.ReportMetric(float64(heap()-before)/n, "B/viewer")
		b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
		cpu = cpuTime(b)
		timer := time.NewTimer(2 * time.Second) // a figure, not a test: what they cost while they watch
		<-timer.C
		b.ReportMetric((cpuTime(b)-cpu).Seconds()/2*100, "idle-cpu-%")
		runtime.KeepAlive(players)
		require.NoError(b, s.Close())
		stop()
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

//go:build linux

package main

import (
	"os"
	"testing"

	"authhook/internal/bench"
)

// BenchmarkTrigger starts the program against a service in this process, as MistServer does: parameters on a pipe,
// the answer from a pipe. Beside it, in turn, so that the machine's mood is the same for all, it starts a Go program that
// does nothing and /bin/true: what is between them and the program is what the program costs.
//
// The figures are medians from start to exit. One with -benchtime=500x is enough.
func BenchmarkTrigger(b *testing.B) {
	idle, err := bench.IdleProgram(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	env := append(os.Environ(), "AUTHHOOK_SOCKET="+serve(b, answering("true")), "MIST_TRIGGER=USER_NEW", "MIST_TRIG_DEF=false",
		"MIST_TUUID=0b2c6c6c-45d7-4a52-9f3e-0c8d2a1b3c4d", "MIST_TIME=1767225600123", "MIST_PID=4711", "MIST_INSTANCE=a1b2c3")
	body := []byte("live+a\n192.0.2.7\nak_0123456789abcdef\nHLS\nhttp://example.com/hls/live+a/index.m3u8?tkn=ak_0123456789abcdef\n" +
		"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\nfalse")

	programs := []*bench.Executable{
		{Name: "trigger", Path: binary, Want: "true"}, {Name: "idle-go", Path: idle}, {Name: "bin-true", Path: "/bin/true"},
	}
	for b.Loop() {
		if err := bench.TakeTurns(programs, env, body, 1); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op") // the sum of all three, which says nothing
	for _, p := range programs {
		b.ReportMetric(float64(p.Times.P50().Nanoseconds())/1000, "µs/"+p.Name)
	}
}

//go:build linux

package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkTrigger starts the program against a service in this process, as MistServer does: parameters on a pipe,
// the answer from a pipe. Beside it, in turn, so that the machine's mood is the same for all, it starts a Go program that
// does nothing and /bin/true: what is between them and the program is what the program costs.
//
// The figures are medians from start to exit. One with -benchtime=500x is enough.
func BenchmarkTrigger(b *testing.B) {
	dir := b.TempDir()
	idle := filepath.Join(dir, "idle")
	if err := os.WriteFile(idle+".go", []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	if err := build(idle+".go", idle, ""); err != nil {
		b.Fatal(err)
	}
	env := append(os.Environ(), "AUTHHOOK_SOCKET="+serve(b, answering("true")), "MIST_TRIGGER=USER_NEW", "MIST_TRIG_DEF=false",
		"MIST_TUUID=0b2c6c6c-45d7-4a52-9f3e-0c8d2a1b3c4d", "MIST_TIME=1767225600123", "MIST_PID=4711", "MIST_INSTANCE=a1b2c3")
	body := []byte("live+a\n192.0.2.7\nak_0123456789abcdef\nHLS\nhttp://example.com/hls/live+a/index.m3u8?tkn=ak_0123456789abcdef\n" +
		"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\nfalse")

	programs := []struct{ unit, path, want string }{
		{"µs/trigger", binary, "true"}, {"µs/idle-go", idle, ""}, {"µs/bin-true", "/bin/true", ""},
	}
	took := make([][]time.Duration, len(programs))
	for b.Loop() {
		for i, p := range programs {
			d, out := startToExit(b, p.path, env, body)
			if out != p.want {
				b.Fatalf("%s printed %q", p.path, out)
			}
			took[i] = append(took[i], d)
		}
	}
	b.ReportMetric(0, "ns/op") // the sum of all three, which says nothing
	for i, p := range programs {
		slices.Sort(took[i])
		b.ReportMetric(float64(took[i][len(took[i])/2].Nanoseconds())/1000, p.unit)
	}
}

// startToExit runs a program, and says how long that took and what it printed.
func startToExit(b *testing.B, path string, env []string, body []byte) (time.Duration, string) {
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := inWrite.Write(body); err != nil {
		b.Fatal(err)
	}
	_ = inWrite.Close()

	start := time.Now()
	p, err := os.StartProcess(path, []string{path, "USER_NEW"}, &os.ProcAttr{Env: env, Files: []*os.File{inRead, outWrite, os.Stderr}})
	if err != nil {
		b.Fatal(err)
	}
	state, err := p.Wait()
	took := time.Since(start)
	if err != nil || !state.Success() {
		b.Fatalf("%s: %v, %v", path, state, err)
	}
	_ = inRead.Close()
	_ = outWrite.Close()
	out, err := io.ReadAll(outRead)
	if err != nil {
		b.Fatal(err)
	}
	_ = outRead.Close()
	return took, string(out)
}

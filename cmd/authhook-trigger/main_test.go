//go:build linux

package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"authhook/internal/wire"
	"authhook/internal/wire/socket"
)

// What every test here runs: the program, built as it is released, but for a default socket of the tests' own.
var (
	binary        string
	builtInSocket string
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "trigger")
	if err != nil {
		panic(err)
	}
	binary, builtInSocket = filepath.Join(dir, "authhook-trigger"), filepath.Join(dir, "default.sock")
	if err := build(".", binary, "-X main.version=1.2.3-test -X main.defaultSocket="+builtInSocket); err != nil {
		panic(err)
	}
	// Tests of failures wait most of the time: they need no processor each.
	flag.Parse()
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func build(what, to, ldflags string) error {
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w "+ldflags, "-o", to, what)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// trigger is one start of the program.
type trigger struct {
	args   []string // USER_NEW when nil
	env    []string // with MIST_TRIG_DEF=the-default when nil
	socket string   // AUTHHOOK_SOCKET, when not empty
	stdin  io.Reader
	stdout io.Writer // else the output is returned
}

// run runs the program to its end, which must come, and be a success.
func (tr trigger) run(t *testing.T) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // a watchdog: 5 s are enough
	defer cancel()
	if tr.args == nil {
		tr.args = []string{"USER_NEW"}
	}
	if tr.env == nil {
		tr.env = []string{"MIST_TRIG_DEF=the-default"}
	}
	if tr.socket != "" {
		tr.env = append(slices.Clone(tr.env), "AUTHHOOK_SOCKET="+tr.socket)
	}
	var out, complaint bytes.Buffer
	c := exec.CommandContext(ctx, binary, tr.args...)
	c.Env, c.Stdin, c.Stdout, c.Stderr = tr.env, tr.stdin, tr.stdout, &complaint
	if tr.stdout == nil {
		c.Stdout = &out
	}
	if err := c.Run(); err != nil {
		t.Errorf("it ended with %v, standard error %q", err, complaint.String())
	}
	return out.String(), complaint.String()
}

// serve runs the service with a handler, and returns its socket.
func serve(t testing.TB, h socket.Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	serveAt(t, path, h)
	return path
}

func serveAt(t testing.TB, path string, h socket.Handler) {
	t.Helper()
	l, err := socket.Listen(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- socket.Serve(ctx, l, h, socket.Options{}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func answering(answer string) socket.Handler {
	return func(context.Context, *wire.Call) []byte { return []byte(answer) }
}

func TestTheAnswerIsPrinted(t *testing.T) {
	for name, answer := range map[string]string{
		"true":    "true",
		"false":   "false",
		"empty":   "", // a denial, and not the default
		"bytes":   "\n\x00\xff ",
		"longest": strings.Repeat("u", wire.MaxAnswer),
	} {
		t.Run(name, func(t *testing.T) {
			out, complaint := trigger{socket: serve(t, answering(answer))}.run(t)
			if out != answer || complaint != "" {
				t.Errorf("printed %.60q, standard error %q, want %.60q", out, complaint, answer)
			}
		})
	}
}

func TestTheServiceIsToldEverything(t *testing.T) {
	for name, x := range map[string]struct {
		args, env []string
		body      string
		want      wire.Call
	}{
		"as MistServer starts it": {
			args: []string{"USER_NEW"},
			env: []string{"MIST_TRIGGER=USER_NEW", "MIST_TUUID=uuid", "MIST_INSTANCE=instance", "MIST_NAME=edge 1", "MIST_TRIG_DEF=false",
				"MIST_TIME=1767225600123", "MIST_PID=4711", "MIST_DATE=Thu, 01 Jan 2026 00:00:00 GMT"},
			body: "live+a\n192.0.2.7\n\nHLS\n",
			want: wire.Call{Type: "USER_NEW", UUID: "uuid", Instance: "instance", Name: "edge 1", Default: "false", UnixMillis: 1767225600123, PID: 4711},
		},
		"the argument goes before the environment": {
			args: []string{"CONN_PLAY"}, env: []string{"MIST_TRIGGER=USER_NEW"}, want: wire.Call{Type: "CONN_PLAY"},
		},
		"without an argument": {
			args: []string{}, env: []string{"MIST_TRIGGER=USER_NEW"}, want: wire.Call{Type: "USER_NEW"},
		},
		"without anything": {args: []string{}, env: []string{"A=b"}},
		"numbers that are none": {
			args: []string{"A"}, env: []string{"MIST_TIME=noon", "MIST_PID=99999999999"}, want: wire.Call{Type: "A"},
		},
		"any bytes": {
			args: []string{"A"}, env: []string{"MIST_NAME=\xff\n=", "MIST_TRIG_DEF="}, body: "\n\x00\xff\n\n", want: wire.Call{Type: "A", Name: "\xff\n="},
		},
		"the largest body": {
			args: []string{"A"}, env: []string{"A=b"}, body: strings.Repeat("b", wire.MaxBody), want: wire.Call{Type: "A"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			calls := make(chan *wire.Call, 1)
			path := serve(t, func(_ context.Context, c *wire.Call) []byte { calls <- c; return []byte("true") })
			out, complaint := trigger{args: x.args, env: x.env, socket: path, stdin: strings.NewReader(x.body)}.run(t)
			if out != "true" {
				t.Fatalf("printed %q, standard error %q", out, complaint)
			}
			got := <-calls
			if body := string(got.Body); body != x.body {
				t.Errorf("body %.60q (%d bytes), want %.60q (%d bytes)", body, len(body), x.body, len(x.body))
			}
			got.Body = nil
			if fmt.Sprint(*got) != fmt.Sprint(x.want) {
				t.Errorf("got  %+v\nwant %+v", *got, x.want)
			}
		})
	}
}

// A viewer chooses the token, so what it makes too large is for the service to deny, and never left to the default.
func TestOversizedBodyIsTheServicesToDeny(t *testing.T) {
	for _, size := range []int{wire.MaxBody + 1, wire.MaxBody + 2, 4 << 20} {
		path := serve(t, func(_ context.Context, c *wire.Call) []byte {
			return fmt.Appendf(nil, "too large: %v, %d bytes", c.TooLarge, len(c.Body))
		})
		out, complaint := trigger{socket: path, stdin: bytes.NewReader(bytes.Repeat([]byte{'b'}, size))}.run(t)
		if want := fmt.Sprintf("too large: true, %d bytes", wire.MaxBody); out != want || complaint != "" {
			t.Errorf("%d bytes: printed %q, standard error %q, want %q", size, out, complaint, want)
		}
	}
}

// An oversized body that never ends is denied as well.
func TestEndlessBodyIsTheServicesToDeny(t *testing.T) {
	path := serve(t, func(_ context.Context, c *wire.Call) []byte { return fmt.Append(nil, c.TooLarge) })
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	if out, complaint := (trigger{socket: path, stdin: zero}).run(t); out != "true" {
		t.Errorf("printed %q, standard error %q", out, complaint)
	}
}

func TestWhichSocket(t *testing.T) {
	serveAt(t, builtInSocket, answering("built in"))
	other := serve(t, answering("environment"))
	for _, x := range []struct {
		env  string
		want string
	}{
		{"A=b", "built in"},
		{"AUTHHOOK_SOCKET=", "built in"},
		{"AUTHHOOK_SOCKET=" + other, "environment"},
	} {
		if out, complaint := (trigger{env: []string{x.env}}).run(t); out != x.want {
			t.Errorf("%s: printed %q, standard error %q, want %q", x.env, out, complaint, x.want)
		}
	}
}

func TestForAPerson(t *testing.T) {
	for arg, want := range map[string]string{"-h": builtInSocket, "--help": "MIST_TRIG_DEF", "--version": "authhook-trigger 1.2.3-test\n"} {
		if out, complaint := (trigger{args: []string{arg}}).run(t); !strings.Contains(out, want) || complaint != "" {
			t.Errorf("%s: printed %q, standard error %q", arg, out, complaint)
		}
	}
}

// Each trigger starts the program anew: what it links, it pays for each time.
func TestItIsSmall(t *testing.T) {
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() >= 2_000_000 {
		t.Errorf("%d bytes", info.Size())
	}
	deps, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(deps)) {
		if slices.Contains([]string{"net", "net/http", "fmt", "log", "reflect", "encoding/json", "runtime/cgo"}, strings.TrimSpace(dep)) {
			t.Errorf("it links %s", dep)
		}
	}
	t.Logf("%d bytes", info.Size())
}

// Failures are tested by waiting for them; how long that may be stands here.
func TestItEndsInTime(t *testing.T) {
	if wire.Patience >= limit || limit >= 5*time.Second {
		t.Errorf("it waits %v and ends after %v", wire.Patience, limit)
	}
}

// Many start at once, and the service takes one at a time, from a queue of one: each waits for its turn.
func TestTheyWaitForTheirTurn(t *testing.T) {
	path, l := narrow(t)
	next := make(chan struct{})
	go func() {
		defer close(next)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b, _ := wire.AppendAnswer(nil, []byte("true"))
			_, _ = io.ReadAtLeast(conn, make([]byte, wire.MaxCall), wire.PrefixSize)
			_, _ = conn.Write(b)
			_ = conn.Close()
		}
	}()
	t.Run("all", func(t *testing.T) {
		for range 20 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				if out, complaint := (trigger{socket: path}).run(t); out != "true" {
					t.Errorf("printed %q, standard error %q", out, complaint)
				}
			})
		}
	})
	_ = l.Close()
	<-next
}

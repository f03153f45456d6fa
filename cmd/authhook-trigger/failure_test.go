//go:build linux

package main

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"authhook/internal/wire"
)

// peer runs a service that does as f says with each connection, and returns its socket. A connection stays open until
// f returns; gone is closed when the test is over.
func peer(t *testing.T, f func(conn net.Conn, gone <-chan struct{})) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	gone, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f(conn, gone)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		close(gone)
		_ = l.Close()
		<-ended
	})
	return path
}

// readCall reads a whole call, as a service does.
func readCall(conn net.Conn) {
	prefix := make([]byte, wire.PrefixSize)
	_, _ = io.ReadFull(conn, prefix)
	if size, err := wire.CallSize(prefix); err == nil {
		_, _ = io.CopyN(io.Discard, conn, int64(size))
	}
}

// replying reads the call, writes b, and closes or stays.
func replying(b string, stay bool) func(net.Conn, <-chan struct{}) {
	return func(conn net.Conn, gone <-chan struct{}) {
		readCall(conn)
		_, _ = conn.Write([]byte(b))
		if stay {
			<-gone
		}
	}
}

// dripping sends b so slowly that it is never whole in time.
func dripping(conn net.Conn, gone <-chan struct{}) {
	b, _ := wire.AppendAnswer(nil, []byte(strings.Repeat("true", 1000)))
	next := time.NewTicker(20 * time.Millisecond)
	defer next.Stop()
	for i := range b {
		if _, err := conn.Write(b[i : i+1]); err != nil {
			return
		}
		select {
		case <-next.C:
		case <-gone:
			return
		}
	}
}

// narrow makes a socket with a queue for one. Nobody accepts yet.
func narrow(t *testing.T) (string, net.Listener) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	check(t, err)
	check(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}))
	check(t, syscall.Listen(fd, 0))
	f := os.NewFile(uintptr(fd), path)
	l, err := net.FileListener(f)
	check(t, err)
	check(t, f.Close())
	t.Cleanup(func() { _ = l.Close() })
	return path, l
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever fails, the default is printed, once, and nothing else.
func TestAnyFailurePrintsTheDefault(t *testing.T) {
	whole := func(answer string) string {
		b, err := wire.AppendAnswer(nil, []byte(answer))
		check(t, err)
		return string(b)
	}
	at := func(path string) func(*testing.T) string { return func(*testing.T) string { return path } }
	doing := func(f func(net.Conn, <-chan struct{})) func(*testing.T) string {
		return func(t *testing.T) string { return peer(t, f) }
	}
	for name, x := range map[string]struct {
		socket func(*testing.T) string
		says   string // on standard error
	}{
		"no socket":          {at("/nonexistent/s"), "ask /nonexistent/s: no such file or directory"},
		"not a socket":       {at(binary), "connection refused"},
		"path too long":      {at("/" + strings.Repeat("x", 107)), "too long"},
		"path much too long": {at("/" + strings.Repeat("x", 100_000)), "too long"},
		"nobody listens": {func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "s")
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			check(t, err)
			l.SetUnlinkOnClose(false)
			check(t, l.Close())
			return path
		}, "connection refused"},
		"another kind of socket": {func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "s")
			l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			check(t, err)
			t.Cleanup(func() { _ = l.Close() })
			return path
		}, "wrong type for socket"},
		"the queue is full": {func(t *testing.T) string {
			path, _ := narrow(t)
			conn, err := net.Dial("unix", path)
			check(t, err)
			t.Cleanup(func() { _ = conn.Close() })
			return path
		}, "it takes too long"},
		"accepted, and closed unread":  {doing(func(net.Conn, <-chan struct{}) {}), "ask "},
		"accepted, and nothing more":   {doing(func(_ net.Conn, gone <-chan struct{}) { <-gone }), "it takes too long"},
		"closed without an answer":     {doing(replying("", false)), "closed without a whole answer"},
		"read, and nothing more":       {doing(replying("", true)), "it takes too long"},
		"a prefix cut off":             {doing(replying(whole("true")[:7], false)), "closed without a whole answer"},
		"nothing after the prefix":     {doing(replying(whole("true")[:8], false)), "closed without a whole answer"},
		"an answer cut off":            {doing(replying(whole("true")[:11], false)), "closed without a whole answer"},
		"an answer that stops":         {doing(replying(whole("true")[:11], true)), "it takes too long"},
		"a long answer cut off":        {doing(replying(whole(strings.Repeat("u", wire.MaxAnswer))[:60_000], false)), "closed without a whole answer"},
		"an answer that drips":         {doing(dripping), "it takes too long"},
		"an answer over the limit":     {doing(replying("ahA\x01\x00\x01\x00\x01"+strings.Repeat("u", wire.MaxAnswer+1), false)), "larger than"},
		"an answer of another version": {doing(replying("ahA\x02\x00\x00\x00\x04true", false)), "another version"},
		"somebody else's answer":       {doing(replying("HTTP/1.1 400 Bad Request\r\n\r\n", false)), "not spoken by authhook"},
		"a bare answer":                {doing(replying("true\ntrue\n", false)), "not spoken by authhook"},
		"the handler panics": {func(t *testing.T) string {
			return serve(t, func(context.Context, *wire.Call) []byte { panic("out of order") })
		}, "closed without a whole answer"},
		"the handler hangs": {func(t *testing.T) string {
			gone := make(chan struct{})
			path := serve(t, func(context.Context, *wire.Call) []byte { <-gone; return []byte("true") })
			t.Cleanup(func() { close(gone) })
			return path
		}, "it takes too long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := x.socket(t)
			// The largest body, so that who closes without reading it is noticed while it is sent, too.
			out, complaint := trigger{socket: path, stdin: strings.NewReader(strings.Repeat("b", wire.MaxBody))}.run(t)
			if out != "the-default" {
				t.Errorf("printed %.100q", out)
			}
			if strings.Count(complaint, "\n") != 1 || len(complaint) > 1100 ||
				!strings.Contains(complaint, x.says) && len(path) < 1000 {
				t.Errorf("standard error %.300q, want one line with %q", complaint, x.says)
			}
		})
	}
}

func TestStandardInputThatDoesNotEnd(t *testing.T) {
	path := serve(t, answering("answered"))
	for name, written := range map[string]string{"nothing written": "", "a part written": "live+a\n192.0.2.7\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, w, err := os.Pipe()
			check(t, err)
			defer w.Close()
			_, err = w.WriteString(written)
			check(t, err)
			out, complaint := trigger{socket: path, stdin: r}.run(t)
			if out != "the-default" || !strings.Contains(complaint, "read standard input: it takes too long") {
				t.Errorf("printed %q, standard error %q", out, complaint)
			}
		})
	}
}

// Who always has another byte gets no more time for it.
func TestNothingIsReadAfterTheLimit(t *testing.T) {
	r, w, err := os.Pipe()
	check(t, err)
	defer r.Close()
	defer w.Close()
	_, err = w.WriteString("another byte")
	check(t, err)
	if n, err := read(int(r.Fd()), make([]byte, 1), time.Now().Add(-time.Millisecond)); err != errLate {
		t.Errorf("%d bytes, error %v", n, err)
	}
}

func TestWhichDefault(t *testing.T) {
	long := strings.Repeat("d", wire.MaxField+1)
	for name, x := range map[string]struct {
		env  string
		want string
	}{
		"true":           {"MIST_TRIG_DEF=true", "true"},
		"empty":          {"MIST_TRIG_DEF=", ""},
		"not set at all": {"A=b", "false"},
		"any bytes":      {"MIST_TRIG_DEF= \xff\n", " \xff\n"},
		"over a text's":  {"MIST_TRIG_DEF=" + long, long},
	} {
		t.Run(name, func(t *testing.T) {
			if out, _ := (trigger{env: []string{x.env}, socket: "/nonexistent/s"}).run(t); out != x.want {
				t.Errorf("printed %.60q, want %.60q", out, x.want)
			}
		})
	}
}

func TestTextThatDoesNotFit(t *testing.T) {
	path := serve(t, answering("answered"))
	env := []string{"MIST_TRIG_DEF=the-default", "MIST_NAME=" + strings.Repeat("n", wire.MaxField+1)}
	out, complaint := trigger{env: env, socket: path}.run(t)
	if out != "the-default" || !strings.Contains(complaint, "environment") {
		t.Errorf("printed %q, standard error %q", out, complaint)
	}
}

// Nobody to print to is no reason to hang, to be killed by a signal, or to fail. MistServer closes the output of
// a trigger that is not blocking, so it is none to complain about, either.
func TestNobodyReadsTheOutput(t *testing.T) {
	path := serve(t, answering(strings.Repeat("u", wire.MaxAnswer)))
	for name, stdout := range map[string]func(t *testing.T) *os.File{
		"closed": func(t *testing.T) *os.File {
			r, w, err := os.Pipe()
			check(t, err)
			check(t, r.Close())
			return w
		},
		"full": func(t *testing.T) *os.File {
			r, w := fullPipe(t)
			t.Cleanup(func() { _ = r.Close() })
			return w
		},
		"almost full": func(t *testing.T) *os.File {
			r, w := fullPipe(t)
			t.Cleanup(func() { _ = r.Close() })
			_, err := io.ReadFull(r, make([]byte, 4096))
			check(t, err)
			return w
		},
		"a full disk": func(t *testing.T) *os.File {
			f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			check(t, err)
			return f
		},
	} {
		for socket, path := range map[string]string{"answer": path, "default": "/nonexistent/s"} {
			t.Run(name+", "+socket, func(t *testing.T) {
				t.Parallel()
				w := stdout(t)
				defer w.Close()
				_, complaint := trigger{socket: path, stdout: w}.run(t)
				if socket == "answer" && complaint != "" {
					t.Errorf("standard error %q", complaint)
				}
			})
		}
	}
}

// fullPipe is a pipe that takes nothing more, in the blocking mode in which MistServer makes them.
func fullPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var p [2]int
	check(t, syscall.Pipe2(p[:], syscall.O_CLOEXEC))
	check(t, syscall.SetNonblock(p[1], true))
	for {
		if _, err := syscall.Write(p[1], make([]byte, 4096)); err == syscall.EAGAIN {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	check(t, syscall.SetNonblock(p[1], false))
	return os.NewFile(uintptr(p[0]), "full"), os.NewFile(uintptr(p[1]), "full")
}

// Without standard input, output and error the files the program opens could take their numbers.
func TestStandardFilesMissing(t *testing.T) {
	bodies := make(chan string, 1)
	path := serve(t, func(_ context.Context, c *wire.Call) []byte { bodies <- string(c.Body); return []byte("true") })
	for _, x := range []struct{ redirect, stdin, want string }{
		{"<&-", "ignored", "true"},
		{"2>&-", "body", "true"},
		{">&-", "body", ""},
		{"<&- >&- 2>&-", "ignored", ""},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		c := exec.CommandContext(ctx, "/bin/sh", "-c", `exec "$0" USER_NEW `+x.redirect, binary)
		c.Env, c.Stdin = []string{"AUTHHOOK_SOCKET=" + path}, strings.NewReader(x.stdin)
		out, err := c.Output()
		if err != nil || string(out) != x.want {
			t.Errorf("%s: printed %q, error %v", x.redirect, out, err)
		}
		select {
		case body := <-bodies:
			if want := strings.TrimPrefix(x.stdin, "ignored"); body != want {
				t.Errorf("%s: body %q, want %q", x.redirect, body, want)
			}
		default:
			t.Errorf("%s: the service was not called", x.redirect)
		}
	}
}

// A standard error that takes nothing delays nobody.
func TestNobodyReadsTheComplaint(t *testing.T) {
	r, w := fullPipe(t)
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, binary, "USER_NEW")
	c.Env, c.Stderr = []string{"AUTHHOOK_SOCKET=/nonexistent/s"}, w
	if out, err := c.Output(); err != nil || string(out) != "false" {
		t.Errorf("printed %q, error %v", out, err)
	}
}

package socket

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestSocketHasItsMode(t *testing.T) {
	for mode, want := range map[fs.FileMode]fs.FileMode{0: 0o660, 0o600: 0o600, 0o666: 0o666, 0o777 | fs.ModeSetuid: 0o777} {
		path := t.TempDir() + "/s"
		l, err := Listen(t.Context(), path, mode)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != fs.ModeSocket|want {
			t.Errorf("asked for %v, is %v, error %v", mode, info.Mode(), err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is still there: %v", err)
		}
	}
}

// Between its making and the change of mode, a socket permits no more than afterwards, whatever the umask is.
func TestSocketIsNeverMoreOpen(t *testing.T) {
	for umask, want := range map[int]fs.FileMode{0: 0o660, 0o022: 0o640, 0o077: 0o600} {
		path := t.TempDir() + "/s"
		before := syscall.Umask(umask)
		l, err := bind(t.Context(), path, 0o660)
		syscall.Umask(before)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("umask %03o: made with mode %v, error %v, want %v", umask, info.Mode(), err, want)
		}
		_ = l.Close()
	}
}

func TestUmaskDoesNotNarrowTheMode(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	path := t.TempDir() + "/s"
	l, err := Listen(t.Context(), path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
}

// leaveStale makes a socket that nobody listens on, as a killed process leaves it.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := t.TempDir() + "/s"
	leaveStale(t, path)
	l, err := Listen(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestWhatListenRefuses(t *testing.T) {
	dir := t.TempDir()
	make := func(name string, f func(path string)) string {
		path := filepath.Join(dir, name)
		f(path)
		return path
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var full int // a socket whose queue is full
	defer func() { _ = syscall.Close(full) }()

	for name, x := range map[string]struct {
		path string
		want error  // nil: any
		says string // what the message holds
	}{
		"a live one": {path: make("live", func(path string) {
			l, err := net.Listen("unix", path)
			check(err)
			t.Cleanup(func() { _ = l.Close() })
		}), want: ErrInUse},
		"a live one with a full queue": {path: make("full", func(path string) {
			var err error
			full, err = syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
			check(err)
			check(syscall.Bind(full, &syscall.SockaddrUnix{Name: path}))
			check(syscall.Listen(full, 0))
			conn, err := net.Dial("unix", path)
			check(err)
			t.Cleanup(func() { _ = conn.Close() })
		}), want: ErrInUse},
		"a socket of another kind": {path: make("datagram", func(path string) {
			l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			check(err)
			t.Cleanup(func() { _ = l.Close() })
		}), want: syscall.EPROTOTYPE, says: "cannot tell"},
		"a file":       {path: make("file", func(path string) { check(os.WriteFile(path, []byte("precious"), 0o600)) }), want: ErrNotSocket},
		"a directory":  {path: make("dir", func(path string) { check(os.Mkdir(path, 0o700)) }), want: ErrNotSocket},
		"a link":       {path: make("link", func(path string) { check(os.Symlink(dir+"/live", path)) }), want: ErrNotSocket},
		"no directory": {path: dir + "/none/s", want: fs.ErrNotExist},
		"a file above": {path: dir + "/file/s", want: syscall.ENOTDIR},
		"too long":     {path: dir + "/" + strings.Repeat("x", 107-len(dir)), says: "the path has 108 bytes, and may have 107"},
		"empty":        {path: "", says: "empty"},
		"abstract":     {path: "@authhook", says: "abstract"},
		"with a zero":  {path: "\x00authhook", says: "abstract"},
	} {
		t.Run(name, func(t *testing.T) {
			before, _ := os.Lstat(x.path)
			l, err := Listen(t.Context(), x.path, 0)
			if err == nil {
				_ = l.Close()
				t.Fatal("no error")
			}
			if x.want != nil && !errors.Is(err, x.want) || !strings.Contains(err.Error(), x.says) || !strings.Contains(err.Error(), x.path) {
				t.Errorf("error %v, want %v with %q", err, x.want, x.says)
			}
			if after, _ := os.Lstat(x.path); before != nil && (after == nil || !os.SameFile(before, after)) {
				t.Error("it is gone, or another")
			}
		})
	}
}

func TestLongestPath(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/" + strings.Repeat("x", 106-len(dir))
	l, err := Listen(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

// Of many that find the same stale socket at once, one gets it, and the others do not take it away.
func TestOneOfManyListens(t *testing.T) {
	for range 20 {
		path := t.TempDir() + "/s"
		leaveStale(t, path)
		var won, refused atomic.Int32
		var winner net.Listener
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				l, err := Listen(t.Context(), path, 0)
				switch {
				case err == nil:
					won.Add(1)
					mu.Lock()
					winner = l
					mu.Unlock()
				case errors.Is(err, ErrInUse):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 || refused.Load() != 7 {
			t.Fatalf("%d listen, %d were refused", won.Load(), refused.Load())
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		_ = winner.Close()
	}
}

// Somebody who holds the directory's lock for long is named, not waited for without end.
func TestLockedDirectory(t *testing.T) {
	dir := t.TempDir()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), dir+"/s", 0); !errors.Is(err, syscall.EWOULDBLOCK) || !strings.Contains(err.Error(), "lock the directory "+dir) {
		t.Errorf("error %v", err)
	}
}

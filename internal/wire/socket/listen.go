package socket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// maxPath is how long a Unix socket's path may be: 108 bytes with the zero at its end (unix(7)).
const maxPath = 107

// DefaultMode lets the service's user and group call: MistServer must run as one of them.
const DefaultMode fs.FileMode = 0o660

// What Listen refuses to replace.
var (
	// ErrInUse: another process listens on the path.
	ErrInUse = errors.New("another process is listening there")
	// ErrNotSocket: the path is something else than a socket.
	ErrNotSocket = errors.New("it exists and is not a socket")
)

// Listen makes a Unix socket at path, which permits what mode says (the zero mode: [DefaultMode]) and at no moment more.
// A socket that nobody listens on, left by a process that was killed, is replaced. The file goes when the listener is
// closed. Two services that start at the same moment do not both succeed.
func Listen(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	l, err := listen(ctx, path, cmp.Or(mode.Perm(), DefaultMode))
	if err != nil {
		return nil, fmt.Errorf("listen on Unix socket %s: %w", path, err)
	}
	return l, nil
}

func listen(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	switch {
	case path == "":
		return nil, errors.New("the path is empty")
	case len(path) > maxPath:
		return nil, fmt.Errorf("the path has %d bytes, and may have %d", len(path), maxPath)
	case path[0] == '@' || strings.IndexByte(path, 0) >= 0:
		return nil, errors.New("an abstract socket has no permissions, so anybody could call: give a file's path")
	}
	unlock, err := lockDirectory(ctx, filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()

	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	return create(ctx, path, mode)
}

// lockDirectory makes services that start at the same moment take turns, so that none removes the socket that another
// has just made. The lock goes with its process, and leaves no file.
func lockDirectory(ctx context.Context, dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = d.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			break
		}
		select {
		case <-again.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	_ = d.Close()
	return nil, fmt.Errorf("lock the directory %s, which another process may have locked: %w", dir, err)
}

// removeStale removes a socket that nobody listens on. Only a refused connection shows that: anything else is not known
// to be stale, and stays.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return ErrNotSocket
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = conn.Close()
		return ErrInUse
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	case errors.Is(err, syscall.EAGAIN): // its queue is full
		return ErrInUse
	default:
		return fmt.Errorf("cannot tell whether somebody is listening: %w", err)
	}
}

// create makes the socket and takes calls for it.
func create(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	l, err := bind(ctx, path, mode)
	if err != nil {
		return nil, err
	}
	// What the umask took away.
	if err := os.Chmod(path, mode); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// bind makes the socket's file with no more permissions than mode: Linux gives it those of the socket that is not bound
// yet, less the umask. So nobody else can connect in the time between its making and a chmod, and the umask, which is
// every goroutine's, stays alone.
func bind(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = syscall.Fchmod(int(fd), uint32(mode)) })
		return errors.Join(err, failed)
	}}
	return config.Listen(ctx, "unix", path)
}

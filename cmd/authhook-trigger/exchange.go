//go:build linux

package main

import (
	"errors"
	"syscall"
	"time"

	"authhook/internal/wire"
)

var (
	errLate    = errors.New("it takes too long")
	errTooLong = errors.New("the path is too long for a socket")
	errCutOff  = errors.New("closed without a whole answer")
)

// exchange sends a request to the socket at path and reads the answer, which is whole or an error.
func exchange(path string, request []byte, until time.Time) ([]byte, error) {
	fd, err := connect(path, until)
	if err != nil {
		return nil, err
	}
	// Not closed: the process ends, and the kernel does it.
	if err := send(fd, request, until); err != nil {
		return nil, err
	}
	return receive(fd, until)
}

// connect waits where the service's queue is full: for a Unix socket the limit on sending is one on connecting, too.
func connect(path string, until time.Time) (int, error) {
	if len(path) > 107 {
		return 0, errTooLong
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	for {
		left := time.Until(until)
		if left < time.Microsecond { // none at all would mean without end
			return 0, errLate
		}
		wait := syscall.NsecToTimeval(int64(left))
		if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &wait); err != nil {
			return 0, err
		}
		switch err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}); err {
		case nil:
			return fd, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, errLate
		default:
			return 0, err
		}
	}
}

// send sends the request: at once, for a new socket's buffer has room for the largest.
func send(fd int, request []byte, until time.Time) error {
	for len(request) > 0 {
		n, err := syscall.SendmsgN(fd, request, nil, nil, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
		switch err {
		case nil:
			request = request[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			if err := ready(fd, pollOut, until); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

// answered holds the answer's frame.
var answered [wire.PrefixSize + wire.MaxAnswer]byte

// receive reads the answer, and nothing after it.
func receive(fd int, until time.Time) ([]byte, error) {
	have, want := 0, wire.PrefixSize
	for {
		if have >= wire.PrefixSize {
			size, err := wire.AnswerSize(answered[:have])
			if err != nil {
				return nil, err
			}
			if want = wire.PrefixSize + size; have >= want {
				return answered[wire.PrefixSize:want], nil
			}
		}
		n, err := read(fd, answered[have:], until)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, errCutOff
		}
		have += n
	}
}

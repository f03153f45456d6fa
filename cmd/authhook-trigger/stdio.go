//go:build linux

package main

import (
	"syscall"
	"time"
	"unsafe"
)

// The events of poll(2).
const (
	pollIn  = 1
	pollOut = 4
)

// atOnce is what a pipe or socket that is ready to be written takes without blocking: PIPE_BUF, see pipe(7).
const atOnce = 4096

// readAll reads to the end of fd, or until b is full.
func readAll(fd int, b []byte, until time.Time) ([]byte, error) {
	have := 0
	for have < len(b) {
		n, err := read(fd, b[have:], until)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		have += n
	}
	return b[:have], nil
}

// read reads what there is, waiting for it until a moment; 0 bytes are the end.
func read(fd int, b []byte, until time.Time) (int, error) {
	for {
		if time.Now().After(until) { // who always has another byte gets no more time for it
			return 0, errLate
		}
		if err := ready(fd, pollIn, until); err != nil {
			return 0, err
		}
		n, err := syscall.Read(fd, b)
		if err == syscall.EINTR || err == syscall.EAGAIN {
			continue
		}
		return n, err
	}
}

// writeAll writes b, waiting until a moment for whoever reads it. Where there is room it writes after that, too: a program that was
// kept from running until then has its default to print. It may write a part of b and fail. Writing directly, not with
// os.Stdout, makes a reader that is gone an error and not a signal.
func writeAll(fd int, b []byte, until time.Time) error {
	for len(b) > 0 {
		if err := ready(fd, pollOut, until); err != nil {
			return err
		}
		n, err := syscall.Write(fd, b[:min(len(b), atOnce)])
		if err != nil && err != syscall.EINTR && err != syscall.EAGAIN {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}

// ready waits until fd can be read or written, or has failed, which reading or writing then tells. Where the moment is past it
// looks all the same, and waits for nothing. It is asked for before each blocking call, because standard input and output are
// shared with MistServer, and making them non-blocking would change them for it as well.
func ready(fd int, events int16, until time.Time) error {
	type pollfd struct {
		fd              int32
		events, revents int16
	}
	p := pollfd{fd: int32(fd), events: events}
	for {
		left := syscall.NsecToTimespec(int64(max(time.Until(until), 0)))
		n, _, err := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&left)), 0, 0, 0)
		switch {
		case err == syscall.EINTR:
		case err != 0:
			return err
		case n == 0:
			return errLate
		default:
			return nil
		}
	}
}

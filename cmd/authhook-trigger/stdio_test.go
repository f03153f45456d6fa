//go:build linux

package main

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"
)

// A program that was kept from running until its time was up still prints where there is room, and waits for none.
func TestTheDefaultIsPrintedLate(t *testing.T) {
	r, w, err := os.Pipe()
	check(t, err)
	t.Cleanup(func() { check(t, errors.Join(r.Close(), w.Close())) })
	past := time.Now().Add(-time.Second)
	if err := writeAll(int(w.Fd()), []byte("the-default"), past); err != nil {
		t.Errorf("writing: %v, though there was room", err)
	}
	size, _, problem := syscall.Syscall(syscall.SYS_FCNTL, w.Fd(), syscall.F_GETPIPE_SZ, 0)
	if problem != 0 {
		t.Fatal(problem)
	}
	if err := writeAll(int(w.Fd()), bytes.Repeat([]byte("x"), int(size)+1), past); !errors.Is(err, errLate) {
		t.Errorf("writing more than there is room for: %v", err)
	}
}

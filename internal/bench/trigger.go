package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"authhook/internal/mist"
)

// Executable is a program that is started for every event, as MistServer starts the executables among its handlers.
type Executable struct {
	Name, Path string
	Want       string // what it prints
	Times      Times
}

// IdleProgram builds a Go program that does nothing, for what is between it and another is what the other costs.
func IdleProgram(ctx context.Context, dir string) (string, error) {
	source, program := filepath.Join(dir, "idle.go"), filepath.Join(dir, "idle")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", program, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build an empty program: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return program, nil
}

// TakeTurns starts each of some programs, one after the other, again and again, with the body on standard input.
func TakeTurns(programs []*Executable, env []string, body []byte, times int) error {
	for range times {
		for _, p := range programs {
			took, out, err := startToExit(p.Path, env, body)
			if err != nil {
				return err
			}
			if out != p.Want {
				return fmt.Errorf("%s printed %q", p.Name, out)
			}
			p.Times = append(p.Times, took)
		}
	}
	return nil
}

// startToExit runs a program as MistServer does, parameters on a pipe and the answer from a pipe, and says how long that took and
// what it printed.
func startToExit(path string, env []string, body []byte) (took time.Duration, printed string, err error) {
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = inRead.Close() }()
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return 0, "", errors.Join(err, inWrite.Close())
	}
	defer func() { _ = outRead.Close() }()
	defer func() { _ = outWrite.Close() }()
	if _, err := inWrite.Write(body); err != nil { // less than a pipe holds
		return 0, "", errors.Join(err, inWrite.Close())
	}
	if err := inWrite.Close(); err != nil {
		return 0, "", err
	}

	start := time.Now()
	p, err := os.StartProcess(path, []string{path, "USER_NEW"}, &os.ProcAttr{Env: env, Files: []*os.File{inRead, outWrite, os.Stderr}})
	if err != nil {
		return 0, "", err
	}
	state, err := p.Wait()
	took = time.Since(start)
	if err != nil || !state.Success() {
		return 0, "", fmt.Errorf("%s: %v, %w", path, state, err)
	}
	_ = outWrite.Close()
	out, err := io.ReadAll(outRead)
	return took, string(out), err
}

// Trigger starts authhook-trigger against a running service as often as it says, and beside it, in turn, an empty Go program and
// /bin/true.
func (b *Bench) Trigger(ctx context.Context, db *Database, p *People, program string, times int) (all []*Executable, err error) {
	service, err := Start(ctx, b.serve(db, noMist))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, service.Stop()) }()
	idle, err := IdleProgram(ctx, b.Dir)
	if err != nil {
		return nil, err
	}
	all = []*Executable{{Name: "authhook-trigger", Path: program, Want: "true"}, {Name: "an empty Go program", Path: idle}}
	if program, err := exec.LookPath("true"); err == nil {
		all = append(all, &Executable{Name: "true", Path: program})
	}
	from := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	body := Stream + "\n" + from.String() + "\n" + p.Keys[0] + "\nHLS\nhttp://127.0.0.1:8080/hls/" + Stream + "/index.m3u8?tkn=" + p.Keys[0] + "\n" +
		mist.SessionID(mist.DefaultSessionMode, Stream, from, p.Keys[0], "HLS")
	// Without a UUID no ask is a repetition of the one before.
	env := append(clean(os.Environ()), "AUTHHOOK_SOCKET="+service.Socket, "MIST_TRIGGER=USER_NEW", "MIST_TRIG_DEF=false",
		"MIST_TIME=1767225600123", "MIST_PID=4711", "MIST_INSTANCE="+instance, "MIST_NAME="+NodeName)
	return all, TakeTurns(all, env, []byte(body), times)
}

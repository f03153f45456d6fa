package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Program is a process that is measured. Its output goes to a file, as a service's log does.
type Program struct {
	// URL is where it answers HTTP, Address the same without a scheme, Socket its Unix socket.
	URL, Address, Socket string

	log  string
	stop func() error
}

const (
	// patience is how long is waited for what a program is to become, on a machine that others keep busy; stopTime for its end.
	patience = 3 * time.Minute
	stopTime = 10 * time.Second
	// readyEvery is how often a program is asked whether it is ready, metricsEvery for its metrics: to tell them is work, of which
	// what is measured is to be free.
	readyEvery, metricsEvery = 2 * time.Millisecond, 20 * time.Millisecond
)

// Launch says how a program is started.
type Launch struct {
	Path string
	// Args are its arguments, Env what is added to the environment.
	Args, Env []string
	// Dir is a directory for its socket and its log, and Name what they begin with.
	Dir, Name string
}

// Start starts a program that takes --listen and --socket, and waits until its /readyz answers 200.
func Start(ctx context.Context, l Launch) (*Program, error) {
	p, err := Begin(ctx, l)
	if err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.until(ready, readyEvery, p.Ready); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is not ready: %w: %s", l.Name, err, p.lastWords()), p.Stop())
	}
	return p, nil
}

// Begin starts a program as [Start] does, and does not wait.
func Begin(ctx context.Context, l Launch) (*Program, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p := &Program{
		URL: "http://" + address, Address: address,
		Socket: filepath.Join(l.Dir, l.Name+".sock"), log: filepath.Join(l.Dir, l.Name+".log"),
	}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	command := exec.CommandContext(ctx, l.Path, append(l.Args, "--listen", address, "--socket", p.Socket)...)
	command.Env = append(clean(os.Environ()), l.Env...)
	command.Stdout, command.Stderr = out, out
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = stopTime
	if err := command.Start(); err != nil {
		cancel()
		return nil, err
	}
	p.stop = func() error {
		cancel()
		err := command.Wait()
		if errors.Is(err, context.Canceled) { // it was told to end, and did
			err = nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w: %s", l.Name, err, p.lastWords())
		}
		return nil
	}
	return p, nil
}

// Stop has it end, and waits until it has.
func (p *Program) Stop() error { return p.stop() }

// Ready says whether /readyz answers 200.
func (p *Program) Ready(ctx context.Context) (bool, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/readyz", http.NoBody)
	if err != nil {
		return false, err
	}
	r.Close = true
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return false, nil // nobody listens yet
	}
	return a.StatusCode == http.StatusOK, a.Body.Close()
}

// until waits until something is so, and looks every so often.
func (p *Program) until(ctx context.Context, every time.Duration, is func(context.Context) (bool, error)) error {
	again := time.NewTicker(every)
	defer again.Stop()
	for {
		if yes, err := is(ctx); yes || err != nil {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lastWords are the last lines of its log.
func (p *Program) lastWords() string {
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " / ")
}

// freeAddress is one on which nobody listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// clean is an environment without settings of authhook's: what is measured is what the flags say.
func clean(env []string) (left []string) {
	for _, e := range env {
		if !strings.HasPrefix(e, "AUTHHOOK_") {
			left = append(left, e)
		}
	}
	return left
}

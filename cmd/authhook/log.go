package main

import (
	"bufio"
	"io"
	"log/slog"
	"sync"
	"time"
)

// newLog is the log of a service. Lines are gathered for a tenth of a second, so that a decision does not wait for a
// terminal or a disk; flush writes what is gathered, and ends the gathering.
func newLog(w io.Writer, level, format string) (log *slog.Logger, flush func()) {
	lines := &gathered{w: bufio.NewWriterSize(w, 256<<10), stop: make(chan struct{}), stopped: make(chan struct{})}
	go lines.run()
	options := &slog.HandlerOptions{Level: logLevels[level]}
	var h slog.Handler = slog.NewTextHandler(lines, options)
	if format == "json" {
		h = slog.NewJSONHandler(lines, options)
	}
	return slog.New(h), lines.close
}

// gatherFor is how long a line waits at most.
const gatherFor = 100 * time.Millisecond

type gathered struct {
	mu            sync.Mutex
	w             *bufio.Writer
	stop, stopped chan struct{}
}

func (g *gathered) Write(line []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.w.Write(line)
}

func (g *gathered) run() {
	defer close(g.stopped)
	tick := time.NewTicker(gatherFor)
	defer tick.Stop()
	for {
		select {
		case <-g.stop:
			return
		case <-tick.C:
			g.flush()
		}
	}
}

func (g *gathered) flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.w.Flush()
}

func (g *gathered) close() {
	close(g.stop)
	<-g.stopped
	g.flush()
}

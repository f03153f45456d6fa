package logline

import (
	"bufio"
	"io"
	"sync"
	"time"
)

const (
	// gatherFor is how long a line waits at most.
	gatherFor = 100 * time.Millisecond
	// gatherUpTo is how much waits at most, in bytes.
	gatherUpTo = 256 << 10
)

// gathered are lines on their way to where they are written, so that a decision does not wait for a terminal or a disk.
type gathered struct {
	mu            sync.Mutex
	w             *bufio.Writer
	stop, stopped chan struct{}
}

func gather(w io.Writer) *gathered {
	g := &gathered{w: bufio.NewWriterSize(w, gatherUpTo), stop: make(chan struct{}), stopped: make(chan struct{})}
	go g.run()
	return g
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

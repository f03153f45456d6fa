package logline

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	// gatherFor is how long a line waits at most, where it can be written.
	gatherFor = 100 * time.Millisecond
	// gatherUpTo is how much waits at most, in bytes, and writeFrom how much does not wait for its time.
	gatherUpTo = 256 << 10
	writeFrom  = 64 << 10
)

// gathered are lines on their way to where they are written, so that a decision does not wait for a terminal or a disk, not
// even for one that takes nothing: what does not fit meanwhile is dropped, and how much that was is said when it takes lines again.
type gathered struct {
	w       io.Writer
	told    func(dropped int) []byte // the line that says so
	written sync.Mutex               // held while lines are written, which those that come do not wait for
	spare   []byte
	cut     bool // the last line that was written was cut off

	mu      sync.Mutex
	waiting []byte
	dropped int // lines

	much, stop, stopped chan struct{}
}

func gather(w io.Writer, told func(dropped int) []byte) *gathered {
	g := &gathered{
		w: w, told: told, waiting: make([]byte, 0, gatherUpTo), spare: make([]byte, 0, gatherUpTo),
		much: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	go g.run()
	return g
}

// Write takes a line, whatever becomes of it.
func (g *gathered) Write(line []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting)+len(line) > gatherUpTo {
		g.dropped++
		return len(line), nil
	}
	g.waiting = append(g.waiting, line...)
	if len(g.waiting) >= writeFrom {
		select {
		case g.much <- struct{}{}:
		default:
		}
	}
	return len(line), nil
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
		case <-g.much:
		}
		g.flush()
	}
}

// flush writes what waits. What cannot be written is dropped: the next lines are tried anew.
func (g *gathered) flush() {
	g.written.Lock()
	defer g.written.Unlock()
	g.mu.Lock()
	lines, dropped := g.waiting, g.dropped
	g.waiting, g.dropped = g.spare[:0], 0
	g.mu.Unlock()
	g.spare = lines

	if dropped > 0 {
		lines = append(lines, g.told(dropped)...)
	}
	if len(lines) == 0 {
		return
	}
	if g.cut {
		lines = append([]byte{'\n'}, lines...)
	}
	n, err := g.w.Write(lines)
	if n > 0 {
		g.cut = lines[n-1] != '\n'
	}
	if err != nil {
		lost := bytes.Count(lines[n:], []byte{'\n'})
		if dropped > 0 && lost > 0 {
			lost += dropped - 1 // the last is the line that was to tell of those
		}
		g.mu.Lock()
		g.dropped += lost
		g.mu.Unlock()
	}
}

func (g *gathered) close() {
	close(g.stop)
	<-g.stopped
	g.flush()
}

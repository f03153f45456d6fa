package misttest

import (
	"container/heap"
	"time"
)

// clock runs what is due, one thing after another, each under the server's lock. One goroutine serves any number of
// viewers.
type clock struct {
	due  alarms
	seq  uint64
	wake chan struct{}
}

type alarm struct {
	at    time.Time
	seq   uint64
	index int // in the heap; -1 when it is not
	f     func()
}

// after has f run, under the lock, when d has passed. The caller holds the lock.
func (s *Server) after(d time.Duration, f func()) *alarm {
	c := &s.clock
	c.seq++
	a := &alarm{at: time.Now().Add(d), seq: c.seq, f: f}
	heap.Push(&c.due, a)
	if a.index == 0 {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	return a
}

// inProcess is after, for what is gone when the server's process is.
func (s *Server) inProcess(d time.Duration, f func()) *alarm {
	process := s.process
	return s.after(d, func() {
		if s.process == process {
			f()
		}
	})
}

// cancel takes an alarm back; nil and one that has run are none.
func (s *Server) cancel(a *alarm) {
	if a != nil && a.index >= 0 {
		heap.Remove(&s.clock.due, a.index)
	}
}

// batch bounds how much is run before others get the lock.
const batch = 64

func (s *Server) runClock() {
	defer s.done.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := time.Hour
		s.mu.Lock()
		for n := 0; len(s.clock.due) > 0; n++ {
			next := s.clock.due[0]
			wait = time.Until(next.at)
			if wait > 0 || n == batch {
				break
			}
			heap.Pop(&s.clock.due)
			next.f()
			wait = time.Hour
		}
		s.mu.Unlock()
		timer.Reset(max(wait, 0))
		select {
		case <-timer.C:
		case <-s.clock.wake:
		case <-s.closing:
			return
		}
	}
}

// alarms is a heap: the next one is first.
type alarms []*alarm

func (h alarms) Len() int { return len(h) }

func (h alarms) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}

func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *alarms) Push(x any) {
	a := x.(*alarm)
	a.index = len(*h)
	*h = append(*h, a)
}

func (h *alarms) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	a.index = -1
	return a
}

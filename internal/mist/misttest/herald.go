package misttest

import (
	"slices"
	"sync"
	"sync/atomic"
)

// herald tells observers, one after another and in order, without the server's lock: they may call the server.
type herald struct {
	mu    sync.Mutex
	news  []func()
	wake  chan struct{}
	close chan struct{}
}

func (h *herald) tell(f func()) {
	h.mu.Lock()
	h.news = append(h.news, f)
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run ends when it is closed and everything was told.
func (h *herald) run() {
	for {
		h.mu.Lock()
		news := h.news
		h.news = nil
		h.mu.Unlock()
		for _, f := range news {
			f()
		}
		if len(news) > 0 {
			continue
		}
		select {
		case <-h.wake:
		case <-h.close:
			h.mu.Lock()
			left := len(h.news)
			h.mu.Unlock()
			if left == 0 {
				return
			}
		}
	}
}

// observers are callbacks that can be taken back. The server's lock guards them.
type observers[T any] struct{ all []*observer[T] }

type observer[T any] struct {
	f    func(T)
	gone atomic.Bool
}

// add returns what takes the callback back: what is not told by then is not told any more.
func (o *observers[T]) add(s *Server, f func(T)) (stop func()) {
	one := &observer[T]{f: f}
	o.all = append(o.all, one)
	return func() {
		one.gone.Store(true)
		s.mu.Lock()
		defer s.mu.Unlock()
		o.all = slices.DeleteFunc(o.all, func(x *observer[T]) bool { return x == one })
	}
}

func (o *observers[T]) tell(h *herald, news T) {
	for _, one := range o.all {
		h.tell(func() {
			if !one.gone.Load() {
				one.f(news)
			}
		})
	}
}

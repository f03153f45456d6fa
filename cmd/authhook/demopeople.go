package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"authhook/internal/mist"
	"authhook/internal/mist/misttest"
)

// demoPatience is how long the story waits for what must happen, whatever its pace: a machine may be busy.
const demoPatience = 30 * time.Second

// demoViewer is somebody's player at the stand-in.
type demoViewer struct {
	*misttest.Player
	who, user string // who as the story says it; the user is empty where the service knows none
}

// crowdNames are the users who are not told of one by one. Where there are more they have numbers.
var crowdNames = strings.Fields("kim lou max ned ola pam quinn rosa sam tess uma vic wes xena yan zoe " +
	"amy ben cora dirk elsa finn gus hana igor jill")

func crowdName(i int) string {
	name := crowdNames[i%len(crowdNames)]
	if n := i / len(crowdNames); n > 0 {
		name = fmt.Sprintf("%s%d", name, n+1)
	}
	return name
}

// connect has a viewer's player open a stream. The player tries again every second whenever it is refused or cut.
func (s *demoStory) connect(who, user, key, stream string) *demoViewer {
	s.connected++
	v := &demoViewer{who: who, user: user, Player: s.server.Connect(misttest.Viewer{
		Stream: stream, Token: key, Reconnect: s.paced(time.Second),
		// 198.18.0.0/15 is nobody's (RFC 2544).
		Address: netip.AddrFrom4([4]byte{198, 18, byte(s.connected >> 8), byte(s.connected)}),
	})}
	v.Observe(func(misttest.Event) { s.news.tell() })
	s.news.tell() // what happened before it was observed
	return v
}

// await waits for an event of a viewer after a moment.
func (s *demoStory) await(ctx context.Context, v *demoViewer, after time.Time, what string, wanted func(misttest.Event) bool) (misttest.Event, error) {
	waiting, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	for {
		more := s.news.next()
		for _, e := range v.Events() {
			if e.At.After(after) && wanted(e) {
				return e, nil
			}
		}
		select {
		case <-more:
		case <-waiting.Done():
			if ctx.Err() != nil {
				return misttest.Event{}, ctx.Err()
			}
			return misttest.Event{}, fmt.Errorf("%s was not %s within %s", v.who, what, demoPatience)
		}
	}
}

// awaitAnswer waits until it was decided about a viewer.
func (s *demoStory) awaitAnswer(ctx context.Context, v *demoViewer, after time.Time) (misttest.Event, error) {
	return s.await(ctx, v, after, "decided about", func(e misttest.Event) bool {
		return e.Trigger == mist.TypeUserNew && (e.Kind == misttest.EventAllowed || e.Kind == misttest.EventDenied)
	})
}

// awaitCut waits until a viewer that watched is cut.
func (s *demoStory) awaitCut(ctx context.Context, v *demoViewer, after time.Time) (misttest.Event, error) {
	return s.await(ctx, v, after, "cut", func(e misttest.Event) bool { return e.Kind == misttest.EventCut })
}

// watchLocks looks from now on when the stand-in forgets the denials of viewers. The result waits until it has.
func (s *demoStory) watchLocks(ctx context.Context, viewers ...*demoViewer) (wait func() (map[*demoViewer]demoLift, error)) {
	const every = 2 * time.Millisecond
	lifted := make(map[*demoViewer]demoLift, len(viewers))
	sessions := make(map[*demoViewer]string, len(viewers))
	for _, v := range viewers {
		sessions[v] = v.SessionID()
	}
	var err error
	done := make(chan struct{})
	s.running.Go(func() {
		defer close(done)
		waiting, cancel := context.WithTimeout(ctx, demoPatience)
		defer cancel()
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for len(lifted) < len(viewers) {
			select {
			case <-ticker.C:
			case <-waiting.Done():
				if err = ctx.Err(); err == nil {
					err = fmt.Errorf("%d of %d denials were not forgotten within %s", len(viewers)-len(lifted), len(viewers), demoPatience)
				}
				return
			}
			all := s.server.Sessions()
			now := time.Now()
			for v, id := range sessions {
				_, known := lifted[v]
				if !known && !slices.ContainsFunc(all, func(x misttest.SessionInfo) bool { return x.ID == id && !x.DeniedUntil.IsZero() }) {
					lifted[v] = demoLift{now, id}
				}
			}
		}
	})
	return func() (map[*demoViewer]demoLift, error) {
		<-done
		return lifted, err
	}
}

// demoLift is when a session's denial was forgotten.
type demoLift struct {
	at      time.Time
	session string
}

// measureTold notes when the stand-in was told to end a session, or to forget its denial.
func (s *demoStory) measureTold(session string, since time.Time) {
	for _, c := range s.server.Commands() {
		if c.Kind == "stop_sessid" && c.Target == session && c.At.After(since) {
			s.times.told = append(s.times.told, c.At.Sub(since))
			return
		}
	}
}

// demoNews wakes who waits for something to happen.
type demoNews struct {
	mu   sync.Mutex
	wake chan struct{}
}

func (n *demoNews) next() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.wake == nil {
		n.wake = make(chan struct{})
	}
	return n.wake
}

func (n *demoNews) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.wake != nil {
		close(n.wake)
		n.wake = nil
	}
}

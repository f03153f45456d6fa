package enforce

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"authhook/internal/mist/api"
	"authhook/internal/policy"
)

// nowhere is the client of a MistServer that nobody asks.
func nowhere(t testing.TB) *api.Client {
	t.Helper()
	c, err := api.New("udp://127.0.0.1:9", api.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A list that was read is given up, whoever was first seen in it: strangers stay for hours.
func TestStrangersDoNotKeepTheListsThatTheyWereSeenIn(t *testing.T) {
	const strangers, size = 60, 1 << 20 // the list of some 10,000 sessions
	e := NewEnforcer(blank{}, Options{Nodes: []Node{{Name: "edge-1", API: nowhere(t)}}})
	before := heapInUse()
	var ids []string
	at := time.Now()
	for i := range strangers {
		ids = append(ids, strings.Repeat("0", 60)+strconv.Itoa(1000+i))
		names := strings.Join(ids, "")
		reply := strings.Repeat("x", size-len(names)) + names // all its texts share this memory
		var list api.SessionList
		for j := range ids {
			from := len(reply) - 64*(len(ids)-j)
			list.Sessions = append(list.Sessions, api.Session{ID: reply[from : from+64], Stream: reply[:8]})
		}
		at = at.Add(5 * time.Second)
		e.compare(e.nodes["edge-1"], &list, at)
	}
	if grown := heapInUse() - before; grown > strangers*size/4 {
		t.Errorf("%d strangers keep %d KiB", strangers, grown>>10)
	}
	runtime.KeepAlive(e)
}

// What a trigger tells comes with all that was sent, and only what is needed of it is kept.
func TestOfATriggerOnlyWhatIsNeededIsKept(t *testing.T) {
	const nodes, size = 200, 64 << 10
	e := NewEnforcer(blank{}, Options{})
	now := time.Now()
	before := heapInUse()
	for i := range nodes {
		sent := fmt.Sprintf("edge-%04d instance-%04d session-%04d live+%04d HLS ", i, i, i, i) + strings.Repeat("x", size)
		of := strings.Fields(sent)
		e.Record(&policy.Session{
			Node: of[0], Instance: of[1], ID: of[2], Stream: of[3], Connector: of[4], State: policy.SessionOpen, Opened: now, Decided: now,
		})
		e.Record(&policy.Session{Node: of[0], Instance: of[1], ID: of[3], State: policy.SessionEnded, Ended: now})
	}
	if grown := heapInUse() - before; grown > nodes*size/4 {
		t.Errorf("%d nodes and sessions keep %d KiB", nodes, grown>>10)
	}
	runtime.KeepAlive(e)
}

// refusingPlaces is a store that has no place for anybody.
type refusingPlaces struct{ blank }

func (refusingPlaces) AcquireLease(context.Context, policy.Lease, int, policy.OnLimit) (bool, []policy.KickedSession, error) {
	return false, nil, nil
}

// A session that tries for another's place in vain is remembered for long, and with it nothing of the trigger that it came in.
func TestOfWhoIsKeptOutOnlyTheSessionIsKept(t *testing.T) {
	const sessions, size = 200, 64 << 10
	e := NewEnforcer(refusingPlaces{}, Options{Nodes: []Node{{Name: "edge-1", API: nowhere(t)}}})
	close(e.recalled) // the start is over
	e.renewed = time.Now()
	for i := range sessions {
		e.ChangedSession("edge-1", strconv.Itoa(1000+i))
	}
	before := heapInUse()
	for i := range sessions {
		sent := strconv.Itoa(1000+i) + strings.Repeat("x", size)
		now := time.Now()
		granted, _, err := e.Places().AcquireLease(t.Context(), policy.Lease{
			User: "alice", Plan: "gold", Node: "edge-1", Session: sent[:4], At: now, Until: now.Add(time.Minute),
		}, 1, policy.OnLimitKickOldest)
		if granted || err != nil {
			t.Fatal(granted, err)
		}
	}
	if n := len(e.nodes["edge-1"].kicked); n != sessions {
		t.Fatalf("%d are remembered", n)
	}
	if grown := heapInUse() - before; grown > sessions*size/4 {
		t.Errorf("%d sessions keep %d KiB", sessions, grown>>10)
	}
	runtime.KeepAlive(e)
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// That sessions lost their places is forgotten in time, also on nodes whose list nobody reads.
func TestLostPlacesAreForgottenInTime(t *testing.T) {
	t.Parallel()
	e := NewEnforcer(blank{}, Options{Nodes: []Node{{Name: "edge-1", API: nowhere(t)}}, KickedFor: time.Nanosecond})
	e.mu.Lock()
	heardOf := e.nodeOf("edge-2")
	e.mu.Unlock()
	for i := range 100 {
		e.ChangedSession("edge-2", strconv.Itoa(i))
	}
	for _, n := range e.nodes {
		if n.api != nil { // the others are not watched
			e.reconsiderAll(n)
		}
	}
	if len(heardOf.kicked) > 0 {
		t.Errorf("%d are remembered", len(heardOf.kicked))
	}
}

// allowing finds that everybody may watch, within a limit of one.
type allowing struct{}

func (allowing) Catalog() *policy.Catalog { return &policy.Catalog{} }

func (allowing) Reconsider(context.Context, *policy.Session) (policy.Verdict, error) {
	return policy.Verdict{Decision: policy.Decision{
		Allow: true, Reason: policy.Entitled, User: "alice", Plan: "gold", MaxConcurrent: 1,
	}}, nil
}

// full has no place for anybody. The first who asks is held up.
type full struct {
	blank
	once           sync.Once
	asked, proceed chan struct{}
}

func (f *full) AcquireLease(context.Context, policy.Lease, int, policy.OnLimit) (bool, []policy.KickedSession, error) {
	f.once.Do(func() {
		close(f.asked)
		<-f.proceed
	})
	return false, nil, nil
}

// While a place is looked for, for a session that lost its own, the sweep decides about it as about any. What comes of the
// search still counts.
func TestASweepDoesNotForgetThatASessionLostItsPlace(t *testing.T) {
	t.Parallel()
	places := &full{asked: make(chan struct{}), proceed: make(chan struct{})}
	e := NewEnforcer(places, Options{Nodes: []Node{{Name: "edge-1", API: nowhere(t)}}})
	e.decider = allowing{}
	close(e.recalled) // the start is over
	e.mu.Lock()
	s := e.insert(e.nodes["edge-1"], policy.Session{
		Node: "edge-1", ID: "a", State: policy.SessionOpen, Stream: "live", User: "alice", Plan: "gold", Reason: policy.Entitled,
	})
	e.mu.Unlock()
	settle := func() {
		e.mu.Lock()
		batch := e.queue
		e.queue = nil
		for _, j := range batch {
			j.session.queued = false
		}
		e.mu.Unlock()
		e.settle(t.Context(), batch)
	}
	e.ChangedSession("edge-1", "a")
	done := make(chan struct{})
	go func() { settle(); close(done) }()
	select {
	case <-places.asked:
	case <-time.After(10 * time.Second):
		t.Fatal("no place is looked for")
	}
	e.reconsiderAll(s.node)
	settle()
	close(places.proceed)
	<-done
	settle() // whatever that left to do
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.wants() != revoked {
		t.Errorf("it has no place, and %s is wanted of it", s.wants())
	}
}

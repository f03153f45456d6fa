package enforce_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/enforce"
	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/feed"
)

// metered has the plan "metered" give so many minutes a month.
func (w *world) metered(minutes int) {
	w.t.Helper()
	w.apply(&policy.Catalog{
		Plans:   []policy.Plan{{Key: "gold", Rank: 10}, {Key: "metered", Rank: 20, QuotaMinutes: minutes}},
		Streams: []policy.StreamPolicy{{Match: "*", Access: policy.AccessEntitled, Plans: []string{"gold", "metered"}}},
	})
}

// meteredKey is the key of a user who has the plan "metered", and has watched for so long this month.
func meteredKey(w *world, user string, used time.Duration) string {
	w.t.Helper()
	key := w.user(user)
	w.entitle(user, "metered", time.Time{})
	var over []policy.Session // short ones, so that no month turns in one
	for i := range int(used / time.Second) {
		over = append(over, policy.Session{
			Node: "past", ID: fmt.Sprint(user, " ", i), State: policy.SessionEnded, User: user, Plan: "metered", Ended: time.Now(), Duration: time.Second,
		})
	}
	require.NoError(w.t, w.db.WriteSessions(w.t.Context(), over))
	return key
}

// follow has every house follow the change feed.
func (w *world) follow() {
	w.t.Helper()
	f := feed.New(w.db, feed.Latest, feed.Options{Every: 20 * time.Millisecond, Log: logFor(w.t)}, func(_ context.Context, list []store.Change) {
		for _, h := range w.followers() {
			for _, c := range list {
				h.changed(c)
			}
		}
	}, func() {
		for _, h := range w.followers() {
			h.cache.DropAll()
			h.enforcer.ChangedAll()
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { assert.NoError(w.t, f.Run(ctx)) })
	w.t.Cleanup(func() { cancel(); running.Wait() })
	<-f.Started()
}

func (w *world) followers() []*house {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*house(nil), w.houses...)
}

// facts are a user's, as they stand in the store.
func (w *world) facts(user string) *policy.UserFacts {
	w.t.Helper()
	f, err := w.db.FactsByUser(w.t.Context(), user)
	require.NoError(w.t, err)
	return f
}

// cutAfter says that a player was not cut before a moment.
func cutAfter(t testing.TB, p *misttest.Player, at time.Time) {
	t.Helper()
	for _, e := range p.Events() {
		if e.Kind == misttest.EventCut || e.Kind == misttest.EventDenied {
			assert.False(t, e.At.Before(at), "%s at %s, and may watch until %s", e.Kind, e.At, at)
			return
		}
	}
}

// Who has used up the minutes of a month is cut when the last is over, and turned away after that. With more minutes it
// goes on.
func TestAQuotaEndsALiveSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metered(10)
	m := w.mist("edge-1")
	h := w.open(m)
	w.follow()
	key := meteredKey(w, "alice", 10*time.Minute-4*time.Second)
	p := watch(m, "live+fight", key, 1)
	await(t, p, misttest.Watching)
	var s policy.Session
	eventually(t, "it is known until when it may watch", func() bool {
		s = w.stored("edge-1", p.SessionID())
		return s.State == policy.SessionOpen && !s.Until.IsZero()
	})
	assert.Equal(t, s.Opened.Add(4*time.Second), s.Until)
	await(t, p, misttest.Denied)
	cutAfter(t, p, s.Until)
	eventually(t, "the denial is stored", func() bool { return w.stored("edge-1", p.SessionID()).State == policy.SessionDenied })
	assert.Equal(t, policy.QuotaExhausted.String(), w.stored("edge-1", p.SessionID()).Reason.String())
	another := watch(m, "live+news", key, 2)
	await(t, another, misttest.Denied)
	eventually(t, "its denial is stored", func() bool { return w.stored("edge-1", another.SessionID()).State == policy.SessionDenied })
	assert.Equal(t, policy.QuotaExhausted.String(), w.stored("edge-1", another.SessionID()).Reason.String())

	w.metered(1000)
	await(t, p, misttest.Watching)
	await(t, another, misttest.Watching)
	require.NotZero(t, h.commands("stop_sessid"))
}

// All sessions of a user use up the quota together, whichever node they are on and whoever decided about them.
func TestSessionsUseUpAQuotaTogether(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{1, 2} {
		t.Run(fmt.Sprint("nodes: ", nodes), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.metered(1)
			var mists []*misttest.Server
			for i := range nodes {
				m := w.mist(fmt.Sprint("edge-", i))
				w.open(m)
				mists = append(mists, m)
			}
			w.follow()
			key := meteredKey(w, "alice", 44*time.Second)
			bystander := watch(mists[0], "live+fight", goldKey(w, "bob"), 9)
			var players []*misttest.Player
			for i := range 2 {
				p := watch(mists[i%nodes], "live+fight", key, i)
				await(t, p, misttest.Watching)
				players = append(players, p)
			}
			stored := func(i int) policy.Session { return w.stored(fmt.Sprint("edge-", i%nodes), players[i].SessionID()) }
			eventually(t, "both are stored", func() bool { return stored(0).Metered && stored(1).Metered })
			opened := stored(0).Opened
			until := opened.Add(stored(1).Opened.Sub(opened) / 2).Add(8 * time.Second).Truncate(time.Microsecond)
			eventually(t, "both are known to run, twice as fast", func() bool { return stored(0).Until.Equal(until) && stored(1).Until.Equal(until) })
			for _, p := range players {
				await(t, p, misttest.Denied)
				cutAfter(t, p, until)
			}
			await(t, bystander, misttest.Watching)
			undisturbed(t, bystander, "his plan has no quota")
		})
	}
}

// One session ends, and the other has what it left.
func TestWhatOneSessionLeavesIsTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metered(10)
	m := w.mist("edge-1", soonOver)
	w.open(m)
	w.follow()
	key := meteredKey(w, "alice", 0)
	stays, leaves := watch(m, "live+fight", key, 1), watch(m, "live+fight", key, 2)
	await(t, stays, misttest.Watching)
	await(t, leaves, misttest.Watching)
	eventually(t, "both are known to run", func() bool { return w.facts("alice").Running == 2 })
	leaves.Leave()
	eventually(t, "one is over", func() bool { return w.facts("alice").Running == 1 })
	eventually(t, "the other may watch for what is left", func() bool {
		f, s := w.facts("alice"), w.stored("edge-1", stays.SessionID())
		return s.Until.Equal(s.Opened.Add(10*time.Minute - f.Used))
	})
	undisturbed(t, stays, "there are minutes left")
}

// A session that is asked about again, or whose user's facts change, is the same session; and once everything is known,
// nothing is written for its quota any more.
func TestWhoRunsIsCountedOnceAndToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metered(600)
	m := w.mist("edge-1", soonOver)
	h := w.open(m)
	w.follow()
	key := meteredKey(w, "alice", 7*time.Second)
	players := []*misttest.Player{watch(m, "live+fight", key, 1), watch(m, "live+fight", key, 2)}
	for _, p := range players {
		await(t, p, misttest.Watching)
	}
	eventually(t, "both are known to run", func() bool { return w.facts("alice").Running == 2 })
	from := w.facts("alice").RunningFrom
	for _, p := range players {
		askAgain(t, m, p)
	}
	h.swept("edge-1", 2)
	h.written()
	assert.Equal(t, 2, w.facts("alice").Running)
	assert.Equal(t, from, w.facts("alice").RunningFrom)
	before, err := w.db.LastChange(t.Context())
	require.NoError(t, err)
	h.swept("edge-1", 3)
	h.written()
	after, err := w.db.LastChange(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before, after, "the change feed is quiet")

	d, findings, err := h.decider.Explain(t.Context(), &policy.Request{
		Action: policy.Watch, Stream: "live+fight", Presented: policy.Presented{Key: policy.HashKey(key)},
	}, from.Add(time.Minute))
	require.NoError(t, err)
	assert.True(t, d.Allow)
	assert.Contains(t, findings[len(findings)-1].Detail, "; 2m7s of the 600 minutes of plan metered are used this month, 2 running sessions included")

	for _, p := range players {
		p.Leave()
	}
	eventually(t, "both are over", func() bool { return w.facts("alice").Running == 0 })
	h.written()
	watched := 7 * time.Second
	for _, p := range players {
		watched += w.stored("edge-1", p.SessionID()).Duration
	}
	assert.Equal(t, watched, w.facts("alice").Used)
}

// A month turns, and who was turned away may watch.
func TestAQuotaComesBackWithTheMonth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metered(1)
	m := w.mist("edge-1")
	var later atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	h := w.houseOver(m, w.db, policy.Options{Now: now})
	h.run()
	h.guard(m)
	w.follow()
	p := watch(m, "live+fight", meteredKey(w, "alice", time.Minute), 1)
	await(t, p, misttest.Denied)
	later.Store(int64(31 * 24 * time.Hour))
	await(t, p, misttest.Watching)
}

// What a session has watched is known to whoever begins anew, and so is that it runs.
func TestAQuotaOutlastsARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metered(1)
	m := w.mist("edge-1")
	first := w.open(m)
	w.follow()
	p := watch(m, "live+fight", meteredKey(w, "alice", 50*time.Second), 1)
	await(t, p, misttest.Watching)
	eventually(t, "it is known to run", func() bool { return w.facts("alice").Running == 1 })
	opened := w.facts("alice").RunningFrom
	first.stop()
	w.mu.Lock()
	w.houses = nil
	w.mu.Unlock()
	w.open(m)
	assert.Equal(t, opened, w.facts("alice").RunningFrom)
	await(t, p, misttest.Denied)
	cutAfter(t, p, opened.Add(10*time.Second))
}

// While facts cannot be read nobody is cut, whatever was counted; when they can be, what is due is done.
func TestAQuotaInAnOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metered(1)
	m := w.mist("edge-1")
	h := w.open(m, func(o *enforce.Options) { o.SweepEvery = paced(2 * time.Second) })
	w.follow()
	p := watch(m, "live+fight", meteredKey(w, "alice", 56*time.Second), 1)
	await(t, p, misttest.Watching)
	eventually(t, "it is known until when it may watch", func() bool { return !w.stored("edge-1", p.SessionID()).Until.IsZero() })
	until := w.stored("edge-1", p.SessionID()).Until
	w.away.Store(true)
	h.cache.DropAll()
	past(t, until.Add(500*time.Millisecond))
	undisturbed(t, p, "nobody can know")
	w.away.Store(false)
	await(t, p, misttest.Denied)
}

// What is watched under a plan without a quota uses up the quota of another, also where that was bought later. It ends only
// what is watched under the one.
func TestAQuotaThatIsBoughtLaterCountsWhatRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(&policy.Catalog{
		Plans: []policy.Plan{{Key: "gold", Rank: 10}, {Key: "metered", Rank: 20, QuotaMinutes: 1}},
		Streams: []policy.StreamPolicy{
			{Match: "live+*", Access: policy.AccessEntitled, Plans: []string{"gold"}},
			{Match: "*", Access: policy.AccessEntitled, Plans: []string{"metered"}},
		},
	})
	m := w.mist("edge-1")
	w.open(m)
	w.follow()
	key := goldKey(w, "alice")
	past := []policy.Session{}
	for i := range 54 {
		past = append(past, policy.Session{
			Node: "past", ID: fmt.Sprint(i), State: policy.SessionEnded, User: "alice", Plan: "gold", Ended: time.Now(), Duration: time.Second,
		})
	}
	require.NoError(t, w.db.WriteSessions(t.Context(), past))
	gold := watch(m, "live+fight", key, 1)
	await(t, gold, misttest.Watching)
	eventually(t, "it is stored", func() bool { return w.stored("edge-1", gold.SessionID()).State == policy.SessionOpen })
	require.Zero(t, w.facts("alice").Running, "nobody asks")
	w.entitle("alice", "metered", time.Time{})
	eventually(t, "it is known to run", func() bool { return w.facts("alice").Running == 1 })
	assert.Equal(t, w.stored("edge-1", gold.SessionID()).Opened, w.facts("alice").RunningFrom)
	p := watch(m, "news", key, 1)
	await(t, p, misttest.Denied)
	eventually(t, "the denial is stored", func() bool { return w.stored("edge-1", p.SessionID()).State == policy.SessionDenied })
	assert.Equal(t, policy.QuotaExhausted.String(), w.stored("edge-1", p.SessionID()).Reason.String())
	undisturbed(t, gold, "its plan has no quota")
}

package enforce_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/enforce"
	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
)

// soonOver has a MistServer tell of an end a tenth of a second after the last byte.
func soonOver(t *misttest.Timing) {
	t.UserEnd = misttest.Range{Min: 100 * time.Millisecond, Max: 100 * time.Millisecond}
}

// alone leaves all to what triggers tell: lists would find sessions again that were given up.
func alone(o *enforce.Options) {
	o.SweepEvery, o.LookEvery, o.VanishedAfter = time.Hour, time.Hour, time.Hour
}

// The end of a denial that was lifted comes after the beginning of the life that follows, which goes on.
func TestTheEndOfADenialDoesNotEndTheLifeThatFollows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, alone)
	arrived := h.late(m, time.Second)
	p := watch(m, "live+fight", w.user("alice"), 1)
	await(t, p, misttest.Denied)
	w.entitle("alice", "gold", time.Time{})
	await(t, p, misttest.Watching)
	eventually(t, "the end is told", func() bool { return arrived.Load() == 1 })
	assert.Equal(t, 1, h.status("edge-1").Open)
	h.written()
	assert.Equal(t, policy.SessionOpen, w.stored("edge-1", p.SessionID()).State)
}

// The end of a denial that was lifted does not have the denial forgotten that follows it.
func TestTheEndOfADenialDoesNotForgetTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, alone)
	arrived := h.late(m, time.Second)
	p := watch(m, "live+fight", w.user("alice"), 1)
	await(t, p, misttest.Denied)
	command(t, m, map[string]any{"stop_sessid": p.SessionID()})
	eventually(t, "the end is told", func() bool { return arrived.Load() == 1 })
	assert.Equal(t, 1, h.status("edge-1").Denied, "it was asked about again, and denied")
	w.entitle("alice", "gold", time.Time{})
	await(t, p, misttest.Watching)
}

// A session that ran before it was known is over when MistServer says so, and counts once.
func TestTheEndOfWhoBecameKnownLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1", soonOver)
	key := goldKey(w, "alice")
	p := m.Connect(misttest.Viewer{Stream: "live+fight", Token: key, Address: host(1), Connector: "WebRTC"})
	await(t, p, misttest.Watching)
	began := time.Now()
	past(t, began.Add(3*time.Second))
	h := w.open(m, func(o *enforce.Options) { o.VanishedAfter = 2 * time.Second })
	eventually(t, "it is known", func() bool { return h.status("edge-1").Open == 1 })
	past(t, time.Now().Add(3*time.Second))
	p.Leave()
	watched := time.Since(began)
	left := time.Now()
	eventually(t, "it is over", func() bool { return h.status("edge-1").Open == 0 })
	assert.Less(t, time.Since(left), 1500*time.Millisecond, "as its end was told")
	h.written()
	past(t, left.Add(3*time.Second)) // when it would be over for want of any word
	h.written()
	facts, err := w.db.FactsByUser(t.Context(), "alice")
	require.NoError(t, err)
	assert.InDelta(t, watched.Seconds(), facts.Used.Seconds(), 2)
}

// What was watched until an asking again was answered with no counts, although its end may not be told for ten minutes.
func TestWhatWasWatchedBeforeADenialCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, func(o *enforce.Options) { o.SweepEvery, o.ByIDAtMost = time.Hour, 1 })
	silent(m, "USER_END")
	key := w.user("alice")
	bought := w.entitle("alice", "gold", time.Time{})
	players := []*misttest.Player{watch(m, "live+fight", key, 1), watch(m, "live+fight", key, 2), watch(m, "live+fight", key, 3)}
	for _, p := range players {
		await(t, p, misttest.Watching)
	}
	past(t, time.Now().Add(2500*time.Millisecond))
	w.withdraw("alice", bought)
	for _, p := range players {
		await(t, p, misttest.Denied)
	}
	h.written()
	facts, err := w.db.FactsByUser(t.Context(), "alice")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, facts.Used, 3*2*time.Second)
}

// The tags that MistServer tells at a session's end are kept with it, the user agent's among them.
func TestTheTagsOfAnEndAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1", soonOver)
	w.open(m, unswept)
	p := m.Connect(misttest.Viewer{
		Stream: "live+fight", Token: goldKey(w, "alice"), Address: host(1), Connector: "WebRTC", UserAgent: "VLC",
	})
	await(t, p, misttest.Watching)
	past(t, time.Now().Add(1500*time.Millisecond))
	p.Leave()
	eventually(t, "it is over", func() bool { return w.stored("edge-1", p.SessionID()).State == policy.SessionEnded })
	assert.Contains(t, strings.Join(w.stored("edge-1", p.SessionID()).Tags, " "), "UA:VLC")
}

// A session is ended, and its player is back before its end is told: the life that runs goes on, and both count.
func TestTheEndOfAnEarlierLifeDoesNotEndTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, alone)
	arrived := h.late(m, 400*time.Millisecond)
	p := watch(m, "live+fight", goldKey(w, "alice"), 1)
	await(t, p, misttest.Watching)
	past(t, time.Now().Add(3500*time.Millisecond))
	require.NoError(t, h.enforcer.End("edge-1", p.SessionID()))
	eventually(t, "the end is told", func() bool { return arrived.Load() == 1 })
	await(t, p, misttest.Watching)
	assert.Equal(t, 1, h.status("edge-1").Open)
	h.written()
	assert.Equal(t, policy.SessionOpen, w.stored("edge-1", p.SessionID()).State)
}

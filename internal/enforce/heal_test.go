package enforce_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/enforce"
	"authhook/internal/mist/api"
	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
)

// Half of all datagrams are lost, each way, and still every revocation is confirmed, and every viewer who pays is let in.
func TestLostDatagramsHeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, datagramsOnly(t, m))
	const viewers = 40
	players, bought := make([]*misttest.Player, viewers), make([]string, viewers)
	for i := range players {
		user := "user-" + strconv.Itoa(i)
		key := w.user(user)
		bought[i] = w.entitle(user, "gold", time.Time{})
		players[i] = watch(m, "live+fight", key, i+1)
	}
	for _, p := range players {
		await(t, p, misttest.Watching)
	}
	m.SetLoss(.5, .5)
	for i := range players {
		w.withdraw("user-"+strconv.Itoa(i), bought[i])
	}
	for _, p := range players {
		await(t, p, misttest.Denied)
	}
	eventually(t, "all are confirmed", func() bool { return h.confirmed("revoke") == viewers })
	for i := range players {
		w.entitle("user-"+strconv.Itoa(i), "gold", time.Time{})
	}
	for _, p := range players {
		await(t, p, misttest.Watching)
	}
}

// A live session that nobody decided about is asked about again, and then known.
func TestALiveSessionThatNobodyKnowsIsAskedAboutAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	key := w.user("alice")
	bought := w.entitle("alice", "gold", time.Time{})
	p := watch(m, "live+fight", key, 1) // no trigger is there yet
	await(t, p, misttest.Watching)
	h := w.open(m)
	eventually(t, "it is known", func() bool { return h.status("edge-1").Open == 1 })
	w.withdraw("alice", bought)
	await(t, p, misttest.Denied)
}

// A stream without our trigger is asked about in vain: its viewers are counted, and not chased.
func TestWhoStaysUnknownIsCountedAndNotChased(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.house(m)
	h.run()
	p := watch(m, "movie", "", 1)
	await(t, p, misttest.Watching)
	eventually(t, "it is counted", func() bool { return h.status("edge-1").Unguarded == 1 })
	asked := told(m, "invalidate_sessions")["movie"]
	h.swept("edge-1", 4)
	assert.Equal(t, asked, told(m, "invalidate_sessions")["movie"], "it is not asked about again")
	assert.LessOrEqual(t, h.commands("invalidate_sessions"), 2, "once at the start, once because it was seen")
	assert.Equal(t, misttest.Watching, p.State(), "and it is not ended")
}

// A node that restarts has lost its sessions: they are over here as well, and their places are free.
func TestARestartedNodeIsNoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, func(o *enforce.Options) { o.VanishedAfter = time.Hour }) // what its triggers say must do
	limit(w, "gold", 1, policy.OnLimitReject)
	key := goldKey(w, "alice")
	first := m.Connect(misttest.Viewer{Stream: "live+fight", Token: key})
	await(t, first, misttest.Watching)
	id := first.SessionID()
	require.NoError(t, m.Restart())
	await(t, first, misttest.Ended)
	second := watch(m, "live+other", key, 9)
	await(t, second, misttest.Watching)
	eventually(t, "the old session is over", func() bool { return w.stored("edge-1", id).State == policy.SessionEnded })
	assert.Equal(t, 1, h.status("edge-1").Open)
}

// A session that vanishes without a USER_END is over after a while, and its place is free.
func TestAVanishedSessionGivesUpItsPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m)
	limit(w, "gold", 1, policy.OnLimitReject)
	triggers := m.Triggers()
	delete(triggers, "USER_END")
	m.SetTriggers(triggers)
	key := goldKey(w, "alice")
	first := m.Connect(misttest.Viewer{Stream: "live+fight", Token: key})
	await(t, first, misttest.Watching)
	eventually(t, "it is known", func() bool { return h.status("edge-1").Open == 1 })
	second := watch(m, "live+fight", key, 9)
	await(t, second, misttest.Denied)
	first.Leave()
	await(t, second, misttest.Watching)
	ended := w.stored("edge-1", first.SessionID())
	assert.Equal(t, policy.SessionEnded, ended.State)
	assert.Positive(t, ended.Duration, "what was watched is known from the list")
}

// An outage of the store ends nobody. Who came meanwhile was denied, and is let in when facts return.
func TestAnOutageEndsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m)
	alice, bob, carol := w.user("alice"), w.user("bob"), w.user("carol")
	bought := w.entitle("alice", "gold", time.Time{})
	w.entitle("bob", "gold", time.Time{})
	hers := watch(m, "live+fight", alice, 1)
	await(t, hers, misttest.Watching)
	w.away.Store(true)
	w.withdraw("alice", bought)
	his := watch(m, "live+fight", bob, 2)
	await(t, his, misttest.Denied)
	another := watch(m, "live+fight", carol, 3)
	await(t, another, misttest.Denied)
	h.swept("edge-1", 3)
	assert.Equal(t, misttest.Watching, hers.State(), "an outage is no verdict")
	assert.Empty(t, told(m, "stop_sessid"), "nobody is ended")
	w.away.Store(false)
	await(t, his, misttest.Watching)
	await(t, hers, misttest.Denied)
	eventually(t, "the denial is confirmed", func() bool {
		return w.stored("edge-1", another.SessionID()).Reason == policy.PaymentRequired
	})
	assert.NotEqual(t, misttest.Watching, another.State())
}

// Everybody on a stream whose policy changed is decided about again at once: a few by their ids, many by one word.
func TestAChangedPolicyHolds(t *testing.T) {
	t.Parallel()
	for _, by := range []struct {
		name    string
		viewers int
	}{{"by id", 20}, {"by stream", 60}} {
		t.Run(by.name, func(t *testing.T) {
			w := newWorld(t)
			m := w.mist("edge-1")
			h := w.open(m, func(o *enforce.Options) { o.ByIDAtMost, o.SweepEvery = 40, time.Hour })
			var players []*misttest.Player
			for i := range by.viewers {
				p := watch(m, "free", "", i+1)
				players = append(players, p)
			}
			for _, p := range players {
				await(t, p, misttest.Watching)
			}
			other := watch(m, "live+fight", goldKey(w, "zoe"), 999)
			await(t, other, misttest.Watching)
			eventually(t, "the start is over", func() bool { return len(told(m, "clients")) > 0 && h.status("edge-1").Open == by.viewers+1 })
			asked := h.commands("invalidate_sessions")
			c, err := w.db.Catalog(t.Context())
			require.NoError(t, err)
			c.Streams[0].Access = policy.AccessClosed
			w.apply(c)
			for _, p := range players {
				await(t, p, misttest.Denied)
			}
			eventually(t, "all are confirmed", func() bool { return h.confirmed("revoke") == by.viewers })
			if asked = h.commands("invalidate_sessions") - asked; by.viewers > 40 {
				assert.Equal(t, 1, asked, "one word for all of them")
			} else {
				assert.Zero(t, asked)
				assert.Len(t, told(m, "stop_sessid"), by.viewers)
			}
			assert.Equal(t, misttest.Watching, other.State())

			c.Streams[0].Access = policy.AccessPublic
			w.apply(c)
			for _, p := range players {
				await(t, p, misttest.Watching)
			}
		})
	}
}

// After a start, denials that nobody here knows are lifted: who may watch by now is let in.
func TestDenialsFromBeforeTheStartAreLifted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	m.SetTriggers(map[string][]misttest.Trigger{"USER_NEW": {{Handler: "http://127.0.0.1:1/trigger", Sync: true, Default: "false"}}})
	p := watch(m, "live+fight", goldKey(w, "alice"), 1)
	await(t, p, misttest.Denied) // nobody answered
	m.AddStream("live+fight")
	w.open(m)
	await(t, p, misttest.Watching)
}

// What was known before a restart of authhook is known again, and what changed meanwhile is acted on.
func TestARestartOfAuthhookGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m)
	alice := w.user("alice")
	bought := w.entitle("alice", "gold", time.Time{})
	bob := w.user("bob")
	hers, his := watch(m, "live+fight", alice, 1), watch(m, "live+fight", bob, 2)
	await(t, hers, misttest.Watching)
	await(t, his, misttest.Denied)
	eventually(t, "both are stored", func() bool {
		return w.stored("edge-1", hers.SessionID()).State == policy.SessionOpen && w.stored("edge-1", his.SessionID()).State == policy.SessionDenied
	})
	h.stop()
	w.houses = nil
	w.withdraw("alice", bought)
	w.entitle("bob", "gold", time.Time{})
	w.open(m)
	await(t, hers, misttest.Denied)
	await(t, his, misttest.Watching)
}

// Of two devices under a limit of one, the newer keeps its place, and the older one's player does not take it back.
func TestAKickedSessionIsEndedOnItsOwnNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.mist("edge-1"), w.mist("edge-2")
	w.open(one)
	w.open(two)
	older, key := w.onlyPlace(one, policy.OnLimitKickOldest)
	newer := watch(two, "live+fight", key, 2)
	await(t, newer, misttest.Watching)
	w.tell()
	await(t, older, misttest.Denied)
	assert.Equal(t, misttest.Watching, newer.State())
	newer.Leave()
	await(t, older, misttest.Watching)
}

// A viewer whose plan gives another rendition is brought there, once, where the plan says so.
func TestAPlanChangeBouncesToItsRendition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept)
	w.apply(&policy.Catalog{
		Plans: []policy.Plan{{Key: "basic", Rank: 1}, {Key: "gold", Rank: 20, Bounce: true}},
		Streams: []policy.StreamPolicy{{
			Match: "*", Access: policy.AccessEntitled, Plans: []string{"basic", "gold"},
			Renditions: map[string]string{"basic": "movie_sd", "gold": "movie"},
		}},
	})
	key := w.user("alice")
	w.entitle("alice", "basic", time.Time{})
	p := watch(m, "movie", key, 1)
	await(t, p, misttest.Watching)
	require.Equal(t, "movie_sd", p.Stream())
	w.entitle("alice", "gold", time.Time{})
	eventually(t, "it is brought to its rendition", func() bool { return p.Stream() == "movie" && p.State() == misttest.Watching })
	eventually(t, "it is confirmed", func() bool { return h.confirmed("bounce") == 1 })
	assert.Len(t, told(m, "stop_sessid"), 1)
}

// A stream's tags are the catalog's while it is active. Others' tags are left alone.
func TestActiveStreamsAreTagged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	m.AddStream("movie", "theirs")
	w.open(m)
	client, err := api.New(m.UDPURL(), api.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	tags := func() []string {
		all, err := client.StreamTags(t.Context(), "movie")
		require.NoError(t, err)
		return all["movie"]
	}
	c, err := w.db.Catalog(t.Context())
	require.NoError(t, err)
	c.Streams = append(c.Streams, policy.StreamPolicy{Match: "movie", Access: policy.AccessPublic, Tags: []string{"premium", "drama"}})
	w.apply(c)
	eventually(t, "it is tagged", func() bool { return len(tags()) == 3 })
	c.Streams[2].Tags = []string{"premium"}
	w.apply(c)
	eventually(t, "what is no longer due is taken away", func() bool { return assert.ObjectsAreEqual([]string{"premium", "theirs"}, sorted(tags())) })
}

// A session ended by hand is ended, and its player may come back.
func TestASessionIsEndedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept)
	p := watch(m, "live+fight", goldKey(w, "alice"), 1)
	await(t, p, misttest.Watching)
	eventually(t, "it is stored", func() bool { return w.stored("edge-1", p.SessionID()).State == policy.SessionOpen })
	require.NoError(t, w.db.EndSession(t.Context(), "edge-1", p.SessionID()))
	w.tell()
	eventually(t, "it is confirmed", func() bool { return h.confirmed("end") == 1 })
	await(t, p, misttest.Watching)
	require.ErrorIs(t, h.enforcer.End("edge-9", p.SessionID()), enforce.ErrNotHeld)
}

// limit sets a plan's limit.
func limit(w *world, plan string, most int, on policy.OnLimit) {
	w.t.Helper()
	c, err := w.db.Catalog(context.Background())
	require.NoError(w.t, err)
	for i := range c.Plans {
		if c.Plans[i].Key == plan {
			c.Plans[i].MaxConcurrent, c.Plans[i].OnLimit = most, on
		}
	}
	w.apply(c)
}

// goldKey is the key of a user who has the plan gold.
func goldKey(w *world, user string) string {
	w.t.Helper()
	key := w.user(user)
	w.entitle(user, "gold", time.Time{})
	return key
}

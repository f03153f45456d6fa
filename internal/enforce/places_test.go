package enforce_test

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/enforce"
	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
)

// outages is a store that can be away, for whoever writes sessions and takes places.
type outages struct {
	enforce.Store
	away *atomic.Bool
}

func (s outages) WriteSessions(ctx context.Context, list []policy.Session) error {
	if s.away.Load() {
		return errAway
	}
	return s.Store.WriteSessions(ctx, list)
}

func (s outages) AcquireLease(ctx context.Context, l policy.Lease, most int, on policy.OnLimit) (bool, []policy.KickedSession, error) {
	if s.away.Load() {
		return false, nil, errAway
	}
	return s.Store.AcquireLease(ctx, l, most, on)
}

func (s outages) CountLeases(ctx context.Context, user, plan, node, session string, at time.Time) (int, error) {
	if s.away.Load() {
		return 0, errAway
	}
	return s.Store.CountLeases(ctx, user, plan, node, session, at)
}

func (s outages) RenewLeases(ctx context.Context, node string, list []policy.Place, until time.Time) ([]string, error) {
	if s.away.Load() {
		return nil, errAway
	}
	return s.Store.RenewLeases(ctx, node, list, until)
}

// onlyPlace has alice watch on a MistServer, with a key whose plan permits one session at a time.
func (w *world) onlyPlace(m *misttest.Server, on policy.OnLimit) (p *misttest.Player, key string) {
	w.t.Helper()
	limit(w, "gold", 1, on)
	key = goldKey(w, "alice")
	p = watch(m, "live+fight", key, 1)
	await(w.t, p, misttest.Watching)
	return p, key
}

// twoDevices has alice watch on one device, and then on a second one, which takes the place of the first.
func (w *world) twoDevices(m *misttest.Server) (older, newer *misttest.Player) {
	w.t.Helper()
	older, key := w.onlyPlace(m, policy.OnLimitKickOldest)
	newer = watch(m, "live+fight", key, 2)
	await(w.t, newer, misttest.Watching)
	await(w.t, older, misttest.Denied)
	return older, newer
}

// A place is kept for as long as its session runs, and not for as long as it was taken for.
func TestAPlaceIsKeptWhileItsSessionRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	w.open(m, func(o *enforce.Options) { o.LeaseFor, o.RenewEvery = time.Second, 200*time.Millisecond })
	first, key := w.onlyPlace(m, policy.OnLimitReject)
	past(t, time.Now().Add(2500*time.Millisecond))
	second := watch(m, "live+fight", key, 2)
	await(t, second, misttest.Denied)
	undisturbed(t, first, "it has its place")
}

// A place that is free is had by who was refused for want of one, and asks no more.
func TestAFreePlaceWakesWhoWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept)
	first, key := w.onlyPlace(m, policy.OnLimitReject)
	second := watch(m, "live+fight", key, 2)
	await(t, second, misttest.Denied)
	first.Leave()
	await(t, second, misttest.Watching)
	assert.Equal(t, 1, h.confirmed("unlock"))
}

// For one free place not everybody who waits is unlocked.
func TestAFreePlaceWakesNotEverybody(t *testing.T) {
	t.Parallel()
	const waiting = 40
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m)
	first, key := w.onlyPlace(m, policy.OnLimitReject)
	others := make([]*misttest.Player, waiting)
	for i := range others {
		others[i] = watch(m, "live+fight", key, i+2)
	}
	for _, p := range others {
		await(t, p, misttest.Denied)
	}
	h.swept("edge-1", 2)
	eventually(t, "the start is over", func() bool { return h.status("edge-1").Pending == 0 && h.status("edge-1").Open == 1 })
	before := len(m.Commands())
	first.Leave()
	eventually(t, "one of them has the place", func() bool { return h.status("edge-1").Open == 1 && watching(others) == 1 })
	h.swept("edge-1", 3)
	assert.Equal(t, 1, watching(others))
	stops := 0
	for _, c := range m.Commands()[before:] {
		if c.Kind == "stop_sessid" {
			stops++
		}
	}
	assert.Less(t, stops, waiting/2)
}

func watching(players []*misttest.Player) (n int) {
	for _, p := range players {
		if p.State() == misttest.Watching {
			n++
		}
	}
	return n
}

// The store is away for longer than a place is kept. Who has watched all the while goes on, and nobody takes the place.
func TestAnOutageCostsNobodyThePlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.houseOver(m, outages{w.db, &w.away}, policy.Options{}, func(o *enforce.Options) {
		o.LeaseFor, o.RenewEvery = 2*time.Second, 1500*time.Millisecond
	})
	h.run()
	h.guard(m)
	first, key := w.onlyPlace(m, policy.OnLimitReject)
	second := watch(m, "live+fight", key, 2)
	await(t, second, misttest.Denied)
	w.away.Store(true)
	began := time.Now()
	eventually(t, "the place is renewed in vain", func() bool {
		return h.counted("authhook_places_not_renewed_total", "") >= 2 && time.Since(began) > 2500*time.Millisecond
	})
	w.away.Store(false)
	h.swept("edge-1", 6) // over three seconds
	undisturbed(t, first, "an outage is nobody's fault")
	assert.NotEqual(t, misttest.Watching, second.State())
}

// A renewal that failed is tried again soon, and not only when it is time for the next.
func TestARenewalThatFailedIsTriedAgainSoon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	before := w.open(m)
	w.onlyPlace(m, policy.OnLimitReject)
	before.written()
	before.stop()
	w.away.Store(true)
	h := w.houseOver(m, outages{w.db, &w.away}, policy.Options{}, func(o *enforce.Options) { o.LeaseFor, o.RenewEvery = 3*time.Hour, time.Hour })
	h.run()
	eventually(t, "it is tried again", func() bool { return h.counted("authhook_places_not_renewed_total", "") >= 2 })
}

// A place that has expired, and that another has by now, is not believed to be held.
func TestAPlaceThatAnotherHasIsNotHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, func(o *enforce.Options) { o.SweepEvery, o.RenewEvery = time.Hour, time.Hour })
	p, _ := w.onlyPlace(m, policy.OnLimitReject)
	h.written()
	now := time.Now() // another's, far away, and later than any time at which this place was to end
	granted, _, err := w.db.AcquireLease(t.Context(), policy.Lease{
		User: "alice", Plan: "gold", Node: "edge-7", Session: "elsewhere", At: now.Add(24 * time.Hour), Until: now.Add(48 * time.Hour),
	}, 1, policy.OnLimitReject)
	require.NoError(t, err)
	require.True(t, granted)
	askAgain(t, m, p)
	await(t, p, misttest.Denied)
}

// Two sessions come under another plan, whose limit is one: one of them has a place there.
func TestAPlanChangeTakesAPlaceUnderTheNewLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, func(o *enforce.Options) { o.SweepEvery, o.RenewEvery = time.Hour, time.Hour })
	w.apply(&policy.Catalog{
		Plans: []policy.Plan{{Key: "basic", Rank: 1}, {Key: "gold", Rank: 20, MaxConcurrent: 1}},
		Streams: []policy.StreamPolicy{
			{Match: "*", Access: policy.AccessEntitled, Plans: []string{"basic", "gold"}},
		},
	})
	key := w.user("alice")
	bought := w.entitle("alice", "basic", time.Time{})
	both := []*misttest.Player{watch(m, "live+fight", key, 1), watch(m, "live+fight", key, 2)}
	for _, p := range both {
		await(t, p, misttest.Watching)
	}
	_, err := w.db.AddEntitlement(t.Context(), "alice", policy.Entitlement{Plan: "gold", Source: "test"})
	require.NoError(t, err)
	w.withdraw("alice", bought)
	eventually(t, "one of them is ended", func() bool { return h.confirmed("revoke") == 1 && watching(both) == 1 })
	eventually(t, "for want of a place", func() bool {
		a, b := w.stored("edge-1", both[0].SessionID()), w.stored("edge-1", both[1].SessionID())
		return (a.Reason == policy.ConcurrencyLimit) != (b.Reason == policy.ConcurrencyLimit)
	})
}

// Of two devices under a limit of one the newer has the place, also once authhook was restarted.
func TestARestartOfAuthhookDoesNotGiveAPlaceBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m)
	// A rewriting that meets a house which closes fails open: it plays a stream called "true", a third session of hers.
	silent(m, "PLAY_REWRITE")
	older, newer := w.twoDevices(m)
	eventually(t, "it is stored", func() bool { return w.stored("edge-1", older.SessionID()).State == policy.SessionDenied })
	h.written()
	require.Equal(t, misttest.Watching, newer.State())
	next := w.house(m)
	triggers := m.Triggers()
	for _, all := range triggers {
		all[0].Handler = next.server.URL + "/trigger"
	}
	m.SetTriggers(triggers) // at once, so that nobody stands before a closed door
	h.stop()
	w.houses = nil
	restarted := time.Now()
	next.run()
	eventually(t, "the older one is asked about again", func() bool {
		for _, e := range older.Events() {
			if e.Kind == misttest.EventAsked && e.At.After(restarted) {
				return true
			}
		}
		return false
	})
	next.swept("edge-1", 4)
	undisturbed(t, newer, "it has the place")
}

// A session lost its place to a newer one elsewhere while authhook was away. It does not take it back, neither when it is asked
// about again nor when its player comes back.
func TestAPlaceThatWasLostUnheardIsNotTakenBack(t *testing.T) {
	t.Parallel()
	for name, unasked := range map[string]bool{"it is asked about": false, "its place is looked for": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.mist("edge-1")
			h := w.open(m)
			silent(m, "PLAY_REWRITE")
			p, _ := w.onlyPlace(m, policy.OnLimitKickOldest)
			h.written()
			h.stop()
			w.houses = nil
			now := time.Now()
			granted, kicked, err := w.db.AcquireLease(t.Context(), policy.Lease{
				User: "alice", Plan: "gold", Node: "edge-7", Session: "elsewhere", At: now, Until: now.Add(time.Hour),
			}, 1, policy.OnLimitKickOldest)
			require.NoError(t, err)
			require.True(t, granted)
			require.Len(t, kicked, 1)
			next := w.house(m)
			var reruns atomic.Bool
			reruns.Store(true)
			next.through(m, func(w http.ResponseWriter, r *http.Request, on http.Handler) {
				if unasked && r.Header.Get("X-Trigger") == "USER_NEW" && reruns.Load() {
					_, _ = w.Write([]byte("true")) // nobody hears of it
					return
				}
				on.ServeHTTP(w, r)
			})
			silent(m, "PLAY_REWRITE")
			next.run()
			eventually(t, "it is ended", func() bool {
				return slices.ContainsFunc(p.Events(), func(e misttest.Event) bool {
					return e.Kind == misttest.EventCut || e.Kind == misttest.EventDenied
				})
			})
			reruns.Store(false)
			await(t, p, misttest.Denied)
			next.swept("edge-1", 2)
			others, err := w.db.CountLeases(t.Context(), "alice", "gold", "edge-1", p.SessionID(), time.Now())
			require.NoError(t, err)
			assert.Equal(t, 1, others, "the newer one has its place")
			assert.NotEqual(t, misttest.Watching, p.State())
		})
	}
}

// Two devices are on at once, for long. The older one does not take the place back, again and again by turns.
func TestTwoDevicesDoNotTakeEachOthersPlaceByTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, func(o *enforce.Options) { o.KickedFor = 3 * time.Second })
	older, newer := w.twoDevices(m)
	h.swept("edge-1", 8) // of half a second: for longer than it was kept out
	undisturbed(t, newer, "it has the place")
	newer.Leave()
	await(t, older, misttest.Watching)
}

// A session on a node that is only heard of, whose end was lost, does not keep its place for good.
func TestAPlaceOnANodeThatIsOnlyHeardOfIsFreeInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m, other := w.mist("edge-1"), w.mist("edge-2")
	h := w.houseOver(m, w.db, policy.Options{LeaseFor: 2 * time.Second}, func(o *enforce.Options) { o.LeaseFor, o.RenewEvery = time.Second, 300*time.Millisecond })
	h.run()
	h.guard(m)
	h.guard(other) // its triggers come here, and nothing can be told to it
	silent(other, "USER_END")
	p, key := w.onlyPlace(other, policy.OnLimitReject)
	p.Leave()
	second := watch(m, "live+fight", key, 2)
	await(t, second, misttest.Watching)
}

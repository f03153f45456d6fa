package enforce_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
	"authhook/internal/store"
)

// A change that nobody told of is found by the sweep, and by nothing else.
func TestAChangeThatNobodyToldIsFoundByTheSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m)
	alice, bob := w.user("alice"), w.user("bob")
	bought := w.entitle("alice", "gold", time.Time{})
	hers, his := watch(m, "live+fight", alice, 1), watch(m, "live+fight", bob, 2)
	await(t, hers, misttest.Watching)
	await(t, his, misttest.Denied)
	require.NoError(t, w.db.RemoveEntitlement(t.Context(), "alice", bought))
	_, err := w.db.AddEntitlement(t.Context(), "bob", policy.Entitlement{Plan: "gold", Source: "test"})
	require.NoError(t, err)
	h.cache.DropAll() // as old facts are in time
	await(t, hers, misttest.Denied)
	await(t, his, misttest.Watching)
}

// Who comes from an address that is bound to a user later is let in. A key that is withdrawn ends whom it let in.
func TestACredentialsChangeConcernsWhoPresentedIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	w.open(m, unswept)
	hers := watch(m, "live+fight", goldKey(w, "alice"), 1)
	await(t, hers, misttest.Watching)
	at := host(2)
	his := m.Connect(misttest.Viewer{Stream: "live+fight", Address: at, Reconnect: paced(time.Second)})
	await(t, his, misttest.Denied)
	goldKey(w, "bob")
	id, err := w.db.AddCredential(t.Context(), policy.HashAddress(at), policy.Credential{
		Kind: policy.CredentialAddress, User: "bob", Addresses: []netip.Prefix{netip.PrefixFrom(at, 32)},
	}, time.Now())
	require.NoError(t, err)
	w.tell()
	await(t, his, misttest.Watching)

	require.NoError(t, w.db.RevokeCredential(t.Context(), "bob", id))
	w.tell()
	await(t, his, misttest.Denied)
	keys, err := w.db.Credentials(t.Context(), "alice", store.Page{Limit: 10})
	require.NoError(t, err)
	require.Len(t, keys, 1)
	undisturbed(t, hers, "another credential is none of hers")
	require.NoError(t, w.db.RevokeCredential(t.Context(), "alice", keys[0].Credential.ID))
	w.tell()
	await(t, hers, misttest.Denied)
}

// A change that comes while an answer rests on the facts from before it is not missed.
func TestAChangeDuringADecisionIsNotMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	w.open(m, unswept)
	silent(m, "PLAY_REWRITE") // which reads facts as well
	key := w.user("alice")
	bought := w.entitle("alice", "gold", time.Time{})
	g := w.closeGate()
	p := watch(m, "live+fight", key, 1)
	g.held(t)
	w.withdraw("alice", bought)
	close(g.open)
	await(t, p, misttest.Watching) // the answer was given before anybody could know
	await(t, p, misttest.Denied)
}

// What was found out from older facts, and later, changes nothing.
func TestAnOlderFindingCountsForNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept)
	w.apply(&policy.Catalog{
		Plans:   []policy.Plan{{Key: "gold", Rank: 20}, {Key: "silver", Rank: 10}},
		Streams: []policy.StreamPolicy{{Match: "*", Access: policy.AccessEntitled, Plans: []string{"gold", "silver"}}},
	})
	key, other := w.user("alice"), w.user("bob")
	bought, others := w.entitle("alice", "gold", time.Time{}), w.entitle("bob", "gold", time.Time{})
	p, bobs := watch(m, "live+fight", key, 1), watch(m, "live+fight", other, 2)
	await(t, p, misttest.Watching)
	await(t, bobs, misttest.Watching)
	g := w.closeGate()
	w.withdraw("alice", bought)
	g.held(t) // it was read that she has nothing
	w.entitle("alice", "silver", time.Time{})
	eventually(t, "what is newer holds", func() bool { return w.stored("edge-1", p.SessionID()).Plan == "silver" })
	close(g.open)
	w.withdraw("bob", others)
	await(t, bobs, misttest.Denied)
	eventually(t, "nothing is left to do", func() bool { return h.status("edge-1").Pending == 0 })
	undisturbed(t, p, "she may watch, and was only found not to before that")
	assert.NotContains(t, told(m, "stop_sessid"), p.SessionID())
}

// A session that is asked about again while nothing can be found out stays known for what it was.
func TestWhatIsKnownOutlastsAnAskDuringAnOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept)
	key := w.user("alice")
	bought := w.entitle("alice", "gold", time.Time{})
	p := watch(m, "live+fight", key, 1)
	await(t, p, misttest.Watching)
	w.away.Store(true)
	h.cache.DropAll()
	askAgain(t, m, p)
	eventually(t, "it goes on", func() bool { return h.status("edge-1").Open == 1 && p.State() == misttest.Watching })
	w.away.Store(false)
	w.withdraw("alice", bought)
	await(t, p, misttest.Denied)
}

// askAgain has MistServer ask about a player's stream again, as an operator may, and waits until it went on by that.
func askAgain(t testing.TB, m *misttest.Server, p *misttest.Player) {
	t.Helper()
	times := func() (n int) {
		for _, e := range p.Events() {
			if e.Rerun && (e.Kind == misttest.EventAllowed || e.Kind == misttest.EventDenied) {
				n++
			}
		}
		return n
	}
	before := times()
	command(t, m, map[string]any{"invalidate_sessions": p.Stream()})
	eventually(t, "it is asked about again", func() bool { return times() > before })
}

// A player that was let in although it was denied is ended: the answer was lost on its way, or somebody else's.
func TestADeniedSessionThatLivesIsEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.house(m)
	h.run()
	h.through(m, denialsLost)
	p := m.Connect(misttest.Viewer{Stream: "live+fight", Token: w.user("alice"), Address: host(1)}) // who does not come back
	await(t, p, misttest.Watching)
	require.Equal(t, 1, h.status("edge-1").Denied)
	await(t, p, misttest.Ended)
}

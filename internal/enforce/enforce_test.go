package enforce_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
)

// A session that runs and may no longer is ended, and no other: its player comes back and is told no.
func TestALiveSessionThatMayNoLongerIsRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept)
	alice, bob := w.user("alice"), w.user("bob")
	bought := w.entitle("alice", "gold", time.Time{})
	w.entitle("bob", "gold", time.Time{})
	his := watch(m, "live+fight", bob, 2)
	hers := watch(m, "live+fight", alice, 1)
	await(t, hers, misttest.Watching)
	await(t, his, misttest.Watching)

	w.withdraw("alice", bought)
	await(t, hers, misttest.Denied)
	eventually(t, "it is confirmed", func() bool { return h.confirmed("revoke") == 1 })
	assert.Equal(t, misttest.Watching, his.State())
	assert.NotContains(t, told(m, "stop_sessid"), his.SessionID(), "the other viewer is left alone")
	eventually(t, "it is stored", func() bool {
		s := w.stored("edge-1", hers.SessionID())
		return s.State == policy.SessionDenied && s.Reason == policy.PaymentRequired
	})
}

// A session that was denied and may watch now is unlocked: MistServer would not ask for ten minutes.
func TestADeniedSessionThatMayWatchNowIsUnlocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept)
	p := watch(m, "live+fight", w.user("alice"), 1)
	await(t, p, misttest.Denied)
	w.entitle("alice", "gold", time.Time{})
	await(t, p, misttest.Watching)
	eventually(t, "it is confirmed", func() bool { return h.confirmed("unlock") == 1 })
	require.Eventually(t, func() bool { return w.stored("edge-1", p.SessionID()).State == policy.SessionOpen }, patience, time.Millisecond)
}

// An entitlement that ends while nobody calls is enforced when it ends.
func TestADeadlineIsEnforcedWithNoWordFromAnyone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	w.open(m, unswept)
	key := w.user("alice")
	until := time.Now().Add(2 * time.Second)
	w.entitle("alice", "gold", until)
	p := watch(m, "live+fight", key, 1)
	await(t, p, misttest.Watching)
	await(t, p, misttest.Denied)
	commands := m.Commands()
	for _, c := range commands {
		if c.Kind == "stop_sessid" {
			assert.False(t, c.At.Before(until), "not before its end")
			assert.Less(t, c.At.Sub(until), time.Second, "and not long after")
			return
		}
	}
	t.Fatal("nothing was ended")
}

// A session's tags are told once it is listed, since earlier they would be dropped, and again when others are due.
func TestAListedSessionIsTagged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept)
	key := w.user("alice")
	w.entitle("alice", "gold", time.Time{})
	p := watch(m, "live+fight", key, 1)
	await(t, p, misttest.Watching)
	tags := func() []string {
		for _, s := range m.Sessions() {
			if s.ID == p.SessionID() {
				return s.Tags
			}
		}
		return nil
	}
	eventually(t, "it is tagged", func() bool { return assert.ObjectsAreEqual([]string{"plan:gold"}, tags()) })
	assert.Equal(t, 1, h.commands("tag_sessid"), "once")

	c, err := w.db.Catalog(t.Context())
	require.NoError(t, err)
	c.Plans[0].Tags = []string{"plan:gold", "vip"}
	w.apply(c)
	eventually(t, "it is tagged anew", func() bool { return len(tags()) == 2 })
}

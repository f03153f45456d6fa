package enforce_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"authhook/internal/enforce"
	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
)

// Ten thousand sessions of a hundred users run on one node. One user's change concerns that user's sessions alone.
func TestOneUsersChangeConcernsNobodyElse(t *testing.T) {
	t.Parallel()
	const users, viewers = 100, 10_000
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, func(o *enforce.Options) {
		o.SweepEvery, o.LookEvery, o.RepeatAfter = time.Hour, time.Second, 10*time.Second
	})
	w.apply(&policy.Catalog{ // without tags, which would have the list of ten thousand read again and again
		Plans:   []policy.Plan{{Key: "gold", Rank: 20}},
		Streams: []policy.StreamPolicy{{Match: "*", Access: policy.AccessEntitled, Plans: []string{"gold"}}},
	})
	keys, bought := make([]string, users), make([]string, users)
	for i := range users {
		keys[i] = w.user(user(i))
		bought[i] = w.entitle(user(i), "gold", time.Time{})
	}
	players := make([]*misttest.Player, viewers)
	for i := range players {
		players[i] = m.Connect(misttest.Viewer{Stream: "live+" + strconv.Itoa(i/1000), Token: keys[i%users], Address: host(i)})
		if i%1000 == 999 { // all at once would be more than a busy machine lets in while one waits
			for _, p := range players[i-999 : i+1] {
				await(t, p, misttest.Watching)
			}
		}
	}
	const who = 42
	his := map[string]bool{}
	for i := who; i < viewers; i += users {
		his[players[i].SessionID()] = true
	}
	asked := told(m, "invalidate_sessions")
	w.withdraw(user(who), bought[who])
	eventually(t, "all are confirmed", func() bool { return h.confirmed("revoke") == len(his) })
	for id := range told(m, "stop_sessid") {
		assert.True(t, his[id], "a session of somebody else was told to end")
	}
	assert.Equal(t, asked, told(m, "invalidate_sessions"), "nobody was asked again")
	for i, p := range players {
		if i%users != who {
			assert.Equal(t, misttest.Watching, p.State())
		}
	}
}

func user(i int) string { return "user-" + strconv.Itoa(i) }

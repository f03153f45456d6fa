package storetest

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// lease is a place asked for a minute after noon plus some, for a minute.
func lease(session string, after time.Duration) policy.Lease {
	return policy.Lease{User: "anna", Plan: "gold", Node: "n", Session: session, At: noon.Add(after),
		Until: noon.Add(after + time.Minute)}
}

func kicks(sessions ...string) []policy.KickedSession {
	var list []policy.KickedSession
	for _, s := range sessions {
		list = append(list, policy.KickedSession{Node: "n", Session: s})
	}
	return list
}

func testLeases(t *testing.T, database func(testing.TB) Open) {
	const reject, kick = policy.OnLimitReject, policy.OnLimitKickOldest
	acquire := func(t *testing.T, s Store, l policy.Lease, limit int, how policy.OnLimit, want bool, wantKicked ...string) {
		t.Helper()
		granted, kicked, err := s.AcquireLease(t.Context(), l, limit, how)
		require.NoError(t, err)
		require.Equal(t, want, granted)
		require.Equal(t, kicks(wantKicked...), kicked)
	}
	held := func(t *testing.T, s Store, at time.Duration) int {
		t.Helper()
		n, err := s.CountLeases(t.Context(), "anna", "gold", "", "", noon.Add(at))
		require.NoError(t, err)
		return n
	}

	t.Run("reject", func(t *testing.T) {
		s := fresh(t, database)
		acquire(t, s, lease("1", 0), 2, reject, true)
		acquire(t, s, lease("2", 1), 2, reject, true)
		acquire(t, s, lease("3", 2), 2, reject, false)
		acquire(t, s, lease("1", 3), 1, reject, true) // whoever has a place keeps it, whatever the limit
		require.Equal(t, 2, held(t, s, 3))
		n, err := s.CountLeases(t.Context(), "anna", "gold", "n", "1", noon)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		n, err = s.CountLeases(t.Context(), "anna", "silver", "", "", noon)
		require.NoError(t, err)
		require.Zero(t, n)
	})

	t.Run("of users and plans", func(t *testing.T) {
		s := fresh(t, database)
		acquire(t, s, lease("1", 0), 1, reject, true)
		other := lease("2", 0)
		other.User = "ben"
		acquire(t, s, other, 1, reject, true)
		other = lease("3", 0)
		other.Plan = "silver"
		acquire(t, s, other, 1, reject, true)
		other = lease("1", 0)
		other.Node = "another node"
		acquire(t, s, other, 1, reject, false)
	})

	t.Run("unlimited", func(t *testing.T) {
		s := fresh(t, database)
		acquire(t, s, lease("1", 0), 0, reject, true)
		acquire(t, s, lease("2", 0), -1, kick, true)
		require.Zero(t, held(t, s, 0))
	})

	t.Run("a session has one place", func(t *testing.T) {
		s := fresh(t, database)
		acquire(t, s, lease("1", 0), 1, reject, true)
		upgraded := lease("1", 1)
		upgraded.Plan = "platinum"
		acquire(t, s, upgraded, 1, reject, true)
		require.Zero(t, held(t, s, 1), "its place under the old plan is free")
		acquire(t, s, lease("2", 1), 1, reject, true)
	})

	t.Run("expired", func(t *testing.T) {
		s := fresh(t, database)
		acquire(t, s, lease("1", 0), 1, reject, true)
		acquire(t, s, lease("2", time.Minute-time.Microsecond), 1, reject, false)
		require.Equal(t, 1, held(t, s, time.Minute-time.Microsecond))
		require.Zero(t, held(t, s, time.Minute))
		acquire(t, s, lease("2", time.Minute), 1, reject, true)
		acquire(t, s, lease("1", time.Minute+1), 1, reject, false)
	})

	t.Run("kick_oldest", func(t *testing.T) {
		s := fresh(t, database)
		acquire(t, s, lease("1", 0), 2, kick, true)
		acquire(t, s, lease("2", time.Second), 2, kick, true)
		acquire(t, s, lease("1", 2*time.Second), 2, kick, true) // renewed: its age stays
		acquire(t, s, lease("3", 3*time.Second), 2, kick, true, "1")
		acquire(t, s, lease("1", 4*time.Second), 2, kick, true, "2") // it comes back as the youngest
		acquire(t, s, lease("4", 5*time.Second), 2, kick, true, "3")
		acquire(t, s, lease("5", 6*time.Second), 1, kick, true, "1", "4") // the limit was lowered
		require.Equal(t, 1, held(t, s, 6*time.Second))
	})

	t.Run("the same moment", func(t *testing.T) {
		s := fresh(t, database)
		for i := range 3 {
			acquire(t, s, lease(strconv.Itoa(9-i), 0), 3, kick, true)
		}
		acquire(t, s, lease("x", 0), 3, kick, true, "9") // who came first goes first
		acquire(t, s, lease("y", 0), 1, kick, true, "8", "7", "x")
	})

	t.Run("given up at the end", func(t *testing.T) {
		s := fresh(t, database)
		end := func(node, id string, at time.Duration) policy.Session {
			return policy.Session{Node: node, ID: id, State: policy.SessionEnded, Ended: noon.Add(at)}
		}
		acquire(t, s, lease("1", time.Second), 1, reject, true)
		require.NoError(t, s.WriteSessions(t.Context(), []policy.Session{end("m", "1", time.Minute)}))
		require.Equal(t, 1, held(t, s, time.Second), "that is another node's")
		require.NoError(t, s.WriteSessions(t.Context(), []policy.Session{end("n", "1", time.Second-time.Microsecond)}))
		require.Equal(t, 1, held(t, s, time.Second), "it asked again after that end")
		acquire(t, s, lease("1", 3*time.Second), 1, reject, true)
		require.NoError(t, s.WriteSessions(t.Context(), []policy.Session{end("n", "1", 2*time.Second)}))
		require.Equal(t, 1, held(t, s, 3*time.Second), "a place that was renewed since stays")
		require.NoError(t, s.WriteSessions(t.Context(), []policy.Session{end("n", "1", 3*time.Second)}))
		require.Zero(t, held(t, s, 3*time.Second))

		acquire(t, s, lease("1", 4*time.Second), 1, reject, true)
		require.NoError(t, s.WriteSessions(t.Context(), []policy.Session{
			{Node: "n", ID: "1", State: policy.SessionDenied, Decided: noon.Add(5 * time.Second)},
		}))
		require.Zero(t, held(t, s, 5*time.Second), "who was denied holds none")

		acquire(t, s, lease("2", 0), 2, reject, true)
		acquire(t, s, lease("3", 0), 2, reject, true)
		require.NoError(t, s.WriteSessions(t.Context(), []policy.Session{end("n", "3", 0), end("n", "2", 0), end("n", "none", 0)}))
		require.Zero(t, held(t, s, 0))
	})

	t.Run("renewed", func(t *testing.T) {
		s := fresh(t, database)
		acquire(t, s, lease("1", 0), 1, reject, true)
		require.NoError(t, s.RenewLeases(t.Context(), "n", []string{"1", "none", "a\x00"}, noon.Add(time.Hour)))
		require.NoError(t, s.RenewLeases(t.Context(), "m", []string{"1"}, noon))
		require.NoError(t, s.RenewLeases(t.Context(), "n", nil, noon))
		acquire(t, s, lease("2", 59*time.Minute), 1, reject, false)
		acquire(t, s, lease("2", time.Hour), 1, reject, true)
		require.NoError(t, s.RenewLeases(t.Context(), "n", []string{"1"}, noon.Add(2*time.Hour)))
		require.Equal(t, 1, held(t, s, time.Hour), "a place that was given to another does not come back")
	})

	t.Run("renewed after being refused", func(t *testing.T) {
		s := fresh(t, database)
		long := lease("1", 0)
		long.Until = noon.Add(time.Hour)
		acquire(t, s, lease("2", 0), 2, reject, true)
		acquire(t, s, long, 2, reject, true)
		acquire(t, s, lease("2", 2*time.Minute), 1, reject, false) // expired, and the limit was lowered
		require.NoError(t, s.RenewLeases(t.Context(), "n", []string{"2"}, noon.Add(time.Hour)))
		require.Equal(t, 1, held(t, s, 2*time.Minute))
	})

	t.Run("pruned", func(t *testing.T) {
		s := fresh(t, database)
		acquire(t, s, lease("1", 0), 9, reject, true)
		acquire(t, s, lease("2", time.Second), 9, reject, true)
		n, err := s.PruneLeases(t.Context(), noon.Add(time.Minute+1))
		require.NoError(t, err)
		require.EqualValues(t, 0, n+int64(held(t, s, 0))-2)
		n, err = s.PruneLeases(t.Context(), noon.Add(time.Hour))
		require.NoError(t, err)
		require.Positive(t, n)
		require.Zero(t, held(t, s, 0))
	})

	t.Run("what cannot be stored", func(t *testing.T) {
		s := fresh(t, database)
		for _, l := range []policy.Lease{{}, lease("a\x00", 0), lease("", 0)} {
			_, _, err := s.AcquireLease(t.Context(), l, 1, reject)
			invalid := new(store.InvalidError)
			require.ErrorAs(t, err, &invalid)
		}
	})
}

// racers is how many sessions want a place at once, over two replicas.
const racers = 100

func testLeasesRace(t *testing.T, database func(testing.TB) Open) {
	open := database(t)
	replicas := []Store{migrated(t, open, at(noon)), opened(t, open, at(noon))}
	for _, limit := range []int{1, 2, 5} {
		for _, how := range []policy.OnLimit{policy.OnLimitReject, policy.OnLimitKickOldest} {
			t.Run(fmt.Sprint(how, " ", limit), func(t *testing.T) {
				user := fmt.Sprint(how, limit)
				var granted atomic.Int64
				var mu sync.Mutex
				standing := map[string]int{}
				start := make(chan struct{})
				var wg sync.WaitGroup
				for i := range racers {
					wg.Go(func() {
						<-start
						l := policy.Lease{User: user, Plan: "gold", Node: user, Session: strconv.Itoa(i), At: noon, Until: noon.Add(time.Minute)}
						ok, kicked, err := replicas[i%2].AcquireLease(t.Context(), l, limit, how)
						assert.NoError(t, err)
						if ok {
							granted.Add(1)
						}
						mu.Lock()
						defer mu.Unlock()
						if ok {
							standing[l.Session]++
						}
						for _, k := range kicked {
							standing[k.Session]--
						}
					})
				}
				close(start)
				wg.Wait()
				n, err := replicas[0].CountLeases(t.Context(), user, "gold", "", "", noon)
				require.NoError(t, err)
				require.Equal(t, limit, n)
				if how == policy.OnLimitReject {
					require.EqualValues(t, limit, granted.Load(), "exactly the limit is granted")
					return
				}
				require.EqualValues(t, racers, granted.Load())
				left := 0
				for session, n := range standing {
					require.Contains(t, []int{0, 1}, n, "session %s was kicked once at most", session)
					left += n
				}
				require.Equal(t, limit, left, "every other one was told to go")
			})
		}
	}

	t.Run("the same session, many times", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				ok, _, err := replicas[i%2].AcquireLease(t.Context(), lease("one", 0), 1, policy.OnLimitReject)
				assert.NoError(t, err)
				assert.True(t, ok)
			})
		}
		wg.Wait()
	})

	// Whoever renews just as its place is given away must not have it afterwards as well.
	t.Run("against renewal", func(t *testing.T) {
		for round := range 40 {
			user := fmt.Sprint("round ", round)
			old := policy.Lease{User: user, Plan: "gold", Node: user, Session: "old", At: noon, Until: noon.Add(time.Second)}
			_, _, err := replicas[0].AcquireLease(t.Context(), old, 1, policy.OnLimitReject)
			require.NoError(t, err)
			var wg sync.WaitGroup
			wg.Go(func() {
				assert.NoError(t, replicas[0].RenewLeases(t.Context(), user, []string{"old"}, noon.Add(time.Hour)))
			})
			wg.Go(func() {
				young := policy.Lease{User: user, Plan: "gold", Node: user, Session: "young", At: noon.Add(time.Minute), Until: noon.Add(time.Hour)}
				_, _, err := replicas[1].AcquireLease(t.Context(), young, 1, policy.OnLimitReject)
				assert.NoError(t, err)
			})
			wg.Wait()
			n, err := replicas[0].CountLeases(t.Context(), user, "gold", "", "", noon.Add(time.Minute))
			require.NoError(t, err)
			require.Equal(t, 1, n)
		}
	})
}

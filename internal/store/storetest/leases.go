package storetest

import (
	"fmt"
	"strconv"
	"strings"
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

// places are those of a user's sessions.
func places(user string, sessions ...string) (list []policy.Place) {
	for _, s := range sessions {
		list = append(list, policy.Place{User: user, Session: s})
	}
	return list
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

	renew := func(t *testing.T, s Store, node string, until time.Duration, sessions []string, wantLost ...string) {
		t.Helper()
		lost, err := s.RenewLeases(t.Context(), node, places("anna", sessions...), noon.Add(until))
		require.NoError(t, err)
		require.Equal(t, wantLost, lost)
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
		require.Equal(t, []string{"session 1 n", "session 2 n", "session 3 n", "session 1 n", "session 4 n"}, feed(t, s, 0),
			"each is told to whoever holds its node")
		require.Empty(t, audit(t, s, store.AuditFilter{}), "nobody's doing")
	})

	t.Run("told in the feed", func(t *testing.T) {
		s := fresh(t, database)
		far := lease("1", 0)
		far.Node = "edge 2, " + hostile["unicode"]
		acquire(t, s, far, 1, kick, true)
		withUsers(t, s, "anna")
		acquire(t, s, lease("2", 1), 2, kick, true)
		acquire(t, s, lease("2", 2), 1, kick, true) // renewed: it takes nobody's
		acquire(t, s, lease("3", 3), 2, reject, false)
		require.Equal(t, []string{"user anna"}, feed(t, s, 0), "nobody was kicked")
		granted, kicked, err := s.AcquireLease(t.Context(), lease("3", 4), 1, kick)
		require.NoError(t, err)
		require.True(t, granted)
		require.Len(t, kicked, 2)
		withUsers(t, s, "ben")
		list, err := s.Changes(t.Context(), 1, 10)
		require.NoError(t, err)
		require.Equal(t, []store.Change{
			{Number: 2, At: noon, Kind: store.ChangeSession, Subject: store.SessionSubject(far.Node, "1")},
			{Number: 3, At: noon, Kind: store.ChangeSession, Subject: store.SessionSubject("n", "2")},
			{Number: 4, At: noon, Kind: store.ChangeUser, Subject: "ben"},
		}, list)
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

	t.Run("given up by who vanished", func(t *testing.T) {
		s := fresh(t, database)
		decided := func(id string, at time.Duration) policy.Session {
			return policy.Session{Node: "n", ID: id, State: policy.SessionOpen, User: "anna", Plan: "gold", Opened: noon.Add(at), Decided: noon.Add(at + time.Millisecond)}
		}
		gone := func(id string, last time.Duration) policy.Session {
			return policy.Session{Node: "n", ID: id, State: policy.SessionEnded, Ended: noon.Add(last), Duration: 50 * time.Second, Estimated: true}
		}
		for id, last := range map[string]time.Duration{
			"listed": 20 * time.Second, "listed once": time.Millisecond + 600*time.Microsecond, "never listed": time.Millisecond,
		} {
			session := strings.ReplaceAll(id, " ", "-")
			acquire(t, s, lease(session, 0), 1, reject, true)
			write(t, s, decided(session, 0))
			require.Equal(t, 1, held(t, s, 0))
			write(t, s, gone(session, last))
			require.Zero(t, held(t, s, 0), id)
		}

		acquire(t, s, lease("back", time.Minute), 1, reject, true)
		write(t, s, decided("back", time.Minute), gone("back", time.Minute-time.Millisecond))
		require.Equal(t, 1, held(t, s, time.Minute), "it asked again since it was listed")
		write(t, s, policy.Session{Node: "n", ID: "back", State: policy.SessionEnded, Ended: noon.Add(time.Minute + 5*time.Second), Duration: 50 * time.Second})
		require.Equal(t, 1, held(t, s, time.Minute), "the end of a life that was over before comes late")
		require.Equal(t, policy.SessionOpen, stored(t, s, "back").State)
		write(t, s, gone("back", time.Minute+6*time.Second))
		require.Zero(t, held(t, s, time.Minute))
	})

	t.Run("renewed", func(t *testing.T) {
		s := fresh(t, database)
		acquire(t, s, lease("1", 0), 1, reject, true)
		renew(t, s, "n", time.Hour, []string{"none", "1", "a\x00", "none", "\xff"}, "none", "a\x00", "none", "\xff")
		renew(t, s, "m", 0, []string{"1"}, "1")
		renew(t, s, "n", 0, nil)
		acquire(t, s, lease("2", 59*time.Minute), 1, reject, false)
		acquire(t, s, lease("2", time.Hour), 1, reject, true)
		renew(t, s, "n", 2*time.Hour, []string{"1", "2"}, "1")
		require.Equal(t, 1, held(t, s, time.Hour), "a place that was given to another does not come back")
		renew(t, s, "n", 70*time.Minute, []string{"2"})
		require.Zero(t, held(t, s, 70*time.Minute), "until exactly then, also where that is sooner")
		require.Empty(t, feed(t, s, 0))
	})

	t.Run("lost", func(t *testing.T) {
		s := fresh(t, database)
		acquire(t, s, lease("1", 0), 2, kick, true)
		acquire(t, s, lease("2", 1), 2, kick, true)
		acquire(t, s, lease("3", 2), 2, kick, true, "1")
		renew(t, s, "n", time.Hour, []string{"1", "2", "3"}, "1")
		require.NoError(t, s.WriteSessions(t.Context(), []policy.Session{{Node: "n", ID: "3", State: policy.SessionEnded, Ended: noon.Add(time.Second)}}))
		renew(t, s, "n", time.Hour, []string{"1", "2", "3"}, "1", "3")
		require.Equal(t, 1, held(t, s, 0))
	})

	t.Run("a thousand renewed", func(t *testing.T) {
		s := fresh(t, database)
		var all, want []string
		for i := range 1000 {
			id := fmt.Sprintf("%064d", i)
			all = append(all, id)
			if i%3 == 0 {
				want = append(want, id)
				continue
			}
			acquire(t, s, lease(id, 0), 1000, reject, true)
		}
		renew(t, s, "n", time.Hour, all, want...)
		require.Equal(t, 666, held(t, s, 59*time.Minute))
	})

	t.Run("renewed after being refused", func(t *testing.T) {
		s := fresh(t, database)
		long := lease("1", 0)
		long.Until = noon.Add(time.Hour)
		acquire(t, s, lease("2", 0), 2, reject, true)
		acquire(t, s, long, 2, reject, true)
		acquire(t, s, lease("2", 2*time.Minute), 1, reject, false) // expired, and the limit was lowered
		renew(t, s, "n", time.Hour, []string{"2"}, "2")
		require.Equal(t, 1, held(t, s, 2*time.Minute))
	})

	t.Run("pruned", func(t *testing.T) {
		s := fresh(t, database)
		acquire(t, s, lease("1", 0), 9, reject, true)
		acquire(t, s, lease("2", time.Second), 9, reject, true)
		n, err := s.PruneLeases(t.Context(), noon.Add(time.Minute+1))
		require.NoError(t, err)
		require.EqualValues(t, 0, n+int64(held(t, s, 0))-2)
		later, err := s.PruneLeases(t.Context(), noon.Add(time.Hour))
		require.NoError(t, err)
		require.EqualValues(t, 2, n+later)
		require.Zero(t, held(t, s, 0))
	})

	t.Run("what cannot be stored", func(t *testing.T) {
		s := fresh(t, database)
		for _, l := range []policy.Lease{{}, lease("a\x00", 0), lease("", 0), lease("a b", 0)} {
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
			var lost []string
			var granted bool
			var wg sync.WaitGroup
			wg.Go(func() {
				var err error
				lost, err = replicas[0].RenewLeases(t.Context(), user, places(user, "old"), noon.Add(time.Hour))
				assert.NoError(t, err)
			})
			wg.Go(func() {
				young := policy.Lease{User: user, Plan: "gold", Node: user, Session: "young", At: noon.Add(time.Minute), Until: noon.Add(time.Hour)}
				var err error
				granted, _, err = replicas[1].AcquireLease(t.Context(), young, 1, policy.OnLimitReject)
				assert.NoError(t, err)
			})
			wg.Wait()
			n, err := replicas[0].CountLeases(t.Context(), user, "gold", "", "", noon.Add(time.Minute))
			require.NoError(t, err)
			require.Equal(t, 1, n)
			require.Equal(t, granted, len(lost) == 1, "who renews is told whether it is there still")
		}
	})

	// Who asks again for its place has it all along.
	t.Run("renewed by two", func(t *testing.T) {
		for round := range 40 {
			user := fmt.Sprint("both ", round)
			own := policy.Lease{User: user, Plan: "gold", Node: user, Session: "own", At: noon, Until: noon.Add(time.Minute)}
			_, _, err := replicas[0].AcquireLease(t.Context(), own, 1, policy.OnLimitReject)
			require.NoError(t, err)
			var wg sync.WaitGroup
			wg.Go(func() {
				lost, err := replicas[0].RenewLeases(t.Context(), user, places(user, "own"), noon.Add(time.Hour))
				assert.NoError(t, err)
				assert.Empty(t, lost)
			})
			for _, plan := range []string{"gold", "silver"} {
				wg.Go(func() {
					again := own
					again.Plan = plan
					granted, _, err := replicas[1].AcquireLease(t.Context(), again, 1, policy.OnLimitKickOldest)
					assert.NoError(t, err)
					assert.True(t, granted)
				})
			}
			wg.Wait()
		}
	})

	// Whoever is kicked is told of in the feed, once, while others write to it: entries of users and sessions are numbered
	// without a hole, whichever commit first.
	t.Run("the feed's order", func(t *testing.T) {
		const writers, rounds = 8, 25
		before := last(t, replicas[0])
		var mu sync.Mutex
		want := map[string]int{}
		start := make(chan struct{})
		var wg sync.WaitGroup
		for w := range writers {
			s := replicas[w%2]
			wg.Go(func() {
				<-start
				for i := range rounds {
					user := fmt.Sprint("feed", w%4)
					l := policy.Lease{User: user, Plan: "gold", Node: user, Session: fmt.Sprint(w, "-", i), At: noon, Until: noon.Add(time.Minute)}
					_, kicked, err := s.AcquireLease(t.Context(), l, 1, policy.OnLimitKickOldest)
					assert.NoError(t, err)
					mu.Lock()
					for _, k := range kicked {
						want["session "+store.SessionSubject(k.Node, k.Session)]++
					}
					mu.Unlock()
					if w%4 == 0 {
						_, _, err := s.PutUser(t.Context(), store.UserChange{ID: fmt.Sprint(w, "-", i), Status: policy.ActiveUser})
						assert.NoError(t, err)
						mu.Lock()
						want[fmt.Sprint("user ", w, "-", i)]++
						mu.Unlock()
					}
				}
			})
		}
		close(start)
		wg.Wait()
		got := map[string]int{}
		for _, entry := range feed(t, replicas[0], before) { // demands that there is no hole
			got[entry]++
		}
		require.Len(t, got, writers*rounds-4+2*rounds)
		require.Equal(t, want, got)
	})
}

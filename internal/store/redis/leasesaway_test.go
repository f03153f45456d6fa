package redis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/storetest"
)

// away is how long a part stays in the database, in these tests: so short that parts move all the time.
const away = 20 * time.Millisecond

// crowd is users who open sessions at replicas, up to a limit each, and end them.
type crowd struct {
	t        *testing.T
	replicas []*placesOver
	limit    int
	number   atomic.Int64

	mu    sync.Mutex
	held  map[string][]string // by user, from when they are known to be granted until they are asked to end
	most  int
	turns map[string]map[string]int // of users whose newest sessions push out the oldest: 1 while a session stands
}

func (c *crowd) lease(user string) policy.Lease {
	now := time.Now()
	return policy.Lease{User: user, Plan: "gold", Node: "n", Session: fmt.Sprint("s", c.number.Add(1)), At: now, Until: now.Add(time.Hour)}
}

// open has a user open a session, and says whether it may. No limit is ever exceeded.
func (c *crowd) open(at *placesOver, user string) (policy.Lease, bool) {
	l := c.lease(user)
	granted, kicked, err := at.AcquireLease(context.WithoutCancel(c.t.Context()), l, c.limit, policy.OnLimitReject)
	if !assert.NoError(c.t, err, "Redis is no reason to deny") || !granted {
		return l, false
	}
	assert.Empty(c.t, kicked)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[user] = append(c.held[user], l.Session)
	c.most = max(c.most, len(c.held[user]))
	assert.LessOrEqual(c.t, len(c.held[user]), c.limit, "%s has %v", user, c.held[user])
	return l, true
}

// end ends the oldest session of a user.
func (c *crowd) end(at *placesOver, user string) {
	c.mu.Lock()
	if len(c.held[user]) == 0 {
		c.mu.Unlock()
		return
	}
	session := c.held[user][0]
	c.held[user] = c.held[user][1:]
	c.mu.Unlock()
	assert.NoError(c.t, at.WriteSessions(context.WithoutCancel(c.t.Context()), []policy.Session{
		{Node: "n", ID: session, State: policy.SessionEnded, Ended: time.Now()},
	}))
}

// renew renews the sessions of a user that run: none has lost its place.
func (c *crowd) renew(at *placesOver, user string) {
	c.mu.Lock()
	defer c.mu.Unlock() // so that none of them ends meanwhile
	var places []policy.Place
	for _, s := range c.held[user] {
		places = append(places, policy.Place{User: user, Session: s})
	}
	lost, err := at.RenewLeases(context.WithoutCancel(c.t.Context()), "n", places, time.Now().Add(time.Hour))
	assert.NoError(c.t, err)
	assert.Empty(c.t, lost, "nobody took it")
}

// turn has a user open a session that pushes out the oldest.
func (c *crowd) turn(at *placesOver, user string) {
	l := c.lease(user)
	granted, kicked, err := at.AcquireLease(context.WithoutCancel(c.t.Context()), l, c.limit, policy.OnLimitKickOldest)
	assert.NoError(c.t, err)
	assert.True(c.t, granted)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turns[user] == nil {
		c.turns[user] = map[string]int{}
	}
	c.turns[user][l.Session]++
	for _, k := range kicked {
		c.turns[user][k.Session]--
	}
}

// stand are the sessions of a user that were never told to go. One that was may have a place all the same: where its own ask
// was still under way, and had to be put again, it got another. It would find that out when it is decided about again.
func (c *crowd) stand(user string) (sessions []string) {
	for session, n := range c.turns[user] {
		assert.LessOrEqual(c.t, n, 1)
		if n == 1 {
			sessions = append(sessions, session)
		}
	}
	return sessions
}

// newCrowd makes replicas over one database, with a client of Redis each.
func newCrowd(t *testing.T, limit int, timeout time.Duration, clients ...goredis.UniversalClient) *crowd {
	t.Helper()
	c := &crowd{t: t, limit: limit, held: map[string][]string{}, turns: map[string]map[string]int{}}
	url := storetest.PostgresSchema(t)
	for _, client := range clients {
		p := newPlaces(t, url, client, timeout)
		p.leases.away = away
		c.replicas = append(c.replicas, p)
	}
	return c
}

// atOne is a crowd of which each may have one session, at a single replica, and that replica.
func atOne(t *testing.T) (*crowd, *placesOver) {
	t.Helper()
	c := newCrowd(t, 1, patience, opened(t, newBox(t).url()))
	return c, c.replicas[0]
}

// rush has everybody open, renew and end sessions at every replica at once; does is called now and then.
func (c *crowd) rush(users, rounds int, does func(step int)) {
	const workers, every = 8, 25
	var done atomic.Int64
	steps := make(chan int, workers*rounds/every+1)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 7))
			for range rounds {
				at, user := c.replicas[random.IntN(len(c.replicas))], fmt.Sprint("user ", random.IntN(users))
				switch random.IntN(9) {
				case 0, 1, 2:
					c.end(at, user)
				case 3:
					c.renew(at, user)
				case 4:
					c.turn(at, "newest "+user)
				default:
					c.open(at, user)
				}
				if n := done.Add(1); n%every == 0 {
					steps <- int(n / every)
				}
			}
		})
	}
	go func() { all.Wait(); close(steps) }()
	for step := range steps {
		does(step)
	}
}

// settled says that what stands is what is counted, and that there is room for as many as there should be.
func (c *crowd) settled(users int) {
	c.t.Helper()
	for u := range users {
		user := fmt.Sprint("user ", u)
		for i, at := range c.replicas {
			n, err := at.CountLeases(c.t.Context(), user, "gold", "", "", time.Now())
			require.NoError(c.t, err)
			require.Equal(c.t, len(c.held[user]), n, "%s at replica %d", user, i)
		}
		for len(c.held[user]) < c.limit {
			_, granted := c.open(c.replicas[u%len(c.replicas)], user)
			require.True(c.t, granted, "%s holds %d of %d", user, len(c.held[user]), c.limit)
		}
		_, granted := c.open(c.replicas[(u+1)%len(c.replicas)], user)
		require.False(c.t, granted)
		stand := c.stand("newest " + user)
		n, err := c.replicas[0].CountLeases(c.t.Context(), "newest "+user, "gold", "", "", time.Now())
		require.NoError(c.t, err)
		require.LessOrEqual(c.t, len(stand), n, "every other one was told to go")
		require.LessOrEqual(c.t, n, c.limit)
	}
}

func (c *crowd) by(what placing) (n float64) {
	for _, p := range c.replicas {
		n += p.by(what)
	}
	return n
}

// Whatever becomes of Redis while places are given out: no limit is exceeded, nobody is denied for it, and none loses his place.
func TestPlacesWhateverBecomesOfRedis(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 3} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
			t.Parallel()
			const users = 4
			box := newBox(t)
			admin := opened(t, box.url())
			c := newCrowd(t, limit, 100*time.Millisecond, opened(t, box.url()), opened(t, box.url()), opened(t, box.url()))
			ctx := context.WithoutCancel(t.Context())
			well := func() {
				for _, p := range c.replicas {
					p.leases.server.probe(ctx)
				}
			}
			faults := []func(){
				func() { _ = admin.FlushAll(ctx).Err() },
				func() { box.kill(); box.start(); well() },
				func() { assert.NoError(t, admin.Save(ctx).Err()) },
				func() {},
				func() { box.kill(); box.start(); well() }, // it has what it had then
				func() { box.signal(syscall.SIGSTOP) },
				func() { box.signal(syscall.SIGCONT); well() },
				func() { // full
					assert.NoError(t, admin.ConfigSet(ctx, "maxmemory-policy", "noeviction").Err())
					assert.NoError(t, admin.ConfigSet(ctx, "maxmemory", "1kb").Err())
				},
				func() { assert.NoError(t, admin.ConfigSet(ctx, "maxmemory", "0").Err()) },
				func() { box.kill() },
				func() { box.start(); well() },
				func() { _ = admin.FlushAll(ctx).Err(); _ = admin.ScriptFlush(ctx).Err() },
			}
			c.rush(users, 40*len(faults), func(step int) { faults[step%len(faults)]() })
			box.kill() // whatever was done to it last
			box.start()
			well()
			c.settled(users)
			require.Equal(t, limit, c.most)
			for _, what := range []placing{placed, atDatabase, unanswered, void, begun} {
				t.Logf("%s %.0f", what, c.by(what))
				require.Positive(t, c.by(what), what)
			}
		})
	}
}

// A Redis that starts with what it had a while ago is not believed.
func TestPlacesAfterASnapshot(t *testing.T) {
	t.Parallel()
	box := newBox(t)
	admin := opened(t, box.url())
	c := newCrowd(t, 1, patience, opened(t, box.url()))
	at := c.replicas[0]
	_, granted := c.open(at, "anna")
	require.True(t, granted)
	c.end(at, "anna")
	require.NoError(t, admin.Save(t.Context()).Err())
	_, granted = c.open(at, "anna")
	require.True(t, granted)
	box.kill()
	box.start()
	at.leases.server.probe(t.Context())
	_, granted = c.open(at, "anna")
	require.False(t, granted, "it does not know who came since")
	require.EqualValues(t, 4, at.by(placed)+at.by(begun)-1, "Redis decided each time, the last time after its part was written anew")
}

// One replica does not reach Redis, others do: they go where it goes.
func TestPlacesWhereOneIsCutOff(t *testing.T) {
	t.Parallel()
	const users = 4
	box, nowhere := newBox(t), opened(t, "unix:///nowhere/redis.sock")
	c := newCrowd(t, 2, patience, opened(t, box.url()), opened(t, box.url()), nowhere)
	c.rush(users, 300, func(int) {})
	c.settled(users)
	require.Equal(t, 2, c.most)
	require.Positive(t, c.by(placed))
	require.Positive(t, c.by(unanswered))
	require.Positive(t, c.by(void), "what Redis decided elsewhere meanwhile")
}

// Who does not reach Redis gives up and renews places that were given out there: their part comes home.
func TestPlacesOfOthersFromOneThatIsCutOff(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1, patience, opened(t, newBox(t).url()), opened(t, "unix:///nowhere/redis.sock"))
	well, cut := c.replicas[0], c.replicas[1]
	home := func(user string) bool {
		h, err := well.LeaseHome(t.Context(), store.LeasePart(user))
		require.NoError(t, err)
		return !h.Redis
	}
	for _, user := range []string{"anna", "ben"} {
		_, granted := c.open(well, user)
		require.True(t, granted)
		require.False(t, home(user))
	}
	c.end(cut, "anna")
	require.True(t, home("anna"), "Redis would take her place for held")
	_, granted := c.open(well, "anna")
	require.True(t, granted, "her place is free")
	c.renew(cut, "ben")
	require.True(t, home("ben"), "what was renewed here would expire there")
}

// cutOffLate is a database that is away when it is to wait for who is lending parts.
type cutOffLate struct{ Book }

func (cutOffLate) AwaitLent(context.Context, []int) error { return store.ErrUnavailable }

// Who does not know whether Redis was told before what follows does not tell it: the part comes home.
func TestPlacesGivenUpByOneThatIsCutOffLate(t *testing.T) {
	t.Parallel()
	c, at := atOne(t)
	at.leases.Book = cutOffLate{at.Store}
	_, granted := c.open(at, "anna")
	require.True(t, granted)
	c.end(at, "anna")
	home, err := at.LeaseHome(t.Context(), store.LeasePart("anna"))
	require.NoError(t, err)
	require.False(t, home.Redis)
	_, granted = c.open(at, "anna")
	require.True(t, granted, "her place is free")
}

// The newest takes the place of one that took another's a moment ago, and is confirmed first.
func TestPlacesConfirmedOutOfOrder(t *testing.T) {
	t.Parallel()
	c, at := atOne(t)
	decide := func() *store.LeaseDecision { return c.decide(at, "anna", policy.OnLimitKickOldest) }
	confirm := func(d *store.LeaseDecision) []policy.KickedSession {
		is, err := at.ConfirmLease(t.Context(), d)
		require.NoError(t, err)
		require.True(t, is.Kept)
		return is.Kicked
	}
	first := decide()
	require.Empty(t, confirm(first))
	second, third := decide(), decide()
	require.Equal(t, []policy.KickedSession{{Node: "n", Session: first.Lease.Session}, {Node: "n", Session: second.Lease.Session}}, confirm(third),
		"it rests on both having gone")
	require.Empty(t, confirm(second), "its place was given and taken")
	require.NoError(t, at.KeepLeases(t.Context(), []int{third.Part}))
	n, err := at.Store.CountLeases(t.Context(), "anna", "gold", "", "", time.Now())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = at.Store.CountLeases(t.Context(), "anna", "gold", "n", third.Lease.Session, time.Now())
	require.NoError(t, err)
	require.Zero(t, n, "the newest has it")
}

// decide has Redis decide about a new session of a user, and nobody confirm it.
func (c *crowd) decide(at *placesOver, user string, onLimit policy.OnLimit) *store.LeaseDecision {
	c.t.Helper()
	d, by := at.leases.decide(c.t.Context(), store.LeasePart(user), c.lease(user), c.limit, onLimit)
	require.Equal(c.t, placed, by)
	return d
}

// What Redis decided for an authhook that died before it was confirmed: nobody loses a place by it, nobody is refused, and no limit
// is exceeded by what rests on it.
func TestPlacesThatNobodyConfirmed(t *testing.T) {
	t.Parallel()
	client := opened(t, newBox(t).url())
	c := newCrowd(t, 1, patience, client, client)
	at, other := c.replicas[0], c.replicas[1]

	// The newest would have taken the place.
	_, granted := c.open(at, "anna")
	require.True(t, granted)
	c.decide(other, "anna", policy.OnLimitKickOldest)
	c.renewOrAskAgain(at, "anna")

	// It would have had a place.
	c.decide(other, "ben", policy.OnLimitReject)
	_, granted = c.open(at, "ben")
	require.True(t, granted, "nobody watches")

	// It would have had the place of one that nobody renewed, who comes back.
	now := time.Now()
	old := policy.Lease{User: "cleo", Plan: "gold", Node: "n", Session: "old", At: now.Add(-time.Hour), Until: now.Add(-time.Minute)}
	granted, _, err := at.AcquireLease(t.Context(), old, 1, policy.OnLimitReject)
	require.NoError(t, err)
	require.True(t, granted)
	d := c.decide(other, "cleo", policy.OnLimitReject)
	require.Len(t, d.Expired, 1)
	again, kicked, err := other.AcquireLease(t.Context(), d.Lease.Lease, 1, policy.OnLimitReject)
	require.NoError(t, err)
	require.Empty(t, kicked)
	lost, err := at.Store.RenewLeases(t.Context(), "n", []policy.Place{{User: "cleo", Session: "old"}}, now.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, again, len(lost) == 1, "one of the two has it")
}

// renewOrAskAgain is what an enforcer does for sessions that run.
func (c *crowd) renewOrAskAgain(at *placesOver, user string) {
	c.t.Helper()
	for _, session := range c.held[user] {
		now := time.Now()
		lost, err := at.RenewLeases(c.t.Context(), "n", []policy.Place{{User: user, Session: session}}, now.Add(time.Hour))
		require.NoError(c.t, err)
		if len(lost) > 0 {
			granted, _, err := at.AcquireLease(c.t.Context(), policy.Lease{User: user, Plan: "gold", Node: "n", Session: session, At: now,
				Until: now.Add(time.Hour)}, c.limit, policy.OnLimitReject)
			require.NoError(c.t, err)
			require.True(c.t, granted, "nobody took its place")
		}
	}
}

// A place that expired while its part was in the database does not stand again because the part moves.
func TestPlacesThatExpiredBeforeTheyMoved(t *testing.T) {
	t.Parallel()
	c, at := atOne(t)
	now := time.Now()
	old := policy.Lease{User: "anna", Plan: "gold", Node: "n", Session: "old", At: now.Add(-time.Hour), Until: now.Add(-time.Minute)}
	granted, _, err := at.Store.AcquireLease(t.Context(), old, 1, policy.OnLimitReject)
	require.NoError(t, err)
	require.True(t, granted)
	_, granted = c.open(at, "anna")
	require.True(t, granted)
	require.EqualValues(t, 1, at.by(placed))
}

// A place that expired in Redis is dropped there long before it would be in the database, and not at once.
func TestPlacesThatExpiredArePruned(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 9, patience, opened(t, newBox(t).url()))
	at := c.replicas[0]
	now := time.Now()
	for session, expired := range map[string]time.Duration{"long ago": 2 * time.Minute, "lately": time.Second, "never": -time.Hour} {
		granted, _, err := at.AcquireLease(t.Context(), policy.Lease{User: "anna", Plan: "gold", Node: "n", Session: strings.ReplaceAll(session, " ", "-"),
			At: now.Add(-2 * time.Hour), Until: now.Add(-expired)}, 9, policy.OnLimitReject)
		require.NoError(t, err)
		require.True(t, granted)
	}
	dropped, err := at.PruneLeases(t.Context(), now.Add(-time.Hour))
	require.NoError(t, err)
	require.EqualValues(t, 1, dropped)
	dropped, err = at.PruneLeases(t.Context(), now)
	require.NoError(t, err)
	require.EqualValues(t, 1, dropped, "who prunes keeps none that expired")
	n, err := at.Store.CountLeases(t.Context(), "anna", "gold", "", "", now)
	require.NoError(t, err)
	require.Equal(t, 1, n, "the database has dropped them too")
}

// A session that was kicked is remembered for a while, and then no longer: also where its user never asks again.
func TestKickedPlacesAreForgotten(t *testing.T) {
	t.Parallel()
	client := opened(t, newBox(t).url())
	c := newCrowd(t, 1, patience, client)
	at := c.replicas[0]
	later := time.Duration(0)
	at.leases.now, at.leases.madeUp = func() time.Time { return time.Now().Add(later) }, true
	c.turn(at, "anna")
	c.turn(at, "anna")
	for _, after := range []struct {
		since time.Duration
		all   int64
	}{{5 * time.Second, 2}, {11 * time.Second, 1}} {
		later = after.since
		_, err := at.PruneLeases(t.Context(), time.Now())
		require.NoError(t, err)
		all, err := client.Eval(t.Context(), `return #cmsgpack.unpack(redis.call('HGET', KEYS[1], ARGV[1]))`,
			[]string{leaseKey(store.LeasePart("anna"))}, leaseField("anna")).Int64()
		require.NoError(t, err)
		require.Equal(t, after.all, all, "after %v", after.since)
	}
}

// Renewals are what Redis has most of, so they name their script in place of sending it. A Redis that does not know it is told,
// and that is no reason for a place to move or to be lost.
func TestRenewalsNameTheirScript(t *testing.T) {
	t.Parallel()
	box := newBox(t)
	client := opened(t, box.url())
	c := newCrowd(t, 2, patience, client)
	at := c.replicas[0]
	for _, user := range []string{"anna", "ben", "cleo"} {
		_, granted := c.open(at, user)
		require.True(t, granted)
	}
	homes, err := at.Store.LeaseHomes(t.Context())
	require.NoError(t, err)
	for _, known := range []bool{false, true, true} {
		if !known {
			require.NoError(t, client.ScriptFlush(t.Context()).Err())
		}
		require.NoError(t, client.ConfigResetStat(t.Context()).Err())
		for _, user := range []string{"anna", "ben", "cleo"} {
			c.renew(at, user)
		}
		stats, err := client.Info(t.Context(), "commandstats").Result()
		require.NoError(t, err)
		require.Contains(t, stats, "cmdstat_evalsha:")
		require.Equal(t, !known, strings.Contains(stats, "cmdstat_eval:"), "its text is sent where it is not known: %s", stats)
	}
	after, err := at.Store.LeaseHomes(t.Context())
	require.NoError(t, err)
	require.Equal(t, homes, after)
}

// A session that ends while its part is being lent holds no place there afterwards.
func TestPlacesThatEndWhileTheyMove(t *testing.T) {
	t.Parallel()
	c, at := atOne(t)
	now := time.Now()
	part := store.LeasePart("anna")
	l := policy.Lease{User: "anna", Plan: "gold", Node: "n", Session: "1", At: now, Until: now.Add(time.Hour)}
	granted, _, err := at.Store.AcquireLease(t.Context(), l, 1, policy.OnLimitReject)
	require.NoError(t, err)
	require.True(t, granted)
	ended := make(chan error, 1)
	_, err = at.LendLeases(t.Context(), part, 0, func(ctx context.Context) (int64, error) { return at.leases.epoch(ctx, part) },
		func(ctx context.Context, epoch int64, held []store.HeldLease) error {
			require.Len(t, held, 1)
			go func() {
				ended <- at.WriteSessions(context.WithoutCancel(ctx), []policy.Session{{Node: "n", ID: "1", State: policy.SessionEnded, Ended: time.Now()}})
			}()
			soon(t, func() bool { // until it is written
				n, err := at.Store.CountLeases(ctx, "anna", "gold", "", "", now)
				return err == nil && n == 0
			}, "the end is written")
			return at.leases.write(ctx, part, epoch, held)
		})
	require.NoError(t, err)
	require.NoError(t, <-ended)
	_, granted = c.open(at, "anna")
	require.True(t, granted, "the place is free")
	require.EqualValues(t, 1, at.by(placed), "Redis knows")
}

// A session that comes back as another user gives up the place that it had as the first, wherever either is given out.
func TestPlacesOfASessionThatChangesItsUser(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"Redis", "PostgreSQL"} {
		for _, second := range []string{"Redis", "PostgreSQL"} {
			t.Run(first+" "+second, func(t *testing.T) {
				t.Parallel()
				c, at := atOne(t)
				at.leases.away = time.Hour
				for user, over := range map[string]string{"anna": first, "ben": second} {
					if over == "PostgreSQL" { // it came home a moment ago
						c.decide(at, user, policy.OnLimitReject)
						require.NoError(t, at.KeepLeases(t.Context(), []int{store.LeasePart(user)}))
						at.leases.learn(store.LeaseHome{Part: store.LeasePart(user)})
					}
				}
				l, granted := c.open(at, "anna")
				require.True(t, granted)
				c.held["anna"] = nil
				l.User, l.At = "ben", l.At.Add(time.Second)
				granted, kicked, err := at.AcquireLease(t.Context(), l, 1, policy.OnLimitReject)
				require.NoError(t, err)
				require.True(t, granted)
				require.Empty(t, kicked)
				_, granted = c.open(at, "anna")
				require.True(t, granted, "nobody watches as her")
				_, granted = c.open(at, "ben")
				require.False(t, granted, "the session watches as him")
				for user, over := range map[string]string{"anna": first, "ben": second} {
					home, err := at.LeaseHome(t.Context(), store.LeasePart(user))
					require.NoError(t, err)
					require.Equal(t, over == "Redis", home.Redis, "nothing moved")
				}
			})
		}
	}
}

// Where Redis cannot be told that, the place that was given up is free all the same.
func TestPlacesOfASessionThatChangesItsUserUntold(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1, patience, opened(t, newBox(t).url()), opened(t, "unix:///nowhere/redis.sock"))
	well, cut := c.replicas[0], c.replicas[1]
	l, granted := c.open(well, "anna")
	require.True(t, granted)
	c.held["anna"] = nil
	l.User, l.At = "ben", l.At.Add(time.Second)
	granted, _, err := cut.AcquireLease(t.Context(), l, 1, policy.OnLimitReject)
	require.NoError(t, err)
	require.True(t, granted)
	home, err := well.LeaseHome(t.Context(), store.LeasePart("anna"))
	require.NoError(t, err)
	require.False(t, home.Redis, "it would take her place for held")
	_, granted = c.open(well, "anna")
	require.True(t, granted, "nobody watches as her")
}

// A session that is refused a place as another user keeps the one that it has, until it is written as denied.
func TestPlacesOfASessionThatIsRefusedAsAnother(t *testing.T) {
	t.Parallel()
	c, at := atOne(t)
	l, granted := c.open(at, "anna")
	require.True(t, granted)
	_, granted = c.open(at, "ben")
	require.True(t, granted)
	old := policy.Lease{User: "ben", Plan: "gold", Node: "n", Session: "old", At: l.At.Add(-time.Hour), Until: l.At.Add(-time.Minute)}
	granted, _, err := at.AcquireLease(t.Context(), old, 2, policy.OnLimitReject)
	require.NoError(t, err)
	require.True(t, granted)
	l.User, l.At = "ben", l.At.Add(time.Second)
	granted, _, err = at.AcquireLease(t.Context(), l, 1, policy.OnLimitReject)
	require.NoError(t, err)
	require.False(t, granted)
	c.renew(at, "anna")
}

// What a session was given as the first user is confirmed after what it was given as the second: it keeps the second.
func TestPlacesOfASessionThatChangesItsUserOutOfOrder(t *testing.T) {
	t.Parallel()
	c, at := atOne(t)
	ben := "ben"
	for n := 0; store.LeasePart(ben) != store.LeasePart("anna"); n++ { // in one part
		ben = fmt.Sprint("ben ", n)
	}
	first := c.decide(at, "anna", policy.OnLimitReject)
	second := first.Lease.Lease
	second.User = ben
	granted, _, err := at.AcquireLease(t.Context(), second, 1, policy.OnLimitReject)
	require.NoError(t, err)
	require.True(t, granted)
	is, err := at.ConfirmLease(t.Context(), first)
	require.NoError(t, err)
	require.True(t, is.Kept, "it was, and then the session was another user's")
	require.Empty(t, is.Left)
}

// What Redis refuses because of places that the database knows to be free counts for nothing.
func TestPlacesThatRedisRefusesWrongly(t *testing.T) {
	t.Parallel()
	for _, expired := range []bool{false, true} {
		t.Run(fmt.Sprint("with an expired one: ", expired), func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, 2, patience, opened(t, newBox(t).url()))
			at := c.replicas[0]
			take := func(session, plan string, ago time.Duration, limit int, onLimit policy.OnLimit) {
				now := time.Now().Add(-ago)
				granted, _, err := at.AcquireLease(t.Context(), policy.Lease{User: "anna", Plan: plan, Node: "n", Session: session,
					At: now, Until: now.Add(10 * time.Minute)}, limit, onLimit)
				require.NoError(t, err)
				require.True(t, granted)
			}
			for i := range 4 { // neither those that were kicked, the first two, nor those under another plan are a reason to refuse
				take(fmt.Sprint("gold", i), "gold", 0, 2, policy.OnLimitKickOldest)
				take(fmt.Sprint("silver", i), "silver", 0, 4, policy.OnLimitReject)
			}
			if expired {
				take("old", "gold", time.Hour, 3, policy.OnLimitReject)
			}
			var ends []policy.Session
			for _, session := range []string{"gold2", "gold3"} {
				ends = append(ends, policy.Session{Node: "n", ID: session, State: policy.SessionEnded, Ended: time.Now()})
			}
			_, err := at.WriteSessionsEnding(t.Context(), ends) // and Redis is not told
			require.NoError(t, err)
			d := c.decide(at, "anna", policy.OnLimitReject)
			require.False(t, d.Granted, "Redis does not know")
			require.Equal(t, expired, len(d.Expired) == 1)
			is, err := at.ConfirmLease(t.Context(), d)
			require.NoError(t, err)
			require.False(t, is.Kept)
			_, granted := c.open(at, "anna")
			require.True(t, granted, "nobody watches")
		})
	}
}

// lendingUntilItsTimeIsUp is a book that takes all the time that it is given.
type lendingUntilItsTimeIsUp struct {
	Book
	begun chan struct{}
	ended atomic.Bool
}

func (b *lendingUntilItsTimeIsUp) LendLeases(ctx context.Context, _ int, _ time.Duration, _ func(context.Context) (int64, error),
	_ func(context.Context, int64, []store.HeldLease) error) (bool, error) {
	close(b.begun)
	<-ctx.Done()
	b.ended.Store(true)
	return false, ctx.Err()
}

// Whoever wanted a part in Redis may have left: who closes waits for what he began, which uses the database.
func TestCloseWaitsForWhoLends(t *testing.T) {
	t.Parallel()
	book := &lendingUntilItsTimeIsUp{begun: make(chan struct{})}
	l := NewLeases(book, opened(t, "unix:///nowhere/redis.sock"), LeaseOptions{})
	gone, leave := context.WithCancel(t.Context())
	leave()
	require.ErrorIs(t, l.begin(gone, 1), context.Canceled)
	<-book.begun
	l.Close()
	require.True(t, book.ended.Load())
	require.ErrorIs(t, l.begin(t.Context(), 2), errOpen, "and nothing is begun any more")
}

// A cluster takes every script: each touches one key.
func TestPlacesOnACluster(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	box := newBox(t, "--port", port, "--cluster-enabled", "yes", "--bind", "127.0.0.1")
	admin := opened(t, box.url())
	require.NoError(t, admin.Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err())
	soon(t, func() bool {
		info, err := admin.Do(t.Context(), "CLUSTER", "INFO").Text()
		require.NoError(t, err)
		return len(info) > 0 && info[:len("cluster_state:ok")] == "cluster_state:ok"
	}, "the cluster is there")
	client := opened(t, "redis://127.0.0.1:"+port+"?addr=127.0.0.1:"+port)
	require.IsType(t, &goredis.ClusterClient{}, client)
	slots := map[int64]bool{}
	for part := range store.LeaseParts { // what a key is placed by is in braces, and no two parts share it
		slot, err := client.ClusterKeySlot(t.Context(), leaseKey(part)).Result()
		require.NoError(t, err)
		named, err := client.ClusterKeySlot(t.Context(), fmt.Sprint("leases:1:", part)).Result()
		require.NoError(t, err)
		require.Equal(t, named, slot)
		slots[slot] = true
	}
	require.Greater(t, len(slots), store.LeaseParts/2, "no server has all of them")
	const users = 6
	c := newCrowd(t, 2, patience, client, client)
	c.rush(users, 100, func(int) {})
	c.settled(users)
	require.Positive(t, c.by(placed))
	require.Zero(t, c.by(unanswered))
	own := map[string]bool{}
	for part := range store.LeaseParts {
		own[leaseKey(part)] = true
	}
	keys, err := admin.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	for _, key := range keys { // this cluster's only server has every key: another one would not
		require.True(t, own[key], key)
	}
}

// freePort is a port of this machine that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

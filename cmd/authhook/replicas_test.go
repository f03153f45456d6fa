package main

import (
	"context"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/mist/misttest"
)

// replicaSessions is the variable of the environment that says how many sessions each of the three nodes has: 300, and
// PostgreSQL is away until everybody has noticed. With 10000, PostgreSQL is away for 10 s; run it without -race.
const replicaSessions = "AUTHHOOK_TEST_REPLICA_SESSIONS"

// A replica for each node: what one of them is told holds at the nodes of all. Whatever is killed, cut off, empty, full or away,
// and comes back, everybody is then where the facts say, the store knows it, nobody was cut for it, no limit was exceeded, and
// nothing that was acknowledged is lost.
func TestAReplicaForEachNode(t *testing.T) {
	perNode, away := 300, time.Duration(0)
	if given := os.Getenv(replicaSessions); given != "" {
		n, err := strconv.Atoi(given)
		require.NoError(t, err)
		perNode, away = max(n, 30), 10*time.Second
	}
	f := newFleet(t, 30*time.Second+time.Duration(perNode)*10*time.Millisecond)
	a, b, c := f.replicas[0], f.replicas[1], f.replicas[2]

	// Of a user's sessions a third are at each node.
	const limits, rightless = 30, 10
	users := max(30, perNode/10)
	name := func(i int) string { return "user-" + strconv.Itoa(i) }
	for i := range users {
		if i < rightless {
			f.user(name(i))
		} else {
			f.member(name(i), "gold")
		}
	}
	for i := range limits {
		f.member("newest-"+strconv.Itoa(i), "newest")
		f.member("first-"+strconv.Itoa(i), "first")
	}
	f.user("late")
	for i := range perNode {
		for _, r := range f.replicas {
			f.watch(name(i%users), r)
		}
		if i%500 == 499 {
			f.answered()
		}
	}
	for i, user := range f.limited {
		f.watch(user, f.replicas[i/2%3])
	}
	f.right("all have come")

	f.devices(b, "newest", "first")
	f.right("a second device at another node")

	f.grant(a, name(0))
	f.withdraw(a, name(rightless))
	f.right("a grant and a withdrawal over one replica")

	require.True(t, f.pay(b, name(1), "pay_1"))
	f.right("a payment that another was told of")
	f.refund(c, name(1), "pay_1")
	f.right("its refund, that a third was told of")

	b.process.kill()
	f.grant(a, name(2))
	f.withdraw(c, name(rightless+1))
	f.devices(c, "newest", "first")
	f.right("one is dead: the others go on", a, c)
	b.begin()
	f.right("it is back")

	f.devices(b, "newest", "first")
	f.right("a third device")

	f.redis.kill()
	require.True(t, f.pay(a, name(3), "pay_2"))
	f.withdraw(b, name(rightless+2))
	f.devices(c, "newest", "first")
	f.right("Redis is dead")
	f.redis.start()
	f.devices(a, "first")
	f.right("it is back, with nothing in it")

	own := redisClient(t, f.redis.url)
	require.NoError(t, own.FlushAll(t.Context()).Err())
	f.devices(b, "newest", "first")
	f.right("all of it was erased")

	f.redis.signal(syscall.SIGSTOP)
	f.grant(c, name(4))
	f.withdraw(a, name(rightless+3))
	f.devices(a, "newest", "first")
	f.right("Redis stands still")
	f.redis.signal(syscall.SIGCONT)
	f.devices(b, "first")
	f.right("it goes on")

	require.NoError(t, own.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
	require.NoError(t, own.ConfigSet(t.Context(), "maxmemory", "1").Err())
	require.True(t, f.pay(c, name(5), "pay_3"))
	f.withdraw(b, name(rightless+4))
	f.devices(b, "newest", "first")
	f.right("Redis is full")
	require.NoError(t, own.ConfigSet(t.Context(), "maxmemory", "0").Err())
	f.devices(c, "first")
	f.right("it has room")

	// Nothing gets through between one of them and Redis, and nobody says so.
	c.redis.Hang()
	f.grant(a, name(6))
	f.withdraw(c, name(rightless+5))
	f.devices(c, "newest", "first")
	f.right("one is cut off from Redis")
	c.redis.Down()
	c.redis.Up()
	f.devices(a, "first")
	f.right("it has Redis again")

	// PostgreSQL is killed right after it has taken a payment.
	require.True(t, f.pay(b, name(7), "pay_4"))
	f.postgres.kill()
	gone := time.NewTimer(away)
	defer gone.Stop()
	for _, r := range f.replicas {
		f.without(r)
	}
	_, err := a.api(t, adminToken).RemoveEntitlementWithResponse(t.Context(), name(rightless+6), f.entitled[name(rightless+6)])
	require.Error(t, err)
	require.False(t, f.pay(c, name(8), "pay_5"), "it is not acknowledged")
	late := f.watch("late", b)
	f.waiting(a)
	ctx, cancel := context.WithTimeout(t.Context(), f.patience)
	defer cancel()
	require.NoError(t, late.Wait(ctx, misttest.Denied))
	require.NoError(t, f.watch(name(rightless+8), c).Wait(ctx, misttest.Watching), "what is known of it is in memory")
	<-gone.C
	f.postgres.start()
	clear(f.maybe)
	f.until(func() bool { return f.pay(c, name(8), "pay_5") }, func() string { return "a payment is not taken" })
	f.grant(c, "late")
	f.withdraw(a, name(rightless+6))
	f.right("PostgreSQL was killed")

	// The same between one of them and PostgreSQL.
	c.postgres.Hang()
	f.grant(a, name(9))
	f.withdraw(b, name(rightless+7))
	f.devices(b, "newest", "first")
	f.right("one is cut off from PostgreSQL: the others go on", a, b)
	f.without(c)
	c.postgres.Down()
	c.postgres.Up()
	f.right("it has PostgreSQL again")

	t.Log(f.table())
	last := f.steps[len(f.steps)-1]
	assert.Zero(t, last.cut, "cut with a right, %s", f.story())
	assert.Zero(t, last.over, "users of the plan first who had two sessions at once")
	var together time.Duration
	for _, user := range f.limited {
		if f.plan[user] == "newest" {
			assert.NotZero(t, f.longestTogether(user), "the newer one is let in at once")
			together = max(together, f.longestTogether(user))
		}
	}
	t.Logf("of the plan newest, two sessions ran for %s at most: MistServer takes up to 1.03 s to end one, once it is told", together)
	for _, r := range f.replicas {
		assert.False(t, r.node.Corrupted())
	}
}

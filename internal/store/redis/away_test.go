package redis

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store/storetest"
)

// atWork is a replica that has a user anna and uses what it wrote of her.
func atWork(t *testing.T, client goredis.UniversalClient, timeout time.Duration) (*replica, storetest.Store) {
	db := sqliteDatabase(t)(t)
	putUser(t, db, "anna", policy.ActiveUser)
	r := newReplicaWithin(t, db, client, timeout)
	require.Equal(t, policy.ActiveUser, r.user("anna").Status)
	require.Equal(t, policy.ActiveUser, r.user("anna").Status)
	require.Equal(t, 1, r.answers()["hit"])
	return r, db
}

// right asks until something holds, and every answer is right.
func (r *replica) right(holds func() bool, what string) {
	r.t.Helper()
	soon(r.t, func() bool {
		u, err := r.FactsByUser(r.t.Context(), "anna")
		require.NoError(r.t, err)
		require.Equal(r.t, policy.ActiveUser, u.Status)
		return holds()
	}, what)
}

func (r *replica) closed() bool             { return !r.server.breaker.Open() }
func (r *replica) opened() bool             { return r.server.breaker.Open() }
func (r *replica) failures(c cause) float64 { return count(r.o.Metrics.failures[c]) }

func (r *replica) hits() bool { return r.answers()["hit"] > 0 }

func TestRedisIsKilledAndComesBack(t *testing.T) {
	t.Parallel()
	box := newBox(t)
	r, db := atWork(t, opened(t, box.url()), patience)
	box.kill()
	r.right(r.opened, "nothing is asked of it any more")
	require.GreaterOrEqual(t, r.failures(causeConnection), float64(failuresToOpen))
	require.EqualValues(t, 1, count(r.o.Metrics.open))
	r.answers()
	r.user("anna")
	require.Equal(t, answers{"not_asked": 1}, r.answers())
	putUser(t, db, "anna", policy.SuspendedUser)
	putUser(t, db, "anna", policy.ActiveUser)
	r.learn()
	box.start()
	r.right(r.closed, "one probe finds it")
	r.right(r.hits, "it is used again")
}

// A Redis that takes connections and commands and does not answer is the slowest of all.
func TestRedisIsStoppedAndGoesOn(t *testing.T) {
	t.Parallel()
	box := newBox(t)
	client := opened(t, box.url()+"?read_timeout=1h") // so that nothing but the time of a call ends one
	r, _ := atWork(t, client, time.Second)
	box.signal(syscall.SIGSTOP)
	r.right(r.opened, "nothing is asked of it any more")
	require.GreaterOrEqual(t, r.failures(causeTimeout), float64(failuresToOpen))
	r.server.breaker.Probed(true) // the next probe is a second away: until then nothing is asked
	r.answers()
	before := client.PoolStats()
	asked := before.Hits + before.Misses
	for range 20 {
		r.user("anna")
	}
	after := client.PoolStats()
	require.Equal(t, answers{"not_asked": 20}, r.answers())
	require.LessOrEqual(t, after.Hits+after.Misses, asked+2, "twenty asks, and at most one probe")
	box.signal(syscall.SIGCONT)
	r.right(r.closed, "one probe finds it")
	r.right(r.hits, "it is used again")
}

// Nobody waits for longer than a moment, unless told to: it is well within what a decision has.
func TestACallHasLittleTime(t *testing.T) {
	client := opened(t, "unix:///nowhere/redis.sock")
	f, h, l := NewFacts(nil, client, Options{}), NewHint(client, HintOptions{}), NewLeases(nil, client, LeaseOptions{})
	defer f.Close()
	defer h.Close()
	defer l.Close()
	for name, s := range map[string]*server{"facts": f.server, "hint": h.server, "leases": l.server} {
		s.aside.Wait()
		s.breaker.Probed(false)
		called := false
		require.NoError(t, s.call(t.Context(), func(ctx context.Context) error {
			deadline, has := ctx.Deadline()
			require.True(t, has, name)
			require.LessOrEqual(t, time.Until(deadline), 20*time.Millisecond, name)
			called = true
			return nil
		}))
		require.True(t, called, name)
	}
}

func TestRedisIsFlushed(t *testing.T) {
	t.Parallel()
	client := opened(t, newBox(t).url())
	r, _ := atWork(t, client, patience)
	require.NoError(t, client.FlushAll(t.Context()).Err())
	require.NoError(t, client.ScriptFlush(t.Context()).Err())
	r.user("anna")
	r.user("anna")
	require.Equal(t, answers{"miss": 1, "hit": 1}, r.answers())
}

func TestRedisIsFull(t *testing.T) {
	t.Parallel()
	client := opened(t, newBox(t).url())
	r, db := atWork(t, client, patience)
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1kb").Err())
	r.user("anna")
	require.Equal(t, answers{"hit": 1}, r.answers(), "it can still be read")
	for range 2 * failuresToOpen {
		addHold(t, db, "anna")
		r.learn()
		r.user("anna")
	}
	require.EqualValues(t, 2*failuresToOpen, r.failures(causeFull))
	for range 2 * failuresToOpen {
		require.Error(t, r.server.call(t.Context(), func(ctx context.Context) error { return client.Set(ctx, "x", "y", 0).Err() }))
	}
	require.True(t, r.closed(), "a full Redis is still read")
	require.Len(t, r.user("anna").Holds, 2*failuresToOpen)
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	r.user("anna")
	r.answers()
	require.Len(t, r.user("anna").Holds, 2*failuresToOpen)
	require.Equal(t, answers{"hit": 1}, r.answers())
}

// A Redis that is loading, or has no memory of us, says so at once.
func TestRedisRefuses(t *testing.T) {
	t.Parallel()
	box := newBox(t, "--requirepass", "s3cret-of-redis")
	right := opened(t, strings.Replace(box.url(), "unix://", "unix://:s3cret-of-redis@", 1))
	wrong := opened(t, strings.Replace(box.url(), "unix://", "unix://:wr0ng-of-redis@", 1))
	atWork(t, right, patience)

	db := sqliteDatabase(t)(t)
	putUser(t, db, "anna", policy.ActiveUser)
	r := newReplica(t, db, wrong)
	require.True(t, r.opened())
	r.user("anna")
	r.user("anna")
	require.Equal(t, answers{"not_asked": 2}, r.answers())
	err := wrong.Ping(t.Context()).Err()
	require.Error(t, err)
	require.Equal(t, causePassword, causeOf(err))
	require.NotContains(t, err.Error(), "wr0ng")
}

// May not is not away.
func TestRedisForbidsToWrite(t *testing.T) {
	t.Parallel()
	box := newBox(t)
	admin := opened(t, box.url())
	require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "reader", "on", ">pw", "~*", "+ping", "+getrange").Err())
	client := opened(t, strings.Replace(box.url(), "unix://", "unix://reader:pw@", 1))
	db := sqliteDatabase(t)(t)
	putUser(t, db, "anna", policy.ActiveUser)
	r := newReplica(t, db, client)
	for range 2 * failuresToOpen {
		r.user("anna")
	}
	require.EqualValues(t, 2*failuresToOpen, r.failures(causeForbidden))
	for range 2 * failuresToOpen { // and nothing between them that it permits
		require.Error(t, r.server.call(t.Context(), func(ctx context.Context) error { return client.Set(ctx, "x", "y", 0).Err() }))
	}
	require.True(t, r.closed())
	require.Equal(t, answers{"not_asked": 1, "miss": 2*failuresToOpen - 1}, r.answers())
}

// An asker who leaves says nothing about Redis, and gets the source's own error or answer.
func TestWhoLeaves(t *testing.T) {
	t.Parallel()
	r, _ := atWork(t, opened(t, newBox(t).url()), patience)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 * failuresToOpen {
		_, err := r.FactsByUser(ctx, "anna")
		require.Error(t, err)
	}
	require.True(t, r.closed())
	for _, c := range causes {
		require.Zero(t, r.failures(c), c)
	}
}

func TestAfterClose(t *testing.T) {
	t.Parallel()
	client, err := Open(newBox(t).url())
	require.NoError(t, err)
	r, _ := atWork(t, client, patience)
	r.Close()
	r.Close()
	require.True(t, r.opened())
	require.NoError(t, client.Close())
	u, err := r.FactsByUser(t.Context(), "anna")
	require.NoError(t, err)
	require.Equal(t, policy.ActiveUser, u.Status)
	require.Equal(t, answers{"not_asked": 1}, r.answers())
}

package redis

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/storetest"
)

// apart is replicas over one database and one Redis, of which one has a clock that is apart from the others' and the servers'.
type apart struct {
	t          testing.TB
	right, off *placesOver
	number     int
}

// newApart makes them, with their places in Redis or in the database.
func newApart(t testing.TB, by time.Duration, over string) *apart {
	t.Helper()
	database, server := storetest.PostgresSchema(t), "unix:///nowhere/redis.sock"
	if over == "Redis" {
		server = newBox(t).url()
	}
	a := &apart{t: t}
	for _, p := range []**placesOver{&a.right, &a.off} {
		*p = newPlaces(t, database, opened(t, server), patience)
	}
	now := func() time.Time { return time.Now().Add(by) }
	a.off.Now, a.off.leases.now = now, now
	return a
}

// ask asks at a replica for a place of a new session of a user, as it does that asked a while ago, and wants it for as long since.
func (a *apart) ask(p *placesOver, user string, ago, stands time.Duration, limit int, onLimit policy.OnLimit) (bool, []policy.KickedSession) {
	a.t.Helper()
	a.number++
	at := p.Now().Add(-ago)
	granted, kicked, err := p.AcquireLease(a.t.Context(), policy.Lease{User: user, Plan: "gold", Node: "n", Session: fmt.Sprint("s", a.number),
		At: at, Until: at.Add(stands)}, limit, onLimit)
	require.NoError(a.t, err)
	return granted, kicked
}

// takes has a replica give a user a place, the only one, as [apart.ask] has it, and says which session has it.
func (a *apart) takes(p *placesOver, user string, ago, stands time.Duration) string {
	a.t.Helper()
	granted, _ := a.ask(p, user, ago, stands, 1, policy.OnLimitReject)
	require.True(a.t, granted)
	return fmt.Sprint("s", a.number)
}

// open says whether a replica gives a user a place, being the only one.
func (a *apart) open(p *placesOver, user string) bool {
	a.t.Helper()
	granted, _ := a.ask(p, user, 0, 30*time.Second, 1, policy.OnLimitReject)
	return granted
}

func (a *apart) renew(p *placesOver, user, session string, stands time.Duration) {
	a.t.Helper()
	lost, err := p.RenewLeases(a.t.Context(), "n", []policy.Place{{User: user, Session: session}}, p.Now().Add(stands))
	require.NoError(a.t, err)
	require.Empty(a.t, lost)
}

// counted is how many places a user has, in a while.
func (a *apart) counted(p *placesOver, user string, in time.Duration) int {
	a.t.Helper()
	n, err := p.CountLeases(a.t.Context(), user, "gold", "", "", p.Now().Add(in))
	require.NoError(a.t, err)
	return n
}

// lend has a replica begin a new epoch of a user's part in Redis.
func (a *apart) lend(p *placesOver, user string, away time.Duration) bool {
	a.t.Helper()
	part := store.LeasePart(user)
	lent, err := p.LendLeases(a.t.Context(), part, away, func(ctx context.Context) (int64, error) { return p.leases.epoch(ctx, part) },
		func(ctx context.Context, epoch int64, held []store.HeldLease) error {
			return p.leases.write(ctx, part, epoch, held)
		})
	require.NoError(a.t, err)
	return lent
}

func (a *apart) keep(p *placesOver, user string) {
	a.t.Helper()
	require.NoError(a.t, p.KeepLeases(a.t.Context(), []int{store.LeasePart(user)}))
}

// A replica's clock is no reason to exceed a limit, nor to turn anybody away.
func TestPlacesWhereClocksAreApart(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{5 * time.Minute, -5 * time.Minute} {
		for _, over := range []string{"Redis", "PostgreSQL"} {
			t.Run(fmt.Sprint(over, " ", by), func(t *testing.T) {
				t.Parallel()
				a := newApart(t, by, over)
				for i, p := range []*placesOver{a.right, a.off} {
					other := []*placesOver{a.off, a.right}[i]
					user := func(name string) string { return fmt.Sprint(name, " ", i) }

					a.takes(p, user("held"), 0, 30*time.Second)
					require.False(t, a.open(other, user("held")), "the place is held")
					require.Equal(t, 1, a.counted(other, user("held"), 5*time.Second))
					require.Zero(t, a.counted(other, user("held"), 31*time.Second))

					a.takes(p, user("expired"), time.Minute, 59*time.Second)
					require.Zero(t, a.counted(other, user("expired"), 0))
					require.True(t, a.open(other, user("expired")), "nobody renewed it")

					session := a.takes(p, user("renewed"), time.Minute, time.Second)
					a.renew(other, user("renewed"), session, 30*time.Second)
					require.False(t, a.open(p, user("renewed")), "the other renewed it")
					a.renew(other, user("renewed"), session, -time.Second)
					require.True(t, a.open(p, user("renewed")), "it expired since")

					granted, _ := a.ask(p, user("oldest"), 0, 30*time.Second, 2, policy.OnLimitKickOldest)
					require.True(t, granted)
					first := fmt.Sprint("s", a.number)
					granted, _ = a.ask(other, user("oldest"), 0, 30*time.Second, 2, policy.OnLimitKickOldest)
					require.True(t, granted)
					_, kicked := a.ask(p, user("oldest"), 0, 30*time.Second, 2, policy.OnLimitKickOldest)
					require.Equal(t, []policy.KickedSession{{Node: "n", Session: first}}, kicked, "who came first goes first")

					a.takes(p, user("pruned"), 0, 30*time.Second)
					_, err := other.PruneLeases(t.Context(), other.Now().Add(-time.Hour))
					require.NoError(t, err)
					require.False(t, a.open(p, user("pruned")), "the place is held")
				}
				if over == "Redis" {
					require.Positive(t, a.right.by(placed))
					require.Zero(t, a.right.by(atDatabase)+a.right.by(unanswered)+a.off.by(atDatabase)+a.off.by(unanswered))
				}
			})
		}
	}
}

// Nor is it where a replica with such a clock moves a part.
func TestPlacesMovedByAClockThatIsApart(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{5 * time.Minute, -5 * time.Minute} {
		t.Run(fmt.Sprint(by), func(t *testing.T) {
			t.Parallel()
			a := newApart(t, by, "Redis")
			// renewedThere has a user hold a place of which Redis alone knows that it was renewed.
			renewedThere := func(user string) {
				session := a.takes(a.right, user, time.Minute, time.Second)
				a.renew(a.right, user, session, time.Hour)
			}

			// To the database.
			user := "anna"
			renewedThere(user)
			a.keep(a.off, user)
			require.Equal(t, 1, a.counted(a.right, user, 5*time.Second))
			require.Zero(t, a.counted(a.right, user, 31*time.Second), "nobody renews it")
			require.False(t, a.open(a.right, user), "who renewed it has it")

			// Back to Redis, as soon as that is due by the database's clock.
			require.False(t, a.lend(a.right, user, time.Minute), "it came a moment ago")
			require.True(t, a.lend(a.right, user, time.Microsecond), "it came longer ago")
			a.keep(a.right, user)
			require.False(t, a.lend(a.off, user, time.Minute), "it came a moment ago")
			require.True(t, a.lend(a.off, user, time.Microsecond), "it came longer ago")
			require.Equal(t, 1, a.counted(a.right, user, 5*time.Second))
			require.Zero(t, a.counted(a.right, user, 31*time.Second))
			require.False(t, a.open(a.right, user))

			// From one Redis to another.
			user = "ben"
			renewedThere(user)
			require.NoError(t, a.right.leases.server.client.FlushAll(t.Context()).Err())
			require.True(t, a.lend(a.off, user, 0))
			require.Equal(t, 1, a.counted(a.right, user, 5*time.Second))
			require.Zero(t, a.counted(a.right, user, 31*time.Second))
			require.False(t, a.open(a.right, user))

			// A place of its own that nobody renews, to the database.
			user = "cleo"
			a.takes(a.off, user, 0, 30*time.Second)
			a.keep(a.right, user)
			require.Equal(t, 1, a.counted(a.right, user, 5*time.Second))
			require.Zero(t, a.counted(a.right, user, 31*time.Second))

			// A place that expired before it moved stays so.
			user = "expired"
			granted, _, err := a.right.Store.AcquireLease(t.Context(), policy.Lease{User: user, Plan: "gold", Node: "n", Session: "old",
				At: time.Now().Add(-time.Minute), Until: time.Now().Add(-time.Second)}, 1, policy.OnLimitReject)
			require.NoError(t, err)
			require.True(t, granted)
			a.lend(a.off, user, 0)
			require.True(t, a.open(a.right, user))
		})
	}
}

package redis

import (
	"context"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store/postgres"
	"authhook/internal/store/storetest"
)

// placesOver is a database whose places are given out over a Redis.
type placesOver struct {
	*postgres.Store
	leases *Leases
}

func (p *placesOver) AcquireLease(ctx context.Context, l policy.Lease, limit int, onLimit policy.OnLimit) (bool, []policy.KickedSession, error) {
	return p.leases.AcquireLease(ctx, l, limit, onLimit)
}

func (p *placesOver) CountLeases(ctx context.Context, user, plan, exceptNode, exceptSession string, at time.Time) (int, error) {
	return p.leases.CountLeases(ctx, user, plan, exceptNode, exceptSession, at)
}

func (p *placesOver) RenewLeases(ctx context.Context, node string, places []policy.Place, until time.Time) ([]string, error) {
	return p.leases.RenewLeases(ctx, node, places, until)
}

func (p *placesOver) WriteSessions(ctx context.Context, sessions []policy.Session) error {
	return p.leases.WriteSessions(ctx, sessions)
}

func (p *placesOver) PruneLeases(ctx context.Context, before time.Time) (int64, error) {
	return p.leases.PruneLeases(ctx, before)
}

func (p *placesOver) by(what placing) float64 { return count(p.leases.metrics.places[what]) }

// newPlaces opens a database, migrated, with its places over a Redis that answers and whose calls may take their time.
func newPlaces(t testing.TB, url string, client goredis.UniversalClient, timeout time.Duration) *placesOver {
	t.Helper()
	db, err := postgres.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	require.NoError(t, db.Migrate(t.Context()))
	p := &placesOver{Store: db, leases: NewLeases(db, client, LeaseOptions{Timeout: timeout})}
	t.Cleanup(p.leases.Close)
	p.leases.server.probe(t.Context())
	return p
}

// What the database promises of places, it promises with Redis before it too.
func TestLeasesConform(t *testing.T) {
	t.Parallel()
	client := opened(t, newBox(t).url())
	var alone, racing []*placesOver
	storetest.RunLeases(t, func(t testing.TB) storetest.Open {
		require.NoError(t, client.FlushAll(t.Context()).Err())
		url := storetest.PostgresSchema(t)
		return func(t testing.TB, now func() time.Time) storetest.Store {
			db, err := postgres.Open(t.Context(), url)
			require.NoError(t, err)
			db.SetClock(now)
			p := &placesOver{Store: db, leases: NewLeases(db, client, LeaseOptions{Timeout: patience})}
			p.leases.now, p.leases.madeUp = now, true
			t.Cleanup(p.leases.Close)
			p.leases.server.probe(t.Context())
			if strings.Contains(t.Name(), "Race") {
				racing = append(racing, p)
			} else {
				alone = append(alone, p)
			}
			return p
		}
	})
	of := func(all []*placesOver) map[placing]float64 {
		by := map[placing]float64{}
		for _, p := range all {
			for _, what := range []placing{placed, atDatabase, unanswered, void, begun} {
				by[what] += p.by(what)
			}
		}
		t.Log(by)
		return by
	}
	by := of(alone)
	require.Positive(t, by[placed])
	require.Zero(t, by[unanswered]+by[atDatabase]+by[void], "Redis decided about every one")
	by = of(racing) // where a hundred want a place at once, one may be void as often as it is tried
	require.Positive(t, by[placed])
	require.Zero(t, by[unanswered])
}

package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/mist"
	"authhook/internal/mist/misttest"
	"authhook/internal/store/postgres"
	"authhook/internal/store/redis"
	"authhook/internal/store/storetest"
)

// A service that is told of changes need not wait until it reads the feed by itself: by PostgreSQL's notifications, and through
// Redis, here over a database that tells nobody anything.
func TestAServiceReadsTheFeedWhenItIsTold(t *testing.T) {
	t.Run("by PostgreSQL", func(t *testing.T) {
		db := storetest.PostgresSchema(t)
		s := serveForTest(t, "--database-url", db)
		s.waitLog(t, "listening for changes by others")
		s.readsWhenTold(t, func(int64) { storetest.PostgresExec(t, db, `NOTIFY authhook_changes`) })
		assert.Zero(t, s.stop(), s.log.String())
	})
	t.Run("through Redis", func(t *testing.T) {
		box := newRedis(t) // others tell each other of their changes through the shared one
		s := serveForTest(t, "--database-url", emptyDatabase(t), "--redis-url", box.url)
		other := redis.NewHint(redisClient(t, box.url), redis.HintOptions{})
		defer other.Close()
		s.readsWhenTold(t, func(n int64) { other.Publish(t.Context(), n) })
		assert.Zero(t, s.stop(), s.log.String())
	})
}

// readsWhenTold tells a service of changes until it has several times read the feed twice within less time than it waits by itself.
func (s *served) readsWhenTold(t *testing.T, tell func(number int64)) {
	t.Helper()
	const byItself, often = 200 * time.Millisecond, 5
	type read struct{ earliest, latest time.Time } // between these was the last one
	look := func() read {
		before := time.Now()
		behind, err := strconv.ParseFloat(s.counted(t, "authhook_changes_behind_seconds"), 64)
		require.NoError(t, err)
		ago := time.Duration(behind * float64(time.Second))
		return read{before.Add(-ago), time.Now().Add(-ago)}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	last := look()
	for n, soon := int64(1), 0; soon < often; n++ {
		require.NoError(t, ctx.Err(), "it reads the feed as if it had not been told")
		tell(n)
		if now := look(); now.earliest.After(last.latest) {
			if now.latest.Sub(last.earliest) < byItself-10*time.Millisecond {
				soon++
			}
			last = now
		}
	}
}

// A session that loses its place to one elsewhere is cut when the feed tells, and not only when the places of its node are renewed:
// then two of them would be cut no sooner one after the other.
func TestAServiceIsToldOfAPlaceThatIsLost(t *testing.T) {
	const renewed = 10 * time.Second
	m, guard := guarded(t, "edge-1")
	m.AddStream("live+fight")
	args := []string{"--database-url", storetest.PostgresSchema(t), "--catalog", write(t, "catalog.yaml", fleetCatalog), "--admin-token", adminToken}
	here := serveForTest(t, append(args, "--mist", "edge-1="+m.UDPURL())...)
	guard(here)
	elsewhere := serveForTest(t, append(args, "--node", "edge-2")...)
	key := here.member(t, "anna")
	_, err := here.api(t, adminToken).AddEntitlementWithResponse(t.Context(), "anna", client.EntitlementRequest{Plan: "newest"})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var last time.Time
	for n := byte(1); ; n++ {
		p := m.Connect(misttest.Viewer{Stream: "live+fight", Token: key, Address: netip.AddrFrom4([4]byte{10, 0, 0, n})})
		require.NoError(t, p.Wait(ctx, misttest.Watching))
		lines := strings.Split(recordedWithKey(t, "live+fight", key), "\n")
		address := netip.AddrFrom4([4]byte{192, 0, 2, n})
		lines[1], lines[5] = address.String(), mist.SessionID(mist.DefaultSessionMode, lines[0], address, key, lines[3])
		require.Equal(t, "true", elsewhere.ask(t, "USER_NEW", fmt.Sprint("uuid-", n), strings.Join(lines, "\n")))
		require.NoError(t, p.Wait(ctx, misttest.Ended), "cut only when places are renewed")
		if now := time.Now(); now.Sub(last) < renewed-2*time.Second { // which MistServer may take for either
			break
		} else {
			last = now
		}
	}
	assert.Zero(t, here.stop(), here.log.String())
	assert.Zero(t, elsewhere.stop(), elsewhere.log.String())
}

// A service that missed changes, which are in the feed no more when it can read it again, reads everything anew.
func TestAServiceThatMissedChangesReadsEverythingAnew(t *testing.T) {
	url := storetest.PostgresSchema(t)
	proxy, through := storetest.NewProxy(t, url)
	s := serveForTest(t, "--database-url", through, "--admin-token", adminToken, "--catalog", write(t, "catalog.yaml", theatre),
		"--facts-fresh", "1h", "--facts-stale", "1h")
	key := s.member(t, "anna")
	made, err := s.api(t, adminToken).AddEntitlementWithResponse(t.Context(), "anna", client.EntitlementRequest{Plan: "gold"})
	require.NoError(t, err)
	changed := time.Now()
	require.Eventually(t, func() bool { // what is read from now on stays in memory
		since := time.Since(changed)
		behind, err := strconv.ParseFloat(s.counted(t, "authhook_changes_behind_seconds"), 64)
		return err == nil && behind >= 0 && time.Duration(behind*float64(time.Second)) < since
	}, 30*time.Second, 10*time.Millisecond)
	asked := 0
	ask := func() string {
		asked++
		return s.ask(t, "USER_NEW", fmt.Sprint("uuid-", asked), recordedWithKey(t, "movie", key))
	}
	require.Equal(t, "true", ask())

	proxy.Down()
	db, err := postgres.Open(t.Context(), url)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, db.RemoveEntitlement(t.Context(), "anna", made.JSON201.ID))
	_, err = db.PruneChanges(t.Context(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, "true", ask(), "nobody could tell")
	proxy.Up()
	require.Eventually(t, func() bool { return ask() == "false" }, 30*time.Second, 10*time.Millisecond)
	assert.Zero(t, s.stop(), s.log.String())
}

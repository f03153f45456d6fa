package main

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/credential"
	"authhook/internal/mist"
	"authhook/internal/store/storetest"
)

// testRedis is a Redis to test with.
func testRedis(t *testing.T) string {
	t.Helper()
	url := os.Getenv("AUTHHOOK_TEST_REDIS")
	if url == "" {
		t.Fatal("AUTHHOOK_TEST_REDIS is not set: run `make test`, which starts a throwaway Redis")
	}
	return url
}

// Two services over one PostgreSQL and one Redis: both go by way of it, and what is changed by way of one holds for the other.
func TestServicesOverOneRedis(t *testing.T) {
	db, redis := storetest.PostgresSchema(t), testRedis(t)
	args := []string{"--database-url", db, "--redis-url", redis, "--admin-token", adminToken, "--catalog", write(t, "catalog.yaml", theatre)}
	one, two := serveForTest(t, args...), serveForTest(t, args...)
	const user = "of these services alone" // others may test with the same Redis
	key := one.member(t, user)
	api := one.api(t, adminToken)
	made, err := api.AddEntitlementWithResponse(t.Context(), user, client.EntitlementRequest{Plan: "gold"})
	require.NoError(t, err)

	asked := 0
	allowed := func(s *served) bool {
		asked++
		return s.ask(t, "USER_NEW", fmt.Sprint("uuid-", asked), recordedWithKey(t, "movie", key)) == "true"
	}
	require.True(t, allowed(one))
	require.True(t, allowed(two))
	for _, s := range []*served{one, two} { // whatever it found: how much is shared is told in package redis
		looked := 0
		for _, answer := range []string{"hit", "miss", "outdated", "unverified", "unreadable", "not_asked"} {
			n, err := strconv.Atoi(s.counted(t, `authhook_redis_facts_total{answer="`+answer+`"}`))
			require.NoError(t, err)
			looked += n
		}
		require.NotZero(t, looked, "it goes by way of Redis")
	}
	_, err = api.RemoveEntitlementWithResponse(t.Context(), user, made.JSON201.ID)
	require.NoError(t, err)
	assert.False(t, allowed(one), "at once where it was changed")
	require.Eventually(t, func() bool { return !allowed(two) }, 10*time.Second, 5*time.Millisecond, "and at the other")
	assert.Zero(t, one.stop(), one.log.String())
	assert.Zero(t, two.stop(), two.log.String())
}

// Two services over one PostgreSQL and one Redis give out the places of a plan together: of many devices at both as many are let in
// as it permits, and the next one once an earlier is gone.
func TestServicesGiveOutPlacesOverRedis(t *testing.T) {
	args := []string{"--database-url", storetest.PostgresSchema(t), "--redis-url", testRedis(t), "--admin-token", adminToken,
		"--catalog", write(t, "catalog.yaml", fleetCatalog)}
	services := []*served{serveForTest(t, args...), serveForTest(t, args...)}
	const user = "of these places alone" // others may test with the same Redis
	key := services[0].member(t, user)
	_, err := services[0].api(t, adminToken).AddEntitlementWithResponse(t.Context(), user, client.EntitlementRequest{Plan: "first"})
	require.NoError(t, err)
	for _, s := range services { // Redis is asked once a probe has found it
		tries := 0
		require.Eventually(t, func() bool {
			tries++
			s.ask(t, "USER_NEW", fmt.Sprint("stranger ", tries), recordedWithKey(t, "live+fight", credential.NewKey()))
			return s.counted(t, "authhook_redis_open") == "0"
		}, 30*time.Second, 10*time.Millisecond)
	}

	device := func(i int) string {
		lines := strings.Split(recordedWithKey(t, "live+fight", key), "\n")
		address := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		lines[1] = address.String()
		lines[5] = mist.SessionID(mist.DefaultSessionMode, lines[0], address, key, lines[3])
		return strings.Join(lines, "\n")
	}
	var in atomic.Int64
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if services[i%2].ask(t, "USER_NEW", fmt.Sprint("device ", i), device(i)) == "true" {
				in.Add(1)
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, 1, in.Load(), "the plan permits one")
	decided := 0
	for _, s := range services {
		n, err := strconv.Atoi(s.counted(t, `authhook_redis_places_total{by="redis"}`))
		require.NoError(t, err)
		decided += n
	}
	assert.NotZero(t, decided, "by way of Redis")
	for _, s := range services {
		assert.Zero(t, s.stop(), s.log.String())
	}
}

// A service says in Redis that something changed, and listens for what others say there.
func TestAServiceTellsOfChangesThroughRedis(t *testing.T) {
	redis := newRedis(t) // of its own: others would be heard in the one that tests share
	s := serveForTest(t, "--database-url", emptyDatabase(t), "--redis-url", redis.url, "--admin-token", adminToken)
	s.waitLog(t, "hints of changes come through Redis")
	heard := redisClient(t, redis.url).Subscribe(t.Context(), "authhook:changes:1")
	defer func() { require.NoError(t, heard.Close()) }()
	_, err := heard.Receive(t.Context())
	require.NoError(t, err)
	told, changed := heard.Channel(), 0
	require.Eventually(t, func() bool { // it tells nobody before it has found Redis
		changed++
		s.member(t, fmt.Sprint("user ", changed))
		select {
		case is := <-told:
			n, err := strconv.Atoi(is.Payload)
			return err == nil && n > 0
		default:
			return false
		}
	}, 30*time.Second, 10*time.Millisecond)
	assert.Zero(t, s.stop(), s.log.String())
}

// A Redis that is not there changes no answer, and nothing waits for it.
func TestAServiceWithoutItsRedis(t *testing.T) {
	s := serveForTest(t, "--database-url", emptyDatabase(t), "--redis-url", "redis://"+storetest.FreeAddress(t), "--admin-token", adminToken,
		"--catalog", write(t, "catalog.yaml", theatre))
	key := s.member(t, "anna")
	require.Equal(t, "false", s.ask(t, "USER_NEW", "uuid-1", recordedWithKey(t, "movie", key)))
	_, err := s.api(t, adminToken).AddEntitlementWithResponse(t.Context(), "anna", client.EntitlementRequest{Plan: "gold"})
	require.NoError(t, err)
	require.Equal(t, "true", s.ask(t, "USER_NEW", "uuid-2", recordedWithKey(t, "movie", key)))
	assert.Zero(t, s.stop(), s.log.String())
}

func TestARedisURLThatIsNone(t *testing.T) {
	_, stderr, code := authhook(t, "serve", "--database-url", emptyDatabase(t), "--redis-url", "secret@nowhere")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "--redis-url")
	assert.NotContains(t, stderr, "secret@")
}

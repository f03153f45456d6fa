package redis

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// All there is to count stands at zero from the start, for facts and hints together.
func TestMetrics(t *testing.T) {
	m := NewMetrics()
	client := opened(t, "unix:///nowhere/redis.sock")
	f := NewFacts(nil, client, Options{Metrics: m})
	h := NewHint(client, HintOptions{Metrics: m})
	r := prometheus.NewPedanticRegistry()
	m.Register(r)
	families, err := r.Gather()
	require.NoError(t, err)
	is := map[string]int{}
	for _, family := range families {
		is[family.GetName()] = len(family.GetMetric())
	}
	require.Equal(t, map[string]int{"authhook_redis_facts_total": len(verdictNames),
		"authhook_redis_previews_total": len(verdictNames), "authhook_redis_writes_total": 5, "authhook_redis_places_total": 5,
		"authhook_redis_errors_total": len(causes), "authhook_redis_open": 1}, is)
	require.EqualValues(t, 1, count(m.open), "until a probe got through")
	f.server.breaker.Probed(false)
	require.EqualValues(t, 1, count(m.open), "one of the two is")
	h.server.breaker.Probed(false)
	require.EqualValues(t, 0, count(m.open))
	f.Close()
	h.Close()
}

package redis

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what becomes of asking Redis. They are shared by [Facts], [Previews] and [Hint].
type Metrics struct {
	asked    map[verdict]prometheus.Counter
	previews map[verdict]prometheus.Counter
	writes   map[outcome]prometheus.Counter
	places   map[placing]prometheus.Counter
	failures map[cause]prometheus.Counter
	open     prometheus.GaugeFunc

	collectors []prometheus.Collector
	servers    []*server
}

var verdictNames = map[verdict]string{
	usable: "hit", missing: "miss", outdated: "outdated", unverified: "unverified", unreadable: "unreadable", unasked: "not_asked",
}

// outcome is what became of a value that was to be written.
type outcome string

const (
	written outcome = "written"
	older   outcome = "older" // a newer one was there
	tooLong outcome = "too_long"
	crowded outcome = "crowded" // too many were waiting
	failed  outcome = "failed"
)

// placing is what became of an ask for a place under a plan's limit.
type placing string

const (
	placed     placing = "redis"      // Redis decided, and the database keeps it
	atDatabase placing = "database"   // the database did: its part was there
	unanswered placing = "unanswered" // the database did: Redis did not answer
	void       placing = "void"       // what Redis decided was of an epoch that is over: it is asked again
	begun      placing = "begun"      // no ask: a part was written to Redis anew
)

// NewMetrics makes Metrics, all at zero.
func NewMetrics() *Metrics {
	asked := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authhook_redis_facts_total",
		Help: "Facts that were looked for in Redis: found (hit), not there (miss), changed since (outdated), as of a moment that this " +
			"process does not know (unverified), of no form that it knows (unreadable), or Redis was not asked (not_asked).",
	}, []string{"answer"})
	previews := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authhook_redis_previews_total",
		Help: "Previews that were looked for in Redis: found (hit), not there (miss), over or yet to come (outdated), as of a moment that " +
			"this process does not know (unverified), of no form that it knows (unreadable), or Redis was not asked (not_asked).",
	}, []string{"answer"})
	writes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authhook_redis_writes_total",
		Help: "Facts and previews that were to be written to Redis, by what became of it.",
	}, []string{"outcome"})
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authhook_redis_errors_total",
		Help: "What Redis failed to do, by cause.",
	}, []string{"cause"})
	places := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authhook_redis_places_total",
		Help: "Asks for a place under a plan's limit, by who decided: Redis (redis), the database as it had the part (database) or as Redis did " +
			"not answer (unanswered), nobody yet as an epoch was over (void); and parts that were written to Redis anew (begun).",
	}, []string{"by"})
	m := &Metrics{
		asked: map[verdict]prometheus.Counter{}, previews: map[verdict]prometheus.Counter{}, writes: map[outcome]prometheus.Counter{},
		places: map[placing]prometheus.Counter{}, failures: map[cause]prometheus.Counter{},
	}
	for v, name := range verdictNames {
		m.asked[v] = asked.WithLabelValues(name)
		m.previews[v] = previews.WithLabelValues(name)
	}
	for _, o := range []outcome{written, older, tooLong, crowded, failed} {
		m.writes[o] = writes.WithLabelValues(string(o))
	}
	for _, p := range []placing{placed, atDatabase, unanswered, void, begun} {
		m.places[p] = places.WithLabelValues(string(p))
	}
	for _, c := range causes {
		m.failures[c] = failures.WithLabelValues(string(c))
	}
	m.open = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "authhook_redis_open",
		Help: "1 while nothing is asked of Redis because it does not answer, else 0.",
	}, m.anyOpen)
	m.collectors = []prometheus.Collector{asked, previews, writes, places, failures, m.open}
	return m
}

// Register registers the metrics, once all that count in them are made.
func (m *Metrics) Register(r prometheus.Registerer) {
	for _, c := range m.collectors {
		r.MustRegister(c)
	}
}

// watch has the metrics tell of a server. It is called before they are registered.
func (m *Metrics) watch(s *server) { m.servers = append(m.servers, s) }

func (m *Metrics) anyOpen() float64 {
	for _, s := range m.servers {
		if s.breaker.Open() {
			return 1
		}
	}
	return 0
}

func (m *Metrics) looked(v verdict) { m.asked[v].Inc() }

// lookedForPreview counts a look for the beginning of a preview.
func (m *Metrics) lookedForPreview(v verdict) { m.previews[v].Inc() }

func (m *Metrics) wrote(o outcome) { m.writes[o].Inc() }

// placed counts what became of an ask for a place.
func (m *Metrics) placed(p placing) { m.places[p].Inc() }
func (m *Metrics) failed(c cause)   { m.failures[c].Inc() }

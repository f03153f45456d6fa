package gate

import (
	"github.com/prometheus/client_golang/prometheus"
)

// calls are one kind of what is asked of a database.
type calls string

const (
	reads  calls = "reads"
	writes calls = "writes"
)

// refusal is why a call was not made.
type refusal string

const (
	away refusal = "away" // the database did not answer lately
	busy refusal = "busy" // too many were before it
)

// Metrics count what is refused.
type Metrics struct {
	refusals   map[calls]map[refusal]prometheus.Counter
	collectors []prometheus.Collector
}

// NewMetrics makes Metrics, all at zero.
func NewMetrics() *Metrics {
	refusals := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authhook_database_refused_total",
		Help: "Reads and writes that decisions wanted of the database and that were not made, as it did not answer lately (away) or too " +
			"many were before it (busy).",
	}, []string{"calls", "cause"})
	m := &Metrics{refusals: map[calls]map[refusal]prometheus.Counter{}, collectors: []prometheus.Collector{refusals}}
	for _, of := range []calls{reads, writes} {
		m.refusals[of] = map[refusal]prometheus.Counter{}
		for _, why := range []refusal{away, busy} {
			m.refusals[of][why] = refusals.WithLabelValues(string(of), string(why))
		}
	}
	return m
}

// Register registers the metrics, once what counts in them is made.
func (m *Metrics) Register(r prometheus.Registerer) {
	for _, c := range m.collectors {
		r.MustRegister(c)
	}
}

// watch has the metrics tell of a gate.
func (m *Metrics) watch(g *gate) {
	m.collectors = append(m.collectors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "authhook_database_open",
		Help:        "1 while decisions ask nothing of the database because it does not answer, else 0.",
		ConstLabels: prometheus.Labels{"calls": string(g.calls)},
	}, func() float64 {
		if g.breaker.Open() {
			return 1
		}
		return 0
	}))
}

func (m *Metrics) refused(of calls, why refusal) { m.refusals[of][why].Inc() }

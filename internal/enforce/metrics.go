package enforce

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"authhook/internal/mist/api"
)

// Metrics count what the enforcer does. No label holds what a stranger or a user chooses; nodes beyond the hundredth are
// "other".
type Metrics struct {
	toSent, toConfirmed map[want]prometheus.Observer
	commands, failed    map[api.Kind]prometheus.Counter
	looks               prometheus.Counter
	undecided           prometheus.Counter
	unrenewed           prometheus.Counter

	collectors []prometheus.Collector
	enforcer   *Enforcer
}

// NewMetrics makes Metrics, all at zero.
func NewMetrics() *Metrics {
	buckets := []float64{.0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2, 3, 5, 10, 30, 60}
	sent := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "authhook_enforce_sent_seconds", Help: "From a change to the command leaving for MistServer, by what is to be done.", Buckets: buckets,
	}, []string{"action"})
	confirmed := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "authhook_enforce_confirmed_seconds", Help: "From a change to its effect being seen on MistServer, by what was done.", Buckets: buckets,
	}, []string{"action"})
	commands := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authhook_mist_commands_total", Help: "Commands that left for MistServer, repetitions not counted.",
	}, []string{"command"})
	failed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authhook_mist_commands_failed_total", Help: "Commands that MistServer did not say it received. Whatever is still wanted is sent again.",
	}, []string{"command"})
	m := &Metrics{
		toSent: map[want]prometheus.Observer{}, toConfirmed: map[want]prometheus.Observer{},
		commands: map[api.Kind]prometheus.Counter{}, failed: map[api.Kind]prometheus.Counter{},
		looks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "authhook_mist_list_errors_total", Help: "Times that a MistServer's sessions could not be listed.",
		}),
		undecided: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "authhook_enforce_undecided_total", Help: "Times that facts could not be read to decide about a session again.",
		}),
		unrenewed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "authhook_places_not_renewed_total", Help: "Places under plans' limits that could not be renewed in time.",
		}),
	}
	for _, w := range []want{revoked, unlocked, bounced, dismissed} {
		m.toSent[w], m.toConfirmed[w] = sent.WithLabelValues(w.String()), confirmed.WithLabelValues(w.String())
	}
	for _, k := range []api.Kind{api.StopSession, api.TagSession, api.InvalidateStream, api.TagStream, api.UntagStream} {
		m.commands[k], m.failed[k] = commands.WithLabelValues(k.String()), failed.WithLabelValues(k.String())
	}
	m.collectors = []prometheus.Collector{sent, confirmed, commands, failed, m.looks, m.undecided, m.unrenewed}
	return m
}

// watch has the metrics tell of an enforcer.
func (m *Metrics) watch(e *Enforcer) { m.enforcer = e }

// Register registers the metrics.
func (m *Metrics) Register(r prometheus.Registerer) {
	for _, c := range m.collectors {
		r.MustRegister(c)
	}
	r.MustRegister(gauges{m})
}

func (m *Metrics) sent(w want, after time.Duration) { m.toSent[w].Observe(max(after, 0).Seconds()) }
func (m *Metrics) confirmed(w want, after time.Duration) {
	m.toConfirmed[w].Observe(max(after, 0).Seconds())
}
func (m *Metrics) command(k api.Kind)     { m.commands[k].Inc() }
func (m *Metrics) undelivered(k api.Kind) { m.failed[k].Inc() }

// gauges are what the enforcer knows at this moment.
type gauges struct{ m *Metrics }

var (
	sessionsDesc = prometheus.NewDesc("authhook_sessions", "Sessions, by node and state: open, denied (remembered), "+
		"unguarded (live, and nobody asked about them), and those that a command is to bring to an end or to be asked again (pending).",
		[]string{"node", "state"}, nil)
	listAgeDesc = prometheus.NewDesc("authhook_mist_list_age_seconds", "How long ago a MistServer's sessions were last listed; "+
		"-1: never.", []string{"node"}, nil)
	waitingDesc = prometheus.NewDesc("authhook_mist_commands_waiting", "Commands that wait to leave for MistServer.", []string{"node"}, nil)
)

// Describe implements prometheus.Collector.
func (gauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- sessionsDesc
	ch <- listAgeDesc
	ch <- waitingDesc
}

// Collect implements prometheus.Collector.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	if g.m.enforcer == nil {
		return
	}
	for _, s := range g.m.enforcer.Nodes() {
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{s.Name}, labels...)...)
		}
		gauge(sessionsDesc, float64(s.Open), "open")
		gauge(sessionsDesc, float64(s.Denied), "denied")
		gauge(sessionsDesc, float64(s.Unguarded), "unguarded")
		gauge(sessionsDesc, float64(s.Pending), "pending")
		if !s.Held {
			continue
		}
		age := -1.0
		if !s.Listed.IsZero() {
			age = time.Since(s.Listed).Seconds()
		}
		gauge(listAgeDesc, age)
		gauge(waitingDesc, float64(s.Waiting))
	}
}

// NodeStatus is what is known of a node.
type NodeStatus struct {
	Name string
	// Held says whether it can be told anything; else it is only heard of.
	Held bool
	// Listed is when its sessions were last listed; Failing that they cannot be now.
	Listed  time.Time
	Failing bool
	// Open and Denied are its sessions; Unguarded are live ones that nobody asked about; Pending wait for a command's effect.
	Open, Denied, Unguarded, Pending int
	// Waiting are the commands that have not left.
	Waiting int
}

// maxShown is how many nodes are shown by name.
const maxShown = 100

// Nodes are the nodes as they are now: those that are held, and of the others a hundred, the rest added up as "other".
func (e *Enforcer) Nodes() []NodeStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []NodeStatus
	other := NodeStatus{Name: "other"}
	for _, n := range e.all {
		s := NodeStatus{
			Name: n.name, Held: n.api != nil, Listed: n.looked, Failing: n.failing, Open: n.open, Denied: n.denied,
			Unguarded: n.unguarded, Pending: n.pending,
		}
		if n.commands != nil {
			s.Waiting = n.commands.Waiting()
		} else if len(list) >= maxShown || s.Name == other.Name {
			other.Open += s.Open
			other.Denied += s.Denied
			continue
		}
		list = append(list, s)
	}
	if other.Open+other.Denied > 0 {
		list = append(list, other)
	}
	return list
}

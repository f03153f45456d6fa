package webhook

import (
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"authhook/internal/mist"
	"authhook/internal/policy"
)

// otherType is the label of a trigger type that nobody knows: its name is a stranger's to choose.
const otherType mist.Type = "other"

// Metrics counts what happens. No label holds anything that a stranger, a user or an operator chooses.
type Metrics struct {
	registry  *prometheus.Registry
	decisions map[mist.Type]*[256]prometheus.Counter // by reason
	triggers  map[mist.Type]prometheus.Counter
	problems  *prometheus.CounterVec
	socket    *prometheus.CounterVec
	repeats   prometheus.Counter
	seconds   prometheus.Histogram
	requests  *prometheus.CounterVec
	billing   *prometheus.CounterVec
	nodes     nodes
}

// maxNodes is how many nodes have a label of their own, and maxNodeName what its length is at most: their names come with
// the triggers.
const maxNodes, maxNodeName = 100, 100

// nodes count what becomes of the sessions of each node.
type nodes struct {
	counts *prometheus.CounterVec
	known  atomic.Pointer[map[string]*sessionCounts] // never changed: a new node makes a new one
	adding sync.Mutex
}

// sessionCounts count the sessions of one node, by what became of them.
type sessionCounts struct{ open, denied, ended prometheus.Counter }

// of are the counts of a node; those of "other" once there are too many.
func (n *nodes) of(name string) *sessionCounts {
	if c := (*n.known.Load())[name]; c != nil {
		return c
	}
	return n.add(name)
}

func (n *nodes) add(name string) *sessionCounts {
	n.adding.Lock()
	defer n.adding.Unlock()
	known := *n.known.Load()
	if c := known[name]; c != nil {
		return c
	}
	if len(known) >= maxNodes || len(name) > maxNodeName || !utf8.ValidString(name) {
		name = string(otherType)
	}
	c := known[name]
	if c == nil {
		c = &sessionCounts{
			open:   n.counts.WithLabelValues(name, string(policy.SessionOpen)),
			denied: n.counts.WithLabelValues(name, string(policy.SessionDenied)),
			ended:  n.counts.WithLabelValues(name, string(policy.SessionEnded)),
		}
		known = maps.Clone(known)
		known[strings.Clone(name)] = c
		n.known.Store(&known)
	}
	return c
}

// NewMetrics makes Metrics, all at zero.
func NewMetrics() *Metrics {
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authhook_decisions_total", Help: "Decisions, by the trigger that asked and the reason.",
	}, []string{"trigger", "reason"})
	triggers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authhook_triggers_total", Help: "Triggers about which nothing is decided, by type.",
	}, []string{"trigger"})
	m := &Metrics{
		registry:  prometheus.NewRegistry(),
		decisions: make(map[mist.Type]*[256]prometheus.Counter),
		triggers:  make(map[mist.Type]prometheus.Counter),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authhook_trigger_problems_total", Help: "Triggers that could not be taken as they came, by type and problem.",
		}, []string{"trigger", "problem"}),
		socket: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authhook_socket_problems_total", Help: "Connections of authhook-trigger that got no answer, by problem.",
		}, []string{"problem"}),
		repeats: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "authhook_repeated_triggers_total", Help: "Triggers that had been asked before, and were answered alike.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "authhook_decision_seconds", Help: "How long decisions took.",
			Buckets: []float64{.000002, .000005, .00001, .00005, .0001, .001, .005, .01, .05, .1, .5, 1, 2, 5},
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authhook_api_requests_total", Help: "Requests to the admin API, by operation and class of the answer's status.",
		}, []string{"operation", "status"}),
		billing: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authhook_billing_requests_total", Help: "Requests to /billing, by provider and the answer's status; names that are no provider's are \"unknown\".",
		}, []string{"provider", "answer"}),
		nodes: nodes{counts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authhook_sessions_total",
			Help: "Sessions that were let in (open), turned away (denied) or over (ended), by node; the 101st node and on are \"other\".",
		}, []string{"node", "state"})},
	}
	m.nodes.known.Store(&map[string]*sessionCounts{})
	gates := []mist.Type{
		mist.TypeUserNew, mist.TypeConnOpen, mist.TypeConnPlay, mist.TypePlayRewrite, mist.TypeStreamPush,
		mist.TypePushRewrite, mist.TypeRTMPPushRewrite,
	}
	for _, t := range gates {
		byReason := new([256]prometheus.Counter)
		for _, r := range policy.Reasons() {
			byReason[r] = decisions.WithLabelValues(string(t), r.String())
		}
		m.decisions[t] = byReason
	}
	for _, t := range mist.Types() {
		if m.decisions[t] == nil {
			m.triggers[t] = triggers.WithLabelValues(string(t))
		}
	}
	m.registry.MustRegister(decisions, triggers, m.problems, m.socket, m.repeats, m.seconds, m.requests, m.billing, m.nodes.counts,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Registry is where other parts register what they count.
func (m *Metrics) Registry() prometheus.Registerer { return m.registry }

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// decided counts a decision, once for each event.
func (m *Metrics) decided(t mist.Type, r policy.Reason, took time.Duration, repeated bool) {
	if repeated {
		m.repeats.Inc()
		return
	}
	m.decisions[t][r].Inc()
	m.seconds.Observe(took.Seconds())
}

// passed counts a trigger about which nothing is decided.
func (m *Metrics) passed(t mist.Type) {
	m.triggers[t].Inc()
}

// problem counts a trigger that could not be taken as it came.
func (m *Metrics) problem(t mist.Type, p Problem) {
	if !mist.Known(t) {
		t = otherType
	}
	m.problems.WithLabelValues(string(t), p.String()).Inc()
}

// socketProblem counts a connection of authhook-trigger that got no answer.
func (m *Metrics) socketProblem(kind string) { m.socket.WithLabelValues(kind).Inc() }

// APIRequest counts a request to the admin API. The operation is one of the contract, or "unknown".
func (m *Metrics) APIRequest(operation string, status int) {
	m.requests.WithLabelValues(operation, strconv.Itoa(status/100)+"xx").Inc()
}

// session counts what became of a session.
func (m *Metrics) session(node string, state policy.SessionState) {
	switch c := m.nodes.of(node); state {
	case policy.SessionOpen:
		c.open.Inc()
	case policy.SessionDenied:
		c.denied.Inc()
	case policy.SessionEnded:
		c.ended.Inc()
	}
}

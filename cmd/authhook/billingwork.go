package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"authhook/internal/billing"
	"authhook/internal/policy"
	"authhook/internal/store"
)

// inbox is where billing events are, as the service and the commands on a database work with it.
type inbox interface {
	billing.Inbox
	billing.Ledger
	eventCounter
}

// eventCounter says how many billing events wait for something, and since when.
type eventCounter interface {
	EventCounts(context.Context) (map[store.EventState]int64, error)
	BillingEvents(context.Context, store.EventFilter) ([]store.BillingEvent, error)
}

// takeBilling makes what takes billing events in, and what makes facts of them.
func (s *service) takeBilling() {
	s.inbox = newInboxMetrics(s.settings.providers.all)
	s.metrics.Registry().MustRegister(s.inbox.events, s.inbox.oldest, s.inbox.became)
	s.applier = billing.NewApplier(s.db, s.settings.providers.all, billing.ApplierOptions{
		Catalog: s.sold, Observe: s.inbox.observe, Now: time.Now, Log: s.log,
		// The follower tells whoever holds sessions, as after all writes, and need not wait for its next look.
		Applied: s.follower.Wake,
	})
	s.receiver = billing.NewReceiver(s.settings.providers.served, s.db, s.applier.Wake, time.Now)
}

// sold is the catalog by which events are applied; nil while none was put in force. Until then what is paid for is not known,
// and events wait.
func (s *service) sold() *policy.Catalog {
	if c := s.decider.Catalog(); c != nil && c.Version > 0 {
		return c
	}
	return nil
}

// otherProvider is the label of a provider that is in the settings no more.
const otherProvider = "other"

// inboxMetrics say how the inbox is. Labels are bounded by the settings.
type inboxMetrics struct {
	events *prometheus.GaugeVec
	oldest prometheus.Gauge
	became *prometheus.CounterVec
	known  map[string]bool
}

func newInboxMetrics(all []billing.Provider) inboxMetrics {
	m := inboxMetrics{
		events: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "authhook_billing_events", Help: "Billing events that are not done with, by state, as they were counted last.",
		}, []string{"state"}),
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "authhook_billing_waiting_seconds", Help: "How long the oldest billing event waits to be applied; 0 when none does.",
		}),
		became: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authhook_billing_applied_total", Help: "What became of billing events here, each time, by provider and state.",
		}, []string{"provider", "state"}),
		known: make(map[string]bool, len(all)),
	}
	for _, p := range all {
		m.known[p.Name()] = true
	}
	return m
}

// observe counts what became of an event.
func (m *inboxMetrics) observe(provider string, state store.EventState) {
	if !m.known[provider] {
		provider = otherProvider
	}
	m.became.WithLabelValues(provider, string(state)).Inc()
}

// countEvery is how often the inbox is counted, so that whoever reads the metrics asks the database for nothing.
const countEvery = 15 * time.Second

// keepCounted counts the inbox until the context ends. What could not be counted stands as it was.
func (s *service) keepCounted(ctx context.Context) {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		if err := s.inbox.count(ctx, s.db, time.Now()); err != nil && ctx.Err() == nil {
			s.log.Warn("the billing events were not counted, will try again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (m *inboxMetrics) count(ctx context.Context, c eventCounter, now time.Time) error {
	counts, err := c.EventCounts(ctx)
	if err != nil {
		return err
	}
	since := now
	for _, state := range []store.EventState{store.EventReceived, store.EventFailed} {
		first, err := c.BillingEvents(ctx, store.EventFilter{State: state, Limit: 1})
		if err != nil {
			return err
		}
		for _, e := range first {
			if waits := waitsSince(e); waits.Before(since) {
				since = waits
			}
		}
	}
	for state, n := range counts {
		m.events.WithLabelValues(string(state)).Set(float64(n))
	}
	m.oldest.Set(now.Sub(since).Seconds())
	return nil
}

// waitsSince is since when an event waits: one that is applied again does since that was asked for.
func waitsSince(e store.BillingEvent) time.Time {
	if e.State == store.EventReceived {
		return e.Next
	}
	return e.Received
}

package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"authhook/internal/mist"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/feed"
	"authhook/internal/webhook"
	"authhook/internal/webhook/admin"
)

// catchUpTime bounds how long the answer to a change waits until the change holds here.
const catchUpTime = 5 * time.Second

// api is the admin API over this service.
func (s *service) api(triggers *webhook.Triggers) (*admin.API, error) {
	var end func(context.Context, string, string) error
	if len(s.mist) > 0 {
		end = s.end
	}
	return admin.New(s.db, s.decider, admin.Options{
		End:   end,
		Token: s.settings.adminToken, Node: s.settings.node, Log: s.log,
		Changed: s.catchUp, Applied: s.catchUpCatalog, Observe: s.metrics.APIRequest,
		TryEvent: s.tryEvent, Replayed: s.applier.Wake,
		Request: func(triggerType, node string, body []byte) (policy.Request, error) {
			return triggers.Request(&webhook.Call{Type: mist.Type(triggerType), Name: node, Body: body})
		},
	})
}

// end has a session ended by whoever holds its node: the entry in the change feed tells them, and this one at once.
func (s *service) end(ctx context.Context, node, id string) error {
	if s.enforcer.Hears(node) {
		return admin.ErrNotHeld
	}
	if err := s.db.EndSession(ctx, node, id); err != nil {
		return err
	}
	_ = s.enforcer.End(node, id) // another's node is theirs to tell
	s.follower.Wake()
	return nil
}

// tryEvent says what a billing event would change if it were applied now.
func (s *service) tryEvent(ctx context.Context, number int64) (*store.BillingEffect, error) {
	if s.sold() == nil {
		return nil, policy.ErrNoCatalog
	}
	return s.applier.Try(ctx, number)
}

// catchUp has every change of facts that was committed before it is called hold for the next decision. It acts on what
// the follower of the change feed has not come to yet, which does it again: that changes nothing.
func (s *service) catchUp(ctx context.Context) {
	defer s.follower.Wake()
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	for after := s.follower.Position(); ; {
		if after == feed.Latest {
			s.lostTrack()
			return
		}
		changes, err := s.db.Changes(ctx, after, store.MaxPage)
		if err != nil {
			s.lostTrack()
			return
		}
		s.reread(changes)
		if len(changes) < store.MaxPage {
			return
		}
		after = changes[len(changes)-1].Number
	}
}

// catchUpCatalog has the catalog that was applied last hold for the next decision.
func (s *service) catchUpCatalog(ctx context.Context) {
	defer s.follower.Wake()
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	if err := s.loadCatalog(ctx); err != nil {
		s.log.Warn("the new catalog is not in force here yet, will try again", "error", err)
		s.wantCatalog()
	}
}

// observe registers what the parts count.
func (s *service) observe() {
	counter := func(name, help string, labels prometheus.Labels, of func() uint64) {
		s.metrics.Registry().MustRegister(prometheus.NewCounterFunc(
			prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 { return float64(of()) }))
	}
	gauge := func(name, help string, labels prometheus.Labels, of func() float64) {
		s.metrics.Registry().MustRegister(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, of))
	}
	const asked = "Times that facts were asked for: answered from memory (hit), from older memory because the database was " +
		"away (stale), or by a load (miss)."
	facts := func(answer string, of func() uint64) {
		counter("authhook_facts_asked_total", asked, prometheus.Labels{"answer": answer}, of)
	}
	facts("hit", func() uint64 { return s.cache.Stats().Hits })
	facts("stale", func() uint64 { return s.cache.Stats().Stale })
	facts("miss", func() uint64 { return s.cache.Stats().Misses })
	counter("authhook_facts_loads_total", "Reads of facts from the database.", nil,
		func() uint64 { return s.cache.Stats().Loads })
	counter("authhook_facts_outdated_total", "Reads of facts that a change overtook.", nil,
		func() uint64 { return s.cache.Stats().Outdated })
	const kept = "Facts kept in memory, by what they are about."
	gauge("authhook_facts_kept", kept, prometheus.Labels{"of": "credential"}, func() float64 { return float64(s.cache.Stats().Credentials) })
	gauge("authhook_facts_kept", kept, prometheus.Labels{"of": "user"}, func() float64 { return float64(s.cache.Stats().Users) })
	gauge("authhook_facts_kept", kept, prometheus.Labels{"of": "nobody"}, func() float64 { return float64(s.cache.Stats().Absent) })

	gauge("authhook_sessions_waiting", "Sessions that wait to be written.", nil, func() float64 {
		waiting, _ := s.enforcer.Writer().Pending()
		return float64(waiting)
	})
	counter("authhook_sessions_dropped_total", "Denied sessions that were not kept while the database was away.", nil, func() uint64 {
		_, dropped := s.enforcer.Writer().Pending()
		return uint64(dropped)
	})
	gauge("authhook_changes_behind_seconds", "Since when changes may not have been seen; -1 while none ever were.", nil, func() float64 {
		if t := s.follower.CaughtUp(); !t.IsZero() {
			return time.Since(t).Seconds()
		}
		return -1
	})

	failed := func(cause string, of func() uint64) {
		counter("authhook_store_errors_total", "What the database failed to do, by what it was.", prometheus.Labels{"cause": cause}, of)
	}
	failed("facts_load", func() uint64 { return s.cache.Stats().LoadErrors })
	failed("facts_crowded", func() uint64 { return s.cache.Stats().Refused })
	failed("change_feed", s.follower.Failures)
	failed("session_write", s.enforcer.Writer().Failures)
	failed("catalog_load", s.catalogFailures.Load)
}

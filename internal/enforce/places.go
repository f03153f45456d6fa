package enforce

import (
	"context"
	"time"

	"authhook/internal/policy"
)

// maxRenewed is how many places are renewed in one call.
const maxRenewed = 1000

// unheardAfter is how long a session runs at most without a word of it, on a node whose list cannot be read: 12 h.
const unheardAfter = 12 * time.Hour

// keepPlaces renews the places of the sessions that run, so that they are free soon after nobody does.
func (e *Enforcer) keepPlaces(ctx context.Context) {
	ticker := time.NewTicker(e.o.RenewEvery)
	defer ticker.Stop()
	for {
		e.renew(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (e *Enforcer) renew(ctx context.Context) {
	catalog := e.decider.Catalog()
	if catalog == nil {
		return
	}
	placed := map[string][]string{}
	e.mu.Lock()
	for _, n := range e.nodes {
		for _, s := range n.sessions {
			if n.api == nil && s.State == policy.SessionOpen && time.Since(s.Decided) > unheardAfter {
				e.vanished(s)
				continue
			}
			if plan := catalog.Plan(s.Plan); s.State == policy.SessionOpen && plan != nil && plan.MaxConcurrent > 0 && s.wants() != revoked {
				placed[n.name] = append(placed[n.name], s.ID)
			}
		}
	}
	e.mu.Unlock()
	for name, ids := range placed {
		for len(ids) > 0 && ctx.Err() == nil {
			part := ids[:min(len(ids), maxRenewed)]
			ids = ids[len(part):]
			e.renewPart(ctx, name, part)
		}
	}
}

// renewPart renews some places of a node. A session that has lost its own may find another, or is revoked.
func (e *Enforcer) renewPart(ctx context.Context, name string, ids []string) {
	now := time.Now()
	until := now.Add(e.o.LeaseFor)
	lost, err := e.store.RenewLeases(ctx, name, ids, until)
	if err != nil {
		if ctx.Err() == nil {
			e.metrics.unrenewed.Add(float64(len(ids)))
			e.log.Warn("places cannot be renewed, will try again", "node", name, "places", len(ids), "error", err)
		}
		return
	}
	gone := make(map[string]bool, len(lost))
	for _, id := range lost {
		gone[id] = true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodes[name]
	if n == nil {
		return
	}
	for _, id := range ids {
		s := n.sessions[id]
		switch {
		case s == nil || s.State != policy.SessionOpen:
		case !gone[id]:
			s.placed = momentOf(until)
		case now.Sub(s.Decided) > time.Second: // its place may still be on its way into the store
			e.reconsiderPlace(s, now)
		}
	}
}

// Kick has a session that lost its place to a newer one looked at, if it is on a node of this enforcer. Whoever holds its
// node learns of it from the change feed.
func (e *Enforcer) Kick(k policy.KickedSession) { e.ChangedSession(k.Node, k.Session) }

// ChangedSession has it looked at whether a session still has its place. A session of others' nodes is none of ours.
func (e *Enforcer) ChangedSession(node, id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodes[node]
	if n == nil {
		return
	}
	now := time.Now()
	n.kicked[id] = now
	if s := n.sessions[id]; s != nil && s.State == policy.SessionOpen {
		e.reconsiderPlace(s, now)
	}
}

func (e *Enforcer) kickedLately(node, id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodes[node]
	if n == nil {
		return false
	}
	at, ok := n.kicked[id]
	return ok && time.Since(at) < e.o.KickedFor
}

// Places are leases for decisions: those of the store, where a session whose place is known to be held need not ask, and
// one that lost its place lately may take nobody else's.
func (e *Enforcer) Places() policy.Leases { return places{e} }

type places struct{ e *Enforcer }

// AcquireLease implements policy.Leases.
func (p places) AcquireLease(ctx context.Context, l policy.Lease, limit int, onLimit policy.OnLimit) (bool, []policy.KickedSession, error) {
	if p.held(&l) {
		return true, nil, nil
	}
	if onLimit == policy.OnLimitKickOldest && p.e.kickedLately(l.Node, l.Session) {
		onLimit = policy.OnLimitReject
	}
	l.Until = l.At.Add(p.e.o.LeaseFor)
	return p.e.store.AcquireLease(ctx, l, limit, onLimit)
}

// held says whether a session's place was renewed so lately that nobody else can have it.
func (p places) held(l *policy.Lease) bool {
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	n := p.e.nodes[l.Node]
	if n == nil {
		return false
	}
	s := n.sessions[l.Session]
	return s != nil && s.State == policy.SessionOpen && s.User == l.User && s.Plan == l.Plan && s.errand == nil && momentOf(l.At).before(s.placed) && s.placed != 0
}

// CountLeases implements policy.Leases.
func (p places) CountLeases(ctx context.Context, user, plan, exceptNode, exceptSession string, at time.Time) (int, error) {
	return p.e.store.CountLeases(ctx, user, plan, exceptNode, exceptSession, at)
}

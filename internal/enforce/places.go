package enforce

import (
	"context"
	"errors"
	"strings"
	"time"

	"authhook/internal/policy"
)

// maxRenewed is how many places are renewed in one call.
const maxRenewed = 10_000

// Renewals that failed are tried again by and by: after renewAgain at first, then after twice as long each time, and never later
// than it is time for the next. Whoever wants a place meanwhile tries no sooner than renewSoon after the last, of all.
const (
	renewAgain = time.Second
	renewSoon  = 100 * time.Millisecond
)

// unheardAfter is how long a session runs at most without a word of it, on a node whose list cannot be read: 12 h.
const unheardAfter = 12 * time.Hour

// keepPlaces renews the places of the sessions that run, so that they are free soon after nobody does.
func (e *Enforcer) keepPlaces(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	for again := renewAgain; ; {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		wait := e.o.RenewEvery
		select {
		case e.renewing <- struct{}{}:
			if e.renew(ctx) == nil { // if not, whoever wants a place meanwhile makes sure of it
				again = renewAgain
			} else {
				wait, again = min(again, wait), min(2*again, wait)
			}
			<-e.renewing
		case <-ctx.Done():
			return
		}
		e.dropUnheard()
		next.Reset(wait)
	}
}

// dropUnheard ends sessions of nodes whose list cannot be read, of which there was no word for long.
func (e *Enforcer) dropUnheard() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.all {
		for _, s := range n.sessions {
			if n.api == nil && s.State == policy.SessionOpen && time.Since(s.Decided) > unheardAfter {
				e.vanished(s)
			}
		}
	}
}

// makeSure renews all places when that is overdue: after an outage of the store, or a start, they may have expired although
// their sessions run, and nobody else is to have them for that. While that fails, one asker at a time waits for it, and the
// others are told at once.
func (e *Enforcer) makeSure(ctx context.Context) error {
	select {
	case <-e.recalled:
	case <-ctx.Done():
		return ctx.Err()
	}
	if !e.overdue() {
		return nil
	}
	asked := time.Now()
	select {
	case e.renewing <- struct{}{}:
	default:
		if err := e.unrenewedSince(time.Time{}); err != nil {
			return err
		}
		select {
		case e.renewing <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { <-e.renewing }()
	if !e.overdue() {
		return nil
	}
	if err := e.unrenewedSince(asked.Add(-renewSoon)); err != nil {
		return err
	}
	return e.renew(ctx)
}

// unrenewedSince is why places could not be renewed, if that was found out at a moment or later; nil once they were.
func (e *Enforcer) unrenewedSince(at time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.unrenewed.at.Before(at) {
		return nil
	}
	return e.unrenewed.err
}

// overdue says whether places may have expired for want of renewing.
func (e *Enforcer) overdue() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Since(e.renewed) > e.o.LeaseFor*2/3
}

// renew renews all places. The caller holds renewing.
func (e *Enforcer) renew(ctx context.Context) error {
	catalog := e.decider.Catalog()
	if catalog == nil {
		return policy.ErrNoCatalog
	}
	began := time.Now()
	placed := map[string][]policy.Place{} // by the name that the store knows the node under
	e.mu.Lock()
	for _, n := range e.all {
		if n.api == nil {
			continue // whether its sessions run nobody can see: their places last as they were given
		}
		for _, s := range n.sessions {
			if plan := catalog.Plan(s.Plan); s.State == policy.SessionOpen && plan != nil && plan.MaxConcurrent > 0 && s.wants() != revoked {
				placed[s.Node] = append(placed[s.Node], policy.Place{User: s.who(), Session: s.ID})
			}
		}
	}
	e.mu.Unlock()
	for name, places := range placed {
		for len(places) > 0 {
			part := places[:min(len(places), maxRenewed)]
			places = places[len(part):]
			if err := e.renewPart(ctx, name, part); err != nil {
				e.couldNotRenew(ctx, began, err)
				return err
			}
		}
	}
	e.mu.Lock()
	e.renewed, e.unrenewed.err = began, nil
	e.mu.Unlock()
	return nil
}

// couldNotRenew takes in that a renewal failed, unless it was merely its asker who had no more time.
func (e *Enforcer) couldNotRenew(ctx context.Context, began time.Time, err error) {
	const enough = 500 * time.Millisecond
	now := time.Now()
	if errors.Is(ctx.Err(), context.Canceled) || ctx.Err() != nil && now.Sub(began) < enough {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unrenewed.at, e.unrenewed.err = now, err
}

// renewPart renews some places of a node. A session that has lost its own may find another, or is revoked.
func (e *Enforcer) renewPart(ctx context.Context, name string, renewed []policy.Place) error {
	now := time.Now()
	until := now.Add(e.o.LeaseFor)
	lost, err := e.store.RenewLeases(ctx, name, renewed, until)
	if err != nil {
		if ctx.Err() == nil {
			e.metrics.unrenewed.Add(float64(len(renewed)))
			e.log.Warn("places cannot be renewed, will try again", "node", name, "places", len(renewed), "error", err)
		}
		return err
	}
	gone := make(map[string]bool, len(lost))
	for _, id := range lost {
		gone[id] = true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodes[name]
	if n == nil {
		return nil
	}
	for _, p := range renewed {
		s := n.sessions[p.Session]
		switch {
		case s == nil || s.State != policy.SessionOpen:
		case !gone[p.Session]:
			s.placed = momentOf(until)
		case now.Sub(s.Decided) > time.Second: // its place may still be on its way into the store
			e.reconsiderPlace(s, now)
		}
	}
	return nil
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

// keepOut has a session that lost its place, and tried for another's, stay without it from now on.
func (e *Enforcer) keepOut(node, id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := e.nodes[node]; n != nil {
		n.kicked[strings.Clone(id)] = time.Now() // which may be part of a whole payload
	}
}

// mayKick says whether a session may take another's place: none that lost its own to a newer one. It need not have been told:
// a session that is known to run under the plan had a place, and whoever has it by now took it while nobody was here.
func (e *Enforcer) mayKick(l *policy.Lease) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodes[l.Node]
	if n == nil {
		return true
	}
	if s := n.sessions[l.Session]; s != nil && s.State == policy.SessionOpen && s.User == l.User && s.Plan == l.Plan {
		return false
	}
	at, ok := n.kicked[l.Session]
	return !ok || time.Since(at) >= e.o.KickedFor
}

// Places are leases for decisions: those of the store, where a session whose place is known to be held need not ask, and
// one that lost its place lately may take nobody else's.
func (e *Enforcer) Places() policy.Leases { return places{e} }

type places struct{ e *Enforcer }

// AcquireLease implements policy.Leases.
func (p places) AcquireLease(ctx context.Context, l policy.Lease, limit int, onLimit policy.OnLimit) (bool, []policy.KickedSession, error) {
	held, seen := p.held(&l)
	if held {
		return true, nil, nil
	}
	if err := p.e.makeSure(ctx); err != nil {
		return false, nil, err
	}
	kicked := onLimit == policy.OnLimitKickOldest && !p.e.mayKick(&l)
	if kicked {
		onLimit = policy.OnLimitReject
	}
	if seen { // it is renewed as long as the node lists the session
		l.Until = l.At.Add(p.e.o.LeaseFor)
	}
	granted, others, err := p.e.store.AcquireLease(ctx, l, limit, onLimit)
	if kicked && err == nil && !granted {
		p.e.keepOut(l.Node, l.Session)
	}
	return granted, others, err
}

// held says whether a session's place was renewed so lately that nobody else can have it, and whether its node's list is
// seen here.
func (p places) held(l *policy.Lease) (held, seen bool) {
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	n := p.e.nodes[l.Node]
	if n == nil {
		return false, p.e.unnamed != nil
	}
	s := n.sessions[l.Session]
	return s != nil && s.State == policy.SessionOpen && s.User == l.User && s.Plan == l.Plan && s.errand == nil && !s.placeDue &&
		s.placed != 0 && momentOf(l.At) < s.placed, n.api != nil
}

// CountLeases implements policy.Leases.
func (p places) CountLeases(ctx context.Context, user, plan, exceptNode, exceptSession string, at time.Time) (int, error) {
	return p.e.store.CountLeases(ctx, user, plan, exceptNode, exceptSession, at)
}

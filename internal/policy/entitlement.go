package policy

import (
	"net/netip"
	"slices"
	"time"
)

// entitled decides what the entitlements of the user come to: the stream is covered by one in force, by one in its
// grace, by a preview, or not at all.
func (q *question) entitled() bool {
	best, exhausted := q.covering()
	if best.entitlement != nil {
		reason := Entitled
		if best.standing == inGrace {
			reason = Grace
		}
		if q.explaining {
			e := best.entitlement
			q.find("%s of %s covers it until %s", e.ID, e.Source, describeTime(best.until(), "ever"))
			if best.plan != nil && best.plan.QuotaMinutes > 0 {
				q.detail += "; " + q.describeUse(best.plan)
			}
		}
		if best.plan != nil {
			q.decision.Plan = best.plan.Key
			q.decision.MaxConcurrent, q.decision.OnLimit = best.plan.MaxConcurrent, best.plan.OnLimit
		}
		return q.allow(reason)
	}
	if exhausted != nil {
		if q.explaining {
			q.find("%s", q.describeUse(exhausted))
		}
		q.decision.Plan = exhausted.Key
		return q.deny(QuotaExhausted)
	}
	if q.preview() {
		return true
	}
	return q.deny(q.notCovered())
}

// standing says where an entitlement stands at a moment.
type standing uint8

const (
	notYet standing = iota
	over
	inGrace
	inForce
)

// cover is an entitlement that covers the stream, and how.
type cover struct {
	entitlement *Entitlement
	plan        *Plan // nil for a stream's or a tag's
	standing    standing
}

// until is when the cover ends.
func (c *cover) until() time.Time {
	if c.standing == inGrace {
		return c.entitlement.GraceFrom.Add(time.Duration(c.plan.Grace))
	}
	return c.entitlement.Until
}

// better says whether c is to be preferred: in force over in grace, the right to a stream or tag over a plan (it takes no
// place under the plan's limits), then the higher rank.
func (c *cover) better(than *cover) bool {
	if c.standing != than.standing {
		return c.standing > than.standing
	}
	if (c.plan == nil) != (than.plan == nil) {
		return c.plan == nil
	}
	return c.plan.rank() > than.plan.rank()
}

func (p *Plan) rank() int {
	if p == nil {
		return 0
	}
	return p.Rank
}

// covering finds the best entitlement that covers the stream now. When there is none but for its plan's quota, the plan
// is returned.
func (q *question) covering() (best cover, exhausted *Plan) {
	for i := range q.f.User.Entitlements {
		e := &q.f.User.Entitlements[i]
		covers, plan := q.covers(e)
		if !covers {
			continue
		}
		c := cover{e, plan, e.standing(plan, q.at)}
		if c.standing < inGrace {
			continue
		}
		if q.quotaExhausted(plan) {
			exhausted = plan
			continue
		}
		if best.entitlement == nil || c.better(&best) {
			best = c
		}
	}
	return best, exhausted
}

// covers says whether an entitlement is for this stream, whenever it is in force, and under which plan.
func (q *question) covers(e *Entitlement) (bool, *Plan) {
	switch {
	case e.Plan != "":
		plan := q.f.Catalog.Plan(e.Plan)
		return plan != nil && slices.Contains(q.stream.Plans, e.Plan), plan
	case e.Stream != "":
		return MatchStream(e.Stream, q.r.Stream), nil
	default:
		return slices.Contains(q.stream.Tags, e.Tag), nil
	}
}

// standing is where the entitlement stands at a moment. Grace runs from the failed renewal, after the time paid for.
func (e *Entitlement) standing(plan *Plan, at time.Time) standing {
	switch {
	case !e.From.IsZero() && at.Before(e.From):
		return notYet
	case within(at, e.From, e.Until):
		return inForce
	case plan != nil && !e.GraceFrom.IsZero() && at.Before(e.GraceFrom.Add(time.Duration(plan.Grace))):
		return inGrace
	default:
		return over
	}
}

// notCovered is why no entitlement covers the stream: one is still to come, one has ended, or there never was one.
func (q *question) notCovered() Reason {
	reason := PaymentRequired
	for i := range q.f.User.Entitlements {
		e := &q.f.User.Entitlements[i]
		covers, plan := q.covers(e)
		if !covers {
			continue
		}
		if e.standing(plan, q.at) == notYet {
			if q.explaining {
				q.find("%s begins at %s", e.ID, describeTime(e.From, ""))
			}
			return EntitlementNotStarted
		}
		if q.explaining {
			q.find("%s ended at %s", e.ID, describeTime(e.Until, ""))
		}
		reason = EntitlementExpired
	}
	if q.explaining && reason == PaymentRequired {
		q.find("none of the user's %d entitlements covers the stream", len(q.f.User.Entitlements))
	}
	return reason
}

// preview allows a viewer whom nothing entitles while the stream's preview runs. While none has begun it leaves word
// that one may.
func (q *question) preview() bool {
	s := q.stream
	if s.Preview == 0 || q.access != AccessEntitled || q.r.Action != Watch {
		return false
	}
	began := q.f.PreviewFrom
	if began.IsZero() || !q.at.Before(began.Add(s.previewEvery())) {
		q.decision.MayPreview = true
		return false
	}
	if q.at.Before(began.Add(time.Duration(s.Preview))) {
		if q.explaining {
			q.find("a preview of %s runs since %s", s.Preview, describeTime(began, ""))
		}
		return q.allow(Preview)
	}
	return false
}

// previewEvery is how long after the beginning of a preview the next may begin.
func (s *StreamPolicy) previewEvery() time.Duration {
	if s.PreviewEvery == 0 {
		return max(24*time.Hour, time.Duration(s.Preview))
	}
	return max(time.Duration(s.PreviewEvery), time.Duration(s.Preview))
}

// previewer is whom a preview is counted for: the user, or where nobody is known, the address. An IPv6 viewer has a whole
// /64 to choose addresses from, so that is what is counted.
func previewer(r *Request, f *Facts) string {
	if f.User != nil && f.User.Status != "" {
		return "user:" + f.User.User
	}
	a := r.Address.Unmap()
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return "address:" + p.String()
		}
	}
	return "address:" + netip.Addr(a).String()
}

// bestPlan is the user's plan of the highest rank that is in force or in grace now, among those that have an entry in
// `of`, or among all when that is nil.
func (q *question) bestPlan(of map[string]string) *Plan {
	var best *Plan
	for i := range q.f.User.Entitlements {
		e := &q.f.User.Entitlements[i]
		if e.Plan == "" {
			continue
		}
		if _, ok := of[e.Plan]; of != nil && !ok {
			continue
		}
		plan := q.f.Catalog.Plan(e.Plan)
		if plan == nil || e.standing(plan, q.at) < inGrace {
			continue
		}
		if best == nil || plan.Rank > best.Rank {
			best = plan
		}
	}
	return best
}

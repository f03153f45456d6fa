package policy

import "time"

// maxBoundaries bounds the moments that are tried for the next change of an answer. Beyond it the next boundary is
// reported, whatever it brings: early is safe, late is not.
const maxBoundaries = 64

// nextChange is the first moment after q.at at which the answer is not d any more; zero when there is none. It walks
// the boundaries of the facts in order and judges anew at each, so it holds for every rule there is, and for those to
// come as long as [question.nextBoundary] knows their times.
func (q *question) nextChange(d *Decision) time.Time {
	at := q.at
	defer func() { q.at = at }()
	q.quotasUntil = q.quotasMatterUntil()
	for range maxBoundaries {
		next, ofQuota := q.nextBoundary()
		if next.IsZero() {
			return next
		}
		q.at = next
		if !ofQuota {
			q.quotasUntil = q.quotasMatterUntil()
		}
		if then := q.judge(); !then.sameAnswer(d) {
			return next
		}
	}
	return q.at
}

// nextBoundary is the earliest moment after q.at at which any fact changes by the clock; zero when there is none. ofQuota
// says that only a quota changes then, or a month turns for one.
func (q *question) nextBoundary() (next time.Time, ofQuota bool) {
	consider := func(t time.Time) {
		if t.After(q.at) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if s := q.stream; s != nil {
		for i := range s.Windows {
			consider(s.Windows[i].From)
			consider(s.Windows[i].Until)
		}
		if began := q.f.PreviewFrom; !began.IsZero() && s.Preview > 0 {
			consider(began.Add(time.Duration(s.Preview)))
			consider(began.Add(s.previewEvery()))
		}
	}
	if c := q.f.Credential; c != nil {
		consider(c.From)
		consider(c.Until)
	}
	u := q.f.User
	if u == nil {
		return next, false
	}
	var quotas time.Time
	for i := range u.Entitlements {
		e := &u.Entitlements[i]
		consider(e.From)
		consider(e.Until)
		if plan := q.f.Catalog.Plan(e.Plan); plan != nil {
			if !e.GraceFrom.IsZero() {
				consider(e.GraceFrom.Add(time.Duration(plan.Grace)))
			}
			if plan.QuotaMinutes > 0 { // facts read just after the month turned are of a month to come
				consider(u.UsedMonth)
				consider(monthAfter(monthOf(u.UsedMonth)))
				if t := q.quotaBoundary(plan); !t.IsZero() && (quotas.IsZero() || t.Before(quotas)) {
					quotas = t
				}
			}
		}
	}
	if !quotas.IsZero() && (next.IsZero() || quotas.Before(next)) {
		return quotas, true
	}
	return next, false
}

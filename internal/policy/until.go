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
	for range maxBoundaries {
		next := q.nextBoundary()
		if next.IsZero() {
			return next
		}
		q.at = next
		if then := q.judge(); !then.sameAnswer(d) {
			return next
		}
	}
	return q.at
}

// nextBoundary is the earliest moment after q.at at which any fact changes by the clock; zero when there is none.
func (q *question) nextBoundary() time.Time {
	var next time.Time
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
	if q.f.User == nil {
		return next
	}
	for i := range q.f.User.Entitlements {
		e := &q.f.User.Entitlements[i]
		consider(e.From)
		consider(e.Until)
		if plan := q.f.Catalog.Plan(e.Plan); plan != nil {
			if !e.GraceFrom.IsZero() {
				consider(e.GraceFrom.Add(time.Duration(plan.Grace)))
			}
			if plan.QuotaMinutes > 0 { // facts read just after the month turned are of a month to come
				consider(q.f.User.UsedMonth)
				consider(monthOf(q.f.User.UsedMonth).AddDate(0, 1, 0))
			}
		}
	}
	return next
}

// monthOf is the first moment of t's month, in UTC.
func monthOf(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

package policy

import (
	"fmt"
	"math"
	"time"
)

// quota is how much may be watched a month under the plan. It is asked of plans that have one.
func (p *Plan) quota() time.Duration {
	return time.Duration(min(int64(p.QuotaMinutes), math.MaxInt64/int64(time.Minute))) * time.Minute
}

// counted is what counts in a month, given by its first moment: what is over, and since when on average how many run.
// Sessions that run when a month turns run on in the next, and count there from its beginning. Of a month before that of
// the facts nothing is known.
func (u *UserFacts) counted(month time.Time) (used time.Duration, running int, from time.Time) {
	switch month.Compare(u.UsedMonth) {
	case -1:
		return 0, 0, time.Time{}
	case 0:
		return max(u.Used, 0), u.Running, u.RunningFrom
	default:
		return 0, u.Running, month
	}
}

// usedUp is the moment in a month, given by its first, from which on a quota is used up, if the sessions that run now run
// on: several use it up several times as fast. It is the month's first moment where the quota was used up by sessions that
// are over, and zero where it lasts for the month.
func (u *UserFacts) usedUp(quota time.Duration, month time.Time) time.Time {
	used, running, from := u.counted(month)
	left := quota - used
	switch {
	case left <= 0:
		return month
	case running <= 0:
		return time.Time{}
	}
	each := left / time.Duration(running)
	if left%time.Duration(running) > 0 {
		each++
	}
	at := from.Add(each)
	if !at.Before(monthAfter(month)) {
		return time.Time{}
	}
	return at
}

// usedAt is what of this month's quotas is used at a moment, and how many running sessions are in it.
func (u *UserFacts) usedAt(at time.Time) (used time.Duration, running int) {
	used, running, from := u.counted(monthOf(at))
	each := max(at.Sub(from), 0)
	if running > 0 && each > (math.MaxInt64-used)/time.Duration(running) {
		return math.MaxInt64, running
	}
	return used + each*time.Duration(running), running
}

// quotaExhausted says whether a plan's quota of this month is used up.
func (q *question) quotaExhausted(p *Plan) bool {
	switch {
	case p == nil || p.QuotaMinutes <= 0:
		return false
	case q.suppose != asCounted:
		return q.suppose == allUsed
	}
	since := q.f.User.usedUp(p.quota(), monthOf(q.at))
	return !since.IsZero() && !q.at.Before(since)
}

// quotaBoundary is when the sessions that run will have used up a plan's quota, or where that does not come first, when the
// month turns; zero when neither matters.
func (q *question) quotaBoundary(p *Plan) time.Time {
	if q.quotasUntil.IsZero() {
		return time.Time{}
	}
	month := monthOf(q.at)
	if t := q.f.User.usedUp(p.quota(), month); t.After(q.at) {
		return t
	}
	if next := monthAfter(month); next.Before(q.quotasUntil) {
		return next
	}
	return time.Time{}
}

// quotasMatterUntil is up to when it is of interest at which moments running sessions use up quotas, where no other fact
// changes after q.at; zero when the answer does not depend on quotas. Sessions that run for ever use up a quota in every
// month anew: this month and the next show all that will ever be, as one of two has 31 days.
func (q *question) quotasMatterUntil() time.Time {
	if q.f.User == nil || q.f.User.Running <= 0 {
		return time.Time{}
	}
	q.suppose = nothingUsed
	nothing := *q.judge()
	q.suppose = allUsed
	all := q.judge()
	q.suppose = asCounted
	if all.sameAnswer(&nothing) {
		return time.Time{}
	}
	return monthOf(q.at).AddDate(0, 2, 0)
}

// supposed is how far the quotas are supposed to be used up.
type supposed uint8

const (
	asCounted supposed = iota
	nothingUsed
	allUsed
)

// describeUse says how much of a plan's quota is used.
func (q *question) describeUse(p *Plan) string {
	used, running := q.f.User.usedAt(q.at)
	text := fmt.Sprintf("%s of the %d minutes of plan %s are used this month", used.Truncate(time.Second), p.QuotaMinutes, p.Key)
	if running > 0 {
		text += fmt.Sprintf(", %d running sessions included", running)
	}
	return text
}

// metered says whether a quota can concern what the user watches: one of the plans that the user has, or will have, has one.
func (q *question) metered() bool {
	if q.f.User == nil || !q.r.Action.byViewer() {
		return false
	}
	for i := range q.f.User.Entitlements {
		e := &q.f.User.Entitlements[i]
		if e.Plan == "" {
			continue
		}
		if plan := q.f.Catalog.Plan(e.Plan); plan != nil && plan.QuotaMinutes > 0 && e.standing(plan, q.at) != over {
			return true
		}
	}
	return false
}

// monthOf is the first moment of t's month, in UTC.
func monthOf(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// monthAfter is the first moment of the month after the one that begins at a moment.
func monthAfter(month time.Time) time.Time { return month.AddDate(0, 1, 0) }

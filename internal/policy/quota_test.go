package policy

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// What is used is what is over and what runs: the walk goes second by second, over the turn of a month, and adds up what
// each session has come to.
func TestAQuotaAgainstTheWalk(t *testing.T) {
	turn := nextMonth
	rapid.Check(t, func(t *rapid.T) {
		begin := turn.Add(-time.Duration(rapid.IntRange(1, 900).Draw(t, "before the turn")) * time.Second)
		n := rapid.IntRange(0, 3).Draw(t, "running")
		var since []time.Time
		for range n { // in steps of six seconds, which have a mean to the microsecond
			since = append(since, begin.Add(-6*time.Second*time.Duration(rapid.IntRange(0, 100).Draw(t, "since"))))
		}
		w := newWorld(plan("metered"), asking(begin), running(since...))
		w.catalog.Plans[2].QuotaMinutes = rapid.IntRange(1, 20).Draw(t, "quota")
		quota := time.Duration(w.catalog.Plans[2].QuotaMinutes) * time.Minute
		over := time.Duration(rapid.IntRange(0, 1200).Draw(t, "over")) * time.Second
		w.ann().Used, w.ann().UsedMonth = over, monthStart(begin)

		allowed := func(at time.Time) bool {
			var sum time.Duration
			if at.Before(turn) {
				sum = over
			}
			for _, s := range since {
				if !at.Before(turn) {
					s = turn
				}
				sum += at.Sub(s)
			}
			return sum < quota
		}
		d := w.evaluate()
		for at := begin; at.Before(turn.Add(25 * time.Minute)); at = at.Add(time.Second) {
			w.at = at
			require.Equal(t, allowed(at), w.evaluate().Allow, "at %s", at)
			if d.Until.IsZero() || at.Before(d.Until) {
				require.Equal(t, d.Allow, allowed(at), "until %s, but not at %s", d.Until, at)
			}
		}
		if !d.Until.IsZero() {
			require.Equal(t, d.Allow, allowed(d.Until.Add(-1)), "right before %s", d.Until)
			require.NotEqual(t, d.Allow, allowed(d.Until), "at %s", d.Until)
		}
	})
}

func TestUntilARunningSessionHasUsedUpTheQuota(t *testing.T) {
	march := monthStart(noon)
	hourBefore := nextMonth.Add(-time.Hour)
	for _, c := range []struct {
		name    string
		changes []change
		want    Reason
		until   time.Time
	}{
		{"none", with(used(50 * time.Minute)), Entitled, never},
		{"one", with(running(noon)), Entitled, in(time.Hour)},
		{"one, beside what is over", with(used(50*time.Minute), running(noon)), Entitled, in(10 * time.Minute)},
		{"one that began before", with(used(50*time.Minute), running(in(-4*time.Minute))), Entitled, in(6 * time.Minute)},
		{"two, twice as fast", with(used(50*time.Minute), running(in(-time.Minute), noon)), Entitled, in(4*time.Minute + 30*time.Second)},
		{"three", with(running(noon, noon, noon)), Entitled, in(20 * time.Minute)},
		{"a part of a nanosecond", with(used(time.Hour-2), running(noon, noon, noon)), Entitled, in(1)},
		{"one that used it up", with(used(50*time.Minute), running(in(-10*time.Minute))), QuotaExhausted, nextMonth},
		{"one that had used it up long ago", with(running(in(-5 * day))), QuotaExhausted, nextMonth},
		{"what is over had used it up", with(used(time.Hour), running(noon)), QuotaExhausted, nextMonth},
		{"the month turns first", with(asking(hourBefore), used(0), running(hourBefore.Add(1))), Entitled, nextMonth.Add(time.Hour)},
		{"the month turns at the very moment", with(asking(hourBefore), used(0), running(hourBefore)), Entitled, nextMonth.Add(time.Hour)},
		{"in a later month than the facts'", with(used(time.Hour), running(noon), asking(nextMonth)), Entitled, nextMonth.Add(time.Hour)},
		{"used up in a later month", with(running(noon), asking(nextMonth.Add(time.Hour))), QuotaExhausted, nextMonth.AddDate(0, 1, 0)},
		{"before the month of the facts", with(asking(march.Add(-time.Minute)), func(w *world) { w.ann().Used, w.ann().UsedMonth = time.Hour, march }, running(march)),
			Entitled, march},
		{"more than can be counted", with(func(w *world) { w.ann().Running = math.MaxInt; w.ann().RunningFrom = march }), QuotaExhausted, nextMonth},
		{"no session of before", with(func(w *world) { w.ann().Running = -1 }), Entitled, never},
		{"less than nothing", with(used(-time.Hour), running(noon)), Entitled, in(time.Hour)},
		{"an endless quota", with(running(march), quota(math.MaxInt32)), Entitled, never},
		{"one that lasts for a month", with(running(march), quota(31*24*60+1)), Entitled, never},
		{"one that lasts for April, not for May", with(asking(nextMonth), used(0), running(nextMonth), quota(30*24*60+1)), Entitled, nextMonth.AddDate(0, 1, 30).Add(time.Minute)},
		{"one that lasts for March and April, not for May", with(running(noon), quota(30*24*60+1)), Entitled, nextMonth.AddDate(0, 1, 30).Add(time.Minute)},
		{"another plan has none", with(plan("gold"), running(in(-5*day))), Entitled, never},
		{"another plan has none, for a while", with(gold(never, in(2*time.Minute)), used(50*time.Minute), running(noon)), Entitled, in(2 * time.Minute)},
		{"the stream is bought", with(has(Entitlement{Stream: "live+show"}), running(in(-5*day))), Entitled, never},
	} {
		t.Run(c.name, func(t *testing.T) {
			month := func(w *world) { w.ann().UsedMonth = march }
			d := newWorld(append(with(plan("metered"), month), c.changes...)...).evaluate()
			assert.Equal(t, c.want.String(), d.Reason.String())
			assert.True(t, c.until.Equal(d.Until), "until %s, not %s", d.Until, c.until)
			assert.True(t, d.Metered)
		})
	}
}

func quota(minutes int) change {
	return func(w *world) { w.catalog.Plans[2].QuotaMinutes = minutes }
}

func TestWhatIsMetered(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes []change
		want    bool
	}{
		{"no plan", nil, false},
		{"a plan without a quota", with(plan("gold")), false},
		{"a plan with one", with(plan("metered")), true},
		{"beside one without", with(plan("gold"), plan("metered")), true},
		{"one that is to come", with(plan("gold"), has(Entitlement{Plan: "metered", From: in(time.Hour)})), true},
		{"one that is over", with(plan("gold"), has(Entitlement{Plan: "metered", Until: noon})), false},
		{"one of another stream", with(plan("metered"), stream("live+b"), policy(func(s *StreamPolicy) { s.Plans = []string{"gold"} })), true},
		{"one that the catalog has lost", with(plan("lost")), false},
		{"of a denial", with(plan("metered"), used(time.Hour)), true},
		{"of who is held", with(plan("metered"), held), true},
		{"of a publisher", with(plan("metered"), action(Push)), false},
	} {
		assert.Equal(t, c.want, newWorld(c.changes...).evaluate().Metered, c.name)
	}
}

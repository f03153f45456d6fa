package policy

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// answer is what a decision means to a viewer.
func answer(d Decision) string {
	return fmt.Sprintf("allow %t, %s, plan %q, rendition %q, tags %q, may preview %t", d.Allow, d.Reason, d.Plan, d.Rendition, d.Tags, d.MayPreview)
}

// Until is right: nothing changes before it, something changes at it, and where it is zero nothing ever changes. The
// walk knows nothing of how Until is found: it asks at every moment of a fine grid, and beside it.
func TestUntilIsTheNextChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := situations.Draw(t, "situation")
		d := Evaluate(s.Request, s.Facts, s.At)
		same := answer(d)
		if !d.Until.IsZero() {
			require.True(t, d.Until.After(s.At), "until %s is not after %s", d.Until, s.At)
			require.NotEqual(t, same, answer(Evaluate(s.Request, s.Facts, d.Until)), "nothing changes at %s", d.Until)
		}
		for _, b := range s.boundaries() {
			for _, at := range []time.Time{b.Add(-1), b, b.Add(1), b.Add(time.Hour)} {
				if at.After(s.At) && (d.Until.IsZero() || at.Before(d.Until)) {
					require.Equal(t, same, answer(Evaluate(s.Request, s.Facts, at)), "at %s, asked at %s, until %s", at, s.At, d.Until)
				}
			}
		}
	})
}

// A viewer whose answer is asked for again at each Until has, at every moment, the answer of that moment.
func TestFollowingUntilMissesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := situations.Draw(t, "situation")
		at := grid[0].Add(-time.Hour)
		d := Evaluate(s.Request, s.Facts, at)
		for _, b := range s.boundaries() {
			for steps := 0; !d.Until.IsZero() && !d.Until.After(b); steps++ {
				require.Less(t, steps, 3, "no more than one change between two boundaries")
				d = Evaluate(s.Request, s.Facts, d.Until)
			}
			require.Equal(t, answer(Evaluate(s.Request, s.Facts, b)), answer(d), "at %s", b)
		}
	})
}

// Beyond maxBoundaries Until may be early, never late: following it still arrives.
func TestUntilOfVeryManyBoundaries(t *testing.T) {
	w := newWorld(plan("basic"))
	for i := range 3 * maxBoundaries { // none of these covers the stream or gives tags
		w.ann().Entitlements = append(w.ann().Entitlements, Entitlement{Stream: "vod", Until: in(time.Duration(i+1) * time.Minute)})
	}
	end := in(3*maxBoundaries*time.Minute + 1)
	w.ann().Entitlements[0].Until = end

	d := w.evaluate()
	assert.Equal(t, in(maxBoundaries*time.Minute), d.Until, "as far as was looked")
	asked := 1
	for d.Allow {
		asked++
		require.True(t, d.Until.After(w.at))
		require.False(t, d.Until.After(end))
		w.at = d.Until
		d = w.evaluate()
	}
	assert.Equal(t, end, w.at)
	assert.Equal(t, 5, asked, "far fewer questions than boundaries")
}

// Everything that has a beginning and an end is half-open, to the nanosecond: it holds at its beginning, and no more
// at its end.
func TestTimesAreHalfOpen(t *testing.T) {
	from, until := in(time.Hour), in(2*time.Hour)
	cases := []struct {
		name                  string
		changes               []change
		from, until           time.Time
		before, within, after Reason
	}{
		{"an entitlement", with(gold(from, until)), from, until, EntitlementNotStarted, Entitled, EntitlementExpired},
		{"a stream's entitlement", with(has(Entitlement{Stream: "live+show", From: from, Until: until})),
			from, until, EntitlementNotStarted, Entitled, EntitlementExpired},
		{"a credential", with(plan("gold"), annsKey(Credential{From: from, Until: until})), from, until, CredentialExpired, Entitled, CredentialExpired},
		{"a public window", with(window(from, until, AccessPublic)), from, until, PaymentRequired, Public, PaymentRequired},
		{"a closed window", with(plan("gold"), window(from, until, AccessClosed)), from, until, Entitled, StreamClosed, Entitled},
		{"a grace", with(has(Entitlement{Plan: "gold", Until: from, GraceFrom: from})), from, from.Add(3 * day), Entitled, Grace, EntitlementExpired},
		{"a preview under an entitlement that ends", with(gold(never, from), preview(2*time.Hour, 0), previewFrom(noon)),
			from, in(2 * time.Hour), Entitled, Preview, EntitlementExpired},
		{"the month of a quota", with(plan("metered"), used(time.Hour), func(w *world) { w.ann().UsedMonth = nextMonth }),
			nextMonth, nextMonth.AddDate(0, 1, 0), Entitled, QuotaExhausted, Entitled},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, step := range []struct {
				at    time.Time
				want  Reason
				until time.Time // the next change
			}{
				{c.from.Add(-1), c.before, c.from},
				{c.from, c.within, c.until},
				{c.from.Add(1), c.within, c.until},
				{c.until.Add(-1), c.within, c.until},
			} {
				d := newWorld(append(c.changes, asking(step.at))...).evaluate()
				assert.Equal(t, step.want.String(), d.Reason.String(), "at %s", step.at)
				assert.True(t, step.until.Equal(d.Until), "until %s, not %s", d.Until, step.until)
			}
			for _, at := range []time.Time{c.until, c.until.Add(1)} {
				assert.Equal(t, c.after.String(), newWorld(append(c.changes, asking(at))...).evaluate().Reason.String(), "at %s", at)
			}
		})
	}
}

// When a preview that nobody began yet may begin, or may begin again, is a change of the answer.
func TestUntilOfTheNextPreview(t *testing.T) {
	w := newWorld(nobody, preview(time.Minute, time.Hour), previewFrom(noon))
	d := w.evaluate()
	assert.Equal(t, Preview.String(), d.Reason.String())
	for _, step := range []struct {
		reason     Reason
		mayPreview bool
		until      time.Time
	}{{CredentialMissing, false, in(time.Hour)}, {CredentialMissing, true, time.Time{}}} {
		w.at = d.Until
		d = w.evaluate()
		assert.Equal(t, step.reason.String(), d.Reason.String())
		assert.Equal(t, step.mayPreview, d.MayPreview)
		assert.Equal(t, step.until, d.Until)
	}
}

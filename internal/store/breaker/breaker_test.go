package breaker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// refuses says that a breaker lets nobody through.
func refuses(t *testing.T, b *Breaker, why string) {
	t.Helper()
	period, probe := b.Allow()
	require.Zero(t, period, why)
	require.False(t, probe, why)
	require.True(t, b.Open(), why)
}

// probes says that a breaker lets one through, to see.
func probes(t *testing.T, b *Breaker, why string) {
	t.Helper()
	period, probe := b.Allow()
	require.Zero(t, period, why)
	require.True(t, probe, why)
	refuses(t, b, "one at a time")
}

// allows says that a breaker lets everybody through.
func allows(t *testing.T, b *Breaker, why string) uint64 {
	t.Helper()
	period, probe := b.Allow()
	require.NotZero(t, period, why)
	require.False(t, probe, why)
	require.False(t, b.Open(), why)
	return period
}

func TestOnlyFailuresInARowOpenIt(t *testing.T) {
	b := New(5, time.Second)
	period := allows(t, b, "at first")
	for range 3 {
		for range 4 {
			require.False(t, b.Report(period, true))
		}
		require.False(t, b.Report(period, false))
	}
	allows(t, b, "never five in a row")
	for n := range 5 {
		require.Equal(t, n == 4, b.Report(period, true), "it opens once")
	}
	require.False(t, b.Report(period, true), "it is open already")
	require.False(t, b.Report(period, false))
	refuses(t, b, "only a probe closes it")
}

func TestOneProbeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewOpen(1, time.Second)
		probes(t, b, "at first, at once")
		time.Sleep(time.Hour)
		refuses(t, b, "while that one is under way")
		b.Probed(true)
		refuses(t, b, "right after it failed")
		time.Sleep(time.Second - 1)
		refuses(t, b, "and up to a second later")
		time.Sleep(time.Second/4 + 1)
		probes(t, b, "but no more than a quarter more")
		b.Unprobed()
		probes(t, b, "that one found out nothing")
		b.Probed(false)
		period := allows(t, b, "it got through")

		require.True(t, b.Report(period, true))
		time.Sleep(time.Second - 1)
		refuses(t, b, "as long after it opened")
		time.Sleep(time.Second/4 + 1)
		probes(t, b, "again")
	})
}

// Many processes that lost one server do not look for it at one moment.
func TestProbesAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []*Breaker
		for range 100 {
			b := New(1, time.Second)
			require.True(t, b.Report(allows(t, b, "at first"), true))
			all = append(all, b)
		}
		time.Sleep(time.Second + time.Second/8)
		early := 0
		for _, b := range all {
			if _, probe := b.Allow(); probe {
				early++
			}
		}
		require.NotZero(t, early)
		require.Less(t, early, len(all))
	})
}

// Calls may wait for long, and end when it is all over.
func TestCallsOfAPeriodThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(2, time.Second)
		before := allows(t, b, "at first")
		b.Report(before, true)
		require.True(t, b.Report(before, true))
		time.Sleep(2 * time.Second)
		probes(t, b, "later")
		b.Probed(false)
		now := allows(t, b, "it got through")
		for range 10 {
			require.False(t, b.Report(before, true))
		}
		allows(t, b, "those began before")
		b.Report(now, true)
		b.Report(before, false)
		require.True(t, b.Report(now, true), "nor does a success of then count")
	})
}

func TestShut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(1, time.Second)
		b.Shut()
		time.Sleep(time.Hour)
		refuses(t, b, "for good")
	})
}

// A call that is made in any case may find out what a probe would.
func TestAnAnswerWhileItIsOpen(t *testing.T) {
	b := New(1, time.Hour)
	period := b.Period()
	require.Equal(t, allows(t, b, "at first"), period)
	require.False(t, b.Answered(), "it is closed already")
	require.True(t, b.Report(period, true))
	require.Zero(t, b.Period())
	require.True(t, b.Answered())
	require.False(t, b.Report(period, true), "of a period that is over")
	require.NotEqual(t, period, allows(t, b, "it got through"))
}

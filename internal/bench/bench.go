// Package bench measures authhook from outside, as a process among processes, beside references that are measured in the same
// run: a bare chi handler, an empty program. It asks as MistServer asks, says how long that took, and draws it.
//
// A figure alone says what a machine can do, a ratio in one run what authhook costs. So what is compared takes turns in short
// rounds, that whatever else the machine does falls on all alike, and each figure is the median of the rounds'.
//
// It must never judge by a figure while tests run: whether a budget is met is for a person to read, on a machine whose load is
// known. It is part of the product ("authhook bench" runs it), so it imports nothing of testing.
package bench

import (
	"cmp"
	"slices"
	"time"
)

// Median is the one in the middle; the higher of two. The zero value of none.
func Median[T cmp.Ordered](of []T) T { return Quantile(of, 0.5) }

// Quantile is the smallest that is above a part of all: 0.99 for the ninety-ninth of a hundred. The zero value of none.
func Quantile[T cmp.Ordered](of []T, part float64) T {
	if len(of) == 0 {
		var none T
		return none
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[min(int(part*float64(len(sorted))), len(sorted)-1)]
}

// Times are how long each of many took.
type Times []time.Duration

// P50 is the median.
func (t Times) P50() time.Duration { return Quantile(t, 0.5) }

// P99 is what ninety-nine of a hundred stayed below.
func (t Times) P99() time.Duration { return Quantile(t, 0.99) }

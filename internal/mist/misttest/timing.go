package misttest

import (
	"math/rand/v2"
	"time"
)

// Range is a delay that was measured to lie between two bounds.
type Range struct{ Min, Max time.Duration }

func (r Range) pick(random *rand.Rand) time.Duration {
	if r.Max <= r.Min {
		return r.Min
	}
	return r.Min + time.Duration(random.Int64N(int64(r.Max-r.Min)+1))
}

func (r Range) scaled(factor float64) Range {
	return Range{scaled(r.Min, factor), scaled(r.Max, factor)}
}

func scaled(d time.Duration, factor float64) time.Duration { return time.Duration(float64(d) * factor) }

// Timing is how long all things take. Where a field does not name its source, a real MistServer 3.10 was measured.
type Timing struct {
	// TriggerWait is how long one attempt of a trigger waits for a URL's answer, of Attempts at most.
	TriggerWait time.Duration
	Attempts    int
	// HTTPPoll is the step in which a waiting trigger sleeps: a URL's answer is noticed at a multiple of it.
	HTTPPoll time.Duration
	// ExecStop is when a slow executable is told to stop, ExecKill when it is killed (source).
	ExecStop, ExecKill time.Duration
	// Reask is until a session asks again after invalidate_sessions.
	Reask Range
	// InvalidateCut is from a running session's denial until its connections are cut.
	InvalidateCut Range
	// StopAfter is until stop_sessid ends a live session.
	StopAfter Range
	// LiftAfter is until invalidate_sessions or stop_sessid lift a remembered denial.
	LiftAfter Range
	// Denied is how long a denial is remembered.
	Denied time.Duration
	// Listed is until a session is in the list, and known for tagging.
	Listed Range
	// ListAge is one second of "time":-1, the moment that the list is of. The delay Listed was measured with it.
	ListAge time.Duration
	// ListPast is how far back a list without a time reaches (source).
	ListPast time.Duration
	// HLSLinger is how long an HLS viewer stays listed after its last request (source).
	HLSLinger time.Duration
	// UserEnd is from the last byte until the session is over, with its USER_END. Until then a viewer who returns joins
	// it without a trigger (source: the session waits 15 s for another connection).
	UserEnd Range
	// SessionTick is the step in which a session counts its seconds (source; USER_END.http counts 8 in 7 and a bit).
	SessionTick time.Duration
	// Answer is until the UDP API answers.
	Answer Range
	// LoginFail is the wait after a login that failed (source).
	LoginFail time.Duration
}

// MeasuredTiming is a real MistServer's.
func MeasuredTiming() Timing {
	const ms = time.Millisecond
	return Timing{
		TriggerWait:   5 * time.Second,
		Attempts:      5,
		HTTPPoll:      25 * ms,
		ExecStop:      10 * time.Second,
		ExecKill:      14 * time.Second,
		Reask:         Range{0, 10 * ms},
		InvalidateCut: Range{200 * ms, 800 * ms},
		StopAfter:     Range{70 * ms, 1030 * ms},
		LiftAfter:     Range{200 * ms, 400 * ms},
		Denied:        600 * time.Second,
		Listed:        Range{600 * ms, 1000 * ms},
		ListAge:       time.Second,
		ListPast:      600 * time.Second,
		HLSLinger:     15 * time.Second,
		UserEnd:       Range{14 * time.Second, 15 * time.Second},
		SessionTick:   time.Second,
		Answer:        Range{1 * ms, 2 * ms},
		LoginFail:     time.Second,
	}
}

// Scaled is the timing with every delay multiplied by the factor: 0.05 is twenty times as fast. Delays of Viewers are
// not part of it.
func (t Timing) Scaled(factor float64) Timing {
	for _, d := range []*time.Duration{
		&t.TriggerWait, &t.HTTPPoll, &t.ExecStop, &t.ExecKill, &t.Denied, &t.ListAge, &t.ListPast, &t.HLSLinger,
		&t.SessionTick, &t.LoginFail,
	} {
		*d = scaled(*d, factor)
	}
	for _, r := range []*Range{
		&t.Reask, &t.InvalidateCut, &t.StopAfter, &t.LiftAfter, &t.Listed, &t.UserEnd, &t.Answer,
	} {
		*r = r.scaled(factor)
	}
	return t
}

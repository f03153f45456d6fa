package bench

import (
	"context"
	"fmt"
	"time"
)

// Trial is one way of asking one subject.
type Trial struct {
	Way, Subject string
	// Ready makes the subject ready for a round, and says whom to ask what. It is not measured.
	Ready func(ctx context.Context) (Target, *Questions, error)
	// Over ends the round. Nil: nothing is to be done.
	Over func(ctx context.Context) error

	Rounds []Round
	// Seen is what a service that was started for a round said of itself at its end, in the last one.
	Seen Metrics
}

// Round is what one round of a trial measured.
type Round struct {
	Alone Answers // one asker, one question after the other
	Busy  Answers // as many askers as there are, without a pause
}

// Pace is how much is asked in a round.
type Pace struct {
	Rounds int
	Alone  int           // asks
	Askers int           // when busy
	Busy   time.Duration // at most
}

// Run runs the trials in turn, round after round, and tells of each round before it begins. Each round begins with another
// trial, so that none is always the one after the pause.
func Run(ctx context.Context, trials []*Trial, p Pace, tell func(round int)) error {
	for round := range p.Rounds {
		tell(round + 1)
		for i := range trials {
			t := trials[(i+round)%len(trials)]
			if err := t.round(ctx, p); err != nil {
				return fmt.Errorf("%s, %s: %w", t.Subject, t.Way, err)
			}
		}
	}
	return nil
}

func (t *Trial) round(ctx context.Context, p Pace) (err error) {
	if t.Over != nil {
		defer func() {
			if failed := t.Over(ctx); err == nil {
				err = failed
			}
		}()
	}
	to, questions, err := t.Ready(ctx)
	if err != nil {
		return err
	}
	var r Round
	if r.Alone, err = Ask(ctx, to, questions, Limits{Askers: 1, Asks: p.Alone}); err != nil {
		return err
	}
	if r.Busy, err = Ask(ctx, to, questions, Limits{Askers: p.Askers, For: p.Busy}); err != nil {
		return err
	}
	t.Rounds = append(t.Rounds, r)
	return nil
}

// median is the median of a figure of each round.
func (t *Trial) median(of func(Round) float64) float64 {
	var all []float64
	for _, r := range t.Rounds {
		all = append(all, of(r))
	}
	return Median(all)
}

// PerSecond is how many were answered in a second when busy, in the median of the rounds.
func (t *Trial) PerSecond() float64 {
	return t.median(func(r Round) float64 { return r.Busy.PerSecond() })
}

// Latency is the median of the rounds' p50 and of their p99: of one asker alone, or of all when busy.
func (t *Trial) Latency(busy bool) (p50, p99 time.Duration) {
	times := func(r Round) Times {
		if busy {
			return r.Busy.Times
		}
		return r.Alone.Times
	}
	return time.Duration(t.median(func(r Round) float64 { return float64(times(r).P50()) })),
		time.Duration(t.median(func(r Round) float64 { return float64(times(r).P99()) }))
}

// Ratio is how many of a reference's requests per second it answers, in the median of the rounds, and at least and at most.
func (t *Trial) Ratio(reference *Trial) (median, least, most float64) {
	var all []float64
	for i, r := range t.Rounds {
		all = append(all, r.Busy.PerSecond()/reference.Rounds[i].Busy.PerSecond())
	}
	return Median(all), Quantile(all, 0), Quantile(all, 1)
}

// ByWay puts trials in the order of [Ways], those of one way together and otherwise as they are.
func ByWay(trials []*Trial) []*Trial {
	var all []*Trial
	for _, way := range Ways() {
		for _, t := range trials {
			if t.Way == way.Name {
				all = append(all, t)
			}
		}
	}
	return all
}

// Package gate keeps decisions from waiting for a database that does not answer, and from crowding before one that is slow: a
// decorator of what a decision asks a database for. Beyond it there is a fast [store.ErrUnavailable], which is no verdict.
//
//   - After some failures in a row nothing is asked any more, but for one call at a time that looks whether the database
//     answers again. It is a decision's own, within a short time, which doubles for as long as it does not suffice: a database
//     that is slow is found as well. The first that gets through opens the gate for all.
//   - So many calls are under way at once, and the others wait for a short time. A database that comes back is therefore not
//     asked by all who waited for it.
//
// Reads and writes have a gate each: a database may answer the ones and not the others, as a standby of PostgreSQL does, or an
// SQLite that another process is writing to.
//
// It is for decisions alone. What administers, applies payments, follows the change feed or writes sessions has its own pace,
// and is not to be refused for what decisions found.
package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"authhook/internal/store"
	"authhook/internal/store/breaker"
)

// Options are the settings of [Decisions]. Those left zero have the default named.
type Options struct {
	// FailuresToOpen is after how many calls in a row that found no database none is made: 5.
	FailuresToOpen int
	// ProbeEvery is how long it is until one call looks again, and up to a quarter more: 100 ms.
	ProbeEvery time.Duration
	// ProbeTimeout is how long that call may take: 500 ms. Each that is cut off for it gives the next twice the time, up to
	// what its asker has.
	ProbeTimeout time.Duration
	// Enough is how long a call is under way before it speaks against the database that its asker's time was up: 500 ms.
	Enough time.Duration
	// AtOnce is how many reads, and how many writes, are under way at once: 64.
	AtOnce int
	// Wait is how long a call waits for its turn: 1 s.
	Wait time.Duration
	// Metrics count what is refused: counted nowhere.
	Metrics *Metrics
	// Log gets a line when the database does not answer, and when it answers again: discarded.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	orElse(&o.FailuresToOpen, 5)
	orElse(&o.ProbeEvery, 100*time.Millisecond)
	orElse(&o.ProbeTimeout, 500*time.Millisecond)
	orElse(&o.Enough, 500*time.Millisecond)
	orElse(&o.AtOnce, 64)
	orElse(&o.Wait, time.Second)
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func orElse[T int | time.Duration](v *T, byDefault T) {
	if *v <= 0 {
		*v = byDefault
	}
}

var errAway = fmt.Errorf("%w: it is not asked, as it did not answer lately", store.ErrUnavailable)

// longestLook is the most that a probe is ever given. What a decision waits for, and a driver, is less.
const longestLook = 30 * time.Second

// gate is before one kind of calls.
type gate struct {
	calls   calls
	o       *Options
	breaker *breaker.Breaker
	places  chan struct{} // one for each call that may be under way
	look    time.Duration // what the next probe is given: the prober's own, of which there is one at a time
}

func newGate(of calls, o *Options) *gate {
	return &gate{calls: of, o: o, breaker: breaker.New(o.FailuresToOpen, o.ProbeEvery), places: make(chan struct{}, o.AtOnce),
		look: o.ProbeTimeout}
}

// do makes a call in its turn, unless the database does not answer.
func (g *gate) do(ctx context.Context, call func(context.Context) error) error {
	period, probe := g.breaker.Allow()
	switch {
	case probe:
		return g.probe(ctx, call) // of which there is one at a time: it waits for no turn
	case period == 0:
		return g.refuse(away)
	}
	if err := g.takePlace(ctx); err != nil {
		return err
	}
	defer func() { <-g.places }()
	return g.carryOut(ctx, period, call)
}

// must makes a call whatever became of others: it waits for no turn, and is made though the gate be shut. Its time is the
// caller's and the database's own.
func (g *gate) must(ctx context.Context, call func(context.Context) error) error {
	return g.carryOut(ctx, g.breaker.Period(), call)
}

// takePlace waits for a place among the calls that are under way.
func (g *gate) takePlace(ctx context.Context) error {
	select {
	case g.places <- struct{}{}:
		return nil
	default:
	}
	wait := time.NewTimer(g.o.Wait)
	defer wait.Stop()
	select {
	case g.places <- struct{}{}:
	case <-wait.C:
		return g.refuse(busy)
	case <-ctx.Done():
		return fmt.Errorf("waiting for the database: %w", ctx.Err())
	}
	if g.breaker.Open() { // those who had the places found no database
		<-g.places
		return g.refuse(away)
	}
	return nil
}

// carryOut makes a call, and takes in how it went.
func (g *gate) carryOut(ctx context.Context, period uint64, call func(context.Context) error) error {
	began := time.Now()
	err := call(ctx)
	switch said := g.lessonOf(ctx, began, err); {
	case said == nothing:
	case period == 0: // the gate was shut
		if said == answered && g.breaker.Answered() {
			g.o.Log.Info("the database answers", "calls", string(g.calls))
		}
	case g.breaker.Report(period, said == failed):
		g.o.Log.Warn("the database does not answer: no decision waits for it until it does", "calls", string(g.calls))
	}
	return err
}

// probe makes a call that shows whether the database answers.
func (g *gate) probe(ctx context.Context, call func(context.Context) error) (err error) {
	said := nothing
	defer func() { // also when the call panics
		if said == nothing {
			g.breaker.Unprobed()
		} else {
			g.breaker.Probed(said == failed)
		}
	}()
	began := time.Now()
	looking, cancel := context.WithTimeout(ctx, g.look)
	defer cancel()
	err = call(looking)
	switch said = g.lessonOf(ctx, began, err); {
	case said == answered:
		g.look = g.o.ProbeTimeout
		g.o.Log.Info("the database answers", "calls", string(g.calls))
	case said == failed && ctx.Err() == nil && looking.Err() != nil: // its asker had more time
		g.look = min(2*g.look, longestLook)
	}
	return err
}

func (g *gate) refuse(why refusal) error {
	g.o.Metrics.refused(g.calls, why)
	if why == busy {
		return store.ErrBusy
	}
	return errAway
}

// lesson is what a call says about the database.
type lesson uint8

const (
	nothing lesson = iota // its asker left, or what was asked is wrong in itself
	answered
	failed
)

// lessonOf says what a call taught that began then in a context. That its asker's time was up says nothing, unless the call had
// enough of it.
func (g *gate) lessonOf(ctx context.Context, began time.Time, err error) lesson {
	switch {
	case err == nil, errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrConflict):
		return answered
	case ctx.Err() != nil && time.Since(began) < g.o.Enough:
	case errors.Is(err, store.ErrUnavailable):
		return failed
	}
	return nothing
}

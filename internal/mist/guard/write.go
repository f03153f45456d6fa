package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"authhook/internal/mist/api"
)

// Server is what is needed of a MistServer to change its triggers.
type Server interface {
	Config(context.Context) (api.Config, error)
	SetTriggers(context.Context, map[string][]api.Trigger) error
	Save(context.Context) error
}

// ErrContested: somebody else writes the triggers too, so that they were not as wanted when they were read again.
var ErrContested = errors.New("somebody else changes its triggers at the same time: end the other program that manages them, or have it keep these entries")

// writes is how often triggers are written until they stay.
const writes = 3

// Put reads the triggers, writes them with what is wanted among them, and reads them again until they are. The plan is
// that of the first reading; where it has no changes nothing was written. With save, MistServer then keeps them in its
// configuration file, along with whatever else of it is not saved yet. An error matches [ErrContested] or is the API's;
// then the triggers may have been written or not.
func (w Wanted) Put(ctx context.Context, m Server, save bool) (Plan, error) {
	plan, err := w.Look(ctx, m)
	if err != nil || len(plan.Changes) == 0 {
		return plan, err
	}
	next := plan
	for range writes {
		if err := m.SetTriggers(ctx, next.Triggers); err != nil && !errors.Is(err, api.ErrReply) { // which the next reading tells better
			return plan, err
		}
		if next, err = w.Look(ctx, m); err != nil {
			return plan, err
		}
		if len(next.Changes) > 0 {
			continue
		}
		if save {
			return plan, m.Save(ctx)
		}
		return plan, nil
	}
	return plan, fmt.Errorf("the triggers do not stay: %w", ErrContested)
}

// Look says what [Wanted.Put] would do.
func (w Wanted) Look(ctx context.Context, m Server) (Plan, error) {
	config, err := m.Config(ctx)
	if err != nil {
		return Plan{}, err
	}
	return w.Merge(config.Triggers), nil
}

// Seen is what watching a MistServer came to.
type Seen struct {
	// Plan is what was put back; it has no changes where nothing was.
	Plan Plan
	// Err is why it could not be done. It is told once, until another kind of error comes or none.
	Err error
	// Back says that it could be done again after errors.
	Back bool
}

// Watch puts what is wanted among the triggers, at once and again at every interval, until the context ends. say is told of the
// first time, of whatever was put back, and of errors and their end; not of an interval in which all was as it should be.
func (w Wanted) Watch(ctx context.Context, m Server, save bool, every time.Duration, say func(Seen)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var failed error
	for first := true; ; {
		plan, err := w.Put(ctx, m, save)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if kind := kindOf(err); failed == nil || kind != kindOf(failed) {
				say(Seen{Plan: plan, Err: err})
			}
		case first || failed != nil || len(plan.Changes) > 0:
			say(Seen{Plan: plan, Back: failed != nil})
			first = false
		}
		failed = err
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// kindOf tells errors apart without their texts, which hold ports that differ each time.
func kindOf(err error) error {
	for _, kind := range [...]error{ErrContested, api.ErrLogin, api.ErrTooLong, api.ErrReply, api.ErrNotReachable} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}

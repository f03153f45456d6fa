package billing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// Ledger is where events and what follows from them are kept.
type Ledger interface {
	// DueEvents are those to be applied by a moment, in the order in which they were received.
	DueEvents(ctx context.Context, now time.Time, limit int) ([]store.BillingEvent, error)
	BillingEvent(ctx context.Context, number int64) (store.BillingEvent, error)
	// ApplyEvent calls fold with everything that is stored under the names, and what belongs to it, and writes what fold
	// returns, all in one transaction; dry, it writes nothing. [store.ErrConflict] when the event is not to be applied (any
	// more). Fold may be called again, and must be pure.
	ApplyEvent(ctx context.Context, number int64, names []string, dry bool,
		fold func(*store.BillingAccount) (*store.BillingEffect, error)) error
	// FailEvent notes that an event was not applied, and when to try again, if ever. [store.ErrConflict] as above.
	FailEvent(ctx context.Context, number int64, state store.EventState, reason string, next time.Time) error
}

const (
	// MaxTries is after how many tries an event is dead.
	MaxTries = 10
	// lookEvery is how often the inbox is looked at when nobody says that there is something in it.
	lookEvery = time.Second
	// Of how many events a pass consists, and how many lines of them are applied side by side.
	passSize, passLines = 256, 8
	// maxAhead is how far ahead of our clock a provider's may be. The latest word holds, so one from the future would for good.
	maxAhead = 24 * time.Hour
	// maxReason bounds the reason that is kept with an event, in bytes.
	maxReason = 1024
)

// ApplierOptions are the settings of an [Applier].
type ApplierOptions struct {
	// Catalog is what holds now; nil while none is known, and then nothing is applied.
	Catalog func() *policy.Catalog
	// Applied is called after each event that changed facts. It must not block. It may be nil.
	Applied func()
	// Observe is told an event's new state. It may be nil.
	Observe func(provider string, state store.EventState)
	Now     func() time.Time
	Log     *slog.Logger
}

// Applier makes facts of the events in the inbox: in the order of their receipt where they are about the same things, side by
// side where not. An event that cannot be applied holds up no other, since no order of events is relied upon. Several
// Appliers may work on one store.
type Applier struct {
	ledger    Ledger
	providers map[string]Provider
	o         ApplierOptions
	wake      chan struct{}
}

// NewApplier makes an Applier.
func NewApplier(l Ledger, providers []Provider, o ApplierOptions) *Applier {
	if o.Applied == nil {
		o.Applied = func() {}
	}
	if o.Observe == nil {
		o.Observe = func(string, store.EventState) {}
	}
	return &Applier{ledger: l, providers: byName(providers), o: o, wake: make(chan struct{}, 1)}
}

// Wake has the inbox looked at now.
func (a *Applier) Wake() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run applies events until the context ends, and returns its error.
func (a *Applier) Run(ctx context.Context) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		wake := a.wake
		switch n, err := a.Pass(ctx); {
		case err != nil && ctx.Err() == nil:
			a.o.Log.Warn("billing events wait, will try again", "error", err)
			wake = nil // whoever comes now would meet the same
		case err == nil && n == passSize:
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-look.C:
		}
	}
}

// Pass applies what is due, up to a number of events, and says how many that were. The error is the store's; what was due
// still is.
func (a *Applier) Pass(ctx context.Context) (n int, err error) {
	c := a.o.Catalog()
	if c == nil {
		return 0, nil
	}
	events, err := a.ledger.DueEvents(ctx, a.o.Now(), passSize)
	if err != nil {
		return 0, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(passLines)
	for _, line := range a.lines(events) {
		group.Go(func() error {
			for _, s := range line {
				if err := a.apply(ctx, s, c); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return len(events), group.Wait()
}

// Try says what an event would change if it were applied now. It changes nothing.
func (a *Applier) Try(ctx context.Context, number int64) (*store.BillingEffect, error) {
	c := a.o.Catalog()
	if c == nil {
		return nil, policy.ErrNoCatalog
	}
	event, err := a.ledger.BillingEvent(ctx, number)
	if err != nil {
		return nil, err
	}
	s := a.read(event)
	if s.err != nil {
		state, reason := s.verdict()
		return &store.BillingEffect{State: state, Reason: reason}, nil
	}
	var tried *store.BillingEffect
	err = a.ledger.ApplyEvent(ctx, number, s.names, true, func(account *store.BillingAccount) (e *store.BillingEffect, err error) {
		tried, err = effect(account, s.records, c)
		return tried, err
	})
	return tried, err
}

// sentence is an event and what it says.
type sentence struct {
	event   store.BillingEvent
	records []Record
	names   []string
	err     error // why it cannot be read
}

func (a *Applier) read(event store.BillingEvent) *sentence {
	s := &sentence{event: event}
	p := a.providers[event.Provider]
	switch {
	case p == nil:
		s.err = fmt.Errorf("%w: %s", errNoProvider, event.Provider)
	case event.Body == nil:
		s.err = errors.New("its body was dropped for its age")
	case event.At.After(event.Received.Add(maxAhead)):
		s.err = fmt.Errorf("its time, %s, is ahead of the clock here: nothing that is told later could hold against it",
			event.At.UTC().Format(time.RFC3339))
	default:
		s.records, s.err = readRecords(p, event.Body)
	}
	if s.err == nil && len(s.records) == 0 {
		s.err = Ignored("it says nothing")
	}
	for i := range s.records {
		s.names = append(s.names, s.records[i].Names()...)
	}
	return s
}

// errNoProvider: the settings name no provider of this name (any more). That is no fault of the event.
var errNoProvider = errors.New("the settings have no billing provider of this name")

// verdict is what becomes of an event that cannot be read.
func (s *sentence) verdict() (store.EventState, string) {
	if ignored, ok := errors.AsType[*IgnoredError](s.err); ok {
		return store.EventIgnored, ignored.Reason
	}
	if errors.Is(s.err, errFault) || errors.Is(s.err, errNoProvider) {
		return store.EventFailed, s.err.Error()
	}
	return store.EventDead, s.err.Error()
}

// lines sorts events into lines: those that share a name stand in one, in their order.
func (a *Applier) lines(events []store.BillingEvent) [][]*sentence {
	sentences := make([]*sentence, len(events))
	shared := make(sets)
	for i, event := range events {
		s := a.read(event)
		if len(s.names) == 0 {
			s.names = []string{fmt.Sprint(event.Number)}
		}
		for _, name := range s.names {
			shared.join(event.Provider+" "+name, event.Provider+" "+s.names[0])
		}
		sentences[i] = s
	}
	var lines [][]*sentence
	at := make(map[string]int)
	for _, s := range sentences {
		root := shared.root(s.event.Provider + " " + s.names[0])
		i, ok := at[root]
		if !ok {
			i = len(lines)
			at[root], lines = i, append(lines, nil)
		}
		lines[i] = append(lines[i], s)
	}
	return lines
}

// apply applies one event, or notes why it cannot be. The error is one of the store, of which the event is not to blame.
func (a *Applier) apply(ctx context.Context, s *sentence, c *policy.Catalog) error {
	ctx = store.WithActor(ctx, s.event.Provider)
	state, reason := store.EventFailed, ""
	if s.err != nil {
		state, reason = s.verdict()
	} else {
		var done *store.BillingEffect
		err := a.ledger.ApplyEvent(ctx, s.event.Number, s.names, false, func(account *store.BillingAccount) (e *store.BillingEffect, err error) {
			defer recovered(&err)
			done, err = effect(account, s.records, c)
			return done, err
		})
		_, never := errors.AsType[*store.InvalidError](err)
		switch {
		case err == nil:
			a.o.Observe(s.event.Provider, done.State)
			a.o.Log.Info("billing event", "provider", s.event.Provider, "number", s.event.Number, "type", s.event.Type,
				"state", done.State, "user", done.User, "reason", done.Reason)
			if changes(done) {
				a.o.Applied()
			}
			return nil
		case errors.Is(err, store.ErrConflict): // somebody else was faster
			return nil
		case errors.Is(err, store.ErrUnavailable), ctx.Err() != nil:
			return err
		case never:
			state = store.EventDead
		}
		reason = err.Error()
	}
	return a.fail(ctx, s, state, reason)
}

// fail notes that an event was not applied. What failed for no reason that lies in the event is tried again, later each time
// and at random, so that those that failed together do not come back together. What waits for a setting never is dead.
func (a *Applier) fail(ctx context.Context, s *sentence, state store.EventState, reason string) error {
	event, next := s.event, time.Time{}
	if state == store.EventFailed {
		tries := event.Tries + 1
		if tries >= MaxTries && !errors.Is(s.err, errNoProvider) {
			state = store.EventDead
		} else {
			wait := time.Second << min(tries-1, MaxTries)
			next = a.o.Now().Add(wait/2 + rand.N(wait))
		}
	}
	reason = strings.ReplaceAll(strings.ToValidUTF8(reason[:min(len(reason), maxReason)], ""), "\x00", "")
	if state != store.EventIgnored {
		a.o.Log.Warn("a billing event was not applied", "provider", event.Provider, "number", event.Number, "type", event.Type,
			"state", state, "reason", reason)
	}
	err := a.ledger.FailEvent(ctx, event.Number, state, reason, next)
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	if err == nil {
		a.o.Observe(event.Provider, state)
	}
	return err
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"authhook/internal/billing"
	"authhook/internal/policy"
	"authhook/internal/store"
)

// book applies billing events on a database, for a command: once, what a service does all the time.
type book struct {
	db        database
	providers providers
	became    eventOutcomes
	left      map[int64]string // events that are left to a service, by number, and why
}

func newBook(db database, p providers) *book {
	return &book{db: db, providers: p, left: map[int64]string{}}
}

// applier is made for the catalog that holds now.
func (b *book) applier(ctx context.Context, l billing.Ledger) (*billing.Applier, error) {
	c, err := b.db.Catalog(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: 'authhook apply -f catalog.yaml' applies one", policy.ErrNoCatalog)
	}
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	return billing.NewApplier(l, b.providers.all, billing.ApplierOptions{
		Catalog: func() *policy.Catalog { return c }, Observe: b.became.add, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}), nil
}

// try says what an event would change.
func (b *book) try(ctx context.Context, number int64) (*store.BillingEffect, error) {
	a, err := b.applier(ctx, b.db)
	if err != nil {
		return nil, err
	}
	return a.Try(ctx, number)
}

// apply applies what is due.
func (b *book) apply(ctx context.Context) error {
	a, err := b.applier(ctx, careful{b.db, b})
	if err != nil {
		return err
	}
	for before := -1; b.became.total() != before; { // until a pass gets nowhere
		before = b.became.total()
		if _, err := a.Pass(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tell says what became of the events, and which were left.
func (b *book) tell(w io.Writer) error {
	for _, line := range b.became.lines() {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(b.left)) {
		if _, err := fmt.Fprintf(w, "event %d is left to a service, whose settings may say otherwise: %s\n", n, visible(b.left[n])); err != nil {
			return err
		}
	}
	return nil
}

// careful leaves to a service what only its settings can tell: events of a system that is not known here, and those that are
// refused by what is known here, such as another account's. A service that takes them would have to have them replayed.
type careful struct {
	billing.Ledger
	book *book
}

// DueEvents implements billing.Ledger.
func (c careful) DueEvents(ctx context.Context, now time.Time, limit int) ([]store.BillingEvent, error) {
	due, err := c.Ledger.DueEvents(ctx, now, limit)
	var list []store.BillingEvent
	for _, e := range due {
		if why := c.book.foreign(&e); why != "" {
			c.book.left[e.Number] = why
		} else {
			list = append(list, e)
		}
	}
	return list, err
}

// foreign says why an event is not to be applied here; empty when it is.
func (b *book) foreign(e *store.BillingEvent) (why string) {
	i := slices.IndexFunc(b.providers.all, func(p billing.Provider) bool { return p.Name() == e.Provider })
	if i < 0 {
		return "there is no billing system " + e.Provider + " in the settings"
	}
	defer func() { _ = recover() }() // the applier meets it too, and notes it
	records, _ := b.providers.all[i].Records(e.Body)
	for _, r := range records {
		if r.Refused != "" {
			return r.Refused
		}
	}
	return ""
}

// eventOutcomes count what became of billing events, by provider and state.
type eventOutcomes struct {
	mu     sync.Mutex // events are applied side by side
	counts map[eventOutcome]int
}

type eventOutcome struct {
	provider string
	state    store.EventState
}

func (o *eventOutcomes) add(provider string, state store.EventState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counts == nil {
		o.counts = map[eventOutcome]int{}
	}
	o.counts[eventOutcome{provider, state}]++
}

func (o *eventOutcomes) total() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, count := range o.counts {
		n += count
	}
	return n
}

// lines are the counts, a line each.
func (o *eventOutcomes) lines() (lines []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	sorted := slices.SortedFunc(maps.Keys(o.counts), func(a, b eventOutcome) int {
		return cmp.Or(cmp.Compare(a.provider, b.provider), cmp.Compare(a.state, b.state))
	})
	for _, k := range sorted {
		lines = append(lines, fmt.Sprintf("%s: %d %s", visible(k.provider), o.counts[k], k.state))
	}
	return lines
}

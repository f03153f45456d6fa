package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"authhook/internal/store"
)

const sqlReceiveEvent = `
INSERT INTO billing_events (provider, event_id, type, provider_at, received_at, state, reason, tries, next_at, user_id, subject, body)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, '', '', ?9)
ON CONFLICT (provider, event_id) DO NOTHING`

// receipts are the events that wait to be stored. Waiting for the disk takes longer than anything else, so it is done once for
// all that wait: whoever gets the lead stores everyone's, and the others are answered.
type receipts struct {
	lead    chan struct{} // held by whoever stores
	mu      sync.Mutex
	waiting []*receipt
}

// receipt is one event on its way in.
type receipt struct {
	event store.BillingEvent
	done  chan struct{} // closed once fresh and err are set
	fresh bool
	err   error
}

func (r *receipts) add(one *receipt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, one)
}

// take is what is to be stored now.
func (r *receipts) take() []*receipt {
	r.mu.Lock()
	defer r.mu.Unlock()
	batch := r.waiting
	r.waiting = nil
	return batch
}

// withdraw says whether one was still waiting, and takes it back.
func (r *receipts) withdraw(one *receipt) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.waiting, one)
	if i >= 0 {
		r.waiting = slices.Delete(r.waiting, i, i+1)
	}
	return i >= 0
}

// ReceiveEvent puts an event into the inbox: on the disk when it returns. It is not fresh where one of the same provider and
// id is there already; then nothing happens.
func (s *Store) ReceiveEvent(ctx context.Context, e store.BillingEvent) (fresh bool, err error) {
	e, err = e.Incoming(s.Now())
	if err != nil {
		return false, err
	}
	callers := ctx
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return false, explain(callers, whatReceive, err)
	}
	one := &receipt{event: e, done: make(chan struct{})}
	s.receipts.add(one)
	select {
	case s.receipts.lead <- struct{}{}:
		err = s.receive(ctx)
		<-s.receipts.lead
	case <-one.done:
	case <-ctx.Done():
		err = explain(callers, whatReceive, ctx.Err())
	}
	if s.receipts.withdraw(one) {
		return false, err
	}
	<-one.done // somebody stores it now, or has: what becomes of it is known soon, and is true
	return one.fresh, one.err
}

const whatReceive = "receive a billing event"

// receive stores the events of all who wait, and answers them. Its error is of before it took them.
func (s *Store) receive(ctx context.Context) error {
	var batch []*receipt
	err := s.write(ctx, whatReceive, func(t *tx) error {
		batch = s.receipts.take()
		t.ctx = context.WithoutCancel(t.ctx) // the others did not leave
		for _, one := range batch {
			e := one.event
			n, err := t.changed(sqlReceiveEvent, e.Provider, e.ID, e.Type, micros(e.At), micros(e.Received), string(e.State),
				e.Reason, micros(e.Next), e.Body)
			if err != nil && passing[primary(err)] {
				return err // of the machine, and not of this one: SQLite may have rolled back
			}
			one.fresh = n > 0
			if err != nil {
				one.err = explain(t.ctx, whatReceive, err)
			}
		}
		return nil
	})
	theirs := err
	if errors.Is(err, context.Canceled) { // it was who has the lead that left, and not they
		theirs = fmt.Errorf("%s: %w", whatReceive, store.ErrUnavailable)
	}
	for _, one := range batch {
		if theirs != nil {
			one.fresh, one.err = false, theirs
		}
		close(one.done)
	}
	return err
}

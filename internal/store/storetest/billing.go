package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/store"
)

// billingCalls are one call of each kind about billing events, to see how they fail.
func billingCalls(s Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"ReceiveEvent": func(ctx context.Context) error { _, err := s.ReceiveEvent(ctx, told("evt_1")); return err },
		"DueEvents":    func(ctx context.Context) error { _, err := s.DueEvents(ctx, noon, 10); return err },
		"ApplyEvent": func(ctx context.Context) error {
			err := s.ApplyEvent(ctx, 1<<40, []string{"a"}, false, nil)
			if !errors.Is(err, store.ErrNotFound) {
				return err
			}
			return nil
		},
		"FailEvent": func(ctx context.Context) error {
			if err := s.FailEvent(ctx, 1<<40, store.EventDead, "", time.Time{}); !errors.Is(err, store.ErrNotFound) {
				return err
			}
			return nil
		},
		"BillingEvents": func(ctx context.Context) error { _, err := s.BillingEvents(ctx, store.EventFilter{}); return err },
		"ReplayEvent": func(ctx context.Context) error {
			if err := s.ReplayEvent(ctx, 1<<40, noon); !errors.Is(err, store.ErrNotFound) {
				return err
			}
			return nil
		},
		"ReplayEvents": func(ctx context.Context) error {
			_, err := s.ReplayEvents(ctx, store.EventFilter{State: store.EventDead}, noon)
			return err
		},
		"EventCounts":      func(ctx context.Context) error { _, err := s.EventCounts(ctx); return err },
		"PruneEventBodies": func(ctx context.Context) error { _, err := s.PruneEventBodies(ctx, noon); return err },
	}
}

// told is an event as it comes in.
func told(id string) store.BillingEvent {
	return store.BillingEvent{Provider: "stripe", ID: id, Type: "invoice.paid", At: noon.Add(-time.Second), Received: noon,
		Body: []byte(`{"id":"` + id + `"}`)}
}

// receive puts an event into the inbox and returns it as it stands there.
func receive(t testing.TB, s Store, e store.BillingEvent) store.BillingEvent {
	t.Helper()
	fresh, err := s.ReceiveEvent(t.Context(), e)
	require.NoError(t, err)
	require.True(t, fresh)
	list, err := s.BillingEvents(t.Context(), store.EventFilter{Provider: e.Provider, Latest: true, Limit: 1})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, e.ID, list[0].ID)
	return event(t, s, list[0].Number)
}

func event(t testing.TB, s Store, number int64) store.BillingEvent {
	t.Helper()
	e, err := s.BillingEvent(t.Context(), number)
	require.NoError(t, err)
	return e
}

func testReceiveEvent(t *testing.T, database func(testing.TB) Open) {
	t.Run("as it came", func(t *testing.T) {
		s := fresh(t, database)
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		bodies := [][]byte{nil, {}, all, {0}, []byte("\xff\xfe"), []byte(hostile["unicode"]), bytes.Repeat(all, store.MaxBody/256)}
		for i, body := range bodies {
			e := told(fmt.Sprint(hostile["quotes"], i))
			e.Type, e.Body = hostile["percent"], body
			got := receive(t, s, e)
			want := e
			want.Number, want.State, want.Next = got.Number, store.EventReceived, noon
			if want.Body == nil {
				want.Body = []byte{}
			}
			require.Equal(t, want, got, "%d", i)
		}
		late := time.FixedZone("", 3600)
		e := store.BillingEvent{Provider: "p", ID: "1", Received: noon.Add(999).In(late), Tries: 9, User: "anna", Subject: "x",
			Applied: noon, Next: noon.AddDate(1, 0, 0), Number: 1}
		got := receive(t, s, e)
		require.Equal(t, store.BillingEvent{Number: got.Number, Provider: "p", ID: "1", Received: noon, Body: []byte{},
			State: store.EventReceived, Next: noon}, got, "what the store says itself is not to be told")
		e = store.BillingEvent{Provider: "p", ID: "2", State: store.EventDead, Reason: strings.Repeat("ä", 1000) + "\xff\x00"}
		got = receive(t, s, e)
		require.Equal(t, store.EventDead, got.State)
		require.Equal(t, strings.Repeat("ä", 512), got.Reason)
		require.Equal(t, noon, got.Received, "now, where nobody says")
		require.True(t, got.At.IsZero() && got.Next.IsZero())
		e = store.BillingEvent{Provider: "p", ID: "3", State: store.EventIgnored}
		require.Equal(t, store.EventIgnored, receive(t, s, e).State)
		require.Empty(t, feed(t, s, 0), "no fact has changed")
	})

	t.Run("once", func(t *testing.T) {
		open := database(t)
		replicas := []Store{migrated(t, open, at(noon)), opened(t, open, at(noon))}
		first := receive(t, replicas[0], told("evt_0"))
		again := told("evt_0")
		again.Type, again.Body, again.State = "other", []byte("other"), store.EventDead
		isFresh, err := replicas[1].ReceiveEvent(t.Context(), again)
		require.NoError(t, err)
		require.False(t, isFresh)
		require.Equal(t, first, event(t, replicas[0], first.Number), "it stands as it came first")
		other := told("evt_0")
		other.Provider = "paddle"
		receive(t, replicas[0], other)

		const senders, rounds = 32, 8
		for round := range rounds {
			id := fmt.Sprint("raced", round)
			var fresh atomic.Int64
			start := make(chan struct{})
			var wg sync.WaitGroup
			for i := range senders {
				wg.Go(func() {
					<-start
					isFresh, err := replicas[i%2].ReceiveEvent(t.Context(), told(id))
					assert.NoError(t, err)
					if isFresh {
						fresh.Add(1)
					}
				})
			}
			close(start)
			wg.Wait()
			require.EqualValues(t, 1, fresh.Load())
		}
		list, err := replicas[0].BillingEvents(t.Context(), store.EventFilter{Provider: "stripe"})
		require.NoError(t, err)
		require.Len(t, list, 1+rounds)
	})

	t.Run("many at once, some of whom leave", func(t *testing.T) {
		s := fresh(t, database)
		const senders = 64
		stored := make([]bool, senders)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range senders {
			ctx, cancel := context.WithCancel(t.Context())
			wg.Go(func() {
				<-start
				fresh, err := s.ReceiveEvent(ctx, told(fmt.Sprint(i)))
				stored[i] = fresh
				switch {
				case i%3 > 0:
					assert.NoError(t, err, "whoever else leaves")
				case err != nil:
					assert.ErrorIs(t, err, context.Canceled)
				}
			})
			if i%3 == 0 {
				wg.Go(func() { <-start; cancel() })
			} else {
				defer cancel()
			}
		}
		close(start)
		wg.Wait()
		for i, was := range stored {
			if was {
				isFresh, err := s.ReceiveEvent(t.Context(), told(fmt.Sprint(i)))
				require.NoError(t, err)
				require.False(t, isFresh, "what was acknowledged is there")
			} else {
				require.Zero(t, i%3, "whoever stays is answered")
			}
		}
	})

	t.Run("what cannot be stored", func(t *testing.T) {
		s := fresh(t, database)
		for field, change := range map[string]func(*store.BillingEvent){
			"provider": func(e *store.BillingEvent) { e.Provider = "a/b" },
			"id":       func(e *store.BillingEvent) { e.ID = strings.Repeat("x", 1025) },
			"type":     func(e *store.BillingEvent) { e.Type = "a\x00" },
			"body":     func(e *store.BillingEvent) { e.Body = make([]byte, store.MaxBody+1) },
			"state":    func(e *store.BillingEvent) { e.State = store.EventApplied },
			"at":       func(e *store.BillingEvent) { e.At = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
			"received": func(e *store.BillingEvent) { e.Received = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC) },
		} {
			e := told("1")
			change(&e)
			_, err := s.ReceiveEvent(t.Context(), e)
			invalid := new(store.InvalidError)
			require.ErrorAs(t, err, &invalid, field)
			require.Equal(t, field, invalid.Field)
		}
		for _, e := range []store.BillingEvent{{}, {Provider: "p"}, {ID: "1"}, {Provider: "\xff", ID: "1"}, {Provider: "p", ID: "\xff"}} {
			_, err := s.ReceiveEvent(t.Context(), e)
			invalid := new(store.InvalidError)
			require.ErrorAs(t, err, &invalid, "%v", e)
		}
		list, err := s.BillingEvents(t.Context(), store.EventFilter{})
		require.NoError(t, err)
		require.Empty(t, list)
	})
}

func testDueEvents(t *testing.T, database func(testing.TB) Open) {
	s := fresh(t, database)
	due := func(now time.Time, limit int) (ids []string) {
		t.Helper()
		list, err := s.DueEvents(t.Context(), now, limit)
		require.NoError(t, err)
		for _, e := range list {
			require.Equal(t, event(t, s, e.Number), e, "with everything")
			ids = append(ids, e.ID)
		}
		return ids
	}
	require.Empty(t, due(noon, 10))
	var numbers []int64
	for i := range 6 {
		e := told(fmt.Sprint(i))
		e.Received = noon.Add(time.Duration(i%2) * time.Second)
		numbers = append(numbers, receive(t, s, e).Number)
		require.IsIncreasing(t, append([]int64{0}, numbers...))
	}
	dead := told("dead")
	dead.State = store.EventDead
	receive(t, s, dead)
	require.Empty(t, due(noon.Add(-time.Microsecond), 10))
	require.Equal(t, []string{"0", "2", "4"}, due(noon, 10))
	require.Equal(t, []string{"0", "1", "2", "3"}, due(noon.Add(time.Second), 4))
	require.Equal(t, []string{"0"}, due(noon.Add(time.Second), 0))

	fail := func(number int64, state store.EventState, reason string, next time.Time) {
		t.Helper()
		require.NoError(t, s.FailEvent(t.Context(), number, state, reason, next))
	}
	fail(numbers[0], store.EventFailed, "the catalog is away", noon.Add(time.Minute).Add(999))
	want := told("0")
	want.Number, want.State, want.Reason, want.Tries, want.Next = numbers[0], store.EventFailed, "the catalog is away", 1, noon.Add(time.Minute)
	require.Equal(t, want, event(t, s, numbers[0]))
	require.Equal(t, []string{"2", "4"}, due(noon, 10))
	require.Equal(t, []string{"0", "1"}, due(noon.Add(time.Minute), 2))
	fail(numbers[0], store.EventFailed, "\xff", noon.Add(time.Hour))
	fail(numbers[0], store.EventDead, "again and again", noon.Add(time.Hour))
	want.State, want.Reason, want.Tries, want.Next = store.EventDead, "again and again", 3, time.Time{}
	require.Equal(t, want, event(t, s, numbers[0]))
	fail(numbers[2], store.EventIgnored, "nothing follows", time.Time{})
	got := event(t, s, numbers[2])
	require.Equal(t, store.EventIgnored, got.State)
	require.Zero(t, got.Tries)
	require.True(t, got.Next.IsZero() && got.Applied.IsZero())
	require.Equal(t, []string{"4"}, due(noon, 10))

	for _, number := range []int64{numbers[0], numbers[2]} {
		err := s.FailEvent(t.Context(), number, store.EventDead, "", time.Time{})
		require.ErrorIs(t, err, store.ErrConflict, "it is not waited for")
	}
	require.Equal(t, want, event(t, s, numbers[0]))
	require.ErrorIs(t, s.FailEvent(t.Context(), 99, store.EventDead, "", time.Time{}), store.ErrNotFound)
	for _, bad := range []error{
		s.FailEvent(t.Context(), numbers[4], store.EventApplied, "", time.Time{}),
		s.FailEvent(t.Context(), numbers[4], store.EventFailed, "", time.Time{}),
		s.FailEvent(t.Context(), numbers[4], "", "", noon),
	} {
		invalid := new(store.InvalidError)
		require.ErrorAs(t, bad, &invalid)
	}
	require.Empty(t, feed(t, s, 0), "no fact has changed")
}

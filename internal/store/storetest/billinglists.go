package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/store"
)

// ofEveryState fills the inbox with events in every state and returns them in the order in which they were received.
func ofEveryState(t testing.TB, s Store, rounds int) []store.BillingEvent {
	t.Helper()
	var list []store.BillingEvent
	for i := range rounds * len(store.AllEventStates) {
		e := told(fmt.Sprint("every", i))
		e.Provider, e.Type = []string{"stripe", "paddle", "stripe"}[i%3], []string{"x", "y"}[i%2]
		e.Received = noon.Add(time.Duration(i) * time.Minute)
		n := receive(t, s, e).Number
		does := effect(fmt.Sprint("every", i%5))
		does.State, does.User = store.AllEventStates[i%len(store.AllEventStates)], []string{"anna", "", "ben"}[i%3]
		switch does.State {
		case store.EventReceived:
		case store.EventFailed, store.EventDead:
			require.NoError(t, s.FailEvent(t.Context(), n, does.State, "why", noon.Add(time.Hour)))
		default:
			apply(t, s, n, does)
		}
		list = append(list, event(t, s, n))
	}
	return list
}

func testBillingEvents(t *testing.T, database func(testing.TB) Open) {
	s := fresh(t, database)
	counts, err := s.EventCounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[store.EventState]int64{store.EventReceived: 0, store.EventUnlinked: 0, store.EventFailed: 0, store.EventDead: 0}, counts)
	all := ofEveryState(t, s, 4)
	_, err = s.BillingEvent(t.Context(), 999)
	require.ErrorIs(t, err, store.ErrNotFound)
	counts, err = s.EventCounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[store.EventState]int64{store.EventReceived: 4, store.EventUnlinked: 4, store.EventFailed: 4, store.EventDead: 4}, counts)

	filters := []store.EventFilter{{}, {Provider: "stripe"}, {Type: "x"}, {User: "anna"}, {User: "ben", State: store.EventStale},
		{From: all[5].Received, Until: all[20].Received}, {From: all[9].Received, State: store.EventApplied}, {Until: all[0].Received},
		{Provider: "a\x00"}, {User: "\xff"}, {State: "asleep"}, {Type: "\x00"}, {From: time.Date(-9, 1, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)}}
	for _, state := range store.AllEventStates {
		filters = append(filters, store.EventFilter{State: state}, store.EventFilter{State: state, Provider: "paddle", Type: "y"})
	}
	for _, f := range filters {
		var want []store.BillingEvent
		for _, e := range all {
			if (f.Provider == "" || f.Provider == e.Provider) && (f.State == "" || f.State == e.State) && (f.Type == "" || f.Type == e.Type) &&
				(f.User == "" || f.User == e.User) && (f.From.IsZero() || !e.Received.Before(f.From)) && (f.Until.IsZero() || e.Received.Before(f.Until)) {
				e.Body = nil
				want = append(want, e)
			}
		}
		for _, f.Latest = range []bool{false, true} {
			var got []store.BillingEvent
			f.Limit, f.After = 3, 0
			for len(got) <= len(want) { // no longer, should the pages repeat themselves
				list, err := s.BillingEvents(t.Context(), f)
				require.NoError(t, err)
				require.LessOrEqual(t, len(list), 3)
				got = append(got, list...)
				if len(list) == 0 {
					break
				}
				f.After = list[len(list)-1].Number
			}
			require.Equal(t, want, got, "%+v", f)
			slices.Reverse(want)
		}
	}
	list, err := s.BillingEvents(t.Context(), store.EventFilter{After: -1})
	require.NoError(t, err)
	require.Len(t, list, len(all))
}

func testReplayEvents(t *testing.T, database func(testing.TB) Open) {
	t.Run("one", func(t *testing.T) {
		s := fresh(t, database)
		later := noon.Add(time.Hour)
		for _, e := range ofEveryState(t, s, 1) {
			require.NoError(t, s.ReplayEvent(t.Context(), e.Number, later))
			want := e
			want.State, want.Reason, want.Tries, want.Next = store.EventReceived, "", 0, later
			require.Equal(t, want, event(t, s, e.Number), "from %s", e.State)
			apply(t, s, e.Number, effect("every0"))
			require.Equal(t, store.EventApplied, event(t, s, e.Number).State)
		}
		require.ErrorIs(t, s.ReplayEvent(t.Context(), 99, noon), store.ErrNotFound)
	})

	t.Run("that waited, and its account", func(t *testing.T) {
		s := fresh(t, database)
		waiting, other := receive(t, s, told("1")), receive(t, s, told("2"))
		does := effect("a")
		does.State = store.EventUnlinked
		apply(t, s, waiting.Number, does)
		require.Len(t, peek(t, s, other.Number, "a").Unlinked, 1)
		require.NoError(t, s.ReplayEvent(t.Context(), waiting.Number, noon))
		require.Empty(t, peek(t, s, other.Number, "a").Unlinked, "it is to be applied by itself")
		apply(t, s, waiting.Number, does)
		require.Len(t, peek(t, s, other.Number, "a").Unlinked, 1)
	})

	t.Run("a range", func(t *testing.T) {
		s := fresh(t, database)
		all := ofEveryState(t, s, 3)
		later := noon.Add(24 * time.Hour)
		replay := func(f store.EventFilter, want ...int) {
			t.Helper()
			f.Limit, f.Latest = 1, true // neither counts
			n, err := s.ReplayEvents(t.Context(), f, later)
			require.NoError(t, err)
			require.EqualValues(t, len(want), n)
			for _, i := range want {
				e := &all[i]
				e.State, e.Reason, e.Tries, e.Next = store.EventReceived, "", 0, later
			}
			for _, e := range all {
				require.Equal(t, e, event(t, s, e.Number))
			}
		}
		replay(store.EventFilter{State: "asleep"})
		replay(store.EventFilter{State: store.EventDead}, 6, 13, 20)
		replay(store.EventFilter{State: store.EventDead})
		replay(store.EventFilter{State: store.EventUnlinked, Provider: "paddle"}, 4)
		replay(store.EventFilter{From: all[1].Received, Until: all[4].Received, Type: "x"}, 2)
		replay(store.EventFilter{After: all[17].Number}, 18, 19, 20)
		n, err := s.PruneEventBodies(t.Context(), noon.Add(time.Hour))
		require.NoError(t, err)
		require.Positive(t, n)
		var left []int
		for i := range all {
			all[i] = event(t, s, all[i].Number)
			if all[i].Body != nil {
				left = append(left, i)
			}
		}
		replay(store.EventFilter{}, left...)
	})

	t.Run("what is dropped", func(t *testing.T) {
		s := fresh(t, database)
		all := ofEveryState(t, s, 3)
		limit := all[14].Received
		dropped := int64(0)
		for i, e := range all {
			if e.Received.Before(limit) && slices.Contains([]store.EventState{store.EventApplied, store.EventStale, store.EventIgnored}, e.State) {
				all[i].Body = nil
				dropped++
			}
		}
		n, err := s.PruneEventBodies(t.Context(), limit)
		require.NoError(t, err)
		require.Equal(t, dropped, n)
		for _, e := range all {
			require.Equal(t, e, event(t, s, e.Number))
			again := told(e.ID)
			again.Provider = e.Provider
			isFresh, err := s.ReceiveEvent(t.Context(), again)
			require.NoError(t, err)
			require.False(t, isFresh, "it is known for good")
			if e.Body == nil {
				invalid := new(store.InvalidError)
				require.ErrorAs(t, s.ReplayEvent(t.Context(), e.Number, noon), &invalid)
				require.Equal(t, "body", invalid.Field)
				require.Equal(t, e, event(t, s, e.Number))
				require.Nil(t, peek(t, s, e.Number, "every0").Event.Body)
			}
		}
		n, err = s.PruneEventBodies(t.Context(), limit)
		require.NoError(t, err)
		require.Zero(t, n)
		require.Empty(t, feed(t, s, 0))
	})
}

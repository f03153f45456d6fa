package policy

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func event(uuid string, digest uint64) change {
	return func(w *world) { w.request.Event = eventID(uuid, digest) }
}

// gate holds a source's callers until it is opened, or until their context ends.
func gate() (block func(context.Context) error, open func()) {
	opened := make(chan struct{})
	return func(ctx context.Context) error {
		select {
		case <-opened:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, func() { close(opened) }
}

// A hundred ask about one event at once: it is decided once, with one effect, and all have the same answer.
func TestOneEventIsDecidedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(plan("single"), event("u", 7))
		h := newHouse(w, Options{})
		block, open := gate()
		h.source.block = block

		var first atomic.Int64
		answers := make(chan Decision, 100)
		for range 100 {
			go func() {
				r := w.request
				d, repeated := h.Decide(t.Context(), &r)
				if !repeated {
					first.Add(1)
				}
				answers <- d
			}()
		}
		synctest.Wait() // all wait for the one that asks the source
		assert.Empty(t, answers)
		open()
		for range 100 {
			d := <-answers
			assert.True(t, d.Allow)
			assert.Equal(t, Entitled.String(), d.Reason.String())
		}
		assert.EqualValues(t, 1, first.Load())
		assert.EqualValues(t, 1, h.source.calls.Load())
		assert.Equal(t, 1, h.leases.taken)
	})
}

// The first asker gives up while its question is being decided: what is decided does not end with it.
func TestTheFirstAskerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(plan("single"), event("u", 7))
		h := newHouse(w, Options{})
		block, open := gate()
		h.source.block = block

		first, cancel := context.WithCancel(t.Context())
		answers := make(chan Decision, 3)
		ask := func(ctx context.Context) {
			r := w.request
			d, _ := h.Decide(ctx, &r)
			answers <- d
		}
		go ask(first)
		synctest.Wait()
		for range 2 {
			go ask(t.Context())
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		open()
		for range 3 {
			assert.Equal(t, Entitled.String(), (<-answers).Reason.String())
		}
		assert.Equal(t, 1, h.leases.taken)
	})
}

// An asker that only waits gives up under its own context, and changes nothing for the others.
func TestAWaitingAskerGivesUp(t *testing.T) {
	for _, allow := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(plan("gold"), event("u", 7))
			h := newHouse(w, Options{AllowUnavailable: allow})
			block, open := gate()
			h.source.block = block
			first := make(chan Decision)
			go func() {
				d, _ := h.Decide(t.Context(), &w.request)
				first <- d
			}()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			r := w.request
			d, repeated := h.Decide(ctx, &r)
			assert.True(t, repeated)
			assert.Equal(t, Decision{Allow: allow, Reason: Unavailable}, d)
			open()
			assert.Equal(t, Entitled.String(), (<-first).Reason.String())
		})
	}
}

// A decision that panics hangs nobody, and is an allow to nobody.
func TestAPanicIsNoAnswerAndNoAllow(t *testing.T) {
	for _, allow := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(plan("gold"), event("u", 7))
			h := newHouse(w, Options{AllowUnavailable: allow})
			block, open := gate()
			h.source.block = func(ctx context.Context) error {
				_ = block(ctx)
				panic("a bug")
			}
			panicked := make(chan any, 1)
			go func() {
				defer func() { panicked <- recover() }()
				_, _ = h.Decide(t.Context(), &w.request)
			}()
			synctest.Wait()
			waiting := make(chan Decision)
			go func() {
				r := w.request
				d, _ := h.Decide(t.Context(), &r)
				waiting <- d
			}()
			synctest.Wait()
			open()
			assert.Equal(t, "a bug", <-panicked, "whose request it is hears of it")
			assert.Equal(t, Decision{Reason: Unavailable}, <-waiting)
			r := w.request
			d, repeated := h.Decide(t.Context(), &r)
			assert.True(t, repeated)
			assert.Equal(t, Decision{Reason: Unavailable}, d)
		})
	}
}

func TestTheSameEventIsAnsweredAlike(t *testing.T) {
	w := newWorld(plan("gold"), event("u", 7))
	h := newHouse(w, Options{})
	want, repeated := h.Decide(t.Context(), &w.request)
	assert.False(t, repeated)
	assert.True(t, want.Allow)
	w.ann().Status = SuspendedUser
	for range 4 {
		d, repeated := h.Decide(t.Context(), &w.request)
		assert.True(t, repeated)
		assert.Equal(t, want, d, "whatever has changed since")
	}
	assert.EqualValues(t, 1, h.source.calls.Load())

	for name, id := range map[string]EventID{"another digest": eventID("u", 8), "another digest in the same place": eventID("u", 7+16), "another UUID": eventID("v", 7)} {
		r := w.request
		r.Event = id
		d, repeated := h.Decide(t.Context(), &r)
		assert.False(t, repeated, name)
		assert.Equal(t, UserSuspended.String(), d.Reason.String(), name)
	}
}

// An outage's answer is an answer: the same event has no other one a moment later.
func TestUnavailableIsRememberedForItsEvent(t *testing.T) {
	w := newWorld(plan("gold"), event("u", 7))
	h := newHouse(w, Options{})
	h.source.err = errAway
	first, _ := h.Decide(t.Context(), &w.request)
	h.source.err = nil
	again, repeated := h.Decide(t.Context(), &w.request)
	assert.True(t, repeated)
	assert.Equal(t, first, again)
	w.request.Event = eventID("v", 7)
	next, _ := h.Decide(t.Context(), &w.request)
	assert.True(t, next.Allow)
}

func TestWithoutAUUIDNothingIsRemembered(t *testing.T) {
	w := newWorld(plan("gold"), event("", 7))
	h := newHouse(w, Options{})
	for i := range 3 {
		_, repeated := h.Decide(t.Context(), &w.request)
		assert.False(t, repeated)
		assert.EqualValues(t, i+1, h.source.calls.Load())
	}
	for i := range h.repeats.shards {
		assert.Empty(t, h.repeats.shards[i].young.ids)
	}
}

// An event is remembered for as long as is promised, and forgotten once time and newer events have passed.
func TestEventsAreRememberedLongEnough(t *testing.T) {
	w := newWorld(plan("gold"))
	h := newHouse(w, Options{RememberEvents: time.Minute})
	ask := func(uuid string, at time.Duration) (repeated bool) {
		h.now = in(at)
		r := w.request
		r.Event = eventID(uuid, 0)
		_, repeated = h.Decide(t.Context(), &r)
		return repeated
	}
	assert.False(t, ask("first", 0))
	for at := time.Duration(1); at < 30; at++ {
		assert.False(t, ask(string('a'+rune(at)), at*time.Second))
	}
	assert.False(t, ask("late", time.Minute-1))
	assert.True(t, ask("first", time.Minute-1))
	assert.False(t, ask("turns the page", time.Minute))
	assert.True(t, ask("first", time.Minute))
	assert.True(t, ask("late", 2*time.Minute-2), "at least a minute")
	assert.False(t, ask("turns the next", 2*time.Minute))
	assert.False(t, ask("first", 2*time.Minute))
	assert.False(t, ask("late", 2*time.Minute))
	assert.True(t, ask("turns the page", 2*time.Minute))
}

// However many events come, no more than two generations of a shard are remembered, the newest among them.
func TestMemoryOfEventsIsBounded(t *testing.T) {
	s := &repeats{keep: time.Hour}
	for n := range 3*maxRepeats + 10 {
		id := eventID(uuids[n%len(uuids)], uint64(n/len(uuids)*16)) // all of one shard
		event, repeated := s.begin(id, noon)
		require.False(t, repeated)
		event.done()
		require.LessOrEqual(t, len(s.shards[0].young.ids), maxRepeats)
		require.LessOrEqual(t, len(s.shards[0].old.ids), maxRepeats)
		if _, repeated = s.begin(id, noon); !repeated {
			require.Fail(t, "the newest is forgotten")
		}
	}
	_, repeated := s.begin(eventID(uuids[0], 0), noon)
	assert.False(t, repeated, "the oldest is forgotten")
}

// Many events and many askers of each, all at once, under the race detector: one lease for each event.
func TestManyEventsAtOnce(t *testing.T) {
	w := newWorld(plan("single"), limit(1000, OnLimitReject))
	h := newHouse(w, Options{})
	var wg sync.WaitGroup
	for asker := range 8 {
		wg.Go(func() {
			for n := range 200 {
				r := w.as(uuids[(n+asker*25)%200])
				r.Event = eventID(r.Session, uint64((n+asker*25)%200))
				if d, _ := h.Decide(t.Context(), &r); !d.Allow {
					t.Errorf("denied: %s", d.Reason)
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 200, h.leases.taken)
	assert.Len(t, h.leases.places, 200)
}

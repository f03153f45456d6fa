package policy

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whatever a decision has, and will have, is remembered: each field for itself, and all of them.
func TestEveryFieldOfADecisionIsRemembered(t *testing.T) {
	some := map[reflect.Type]any{
		reflect.TypeFor[bool](): true, reflect.TypeFor[Reason](): Unavailable, reflect.TypeFor[time.Time](): noon.Add(1),
		reflect.TypeFor[string](): "a\nä\x00", reflect.TypeFor[*Credential](): &Credential{User: "ann"}, reflect.TypeFor[[]string](): []string{"", "a", strings.Repeat("b", 300)},
		reflect.TypeFor[int](): -1 << 40, reflect.TypeFor[OnLimit](): OnLimitKickOldest, reflect.TypeFor[[]KickedSession](): []KickedSession{{"n", "s"}, {"", "t"}},
	}
	var m remembered
	remember := func(n int, d Decision) {
		m.put(EventID{Digest: uint64(n)}, &d)
		require.True(t, m.has(EventID{Digest: uint64(n)}))
		var got Decision
		m.get(EventID{Digest: uint64(n)}, &got)
		assert.Equal(t, d, got)
	}
	remember(0, Decision{})
	var all Decision
	for i := range reflect.TypeFor[Decision]().NumField() {
		var one Decision
		field := reflect.ValueOf(&one).Elem().Field(i)
		value, known := some[field.Type()]
		require.True(t, known, "a value for a field of type %s", field.Type())
		field.Set(reflect.ValueOf(value))
		reflect.ValueOf(&all).Elem().Field(i).Set(reflect.ValueOf(value))
		remember(i+1, one)
	}
	remember(100, all)
	var got Decision
	m.get(EventID{Digest: 100}, &got)
	assert.Same(t, all.Claims, got.Claims)
	assert.False(t, m.has(EventID{UUID: 1, Digest: 100}))
}

// Events are asked about again across many generations: each has its own answer or none, never another's.
func TestNoEventHasTheAnswerOfAnother(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := &repeats{keep: time.Second}
	at := noon
	all := map[EventID]Decision{}
	var last []EventID
	for n := range 15_000 {
		at = at.Add(time.Duration(random.IntN(1000)) * time.Microsecond)
		if random.IntN(4000) == 0 {
			at = at.Add(time.Minute) // everything is forgotten, and some memory given back
		}
		id := EventID{UUID: random.Uint64(), Digest: uint64(n) * 16} // all of one shard
		d := Decision{Reason: Reasons()[random.IntN(len(Reasons()))], User: uuids[random.IntN(len(uuids))], Plan: strings.Repeat("p", random.IntN(20))}
		if random.IntN(3) == 0 {
			d.Claims = &Credential{User: d.User}
		}
		event, repeated := s.begin(id, at)
		require.False(t, repeated)
		event.decision = d
		event.done()
		all[id], last = d, append(last, id)

		for _, id := range []EventID{last[len(last)-1], last[max(0, len(last)-1-random.IntN(500))], last[random.IntN(len(last))]} {
			event, repeated := s.begin(id, at)
			if !repeated { // it was forgotten: it is decided about anew
				event.decision = all[id]
				event.done()
				continue
			}
			got, err := event.wait(t.Context())
			require.NoError(t, err)
			require.Equal(t, all[id], got)
		}
	}
}

// Deciding about a new event costs little memory, the remembering of it included.
func TestADecisionCostsLittleMemory(t *testing.T) {
	w := newWorld(plan("gold"))
	h := newHouse(w, Options{})
	r := w.request
	n := uint64(0)
	assert.LessOrEqual(t, testing.AllocsPerRun(5000, func() {
		n++
		h.ask(&r, n)
	}), 2.0)
}

// Events whose place is the end of the table are found, each for itself.
func TestEventsOfOnePlaceAreToldApart(t *testing.T) {
	empty := remembered{slots: make([]uint32, 1<<slotBits)}
	var m remembered
	decisions := map[EventID]Decision{}
	for n := uint64(1); len(decisions) < 20; n++ {
		id := EventID{UUID: n, Digest: n}
		if slot, _ := empty.slotOf(id); slot == &empty.slots[len(empty.slots)-1] {
			d := Decision{Reason: Entitled, User: uuids[n%uint64(len(uuids))]}
			m.put(id, &d)
			decisions[id] = d
		}
	}
	for id, want := range decisions {
		require.True(t, m.has(id))
		var got Decision
		m.get(id, &got)
		assert.Equal(t, want, got)
	}
}

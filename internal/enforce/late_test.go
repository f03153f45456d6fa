package enforce_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/enforce"
	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
)

// slowPlaces is a store that takes its time to give a place.
type slowPlaces struct {
	enforce.Store
	asked, give chan struct{}
}

func (s slowPlaces) AcquireLease(ctx context.Context, l policy.Lease, most int, on policy.OnLimit) (bool, []policy.KickedSession, error) {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	select {
	case <-s.give:
	case <-ctx.Done():
	}
	return s.Store.AcquireLease(ctx, l, most, on)
}

// underWay is how long a command may be under way that left before the viewer's question came.
const underWay = 300 * time.Millisecond

// letBe says that nothing was told of a player once it was let in, but what was under way already; and that it watches.
func letBe(t *testing.T, m *misttest.Server, p *misttest.Player, why string) {
	t.Helper()
	var in time.Time
	for _, e := range p.Events() {
		if e.Kind == misttest.EventAllowed {
			in = e.At
			break
		}
	}
	require.False(t, in.IsZero(), why)
	for _, c := range m.Commands() {
		if c.Kind == "stop_sessid" && c.Target == p.SessionID() {
			assert.Less(t, c.At.Sub(in), underWay, "%s: %s", why, c.Kind)
		}
	}
	await(t, p, misttest.Watching)
}

// A viewer whose denial was lifted asks, and the answer takes long. The unlock is not repeated meanwhile: it would end what is
// let in.
func TestAnUnlockIsNotRepeatedWhileTheViewerIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	slow := slowPlaces{w.db, make(chan struct{}, 1), make(chan struct{})}
	h := w.houseOver(m, slow, policy.Options{}, unswept, func(o *enforce.Options) { o.RepeatAfter = time.Second })
	h.run()
	h.guard(m)
	silent(m, "USER_END")
	limit(w, "gold", 1, policy.OnLimitReject)
	p := watch(m, "live+fight", w.user("alice"), 1)
	await(t, p, misttest.Denied)
	w.entitle("alice", "gold", time.Time{})
	<-slow.asked
	past(t, time.Now().Add(3*h.options.RepeatAfter))
	close(slow.give)
	await(t, p, misttest.Watching)
	eventually(t, "it is confirmed", func() bool { return h.confirmed("unlock") == 1 })
	past(t, time.Now().Add(paced(2*time.Second))) // a session takes half as long to end
	letBe(t, m, p, "it asked before anything was repeated")
}

// The questions of a node come late. That of a viewer whose denial was lifted is under way, and the unlock is not repeated
// meanwhile.
func TestAnUnlockIsNotRepeatedWhileQuestionsComeLate(t *testing.T) {
	t.Parallel()
	const late = 3 * time.Second
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept, func(o *enforce.Options) { o.RepeatAfter = late * 2 / 3 })
	delayed := h.delayed(m, late)
	silent(m, "USER_END")
	silent(m, "PLAY_REWRITE")
	p := watch(m, "live+fight", w.user("alice"), 1)
	await(t, p, misttest.Denied)
	delayed.Store(true)
	strangers := 1
	pass := func(d time.Duration) {
		for until := time.Now().Add(d); time.Now().Before(until); {
			strangers++
			m.Connect(misttest.Viewer{Stream: "live+fight", Address: host(strangers)})
			past(t, time.Now().Add(20*time.Millisecond))
		}
	}
	pass(late * 3 / 2)
	w.entitle("alice", "gold", time.Time{})
	pass(late * 3 / 2)
	await(t, p, misttest.Watching)
	past(t, time.Now().Add(paced(2*time.Second)))
	letBe(t, m, p, "its question was under way")
	assert.Equal(t, 1, h.confirmed("unlock"))
}

// That questions come late holds nobody up for ever: who is still denied long after the last of them is unlocked again.
func TestAnUnlockIsRepeatedOnceQuestionsComeInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept, datagramsOnly(t, m), func(o *enforce.Options) { o.RepeatAfter = 500 * time.Millisecond })
	delayed := h.delayed(m, time.Second)
	silent(m, "PLAY_REWRITE")
	p := watch(m, "live+fight", w.user("alice"), 1)
	await(t, p, misttest.Denied)
	delayed.Store(true)
	stranger := m.Connect(misttest.Viewer{Stream: "live+fight", Address: host(2)})
	await(t, stranger, misttest.Denied)
	m.SetLoss(1, 0)
	w.entitle("alice", "gold", time.Time{})
	eventually(t, "it is told in vain", func() bool { return h.commands("stop_sessid") >= 1 })
	delayed.Store(false)
	eventually(t, "it is given up", func() bool { return h.counted(giveUp, "stop_sessid") >= 1 })
	m.SetLoss(0, 0)
	await(t, p, misttest.Watching)
}

// MistServer tries again with a question that has its answer already. What is wanted of the session since is done all the same.
func TestARepeatedAttemptHoldsUpNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept, datagramsOnly(t, m))
	var question atomic.Pointer[http.Request]
	var asked atomic.Pointer[[]byte]
	h.through(m, func(w http.ResponseWriter, r *http.Request, on http.Handler) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		if r.Header.Get("X-Trigger") == "USER_NEW" && asked.CompareAndSwap(nil, &body) {
			question.Store(r.Clone(context.Background()))
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		on.ServeHTTP(w, r)
	})
	key := w.user("alice")
	gold := w.entitle("alice", "gold", time.Time{})
	p := watch(m, "live+fight", key, 1)
	await(t, p, misttest.Watching)
	again := func() {
		r := question.Load().Clone(context.Background())
		r.Body = io.NopCloser(bytes.NewReader(*asked.Load()))
		answer := httptest.NewRecorder()
		h.server.Config.Handler.ServeHTTP(answer, r)
		assert.Equal(t, "true", answer.Body.String())
	}
	m.SetLoss(1, 0)
	w.withdraw("alice", gold)
	eventually(t, "it is told in vain", func() bool { return h.commands("stop_sessid") >= 1 })
	again()
	m.SetLoss(0, 0)
	eventually(t, "it is ended, however often its question comes", func() bool {
		again()
		return p.State() == misttest.Denied
	})
}

// That questions come late is no reason to wait while MistServer has not heard of what is wanted: nobody can be back.
func TestAnUnlockThatDidNotArriveIsRepeatedWhileQuestionsComeLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept, datagramsOnly(t, m), func(o *enforce.Options) { o.RepeatAfter = 2 * time.Second })
	delayed := h.delayed(m, time.Second)
	silent(m, "PLAY_REWRITE")
	p := watch(m, "live+fight", w.user("alice"), 1)
	await(t, p, misttest.Denied)
	delayed.Store(true)
	strangers, next := 1, time.Now()
	come := func() {
		if time.Now().After(next) {
			next = time.Now().Add(200 * time.Millisecond)
			strangers++
			m.Connect(misttest.Viewer{Stream: "live+fight", Address: host(strangers)})
		}
	}
	late := time.Now().Add(2 * time.Second)
	eventually(t, "questions come late", func() bool { come(); return time.Now().After(late) })
	m.SetLoss(1, 0)
	w.entitle("alice", "gold", time.Time{})
	eventually(t, "it is told until it is given up", func() bool { come(); return h.counted(giveUp, "stop_sessid") >= 1 })
	m.SetLoss(0, 0)
	eventually(t, "it is told again", func() bool { come(); return p.State() == misttest.Watching })
}

// delayed has a MistServer's questions come later, while it says so.
func (h *house) delayed(m *misttest.Server, by time.Duration) *atomic.Bool {
	h.w.t.Helper()
	delayed := new(atomic.Bool)
	h.through(m, func(w http.ResponseWriter, r *http.Request, on http.Handler) {
		if delayed.Load() {
			<-time.After(by)
		}
		on.ServeHTTP(w, r)
	})
	return delayed
}

package enforce_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/enforce"
	"authhook/internal/mist/api"
	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
)

// giveUp is what counts the commands that the queue gave up, after some 5 s of repeating them.
const giveUp = "authhook_mist_commands_failed_total"

// A command that MistServer never received, however often it was repeated, comes again when it can be had.
func TestACommandThatWasGivenUpComesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept, datagramsOnly(t, m))
	alice, bob := w.user("alice"), w.user("bob")
	bought := w.entitle("alice", "gold", time.Time{})
	hers, his := watch(m, "live+fight", alice, 1), watch(m, "live+other", bob, 2)
	await(t, hers, misttest.Watching)
	await(t, his, misttest.Denied)
	m.SetLoss(1, 1)
	w.withdraw("alice", bought)
	w.entitle("bob", "gold", time.Time{})
	eventually(t, "both are given up", func() bool { return h.counted(giveUp, "stop_sessid") >= 2 })
	undisturbed(t, hers, "nothing has arrived")
	m.SetLoss(.5, .5)
	await(t, hers, misttest.Denied)
	await(t, his, misttest.Watching)
	eventually(t, "all is confirmed", func() bool { return h.confirmed("revoke") == 1 && h.confirmed("unlock") == 1 })
}

// An unlock whose reply is lost is not repeated once the viewer is back: it would end what it brought about.
func TestAnUnlockIsNotRepeatedOnceTheViewerIsBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept, datagramsOnly(t, m), func(o *enforce.Options) { o.RepeatAfter = time.Hour })
	p := watch(m, "live+fight", w.user("alice"), 1)
	await(t, p, misttest.Denied)
	eventually(t, "the start is over", func() bool { return h.status("edge-1").Waiting == 0 && !h.status("edge-1").Listed.IsZero() })
	m.SetLoss(0, 1)
	w.entitle("alice", "gold", time.Time{})
	await(t, p, misttest.Watching)
	at := time.Now()
	past(t, at.Add(time.Second)) // in which the queue would repeat it four times
	letBe(t, m, p, "it was let in, and is let be")
}

// That a viewer came back is seen by its asking, and not only by the end of its denial, which may never be told.
func TestAnUnlockIsOverWhenTheViewerAsks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, unswept, func(o *enforce.Options) { o.RepeatAfter = time.Second })
	silent(m, "USER_END")
	p := watch(m, "live+fight", w.user("alice"), 1)
	await(t, p, misttest.Denied)
	w.entitle("alice", "gold", time.Time{})
	await(t, p, misttest.Watching)
	eventually(t, "it is confirmed", func() bool { return h.confirmed("unlock") == 1 })
	past(t, time.Now().Add(2*h.options.RepeatAfter))
	assert.Equal(t, 0, h.status("edge-1").Pending, "nothing is left to do")
	assert.Equal(t, misttest.Watching, p.State())
	for _, e := range p.Events() {
		assert.NotEqual(t, misttest.EventCut, e.Kind)
	}
}

// A denial whose player has gone for good is unlocked a few times, and then let go.
func TestUnlockingGivesUpWhenThePlayerHasGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, func(o *enforce.Options) { o.SweepEvery, o.RepeatAfter = time.Hour, 20*time.Millisecond })
	silent(m, "USER_END")
	p := m.Connect(misttest.Viewer{Stream: "live+fight", Token: w.user("alice"), Address: host(1)})
	await(t, p, misttest.Denied)
	require.Equal(t, 1, h.status("edge-1").Denied)
	w.entitle("alice", "gold", time.Time{})
	eventually(t, "it is let go", func() bool { return h.status("edge-1").Denied == 0 })
	assert.LessOrEqual(t, h.commands("stop_sessid"), 5)
	assert.Positive(t, told(m, "stop_sessid")[p.SessionID()])
}

// What never arrived is no attempt: once MistServer can be reached a denial is unlocked as often as any.
func TestUnlocksThatNeverArrivedDoNotCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, datagramsOnly(t, m), func(o *enforce.Options) { o.SweepEvery, o.RepeatAfter = time.Hour, 20*time.Millisecond })
	silent(m, "USER_END")
	p := m.Connect(misttest.Viewer{Stream: "live+fight", Token: w.user("alice"), Address: host(1)})
	await(t, p, misttest.Denied)
	m.SetLoss(1, 1)
	w.entitle("alice", "gold", time.Time{})
	eventually(t, "it is given up", func() bool { return h.counted(giveUp, "stop_sessid") >= 1 })
	m.SetLoss(0, 0)
	eventually(t, "it is let go", func() bool { return h.status("edge-1").Denied == 0 })
	assert.Greater(t, told(m, "stop_sessid")[p.SessionID()], 1)
}

// A session that was denied before a restart of authhook is known again, with no word from MistServer.
func TestDenialsAreKnownAgainAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	goldKey(w, "alice")
	now := time.Now()
	denied := policy.Session{
		Node: "edge-1", ID: strings.Repeat("a", 64), State: policy.SessionDenied, Stream: "movie", User: "alice",
		JWT:    &policy.Credential{Kind: policy.CredentialJWT, User: "alice"},
		Reason: policy.PaymentRequired, Opened: now, Decided: now,
	}
	long := denied
	long.ID, long.Opened, long.Decided = strings.Repeat("b", 64), now.Add(-time.Hour), now.Add(-time.Hour)
	require.NoError(t, w.db.WriteSessions(t.Context(), []policy.Session{denied, long}))
	w.open(m, unswept) // she has the plan by now
	eventually(t, "it is unlocked", func() bool { return told(m, "stop_sessid")[denied.ID] > 0 })
	assert.Zero(t, told(m, "stop_sessid")[long.ID], "MistServer has forgotten the other as well")
}

// silent has a MistServer not tell of something.
func silent(m *misttest.Server, kind string) {
	triggers := m.Triggers()
	delete(triggers, kind)
	m.SetTriggers(triggers)
}

// denialsLost has every answer be a yes on its way, whatever was decided.
func denialsLost(w http.ResponseWriter, r *http.Request, on http.Handler) {
	if r.Header.Get("X-Trigger") != "USER_NEW" {
		on.ServeHTTP(w, r)
		return
	}
	on.ServeHTTP(httptest.NewRecorder(), r)
	_, _ = w.Write([]byte("true"))
}

// command has somebody else tell a MistServer something.
func command(t testing.TB, m *misttest.Server, calls map[string]any) {
	t.Helper()
	client, err := api.New(m.HTTPURL(), api.Options{})
	require.NoError(t, err)
	_, err = client.Do(t.Context(), calls)
	require.NoError(t, err)
	require.NoError(t, client.Close())
}

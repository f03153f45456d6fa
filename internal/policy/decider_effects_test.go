package policy

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func session(id string) change { return func(w *world) { w.request.Session = id } }

func limit(n int, o OnLimit) change {
	return func(w *world) { w.catalog.Plans[3].MaxConcurrent, w.catalog.Plans[3].OnLimit = n, o }
}

// as is the request of another session of the same viewer.
func (w *world) as(session string) Request {
	r := w.request
	r.Session = session
	return r
}

func TestLeaseOfAPlan(t *testing.T) {
	w := newWorld(has(Entitlement{Plan: "single", Until: in(time.Hour)}), renditions(map[string]string{"single": "sd"}), limit(2, OnLimitReject))
	h := newHouse(w, Options{LeaseFor: time.Hour})
	first := h.decide(w.as("1"))
	assert.Equal(t, Entitled.String(), first.Reason.String())
	assert.Equal(t, []Lease{{User: "ann", Plan: "single", Node: "node1", Session: "1", At: noon, Until: in(time.Hour)}}, h.leases.places)
	assert.True(t, h.decide(w.as("2")).Allow)

	third := h.decide(w.as("3"))
	assert.False(t, third.Allow)
	assert.Equal(t, ConcurrencyLimit.String(), third.Reason.String())
	assert.Equal(t, "ann", third.User)
	assert.Equal(t, "single", third.Plan)
	assert.Empty(t, third.Tags)
	assert.Equal(t, in(time.Hour), third.Until, "then the plan is over, and the answer another")

	assert.True(t, h.decide(w.as("1")).Allow, "a session that comes back keeps its place")
	other := w.as("1")
	other.Node = "node2"
	assert.False(t, h.decide(other).Allow, "the same id on another node is another session")
	h.now = in(time.Minute)
	assert.False(t, h.decide(w.as("3")).Allow)
}

func TestLeaseKicksTheOldest(t *testing.T) {
	w := newWorld(plan("single"), limit(2, OnLimitKickOldest))
	h := newHouse(w, Options{})
	assert.Empty(t, h.decide(w.as("1")).Kicked)
	assert.Empty(t, h.decide(w.as("2")).Kicked)
	third := h.decide(w.as("3"))
	assert.True(t, third.Allow)
	assert.Equal(t, Entitled.String(), third.Reason.String())
	assert.Equal(t, []KickedSession{{"node1", "1"}}, third.Kicked)
	assert.Equal(t, in(12*time.Hour), h.leases.places[0].Until, "a place is kept for 12 h unless set otherwise")
}

func TestLeaseIsTakenOnlyToWatchUnderALimit(t *testing.T) {
	for name, changes := range map[string][]change{
		"a plan without a limit":  with(plan("gold")),
		"the stream bought":       with(plan("single"), has(Entitlement{Stream: "live+show"})),
		"a rendition":             with(plan("single"), action(Rendition)),
		"a connection":            with(plan("single"), action(Play)),
		"a publisher":             with(plan("single"), action(Push), publishKey),
		"a public stream":         with(plan("single"), access(AccessPublic)),
		"an authenticated stream": with(plan("single"), access(AccessAuthenticated)),
		"a hold":                  with(plan("single"), held),
		"a plan that is over":     with(has(Entitlement{Plan: "single", Until: noon})),
	} {
		w := newWorld(changes...)
		h := newHouse(w, Options{})
		h.decide(w.request)
		assert.Zero(t, h.leases.taken, name)
	}
	w := newWorld(failed("single", in(-time.Hour)), func(w *world) { w.catalog.Plans[3].Grace = Duration(day) })
	h := newHouse(w, Options{})
	assert.Equal(t, Grace.String(), h.decide(w.request).Reason.String())
	assert.Equal(t, 1, h.leases.taken, "the limit holds in the grace")
}

func TestPreviewIsCountedForAViewer(t *testing.T) {
	watch := func(h *house, w *world, viewer ...change) string {
		v := newWorld(viewer...).request
		r := w.request
		r.Address, r.Session, r.Presented, r.Stream = v.Address, v.Session, v.Presented, v.Stream
		return h.decide(r).Reason.String()
	}
	w := newWorld(preview(time.Minute, time.Hour))
	h := newHouse(w, Options{})

	assert.Equal(t, "preview", watch(h, w))
	assert.Contains(t, h.previews.began, previewKey{"user:ann", "live+*"})
	h.now = in(30 * time.Second)
	assert.Equal(t, "preview", watch(h, w, session("other"), address("198.51.100.9"), stream("live+else")), "the user's goes on, wherever")
	h.now = in(time.Minute)
	assert.Equal(t, "payment_required", watch(h, w), "reconnecting does not begin it anew")
	assert.Equal(t, "payment_required", watch(h, w, session("other")), "nor does another session")
	assert.Equal(t, "payment_required", watch(h, w, address("198.51.100.9")), "nor another address")
	assert.Equal(t, "payment_required", watch(h, w, stream("live+else")), "nor another stream of the policy")

	assert.Equal(t, "preview", watch(h, w, nobody), "who says no name is counted by address")
	assert.Contains(t, h.previews.began, previewKey{"address:192.0.2.7", "live+*"})
	h.now = in(2 * time.Minute)
	assert.Equal(t, "credential_missing", watch(h, w, nobody, session("other")))
	assert.Equal(t, "credential_missing", watch(h, w, nobody, address("::ffff:192.0.2.7")), "an IPv4 address in IPv6 form is the same")
	assert.Equal(t, "preview", watch(h, w, nobody, address("192.0.2.8")))

	assert.Equal(t, "preview", watch(h, w, nobody, address("2001:db8:0:1::1")))
	assert.Contains(t, h.previews.began, previewKey{"address:2001:db8:0:1::/64", "live+*"})
	h.now = in(4 * time.Minute)
	assert.Equal(t, "credential_missing", watch(h, w, nobody, address("2001:db8:0:1:ffff::2")), "a viewer has a whole /64")
	assert.Equal(t, "preview", watch(h, w, nobody, address("2001:db8:0:2::1")))
	assert.Equal(t, "preview", watch(h, w, nobody, address("fe80::1%eth0")))
	h.now = in(6 * time.Minute)
	assert.Equal(t, "credential_missing", watch(h, w, nobody, address("fe80::2%eth1")), "a zone makes no new viewer")

	h.now = in(time.Hour - 1)
	assert.Equal(t, "payment_required", watch(h, w))
	h.now = in(time.Hour)
	assert.Equal(t, "preview", watch(h, w), "the next one, when it may begin")
	h.now = in(time.Hour + time.Minute)
	assert.Equal(t, "payment_required", watch(h, w))
}

func TestPreviewSaysWhenItEnds(t *testing.T) {
	w := newWorld(preview(time.Minute, time.Hour))
	h := newHouse(w, Options{})
	d := h.decide(w.request)
	assert.Equal(t, Decision{Allow: true, Reason: Preview, Until: in(time.Minute), User: "ann", CredentialID: "c1", PreviewFrom: noon}, d)
	h.now = in(2 * time.Minute)
	d = h.decide(w.request)
	assert.Equal(t, Decision{Reason: PaymentRequired, Until: in(time.Hour), User: "ann", CredentialID: "c1", PreviewFrom: noon}, d)
}

func TestPreviewIsBegunOnlyWhereItHelps(t *testing.T) {
	for name, changes := range map[string][]change{
		"an entitled user":         with(plan("gold")),
		"a public stream":          with(access(AccessPublic)),
		"a closed stream":          with(access(AccessClosed)),
		"an authenticated stream":  with(nobody, access(AccessAuthenticated)),
		"a wrong credential":       with(presented(Presented{Unrecognised: true})),
		"a suspended user":         with(status(SuspendedUser)),
		"a hold":                   with(held),
		"a quota that is used up":  with(plan("metered"), used(time.Hour)),
		"a refused address":        with(refused("192.0.2.0/24")),
		"a connector that is not":  with(deniedConnectors("HLS")),
		"a rendition":              with(action(Rendition)),
		"a connection":             with(action(Connect)),
		"a publisher":              with(action(Push), nobody),
		"a limit that is exceeded": with(plan("single"), limit(1, OnLimitReject)),
	} {
		w := newWorld(append(changes, minutePreview)...)
		h := newHouse(w, Options{})
		h.decide(w.as("1"))
		h.decide(w.as("2"))
		assert.Zero(t, h.previews.calls, name)
	}
}

// A verifier that contradicts itself, or says nothing, lets nobody in.
func TestWhatAVerifierDoesNotVouchForIsDenied(t *testing.T) {
	w := newWorld(plan("gold"))
	good := Credential{Kind: CredentialJWT, User: "ann"}
	for name, v := range map[string]verified{
		"both a credential and a fault": {&good, CredentialUnknown},
		"neither":                       {nil, 0},
	} {
		h := newHouse(w, Options{})
		h.verifier["a.b.c"] = v
		r := w.request
		r.Presented = Presented{JWT: "a.b.c"}
		d := h.decide(r)
		assert.False(t, d.Allow, name)
		assert.Equal(t, CredentialUnknown.String(), d.Reason.String(), name)
	}
}

// What an outage leaves alone: whoever is watching, MistServer's own connections, and the publishers' streams.
func TestWhatAnOutageLeavesAlone(t *testing.T) {
	away := func(w *world, o Options) *house {
		h := newHouse(w, o)
		h.source.err = errAway
		return h
	}
	running := newWorld(plan("single"))
	running.request.Rerun = true
	assert.True(t, away(running, Options{}).decide(running.request).Allow, "what runs goes on")
	h := newHouse(running, Options{})
	h.leases.err = errAway
	d := h.decide(running.request)
	assert.True(t, d.Allow, "also where its place cannot be looked up")
	assert.Equal(t, Unavailable.String(), d.Reason.String())

	for _, a := range []Action{Connect, Play} {
		w := newWorld(action(a))
		d, _ := NewDecider(nil, nil, nil, Options{}).Decide(t.Context(), &w.request)
		assert.True(t, d.Allow, "no catalog was read yet, and no rule names it")
	}

	push := newWorld(action(Push), publishKey)
	assert.Equal(t, "live+show", away(push, Options{AllowUnavailable: true}).decide(push.request).Stream)
	assert.Empty(t, away(push, Options{}).decide(push.request).Stream)
	push.request.Stream, push.request.StreamOfCredential = "", true
	assert.False(t, away(push, Options{AllowUnavailable: true}).decide(push.request).Allow, "it has nowhere to go")
	invalid := newWorld()
	invalid.request.Invalid = true
	d, _ = NewDecider(nil, nil, nil, Options{AllowUnavailable: true}).Decide(t.Context(), &invalid.request)
	assert.False(t, d.Allow)
}

// All that a decision waits for takes no longer than its one deadline.
func TestADecisionHasOneDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(plan("single"))
		w.at = time.Now()
		h := newHouse(w, Options{Timeout: time.Second})
		clock := time.Now
		h.Decider.options.Now = clock
		h.source.block = func(ctx context.Context) error { time.Sleep(700 * time.Millisecond); return nil }
		h.leases.hangs = true
		began := time.Now()
		d := h.decide(w.request)
		assert.Equal(t, Unavailable.String(), d.Reason.String())
		assert.Equal(t, time.Second, time.Since(began))
	})
}

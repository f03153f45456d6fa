package policy

import (
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawHouse puts a random situation behind a Decider: the credential is presented in one of the ways in which it can be,
// some places are taken, a preview may have begun, and now and then something does not answer.
func drawHouse(t *rapid.T, s situation) *house {
	h := newHouse(&world{at: s.At, catalog: *s.Facts.Catalog}, Options{AllowUnavailable: rapid.Bool().Draw(t, "allow unavailable")})
	p := &s.Request.Presented
	switch c := s.Facts.Credential; {
	case c == nil && s.Facts.CredentialFault == CredentialUnknown:
		*p = oneOf(t, "unknown", Presented{Unrecognised: true}, Presented{JWT: "forged"}, Presented{Key: HashKey("ak_x")})
	case c == nil && s.Facts.CredentialFault != 0:
		h.verifier["token"] = verified{fault: s.Facts.CredentialFault}
		p.JWT = "token"
	case c == nil:
	case c.Kind == CredentialJWT && rapid.Bool().Draw(t, "verified earlier"):
		p.Claims = c
	case c.Kind == CredentialJWT:
		h.verifier["token"] = verified{credential: c}
		p.JWT = "token"
	case s.Request.Address.IsValid() && rapid.Bool().Draw(t, "bound"):
		h.source.credentials[HashAddress(s.Request.Address)] = c
	default:
		p.Key = HashKey("ak_ann")
		h.source.credentials[p.Key] = c
	}
	if s.Facts.User != nil {
		h.source.users["ann"] = s.Facts.User
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "other sessions") {
		for _, plan := range somePlans {
			h.leases.places = append(h.leases.places, Lease{User: "ann", Plan: plan, Node: "node1", Session: uuids[i], Until: s.At.Add(time.Hour)})
		}
	}
	if policy := s.Facts.Catalog.Stream(s.Request.Stream); policy != nil && !s.Facts.PreviewFrom.IsZero() {
		h.previews.began = map[previewKey]time.Time{{previewer(s.Request, s.Facts), policy.Match}: s.Facts.PreviewFrom}
	}
	away := func(what string) error {
		if rarely(t, what) {
			return errAway
		}
		return nil
	}
	h.source.err, h.leases.err, h.previews.err = away("source away"), away("leases away"), away("previews away")
	return h
}

// Explain says what Decide would answer, and leaves no trace.
func TestExplainAgreesWithDecideWithoutEffect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := situations.Draw(t, "situation")
		h := drawHouse(t, s)
		s.Request.Event = eventID("u", 1)
		places, began := slices.Clone(h.leases.places), maps.Clone(h.previews.began)

		explained, findings, err := h.Explain(t.Context(), s.Request, s.At)
		require.Zero(t, h.leases.taken, "a place was asked for")
		require.Zero(t, h.previews.calls, "a preview was begun")
		require.Equal(t, places, h.leases.places)
		require.Equal(t, began, h.previews.began)

		decided, repeated := h.Decide(t.Context(), s.Request)
		require.False(t, repeated, "Explain made an event known")
		decided.Kicked, decided.Stream, explained.Stream = nil, "", ""
		require.Equal(t, decided, explained)
		require.Equal(t, decided.Reason == Unavailable, err != nil)
		if err != nil {
			require.ErrorIs(t, err, errAway)
			return
		}
		last := findings[len(findings)-1]
		require.NotEmpty(t, last.Rule)
		if last.Outcome != "pass" { // a place that is free lets pass what was allowed before it
			require.Equal(t, decided.Allow, last.Outcome == "allow", "%+v", findings)
		} else {
			require.Equal(t, "concurrency", last.Rule)
			require.True(t, decided.Allow)
		}
	})
}

// Whatever the way to the facts, Decide answers as the oracle does from all of them at once, or, where something did not
// answer or no place was free, says so.
func TestDecideAgreesWithTheOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := situations.Draw(t, "situation")
		h := drawHouse(t, s)
		d, _ := h.Decide(t.Context(), s.Request)

		facts := *s.Facts
		if p := s.Facts.Catalog.Stream(s.Request.Stream); p != nil && !s.At.Before(facts.PreviewFrom.Add(p.previewEvery())) {
			facts.PreviewFrom = s.At // one may begin, and does
		}
		allow, reason := oracle(s.Request, &facts, s.At)
		switch d.Reason {
		case Unavailable:
			require.True(t, h.source.err != nil || h.leases.err != nil || h.previews.err != nil)
			require.Equal(t, h.options.AllowUnavailable, d.Allow)
		case ConcurrencyLimit:
			require.True(t, allow)
			require.False(t, d.Allow)
			require.NotEmpty(t, h.leases.places)
		default:
			require.Equal(t, reason, d.Reason.String())
			require.Equal(t, allow, d.Allow)
			requireJustified(t, s.Request, &facts, s.At, d)
		}
	})
}

func TestExplainWithoutACatalog(t *testing.T) {
	w := newWorld()
	d, findings, err := NewDecider(nil, nil, nil, Options{}).Explain(t.Context(), &w.request, noon)
	assert.ErrorIs(t, err, ErrNoCatalog)
	assert.Equal(t, Decision{Reason: Unavailable}, d)
	assert.Empty(t, findings)
}

// finding is what a rule found, "" if it was not asked.
func finding(findings []Finding, rule string) string {
	for _, f := range findings {
		if f.Rule == rule {
			return f.Outcome + ": " + f.Detail
		}
	}
	return ""
}

// What a rule found is said in words that an operator can act on.
func TestFindings(t *testing.T) {
	for _, c := range []struct {
		rule, want string
		changes    []change
	}{
		{"payload valid", "deny: ", with(invalidPayload)},
		{"stream known", `pass: the policy "live+*" holds: access entitled, publish key`, nil},
		{"stream known", `deny: no stream policy of the catalog matches "vod"`, with(stream("vod"))},
		{"address", "deny: 192.0.2.7 is among deny_addresses", with(refused("192.0.2.0/24"))},
		{"address", "deny: 192.0.2.7 is not among allow_addresses", with(allowed("198.51.100.0/24"))},
		{"connector", "deny: HLS is among deny_connectors", with(deniedConnectors("HLS"))},
		{"publishing", "deny: the stream is closed to publishers", with(action(Push), publish(PublishClosed))},
		{"credential", "deny: it is good from ever until 2026-03-10T12:00:00Z", with(annsKey(Credential{Until: noon}))},
		{"credential", "deny: it is good for [vod]", with(annsKey(Credential{Streams: []string{"vod"}}))},
		{"credential", "deny: it is good for [198.51.100.0/24]", with(annsKey(Credential{Addresses: prefixes("198.51.100.0/24")}))},
		{"credential", "deny: nobody signed it", with(presented(Presented{JWT: "forged"}))},
		{"user active", "deny: ", with(status(SuspendedUser))},
		{"no hold", "deny: 1 standing; the first is h1, of kind dispute", with(held)},
		{"publisher", "deny: the credential is for watching only", with(action(Push))},
		{"entitlement", "allow: e1 of stripe covers it until 2026-03-10T13:00:00Z",
			with(has(Entitlement{ID: "e1", Plan: "gold", Until: in(time.Hour), Source: "stripe"}))},
		{"entitlement", "allow: e1 of stripe covers it until ever", with(has(Entitlement{ID: "e1", Plan: "gold", Source: "stripe"}))},
		{"entitlement", "allow: e1 of  covers it until 2026-03-13T11:00:00Z", with(failed("gold", in(-time.Hour)))},
		{"entitlement", "deny: none of the user's 1 entitlements covers the stream", with(plan("other"))},
		{"entitlement", "deny: e1 ended at 2026-03-10T12:00:00Z", with(gold(never, noon))},
		{"entitlement", "deny: e1 begins at 2026-03-10T13:00:00Z", with(gold(in(time.Hour), never))},
		{"entitlement", "deny: 1h0m0s of the 60 minutes of plan metered are used this month", with(plan("metered"), used(time.Hour))},
		{"entitlement", "deny: 1h0m0s of the 60 minutes of plan metered are used this month, 2 running sessions included",
			with(plan("metered"), used(40*time.Minute), running(in(-11*time.Minute), in(-9*time.Minute)))},
		{"entitlement", "allow: e-metered of  covers it until ever; 41m30s of the 60 minutes of plan metered are used this month, 1 running sessions included",
			with(plan("metered"), used(40*time.Minute), running(in(-90*time.Second-1)))},
		{"entitlement", "deny: 2562047h47m16s of the 60 minutes of plan metered are used this month, 9223372036854775807 running sessions included",
			with(plan("metered"), used(time.Minute), func(w *world) { w.ann().Running, w.ann().RunningFrom = math.MaxInt, in(-2) })},
		{"entitlement", "allow: e-metered of  covers it until ever; 0s of the 60 minutes of plan metered are used this month", with(plan("metered"))},
		{"preview", "allow: none has begun: one of 1m0s would begin now", with(minutePreview)},
		{"concurrency", "pass: 0 other sessions are open of the 1 that plan single permits (kick_oldest)", with(plan("single"))},
	} {
		w := newWorld(c.changes...)
		h := newHouse(w, Options{})
		_, findings, err := h.Explain(t.Context(), &w.request, noon)
		assert.NoError(t, err)
		assert.Equal(t, c.want, finding(findings, c.rule), "%+v", findings)
	}
}

func TestExplainOverTheLimit(t *testing.T) {
	for onLimit, want := range map[OnLimit]Reason{OnLimitReject: ConcurrencyLimit, OnLimitKickOldest: Entitled} {
		w := newWorld(plan("single"), limit(1, onLimit))
		h := newHouse(w, Options{})
		h.decide(w.as("1"))
		second := w.as("2")
		d, findings, err := h.Explain(t.Context(), &second, noon)
		assert.NoError(t, err)
		assert.Equal(t, want.String(), d.Reason.String())
		assert.Contains(t, finding(findings, "concurrency"), "1 other sessions are open of the 1")

		own := w.as("1")
		d, _, err = h.Explain(t.Context(), &own, noon)
		assert.NoError(t, err)
		assert.True(t, d.Allow, "its own place is no other's")

		h.leases.err = errAway
		d, _, err = h.Explain(t.Context(), &own, noon)
		assert.ErrorIs(t, err, errAway)
		assert.Equal(t, Decision{Reason: Unavailable}, d)
	}
}

// Explain can be asked about another moment than now.
func TestExplainAtAMoment(t *testing.T) {
	w := newWorld(gold(in(time.Hour), in(2*time.Hour)))
	h := newHouse(w, Options{})
	for at, want := range map[time.Duration]Reason{0: EntitlementNotStarted, time.Hour: Entitled, 2 * time.Hour: EntitlementExpired} {
		d, _, err := h.Explain(t.Context(), &w.request, in(at))
		assert.NoError(t, err)
		assert.Equal(t, want.String(), d.Reason.String())
	}
}

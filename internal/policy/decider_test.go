package policy

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func presented(p Presented) change { return func(w *world) { w.request.Presented = p } }
func action(a Action) change       { return func(w *world) { w.request.Action = a } }

// What cannot be found out is Unavailable, and no verdict: the configured answer, and nothing that rests on facts.
func TestUnavailable(t *testing.T) {
	claims := &Credential{Kind: CredentialJWT, User: "ann"}
	cases := []struct {
		name    string
		changes []change
		breaks  func(*house)
	}{
		{"no catalog", with(access(AccessPublic)), func(h *house) { h.Decider = NewDecider(h.source, h.leases, h.previews, h.options) }},
		{"the source, with a key", with(plan("gold")), func(h *house) { h.source.err = errAway }},
		{"the source, with claims", with(plan("gold"), presented(Presented{Claims: claims})), func(h *house) { h.source.err = errAway }},
		{"the source, with a JWT", with(plan("gold"), presented(Presented{JWT: "good"})), func(h *house) { h.source.err = errAway }},
		{"the key of a JWT", with(plan("gold"), presented(Presented{JWT: "key to come"})), func(*house) {}},
		{"the source, with an address", with(nobody), func(h *house) { h.source.err = errAway }},
		{"the source, for an authenticated stream", with(access(AccessAuthenticated)), func(h *house) { h.source.err = errAway }},
		{"the source, in a public window that is over", with(window(in(-time.Hour), noon, AccessPublic)), func(h *house) { h.source.err = errAway }},
		{"the source, for a publisher", with(action(Push), publishKey), func(h *house) { h.source.err = errAway }},
		{"the source, for a rendition", with(action(Rendition), plan("gold")), func(h *house) { h.source.err = errAway }},
		{"the leases", with(plan("single")), func(h *house) { h.leases.err = errAway }},
		{"the previews", with(minutePreview), func(h *house) { h.previews.err = errAway }},
		{"the previews, of nobody", with(nobody, minutePreview), func(h *house) { h.previews.err = errAway }},
	}
	for _, c := range cases {
		for _, allow := range []bool{false, true} {
			w := newWorld(c.changes...)
			h := newHouse(w, Options{AllowUnavailable: allow})
			h.verifier["good"] = verified{credential: claims}
			h.verifier["key to come"] = verified{fault: Unavailable}
			c.breaks(h)
			want := Decision{Allow: allow, Reason: Unavailable}
			if w.request.Presented.Claims != nil || w.request.Presented.JWT == "good" {
				want.Claims = claims // they are known, and nothing else is
			}
			if allow && w.request.Action == Push {
				want.Stream = w.request.Stream
			}
			assert.Equal(t, want, h.decide(w.request), "%s, allow %t", c.name, allow)
		}
	}
}

// A denial that needs no facts stays one, whatever the answer in an outage is.
func TestAnOutageOpensNothingThatIsDeniedWithoutFacts(t *testing.T) {
	for name, changes := range map[string][]change{
		"payload_invalid":    with(invalidPayload),
		"stream_unknown":     with(stream("vod")),
		"stream_closed":      with(access(AccessClosed)),
		"publisher_denied":   with(action(Push), publish(PublishClosed)),
		"credential_unknown": with(presented(Presented{Unrecognised: true})),
		"connector_denied":   with(action(Play), deniedConnectors("HLS")),
		"address_denied":     with(action(Connect), refused("192.0.2.0/24")),
	} {
		w := newWorld(changes...)
		h := newHouse(w, Options{AllowUnavailable: true})
		h.source.err = errAway
		assert.Equal(t, name, h.decide(w.request).Reason.String())
		assert.False(t, h.decide(w.request).Allow, name)
	}
}

func TestPublicStreamsSurviveAnOutage(t *testing.T) {
	for name, p := range map[string]Presented{
		"JWT": {JWT: "key to come"}, "key": {Key: HashKey("ak_ann")}, "claims": {Claims: &Credential{User: "ann", Kind: CredentialJWT}}, "nothing": {}, "no known form": {Unrecognised: true},
	} {
		w := newWorld(access(AccessPublic), plan("gold"), presented(p))
		h := newHouse(w, Options{})
		h.source.err = errAway
		h.verifier["key to come"] = verified{fault: Unavailable}
		assert.Equal(t, Decision{Allow: true, Reason: Public}, h.decide(w.request), name)
	}
	w := newWorld(access(AccessPublic), plan("gold"))
	d := newHouse(w, Options{}).decide(w.request)
	assert.Equal(t, goldTags, d.Tags, "with the source there, what is presented is used")
	assert.Equal(t, "ann", d.User)
}

func TestSourceIsAskedOnlyWhereFactsMatter(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes []change
		reason  Reason
		calls   int64
	}{
		{"an invalid payload", with(invalidPayload), PayloadInvalid, 0},
		{"an unknown stream", with(stream("vod")), StreamUnknown, 0},
		{"a closed stream", with(access(AccessClosed)), StreamClosed, 0},
		{"a rendition of a closed stream", with(access(AccessClosed), action(Rendition)), StreamClosed, 0},
		{"a stream closed by a window", with(window(never, never, AccessClosed)), StreamClosed, 0},
		{"a public stream and nothing presented", with(access(AccessPublic), nobody), Public, 0},
		{"a connection", with(action(Connect)), Public, 0},
		{"a connection that plays", with(action(Play)), Public, 0},
		{"open publishing", with(action(Push), publish(PublishOpen)), Publisher, 0},
		{"closed publishing", with(action(Push), publish(PublishClosed)), PublisherDenied, 0},
		{"a text in no known form", with(presented(Presented{Unrecognised: true})), CredentialUnknown, 0},
		{"a JWT that fails", with(presented(Presented{JWT: "forged"})), CredentialUnknown, 0},
		{"nothing presented, and no address", with(nobody, address("")), CredentialMissing, 0},
		{"a key", with(plan("gold")), Entitled, 1},
		{"a key on a public stream", with(access(AccessPublic)), Public, 1},
		{"a key that nobody gave out", with(presented(Presented{Key: HashKey("ak_bob")})), CredentialUnknown, 1},
		{"an address", with(nobody), CredentialMissing, 1},
		{"claims", with(plan("gold"), presented(Presented{Claims: &Credential{User: "ann"}})), Entitled, 1},
		{"a publisher's key", with(action(Push), publishKey), Publisher, 1},
	} {
		w := newWorld(c.changes...)
		h := newHouse(w, Options{})
		assert.Equal(t, c.reason.String(), h.decide(w.request).Reason.String(), c.name)
		assert.Equal(t, c.calls, h.source.calls.Load(), c.name)
	}
}

func TestJWT(t *testing.T) {
	for _, c := range []struct {
		name   string
		token  Credential
		fault  Reason
		reason Reason
	}{
		{"good", Credential{User: "ann"}, 0, Entitled},
		{"good until later", Credential{User: "ann", Until: in(time.Hour)}, 0, Entitled},
		{"over", Credential{User: "ann", Until: noon}, 0, CredentialExpired},
		{"not yet good", Credential{User: "ann", From: in(1)}, 0, CredentialExpired},
		{"another stream's", Credential{User: "ann", Streams: []string{"vod"}}, 0, CredentialWrongStream},
		{"another address's", Credential{User: "ann", Addresses: prefixes("198.51.100.0/24")}, 0, CredentialWrongAddress},
		{"nobody's", Credential{User: "bob"}, 0, UserUnknown},
		{"forged", Credential{}, CredentialUnknown, CredentialUnknown},
		{"expired", Credential{}, CredentialExpired, CredentialExpired},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(plan("gold"), presented(Presented{JWT: "token"}), minutePreview)
			h := newHouse(w, Options{})
			known := h.verifier["token"]
			if known.fault = c.fault; c.fault == 0 {
				known.credential = &c.token
				c.token.Kind = CredentialJWT
			}
			h.verifier["token"] = known
			d := h.decide(w.request)
			assert.Equal(t, c.reason.String(), d.Reason.String())
			assert.Same(t, known.credential, d.Claims)

			if c.fault == 0 { // claims that were verified earlier are held against the request all the same
				w.request.Presented = Presented{Claims: &c.token}
				again := h.decide(w.request)
				assert.Equal(t, d, again)
			}
		})
	}
	w := newWorld(plan("gold"), presented(Presented{JWT: "token"}))
	h := newHouse(w, Options{})
	h.SetCatalog(&w.catalog, nil)
	assert.Equal(t, CredentialUnknown.String(), h.decide(w.request).Reason.String(), "no verifier knows no token")
}

func TestAddressBinding(t *testing.T) {
	bound := func(a string, c Credential, changes ...change) Decision {
		w := newWorld(append(changes, plan("gold"))...)
		h := newHouse(w, Options{})
		c.User, c.Kind, c.ID = "ann", CredentialAddress, "bound"
		h.source.credentials[HashAddress(netip.MustParseAddr(a))] = &c
		return h.decide(w.request)
	}
	bare := presented(Presented{})
	d := bound("192.0.2.7", Credential{}, bare)
	assert.Equal(t, Decision{Allow: true, Reason: Entitled, User: "ann", CredentialID: "bound", Plan: "gold", Tags: goldTags}, d)
	for name, c := range map[string]struct {
		d    Decision
		want Reason
	}{
		"in IPv6 form":             {bound("::ffff:192.0.2.7", Credential{}, bare), Entitled},
		"asked in IPv6 form":       {bound("192.0.2.7", Credential{}, bare, address("::ffff:192.0.2.7")), Entitled},
		"with a zone":              {bound("fe80::1", Credential{}, bare, address("fe80::1%eth0")), Entitled},
		"another address":          {bound("192.0.2.8", Credential{}, bare), CredentialMissing},
		"a binding that is over":   {bound("192.0.2.7", Credential{Until: noon}, bare), CredentialExpired},
		"a binding withdrawn":      {bound("192.0.2.7", Credential{Revoked: true}, bare), CredentialRevoked},
		"other streams":            {bound("192.0.2.7", Credential{Streams: []string{"vod"}}, bare), CredentialWrongStream},
		"a wrong key is no way in": {bound("192.0.2.7", Credential{}, presented(Presented{Key: HashKey("ak_bob")})), CredentialUnknown},
		"nor is a wrong form":      {bound("192.0.2.7", Credential{}, presented(Presented{Unrecognised: true})), CredentialUnknown},
		"nor is a wrong JWT":       {bound("192.0.2.7", Credential{}, presented(Presented{JWT: "forged"})), CredentialUnknown},
		"an encoder's address":     {bound("192.0.2.7", Credential{Publish: true}, bare, action(Push)), Publisher},
		"a viewer's address":       {bound("192.0.2.7", Credential{}, bare, action(Push)), PublisherDenied},
	} {
		assert.Equal(t, c.want.String(), c.d.Reason.String(), name)
	}
}

// Where leases or previews do not answer, Decide does. (A source's loads have a deadline of their own.)
func TestDecideAnswersInTime(t *testing.T) {
	for _, event := range []EventID{eventID("u", 0), {}} {
		for _, rights := range [][]change{with(plan("single")), with(minutePreview)} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(rights...)
				w.request.Event = event
				h := newHouse(w, Options{})
				h.leases.hangs, h.previews.hangs = true, true
				start := time.Now()
				d, _ := h.Decide(t.Context(), &w.request)
				assert.Equal(t, Decision{Reason: Unavailable}, d)
				assert.Equal(t, 4*time.Second, time.Since(start), "the default")
			})
		}
	}
}

// Decisions under a new catalog follow it at once.
func TestSetCatalog(t *testing.T) {
	w := newWorld()
	h := newHouse(w, Options{})
	require.Same(t, &w.catalog, h.Catalog())
	assert.Equal(t, PaymentRequired.String(), h.decide(w.request).Reason.String())
	open := newWorld(access(AccessPublic))
	h.SetCatalog(&open.catalog, nil)
	assert.Equal(t, Public.String(), h.decide(w.request).Reason.String())
	assert.Nil(t, NewDecider(nil, nil, nil, Options{}).Catalog())
}

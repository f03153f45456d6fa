package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sessionOf is the session that a request's decision makes.
func sessionOf(r *Request, d *Decision) *Session {
	s := &Session{
		Node: r.Node, ID: r.Session, State: SessionDenied, Stream: r.Stream, Address: r.Address, Connector: r.Connector, User: d.User,
		Credential: r.Presented.Key, JWT: d.Claims, Reason: d.Reason, Plan: d.Plan, PreviewFrom: d.PreviewFrom,
	}
	if d.Allow {
		s.State = SessionOpen
	}
	return s
}

// A session is decided about again as its request would be, whatever was presented, and at any time.
func TestReconsiderAgreesWithDecide(t *testing.T) {
	for name, changes := range map[string][]change{
		"entitled":                 with(plan("gold")),
		"to end":                   with(has(Entitlement{ID: "e", Plan: "gold", Until: in(time.Hour)})),
		"not paid":                 nil,
		"a preview":                with(minutePreview),
		"a preview of nobody":      with(nobody, minutePreview),
		"public":                   with(access(AccessPublic)),
		"closed":                   with(access(AccessClosed)),
		"nothing presented":        with(presented(Presented{})),
		"nothing that is known":    with(presented(Presented{Unrecognised: true}), minutePreview),
		"a JWT":                    with(presented(Presented{JWT: "good"}), plan("gold")),
		"a JWT of nobody":          with(presented(Presented{JWT: "of nobody"}), minutePreview),
		"a user who is suspended":  with(plan("gold"), status(SuspendedUser)),
		"a connector":              with(deniedConnectors("HLS")),
		"an address that is bound": with(presented(Presented{}), plan("gold")),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(changes...)
			h := newHouse(w, Options{})
			h.verifier["good"] = verified{credential: &Credential{Kind: CredentialJWT, User: "ann"}}
			h.verifier["of nobody"] = verified{credential: &Credential{Kind: CredentialJWT, User: "zed"}}
			if name == "an address that is bound" {
				h.source.credentials[HashAddress(w.request.Address)] = &Credential{ID: "a", Kind: CredentialAddress, User: "ann"}
			}
			first := h.decide(w.request)
			s := sessionOf(&w.request, &first)
			for _, later := range []time.Duration{0, time.Second, time.Minute, 2 * time.Hour} {
				h.now = in(later)
				v, err := h.Reconsider(t.Context(), s)
				require.NoError(t, err)
				then := h.decide(w.request)
				assert.Equal(t, then.Reason.String(), v.Reason.String(), "after %s", later)
				assert.Equal(t, then.Until, v.Until, "after %s", later)
			}
		})
	}
}

// What cannot be read is an error, and nothing follows from it.
func TestReconsiderKnowsNoVerdictInAnOutage(t *testing.T) {
	w := newWorld(plan("gold"))
	h := newHouse(w, Options{AllowUnavailable: true})
	s := &Session{State: SessionOpen, Stream: "live+show", Credential: HashKey("ak_ann")}
	h.source.err = errAway
	_, err := h.Reconsider(t.Context(), s)
	require.ErrorIs(t, err, errAway)

	w = newWorld(minutePreview)
	h = newHouse(w, Options{})
	h.previews.err = errAway
	_, err = h.Reconsider(t.Context(), s)
	require.ErrorIs(t, err, errAway)
}

// A preview begins for who watches, and not for who was denied and may have gone.
func TestReconsiderBeginsAPreviewForWhoWatches(t *testing.T) {
	w := newWorld(preview(time.Minute, time.Hour), has(Entitlement{ID: "e", Plan: "gold", Until: in(time.Second)}))
	h := newHouse(w, Options{})
	first := h.decide(w.request)
	s := sessionOf(&w.request, &first)
	h.now = in(time.Second)
	s.State = SessionDenied
	v, err := h.Reconsider(t.Context(), s)
	require.NoError(t, err)
	assert.Equal(t, Preview.String(), v.Reason.String(), "it would begin if it asked")
	assert.Zero(t, h.previews.calls)
	s.State = SessionOpen
	v, err = h.Reconsider(t.Context(), s)
	require.NoError(t, err)
	assert.Equal(t, Preview.String(), v.Reason.String())
	assert.Equal(t, in(time.Second+time.Minute), v.Until)
	assert.Equal(t, 1, h.previews.calls)
}

func TestWhichRenditionIsDue(t *testing.T) {
	byPlan := map[string]string{"basic": "live+sd", "gold": "live+hd"}
	bounce := func(key string) change {
		return func(w *world) {
			for i := range w.catalog.Plans {
				w.catalog.Plans[i].Bounce = w.catalog.Plans[i].Bounce || w.catalog.Plans[i].Key == key
			}
		}
	}
	for _, c := range []struct {
		name, watched, due string
		changes            []change
	}{
		{"a better one", "live+sd", "live+hd", with(plan("basic"), plan("gold"), bounce("gold"))},
		{"a lesser one", "live+hd", "live+sd", with(plan("basic"), bounce("basic"))},
		{"where the plan does not say so", "live+sd", "", with(plan("basic"), plan("gold"), bounce("basic"))},
		{"its own", "live+hd", "", with(plan("gold"), bounce("gold"))},
		{"a stream that is no rendition", "live+show", "", with(plan("gold"), bounce("gold"))},
		{"who has no plan", "live+sd", "", with(access(AccessPublic), bounce("gold"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(append(c.changes, renditions(byPlan), stream(c.watched))...)
			h := newHouse(w, Options{})
			v, err := h.Reconsider(t.Context(), &Session{State: SessionOpen, Stream: c.watched, Credential: HashKey("ak_ann"), Plan: "basic"})
			require.NoError(t, err)
			assert.Equal(t, c.due, v.Due)
		})
	}
}

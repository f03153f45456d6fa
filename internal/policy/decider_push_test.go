package policy

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// pushKeyOf is a push whose key stands where the stream's name would: its stream is the one the key was given out for.
func pushKeyOf(streams ...string) change {
	return func(w *world) {
		w.request.Action, w.request.Stream, w.request.StreamOfCredential = Push, "", true
		w.facts.Credential.Publish, w.facts.Credential.Streams = true, streams
	}
}

func TestPushToTheStreamOfItsKey(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes []change
		want    Reason
	}{
		{"a key for one stream", with(pushKeyOf("live+show")), Publisher},
		{"a key for every stream", with(pushKeyOf()), PublisherDenied},
		{"a key for two streams", with(pushKeyOf("live+show", "live+b")), PublisherDenied},
		{"a key for streams of a pattern", with(pushKeyOf("live+*")), PublisherDenied},
		{"a key for a stream without a policy", with(pushKeyOf("vod")), StreamUnknown},
		{"a key for watching only", with(pushKeyOf("live+show"), func(w *world) { w.facts.Credential.Publish = false }), PublisherDenied},
		{"a revoked key", with(pushKeyOf("live+show"), func(w *world) { w.facts.Credential.Revoked = true }), CredentialRevoked},
		{"a key that is over", with(pushKeyOf("live+show"), func(w *world) { w.facts.Credential.Until = noon }), CredentialExpired},
		{"a key that nobody gave out", with(pushKeyOf("live+show"), presented(Presented{Key: HashKey("ak_bob")})), CredentialUnknown},
		{"no key", with(pushKeyOf("live+show"), presented(Presented{})), CredentialMissing},
		{"a suspended user", with(pushKeyOf("live+show"), status(SuspendedUser)), UserSuspended},
		{"a refused address", with(pushKeyOf("live+show"), refused("192.0.2.0/24")), AddressDenied},
		{"a stream closed to publishers", with(pushKeyOf("live+show"), publish(PublishClosed)), PublisherDenied},
		{"an invalid payload", with(pushKeyOf("live+show"), invalidPayload), PayloadInvalid},
	} {
		w := newWorld(c.changes...)
		d := newHouse(w, Options{AllowUnavailable: true}).decide(w.request)
		assert.Equal(t, c.want.String(), d.Reason.String(), c.name)
		assert.Equal(t, isAllow(c.want), d.Allow, c.name)
		if d.Allow {
			assert.Equal(t, "live+show", d.Stream, c.name)
		}
	}
}

func TestPushToANamedStreamSaysWhich(t *testing.T) {
	for _, p := range []Publish{PublishOpen, PublishKey} {
		w := newWorld(action(Push), publish(p), publishKey)
		d := newHouse(w, Options{}).decide(w.request)
		assert.True(t, d.Allow)
		assert.Equal(t, "live+show", d.Stream)
	}
	w := newWorld(action(Watch), plan("gold"))
	assert.Empty(t, newHouse(w, Options{}).decide(w.request).Stream, "a viewer goes to no stream that it did not ask for")
}

func TestSeen(t *testing.T) {
	h := newHouse(newWorld(), Options{})
	assert.False(t, h.Seen(eventID("u", 1)))
	assert.True(t, h.Seen(eventID("u", 1)))
	assert.False(t, h.Seen(eventID("u", 2)))
	assert.False(t, h.Seen(EventID{}))
	assert.False(t, h.Seen(EventID{}), "without a UUID every event is a new one")
}

package policy

import (
	"net/netip"
	"slices"
	"time"
)

// Action is what a request asks permission for.
type Action uint8

// The actions.
const (
	// Watch: may this viewer's session begin, or go on? (USER_NEW)
	Watch Action = iota + 1
	// Connect: may this connection, of a viewer or a publisher, exist? (CONN_OPEN) Only its address is judged: who is
	// watching is asked with Watch, who is publishing with Push.
	Connect
	// Play: may this connection of a viewer be served? (CONN_PLAY) Its address and connector are judged. A connection
	// that joins a session is asked about with Play only, so a denied connector must be refused here too.
	Play
	// Rendition: which stream should this viewer be given? (PLAY_REWRITE)
	Rendition
	// Push: may this publisher push to the stream? (STREAM_PUSH, PUSH_REWRITE, RTMP_PUSH_REWRITE)
	Push
)

// byViewer says whether it is a viewer who asks, and more than the connection is judged.
func (a Action) byViewer() bool { return a == Watch || a == Rendition }

// Request is one question of a media server.
type Request struct {
	Action Action
	// Event names the trigger that asks, so that the same one is answered alike.
	Event EventID
	// Node is the node's name; Instance the server process on it.
	Node, Instance string
	// Stream is the one asked for.
	Stream string
	// StreamOfCredential says of a push that its stream is the one its credential was given out for: the key stands in
	// the URL where the stream's name would. Stream is empty then.
	StreamOfCredential bool
	Address            netip.Addr
	Connector          string
	// Session is MistServer's session id; empty where the action has none.
	Session string
	// Presented is the credential found in the request, before anything is known about it.
	Presented Presented
	// Rerun says that the session runs: MistServer was told to ask about it again.
	Rerun bool
	// Invalid says that the trigger's payload could not be read, or contradicts itself.
	Invalid bool
}

// EventID names one event of a media server: all attempts to deliver it have the same. The UUID alone is not enough: two
// sessions that end in one moment send two USER_END with the same one (USER_END.http, USER_END.denied-session.http).
//
// Both fields are hashes, keyed with a secret of this process, so that no viewer can aim at another's event. The zero value
// is no event: it is never remembered.
type EventID struct {
	// UUID is of the trigger's UUID, Digest of its type and body.
	UUID, Digest uint64
}

// Presented is a credential as a viewer presents it. The zero value is none.
type Presented struct {
	// Key is the hash of an opaque key; zero when there is none.
	Key CredentialHash
	// JWT is a token in the form of a JSON Web Token, not yet verified.
	JWT string
	// Claims are those of a JWT that was verified earlier.
	Claims *Credential
	// Unrecognised says that something was presented which has no known form.
	Unrecognised bool
}

// None says whether nothing was presented at all.
func (p *Presented) None() bool {
	return p.Key == CredentialHash{} && p.JWT == "" && p.Claims == nil && !p.Unrecognised
}

// Decision is the answer to a request.
type Decision struct {
	Allow  bool
	Reason Reason
	// Until is the earliest moment at which the same request, with the same facts, is answered differently; zero when
	// no clock changes the answer. It is later than the moment of the decision.
	Until time.Time
	// User is who asked; empty when nobody is known.
	User string
	// CredentialID names the stored credential that was used.
	CredentialID string
	// Claims are those of the JWT that was used.
	Claims *Credential
	// Plan is the one under which the session is allowed; empty when it is none's.
	Plan string
	// Tags are what the session is to be tagged with. Shared; not to be changed.
	Tags []string
	// Stream is the one that an allowed push goes to.
	Stream string
	// Rendition is the stream to be given in place of the one asked for; empty when that stands.
	Rendition string
	// MaxConcurrent and OnLimit are the plan's limit, to be held by a lease; 0: no limit.
	MaxConcurrent int
	OnLimit       OnLimit
	// Metered says that what the user watches counts towards a quota: one of the plans that the user has, or will have, has
	// one. What is watched under another plan counts as well.
	Metered bool
	// PreviewFrom is when the viewer's preview began, where the answer rests on one.
	PreviewFrom time.Time
	// MayPreview says of a deny that a preview would turn it into an allow, if one were begun.
	MayPreview bool
	// Kicked are the sessions that lost their place to this one.
	Kicked []KickedSession
}

// sameAnswer says whether two decisions mean the same to a viewer.
func (d *Decision) sameAnswer(o *Decision) bool {
	return d.Allow == o.Allow && d.Reason == o.Reason && d.Plan == o.Plan && d.Rendition == o.Rendition &&
		d.MayPreview == o.MayPreview && slices.Equal(d.Tags, o.Tags)
}

// Finding is what one rule found of a request.
type Finding struct {
	Rule string `json:"rule"`
	// Outcome is "pass" (the next rule decides), "allow" or "deny".
	Outcome string `json:"outcome"`
	// Detail says why, in words. It never holds a credential.
	Detail string `json:"detail"`
}

package policy

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

var goldTags = []string{"plan:gold"}

// rules in the order in which they are asked, each with what it comes before.
var ruleTables = [][]row{payloadRows, streamRows, addressRows, connectorRows, publicRows, credentialRows, userRows, authenticatedRows,
	entitlementRows, limitRows, previewRows, publisherRows, renditionRows}

func TestRules(t *testing.T) {
	for _, table := range ruleTables {
		for _, r := range table {
			t.Run(r.name, r.check)
		}
	}
}

// Every reason is some row's, but for the two that only Decider gives.
func TestEveryReasonHasARow(t *testing.T) {
	seen := map[Reason]bool{ConcurrencyLimit: true, Unavailable: true}
	names := map[string]bool{}
	for _, table := range ruleTables {
		for _, r := range table {
			seen[r.want.Reason] = true
			assert.False(t, names[r.name], "two rows are called %q", r.name)
			names[r.name] = true
		}
	}
	for _, reason := range Reasons() {
		assert.True(t, seen[reason], "no row gives %s", reason)
	}
}

var payloadRows = []row{
	{"an invalid payload denies, whatever is asked", everyAction, with(invalidPayload, plan("gold")), Decision{Reason: PayloadInvalid}},
	{"an invalid payload before a public stream", everyAction, with(invalidPayload, access(AccessPublic), publish(PublishOpen)),
		Decision{Reason: PayloadInvalid}},
	{"an invalid payload before an unknown stream", everyAction, with(invalidPayload, stream("vod")), Decision{Reason: PayloadInvalid}},
}

var streamRows = []row{
	{"no policy matches the stream", judged, with(stream("vod"), plan("gold"), publishKey), Decision{Reason: StreamUnknown}},
	{"no policy matches the stream, before the credential", judged, with(stream("vod"), fault(CredentialUnknown)),
		Decision{Reason: StreamUnknown}},
	{"a connection to a stream without a policy is not judged", connections, with(stream("vod")), Decision{Reason: Public}},
	{"a connection to no stream yet is not judged", connections, with(stream("")), Decision{Reason: Public}},

	{"a closed stream denies an entitled user", viewers, with(access(AccessClosed), plan("gold")), Decision{Reason: StreamClosed}},
	{"closed before the address", viewers, with(access(AccessClosed), refused("192.0.2.0/24")), Decision{Reason: StreamClosed}},
	{"closed before the connector", viewers, with(access(AccessClosed), deniedConnectors("HLS")), Decision{Reason: StreamClosed}},
	{"closed before the credential", viewers, with(access(AccessClosed), nobody), Decision{Reason: StreamClosed}},
	{"closed before a hold", viewers, with(access(AccessClosed), held), Decision{Reason: StreamClosed}},
	{"closed gives no preview", watch, with(access(AccessClosed), preview(time.Minute, 0), previewFrom(noon)), Decision{Reason: StreamClosed}},
	{"closed to viewers says nothing of connections", connections, with(access(AccessClosed)), Decision{Reason: Public}},
	{"closed to viewers says nothing of publishers", push, with(access(AccessClosed), publish(PublishOpen)), Decision{Reason: Publisher}},
	{"a window closes the stream", viewers, with(plan("gold"), window(in(-time.Hour), in(time.Hour), AccessClosed)),
		Decision{Reason: StreamClosed, Until: in(time.Hour)}},
	{"a window opens a closed stream to the public", viewers,
		with(access(AccessClosed), nobody, window(in(-time.Hour), in(time.Hour), AccessPublic)),
		Decision{Reason: Public, Until: in(time.Hour)}},
	{"a window opens a closed stream to those entitled", viewers,
		with(access(AccessClosed), plan("gold"), window(noon, in(time.Hour), AccessEntitled)),
		Decision{Reason: Entitled, Plan: "gold", Tags: goldTags, Until: in(time.Hour)}},
	{"a window without bounds always holds", viewers, with(window(time.Time{}, time.Time{}, AccessPublic)), Decision{Reason: Public}},
	{"a window to come is the end of the answer", viewers, with(plan("gold"), window(in(time.Hour), in(2*time.Hour), AccessClosed)),
		Decision{Reason: Entitled, Plan: "gold", Tags: goldTags, Until: in(time.Hour)}},
	{"of windows that overlap the first holds", viewers,
		with(nobody, window(in(-time.Hour), in(time.Hour), AccessPublic), window(in(-2*time.Hour), in(2*time.Hour), AccessClosed)),
		Decision{Reason: Public, Until: in(time.Hour)}},
	{"windows that meet and agree are one", viewers,
		with(nobody, window(in(-time.Hour), in(time.Hour), AccessPublic), window(in(time.Hour), in(2*time.Hour), AccessPublic)),
		Decision{Reason: Public, Until: in(2 * time.Hour)}},
}

var addressRows = []row{
	{"an address that is refused", everyAction, with(refused("192.0.2.0/24"), plan("gold")), Decision{Reason: AddressDenied}},
	{"an address at the end of what is refused", everyAction, with(refused("192.0.2.0/29")), Decision{Reason: AddressDenied}},
	{"an address past the end of what is refused", viewers, with(refused("192.0.2.8/29"), access(AccessPublic)), Decision{Reason: Public}},
	{"an address that is not among those allowed", everyAction, with(allowed("198.51.100.0/24"), plan("gold")),
		Decision{Reason: AddressDenied}},
	{"an address that is among those allowed", viewers, with(allowed("198.51.100.0/24", "192.0.2.7/32"), access(AccessPublic)),
		Decision{Reason: Public}},
	{"refused wins over allowed", everyAction, with(allowed("0.0.0.0/0"), refused("192.0.2.7/32"), access(AccessPublic)),
		Decision{Reason: AddressDenied}},
	{"an IPv4 address in IPv6 form is refused as IPv4", everyAction, with(address("::ffff:192.0.2.7"), refused("192.0.2.0/24")),
		Decision{Reason: AddressDenied}},
	{"an IPv4 address in IPv6 form is allowed as IPv4", viewers,
		with(address("::ffff:192.0.2.7"), allowed("192.0.2.0/24"), access(AccessPublic)), Decision{Reason: Public}},
	{"an IPv4 address is refused by a rule in IPv6 form", everyAction, with(refused("::ffff:192.0.2.0/120")),
		Decision{Reason: AddressDenied}},
	{"an IPv4 address is refused by a rule for all there are, in IPv6 form", everyAction, with(refused("::ffff:0.0.0.0/90")),
		Decision{Reason: AddressDenied}},
	{"an IPv4 address is allowed by a rule in IPv6 form", viewers, with(allowed("::ffff:192.0.2.0/120"), access(AccessPublic)),
		Decision{Reason: Public}},
	{"an IPv6 address that is refused", everyAction, with(address("2001:db8::1"), refused("2001:db8::/32")),
		Decision{Reason: AddressDenied}},
	{"an IPv6 address with a zone is refused all the same", everyAction, with(address("fe80::1%eth0"), refused("fe80::/10")),
		Decision{Reason: AddressDenied}},
	{"an IPv6 address with a zone is allowed all the same", viewers,
		with(address("fe80::1%eth0"), allowed("fe80::/10"), access(AccessPublic)), Decision{Reason: Public}},
	{"all of IPv4 is not all of IPv6", everyAction, with(address("2001:db8::1"), allowed("0.0.0.0/0")), Decision{Reason: AddressDenied}},
	{"no address, where addresses are refused", judged, with(address(""), refused("203.0.113.0/24"), access(AccessPublic), publishKey),
		Decision{Reason: AddressDenied}},
	{"no address, where addresses are allowed", judged, with(address(""), allowed("0.0.0.0/0", "::/0"), access(AccessPublic), publishKey),
		Decision{Reason: AddressDenied}},
	{"no address, where no address matters", viewers, with(address(""), access(AccessPublic)), Decision{Reason: Public}},
	{"the server's own connection has no address", connections, with(address(""), allowed("192.0.2.0/24")), Decision{Reason: Public}},
	{"the address before the connector", play, with(refused("192.0.2.0/24"), deniedConnectors("HLS")), Decision{Reason: AddressDenied}},
	{"the address before the credential", judged, with(refused("192.0.2.0/24"), fault(CredentialUnknown)), Decision{Reason: AddressDenied}},
	{"the address before public", viewers, with(refused("192.0.2.0/24"), access(AccessPublic)), Decision{Reason: AddressDenied}},
	{"the address before open publishing", push, with(refused("192.0.2.0/24"), publish(PublishOpen)), Decision{Reason: AddressDenied}},
	{"the address before closed publishing", push, with(refused("192.0.2.0/24"), publish(PublishClosed)), Decision{Reason: AddressDenied}},
}

var connectorRows = []row{
	{"a connector that is denied", []Action{Watch, Play}, with(deniedConnectors("RTMP", "HLS"), plan("gold")), Decision{Reason: ConnectorDenied}},
	{"another connector is denied", viewers, with(deniedConnectors("RTMP"), access(AccessPublic)), Decision{Reason: Public}},
	{"a denied connector before public", []Action{Watch, Play}, with(deniedConnectors("HLS"), access(AccessPublic)),
		Decision{Reason: ConnectorDenied}},
	{"a denied connector before the credential", watch, with(deniedConnectors("HLS"), nobody), Decision{Reason: ConnectorDenied}},
	{"a denied connector before a preview", watch, with(deniedConnectors("HLS"), nobody, preview(time.Minute, 0)),
		Decision{Reason: ConnectorDenied}},
	{"a connection may yet be a publisher's", []Action{Connect}, with(connector("RTMP"), deniedConnectors("RTMP")), Decision{Reason: Public}},
	{"publishers may use a connector that viewers may not", push, with(connector("RTMP"), deniedConnectors("RTMP"), publishKey),
		Decision{Reason: Publisher}},
}

var publicRows = []row{
	{"a public stream and nobody", viewers, with(access(AccessPublic), nobody), Decision{Reason: Public}},
	{"a public stream skips a wrong credential", viewers, with(access(AccessPublic), fault(CredentialUnknown)), Decision{Reason: Public}},
	{"a public stream skips an expired credential", viewers,
		with(access(AccessPublic), plan("gold"), credential(Credential{ID: "c1", User: "ann", Until: noon})), Decision{Reason: Public}},
	{"a public stream skips an unknown user", viewers, with(access(AccessPublic), status("")), Decision{Reason: Public}},
	{"a public stream skips a suspended user", viewers, with(access(AccessPublic), plan("gold"), status(SuspendedUser)),
		Decision{Reason: Public}},
	{"a public stream skips a hold", viewers, with(access(AccessPublic), plan("gold"), held), Decision{Reason: Public}},
	{"a public stream uses what is known for tags", viewers, with(access(AccessPublic), plan("basic"), plan("gold")),
		Decision{Reason: Public, Tags: goldTags}},
	{"a public stream gives the tags while the plan is in force", viewers,
		with(access(AccessPublic), has(Entitlement{Plan: "basic", Until: in(time.Hour)})),
		Decision{Reason: Public, Tags: []string{"plan:basic"}, Until: in(time.Hour)}},
	{"a connection is judged no further", connections, with(fault(CredentialUnknown)), Decision{Reason: Public}},
	{"public to watch is not public to push", push, with(access(AccessPublic), nobody), Decision{Reason: CredentialMissing}},
	{"a public window is not public to push", push, with(nobody, window(in(-time.Hour), in(time.Hour), AccessPublic)),
		Decision{Reason: CredentialMissing}},
}

var authenticatedRows = []row{
	{"any active user may watch an authenticated stream", viewers, with(access(AccessAuthenticated)), Decision{Reason: Authenticated}},
	{"an authenticated stream gives the plan's tags", viewers, with(access(AccessAuthenticated), plan("other")),
		Decision{Reason: Authenticated, Tags: []string{"plan:other"}}},
	{"an authenticated stream wants a credential", viewers, with(access(AccessAuthenticated), nobody), Decision{Reason: CredentialMissing}},
	{"an authenticated stream knows no preview", watch, with(access(AccessAuthenticated), nobody, preview(time.Minute, 0), previewFrom(noon)),
		Decision{Reason: CredentialMissing}},
	{"an authenticated stream wants a user", viewers, with(access(AccessAuthenticated), status("")), Decision{Reason: UserUnknown}},
	{"an authenticated stream wants no hold", viewers, with(access(AccessAuthenticated), held), Decision{Reason: OnHold}},
	{"a window asks for users only", viewers, with(window(in(-time.Hour), in(time.Hour), AccessAuthenticated)),
		Decision{Reason: Authenticated, Until: in(time.Hour)}},
	{"an access that nobody knows is entitled", viewers, with(access("membres")), Decision{Reason: PaymentRequired}},
}

// The rules hold whatever the order of the facts that are lists.
func TestOrderOfFactsDoesNotMatter(t *testing.T) {
	w := newWorld(plan("metered"), plan("gold"), plan("basic"), plan("single"), used(2*time.Hour),
		renditions(map[string]string{"basic": "sd", "gold": "hd"}))
	want := w.evaluate()
	assert.Equal(t, "gold", want.Plan)
	assert.Equal(t, "hd", want.Rendition)
	for range 24 { // a rotation and a swap reach every order of four
		es := w.ann().Entitlements
		es = append(slices.Clone(es[1:]), es[0])
		es[0], es[1] = es[1], es[0]
		w.ann().Entitlements = es
		assert.Equal(t, want, w.evaluate())
		es[0], es[1] = es[1], es[0]
		assert.Equal(t, want, w.evaluate())
	}
}

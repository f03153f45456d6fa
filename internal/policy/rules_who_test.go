package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func annsKey(c Credential) change {
	c.ID, c.Kind, c.User = "c1", CredentialKey, "ann"
	return credential(c)
}

var credentialRows = []row{
	{"no credential", judged, with(nobody), Decision{Reason: CredentialMissing}},
	{"a credential that nobody gave out", judged, with(fault(CredentialUnknown)), Decision{Reason: CredentialUnknown}},
	{"a JWT that has expired", judged, with(fault(CredentialExpired)), Decision{Reason: CredentialExpired}},
	{"a wrong credential gets no preview", watch, with(fault(CredentialUnknown), preview(time.Minute, 0), previewFrom(noon)),
		Decision{Reason: CredentialUnknown}},
	{"a revoked credential", judged, with(plan("gold"), annsKey(Credential{Revoked: true, Publish: true})), Decision{Reason: CredentialRevoked}},
	{"revoked before expired", judged, with(annsKey(Credential{Revoked: true, Until: in(-time.Hour)})), Decision{Reason: CredentialRevoked}},
	{"a credential whose time is over", judged, with(plan("gold"), annsKey(Credential{Until: noon, Publish: true})),
		Decision{Reason: CredentialExpired}},
	{"a credential whose time is to come", []Action{Push}, with(annsKey(Credential{From: in(time.Second), Publish: true})),
		Decision{Reason: CredentialExpired, Until: in(time.Second)}},
	{"a credential that ends ends the answer", viewers, with(plan("gold"), annsKey(Credential{From: noon, Until: in(time.Second)})),
		Decision{Reason: Entitled, Plan: "gold", Tags: goldTags, Until: in(time.Second)}},
	{"expired before the wrong stream", judged, with(annsKey(Credential{Until: noon, Streams: []string{"vod"}})),
		Decision{Reason: CredentialExpired}},
	{"a credential for other streams", judged, with(plan("gold"), annsKey(Credential{Streams: []string{"live", "vod+*"}, Publish: true})),
		Decision{Reason: CredentialWrongStream}},
	{"the wrong stream before the wrong address", judged,
		with(annsKey(Credential{Streams: []string{"vod"}, Addresses: prefixes("198.51.100.0/24")})), Decision{Reason: CredentialWrongStream}},
	{"a credential for these streams among others", viewers, with(plan("gold"), annsKey(Credential{Streams: []string{"vod", "live+*"}})),
		Decision{Reason: Entitled, Plan: "gold", Tags: goldTags}},
	{"a credential for another address", judged, with(plan("gold"), annsKey(Credential{Addresses: prefixes("198.51.100.0/24"), Publish: true})),
		Decision{Reason: CredentialWrongAddress}},
	{"a credential for this address", viewers, with(plan("gold"), annsKey(Credential{Addresses: prefixes("2001:db8::/32", "192.0.2.7/32")})),
		Decision{Reason: Entitled, Plan: "gold", Tags: goldTags}},
	{"a credential for this address in IPv6 form", viewers,
		with(plan("gold"), address("::ffff:192.0.2.7"), annsKey(Credential{Addresses: prefixes("192.0.2.7/32")})),
		Decision{Reason: Entitled, Plan: "gold", Tags: goldTags}},
	{"a credential for an address written in IPv6 form", viewers, with(plan("gold"), annsKey(Credential{Addresses: prefixes("::ffff:192.0.2.7/128")})),
		Decision{Reason: Entitled, Plan: "gold", Tags: goldTags}},
	{"a credential for an address with a zone", viewers,
		with(plan("gold"), address("fe80::1%eth0"), annsKey(Credential{Addresses: prefixes("fe80::1/128")})),
		Decision{Reason: Entitled, Plan: "gold", Tags: goldTags}},
	{"a credential for an address, and no address", judged, with(plan("gold"), address(""), annsKey(Credential{Addresses: prefixes("0.0.0.0/0", "::/0")})),
		Decision{Reason: CredentialWrongAddress}},
	{"the credential before the user", judged, with(annsKey(Credential{Revoked: true}), status(SuspendedUser)), Decision{Reason: CredentialRevoked}},
	{"the credential before a hold", judged, with(annsKey(Credential{Until: noon}), held), Decision{Reason: CredentialExpired}},
}

var userRows = []row{
	{"a user that does not exist", judged, with(publishKey, status("")), Decision{Reason: UserUnknown}},
	{"a user of whom nothing was read", judged, with(publishKey, noFactsOfUser), Decision{Reason: UserUnknown}},
	{"a user that does not exist gets no preview", watch, with(status(""), preview(time.Minute, 0), previewFrom(noon)),
		Decision{Reason: UserUnknown}},
	{"a suspended user", judged, with(publishKey, plan("gold"), status(SuspendedUser)), Decision{Reason: UserSuspended}},
	{"a status that nobody knows is no active one", judged, with(publishKey, plan("gold"), status("closed")), Decision{Reason: UserSuspended}},
	{"suspended before a hold", judged, with(publishKey, status(SuspendedUser), held), Decision{Reason: UserSuspended}},
	{"a hold", judged, with(publishKey, held), Decision{Reason: OnHold}},
	{"a hold before an entitlement", judged, with(publishKey, plan("gold"), held), Decision{Reason: OnHold}},
	{"a hold before a quota", judged, with(publishKey, plan("metered"), used(2*time.Hour), held), Decision{Reason: OnHold}},
	{"a hold before a preview", watch, with(held, preview(time.Minute, 0), previewFrom(noon)), Decision{Reason: OnHold}},
	{"a hold before the right to publish", push, with(held), Decision{Reason: OnHold}},
}

var publisherRows = []row{
	{"a stream open to publishers", push, with(publish(PublishOpen), nobody), Decision{Reason: Publisher}},
	{"a stream open to publishers skips a wrong credential", push, with(publish(PublishOpen), fault(CredentialUnknown)), Decision{Reason: Publisher}},
	{"a stream open to publishers skips a hold", push, with(publish(PublishOpen), held), Decision{Reason: Publisher}},
	{"a stream closed to publishers", push, with(publish(PublishClosed), publishKey), Decision{Reason: PublisherDenied}},
	{"a stream closed to publishers, before the credential", push, with(publish(PublishClosed), nobody), Decision{Reason: PublisherDenied}},
	{"a stream that says nothing of publishers is closed to them", push, with(publish(""), publishKey), Decision{Reason: PublisherDenied}},
	{"a credential that permits publishing", push, with(publishKey), Decision{Reason: Publisher}},
	{"a credential that permits publishing until it ends", push, with(annsKey(Credential{Publish: true, Until: in(time.Hour)})),
		Decision{Reason: Publisher, Until: in(time.Hour)}},
	{"a JWT that permits publishing", push, with(credential(Credential{Kind: CredentialJWT, User: "ann", Publish: true})),
		Decision{Reason: Publisher}},
	{"a credential for watching only", push, with(plan("gold")), Decision{Reason: PublisherDenied}},
	{"a credential for watching only, on an authenticated stream", push, with(access(AccessAuthenticated)), Decision{Reason: PublisherDenied}},
	{"a preview is not for publishers", push, with(nobody, preview(time.Minute, 0), previewFrom(noon)), Decision{Reason: CredentialMissing}},
	{"the right to publish is no right to watch", viewers, with(publishKey), Decision{Reason: PaymentRequired}},
}

var bothRenditions = renditions(map[string]string{"gold": "movie", "basic": "movie_sd"})

var renditionRows = []row{
	{"the rendition of the plan", viewers, with(bothRenditions, plan("basic")),
		Decision{Reason: Entitled, Plan: "basic", Tags: []string{"plan:basic"}, Rendition: "movie_sd"}},
	{"the rendition of the better plan", viewers, with(bothRenditions, plan("basic"), plan("gold")),
		Decision{Reason: Entitled, Plan: "gold", Tags: goldTags, Rendition: "movie"}},
	{"the rendition of a plan without an entry", viewers, with(bothRenditions, plan("metered")),
		Decision{Reason: Entitled, Plan: "metered", Tags: []string{"plan:metered"}}},
	{"the rendition of the best plan that has an entry", viewers, with(bothRenditions, plan("basic"), plan("other")),
		Decision{Reason: Entitled, Plan: "basic", Tags: []string{"plan:other"}, Rendition: "movie_sd"}},
	{"a rendition that is the stream itself", viewers, with(renditions(map[string]string{"gold": "live+show"}), plan("gold")),
		Decision{Reason: Entitled, Plan: "gold", Tags: goldTags}},
	{"the rendition changes with the plan", viewers,
		with(bothRenditions, plan("basic"), has(Entitlement{Plan: "gold", From: in(time.Hour)})),
		Decision{Reason: Entitled, Plan: "basic", Tags: []string{"plan:basic"}, Rendition: "movie_sd", Until: in(time.Hour)}},
	{"the rendition in the grace", viewers, with(bothRenditions, has(Entitlement{Plan: "gold", Until: in(-day), GraceFrom: in(-day)})),
		Decision{Reason: Grace, Plan: "gold", Tags: goldTags, Rendition: "movie", Until: in(2 * day)}},
	{"the rendition of a plan that is over", viewers, with(bothRenditions, has(Entitlement{Plan: "gold", Until: noon})),
		Decision{Reason: EntitlementExpired}},
	{"the rendition on a public stream", viewers, with(access(AccessPublic), bothRenditions, plan("gold")),
		Decision{Reason: Public, Tags: goldTags, Rendition: "movie"}},
	{"no rendition for a suspended user", viewers, with(access(AccessPublic), bothRenditions, plan("gold"), status(SuspendedUser)),
		Decision{Reason: Public}},
	{"no rendition on hold", viewers, with(access(AccessPublic), bothRenditions, plan("gold"), held), Decision{Reason: Public}},
	{"no rendition with a wrong credential", viewers,
		with(access(AccessPublic), bothRenditions, plan("gold"), annsKey(Credential{Streams: []string{"vod"}})), Decision{Reason: Public}},
	{"no rendition for connections", connections, with(bothRenditions, plan("gold")), Decision{Reason: Public}},
	{"no rendition for publishers", push, with(bothRenditions, plan("gold"), publishKey), Decision{Reason: Publisher}},
	{"a preview is not a question of renditions", rendition, with(nobody, preview(time.Minute, 0), previewFrom(noon)),
		Decision{Reason: CredentialMissing}},
}

// Who asked is said whatever the answer: the log and the console want to know.
func TestDecisionSaysWhoAsked(t *testing.T) {
	d := newWorld(status(SuspendedUser)).evaluate()
	assert.Equal(t, "ann", d.User)
	assert.Equal(t, "c1", d.CredentialID)
	assert.Nil(t, d.Claims)

	w := newWorld(credential(Credential{Kind: CredentialJWT, User: "ann"}), plan("gold"))
	d = w.evaluate()
	assert.Same(t, w.facts.Credential, d.Claims)
	assert.Empty(t, d.CredentialID)

	d = newWorld(status("")).evaluate()
	assert.Empty(t, d.User, "a user that does not exist is nobody")
	assert.Equal(t, "c1", d.CredentialID)

	d = newWorld(nobody).evaluate()
	assert.Empty(t, d.User)
	assert.Empty(t, d.CredentialID)
}

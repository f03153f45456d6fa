package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Evaluate decides a request from its facts at a moment. It is pure. The rules are asked in order; the first that does
// not pass on decides.
//
// A plan's concurrency limit is not judged here, since only taking a place can tell: the decision says the limit, and
// [Decider] takes the lease.
func Evaluate(r *Request, f *Facts, at time.Time) Decision {
	q := questions.Get().(*question)
	q.r, q.f, q.at = r, f, at
	d := *q.judge()
	d.Metered = q.metered()
	d.Until = q.nextChange(&d)
	*q = question{}
	questions.Put(q)
	return d
}

// questions are kept for the next decision: the table of rules moves each to the heap.
var questions = sync.Pool{New: func() any { return new(question) }}

// Explain is Evaluate, together with what each rule found.
func Explain(r *Request, f *Facts, at time.Time) (Decision, []Finding) {
	q := question{r: r, f: f, at: at, explaining: true}
	d := *q.judge()
	q.explaining = false
	d.Metered = q.metered()
	d.Until = q.nextChange(&d)
	return d, q.findings
}

// question is one request while it is being judged at one moment.
type question struct {
	r  *Request
	f  *Facts
	at time.Time

	stream   *StreamPolicy
	access   Access // the stream's access at this moment
	decision Decision

	// suppose and quotasUntil serve to find when running sessions use up a quota: see quota.go.
	suppose     supposed
	quotasUntil time.Time

	explaining bool
	findings   []Finding
	detail     string
}

// rules are asked in this order. Each returns true when it has decided.
var rules = [...]struct {
	name  string
	judge func(*question) bool
}{
	{"payload valid", (*question).payloadValid},
	{"stream known", (*question).streamKnown},
	{"stream not closed", (*question).streamNotClosed},
	{"address", (*question).addressAllowed},
	{"connector", (*question).connectorAllowed},
	{"publishing", (*question).publishing},
	{"public", (*question).public},
	{"credential", (*question).credentialValid},
	{"user active", (*question).userActive},
	{"no hold", (*question).noHold},
	{"publisher", (*question).publisher},
	{"authenticated", (*question).authenticated},
	{"entitlement", (*question).entitled},
}

// judge asks the rules. The decision is good until they are asked again.
func (q *question) judge() *Decision {
	q.decision = Decision{}
	for i := range rules {
		decided := rules[i].judge(q)
		if q.explaining {
			outcome := "pass"
			if decided {
				outcome = "deny"
				if q.decision.Allow {
					outcome = "allow"
				}
			}
			q.findings = append(q.findings, Finding{rules[i].name, outcome, q.detail})
			q.detail = ""
		}
		if decided {
			break
		}
	}
	q.identify()
	return &q.decision
}

func (q *question) allow(reason Reason) bool {
	q.decision.Allow, q.decision.Reason = true, reason
	return true
}

func (q *question) deny(reason Reason) bool {
	q.decision.Allow, q.decision.Reason = false, reason
	return true
}

// find notes what a rule found, where somebody wants to know.
func (q *question) find(format string, args ...any) {
	q.detail = fmt.Sprintf(format, args...)
}

func (q *question) payloadValid() bool {
	if q.r.Invalid {
		return q.deny(PayloadInvalid)
	}
	return false
}

func (q *question) streamKnown() bool {
	if q.stream == nil {
		q.stream = q.f.Catalog.Stream(q.r.Stream)
	}
	if q.stream == nil {
		if q.explaining {
			q.find("no stream policy of the catalog matches %q", q.r.Stream)
		}
		if q.r.Action == Connect || q.r.Action == Play {
			return q.allow(Public) // whoever watches or publishes is asked about by name
		}
		return q.deny(StreamUnknown)
	}
	q.access = q.stream.accessAt(q.at)
	if q.explaining {
		q.find("the policy %q holds: access %s, publish %s", q.stream.Match, q.access, q.stream.Publish)
	}
	return false
}

// streamNotClosed holds for viewers. Publishing has a switch of its own.
func (q *question) streamNotClosed() bool {
	if q.access == AccessClosed && q.r.Action.byViewer() {
		return q.deny(StreamClosed)
	}
	return false
}

func (q *question) addressAllowed() bool {
	s, a := q.stream, q.r.Address
	if len(s.AllowAddresses) == 0 && len(s.DenyAddresses) == 0 {
		return false
	}
	if !a.IsValid() {
		// MistServer's own outputs (a recording, a push) open connections without an address.
		if q.r.Action == Connect || q.r.Action == Play {
			return false
		}
		return q.deny(AddressDenied)
	}
	if anyContains(s.DenyAddresses, a) {
		if q.explaining {
			q.find("%s is among deny_addresses", a)
		}
		return q.deny(AddressDenied)
	}
	if len(s.AllowAddresses) > 0 && !anyContains(s.AllowAddresses, a) {
		if q.explaining {
			q.find("%s is not among allow_addresses", a)
		}
		return q.deny(AddressDenied)
	}
	return false
}

// anyContains says whether an address lies in one of the prefixes. An IPv4 address in IPv6 form is the IPv4 address, in a
// prefix as well; a zone names a link of the server's, and is no part of the address.
func anyContains(prefixes []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool {
		if p.Addr().Is4In6() {
			p = netip.PrefixFrom(p.Addr().Unmap(), max(p.Bits()-96, 0))
		}
		return p.Contains(a)
	})
}

// connectorAllowed holds for viewers: encoders push over what nobody may watch over. A connection that opens may be
// either's, so it is judged when it plays.
func (q *question) connectorAllowed() bool {
	if q.r.Action != Watch && q.r.Action != Play {
		return false
	}
	if slices.ContainsFunc(q.stream.DenyConnectors, func(c string) bool { return strings.EqualFold(c, q.r.Connector) }) {
		if q.explaining {
			q.find("%s is among deny_connectors", q.r.Connector)
		}
		return q.deny(ConnectorDenied)
	}
	return false
}

// publishing decides for publishers where no credential is asked for.
func (q *question) publishing() bool {
	if q.r.Action != Push {
		return false
	}
	switch q.stream.Publish {
	case PublishOpen:
		return q.allow(Publisher)
	case PublishKey:
		return false
	default:
		if q.explaining {
			q.find("the stream is closed to publishers")
		}
		return q.deny(PublisherDenied)
	}
}

// public decides where the stream asks nothing, and for connections, of which no more is asked.
func (q *question) public() bool {
	switch q.r.Action {
	case Connect, Play:
		return q.allow(Public)
	case Watch, Rendition:
		return q.access == AccessPublic && q.allow(Public)
	default:
		return false
	}
}

func (q *question) credentialValid() bool {
	c := q.f.Credential
	if c == nil || q.f.CredentialFault != 0 {
		reason := q.f.CredentialFault
		if reason == 0 {
			reason = CredentialMissing
			if q.preview() {
				return true
			}
		}
		return q.deny(reason)
	}
	if reason := c.fault(q.r, q.at); reason != 0 {
		if q.explaining {
			q.find("%s", c.describeFault(reason))
		}
		return q.deny(reason)
	}
	return false
}

// fault is what keeps a genuine credential from being used for a request at a moment; zero when nothing does.
func (c *Credential) fault(r *Request, at time.Time) Reason {
	switch {
	case c.Revoked:
		return CredentialRevoked
	case !within(at, c.From, c.Until):
		return CredentialExpired
	case len(c.Streams) > 0 && !slices.ContainsFunc(c.Streams, func(p string) bool { return MatchStream(p, r.Stream) }):
		return CredentialWrongStream
	case len(c.Addresses) > 0 && !anyContains(c.Addresses, r.Address):
		return CredentialWrongAddress
	}
	return 0
}

func (c *Credential) describeFault(reason Reason) string {
	switch reason {
	case CredentialExpired:
		return fmt.Sprintf("it is good from %s until %s", describeTime(c.From, "ever"), describeTime(c.Until, "ever"))
	case CredentialWrongStream:
		return fmt.Sprintf("it is good for %v", c.Streams)
	case CredentialWrongAddress:
		return fmt.Sprintf("it is good for %v", c.Addresses)
	default:
		return ""
	}
}

func (q *question) userActive() bool {
	switch u := q.f.User; {
	case u == nil || u.Status == "":
		return q.deny(UserUnknown)
	case u.Status != ActiveUser:
		return q.deny(UserSuspended)
	}
	return false
}

func (q *question) noHold() bool {
	if len(q.f.User.Holds) > 0 {
		if q.explaining {
			h := q.f.User.Holds[0]
			q.find("%d standing; the first is %s, of kind %s", len(q.f.User.Holds), h.ID, h.Kind)
		}
		return q.deny(OnHold)
	}
	return false
}

// publisher decides for publishers with a credential.
func (q *question) publisher() bool {
	if q.r.Action != Push {
		return false
	}
	if !q.f.Credential.Publish {
		if q.explaining {
			q.find("the credential is for watching only")
		}
		return q.deny(PublisherDenied)
	}
	return q.allow(Publisher)
}

func (q *question) authenticated() bool {
	return q.access == AccessAuthenticated && q.allow(Authenticated)
}

// identify says in the decision who asked and what comes with it, whatever the answer.
func (q *question) identify() {
	d, f := &q.decision, q.f
	d.PreviewFrom = f.PreviewFrom
	if f.Credential != nil {
		d.CredentialID, d.Claims = f.Credential.ID, f.claims()
	}
	if f.User == nil || f.User.Status == "" {
		return
	}
	d.User = f.User.User
	if !q.r.Action.byViewer() {
		return
	}
	// What a plan gives is for a user who could use it: not for one who is suspended, on hold, or here with a
	// credential that is not good for this.
	if f.Credential == nil || f.Credential.fault(q.r, q.at) != 0 || f.User.Status != ActiveUser || len(f.User.Holds) > 0 {
		return
	}
	if best := q.bestPlan(nil); best != nil && d.Allow {
		d.Tags = best.Tags
	}
	if q.stream != nil && len(q.stream.Renditions) > 0 {
		if best := q.bestPlan(q.stream.Renditions); best != nil {
			if to := q.stream.Renditions[best.Key]; to != q.r.Stream {
				d.Rendition = to
			}
		}
	}
}

func describeTime(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.UTC().Format(time.RFC3339)
}

// within says whether from ≤ t < until, where a zero bound is none.
func within(t, from, until time.Time) bool {
	return (from.IsZero() || !t.Before(from)) && (until.IsZero() || t.Before(until))
}

// accessAt is the stream's access at a moment: that of the window it lies in, else the usual one.
func (s *StreamPolicy) accessAt(t time.Time) Access {
	for i := range s.Windows {
		if within(t, s.Windows[i].From, s.Windows[i].Until) {
			return s.Windows[i].Access
		}
	}
	return s.Access
}

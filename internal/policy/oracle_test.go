package policy

import (
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The oracle says the rules of DESIGN.md once more, in the plainest way there is and without the package's own
// helpers: every moment as a number, every rule as a sentence that is true or false.

// holdsAt says whether from ≤ t < until.
func holdsAt(t, from, until time.Time) bool {
	if !from.IsZero() && t.UnixNano() < from.UnixNano() {
		return false
	}
	return until.IsZero() || t.UnixNano() < until.UnixNano()
}

// covers says whether a pattern is the stream, or a beginning of it.
func covers(pattern, stream string) bool {
	if strings.HasSuffix(pattern, "*") {
		return strings.Index(stream, pattern[:len(pattern)-1]) == 0
	}
	return pattern == stream
}

// liesIn compares the bits of an address with those of the prefixes.
func liesIn(a netip.Addr, ps []netip.Prefix) bool {
	if !a.IsValid() {
		return false
	}
	bits := func(x netip.Addr) (s string, mapped bool) {
		all := x.As16()
		for _, b := range all {
			for i := 7; i >= 0; i-- {
				s += string('0' + (b>>i)&1)
			}
		}
		return s, strings.HasPrefix(s, strings.Repeat("0", 80)+strings.Repeat("1", 16))
	}
	address, four := bits(a)
	for _, p := range ps {
		base, fourToo := bits(p.Addr())
		n := p.Bits()
		if p.Addr().Is4() {
			n += 96
		}
		if four == fourToo && strings.HasPrefix(address, base[:n]) {
			return true
		}
	}
	return false
}

// oraclePolicy is the policy of the very name, else of the longest prefix.
func oraclePolicy(c *Catalog, stream string) (found *StreamPolicy) {
	for i, s := range c.Streams {
		switch {
		case s.Match == stream:
			return &c.Streams[i]
		case covers(s.Match, stream) && (found == nil || len(s.Match) > len(found.Match)):
			found = &c.Streams[i]
		}
	}
	return found
}

func oraclePlan(c *Catalog, key string) (Plan, bool) {
	for _, p := range c.Plans {
		if p.Key == key {
			return p, true
		}
	}
	return Plan{}, false
}

// right is what the oracle says of one entitlement.
type right struct {
	plan                                string
	future, past, inForce, grace, empty bool // empty: but for its plan's quota
}

func oracleRights(f *Facts, s *StreamPolicy, stream string, t time.Time) (rights []right) {
	for _, e := range f.User.Entitlements {
		plan, known := oraclePlan(f.Catalog, e.Plan)
		listed := false
		for _, p := range s.Plans {
			listed = listed || p == e.Plan
		}
		tagged := false
		for _, tag := range s.Tags {
			tagged = tagged || tag == e.Tag
		}
		if !(e.Plan != "" && known && listed || e.Stream != "" && covers(e.Stream, stream) || e.Tag != "" && tagged) {
			continue
		}
		r := right{plan: e.Plan}
		begun := e.From.IsZero() || t.UnixNano() >= e.From.UnixNano()
		r.future = !begun
		r.inForce = holdsAt(t, e.From, e.Until)
		r.grace = begun && !r.inForce && e.Plan != "" && !e.GraceFrom.IsZero() && t.Sub(e.GraceFrom) < time.Duration(plan.Grace)
		r.past = begun && !r.inForce && !r.grace
		r.empty = plan.QuotaMinutes > 0 && !oracleUsed(f.User, t).before(plan.QuotaMinutes)
		rights = append(rights, r)
	}
	return rights
}

// nanoseconds are too many for a number of 64 bits.
type nanoseconds struct{ *big.Int }

func (n nanoseconds) before(minutes int) bool {
	return n.Cmp(new(big.Int).Mul(big.NewInt(int64(minutes)), big.NewInt(int64(time.Minute)))) < 0
}

// oracleUsed is what a user used in the month of a moment: what is over, and each running session since it counts there.
func oracleUsed(u *UserFacts, t time.Time) nanoseconds {
	t = t.UTC()
	number := func(t time.Time) int { return 12*t.UTC().Year() + int(t.UTC().Month()) }
	used, from := int64(u.Used), u.RunningFrom
	switch here, facts := number(t), number(u.UsedMonth); {
	case here < facts:
		return nanoseconds{new(big.Int)}
	case here > facts:
		used, from = 0, monthStart(t)
	}
	each := big.NewInt(max(0, t.UnixNano()-from.UnixNano()))
	if u.Running == 0 {
		each.SetInt64(0)
	}
	return nanoseconds{each.Mul(each, big.NewInt(int64(u.Running))).Add(each, big.NewInt(used))}
}

// oracleMetered says whether what is watched counts towards a quota.
func oracleMetered(r *Request, f *Facts, t time.Time) bool {
	if f.User == nil || r.Action != Watch && r.Action != Rendition {
		return false
	}
	for _, e := range f.User.Entitlements {
		plan, _ := oraclePlan(f.Catalog, e.Plan)
		begun := e.From.IsZero() || !t.Before(e.From)
		inGrace := !e.GraceFrom.IsZero() && t.Before(e.GraceFrom.Add(time.Duration(plan.Grace)))
		if plan.QuotaMinutes > 0 && (!begun || holdsAt(t, e.From, e.Until) || inGrace) {
			return true
		}
	}
	return false
}

// oracle is the answer, and its reason's code.
func oracle(r *Request, f *Facts, t time.Time) (allow bool, reason string) {
	asksViewer := r.Action == Watch || r.Action == Rendition
	connection := r.Action == Connect || r.Action == Play
	if r.Invalid {
		return false, "payload_invalid"
	}
	s := oraclePolicy(f.Catalog, r.Stream)
	if s == nil {
		if connection {
			return true, "public"
		}
		return false, "stream_unknown"
	}
	access := s.Access
	for i := len(s.Windows) - 1; i >= 0; i-- { // the first that holds is the last to speak
		if holdsAt(t, s.Windows[i].From, s.Windows[i].Until) {
			access = s.Windows[i].Access
		}
	}
	if asksViewer && access == "closed" {
		return false, "stream_closed"
	}
	hasRules := len(s.AllowAddresses)+len(s.DenyAddresses) > 0
	badAddress := liesIn(r.Address, s.DenyAddresses) || len(s.AllowAddresses) > 0 && !liesIn(r.Address, s.AllowAddresses) || !r.Address.IsValid()
	if hasRules && badAddress && (r.Address.IsValid() || !connection) {
		return false, "address_denied"
	}
	for _, c := range s.DenyConnectors {
		if c == r.Connector && (r.Action == Watch || r.Action == Play) {
			return false, "connector_denied"
		}
	}
	switch {
	case connection:
		return true, "public"
	case asksViewer && access == "public":
		return true, "public"
	case r.Action == Push && s.Publish == "open":
		return true, "publisher"
	case r.Action == Push && s.Publish != "key":
		return false, "publisher_denied"
	}
	previews := r.Action == Watch && access == "entitled" && s.Preview > 0 && !f.PreviewFrom.IsZero() && t.Sub(f.PreviewFrom) < time.Duration(s.Preview)
	c := f.Credential
	switch {
	case c == nil && f.CredentialFault != 0:
		return false, f.CredentialFault.String()
	case c == nil && previews:
		return true, "preview"
	case c == nil:
		return false, "credential_missing"
	case c.Revoked:
		return false, "credential_revoked"
	case !holdsAt(t, c.From, c.Until):
		return false, "credential_expired"
	}
	goodFor := len(c.Streams) == 0
	for _, p := range c.Streams {
		goodFor = goodFor || covers(p, r.Stream)
	}
	switch {
	case !goodFor:
		return false, "credential_wrong_stream"
	case len(c.Addresses) > 0 && !liesIn(r.Address, c.Addresses):
		return false, "credential_wrong_address"
	case f.User == nil || f.User.Status == "":
		return false, "user_unknown"
	case f.User.Status != "active":
		return false, "user_suspended"
	case len(f.User.Holds) > 0:
		return false, "hold"
	case r.Action == Push && c.Publish:
		return true, "publisher"
	case r.Action == Push:
		return false, "publisher_denied"
	case access == "authenticated":
		return true, "authenticated"
	}
	var n struct{ force, grace, empty, future, past int }
	for _, g := range oracleRights(f, s, r.Stream, t) {
		switch {
		case (g.inForce || g.grace) && g.empty:
			n.empty++
		case g.inForce:
			n.force++
		case g.grace:
			n.grace++
		case g.future:
			n.future++
		default:
			n.past++
		}
	}
	switch {
	case n.force > 0:
		return true, "entitled"
	case n.grace > 0:
		return true, "grace"
	case n.empty > 0:
		return false, "quota_exhausted"
	case previews:
		return true, "preview"
	case n.future > 0:
		return false, "entitlement_not_started"
	case n.past > 0:
		return false, "entitlement_expired"
	}
	return false, "payment_required"
}

// requireJustified checks that an allow rests on a fact, whatever the rules that led to it, and so does what comes with it.
func requireJustified(t require.TestingT, r *Request, f *Facts, at time.Time, d Decision) {
	s := oraclePolicy(f.Catalog, r.Stream)
	var owns []right
	if s != nil && f.User != nil {
		owns = oracleRights(f, s, r.Stream, at)
	}
	has := func(is func(right) bool) bool {
		for _, g := range owns {
			if is(g) && !g.empty && g.plan == d.Plan {
				return true
			}
		}
		return false
	}
	require.Equal(t, isAllow(d.Reason), d.Allow, "%s", d.Reason)
	require.False(t, d.Allow && d.MayPreview)
	if !d.Allow {
		require.Empty(t, d.Tags)
		return
	}
	known := f.Credential != nil && !f.Credential.Revoked && holdsAt(at, f.Credential.From, f.Credential.Until) &&
		f.User != nil && f.User.Status == ActiveUser && len(f.User.Holds) == 0
	switch d.Reason {
	case Public:
		require.True(t, r.Action == Connect || r.Action == Play || s.accessAt(at) == AccessPublic)
	case Authenticated:
		require.True(t, known && s.accessAt(at) == AccessAuthenticated)
	case Entitled:
		require.True(t, known && has(func(g right) bool { return g.inForce }))
	case Grace:
		require.True(t, known && has(func(g right) bool { return g.grace }))
	case Preview:
		require.True(t, s.Preview > 0 && !f.PreviewFrom.IsZero() && s.accessAt(at) == AccessEntitled && d.Plan == "")
	case Publisher:
		require.True(t, s.Publish == PublishOpen || s.Publish == PublishKey && known && f.Credential.Publish)
		require.Equal(t, Push, r.Action)
	}
	if d.Plan != "" {
		plan, _ := oraclePlan(f.Catalog, d.Plan)
		require.Equal(t, plan.MaxConcurrent, d.MaxConcurrent, "the limit is that of the plan")
		require.Equal(t, plan.OnLimit, d.OnLimit)
	}
	if len(d.Tags) > 0 || d.Rendition != "" {
		require.True(t, known, "tags and renditions are for a user who is known")
	}
}

func TestEvaluateAgreesWithTheOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := situations.Draw(t, "situation")
		moments, all := []time.Time{s.At}, s.boundaries()
		for i := rapid.IntRange(0, 9).Draw(t, "first moment"); i < len(all); i += 10 {
			moments = append(moments, all[i])
		}
		for _, action := range everyAction {
			s.Request.Action = action
			for _, b := range moments {
				for _, at := range []time.Time{b.Add(-1), b} {
					d := Evaluate(s.Request, s.Facts, at)
					allow, reason := oracle(s.Request, s.Facts, at)
					require.Equal(t, reason, d.Reason.String(), "%s at %s", actionNames[action], at)
					require.Equal(t, allow, d.Allow, "%s at %s", actionNames[action], at)
					requireJustified(t, s.Request, s.Facts, at, d)
					require.Equal(t, oracleMetered(s.Request, s.Facts, at), d.Metered)

					explained, findings := Explain(s.Request, s.Facts, at)
					require.Equal(t, d, explained)
					requireFindings(t, findings, d)
				}
			}
		}
	})
}

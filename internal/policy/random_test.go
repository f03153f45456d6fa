package policy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

// Random questions, for the properties. Everything is drawn from few values, so that things meet: moments from a grid
// around a turn of the month, streams and plans from a handful, limits that are often just reached.

// grid are the moments that facts begin and end at: every six hours of twelve days, the month turning on the fifth.
var grid = func() (ts []time.Time) {
	for i := range 48 {
		ts = append(ts, time.Date(2026, 2, 24, 6*i, 0, 0, 0, time.UTC))
	}
	return ts
}()

func oneOf[T any](t *rapid.T, label string, values ...T) T {
	return rapid.SampledFrom(values).Draw(t, label)
}

// some are up to n of the values, in any order, some of them twice.
func some[T any](t *rapid.T, label string, n int, values ...T) []T {
	return rapid.SliceOfN(rapid.SampledFrom(values), 0, n).Draw(t, label)
}

// once is true once in n times. It is drawn from a list, as rapid prefers the ends of a range.
func once(t *rapid.T, n int, label string) bool {
	values := make([]bool, n)
	values[n-1] = true
	return oneOf(t, label, values...)
}

func rarely(t *rapid.T, label string) bool { return once(t, 16, label) }

func moment(t *rapid.T, label string) time.Time { return oneOf(t, label, grid...) }

// bound is a moment, or none.
func bound(t *rapid.T, label string) time.Time {
	if rapid.Bool().Draw(t, label+" given") {
		return moment(t, label)
	}
	return time.Time{}
}

var (
	somePlans    = []string{"gold", "basic", "metered", "single", "lost"} // the catalog has lost one
	somePatterns = []string{"live+a", "live+*", "live+b", "vod", "*"}
	someTags     = []string{"premium", "sport"}
	somePrefixes = prefixes("0.0.0.0/0", "::/0", "192.0.2.0/24", "192.0.2.7/32", "::ffff:192.0.2.0/120", "::ffff:0.0.0.0/90", "2001:db8::/64", "fe80::/10")
	noAddress    = netip.Addr{}
	someAddress  = []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("::ffff:192.0.2.7"), netip.MustParseAddr("192.0.2.8"),
		netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%eth0"), noAddress}
)

func drawRequest(t *rapid.T) *Request {
	return &Request{
		Action:    oneOf(t, "action", Watch, Watch, Watch, Watch, Watch, Watch, Rendition, Rendition, Push, Push, Connect, Play),
		Stream:    oneOf(t, "stream", "live+a", "live+a", "live+a", "live+a", "live+b", "vod"),
		Address:   oneOf(t, "address", someAddress...),
		Connector: oneOf(t, "connector", "HLS", "RTMP"),
		Node:      "node1", Session: "5e55",
		Invalid: rarely(t, "invalid"),
	}
}

func drawCatalog(t *rapid.T) *Catalog {
	c := &Catalog{}
	for _, key := range somePlans[:4] {
		c.Plans = append(c.Plans, Plan{
			Key: key, Rank: rapid.IntRange(0, 2).Draw(t, "rank"),
			MaxConcurrent: oneOf(t, "max", 0, 0, 1, 2), OnLimit: oneOf(t, "on limit", OnLimitReject, OnLimitKickOldest),
			Grace:        Duration(oneOf(t, "grace", 0, 6*time.Hour, day, 40*time.Hour)),
			QuotaMinutes: oneOf(t, "quota", 0, 60, 60, 44_000), // the last outlasts a month of 30 days

			Tags: some(t, "plan tags", 1, "plan:"+key, "hd"),
		})
	}
	for _, match := range rapid.SliceOfNDistinct(rapid.SampledFrom(somePatterns), oneOf(t, "at least", 1, 2, 3), 4, rapid.ID[string]).Draw(t, "policies") {
		c.Streams = append(c.Streams, drawPolicy(t, match))
	}
	c.Index()
	return c
}

var someAccess = []Access{AccessEntitled, AccessEntitled, AccessEntitled, AccessEntitled, AccessEntitled, AccessEntitled, AccessAuthenticated, AccessPublic, AccessClosed}

func drawPolicy(t *rapid.T, match string) StreamPolicy {
	s := StreamPolicy{
		Match: match, Access: oneOf(t, "access", someAccess...), Plans: oneOf(t, "all plans", somePlans, some(t, "plans", 4, somePlans...)),
		Tags: some(t, "tags", 1, someTags...), Publish: oneOf(t, "publish", PublishKey, PublishKey, PublishOpen, PublishClosed, ""),
		Preview:      Duration(oneOf(t, "preview", 0, 0, 6*time.Hour, 30*time.Hour)),
		PreviewEvery: Duration(oneOf(t, "preview every", 0, 12*time.Hour, 3*day)),
	}
	if once(t, 4, "address rules") {
		s.AllowAddresses = some(t, "allow addresses", 2, somePrefixes...)
		s.DenyAddresses = some(t, "deny addresses", 1, somePrefixes...)
	}
	if rarely(t, "deny connectors") {
		s.DenyConnectors = some(t, "deny connectors", 1, "HLS", "RTMP")
	}
	for range oneOf(t, "windows", 0, 0, 0, 1, 2) {
		s.Windows = append(s.Windows, Window{bound(t, "window from"), bound(t, "window until"), oneOf(t, "window access", someAccess...)})
	}
	if rapid.Bool().Draw(t, "has renditions") {
		s.Renditions = rapid.MapOfN(rapid.SampledFrom(somePlans), rapid.SampledFrom([]string{"hd", "sd", "live+a"}), 0, 3).Draw(t, "renditions")
	}
	return s
}

func drawCredential(t *rapid.T) *Credential {
	c := &Credential{
		ID: "c1", Kind: oneOf(t, "kind", CredentialKey, CredentialJWT), User: "ann",
		Publish: rapid.Bool().Draw(t, "may publish"), Revoked: rarely(t, "revoked"),
	}
	if once(t, 4, "credential is bounded") {
		c.From, c.Until = bound(t, "credential from"), bound(t, "credential until")
		c.Streams = some(t, "credential streams", 2, somePatterns...)
		c.Addresses = some(t, "credential addresses", 2, somePrefixes...)
	}
	return c
}

func drawEntitlement(t *rapid.T) Entitlement {
	e := Entitlement{ID: "e", From: bound(t, "from"), Until: bound(t, "until")}
	e.GraceFrom = oneOf(t, "grace from", time.Time{}, e.Until, e.Until, moment(t, "renewal failed"))
	switch oneOf(t, "right to", "plan", "plan", "plan", "plan", "plan", "stream", "tag") {
	case "stream":
		e.Stream = oneOf(t, "entitled stream", somePatterns...)
	case "tag":
		e.Tag = oneOf(t, "entitled tag", someTags...)
	default:
		e.Plan = oneOf(t, "entitled plan", somePlans...)
	}
	return e
}

func drawUser(t *rapid.T) *UserFacts {
	u := &UserFacts{User: "ann", Status: ActiveUser}
	if rarely(t, "not active") {
		u.Status = oneOf(t, "status", "", SuspendedUser)
	}
	for range oneOf(t, "entitlements", 0, 1, 1, 2, 3, 4, 5) {
		u.Entitlements = append(u.Entitlements, drawEntitlement(t))
	}
	if rarely(t, "held") {
		u.Holds = []Hold{{ID: "h1", Kind: "abuse"}}
	}
	if rapid.Bool().Draw(t, "watched") {
		u.Used = oneOf(t, "used", time.Hour-1, time.Hour, 2*time.Hour)
		u.UsedMonth = time.Date(2026, oneOf(t, "used month", time.January, time.February, time.March), 1, 0, 0, 0, 0, time.UTC)
	}
	if rapid.Bool().Draw(t, "runs") { // a quota of an hour is used up in an hour, or in less
		if u.UsedMonth.IsZero() {
			u.UsedMonth = time.Date(2026, oneOf(t, "facts' month", time.February, time.March), 1, 0, 0, 0, 0, time.UTC)
		}
		var since []time.Time
		for range oneOf(t, "running", 1, 1, 2, 3) {
			at := moment(t, "runs since").Add(oneOf(t, "beside", 0, 0, -20*time.Minute, 1, 7*time.Second))
			if monthStart(at).Equal(u.UsedMonth) {
				since = append(since, at)
			} else {
				since = append(since, u.UsedMonth)
			}
		}
		u.Running, u.RunningFrom = len(since), mean(since)
		u.Used = min(u.Used, oneOf(t, "used before", 0, 30*time.Minute, time.Hour-1, time.Hour))
	}
	return u
}

// situation is a question with its facts, and a moment to begin at.
type situation struct {
	Request *Request
	Facts   *Facts
	At      time.Time
}

// GoString is how rapid shows a question that fails.
func (s situation) GoString() string {
	text, err := json.MarshalIndent(s, "", " ")
	return string(text) + fmt.Sprint(err)
}

var situations = rapid.Custom(func(t *rapid.T) situation {
	s := situation{drawRequest(t), &Facts{Catalog: drawCatalog(t)}, moment(t, "at").Add(oneOf(t, "beside", -1, 0, 0, 1, time.Hour))}
	switch oneOf(t, "presented", "good", "good", "good", "good", "good", "good", "none", "bad") {
	case "none":
	case "bad":
		s.Facts.CredentialFault = oneOf(t, "fault", CredentialUnknown, CredentialExpired)
	default:
		s.Facts.Credential = drawCredential(t)
		if !rarely(t, "nothing read") {
			s.Facts.User = drawUser(t)
		}
	}
	if rapid.Bool().Draw(t, "previewed") {
		s.Facts.PreviewFrom = moment(t, "preview from")
	}
	return s
})

// boundaries are all moments at which anything about a situation could change, in order, however unlikely.
func (s situation) boundaries() []time.Time {
	ts := slices.Clone(grid) // every bound is one of these, and every turn of a month
	for _, g := range grid {
		for _, p := range s.Facts.Catalog.Plans {
			ts = append(ts, g.Add(time.Duration(p.Grace)))
		}
		for _, p := range s.Facts.Catalog.Streams {
			ts = append(ts, g.Add(time.Duration(p.Preview)), g.Add(time.Duration(p.PreviewEvery)), g.Add(day))
		}
	}
	for m := range 7 { // the months, and when quotas are used up in them
		month := monthStart(grid[0]).AddDate(0, m, 0)
		ts = append(ts, month)
		if u := s.Facts.User; u != nil && u.Running > 0 {
			for _, p := range s.Facts.Catalog.Plans {
				n, quota := time.Duration(u.Running), time.Duration(p.QuotaMinutes)*time.Minute
				ts = append(ts, month.Add((quota+n-1)/n), u.RunningFrom.Add((max(quota-u.Used, 0)+n-1)/n))
			}
		}
	}
	ts = slices.DeleteFunc(ts, func(t time.Time) bool { return t.Before(grid[0]) })
	slices.SortFunc(ts, time.Time.Compare)
	return slices.CompactFunc(ts, time.Time.Equal)
}

// The properties are worth something only if the random questions reach every answer. This draws the same ones each time.
func TestRandomSituationsReachEveryReason(t *testing.T) {
	reached := map[Reason]int{}
	previews := 0
	for seed := range 3000 {
		s := situations.Example(seed)
		d := Evaluate(s.Request, s.Facts, s.At)
		reached[d.Reason]++
		if d.MayPreview {
			previews++
		}
	}
	for _, r := range Reasons() {
		if r != ConcurrencyLimit && r != Unavailable {
			assert.GreaterOrEqual(t, reached[r], 5, "%s is hardly ever reached", r)
		}
	}
	assert.GreaterOrEqual(t, previews, 5)
	t.Log(reached)
}

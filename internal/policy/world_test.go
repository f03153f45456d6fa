package policy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is the moment that most cases ask at.
var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// in is a moment some time after noon; before it when negative.
func in(d time.Duration) time.Time { return noon.Add(d) }

// day is a length of time that no case's preview or grace comes near by chance.
const day = 24 * time.Hour

// world is one question with everything that its answer rests on. A case of a table is a change to the usual one.
type world struct {
	request Request
	facts   Facts
	catalog Catalog
	at      time.Time
}

type change func(*world)

// newWorld is the usual world: the user "ann" with a key, and no entitlement, asks for an entitled stream that the
// plans gold and basic open.
func newWorld(changes ...change) *world {
	w := &world{
		at: noon,
		request: Request{
			Action: Watch, Stream: "live+show", Address: netip.MustParseAddr("192.0.2.7"), Connector: "HLS",
			Node: "node1", Session: "5e55", Presented: Presented{Key: HashKey("ak_ann")},
		},
		catalog: Catalog{
			Plans: []Plan{
				{Key: "gold", Rank: 20, Grace: Duration(3 * day), Tags: []string{"plan:gold"}},
				{Key: "basic", Rank: 10, Tags: []string{"plan:basic"}},
				{Key: "metered", Rank: 15, QuotaMinutes: 60, Tags: []string{"plan:metered"}},
				{Key: "single", Rank: 17, MaxConcurrent: 1, OnLimit: OnLimitKickOldest, Tags: []string{"plan:single"}},
				{Key: "other", Rank: 30, Tags: []string{"plan:other"}}, // opens nothing
			},
			Streams: []StreamPolicy{{
				Match: "live+*", Access: AccessEntitled, Plans: []string{"gold", "basic", "metered", "single"},
				Tags: []string{"premium"}, Publish: PublishKey,
			}},
		},
		facts: Facts{
			Credential: &Credential{ID: "c1", Kind: CredentialKey, User: "ann"},
			User:       &UserFacts{User: "ann", Status: ActiveUser},
		},
	}
	for _, c := range changes {
		c(w)
	}
	w.catalog.Index()
	w.facts.Catalog = &w.catalog
	return w
}

func (w *world) evaluate() Decision { return Evaluate(&w.request, &w.facts, w.at) }

func with(changes ...change) []change { return changes }

// policy changes the stream's policy.
func policy(c func(*StreamPolicy)) change { return func(w *world) { c(&w.catalog.Streams[0]) } }

func access(a Access) change   { return policy(func(s *StreamPolicy) { s.Access = a }) }
func publish(p Publish) change { return policy(func(s *StreamPolicy) { s.Publish = p }) }

func window(from, until time.Time, a Access) change {
	return policy(func(s *StreamPolicy) { s.Windows = append(s.Windows, Window{from, until, a}) })
}

func preview(length, every time.Duration) change {
	return policy(func(s *StreamPolicy) { s.Preview, s.PreviewEvery = Duration(length), Duration(every) })
}

func previewFrom(t time.Time) change { return func(w *world) { w.facts.PreviewFrom = t } }

func prefixes(texts ...string) (ps []netip.Prefix) {
	for _, p := range texts {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	return ps
}

func allowed(ps ...string) change {
	return policy(func(s *StreamPolicy) { s.AllowAddresses = prefixes(ps...) })
}

func refused(ps ...string) change {
	return policy(func(s *StreamPolicy) { s.DenyAddresses = prefixes(ps...) })
}

func deniedConnectors(names ...string) change {
	return policy(func(s *StreamPolicy) { s.DenyConnectors = names })
}

func renditions(byPlan map[string]string) change {
	return policy(func(s *StreamPolicy) { s.Renditions = byPlan })
}

// address sets the viewer's address; "" is none.
func address(a string) change {
	return func(w *world) {
		w.request.Address = netip.Addr{}
		if a != "" {
			w.request.Address = netip.MustParseAddr(a)
		}
	}
}

func stream(name string) change    { return func(w *world) { w.request.Stream = name } }
func connector(name string) change { return func(w *world) { w.request.Connector = name } }
func asking(at time.Time) change   { return func(w *world) { w.at = at } }
func invalidPayload(w *world)      { w.request.Invalid = true }
func has(e Entitlement) change {
	return func(w *world) { w.ann().Entitlements = append(w.ann().Entitlements, e) }
}
func plan(key string) change         { return has(Entitlement{ID: "e-" + key, Plan: key}) }
func (w *world) ann() *UserFacts     { return w.facts.User }
func held(w *world)                  { w.ann().Holds = []Hold{{ID: "h1", Kind: "dispute"}} }
func status(s UserStatus) change     { return func(w *world) { w.ann().Status = s } }
func noFactsOfUser(w *world)         { w.facts.User = nil }
func fault(r Reason) change          { return func(w *world) { nobody(w); w.facts.CredentialFault = r } }
func credential(c Credential) change { return func(w *world) { *w.facts.Credential = c } }
func used(d time.Duration) change {
	return func(w *world) { w.ann().Used, w.ann().UsedMonth = d, monthStart(w.at) }
}

// running are sessions of ann's that run, and count since these moments.
func running(since ...time.Time) change {
	return func(w *world) { w.ann().Running, w.ann().RunningFrom = len(since), mean(since) }
}

func mean(ts []time.Time) time.Time {
	if len(ts) == 0 {
		return time.Time{}
	}
	var sum time.Duration
	for _, t := range ts {
		sum += t.Sub(ts[0])
	}
	return ts[0].Add(sum / time.Duration(len(ts)))
}

func monthStart(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// nobody presents no credential.
func nobody(w *world) {
	w.facts.Credential, w.facts.User = nil, nil
	w.request.Presented = Presented{}
}

// publishKey is a credential that permits publishing.
func publishKey(w *world) { w.facts.Credential.Publish = true }

var (
	everyAction = []Action{Watch, Connect, Play, Rendition, Push}
	viewers     = []Action{Watch, Rendition}
	connections = []Action{Connect, Play}
	judged      = []Action{Watch, Rendition, Push} // those that are judged by who asks
	watch       = []Action{Watch}
	play        = []Action{Play}
	push        = []Action{Push}
	rendition   = []Action{Rendition}
)

var actionNames = map[Action]string{Watch: "Watch", Connect: "Connect", Play: "Play", Rendition: "Rendition", Push: "Push"}

// isAllow says whether DESIGN.md lists the reason among those of an allow.
func isAllow(r Reason) bool {
	switch r.String() {
	case "public", "authenticated", "entitled", "grace", "preview", "publisher":
		return true
	}
	return false
}

// row is one case: a question in a changed world, and its whole answer.
type row struct {
	name    string
	actions []Action // it holds for each
	changes []change
	// want is the whole decision but for what follows from the world: who asked, and whether the reason is an allow's.
	want Decision
}

// check runs a row for each of its actions.
func (r row) check(t *testing.T) {
	require.NotEmpty(t, r.actions)
	for _, a := range r.actions {
		t.Run(actionNames[a], func(t *testing.T) {
			w := newWorld(append([]change{func(w *world) { w.request.Action = a }}, r.changes...)...)
			want := r.want
			want.Allow = isAllow(want.Reason)
			if c := w.facts.Credential; c != nil {
				want.CredentialID = c.ID
				if c.Kind == CredentialJWT {
					want.Claims = c
				}
			}
			if u := w.facts.User; u != nil && u.Status != "" {
				want.User = u.User
			}
			want.PreviewFrom = w.facts.PreviewFrom
			want.Metered = oracleMetered(&w.request, &w.facts, w.at)
			got := w.evaluate()
			assert.Equal(t, want, got)
			assert.Equal(t, want.Reason.String(), got.Reason.String())

			explained, findings := Explain(&w.request, &w.facts, w.at)
			assert.Equal(t, got, explained, "Explain answers as Evaluate does")
			requireFindings(t, findings, got)
		})
	}
}

// requireFindings checks that the findings end with what decided, and pass on until then.
func requireFindings(t require.TestingT, findings []Finding, d Decision) {
	require.NotEmpty(t, findings)
	last := len(findings) - 1
	for _, f := range findings[:last] {
		require.Equal(t, "pass", f.Outcome, "%+v", findings)
	}
	outcome := "deny"
	if d.Allow {
		outcome = "allow"
	}
	require.Equal(t, outcome, findings[last].Outcome, "%+v", findings)
}

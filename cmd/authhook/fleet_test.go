package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/credential"
	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/storetest"
)

const fleetCatalog = `
plans:
  - {key: gold}
  - {key: newest, max_concurrent: 1, on_limit: kick_oldest}
  - {key: first, max_concurrent: 1, on_limit: reject}
streams: [{match: "live+*", access: entitled, plans: [gold, newest, first]}]
prices: [{provider: events, price: gold, plan: gold, amount: 1999, currency: usd}]
`

// replica is one authhook in a process of its own, with the node that it is there for, and its ways to PostgreSQL and Redis.
type replica struct {
	*served
	process         killable
	name            string
	node            *misttest.Server
	postgres, redis *storetest.Proxy
}

// begin starts the process, and waits until it is ready.
func (r *replica) begin() {
	r.process.t.Helper()
	r.log = newOutput()
	r.process.log = r.log
	r.process.start()
	r.log.find(r.process.t, `answers on (\S+)`)
}

// fleet is three replicas over one PostgreSQL and one Redis, and who watches.
type fleet struct {
	t               *testing.T
	postgres, redis *box
	db              database // without a proxy
	replicas        []*replica
	keys            map[string]string
	guests          []*guest
	hosts           uint32
	patience        time.Duration
	steps           []step
	astray          []*guest // the first few who were not where the facts say, at the last look

	limited   []string          // users whose plan permits one session
	plan      map[string]string // of a limited user: newest or first
	placed    map[string]*guest // who of a limited user's guests is to watch
	maybe     map[*guest]bool   // may watch or not, as long as nobody can be given a place
	withdrawn map[string]string // entitlements that were taken back, by user
	payments  map[string]string // acknowledged, by id: the user

	mu       sync.Mutex
	entitled map[string]string // to gold: the entitlement's id, by user
	cut      int               // guests who were cut although they had the right
}

// guest is a viewer at one of the nodes.
type guest struct {
	*misttest.Player
	user  string
	at    *replica
	spans []span // the fleet's lock guards them
}

// span is a time in which a guest watched; it has no end while it lasts.
type span struct{ from, until time.Time }

// step is what was done, and what became of it.
type step struct {
	what  string
	until time.Duration // everything was right
	// cut with a right, limited users with two sessions at once, what was acknowledged and is not there
	cut, over, lost int
}

func newFleet(t *testing.T, patience time.Duration) *fleet {
	t.Helper()
	f := &fleet{
		t: t, postgres: newPostgres(t), redis: newRedis(t), patience: patience, keys: map[string]string{}, plan: map[string]string{},
		placed: map[string]*guest{}, maybe: map[*guest]bool{}, withdrawn: map[string]string{}, payments: map[string]string{},
		entitled: map[string]string{},
	}
	databaseURL := withQuery(t, f.postgres.url, "pool_max_conns", "12")
	var err error
	f.db, err = (&databaseFlags{DatabaseURL: databaseURL}).openReady(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.db.Close()) })
	catalog := write(t, "catalog.yaml", fleetCatalog)
	for _, name := range []string{"a", "b", "c"} {
		m, err := misttest.Start(misttest.Options{Name: "edge-" + name})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Close()) })
		m.AddStream("live+fight")
		address := storetest.FreeAddress(t)
		m.SetTriggers(map[string][]misttest.Trigger{
			"USER_NEW": {{Handler: "http://" + address + "/trigger", Sync: true, Default: "false"}},
			"USER_END": {{Handler: "http://" + address + "/trigger"}},
		})
		r := &replica{served: &served{url: "http://" + address}, name: "edge-" + name, node: m}
		var toPostgres, toRedis string
		r.postgres, toPostgres = storetest.NewProxy(t, databaseURL)
		r.redis, toRedis = storetest.NewProxy(t, f.redis.url)
		r.process = killable{t: t, args: []string{
			"serve", "--database-url", toPostgres, "--redis-url", toRedis, "--listen", address, "--catalog", catalog,
			"--admin-token", adminToken, "--events-secret", eventsSecret, "--mist", r.name + "=" + m.UDPURL(), "--log-level", "warn",
		}}
		t.Cleanup(r.process.kill)
		r.begin()
		f.replicas = append(f.replicas, r)
	}
	return f
}

// user makes a user with a key.
func (f *fleet) user(name string) {
	f.t.Helper()
	f.keys[name] = credential.NewKey()
	_, _, err := f.db.PutUser(f.t.Context(), store.UserChange{ID: name, Status: policy.ActiveUser})
	require.NoError(f.t, err)
	_, err = f.db.AddCredential(f.t.Context(), policy.HashKey(f.keys[name]), policy.Credential{Kind: policy.CredentialKey, User: name}, time.Now())
	require.NoError(f.t, err)
}

// member is a user with an entitlement to a plan.
func (f *fleet) member(name, plan string) {
	f.t.Helper()
	f.user(name)
	id, err := f.db.AddEntitlement(f.t.Context(), name, policy.Entitlement{Plan: plan, Source: "test"})
	require.NoError(f.t, err)
	if plan == "gold" {
		f.entitle(name, id)
		return
	}
	f.limited = append(f.limited, name)
	f.plan[name] = plan
}

// entitle notes which entitlement to gold a user has; none: "".
func (f *fleet) entitle(user, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id == "" {
		delete(f.entitled, user)
		return
	}
	f.entitled[user] = id
}

// watch has a user try to watch at a node, for ever.
func (f *fleet) watch(user string, at *replica) *guest {
	f.hosts++
	n := f.hosts
	g := &guest{user: user, at: at}
	if f.placed[user] == nil || f.plan[user] == "newest" {
		f.placed[user] = g
	}
	g.Player = at.node.Connect(misttest.Viewer{
		Stream: "live+fight", Token: f.keys[user], Address: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}),
		Reconnect: time.Second,
	})
	f.t.Cleanup(g.Observe(func(e misttest.Event) { f.saw(g, e) })) // before any answer can be there
	f.guests = append(f.guests, g)
	return g
}

// saw notes what happened to a guest.
func (f *fleet) saw(g *guest, e misttest.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	watches := len(g.spans) > 0 && g.spans[len(g.spans)-1].until.IsZero()
	switch {
	case e.Kind == misttest.EventAllowed && !watches:
		g.spans = append(g.spans, span{from: e.At})
	case e.Kind == misttest.EventCut && watches:
		g.spans[len(g.spans)-1].until = e.At
		if f.entitled[g.user] != "" {
			f.cut++
		}
	}
}

// answered waits until nobody waits for an answer: those who come now are not all at once.
func (f *fleet) answered() {
	f.t.Helper()
	f.until(func() bool {
		for _, r := range f.replicas {
			if slices.ContainsFunc(r.node.Sessions(), func(s misttest.SessionInfo) bool { return s.Asking }) {
				return false
			}
		}
		return true
	}, func() string { return "somebody waits for an answer" })
}

// devices has every limited user of the plans try on one more device.
func (f *fleet) devices(at *replica, plans ...string) {
	for _, user := range f.limited {
		if slices.Contains(plans, f.plan[user]) {
			f.watch(user, at)
		}
	}
}

// waiting has every limited user try on one more device while nobody may be able to give it a place: of the plan newest, the
// one that watches goes on or is followed.
func (f *fleet) waiting(at *replica) {
	for _, user := range f.limited {
		before := f.placed[user]
		if now := f.watch(user, at); f.plan[user] == "newest" {
			f.maybe[before], f.maybe[now] = true, true
		}
	}
}

// grant and withdraw change a user's right over the API of a replica.
func (f *fleet) grant(over *replica, user string) {
	f.t.Helper()
	made, err := over.api(f.t, adminToken).AddEntitlementWithResponse(f.t.Context(), user, client.EntitlementRequest{Plan: "gold"})
	require.NoError(f.t, err)
	f.entitle(user, made.JSON201.ID)
}

func (f *fleet) withdraw(over *replica, user string) {
	f.t.Helper()
	id := f.entitled[user]
	f.entitle(user, "")
	_, err := over.api(f.t, adminToken).RemoveEntitlementWithResponse(f.t.Context(), user, id)
	require.NoError(f.t, err)
	f.withdrawn[user] = id
}

// byPayment is the id of an entitlement that came of a payment.
const byPayment = "by payment"

// pay tells a replica of a user's payment; it is acknowledged or not.
func (f *fleet) pay(to *replica, user, payment string) (acknowledged bool) {
	f.t.Helper()
	if to.report(f.t, "msg-"+payment, "payment.succeeded", boughtGold(user, payment)) != http.StatusOK {
		return false
	}
	f.entitle(user, byPayment)
	f.payments[payment] = user
	return true
}

func (f *fleet) refund(to *replica, user, payment string) {
	f.t.Helper()
	f.entitle(user, "")
	require.Equal(f.t, http.StatusOK, to.report(f.t, "msg-refund-"+payment, "payment.refunded", map[string]any{"payment": payment, "amount": 1999}))
}

// allowed says whether a guest is to watch.
func (f *fleet) allowed(g *guest) bool {
	if f.plan[g.user] != "" {
		return f.placed[g.user] == g
	}
	return f.entitled[g.user] != ""
}

// wrong is what is not as it should be at some nodes: who watches without a right or does not with one, and, where that is
// right, what the store says beyond or less than the nodes.
func (f *fleet) wrong(at ...*replica) string {
	var faults faults
	f.astray = nil
	live := map[*replica]map[string]bool{}
	for _, r := range at {
		live[r] = map[string]bool{}
		for _, s := range r.node.Sessions() {
			switch {
			case s.Asking:
				faults.add("a session at %s waits for an answer", r.name)
			case s.Connections > 0:
				live[r][s.ID] = true
			}
		}
	}
	for _, g := range f.guests {
		if live := live[g.at]; live != nil && !f.maybe[g] && live[g.SessionID()] != f.allowed(g) {
			if len(f.astray) < shownFaults {
				f.astray = append(f.astray, g)
			}
			faults.add("%s at %s is %s", g.user, g.at.name, g.State())
		}
	}
	for _, r := range at {
		if faults.n > 0 {
			break
		}
		stored := 0
		if err := f.db.HeldSessions(f.t.Context(), r.name, time.Now().Add(time.Hour), func(s policy.Session) error {
			if s.State == policy.SessionOpen {
				if stored++; !live[r][s.ID] {
					faults.add("a session at %s is stored as open", r.name)
				}
			}
			return nil
		}); err != nil {
			return err.Error()
		}
		if stored < len(live[r]) {
			faults.add("%s: %d live, %d stored as open", r.name, len(live[r]), stored)
		}
	}
	return faults.String()
}

// faults are the first of some faults, and how many there are.
type faults struct {
	first []string
	n     int
}

// shownFaults is how many of them are shown.
const shownFaults = 5

func (f *faults) add(format string, a ...any) {
	if f.n++; f.n <= shownFaults {
		f.first = append(f.first, fmt.Sprintf(format, a...))
	}
}

func (f *faults) String() string {
	if more := f.n - len(f.first); more > 0 {
		return strings.Join(f.first, "; ") + fmt.Sprintf("; and %d more", more)
	}
	return strings.Join(f.first, "; ")
}

// right waits until everything is as it should be at some nodes, at all when none is named, and notes how long that took and
// what it cost.
func (f *fleet) right(after string, at ...*replica) {
	f.t.Helper()
	if at == nil {
		at = f.replicas
	}
	began := time.Now()
	wrong, last := "", ""
	f.until(func() bool {
		last, wrong = wrong, f.wrong(at...)
		return wrong == ""
	}, func() string { return after + ": " + wrong })
	took := time.Since(began)
	asked := 0
	for _, r := range f.replicas {
		for _, c := range r.node.Commands() {
			if c.Kind == "invalidate_sessions" {
				asked++
			}
		}
	}
	f.t.Logf("%s %6.2f s until right after: %s; streams asked about so far: %d; the last to become right: %s",
		began.Format("15:04:05"), took.Seconds(), after, asked, last)
	f.steps = append(f.steps, step{what: after, until: took, cut: f.cuts(), over: f.exceeded(), lost: f.lost()})
}

func (f *fleet) cuts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cut
}

// exceeded is how many users of the plan first ever had two sessions at once.
func (f *fleet) exceeded() (n int) {
	for _, user := range f.limited {
		if f.plan[user] == "first" && f.longestTogether(user) > 0 {
			n++
		}
	}
	return n
}

// longestTogether is for how long two sessions of a user have run at the same time, at most.
func (f *fleet) longestTogether(user string) (longest time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []span
	now := time.Now()
	for _, g := range f.guests {
		if g.user != user {
			continue
		}
		for _, s := range g.spans {
			if s.until.IsZero() {
				s.until = now
			}
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b span) int { return a.from.Compare(b.from) })
	for i, a := range all {
		for _, b := range all[i+1:] {
			until := a.until
			if b.until.Before(until) {
				until = b.until
			}
			longest = max(longest, until.Sub(b.from))
		}
	}
	return longest
}

// lost is how much is not there of what was acknowledged: rights that were given or taken back, and payments.
func (f *fleet) lost() (n int) {
	f.t.Helper()
	has := func(user string) []policy.Entitlement {
		facts, err := f.db.FactsByUser(f.t.Context(), user)
		require.NoError(f.t, err)
		return facts.Entitlements
	}
	for user, id := range f.entitled {
		if !slices.ContainsFunc(has(user), func(e policy.Entitlement) bool { return e.ID == id || id == byPayment }) {
			f.t.Errorf("%s has lost a right", user)
			n++
		}
	}
	for user, id := range f.withdrawn {
		if slices.ContainsFunc(has(user), func(e policy.Entitlement) bool { return e.ID == id }) {
			f.t.Errorf("%s has a right again", user)
			n++
		}
	}
	for payment, user := range f.payments {
		all, err := f.db.Payments(f.t.Context(), store.PaymentFilter{User: user})
		require.NoError(f.t, err)
		if !slices.ContainsFunc(all, func(p store.Payment) bool { return p.ID == payment }) {
			f.t.Errorf("a payment of %s is lost", user)
			n++
		}
	}
	return n
}

// until waits for something to come true. It looks for a sixth of the time at most, which others need.
func (f *fleet) until(is func() bool, says func() string) {
	f.t.Helper()
	deadline := time.NewTimer(f.patience)
	defer deadline.Stop()
	for {
		began := time.Now()
		if is() {
			return
		}
		again := time.NewTimer(max(20*time.Millisecond, 5*time.Since(began)))
		select {
		case <-again.C:
		case <-deadline.C:
			f.t.Fatalf("%s\n%s%s", says(), f.tale(f.astray...), f.logs())
		}
	}
}

func (f *fleet) logs() string {
	var logs strings.Builder
	for _, r := range f.replicas {
		text := r.log.String()
		fmt.Fprintf(&logs, "\n%s:\n%s", r.name, text[max(0, len(text)-4000):])
	}
	return logs.String()
}

// without waits until a replica says that it has no database.
func (f *fleet) without(r *replica) {
	f.t.Helper()
	f.until(func() bool { code, _ := r.get(f.t, "/readyz"); return code == http.StatusServiceUnavailable },
		func() string { return r.name + " has its database" })
}

// story is what happened to a guest who was cut with a right, and what was told of it.
func (f *fleet) story() string {
	var all []*guest
	for _, g := range f.guests {
		if f.entitled[g.user] != "" && len(g.spans) > 1 {
			all = append(all, g)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "such as " + f.tale(all[0]) + f.logs()
}

// tale is what guests went through, and what the store has of it.
func (f *fleet) tale(guests ...*guest) string {
	var tale strings.Builder
	for _, g := range guests {
		fmt.Fprintf(&tale, "%s at %s:\n", g.user, g.at.name)
		for _, e := range g.Events() {
			fmt.Fprintf(&tale, "%s %s rerun=%t\n", e.At.Format("15:04:05.000"), e.Kind, e.Rerun)
		}
		for _, c := range g.at.node.Commands() {
			if c.Kind == "invalidate_sessions" || c.Target == g.SessionID() {
				fmt.Fprintf(&tale, "%s %s %s over %s\n", c.At.Format("15:04:05.000"), c.Kind, c.Target, c.Over)
			}
		}
		if s, err := f.db.Session(f.t.Context(), g.at.name, g.SessionID()); err == nil {
			fmt.Fprintf(&tale, "stored as %s, %s, opened %s, decided %s, ended %s\n", s.State, s.Reason, s.Opened.Format("15:04:05.000"),
				s.Decided.Format("15:04:05.000"), s.Ended.Format("15:04:05.000"))
		}
	}
	return tale.String()
}

// table is what the steps took and cost.
func (f *fleet) table() string {
	var table strings.Builder
	fmt.Fprintf(&table, "%d sessions\n| after | seconds until right | cut with a right | limits exceeded | lost |\n|---|---|---|---|---|\n", len(f.guests))
	var before step
	for _, s := range f.steps {
		fmt.Fprintf(&table, "| %s | %.1f | %d | %d | %d |\n", s.what, s.until.Seconds(), s.cut-before.cut, s.over-before.over, s.lost)
		before = s
	}
	return table.String()
}

package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/credential"
	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/storetest"
)

// replicaSessions is the variable of the environment that says how many sessions each of the three nodes has: 300. With 10000,
// run it without -race.
const replicaSessions = "AUTHHOOK_TEST_REPLICA_SESSIONS"

const replicasCatalog = `
plans:
  - {key: gold}
  - {key: newest, max_concurrent: 1, on_limit: kick_oldest}
  - {key: first, max_concurrent: 1, on_limit: reject}
streams: [{match: "live+*", access: entitled, plans: [gold, newest, first]}]
prices: [{provider: events, price: gold, plan: gold, amount: 1999, currency: usd}]
`

// replica is one authhook in a process of its own, with the node that it is there for and its way to PostgreSQL.
type replica struct {
	*served
	process killable
	name    string
	node    *misttest.Server
	proxy   *storetest.Proxy
}

// begin starts the process, and waits until it is ready.
func (r *replica) begin() {
	r.process.t.Helper()
	r.log = newOutput()
	r.process.log = r.log
	r.process.start()
	r.log.find(r.process.t, `answers on (\S+)`)
}

// guest is a viewer at one of the nodes.
type guest struct {
	*misttest.Player
	user string
	at   *replica
}

// fleet is three replicas over one PostgreSQL, and who watches.
type fleet struct {
	t        *testing.T
	db       database // without a proxy
	replicas []*replica
	keys     map[string]string
	guests   []*guest
	entitled map[string]string // to gold: the entitlement's id, by user
	limited  map[string]string // to the plan newest or first, whose limit is one: the plan, by user
	placed   map[string]*guest // who of a limited user's guests is to watch
	hosts    uint32
	patience time.Duration
}

func newFleet(t *testing.T, patience time.Duration) *fleet {
	t.Helper()
	databaseURL := storetest.PostgresSchema(t) + "&application_name=" + store.NewID("fleet")
	f := &fleet{t: t, keys: map[string]string{}, entitled: map[string]string{}, limited: map[string]string{}, placed: map[string]*guest{},
		patience: patience}
	var err error
	f.db, err = (&databaseFlags{DatabaseURL: databaseURL}).openReady(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.db.Close()) })
	catalog := write(t, "catalog.yaml", replicasCatalog)
	for _, name := range []string{"a", "b", "c"} {
		m, err := misttest.Start(misttest.Options{Name: "edge-" + name})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Close()) })
		m.AddStream("live+fight")
		address := freeAddress(t)
		m.SetTriggers(map[string][]misttest.Trigger{
			"USER_NEW": {{Handler: "http://" + address + "/trigger", Sync: true, Default: "false"}},
			"USER_END": {{Handler: "http://" + address + "/trigger"}},
		})
		proxy, through := storetest.NewProxy(t, databaseURL)
		r := &replica{served: &served{url: "http://" + address}, name: "edge-" + name, node: m, proxy: proxy}
		r.process = killable{t: t, args: []string{
			"serve", "--database-url", through, "--listen", address, "--catalog", catalog, "--admin-token", adminToken,
			"--events-secret", eventsSecret, "--mist", r.name + "=" + m.UDPURL(), "--log-level", "warn",
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
		f.entitled[name] = id
	} else {
		f.limited[name] = plan
	}
}

// watch has a user try to watch at a node, for ever.
func (f *fleet) watch(user string, at *replica) *guest {
	f.hosts++
	n := f.hosts
	g := &guest{user: user, at: at, Player: at.node.Connect(misttest.Viewer{
		Stream: "live+fight", Token: f.keys[user], Address: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}),
		Reconnect: time.Second,
	})}
	f.guests = append(f.guests, g)
	if f.limited[user] == "newest" || f.placed[user] == nil {
		f.placed[user] = g
	}
	return g
}

// grant and withdraw change a user's right over the API of a replica.
func (f *fleet) grant(over *replica, user string) {
	f.t.Helper()
	made, err := over.api(f.t, adminToken).AddEntitlementWithResponse(f.t.Context(), user, client.EntitlementRequest{Plan: "gold"})
	require.NoError(f.t, err)
	f.entitled[user] = made.JSON201.ID
}

func (f *fleet) withdraw(over *replica, user string) {
	f.t.Helper()
	_, err := over.api(f.t, adminToken).RemoveEntitlementWithResponse(f.t.Context(), user, f.entitled[user])
	require.NoError(f.t, err)
	delete(f.entitled, user)
}

// allowed says whether a guest is to watch.
func (f *fleet) allowed(g *guest) bool {
	return f.entitled[g.user] != "" || f.limited[g.user] != "" && f.placed[g.user] == g
}

// wrong is what is not as it should be at some nodes: who watches without a right or does not with one, and what the store
// says beyond or less than the nodes.
func (f *fleet) wrong(at ...*replica) string {
	var faults []string
	live := map[*replica]map[string]bool{}
	for _, r := range at {
		live[r] = map[string]bool{}
		for _, s := range r.node.Sessions() {
			switch {
			case s.Asking:
				faults = append(faults, "a session at "+r.name+" waits for an answer")
			case s.Connections > 0:
				live[r][s.ID] = true
			}
		}
		stored := map[string]bool{}
		if err := f.db.HeldSessions(f.t.Context(), r.name, time.Now().Add(time.Hour), func(s policy.Session) error {
			if s.State == policy.SessionOpen {
				stored[s.ID] = true
			}
			return nil
		}); err != nil {
			return err.Error()
		}
		if !maps.Equal(stored, live[r]) {
			faults = append(faults, fmt.Sprintf("%s: %d live, %d stored as open", r.name, len(live[r]), len(stored)))
		}
	}
	for _, g := range f.guests {
		if live := live[g.at]; live != nil && live[g.SessionID()] != f.allowed(g) {
			faults = append(faults, fmt.Sprintf("%s at %s is %s", g.user, g.at.name, g.State()))
		}
	}
	if len(faults) > 8 {
		faults = append(faults[:8], fmt.Sprint(len(faults)-8, " more"))
	}
	return strings.Join(faults, "; ")
}

// right waits until everything is as it should be at some nodes; at all when none is named.
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
	f.t.Logf("%s %5.2f s until right after: %s; the last to become so: %s", began.Format("15:04:05"), time.Since(began).Seconds(), after, last)
}

// nobodyWasCut says that of those who have had their right all the while, or since they came, none was cut.
func (f *fleet) nobodyWasCut() {
	f.t.Helper()
	var all []*guest
	for _, g := range f.guests {
		if f.entitled[g.user] != "" && len(spans(g.Player)) > 1 {
			all = append(all, g)
		}
	}
	if len(all) == 0 {
		return
	}
	var story strings.Builder
	for _, e := range all[0].Events() {
		fmt.Fprintf(&story, "%s %s rerun=%t\n", e.At.Format("15:04:05.000"), e.Kind, e.Rerun)
	}
	for _, c := range all[0].at.node.Commands() {
		if c.Kind == "invalidate_sessions" || c.Target == all[0].SessionID() {
			fmt.Fprintf(&story, "%s %s %s over %s\n", c.At.Format("15:04:05.000"), c.Kind, c.Target, c.Over)
		}
	}
	f.t.Errorf("%d were cut with a right, such as %s at %s:\n%s%s", len(all), all[0].user, all[0].at.name, &story, all[0].at.log)
}

// until waits for something to come true.
func (f *fleet) until(is func() bool, says func() string) {
	f.t.Helper()
	deadline := time.NewTimer(f.patience)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-again.C:
		case <-deadline.C:
			var logs strings.Builder
			for _, r := range f.replicas {
				text := r.log.String()
				fmt.Fprintf(&logs, "\n%s:\n%s", r.name, text[max(0, len(text)-4000):])
			}
			f.t.Fatalf("%s%s", says(), &logs)
		}
	}
}

// without waits until a replica says that it has no database.
func (f *fleet) without(r *replica) {
	f.t.Helper()
	f.until(func() bool { code, _ := r.get(f.t, "/readyz"); return code == http.StatusServiceUnavailable },
		func() string { return r.name + " has its database" })
}

// span is a time in which a player watched.
type span struct{ from, until time.Time }

func spans(p *misttest.Player) (all []span) {
	watches := false
	for _, e := range p.Events() {
		switch {
		case e.Kind == misttest.EventAllowed && !watches:
			watches = true
			all = append(all, span{e.At, time.Now()})
		case e.Kind == misttest.EventCut && watches:
			watches = false
			all[len(all)-1].until = e.At
		}
	}
	return all
}

// longestTogether is for how long two sessions of a user have run at the same time, at most.
func (f *fleet) longestTogether(user string) (longest time.Duration) {
	var all []span
	for _, g := range f.guests {
		if g.user == user {
			all = append(all, spans(g.Player)...)
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

// A replica for each node: what one of them is told holds at the nodes of all. Whatever is killed, cut off or away, and comes
// back, everybody is then where the facts say, the store knows it, nobody was cut for it, and no limit was exceeded for longer
// than it takes to end a session.
func TestAReplicaForEachNode(t *testing.T) {
	perNode := 300
	if given := os.Getenv(replicaSessions); given != "" {
		n, err := strconv.Atoi(given)
		require.NoError(t, err)
		perNode = max(n, 30)
	}
	f := newFleet(t, 30*time.Second+time.Duration(perNode)*10*time.Millisecond)
	a, b, c := f.replicas[0], f.replicas[1], f.replicas[2]

	// Of a user's sessions a third are at each node.
	const limits = 5
	users := max(30, perNode/10)
	name := func(i int) string { return "user-" + strconv.Itoa(i) }
	for i := range users {
		if i < 5 {
			f.user(name(i)) // without a right
		} else {
			f.member(name(i), "gold")
		}
	}
	for i := range limits {
		f.member("newest-"+strconv.Itoa(i), "newest")
		f.member("first-"+strconv.Itoa(i), "first")
	}
	f.user("late")
	for i := range perNode {
		for _, r := range f.replicas {
			f.watch(name(i%users), r)
		}
	}
	for user := range f.limited {
		f.watch(user, a)
	}
	f.right("all have come")

	for user := range f.limited {
		f.watch(user, b)
	}
	f.right("a second device at another node")

	f.grant(a, name(0))
	f.withdraw(a, name(5))
	f.right("a grant and a withdrawal over one replica")

	require.Equal(t, http.StatusOK, b.report(t, "msg_1", "payment.succeeded", boughtGold(name(1), "pay_1")))
	f.entitled[name(1)] = "paid"
	f.right("a payment that another was told of")
	require.Equal(t, http.StatusOK, c.report(t, "msg_2", "payment.refunded", map[string]any{"payment": "pay_1", "amount": 1999}))
	delete(f.entitled, name(1))
	f.right("its refund, that a third was told of")

	b.process.kill()
	f.grant(a, name(2))
	f.withdraw(c, name(6))
	f.right("one is dead: the others go on", a, c)
	b.begin()
	f.right("it is back")

	for user := range f.limited {
		f.watch(user, c)
	}
	f.right("a third device")

	// PostgreSQL dies.
	for _, r := range f.replicas {
		r.proxy.Down()
	}
	for _, r := range f.replicas {
		f.without(r)
	}
	_, err := a.api(t, adminToken).RemoveEntitlementWithResponse(t.Context(), name(7), f.entitled[name(7)])
	require.Error(t, err)
	late := f.watch("late", b)
	ctx, cancel := context.WithTimeout(t.Context(), f.patience)
	defer cancel()
	require.NoError(t, late.Wait(ctx, misttest.Denied))
	for _, r := range f.replicas {
		r.proxy.Up()
	}
	f.grant(c, "late")
	f.withdraw(a, name(7))
	f.right("PostgreSQL was dead")

	// Nothing gets through between one of them and PostgreSQL, and nobody says so.
	c.proxy.Hang()
	f.grant(a, name(3))
	f.withdraw(b, name(8))
	f.right("one has lost PostgreSQL: the others go on", a, b)
	f.without(c)
	c.proxy.Down()
	c.proxy.Up()
	f.right("it has PostgreSQL again")

	f.nobodyWasCut()
	for user, plan := range f.limited {
		if together := f.longestTogether(user); plan == "first" {
			assert.Zero(t, together, user)
		} else {
			t.Logf("%s had two sessions for %s at most: MistServer takes up to 1.03 s to end one, once it is told", user, together)
			assert.NotZero(t, together, "the newer one is let in at once")
		}
	}
	for _, r := range f.replicas {
		assert.False(t, r.node.Corrupted())
	}
}

// A service over PostgreSQL listens for what others change, and need not read the feed to come to know it.
func TestAServiceListensForChanges(t *testing.T) {
	s := serveForTest(t, "--database-url", storetest.PostgresSchema(t))
	s.waitLog(t, "listening for changes by others")
	assert.Zero(t, s.stop(), s.log.String())
}

package enforce

import (
	"context"
	"net/netip"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"authhook/internal/mist"
	"authhook/internal/mist/api"
	"authhook/internal/policy"
	"authhook/internal/store/sqlite"
)

// keptFacts are facts in memory.
type keptFacts map[string]*policy.UserFacts

func (f keptFacts) FactsByCredential(_ context.Context, h policy.CredentialHash) (*policy.Credential, *policy.UserFacts, error) {
	return nil, nil, nil
}

func (f keptFacts) FactsByUser(_ context.Context, user string) (*policy.UserFacts, error) {
	return f[user], nil
}

// blank is a store that keeps nothing.
type blank struct{ policy.Leases }

func (blank) WriteSessions(context.Context, []policy.Session) error { return nil }
func (blank) HeldSessions(context.Context, string, time.Time, func(policy.Session) error) error {
	return nil
}
func (blank) RenewLeases(context.Context, string, []policy.Place, time.Time) ([]string, error) {
	return nil, nil
}

// crowd is an enforcer with many live sessions, and the list that their node would give.
func crowd(sessions, users int) (*Enforcer, *api.SessionList) {
	facts := keptFacts{}
	for i := range users {
		user := "user-" + strconv.Itoa(i)
		facts[user] = &policy.UserFacts{User: user, Status: policy.ActiveUser, Entitlements: []policy.Entitlement{{ID: "e", Plan: "gold"}}}
	}
	catalog := &policy.Catalog{
		Plans:   []policy.Plan{{Key: "gold", Rank: 20, Tags: []string{"plan:gold"}}},
		Streams: []policy.StreamPolicy{{Match: "*", Access: policy.AccessEntitled, Plans: []string{"gold"}}},
	}
	catalog.Index()
	d := policy.NewDecider(facts, nil, nil, policy.Options{})
	d.SetCatalog(catalog, nil)
	e := NewEnforcer(blank{}, Options{})
	e.decider = d
	list := &api.SessionList{At: time.Now()}
	now := time.Now()
	for i := range sessions {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		stream := "live+" + strconv.Itoa(i/1000)
		id := mist.SessionID(mist.DefaultSessionMode, stream, a, strconv.Itoa(i), "HLS")
		user := "user-" + strconv.Itoa(i%users)
		e.Record(&policy.Session{
			Node: "mist", ID: id, Instance: "one", State: policy.SessionOpen, Stream: stream, Address: a, Connector: "HLS", User: user,
			JWT: &policy.Credential{Kind: policy.CredentialJWT, User: user}, Reason: policy.Entitled, Plan: "gold", Tags: catalog.Plans[0].Tags,
			Opened: now, Decided: now,
		})
		list.Sessions = append(list.Sessions, api.Session{ID: id, Stream: stream, Host: a.String(), Connector: "HLS"})
	}
	e.writer.pending = nil
	n := e.nodes["mist"]
	for _, s := range n.sessions {
		s.tagged = s.Tags
	}
	return e, list
}

// BenchmarkSweep is one look at everything: ten thousand live sessions of a hundred users, compared with the node's list
// and decided about again. The reading of the list is measured in package api.
func BenchmarkSweep(b *testing.B) {
	e, list := crowd(10_000, 100)
	n := e.nodes["mist"]
	b.ReportAllocs()
	for b.Loop() {
		e.compare(n, list, time.Now())
		e.reconsiderAll(n)
		for len(e.queue) > 0 {
			batch := e.queue[:min(len(e.queue), maxBatchOfJobs)]
			e.queue = e.queue[len(batch):]
			for _, j := range batch {
				j.session.queued = false
			}
			e.settle(b.Context(), batch)
		}
	}
	if len(n.sessions) != 10_000 || n.open != 10_000 || len(e.writer.pending) != 0 {
		b.Fatal("a sweep over what is right changed something")
	}
}

// BenchmarkRecord is what remembering a decision adds to answering.
func BenchmarkRecord(b *testing.B) {
	e, _ := crowd(100_000, 1000)
	var all []policy.Session
	for _, s := range e.nodes["mist"].sessions {
		all = append(all, s.Session)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s := all[i%len(all)]
		s.Rerun = true
		e.Record(&s)
		if i++; i%1000 == 0 {
			e.writer.pending = e.writer.pending[:0]
		}
	}
}

// BenchmarkAsks is what word of a question costs before it is decided about, where no command is under way and where one is.
func BenchmarkAsks(b *testing.B) {
	e, _ := crowd(10_000, 100)
	var ids []string
	for id := range e.nodes["mist"].sessions {
		ids = append(ids, id)
	}
	ask := func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			e.Asks("mist", ids[i%len(ids)])
			i++
		}
	}
	b.Run("settled", ask)
	e.nodes["mist"].sessions[ids[0]].pursue(&errand{want: unlocked})
	b.Run("one errand", ask)
}

// BenchmarkStart is what a start takes until a hundred thousand stored sessions are known and their places in the clock.
func BenchmarkStart(b *testing.B) {
	db, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "authhook.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	full, _ := crowd(100_000, 10_000)
	var batch []policy.Session
	for _, s := range full.nodes["mist"].sessions {
		s.Until = time.Now().Add(time.Hour)
		if batch = append(batch, s.Session); len(batch) == maxBatch {
			if err := db.WriteSessions(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	for b.Loop() {
		e := NewEnforcer(db, Options{})
		n := e.addNode("mist", nil)
		e.recall(b.Context(), n)
		if len(n.sessions) != 100_000 {
			b.Fatal(len(n.sessions))
		}
	}
}

// BenchmarkMemory says what a live session costs in memory.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		const sessions = 100_000
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		e, list := crowd(sessions, 10_000)
		list.Sessions = nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/sessions, "B/session")
		runtime.KeepAlive(e)
	}
}

package redis

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/cache"
	"authhook/internal/store/feed"
	"authhook/internal/store/storetest"
)

// Two replicas over one database and one Redis, and everything that can come between a change, a load, a slow write and
// a read, in any order: a read is never answered with facts from before a change that its replica knew of when it began.
func TestNoReadSeesTheOutdated(t *testing.T) {
	for name, newDatabase := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open, client := newDatabase(t), opened(t, newBox(t).url())
			first, second := open(t), open(t)
			var hits, refused int
			round := 0
			rapid.Check(t, func(rt *rapid.T) {
				round++
				w := newWorld(t, rt, round, client, first, second)
				defer w.close()
				rt.Repeat(map[string]func(*rapid.T){
					"change":       w.change,
					"rebind":       w.rebind,
					"learn":        w.learn,
					"learn twice":  w.learnTwice,
					"lose track":   w.loseTrack,
					"begin a load": w.beginLoad,
					"end a load":   w.endLoad,
					"read":         w.readUser,
					"read again":   w.readUser,
					"present":      w.present,
					"flush":        w.flush,
					"back up":      w.backUp,
					"restore":      w.restore,
				})
				for _, r := range w.replicas {
					is := r.answers()
					hits += is["hit"]
					refused += is["outdated"] + is["unverified"]
				}
			})
			require.NotZero(t, hits)
			require.NotZero(t, refused)
		})
	}
}

// world is what happens in one round. Each round has users of its own.
type world struct {
	t        testing.TB
	rt       *rapid.T
	client   goredis.UniversalClient
	db       storetest.Store
	replicas []*replica
	users    []string
	keys     []string
	// holds are the numbers of the changes by which each user got one hold more; credentials those by which a key got
	// another credential, with its id.
	holds       map[string][]int64
	credentials map[string][]numbered
	loads       []pending
	saved       map[string]string
}

type numbered struct {
	number int64
	id     string
}

// pending is a load that has read, and is not told of yet.
type pending struct {
	replica *replica
	load    load
	last    store.Change
	user    *policy.UserFacts
}

func newWorld(t testing.TB, rt *rapid.T, round int, client goredis.UniversalClient, dbs ...storetest.Store) *world {
	w := &world{t: t, rt: rt, client: client, db: dbs[0], holds: map[string][]int64{}, credentials: map[string][]numbered{}}
	for i := range 3 {
		user, key := fmt.Sprintf("user-%d-%d", round, i), fmt.Sprintf("ak_%d_%d", round, i)
		w.users, w.keys = append(w.users, user), append(w.keys, key)
		putUser(t, w.db, user, policy.ActiveUser)
		w.credentials[key] = append(w.credentials[key], numbered{id: addCredential(t, w.db, key, user)})
	}
	for _, db := range dbs {
		r := &replica{t: t, db: db, Facts: NewFacts(db.(Source), client, Options{CaughtUp: time.Now, Timeout: patience})}
		if rapid.Bool().Draw(rt, "short") {
			r.history = newHistory(3) // forgets soon
		}
		r.begin()
		r.server.probe(t.Context())
		w.replicas = append(w.replicas, r)
	}
	return w
}

func (w *world) close() {
	for _, r := range w.replicas {
		r.Close()
	}
}

func (w *world) last() int64 {
	n, err := w.db.LastChange(w.t.Context())
	require.NoError(w.t, err)
	return n
}

func (w *world) some() *replica { return rapid.SampledFrom(w.replicas).Draw(w.rt, "replica") }
func (w *world) user() string   { return rapid.SampledFrom(w.users).Draw(w.rt, "user") }
func (w *world) change(t *rapid.T) {
	u := w.user()
	addHold(w.t, w.db, u)
	w.holds[u] = append(w.holds[u], w.last())
}
func (w *world) flush(t *rapid.T)   { require.NoError(w.t, w.client.FlushAll(w.t.Context()).Err()) }
func (w *world) learn(t *rapid.T)   { w.some().learnSome(rapid.IntRange(1, 4).Draw(t, "entries")) }
func (w *world) loseTrack(*rapid.T) { w.some().begin() }
func (w *world) readUser(*rapid.T)  { r, u := w.some(), w.user(); w.check(r.user(u), u, r.position) }

// rebind gives a key a new credential.
func (w *world) rebind(*rapid.T) {
	i := rapid.IntRange(0, len(w.keys)-1).Draw(w.rt, "key")
	key, user := w.keys[i], w.users[i]
	old := w.credentials[key]
	require.NoError(w.t, w.db.RevokeCredential(w.t.Context(), user, old[len(old)-1].id))
	id := addCredential(w.t, w.db, key, user)
	w.credentials[key] = append(old, numbered{w.last(), id})
}

// learnTwice has entries told that were told before, as another goroutine does that read them too.
func (w *world) learnTwice(t *rapid.T) {
	r := w.some()
	changes, err := r.db.Changes(w.t.Context(), max(r.position-rapid.Int64Range(0, 5).Draw(t, "before"), 0), 8)
	require.NoError(w.t, err)
	r.Changed(changes...)
	if n := len(changes); n > 0 {
		r.position = max(r.position, changes[n-1].Number)
	}
}

func (w *world) beginLoad(*rapid.T) {
	p := pending{replica: w.some()}
	var err error
	p.load = p.replica.Facts.begin()
	p.user, p.last, err = p.replica.next.FactsByUserAsOf(w.t.Context(), w.user())
	require.NoError(w.t, err)
	w.loads = append(w.loads, p)
}

func (w *world) endLoad(t *rapid.T) {
	if len(w.loads) == 0 {
		return // none is under way
	}
	i := rapid.IntRange(0, len(w.loads)-1).Draw(t, "load")
	p := w.loads[i]
	w.loads = slices.Delete(w.loads, i, i+1)
	p.replica.share(p.load, p.last, &value{user: p.user})
	p.replica.settle()
}

func (w *world) present(t *rapid.T) {
	r := w.some()
	i := rapid.IntRange(0, len(w.keys)-1).Draw(t, "key")
	c, u := r.credential(policy.HashKey(w.keys[i]))
	w.check(u, w.users[i], r.position)
	due := 0
	for n, is := range w.credentials[w.keys[i]] {
		if is.number <= r.position {
			due = n
		}
	}
	require.True(w.t, slices.ContainsFunc(w.credentials[w.keys[i]][due:], func(n numbered) bool { return n.id == c.ID }),
		"%s, where %v from %d on would be right", c.ID, w.credentials[w.keys[i]], due)
	require.False(w.t, c.Revoked && r.position == w.last())
}

func (w *world) check(u *policy.UserFacts, user string, known int64) {
	due := 0
	for _, n := range w.holds[user] {
		if n <= known {
			due++
		}
	}
	if u.User != user || len(u.Holds) < due {
		w.rt.Fatalf("%s has %d holds, and %d were known of: changes %v, up to %d", u.User, len(u.Holds), due, w.holds[user], known)
	}
}

// backUp keeps what Redis holds; restore brings it back.
func (w *world) backUp(*rapid.T) {
	w.saved = map[string]string{}
	keys, err := w.client.Keys(w.t.Context(), "*").Result()
	require.NoError(w.t, err)
	for _, key := range keys {
		if w.saved[key], err = w.client.Get(w.t.Context(), key).Result(); err != nil {
			delete(w.saved, key) // it has just expired
		}
	}
}

func (w *world) restore(*rapid.T) {
	for _, key := range slices.Sorted(maps.Keys(w.saved)) {
		require.NoError(w.t, w.client.Set(w.t.Context(), key, w.saved[key], time.Minute).Err())
	}
}

// The same with everything at once: two whole replicas, each with a cache above and a follower, as they are wired, while
// Redis is flushed now and then.
func TestNoReadSeesTheOutdatedUnderLoad(t *testing.T) {
	const (
		users, askers, asks = 6, 4, 800
	)
	for name, newDatabase := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open, box := newDatabase(t), newBox(t)
			client := opened(t, box.url())
			db := open(t)
			index := map[string]int{}
			for i := range users {
				putUser(t, db, name+string(rune('a'+i)), policy.ActiveUser)
				addCredential(t, db, name+string(rune('a'+i)), name+string(rune('a'+i)))
				index[name+string(rune('a'+i))] = i
			}
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			var wholes []*whole
			for range 2 {
				w := newWhole(t, open(t), client)
				wholes = append(wholes, w)
				running.Go(func() { _ = w.follower.Run(ctx) })
				running.Go(func() { _ = w.hint.Run(ctx, w.follower.Wake) })
				<-w.follower.Started()
			}
			// The version each user must be seen to have, by each replica: raised after it was told. A version is an
			// entitlement, which takes the place of the one before it.
			var due [2][users]atomic.Int64
			var version [users]int64
			var stands [users]string
			running.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					i, at := rand.IntN(users), rand.IntN(2)
					user := name + string(rune('a'+i))
					id, err := db.AddEntitlement(ctx, user, policy.Entitlement{Stream: "live+x", Source: strconv.FormatInt(version[i]+1, 10)})
					if err != nil {
						return
					}
					if stands[i] != "" && db.RemoveEntitlement(ctx, user, stands[i]) != nil {
						return
					}
					version[i]++
					stands[i] = id
					wholes[at].catchUp(ctx)
					if ctx.Err() != nil {
						return
					}
					due[at][i].Store(version[i])
					if n%16 == 0 {
						client.FlushAll(ctx)
					}
				}
			})
			var asking sync.WaitGroup
			for n := range askers {
				asking.Go(func() {
					at := n % 2
					w := wholes[at]
					for range asks {
						i := rand.IntN(users)
						floor := due[at][i].Load()
						u, err := w.cache.FactsByUser(ctx, name+string(rune('a'+i)))
						if rand.IntN(2) == 0 {
							floor = due[at][i].Load()
							_, u, err = w.facts.FactsByCredential(ctx, policy.HashKey(name+string(rune('a'+i))))
						}
						if err != nil || versionOf(u) < floor {
							t.Errorf("%v: version %d, %d was due", err, versionOf(u), floor)
							return
						}
					}
				})
			}
			asking.Wait()
			stop()
			running.Wait()
			hits := 0.0
			for _, w := range wholes {
				hits += count(w.facts.o.Metrics.asked[usable])
			}
			require.NotZero(t, hits)
		})
	}
}

func versionOf(u *policy.UserFacts) (version int64) {
	for i := range u.Entitlements {
		n, err := strconv.ParseInt(u.Entitlements[i].Source, 10, 64)
		if err != nil {
			panic(err)
		}
		version = max(version, n)
	}
	return version
}

// whole is a replica as it is wired.
type whole struct {
	db       storetest.Store
	facts    *Facts
	cache    *cache.Cache
	follower *feed.Follower
	hint     *Hint
}

func newWhole(t testing.TB, db storetest.Store, client goredis.UniversalClient) *whole {
	w := &whole{db: db, hint: NewHint(client, HintOptions{Timeout: patience})}
	w.facts = NewFacts(db.(Source), client, Options{Timeout: patience, CaughtUp: func() time.Time { return w.follower.CaughtUp() }})
	w.cache = cache.New(w.facts, cache.Options{LoadTimeout: patience, LoadWait: patience})
	w.follower = feed.New(db, feed.Latest, feed.Options{}, func(ctx context.Context, changes []store.Change) {
		w.changed(changes)
		w.hint.Publish(ctx, changes[len(changes)-1].Number)
	}, w.dropAll)
	t.Cleanup(func() {
		w.cache.Close()
		w.facts.Close()
		w.hint.Close()
	})
	w.facts.server.probe(t.Context())
	w.hint.server.probe(t.Context())
	return w
}

func (w *whole) changed(changes []store.Change) {
	w.facts.Changed(changes...)
	w.cache.Changed(changes...)
}

func (w *whole) dropAll() {
	w.facts.DropAll()
	w.cache.DropAll()
}

// catchUp does as the admin API does after a change.
func (w *whole) catchUp(ctx context.Context) {
	defer w.follower.Wake()
	after := w.follower.Position()
	changes, err := w.db.Changes(ctx, after, store.MaxPage)
	if err != nil {
		w.dropAll()
		return
	}
	w.changed(changes)
}

package redis

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// count is what a counter or a gauge stands at.
func count(c prometheus.Collector) float64 {
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		panic(err)
	}
	m := families[0].GetMetric()[0]
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

// What a test expects of the looks.
type answers = map[string]int

func TestReplicasShareFacts(t *testing.T) {
	for name, newDatabase := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open, client := newDatabase(t), opened(t, newBox(t).url())
			db := open(t)
			putUser(t, db, "anna", policy.ActiveUser)
			id := addCredential(t, db, "ak_1", "anna")
			_, err := db.AddEntitlement(t.Context(), "anna", policy.Entitlement{Stream: "live+x", From: time.Now(), Source: "admin"})
			require.NoError(t, err)
			addHold(t, db, "anna")
			a, b := newReplica(t, db, client), newReplica(t, open(t), client)

			c, u := a.credential(policy.HashKey("ak_1"))
			require.Equal(t, answers{"not_asked": 1}, a.answers(), "nothing is used before it is known where the feed stands")
			require.Equal(t, id, c.ID)
			a.answers()

			putUser(t, db, "ben", policy.ActiveUser) // shows b where the feed stands
			a.learn()
			b.user("ben")
			b.learn()
			b.answers()
			gotC, gotU := b.credential(policy.HashKey("ak_1"))
			require.Equal(t, answers{"hit": 2}, b.answers(), "what a wrote, before b knew of anything")
			require.Equal(t, c, gotC)
			require.Equal(t, u, gotU)
			gotC, gotU = a.credential(policy.HashKey("ak_1"))
			require.Equal(t, answers{"hit": 2}, a.answers())
			wantC, wantU, err := db.FactsByCredential(t.Context(), policy.HashKey("ak_1"))
			require.NoError(t, err)
			require.Equal(t, wantC, gotC)
			require.Equal(t, wantU, gotU)

			addHold(t, db, "anna")
			a.learn()
			_, gotU = a.credential(policy.HashKey("ak_1"))
			require.Equal(t, answers{"hit": 1, "outdated": 1}, a.answers(), "the user changed, the credential did not")
			require.Len(t, gotU.Holds, 2)
			require.Len(t, b.user("anna").Holds, 2, "as of a moment that b has not come to yet")
			require.Equal(t, answers{"unverified": 1}, b.answers())
			b.learn()
			require.Len(t, b.user("anna").Holds, 2)
			require.Equal(t, answers{"hit": 1}, b.answers())
		})
	}
}

func TestWhoIsNotThere(t *testing.T) {
	db, client := sqliteDatabase(t)(t), opened(t, newBox(t).url())
	putUser(t, db, "ben", policy.ActiveUser)
	r := newReplica(t, db, client)
	r.user("ben")
	r.answers()
	hash := policy.HashKey("ak_1")

	c, u := r.credential(hash)
	require.Nil(t, c)
	require.Nil(t, u)
	require.Empty(t, r.user("anna").Status)
	require.Equal(t, answers{"miss": 2}, r.answers())
	c, u = r.credential(hash)
	require.Nil(t, c)
	require.Nil(t, u)
	require.Equal(t, &policy.UserFacts{User: "anna", UsedMonth: store.MonthOf(time.Now())}, r.user("anna"))
	require.Equal(t, answers{"hit": 2}, r.answers())
	for _, key := range []string{credentialKey(hash), userKey("anna")} {
		ttl, err := client.PTTL(t.Context(), key).Result()
		require.NoError(t, err)
		require.True(t, ttl > 0 && ttl <= absentTTL, ttl)
	}
	ttl, err := client.PTTL(t.Context(), userKey("ben")).Result()
	require.NoError(t, err)
	require.True(t, ttl > defaultTTL/2 && ttl <= defaultTTL, ttl)

	putUser(t, db, "anna", policy.ActiveUser)
	addCredential(t, db, "ak_1", "anna")
	r.learn()
	c, u = r.credential(hash)
	require.NotNil(t, c)
	require.Equal(t, policy.ActiveUser, u.Status)
	require.Equal(t, answers{"outdated": 1}, r.answers())

	require.Empty(t, r.user("").Status)
	require.Empty(t, r.user("not\x00a user").Status)
	require.Equal(t, answers{"not_asked": 2}, r.answers(), "a JWT may name anyone")
}

// What was read in one burst does not go in one, and none of it stays for longer since it was read. That there is nobody is not
// believed for long.
func TestWhatIsKeptGoesAtDifferentTimes(t *testing.T) {
	hash := policy.HashKey("ak_kept")
	for name, v := range map[string]struct{ there, absent value }{
		"user":       {value{user: &policy.UserFacts{User: "anna", Status: policy.ActiveUser}}, value{user: &policy.UserFacts{User: "anna"}}},
		"credential": {value{hash: &hash, credential: &policy.Credential{User: "anna", Kind: policy.CredentialKey}}, value{hash: &hash}},
	} {
		synctest.Test(t, func(t *testing.T) { // the clock stands still
			w, age := &writer{o: Options{}.withDefaults()}, time.Second
			ttl := func(v value) time.Duration {
				v.readAt = time.Now().Add(-age)
				_, _, ttl, err := w.encode(&v)
				require.NoError(t, err)
				return ttl
			}
			various := map[time.Duration]bool{}
			for range 100 {
				is := ttl(v.there)
				require.True(t, is >= 5*time.Minute*7/8-age && is <= 5*time.Minute-age, "%s: %v", name, is)
				various[is] = true
				require.Equal(t, 5*time.Second-age, ttl(v.absent), name)
			}
			require.Greater(t, len(various), 50, name)
		})
	}
}

// The catalog says whose usage counts, so it is as if everybody changed.
func TestTheCatalogConcernsEverybody(t *testing.T) {
	db, client := sqliteDatabase(t)(t), opened(t, newBox(t).url())
	putUser(t, db, "anna", policy.ActiveUser)
	r := newReplica(t, db, client)
	r.user("anna")
	r.user("anna")
	require.Equal(t, answers{"not_asked": 1, "hit": 1}, r.answers())
	_, _, err := db.ApplyCatalog(t.Context(), &policy.Catalog{}, nil)
	require.NoError(t, err)
	r.learn()
	r.user("anna")
	r.user("anna")
	require.Equal(t, answers{"outdated": 1, "hit": 1}, r.answers())

	r.Changed(store.Change{Number: r.position + 1, Kind: "of a later version"})
	r.user("anna")
	require.Equal(t, answers{"outdated": 1}, r.answers())
}

func TestNothingIsUsedByWhoLagsBehind(t *testing.T) {
	db, client := sqliteDatabase(t)(t), opened(t, newBox(t).url())
	putUser(t, db, "anna", policy.ActiveUser)
	r := newReplica(t, db, client)
	r.user("anna")
	r.answers()
	for name, at := range map[string]time.Time{"long ago": time.Now().Add(-MaxBehind), "never": {}} {
		r.o.CaughtUp = func() time.Time { return at }
		r.user("anna")
		require.Equal(t, answers{"not_asked": 1}, r.answers(), name)
	}
	r.o.CaughtUp = time.Now
	r.user("anna")
	require.Equal(t, answers{"hit": 1}, r.answers())
	r.DropAll()
	r.user("anna")
	require.Equal(t, answers{"not_asked": 1}, r.answers())
	r.user("anna")
	require.Equal(t, answers{"hit": 1}, r.answers())
}

// A decision takes it that nothing was used in a month before that of the facts.
func TestUsageOfAnotherMonth(t *testing.T) {
	db, client := sqliteDatabase(t)(t), opened(t, newBox(t).url())
	putUser(t, db, "anna", policy.ActiveUser)
	r := newReplica(t, db, client)
	r.user("anna")
	r.answers()
	for _, now := range []time.Time{time.Now().AddDate(0, 0, 32), time.Now().AddDate(0, 0, -32)} {
		r.o.Now = func() time.Time { return now }
		r.user("anna")
		require.Equal(t, answers{"outdated": 1}, r.answers())
	}
}

// A value of a slow reader neither replaces a newer one nor does harm where there is none.
func TestASlowWriter(t *testing.T) {
	open, client := sqliteDatabase(t), opened(t, newBox(t).url())
	db := open(t)
	putUser(t, db, "anna", policy.ActiveUser)
	slow, quick := newReplica(t, db, client), newReplica(t, open(t), client)
	quick.user("anna")

	l := slow.Facts.begin()
	facts, last, err := db.(Source).FactsByUserAsOf(t.Context(), "anna")
	require.NoError(t, err)
	addHold(t, db, "anna")
	quick.learn()
	require.Len(t, quick.user("anna").Holds, 1)
	quick.answers()

	slow.share(l, last, &value{user: facts})
	slow.settle()
	require.EqualValues(t, 1, count(slow.o.Metrics.writes[older]))
	require.Len(t, quick.user("anna").Holds, 1)
	require.Equal(t, answers{"hit": 1}, quick.answers())

	require.NoError(t, client.FlushAll(t.Context()).Err())
	slow.share(l, last, &value{user: facts})
	slow.settle()
	require.EqualValues(t, 1, count(slow.o.Metrics.writes[written]))
	require.Len(t, quick.user("anna").Holds, 1)
	require.Equal(t, answers{"outdated": 1}, quick.answers())
}

// Values of a course of history that is over: the numbers are given out again, to other changes.
func TestARestoredDatabase(t *testing.T) {
	dir, client := t.TempDir(), opened(t, newBox(t).url())
	path := filepath.Join(dir, "authhook.db")
	db := sqliteAt(path)(t)
	putUser(t, db, "anna", policy.ActiveUser)
	putUser(t, db, "ben", policy.ActiveUser)
	require.NoError(t, db.Close())
	backup, err := os.ReadFile(path)
	require.NoError(t, err)

	db = sqliteAt(path)(t)
	r := newReplica(t, db, client)
	putUser(t, db, "anna", policy.SuspendedUser) // 3, which will be lost
	putUser(t, db, "anna", policy.ActiveUser)    // 4
	r.learn()
	require.Equal(t, policy.ActiveUser, r.user("anna").Status)
	r.user("anna")
	require.Equal(t, answers{"not_asked": 1, "hit": 1}, r.answers())

	restored := filepath.Join(dir, "restored.db")
	require.NoError(t, os.WriteFile(restored, backup, 0o600))
	db = sqliteAt(restored)(t)
	putUser(t, db, "anna", policy.SuspendedUser) // 3
	again := newReplica(t, db, client)
	putUser(t, db, "ben", policy.SuspendedUser) // 4
	again.user("carl")                          // shows where the feed stands
	again.learn()
	again.answers()
	require.Equal(t, policy.SuspendedUser, again.user("anna").Status)
	require.Equal(t, answers{"unverified": 1}, again.answers(), "4 is another change")
	require.Equal(t, policy.SuspendedUser, again.user("anna").Status)
	require.Equal(t, answers{"hit": 1}, again.answers(), "what was refused is replaced")

	// A replica that was running meanwhile, and whose next load shows it.
	r.next = db.(Source)
	r.user("ben")
	r.answers()
	require.Equal(t, policy.SuspendedUser, r.user("anna").Status)
	require.Equal(t, answers{"not_asked": 1}, r.answers(), "its history is contradicted and forgotten")
	require.Equal(t, policy.SuspendedUser, r.user("anna").Status)
	require.Equal(t, answers{"hit": 1}, r.answers())
}

// What lies in Redis may be anything.
func TestGarbage(t *testing.T) {
	db, client := sqliteDatabase(t)(t), opened(t, newBox(t).url())
	putUser(t, db, "anna", policy.ActiveUser)
	addCredential(t, db, "ak_1", "anna")
	r := newReplica(t, db, client)
	hash := policy.HashKey("ak_1")
	want, wantUser := r.credential(hash)
	r.answers()
	good := func(key string) string {
		text, err := client.Get(t.Context(), key).Result()
		require.NoError(t, err)
		return text
	}
	goodCredential, goodUser := good(credentialKey(hash)), good(userKey("anna"))
	set := func(key string) func(text string) {
		return func(text string) { require.NoError(t, client.Set(t.Context(), key, text, 0).Err()) }
	}
	for name, spoil := range map[string]func(set func(string), good string){
		"one byte":         func(set func(string), good string) { set("x") },
		"a header only":    func(set func(string), good string) { set(good[:headerSize]) },
		"cut short":        func(set func(string), good string) { set(good[:len(good)-1]) },
		"more behind":      func(set func(string), good string) { set(good + "{}") },
		"an unknown field": func(set func(string), good string) { set(good[:len(good)-1] + `,"z":1}`) },
		"another document": func(set func(string), good string) { set(good[:headerSize] + "[]") },
		"an empty one":     func(set func(string), good string) { set(good[:headerSize] + "{}") },
		"no number":        func(set func(string), good string) { set("999999999999999999x" + good[19:]) },
		"a huge number":    func(set func(string), good string) { set("9223372036854775807" + good[19:]) },
		"a negative one":   func(set func(string), good string) { set("-000000000000000001" + good[19:]) },
		"inf":              func(set func(string), good string) { set("                inf" + good[19:]) },
		"another mark":     func(set func(string), good string) { set(good[:20] + "0123456789abcdef" + good[36:]) },
		"no mark":          func(set func(string), good string) { set(good[:20] + "xxxxxxxxxxxxxxxx" + good[36:]) },
		"huge":             func(set func(string), good string) { set(good + string(make([]byte, 1<<20))) },
	} {
		for _, part := range []struct{ key, good string }{{credentialKey(hash), goodCredential}, {userKey("anna"), goodUser}} {
			spoil(set(part.key), part.good)
			c, u := r.credential(hash)
			require.Equal(t, want, c, name)
			require.Equal(t, wantUser, u, name)
			is := r.answers()
			require.Equal(t, 1, is["unreadable"]+is["unverified"], name)
			require.Zero(t, is["not_asked"], name)
			r.credential(hash)
			require.Equal(t, answers{"hit": 2}, r.answers(), "%s was replaced", name)
		}
	}
	for name, put := range map[string]func(key string) error{
		"a list": func(key string) error { return client.LPush(t.Context(), key, "x").Err() },
		"a hash": func(key string) error { return client.HSet(t.Context(), key, "x", "y").Err() },
	} {
		require.NoError(t, client.FlushAll(t.Context()).Err())
		require.NoError(t, put(credentialKey(hash)))
		require.NoError(t, put(userKey("anna")))
		c, u := r.credential(hash)
		require.Equal(t, want, c, name)
		require.Equal(t, wantUser, u, name)
		require.Equal(t, answers{"unreadable": 1}, r.answers(), name)
		require.False(t, r.server.breaker.Open())
		r.credential(hash)
		require.Equal(t, answers{"hit": 2}, r.answers(), "%s was replaced", name)
	}
	// Another user's facts, under anna's key.
	putUser(t, db, "ben", policy.ActiveUser)
	r.learn()
	r.user("ben")
	set(userKey("anna"))(good(userKey("ben")))
	r.answers()
	require.Equal(t, "anna", r.user("anna").User)
	require.Equal(t, answers{"unreadable": 1}, r.answers())
}

func TestFactsTooLongForRedis(t *testing.T) {
	db, client := sqliteDatabase(t)(t), opened(t, newBox(t).url())
	putUser(t, db, "anna", policy.ActiveUser)
	r := newReplica(t, db, client)
	long := &policy.UserFacts{User: "anna", Status: policy.ActiveUser}
	for range 1000 {
		long.Entitlements = append(long.Entitlements, policy.Entitlement{ID: "ent_0123456789abcdef", Plan: "gold", From: time.Now(), Until: time.Now()})
	}
	_, last, err := db.(Source).FactsByUserAsOf(t.Context(), "anna")
	require.NoError(t, err)
	r.share(r.Facts.begin(), last, &value{user: long})
	r.settle()
	require.EqualValues(t, 1, count(r.o.Metrics.writes[tooLong]))
	require.EqualValues(t, 0, count(r.o.Metrics.writes[written]))
}

// Where the feed is empty or was cut off, facts are as of no moment that could be told: they are not shared.
func TestNoEntryNoSharing(t *testing.T) {
	for name, newDatabase := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, client := newDatabase(t)(t), opened(t, newBox(t).url())
			r := newReplica(t, db, client)
			r.user("anna")
			r.user("anna")
			require.Equal(t, answers{"not_asked": 2}, r.answers())

			putUser(t, db, "anna", policy.ActiveUser)
			changes, err := db.Changes(t.Context(), 0, 10)
			require.NoError(t, err)
			for range 2 {
				u, last, err := db.(Source).FactsByUserAsOf(t.Context(), "anna")
				require.NoError(t, err)
				require.Equal(t, policy.ActiveUser, u.Status)
				require.Equal(t, changes[0], last)
			}
			_, _, last, err := db.(Source).FactsByCredentialAsOf(t.Context(), policy.HashKey("ak_none"))
			require.NoError(t, err)
			require.Equal(t, changes[0], last)
			_, err = db.PruneChanges(t.Context(), time.Now().Add(time.Hour))
			require.NoError(t, err)
			_, last, err = db.(Source).FactsByUserAsOf(t.Context(), "anna")
			require.NoError(t, err)
			require.Zero(t, last)
		})
	}
}

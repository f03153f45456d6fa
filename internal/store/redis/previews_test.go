package redis

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/postgres"
	"authhook/internal/store/sqlite"
	"authhook/internal/store/storetest"
)

const (
	day    = 24 * time.Hour
	viewer = "user:anna"
	match  = "live+*"
)

// start begins anna's preview, or finds it.
func (r *replica) start(now time.Time, every time.Duration) time.Time {
	r.t.Helper()
	return r.startOf(viewer, now, every)
}

func (r *replica) startOf(viewer string, now time.Time, every time.Duration) time.Time {
	r.t.Helper()
	began, err := NewPreviews(r.db, r.Facts).StartPreview(r.t.Context(), viewer, match, now, every)
	require.NoError(r.t, err)
	r.settle()
	return began
}

func (r *replica) peek(viewer string, now time.Time, every time.Duration) time.Time {
	r.t.Helper()
	began, err := NewPreviews(r.db, r.Facts).Preview(r.t.Context(), viewer, match, now, every)
	require.NoError(r.t, err)
	r.settle()
	return began
}

// knowing is a replica that knows where the feed of its database stands.
func knowing(t testing.TB, db storetest.Store, client goredis.UniversalClient) *replica {
	return knowingWithin(t, db, client, patience)
}

func knowingWithin(t testing.TB, db storetest.Store, client goredis.UniversalClient, timeout time.Duration) *replica {
	putUser(t, db, "anna", policy.ActiveUser)
	r := newReplicaWithin(t, db, client, timeout)
	r.user("anna")
	return r
}

// today is now, as the databases keep it.
func today() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// forget has the database forget all previews, so that what is known of them is known from Redis.
func forget(t testing.TB, db storetest.Store) {
	t.Helper()
	_, err := db.PrunePreviews(t.Context(), time.Now().Add(10*day))
	require.NoError(t, err)
}

// overRedis is a driver whose previews are shared.
type overRedis struct {
	storetest.Store
	r        *replica
	previews *Previews
}

func (s *overRedis) StartPreview(ctx context.Context, viewer, match string, now time.Time, every time.Duration) (time.Time, error) {
	defer s.r.settle()
	return s.previews.StartPreview(ctx, viewer, match, now, every)
}

func (s *overRedis) Preview(ctx context.Context, viewer, match string, now time.Time, every time.Duration) (time.Time, error) {
	return s.previews.Preview(ctx, viewer, match, now, every)
}

func (s *overRedis) Migrate(ctx context.Context) error {
	if err := s.Store.Migrate(ctx); err != nil {
		return err
	}
	putUser(s.r.t, s.Store, "somebody", policy.ActiveUser)
	return s.know(ctx)
}

// know shows the replica where the feed stands.
func (s *overRedis) know(ctx context.Context) error {
	_, err := s.r.FactsByUser(ctx, "somebody")
	return err
}

// What drivers must do with previews, they do over Redis.
func TestPreviewsAsOfADriver(t *testing.T) {
	for name, newDatabase := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := opened(t, newBox(t).url())
			var mu sync.Mutex
			hits := 0
			t.Run("suite", func(t *testing.T) {
				storetest.Run(t, func(t testing.TB) storetest.Open {
					open := newDatabase(t)
					return func(t testing.TB, now func() time.Time) storetest.Store {
						db := open(t)
						switch db := db.(type) {
						case *sqlite.Store:
							db.Now = now
						case *postgres.Store:
							db.SetClock(now)
						}
						r := newReplica(t, db, client)
						t.Cleanup(func() {
							mu.Lock()
							defer mu.Unlock()
							hits += r.previewAnswers()["hit"]
						})
						s := &overRedis{db, r, NewPreviews(db, r.Facts)}
						require.NoError(t, s.know(t.Context()))
						return s
					}
				}, "Previews")
			})
			require.NotZero(t, hits, "some was answered from Redis")
		})
	}
}

func TestReplicasSharePreviews(t *testing.T) {
	for name, newDatabase := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open, client := newDatabase(t), opened(t, newBox(t).url())
			db := open(t)
			a := knowing(t, db, client)
			b := newReplica(t, open(t), client)
			now := today()
			require.Zero(t, a.peek(viewer, now, day))
			require.Zero(t, a.peek(viewer, now, day))
			require.Equal(t, answers{"miss": 2}, a.previewAnswers(), "that there is none is not kept")
			require.Equal(t, now, a.start(now, day))
			require.Equal(t, answers{"miss": 1}, a.previewAnswers())

			require.Equal(t, now, b.start(now.Add(time.Hour), day))
			require.Equal(t, answers{"not_asked": 1}, b.previewAnswers(), "it is not known whose Redis this is")
			b.user("anna")
			forget(t, db)
			for range 2 {
				require.Equal(t, now, b.start(now.Add(day-time.Microsecond), day))
				require.Equal(t, now, b.peek(viewer, now.Add(time.Hour), day))
			}
			require.Equal(t, answers{"hit": 4}, b.previewAnswers())

			ttl, err := client.PTTL(t.Context(), previewKey(viewer, match)).Result()
			require.NoError(t, err)
			require.True(t, ttl > day-2*time.Hour && ttl <= day, "kept until the next one may begin: %v", ttl)
			keys, err := client.Keys(t.Context(), "*").Result()
			require.NoError(t, err)
			require.NotContains(t, strings.Join(keys, " "), "anna")

			require.Zero(t, b.peek("user:ben", now, day))
			_, err = NewPreviews(b.db, b.Facts).StartPreview(t.Context(), "user:a\x00", match, now, day)
			invalid := new(store.InvalidError)
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, answers{"miss": 1}, b.previewAnswers())
		})
	}
}

// How long it is until the next preview may begin is the asker's to say, whoever wrote the value.
func TestPreviewsAfterANewCatalog(t *testing.T) {
	client := opened(t, newBox(t).url())
	r := knowing(t, sqliteDatabase(t)(t), client)
	now := today()
	r.start(now, day)
	r.previewAnswers()
	later := now.Add(2 * time.Hour)
	require.Equal(t, later, r.start(later, time.Hour), "the next may begin sooner")
	require.Equal(t, answers{"outdated": 1}, r.previewAnswers())
	require.Equal(t, later, r.start(later.Add(time.Minute), 2*day), "the next may begin later")
	require.Equal(t, answers{"hit": 1}, r.previewAnswers())
	next := later.Add(time.Hour)
	require.Equal(t, next, r.start(next, time.Hour), "to the microsecond")
	require.Equal(t, answers{"outdated": 1}, r.previewAnswers())
}

// A value of no use is as none, and is written anew.
func TestPreviewsOfNoUse(t *testing.T) {
	client := opened(t, newBox(t).url())
	r := knowing(t, sqliteDatabase(t)(t), client)
	now, key := today(), previewKey(viewer, match)
	r.start(now, day)
	text, err := client.Get(t.Context(), key).Result()
	require.NoError(t, err)
	header, began := text[:headerSize], text[headerSize:]
	require.Equal(t, began, string(encodeBegan(now)))
	at := func(t time.Time) string { return string(encodeBegan(t)) }
	r.previewAnswers()
	for name, c := range map[string]struct{ value, is string }{
		"one byte":              {"x", "unreadable"},
		"a header only":         {header, "unreadable"},
		"no number":             {header + "soon", "unreadable"},
		"more behind":           {text + " ", "unreadable"},
		"zero":                  {header + "0", "unreadable"},
		"a negative one":        {header + "-" + began, "unreadable"},
		"more than a number":    {text + text, "unreadable"},
		"huge":                  {text + string(make([]byte, 1<<20)), "unreadable"},
		"no mark":               {text[:20] + "xxxxxxxxxxxxxxxx" + text[36:], "unreadable"},
		"another mark":          {text[:20] + "0123456789abcdef" + text[36:], "unverified"},
		"an entry yet to come":  {"0000000000000000099" + text[19:], "unverified"},
		"over":                  {header + at(now.Add(time.Hour-day)), "outdated"},
		"far ahead":             {header + at(now.Add(time.Hour+previewSlack+time.Microsecond)), "outdated"},
		"a time that overflows": {header + "9223372036854775807", "outdated"},
	} {
		require.NoError(t, client.Set(t.Context(), key, c.value, 0).Err())
		later := now.Add(time.Hour)
		require.Equal(t, now, r.start(later, day), name)
		require.Equal(t, answers{c.is: 1}, r.previewAnswers(), name)
		require.Equal(t, now, r.peek(viewer, later, day), name)
		require.Equal(t, answers{"hit": 1}, r.previewAnswers(), "%s was replaced", name)
	}
	require.NoError(t, client.Del(t.Context(), key).Err())
	require.NoError(t, client.LPush(t.Context(), key, "x").Err())
	require.Equal(t, now, r.start(now, day))
	require.Equal(t, answers{"unreadable": 1}, r.previewAnswers())
	require.Equal(t, now, r.start(now, day))
	require.Equal(t, answers{"hit": 1}, r.previewAnswers(), "a list was replaced")

	// What another machine's clock puts ahead is not kept here either.
	require.NoError(t, client.Del(t.Context(), key).Err())
	require.Equal(t, now, r.start(now.Add(-time.Hour), day))
	require.Equal(t, now, r.start(now.Add(-time.Hour), day))
	require.Equal(t, answers{"miss": 2}, r.previewAnswers())
}

// Two databases use one Redis by mistake, and the viewers of both go by the same names.
func TestPreviewsOfAnotherDatabase(t *testing.T) {
	client := opened(t, newBox(t).url())
	ours, theirs := knowing(t, sqliteDatabase(t)(t), client), knowing(t, sqliteDatabase(t)(t), client)
	now := today()
	for round := range 3 {
		at := now.Add(time.Duration(round) * time.Minute)
		require.Equal(t, now, ours.start(at, day))
		require.Equal(t, now.Add(30*time.Second), theirs.start(at.Add(30*time.Second), day))
		require.Zero(t, ours.previewAnswers()["hit"]+theirs.previewAnswers()["hit"])
	}
	require.Equal(t, now, ours.start(now, day))
	require.Equal(t, now, ours.start(now, day))
	require.Equal(t, answers{"unverified": 1, "hit": 1}, ours.previewAnswers(), "they push each other out")
}

// A database is brought back as it was before some previews, and goes on with other entries in its feed.
func TestPreviewsAfterTheDatabaseWasRestored(t *testing.T) {
	client := opened(t, newBox(t).url())
	path := filepath.Join(t.TempDir(), "authhook.db")
	db := sqliteAt(path)(t)
	putUser(t, db, "anna", policy.ActiveUser)
	require.NoError(t, db.Close())
	backup, err := os.ReadFile(path)
	require.NoError(t, err)

	// What began before the first entry that was lost did begin, so it is over sooner than what would begin now.
	lost := knowing(t, sqliteAt(path)(t), client)
	now := today()
	require.Equal(t, now, lost.start(now, day))
	addHold(t, lost.db, "anna")
	lost.learn()
	require.Equal(t, now, lost.startOf("user:ben", now, day))

	restored := filepath.Join(t.TempDir(), "authhook.db")
	require.NoError(t, os.WriteFile(restored, backup, 0o600))
	db = sqliteAt(restored)(t)
	r := knowing(t, db, client)
	putUser(t, db, "ben", policy.ActiveUser) // an entry in the place of the lost one
	r.learn()
	later := now.Add(time.Minute)
	require.Equal(t, now, r.start(later, day))
	require.Equal(t, answers{"hit": 1}, r.previewAnswers())
	require.Equal(t, later, r.startOf("user:ben", later, day), "the database is the truth")
	require.Equal(t, answers{"unverified": 1}, r.previewAnswers())
	require.Equal(t, later, r.startOf("user:ben", later.Add(time.Minute), day))
	require.Equal(t, answers{"hit": 1}, r.previewAnswers())
}

// While the database is away, who is known from Redis to have begun goes on as it was; nobody begins.
func TestPreviewsWhileTheDatabaseIsAway(t *testing.T) {
	client := opened(t, newBox(t).url())
	db := sqliteDatabase(t)(t)
	r := knowing(t, db, client)
	now := today()
	r.start(now, day)
	require.NoError(t, db.Close())
	require.Equal(t, now, r.start(now.Add(time.Minute), day))
	_, err := NewPreviews(db, r.Facts).StartPreview(t.Context(), "user:ben", match, now, day)
	require.ErrorIs(t, err, store.ErrUnavailable)
	_, err = NewPreviews(db, r.Facts).Preview(t.Context(), "user:ben", match, now, day)
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.NoError(t, client.FlushAll(t.Context()).Err())
	_, err = NewPreviews(db, r.Facts).StartPreview(t.Context(), viewer, match, now, day)
	require.ErrorIs(t, err, store.ErrUnavailable)
	keys, err := client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Empty(t, keys, "an error is not kept")
}

// Whatever becomes of Redis, a preview began when the database says.
func TestPreviewsWhileRedisIsAway(t *testing.T) {
	now := today()
	for name, c := range map[string]struct {
		timeout time.Duration
		spoil   func(t *testing.T, b *box, client goredis.UniversalClient)
		mend    func(t *testing.T, b *box, client goredis.UniversalClient)
		is      string
	}{
		"killed": {patience, func(_ *testing.T, b *box, _ goredis.UniversalClient) { b.kill() },
			func(_ *testing.T, b *box, _ goredis.UniversalClient) { b.start() }, "not_asked"},
		"silent": {time.Second, func(_ *testing.T, b *box, _ goredis.UniversalClient) { b.signal(syscall.SIGSTOP) },
			func(_ *testing.T, b *box, _ goredis.UniversalClient) { b.signal(syscall.SIGCONT) }, "not_asked"},
		"flushed": {patience, func(t *testing.T, _ *box, client goredis.UniversalClient) {
			require.NoError(t, client.FlushAll(t.Context()).Err())
		}, func(*testing.T, *box, goredis.UniversalClient) {}, "miss"},
		"full": {patience, func(t *testing.T, _ *box, client goredis.UniversalClient) {
			require.NoError(t, client.FlushAll(t.Context()).Err())
			require.NoError(t, client.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
			require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1kb").Err())
		}, func(t *testing.T, _ *box, client goredis.UniversalClient) {
			require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
		}, "miss"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			client := opened(t, b.url())
			r := knowingWithin(t, sqliteDatabase(t)(t), client, c.timeout)
			require.Equal(t, now, r.start(now, day))
			r.previewAnswers()
			c.spoil(t, b, client)
			for i := range 2 * failuresToOpen {
				require.Equal(t, now, r.start(now.Add(time.Hour), day))
				other := "user:" + string(rune('a'+i))
				require.Equal(t, now, r.startOf(other, now, day), "others begin")
				require.Equal(t, now, r.startOf(other, now.Add(time.Hour), day), "once")
			}
			is := r.previewAnswers()
			require.NotZero(t, is[c.is], is)
			c.mend(t, b, client)
			soon(t, func() bool {
				require.Equal(t, now, r.start(now.Add(time.Hour), day))
				return r.previewAnswers()["hit"] > 0
			}, "it is used again")
		})
	}
}

// Two replicas, and everything that becomes of Redis and of what is known of the feed in between, beside another database
// in the same Redis: each ask is answered as the database would answer it. Where the catalog changes how long a preview
// stands, it may have begun before, when another of the same viewer did.
func TestPreviewsAreAsTheDatabaseHasThem(t *testing.T) {
	for name, newDatabase := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open, client := newDatabase(t), opened(t, newBox(t).url())
			replicas := []*replica{knowing(t, open(t), client), knowing(t, open(t), client), knowing(t, sqliteDatabase(t)(t), client)}
			db := []storetest.Store{replicas[0].db, replicas[0].db, replicas[2].db}
			now := today()
			w := &world{t: t, client: client}
			run := 0
			rapid.Check(t, func(rt *rapid.T) {
				w.rt = rt
				run++ // with viewers of its own
				viewers := []string{fmt.Sprint("user:a", run), fmt.Sprint("user:b", run), fmt.Sprintf("address:2001:db8::%x", run)}
				who := func(rt *rapid.T) (int, string, time.Duration) {
					return rapid.IntRange(0, 2).Draw(rt, "replica"), rapid.SampledFrom(viewers).Draw(rt, "viewer"),
						rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, day}).Draw(rt, "every")
				}
				every := day
				begun := map[storetest.Store]map[string][]time.Time{db[0]: {}, db[2]: {}}
				oneCatalog := true
				right := func(i int, viewer string, is, began time.Time, every time.Duration) {
					if begun[db[i]][viewer] = append(begun[db[i]][viewer], is); oneCatalog || !began.Before(is) {
						require.Equal(rt, is, began)
					} else { // it was over under another catalog, and would not be under this one
						require.Contains(rt, begun[db[i]][viewer], began)
						require.True(rt, began.After(now.Add(-every)))
					}
				}
				rt.Repeat(map[string]func(*rapid.T){
					"start": func(rt *rapid.T) {
						i, viewer, _ := who(rt)
						began := replicas[i].startOf(viewer, now, every)
						is, err := db[i].StartPreview(t.Context(), viewer, match, now, every)
						require.NoError(rt, err)
						right(i, viewer, is, began, every)
					},
					"look": func(rt *rapid.T) {
						i, viewer, every := who(rt)
						began := replicas[i].peek(viewer, now, every)
						is, err := db[i].Preview(t.Context(), viewer, match, now, every)
						require.NoError(rt, err)
						right(i, viewer, is, began, every)
					},
					"time passes": func(rt *rapid.T) {
						now = now.Add(rapid.SampledFrom([]time.Duration{time.Microsecond, time.Second, time.Minute, time.Hour, day}).Draw(rt, "time"))
					},
					"a new catalog": func(rt *rapid.T) { _, _, every = who(rt); oneCatalog = false },
					"change": func(rt *rapid.T) {
						i, _, _ := who(rt)
						addHold(t, db[i], "anna")
					},
					"learn":      func(rt *rapid.T) { i, _, _ := who(rt); replicas[i].learn() },
					"lose track": func(rt *rapid.T) { i, _, _ := who(rt); replicas[i].begin() },
					"find it":    func(rt *rapid.T) { i, _, _ := who(rt); replicas[i].user("anna") },
					"flush":      w.flush,
				})
			})
			hits, refused := 0, 0
			for _, r := range replicas {
				is := r.previewAnswers()
				hits += is["hit"]
				refused += is["outdated"] + is["unverified"]
			}
			require.NotZero(t, hits)
			require.NotZero(t, refused)
		})
	}
}

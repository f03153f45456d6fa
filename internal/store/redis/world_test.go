package redis

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/postgres"
	"authhook/internal/store/sqlite"
	"authhook/internal/store/storetest"
)

// A client that could not connect looks once a second whether it can, and once more after it was closed: go-redis's own.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// patience is how long something may take that is sure to happen.
const patience = 30 * time.Second

// soon waits until something holds.
func soon(t testing.TB, holds func() bool, what string) {
	t.Helper()
	require.Eventually(t, holds, patience, 2*time.Millisecond, what)
}

// redisURL is where the tests find the Redis that they share. They fail without: nothing is skipped.
func redisURL(t testing.TB) string {
	t.Helper()
	url := os.Getenv("AUTHHOOK_TEST_REDIS")
	if url == "" {
		t.Fatal("AUTHHOOK_TEST_REDIS is not set: run `make test`, which starts a throwaway Redis")
	}
	return url
}

// box is a Redis of a test's own, that may be stopped, killed and started again.
type box struct {
	t       testing.TB
	dir     string
	program string
	args    []string
	process *exec.Cmd
}

// newBox starts a Redis with the program of the one that the tests share.
func newBox(t testing.TB, args ...string) *box {
	t.Helper()
	shared := opened(t, redisURL(t))
	info, err := shared.Info(t.Context(), "server").Result()
	require.NoError(t, err)
	program := regexp.MustCompile(`(?m)^executable:(\S+)`).FindStringSubmatch(info)
	require.NotNil(t, program, "the shared Redis says which program it is")
	// Not t.TempDir: the name of a socket must be short.
	dir, err := os.MkdirTemp("", "redis")
	require.NoError(t, err)
	b := &box{t: t, dir: dir, program: program[1], args: args}
	t.Cleanup(func() {
		b.kill()
		require.NoError(t, os.RemoveAll(dir))
	})
	b.start()
	return b
}

func (b *box) socket() string { return filepath.Join(b.dir, "s") }
func (b *box) url() string    { return "unix://" + b.socket() }

func (b *box) start() {
	b.t.Helper()
	b.process = exec.Command(b.program, append([]string{"--port", "0", "--unixsocket", b.socket(), "--dir", b.dir, "--save", ""}, b.args...)...)
	require.NoError(b.t, b.process.Start())
	soon(b.t, func() bool {
		c, err := goredis.ParseURL(b.url())
		require.NoError(b.t, err)
		client := goredis.NewClient(c)
		defer client.Close()
		err = client.Ping(b.t.Context()).Err()
		return err == nil || strings.HasPrefix(err.Error(), "NOAUTH")
	}, "Redis answers")
}

func (b *box) kill() {
	if b.process != nil {
		b.signal(syscall.SIGKILL)
		_ = b.process.Wait()
		b.process = nil
	}
}

func (b *box) signal(s syscall.Signal) { require.NoError(b.t, b.process.Process.Signal(s)) }

// opened is a client of a URL, closed with the test.
func opened(t testing.TB, url string) goredis.UniversalClient {
	t.Helper()
	client, err := Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// database opens one database, the same each time, as replicas do.
type database func(t testing.TB) storetest.Store

var databases = map[string]func(t testing.TB) database{"sqlite": sqliteDatabase, "postgres": postgresDatabase}

func sqliteDatabase(t testing.TB) database {
	return sqliteAt(filepath.Join(t.TempDir(), "authhook.db"))
}

func sqliteAt(path string) database {
	return func(t testing.TB) storetest.Store {
		s, err := sqlite.Open(t.Context(), "sqlite:"+path)
		return migrated(t, s, err)
	}
}

func postgresDatabase(t testing.TB) database {
	url := storetest.PostgresSchema(t)
	return func(t testing.TB) storetest.Store {
		s, err := postgres.Open(t.Context(), url)
		return migrated(t, s, err)
	}
}

func migrated[S storetest.Store](t testing.TB, s S, err error) storetest.Store {
	t.Helper()
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	require.NoError(t, s.Migrate(t.Context()))
	return s
}

// replica is a process: a database of which it knows the feed up to a position, and facts through Redis.
type replica struct {
	*Facts
	t        testing.TB
	db       storetest.Store
	position int64
	looked   map[string]int
}

// newReplica is a replica that knows the feed up to its end and whose Redis answers. Its calls may take as long as a
// loaded machine needs.
func newReplica(t testing.TB, db storetest.Store, client goredis.UniversalClient) *replica {
	t.Helper()
	return newReplicaWithin(t, db, client, patience)
}

func newReplicaWithin(t testing.TB, db storetest.Store, client goredis.UniversalClient, timeout time.Duration) *replica {
	t.Helper()
	r := &replica{t: t, db: db, Facts: NewFacts(db.(Source), client, Options{CaughtUp: time.Now, Timeout: timeout})}
	t.Cleanup(r.Close)
	r.begin()
	r.server.probe(t.Context())
	return r
}

// begin does as the follower does where it begins.
func (r *replica) begin() {
	last, err := r.db.LastChange(r.t.Context())
	require.NoError(r.t, err)
	r.DropAll()
	r.position = last
}

// learn has the replica learn of what changed.
func (r *replica) learn() {
	r.learnSome(store.MaxPage)
}

func (r *replica) learnSome(limit int) {
	changes, err := r.db.Changes(r.t.Context(), r.position, limit)
	require.NoError(r.t, err)
	r.Changed(changes...)
	r.position += int64(len(changes))
}

// settle waits until what was put so far is written, and the feed is read back.
func (r *replica) settle() {
	r.back.running.Wait()
	v := &value{passed: make(chan struct{})}
	r.writer.put(v)
	<-v.passed
}

// answers is what became of the looks for facts since the last call, without what did not happen.
func (r *replica) answers() map[string]int { return r.sinceLast("facts", r.o.Metrics.asked) }

// previewAnswers is the same of the looks for previews.
func (r *replica) previewAnswers() map[string]int {
	return r.sinceLast("previews", r.o.Metrics.previews)
}

func (r *replica) sinceLast(what string, looks map[verdict]prometheus.Counter) map[string]int {
	if r.looked == nil {
		r.looked = map[string]int{}
	}
	is := map[string]int{}
	for v, name := range verdictNames {
		n, key := int(count(looks[v])), what+" "+name
		if n > r.looked[key] {
			is[name] = n - r.looked[key]
		}
		r.looked[key] = n
	}
	return is
}

func (r *replica) user(user string) *policy.UserFacts {
	r.t.Helper()
	u, err := r.FactsByUser(r.t.Context(), user)
	require.NoError(r.t, err)
	r.settle()
	return u
}

func (r *replica) credential(hash policy.CredentialHash) (*policy.Credential, *policy.UserFacts) {
	r.t.Helper()
	c, u, err := r.FactsByCredential(r.t.Context(), hash)
	require.NoError(r.t, err)
	r.settle()
	return c, u
}

// What changes in these tests.
func putUser(t testing.TB, db storetest.Store, id string, status policy.UserStatus) {
	t.Helper()
	_, _, err := db.PutUser(context.WithoutCancel(t.Context()), store.UserChange{ID: id, Status: status})
	require.NoError(t, err)
}

func addCredential(t testing.TB, db storetest.Store, key, user string) string {
	t.Helper()
	id, err := db.AddCredential(t.Context(), policy.HashKey(key), policy.Credential{Kind: policy.CredentialKey, User: user,
		Streams: []string{"live+*"}}, time.Now())
	require.NoError(t, err)
	return id
}

func addHold(t testing.TB, db storetest.Store, user string) {
	t.Helper()
	_, err := db.AddHold(t.Context(), user, policy.Hold{Kind: "abuse"})
	require.NoError(t, err)
}

// Package redis has replicas share what they read, give out places together, and tell each other that something changed. All of it
// only saves time: whatever becomes of Redis, what is answered is right, and no call here fails because of it.
//
//   - [Facts] is a level between store/cache, in each process, and the database: facts that one replica read are found
//     by the others. How a value is known to be right is told in history.go.
//   - [Previews] are the same for the moments at which previews began.
//   - [Hint] says to all replicas that the change feed grew, so that they look at once instead of at their next turn.
//   - [Leases] gives out the places under plans' limits, and spares the database their renewals. How that is exact is told in
//     leases.go.
//
// Redis is trusted as the database is: whoever can write to it can make up facts. No credential is stored in it, only
// the SHA-256 under which the database has it; else what it holds are facts: a user's id, entitlements, holds, usage.
package redis

import (
	"context"
	"errors"
	"net/url"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// What a connection waits for. Each call has a much shorter deadline of its own; these bound what is done aside:
// connecting, and reading a connection that nobody waits for any more.
const (
	dialTimeout = time.Second
	ioTimeout   = time.Second
)

// errURL does not repeat the URL, which may hold a password.
var errURL = errors.New("the Redis URL must be redis://, rediss:// or unix://, with parameters that go-redis knows")

// Open prepares a client. It does not connect. The URL is one of:
//
//   - redis://user:password@host:port/number, rediss:// for TLS, unix:///path for a socket: one server;
//   - with master_name=NAME and further addr=host:port: the servers that these Sentinels watch. The user and password
//     before the host are the Sentinels'; the servers' own are the parameters username and password;
//   - with addr=host:port and no master_name: a cluster, of which host:port and each addr are some nodes.
//
// Other parameters are those of go-redis (pool_size, skip_verify, …). Errors never hold the URL.
func Open(redisURL string) (goredis.UniversalClient, error) {
	goredis.SetLogger(discard{}) // it would write to standard error, in a form of its own; what matters is counted
	u, err := url.Parse(redisURL)
	if err != nil || u.Host == "" && u.Scheme != "unix" {
		return nil, errURL
	}
	switch q := u.Query(); {
	case q.Has("master_name"):
		return openFailover(redisURL)
	case q.Has("addr"):
		return openCluster(redisURL)
	default:
		return openOne(redisURL)
	}
}

func openOne(redisURL string) (goredis.UniversalClient, error) {
	o, err := goredis.ParseURL(redisURL)
	if err != nil {
		return nil, errURL
	}
	o.ContextTimeoutEnabled = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	ours{
		protocol: &o.Protocol, retries: &o.MaxRetries, dialerRetries: &o.DialerRetries, pipelinePool: &o.PipelinePoolSize,
		dial: &o.DialTimeout, read: &o.ReadTimeout, write: &o.WriteTimeout,
	}.fill()
	return goredis.NewClient(o), nil
}

func openFailover(redisURL string) (goredis.UniversalClient, error) {
	o, err := goredis.ParseFailoverURL(redisURL)
	if err != nil || o.MasterName == "" {
		return nil, errURL
	}
	o.ContextTimeoutEnabled = true
	ours{
		protocol: &o.Protocol, retries: &o.MaxRetries, dialerRetries: &o.DialerRetries, pipelinePool: &o.PipelinePoolSize,
		dial: &o.DialTimeout, read: &o.ReadTimeout, write: &o.WriteTimeout,
	}.fill()
	return goredis.NewFailoverClient(o), nil
}

func openCluster(redisURL string) (goredis.UniversalClient, error) {
	o, err := goredis.ParseClusterURL(redisURL)
	if err != nil {
		return nil, errURL
	}
	o.ContextTimeoutEnabled = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	ours{
		protocol: &o.Protocol, retries: &o.MaxRetries, dialerRetries: &o.DialerRetries, pipelinePool: &o.PipelinePoolSize,
		dial: &o.DialTimeout, read: &o.ReadTimeout, write: &o.WriteTimeout,
	}.fill()
	return goredis.NewClusterClient(o), nil
}

// ours are the options of go-redis that have another default here, wherever they stand: a server, Sentinels and a cluster each
// have a type of their own for them.
type ours struct {
	protocol, retries, dialerRetries, pipelinePool *int
	dial, read, write                              *time.Duration
}

func (o ours) fill() {
	unlessSet(o.protocol, 2)
	unlessSet(o.retries, -1)
	unlessSet(o.dialerRetries, 1)
	unlessSet(o.pipelinePool, -1)
	unlessSet(o.dial, dialTimeout)
	unlessSet(o.read, ioTimeout)
	unlessSet(o.write, ioTimeout)
}

// unlessSet gives an option of go-redis, for which zero means its own default, ours.
func unlessSet[T int | time.Duration](v *T, byDefault T) {
	if *v == 0 {
		*v = byDefault
	}
}

type discard struct{}

func (discard) Printf(context.Context, string, ...any) {}

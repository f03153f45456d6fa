package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"authhook/internal/store/storetest"
)

// box is a server of a test's own, which may be stopped, killed, and started again where it was.
type box struct {
	t       *testing.T
	url     string
	program string
	args    []string
	as      *syscall.Credential // nil: as whom the test runs as
	answers func(context.Context) error
	process *exec.Cmd
	ended   chan struct{}
}

// boxStart is how long a server may take to answer. PostgreSQL waits for what is left of the one before.
const boxStart = time.Minute

// start waits until the server answers.
func (b *box) start() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), boxStart)
	defer cancel()
	for ctx.Err() == nil {
		log := newOutput()
		b.process, b.ended = exec.Command(b.program, b.args...), make(chan struct{})
		b.process.Env = clean(os.Environ())
		b.process.Dir = "/"
		b.process.Stdout, b.process.Stderr = log, log
		b.process.SysProcAttr = &syscall.SysProcAttr{Credential: b.as}
		require.NoError(b.t, b.process.Start())
		go func() {
			_ = b.process.Wait()
			close(b.ended)
		}()
		for gone := false; !gone; {
			err := b.answers(ctx)
			if err == nil {
				return
			}
			select {
			case <-b.ended:
				gone = true
			case <-ctx.Done():
				b.kill()
				b.t.Fatalf("%s does not answer: %s\n%s", b.program, err, log)
			case <-time.After(10 * time.Millisecond):
			}
		}
		if !strings.Contains(log.String(), "still in use") {
			b.t.Fatalf("%s has ended:\n%s", b.program, log)
		}
	}
}

// clean is an environment without what is meant for another PostgreSQL.
func clean(environment []string) (all []string) {
	for _, v := range environment {
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "LC_") {
			all = append(all, v)
		}
	}
	return append(all, "LC_ALL=C", "TZ=UTC")
}

func (b *box) signal(s syscall.Signal) {
	b.t.Helper()
	require.NoError(b.t, b.process.Process.Signal(s))
}

func (b *box) kill() {
	if b.process != nil {
		_ = b.process.Process.Kill()
		<-b.ended
		b.process = nil
	}
}

// boxDir is a directory that a server may write into, whoever it runs as.
func boxDir(t *testing.T, as *syscall.Credential) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "box")
	require.NoError(t, err)
	if as != nil {
		require.NoError(t, os.Chown(dir, int(as.Uid), int(as.Gid)))
	}
	t.Cleanup(func() {
		// What a killed PostgreSQL leaves behind is on its way out.
		require.Eventually(t, func() bool { return os.RemoveAll(dir) == nil }, boxStart, 10*time.Millisecond)
	})
	return dir
}

// newRedis starts a Redis with the program of the one that tests share. It keeps nothing when it is killed.
func newRedis(t *testing.T) *box {
	t.Helper()
	shared := redisClient(t, testRedis(t))
	info, err := shared.Info(t.Context(), "server").Result()
	require.NoError(t, err)
	program := regexp.MustCompile(`(?m)^executable:(\S+)`).FindStringSubmatch(info)
	require.NotNil(t, program, "the shared Redis says which program it is")
	address := storetest.FreeAddress(t)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	b := &box{t: t, url: "redis://" + address + "/0", program: program[1], args: []string{
		"--bind", "127.0.0.1", "--port", port, "--dir", boxDir(t, nil), "--save", "", "--appendonly", "no",
	}}
	own := redisClient(t, b.url)
	b.answers = func(ctx context.Context) error { return own.Ping(ctx).Err() }
	t.Cleanup(b.kill)
	b.start()
	return b
}

func redisClient(t *testing.T, url string) *goredis.Client {
	t.Helper()
	o, err := goredis.ParseURL(url)
	require.NoError(t, err)
	c := goredis.NewClient(o)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// newPostgres starts a PostgreSQL with the programs of the one that tests share. What it has said is done is on disk.
func newPostgres(t *testing.T) *box {
	t.Helper()
	as := notRoot(t)
	dir := boxDir(t, as)
	address := storetest.FreeAddress(t)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	programs := postgresPrograms(t)
	made := exec.Command(filepath.Join(programs, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--no-sync")
	made.Env, made.Dir, made.SysProcAttr = clean(os.Environ()), "/", &syscall.SysProcAttr{Credential: as}
	said, err := made.CombinedOutput()
	require.NoError(t, err, string(said))
	b := &box{t: t, url: "postgres://postgres@" + address + "/postgres?sslmode=disable", program: filepath.Join(programs, "postgres"), as: as}
	b.args = []string{"-D", filepath.Join(dir, "data"), "-p", port}
	for name, value := range map[string]string{
		"listen_addresses": "127.0.0.1", "unix_socket_directories": dir, "dynamic_shared_memory_type": "mmap",
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
	} {
		b.args = append(b.args, "-c", name+"="+value)
	}
	b.answers = func(ctx context.Context) error {
		c, err := pgx.Connect(ctx, b.url)
		if err != nil {
			return err
		}
		return c.Close(ctx)
	}
	t.Cleanup(b.kill)
	b.start()
	return b
}

// postgresPrograms is the directory of the programs of the PostgreSQL that tests share.
func postgresPrograms(t *testing.T) (dir string) {
	t.Helper()
	shared, err := pgx.Connect(t.Context(), storetest.PostgresURL(t))
	require.NoError(t, err)
	defer func() { require.NoError(t, shared.Close(t.Context())) }()
	require.NoError(t, shared.QueryRow(t.Context(), `SELECT setting FROM pg_config WHERE name = 'BINDIR'`).Scan(&dir))
	return dir
}

// notRoot is somebody else where the test runs as root, whom PostgreSQL refuses.
func notRoot(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, err := strconv.ParseUint(u.Uid, 10, 32)
			require.NoError(t, err)
			gid, err := strconv.ParseUint(u.Gid, 10, 32)
			require.NoError(t, err)
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	t.Fatal("PostgreSQL does not run as root, and there is no user postgres or nobody")
	return nil
}

// withQuery is a URL with more in its query.
func withQuery(t *testing.T, address string, more ...string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	q := u.Query()
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], fmt.Sprint(more[i+1]))
	}
	u.RawQuery = q.Encode()
	return u.String()
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/mist/recording"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const exampleCatalog = "../../examples/catalog.yaml"

// authhook runs the command line, and returns what it said and its exit code.
func authhook(t *testing.T, args ...string) (out, errOut string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, &o, &e)
	return o.String(), e.String(), code
}

// mustAuthhook is authhook where it has to succeed.
func mustAuthhook(t *testing.T, args ...string) string {
	t.Helper()
	out, errOut, code := authhook(t, args...)
	require.Zero(t, code, errOut)
	return out
}

// output is written to by a service while a test reads it.
type output struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func newOutput() *output { return &output{changed: make(chan struct{}, 1)} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// find waits until the output holds the pattern, and returns its first group.
func (o *output) find(t testing.TB, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for {
		if m := re.FindStringSubmatch(o.String()); m != nil {
			return m[1]
		}
		select {
		case <-o.changed:
		case <-t.Context().Done():
			t.Fatalf("no %q in %s", pattern, o)
		}
	}
}

// served is a running service.
type served struct {
	url      string
	out, log *output
	stop     func() int // and returns its exit code
}

func serveForTest(t testing.TB, args ...string) *served {
	t.Helper()
	s := startForTest(t, args...)
	found := s.out.find(t, `(?m)answers on (\S+)$|^(exited)$`)
	require.NotEmpty(t, found, s.log.String())
	s.url = "http://" + found
	return s
}

// startForTest does not wait until the service is ready.
func startForTest(t testing.TB, args ...string) *served {
	t.Helper()
	if !slices.Contains(args, "--mist") {
		args = append(args, "--mist", noMist)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{out: newOutput(), log: newOutput()}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...), s.out, s.log)
		s.out.Write([]byte("\nexited\n"))
	}()
	var once sync.Once
	last := 0
	s.stop = func() int {
		once.Do(func() {
			cancel()
			last = <-code
		})
		return last
	}
	t.Cleanup(func() { s.stop() })
	return s
}

// waitLog waits for a line in the log, and returns the pattern's first group.
func (s *served) waitLog(t testing.TB, pattern string) string {
	t.Helper()
	if !strings.Contains(pattern, "(") {
		pattern = "(" + pattern + ")"
	}
	return s.log.find(t, pattern)
}

func (s *served) get(t *testing.T, path string) (code int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	require.NoError(t, err)
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, answer.Body.Close()) }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(text)
}

// ask sends a trigger and returns the answer.
func (s *served) ask(t *testing.T, trigger, uuid, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/trigger", strings.NewReader(body))
	require.NoError(t, err)
	r.Close = true // as MistServer does
	r.Header.Set("X-Trigger", trigger)
	r.Header.Set("X-Trigger-UUID", uuid)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, answer.Body.Close()) }()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return string(text)
}

func emptyDatabase(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "authhook.db") }

// databases are a new one of each kind.
func databases(t testing.TB) map[string]string {
	return map[string]string{"sqlite": emptyDatabase(t), "postgres": storetest.PostgresSchema(t)}
}

func askWithKey(key, session string) string {
	return "movie\n192.0.2.1\n" + key + "\nHLS\nhttp://h/\n" + strings.Repeat(session, 32) + "\nfalse"
}

// The way of the README: start, see a recorded viewer let in, make a key, see it let in, start again.
func TestServeFromAnEmptyDatabase(t *testing.T) {
	recorded, err := recording.Read("USER_NEW")
	require.NoError(t, err)
	for kind, db := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			s := serveForTest(t, "--database-url", db, "--catalog", exampleCatalog)
			assert.Equal(t, "true", s.ask(t, "USER_NEW", "u1", string(recorded.Body)))
			shown := s.out.find(t, `printf '([^']+)'`)
			assert.Equal(t, string(recorded.Body), strings.ReplaceAll(shown, `\n`, "\n"), "what is shown is what was recorded")

			key := strings.TrimSpace(mustAuthhook(t, "token", "alice", "--create", "--plan", "gold", "--for", "1h", "--database-url", db))
			assert.Equal(t, "true", s.ask(t, "USER_NEW", "u2", askWithKey(key, "ab")), "a key that another process made is good at once")
			assert.Zero(t, s.stop(), s.log.String())

			again := serveForTest(t, "--database-url", db)
			assert.Equal(t, "true", again.ask(t, "USER_NEW", "u3", askWithKey(key, "ab")))
			sessions := readSessions(t, db)
			require.Len(t, sessions, 2, "what was answered was written before the end")
			assert.NotContains(t, s.log.String()+again.log.String(), key)
		})
	}
}

func readSessions(t *testing.T, url string) []policy.Session {
	t.Helper()
	db, err := (&databaseFlags{DatabaseURL: url}).open(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	sessions, err := db.(interface {
		Sessions(context.Context, store.SessionFilter) ([]policy.Session, error)
	}).Sessions(t.Context(), store.SessionFilter{})
	require.NoError(t, err)
	return sessions
}

// An applied catalog changes the answers of a running service.
func TestACatalogIsInForceAtOnce(t *testing.T) {
	for kind, db := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			s := serveForTest(t, "--database-url", db)
			body := "movie\n192.0.2.1\n\nHLS\nhttp://h/\n" + strings.Repeat("ab", 32) + "\nfalse"
			assert.Equal(t, "false", s.ask(t, "USER_NEW", "u1", body))
			s.waitLog(t, "reason=stream_unknown")
			path := filepath.Join(t.TempDir(), "catalog.yaml")
			require.NoError(t, os.WriteFile(path, []byte("streams: [{match: movie, access: public}]"), 0o600))
			mustAuthhook(t, "apply", "-f", path, "--database-url", db)
			for n := 0; s.ask(t, "USER_NEW", fmt.Sprint("u2-", n), body) != "true"; n++ {
				require.NoError(t, t.Context().Err())
			}
		})
	}
}

// A database that goes away is no verdict: who is known is answered from memory, who is not is "unavailable", and all is
// right again when it is back.
func TestPostgresGoesAwayAndComesBack(t *testing.T) {
	proxy, db := storetest.NewProxy(t, storetest.PostgresSchema(t))
	s := serveForTest(t, "--database-url", db, "--catalog", exampleCatalog)
	known := strings.TrimSpace(mustAuthhook(t, "token", "alice", "--create", "--plan", "basic", "--database-url", db))
	other := strings.TrimSpace(mustAuthhook(t, "token", "bob", "--create", "--plan", "basic", "--database-url", db))
	public := "extra\n192.0.2.1\n\nHLS\nhttp://h/\n" + strings.Repeat("cd", 32) + "\nfalse"
	club := func(key, session string) string { return "club\n" + askWithKey(key, session)[len("movie\n"):] }
	path := filepath.Join(t.TempDir(), "catalog.yaml")
	require.NoError(t, os.WriteFile(path, []byte("streams: [{match: extra, access: public}, {match: club, access: authenticated}]"), 0o600))
	mustAuthhook(t, "apply", "-f", path, "--database-url", db)
	for n := 0; s.ask(t, "USER_NEW", fmt.Sprint("u1-", n), club(known, "ab")) != "true"; n++ {
		require.NoError(t, t.Context().Err())
	}

	proxy.Down()
	assert.Equal(t, "true", s.ask(t, "USER_NEW", "u2", public))
	assert.Equal(t, "true", s.ask(t, "USER_NEW", "u3", club(known, "ab")), "facts in memory still decide")
	assert.Equal(t, "false", s.ask(t, "USER_NEW", "u4", club(other, "ef")))
	s.waitLog(t, "reason=unavailable")
	code, body := s.get(t, "/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, code)
	assert.Contains(t, body, "database")
	code, _ = s.get(t, "/healthz")
	assert.Equal(t, http.StatusOK, code)

	proxy.Up()
	for n := 0; s.ask(t, "USER_NEW", fmt.Sprint("u5-", n), club(other, "ef")) != "true"; n++ {
		require.NoError(t, t.Context().Err())
	}
	assert.Zero(t, s.stop(), s.log.String())
	assert.Len(t, readSessions(t, db), 3, "what was decided meanwhile was kept, and written")
}

// A service that starts before its database answers, is not ready, and becomes so.
func TestServeBeforeItsDatabase(t *testing.T) {
	proxy, db := storetest.NewProxy(t, storetest.PostgresSchema(t))
	proxy.Down()
	s := startForTest(t, "--database-url", db, "--catalog", exampleCatalog, "--on-unavailable", "allow")
	s.url = "http://" + s.waitLog(t, `msg=listening address=(\S+)`)
	code, body := s.get(t, "/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, code)
	assert.Contains(t, body, "catalog")
	assert.Equal(t, "true", s.ask(t, "USER_NEW", "u1", askWithKey("", "ab")), "the configured answer")
	proxy.Up()
	s.out.find(t, `answers on (\S+)`)
	assert.Equal(t, "false", s.ask(t, "USER_NEW", "u2", askWithKey("", "ab")))
}

func TestBadSettingsAreNamedAndChangeNothing(t *testing.T) {
	dir := t.TempDir()
	db := "sqlite:" + filepath.Join(dir, "authhook.db")
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	bad := file("bad.yaml", "plans:\n  - {key: gold, max_concurrent: -1}\nstreams: []\n")
	tests := []struct {
		name, says string
		args       []string
	}{
		{"unknown flag", "--nosuch", []string{"serve", "--nosuch"}},
		{"open to the world without a key", "--trigger-key", []string{"serve", "--listen", "0.0.0.0:0"}},
		{"every address", "--trigger-key", []string{"serve", "--listen", ":0"}},
		{"short trigger key", "--trigger-key", []string{"serve", "--trigger-key", "short"}},
		{"trigger key that a URL would change", "--trigger-key", []string{"serve", "--trigger-key", "0123456789abcdef?/%"}},
		{"trigger key that MistServer would cut", "--trigger-key", []string{"serve", "--trigger-key", strings.Repeat("x", 65)}},
		{"database twice", "--database-url-file", []string{"serve", "--database-url", db, "--database-url-file", file("url", db)}},
		{"taken port", "--listen", []string{"serve", "--listen", taken.Addr().String()}},
		{"settings file with a list", "trigger-key", []string{"serve", "--config", file("secret.yaml", "trigger-key: [a-secret, b]\n")}},
		{"JWT key of another kind", "bad-key.yaml:2", []string{"apply", "-f", file("bad-key.yaml", "streams: []\njwt: {keys: [{alg: ES256, public_key: \"-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\\n-----END PUBLIC KEY-----\\n\"}]}\n")}},
		{"token without a database", "authhook.db", []string{"token", "alice"}},
		{"token for an empty list", "--streams", []string{"token", "alice", "--streams", ""}},
		{"token for a pattern that matches nothing", "--streams", []string{"token", "alice", "--streams", "a*b"}},
		{"token for every address", "--address", []string{"token", "alice", "--address", "0.0.0.0"}},
		{"trigger key twice", "--trigger-key-file", []string{"serve", "--trigger-key", strings.Repeat("x", 20), "--trigger-key-file", file("key", "y")}},
		{"empty trigger key file", "--trigger-key-file", []string{"serve", "--trigger-key-file", file("empty", "\n")}},
		{"no port", "--listen", []string{"serve", "--listen", "127.0.0.1"}},
		{"database of no kind", "--database-url", []string{"serve", "--database-url", "mysql://u:secret@h/d"}},
		{"no such answer", "--on-unavailable", []string{"serve", "--on-unavailable", "maybe"}},
		{"session mode", "--session-mode", []string{"serve", "--session-mode", "16"}},
		{"socket mode", "--socket-mode", []string{"serve", "--socket-mode", "rw"}},
		{"bad catalog at the start", "bad.yaml:2", []string{"serve", "--catalog", bad}},
		{"bad catalog", "bad.yaml:2", []string{"apply", "-f", bad}},
		{"no catalog", "nosuch.yaml", []string{"apply", "-f", filepath.Join(dir, "nosuch.yaml")}},
		{"settings file of another kind", "YAML", []string{"serve", "--config", file("list.yaml", "- a\n- b\n")}},
		{"settings file with a wrong name", `"listn"`, []string{"serve", "--config", file("typo.yaml", "listn: 127.0.0.1:0\n")}},
		{"JWT that would be stored", "--jwt", []string{"token", "alice", "--jwt", "--create"}},
		{"explain without a database", "authhook.db", []string{"explain", "--stream", "live", "--address", "192.0.2.1"}},
		{"no address", "--address", []string{"explain", "--stream", "live"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			args := test.args
			if !strings.Contains(strings.Join(args, " "), "--database-url") {
				args = append(args, "--database-url", db)
			}
			out, errOut, code := authhook(t, args...)
			assert.Equal(t, exitUsage, code)
			assert.Contains(t, errOut, test.says)
			assert.Empty(t, out)
			assert.NotContains(t, errOut, "secret")
			assert.NoFileExists(t, filepath.Join(dir, "authhook.db"), "nothing was begun")
		})
	}
}

func TestSettingsComeFromFlagsEnvironmentAndFile(t *testing.T) {
	db := emptyDatabase(t)
	path := filepath.Join(t.TempDir(), "authhook.yaml")
	require.NoError(t, os.WriteFile(path, []byte("database-url: "+db+"\nlog_level: debug\nsocket-mode: 0600\nsession-mode: 14\n"), 0o600))
	t.Setenv("AUTHHOOK_TRIGGER_KEY", "0123456789abcdef")
	s := serveForTest(t, "--config", path, "--catalog", exampleCatalog)
	assert.Contains(t, s.out.String(), "/trigger/KEY", "the key is asked for, and not shown")
	assert.NotContains(t, s.out.String(), "0123456789abcdef")
	assert.FileExists(t, strings.TrimPrefix(db, "sqlite:"))
}

func TestHelpNamesEverySetting(t *testing.T) {
	out, _, code := authhook(t, "serve", "--help")
	assert.Zero(t, code)
	for _, name := range []string{
		"LISTEN", "SOCKET", "SOCKET_MODE", "DATABASE_URL", "DATABASE_URL_FILE", "CATALOG", "TRIGGER_KEY", "TRIGGER_KEY_FILE",
		"ON_UNAVAILABLE", "NODE", "SESSION_MODE", "FACTS_FRESH", "FACTS_STALE", "FACTS_ENTRIES", "KEEP_SESSIONS", "LOG_LEVEL", "LOG_FORMAT", "CONFIG",
	} {
		assert.Contains(t, out, "$AUTHHOOK_"+name)
	}
	assert.Contains(t, out, "Default: 127.0.0.1:4280.")
	version, _, code := authhook(t, "--version")
	assert.Zero(t, code)
	assert.Equal(t, "authhook dev\n", version)
}

func TestApplySaysWhatItDid(t *testing.T) {
	db := emptyDatabase(t)
	apply := func(more ...string) string {
		return mustAuthhook(t, append([]string{"apply", "-f", exampleCatalog, "--database-url", db}, more...)...)
	}
	assert.Contains(t, apply("--dry-run"), "good: 2 plans")
	assert.NoFileExists(t, strings.TrimPrefix(db, "sqlite:"))
	assert.Contains(t, apply(), "applied: 2 plans")
	assert.Contains(t, apply(), "unchanged: 2 plans")
	assert.Equal(t, "the database is up to date\n", mustAuthhook(t, "migrate", "--database-url", db))
}

func TestExplainHasNoEffect(t *testing.T) {
	db := emptyDatabase(t)
	mustAuthhook(t, "apply", "-f", exampleCatalog, "--database-url", db)
	key := strings.TrimSpace(mustAuthhook(t, "token", "bob", "--create", "--plan", "basic", "--database-url", db))
	explain := func(args ...string) string {
		return mustAuthhook(t, append([]string{"explain", "--address", "192.0.2.1", "--database-url", db}, args...)...)
	}
	movie := explain("--stream", "movie_sd", "--token", key)
	assert.Regexp(t, `(?m)^entitlement +allow +ent_`, movie)
	assert.Regexp(t, `(?m)^concurrency +pass +0 other sessions`, movie)
	assert.Regexp(t, `(?m)^allow +entitled$`, movie)
	assert.Equal(t, movie, explain("--stream", "movie_sd", "--token", key), "no place was taken")
	assert.NotContains(t, movie, key)
	for range 2 {
		assert.Contains(t, explain("--stream", "live+fight", "--token", key), "would begin now")
	}
	assert.Regexp(t, `(?m)^deny +stream_closed$`, explain("--stream", "archive", "--token", key))
	assert.Regexp(t, `(?m)^deny +credential_unknown$`, explain("--stream", "movie_sd", "--token", "ak_"+strings.Repeat("A", 26)))
	assert.Regexp(t, `(?m)^allow +public$`, explain("--stream", "live+fight", "--at", "2026-12-24T20:30:00Z"))
}

func TestTokenNeedsAUser(t *testing.T) {
	db := emptyDatabase(t)
	mustAuthhook(t, "apply", "-f", exampleCatalog, "--database-url", db)
	_, errOut, code := authhook(t, "token", "nobody", "--database-url", db)
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errOut, "--create")
	_, errOut, code = authhook(t, "token", "alice", "--create", "--plan", "platinum", "--database-url", db)
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errOut, "platinum")
	assert.Regexp(t, `^ak_[A-Z2-7]{26}\n$`, mustAuthhook(t, "token", "alice", "--create", "--database-url", db))
	assert.Contains(t, mustAuthhook(t, "token", "alice", "--address", "192.0.2.9", "--database-url", db), "bound to alice")
	assert.Regexp(t, `(?m)^user +alice$`, mustAuthhook(t, "explain", "--stream", "movie", "--address", "192.0.2.9", "--connector", "RTSP", "--database-url", db))
}

func TestTokenSignsAJWT(t *testing.T) {
	db := emptyDatabase(t)
	path := filepath.Join(t.TempDir(), "catalog.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`
plans: [{key: gold}]
streams: [{match: movie, access: entitled, plans: [gold]}, {match: club, access: authenticated}]
jwt: {keys: [{kid: site, alg: HS256, secret: 0123456789abcdef0123456789abcdef}]}
`), 0o600))
	mustAuthhook(t, "apply", "-f", path, "--database-url", db)
	mustAuthhook(t, "token", "alice", "--create", "--database-url", db)
	token := strings.TrimSpace(mustAuthhook(t, "token", "alice", "--jwt", "--streams", "club", "--database-url", db))
	explain := func(stream, token string) string {
		return mustAuthhook(t, "explain", "--stream", stream, "--token", token, "--address", "192.0.2.1", "--database-url", db)
	}
	assert.Regexp(t, `(?m)^allow +authenticated$`, explain("club", token))
	assert.Regexp(t, `(?m)^deny +credential_wrong_stream$`, explain("movie", token))
	assert.Regexp(t, `(?m)^deny +credential_unknown$`, explain("club", token[:len(token)-4]+"AAAA"))
}

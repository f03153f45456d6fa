package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/store"
	"authhook/internal/webhook/admin"
)

// write writes a file for a test.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// nobodyThere is the URL of a port on which nobody listens.
func nobodyThere(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return "http://" + l.Addr().String()
}

// varying is what differs from one run of a command to the next.
var varying = regexp.MustCompile(`\b(ak_|ahk_)[A-Z2-7]{26}|\b(cred|ent|key)_[a-z2-7]{26}|\d{4}-\d\d-\d\dT[\d:.]+Z`)

// A command says and does the same, be it over a service or on a database.
func TestCommandsWorkOverAServiceAsOnADatabase(t *testing.T) {
	catalog := write(t, "catalog.yaml", `
plans: [{key: gold, max_concurrent: 2}, {key: "a/b"}]
streams: [{match: movie, access: entitled, plans: [gold]}, {match: club, access: authenticated}]
jwt: {keys: [{kid: site, alg: HS256, secret_env: SECRET_OF_A_TEST}]}
`)
	t.Setenv("SECRET_OF_A_TEST", "0123456789abcdef0123456789abcdef")
	commands := []struct {
		code int
		args []string
	}{
		{0, []string{"apply", "-f", catalog}},
		{0, []string{"apply", "-f", catalog}},
		{2, []string{"apply", "-f", write(t, "catalog.yaml", `streams: [{match: "..", access: public}]`)}},
		{2, []string{"token", "alice"}},
		{2, []string{"token", "alice", "--create", "--plan", "silver"}},
		{2, []string{"token", "alice"}},
		{0, []string{"token", "alice", "--create", "--plan", "gold", "--for", "1h"}},
		{0, []string{"token", "alice", "--create", "--plan", "a/b"}},
		{0, []string{"token", "a/b %2F?#", "--create", "--streams", "movie,live+*", "--publish"}},
		{2, []string{"token", ".", "--create"}},
		{2, []string{"token", "..", "--create"}},
		{2, []string{"token", "", "--create"}},
		{2, []string{"token", strings.Repeat("x", 257), "--create"}},
		{0, []string{"token", "alice", "--address", "192.0.2.9"}},
		{2, []string{"token", "alice", "--address", "::ffff:192.0.2.9"}},
		{2, []string{"token", "bob", "--create", "--address", "192.0.2.9"}},
		{2, []string{"token", "alice", "--address", "::ffff:0.0.0.0"}},
		{2, []string{"token", "alice", "--address", "fe80::1%eth0"}},
		{2, []string{"token", "alice", "--address", "239.1.2.3"}},
		{0, []string{"explain", "--stream", "movie", "--address", "192.0.2.9", "--connector", "RTSP"}},
		{0, []string{"explain", "--stream", "movie", "--address", "192.0.2.1", "--token", "ak_" + strings.Repeat("A", 26)}},
		{0, []string{"explain", "--stream", "movie", "--address", "192.0.2.9", "--at", "2001-01-01T00:00:00Z"}},
		{0, []string{"explain", "--stream", "club", "--address", "192.0.2.9", "--publish"}},
		{2, []string{"explain", "--stream", "movie", "--address", "fe80::1%eth0"}},
		{2, []string{"explain", "--stream", "movie", "--address", "192.0.2.9", "--at", "1969-01-01T00:00:00Z"}},
		{0, []string{"keys", "add", "shop", "--role", "billing"}},
		{0, []string{"keys", "list"}},
		{2, []string{"keys", "withdraw", "nosuch"}},
		{2, []string{"keys", "add", strings.Repeat("x", 257), "--role", "read"}},
		{2, []string{"keys", "add", "", "--role", "read"}},
	}
	for kind, db := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			other := databases(t)[kind]
			s := serveForTest(t, "--database-url", db, "--admin-token", adminToken)
			mustAuthhook(t, "migrate", "--database-url", other)
			for _, command := range commands {
				out, errOut, code := authhook(t, append(command.args, "--database-url", other)...)
				out2, errOut2, code2 := authhook(t, append(command.args, "--server", s.url, "--api-key", adminToken)...)
				assert.Equal(t, command.code, code, "%q: %s", command.args, errOut)
				assert.Equal(t, code, code2, "%q: %s", command.args, errOut2)
				for _, text := range []*string{&out, &out2} {
					*text = varying.ReplaceAllString(*text, "$1$2…")
				}
				assert.Equal(t, out, out2, "%q", command.args)
				assert.Equal(t, errOut, errOut2, "%q", command.args)
				assert.NotContains(t, out2+errOut2, adminToken)
				if code != 0 {
					assert.Empty(t, out)
				}
			}
			// What was sent is what was meant: a secret that the catalog names is read where the command runs.
			jwt := strings.TrimSpace(mustAuthhook(t, "token", "alice", "--jwt", "--database-url", db))
			assert.Regexp(t, `(?m)^allow +authenticated$`, mustAuthhook(t, "explain", "--stream", "club", "--address", "192.0.2.1",
				"--token", jwt, "--server", s.url, "--api-key", adminToken))
			// What a key is good for, whichever way it was made.
			for _, where := range [][]string{{"--server", s.url, "--api-key", adminToken}, {"--database-url", other}} {
				command := func(args ...string) string { return mustAuthhook(t, append(args, where...)...) }
				explain := func(key, stream string, more ...string) string {
					return command(append([]string{"explain", "--stream", stream, "--address", "192.0.2.1", "--token", key}, more...)...)
				}
				limited := strings.TrimSpace(command("token", "alice", "--streams", "club,other", "--for", "1h"))
				assert.Regexp(t, `(?m)^allow +authenticated$`, explain(limited, "club"))
				assert.Regexp(t, `(?m)^deny +credential_wrong_stream$`, explain(limited, "movie"))
				assert.Regexp(t, `(?m)^deny +credential_expired$`, explain(limited, "club", "--at", time.Now().Add(2*time.Hour).Format(time.RFC3339)))
				assert.Regexp(t, `(?m)^deny +publisher_denied$`, explain(limited, "club", "--publish"))
				publisher := strings.TrimSpace(command("token", "alice", "--publish"))
				assert.Regexp(t, `(?m)^allow +publisher$`, explain(publisher, "club", "--publish"))
			}
			for url, actor := range map[string]string{db: admin.AdminToken, other: commandLine} {
				for _, entry := range auditOf(t, url) {
					assert.Equal(t, actor, entry.Actor)
				}
			}
			assert.Equal(t, len(auditOf(t, other)), len(auditOf(t, db)))
			assert.Zero(t, s.stop(), s.log.String())
			assert.NotContains(t, s.log.String(), adminToken)
		})
	}
}

func auditOf(t *testing.T, url string) []store.AuditEntry {
	t.Helper()
	db, err := (&databaseFlags{DatabaseURL: url}).open(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	list, err := db.Audit(t.Context(), store.AuditFilter{Limit: store.MaxFacts})
	require.NoError(t, err)
	require.NotEmpty(t, list)
	return list
}

// What a command does over a service holds at once, and needs no more than the key permits.
func TestAKeyOfTheCommandLineIsGoodAtOnce(t *testing.T) {
	for kind, db := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			s := serveForTest(t, "--database-url", db, "--catalog", exampleCatalog)
			billing := strings.TrimSpace(mustAuthhook(t, "keys", "add", "shop", "--role", "billing", "--database-url", db))
			t.Setenv("AUTHHOOK_SERVER", s.url)
			t.Setenv("AUTHHOOK_API_KEY_FILE", write(t, "key", billing+"\n"))
			// As in the container, where the environment names the database too.
			t.Setenv("AUTHHOOK_DATABASE_URL", "sqlite:"+filepath.Join(t.TempDir(), "never.db"))
			key := strings.TrimSpace(mustAuthhook(t, "token", "alice", "--create", "--plan", "gold"))
			assert.Equal(t, "true", s.ask(t, "USER_NEW", "u1", askWithKey(key, "ab")))
			assert.Regexp(t, `(?m)^allow +entitled$`, mustAuthhook(t, "explain", "--stream", "movie", "--address", "192.0.2.1", "--token", key))

			for _, args := range [][]string{{"keys", "list"}, {"keys", "add", "x", "--role", "admin"}, {"apply", "-f", exampleCatalog}} {
				_, errOut, code := authhook(t, args...)
				assert.Equal(t, exitUsage, code)
				assert.Contains(t, errOut, "--api-key-file")
				assert.Contains(t, errOut, "role admin")
				assert.NotContains(t, errOut, billing)
			}
			_, errOut, code := authhook(t, "token", "alice", "--database-url", db)
			assert.Equal(t, exitUsage, code, "which of the two is meant, is not guessed")
			assert.Contains(t, errOut, "--server and --database-url")
		})
	}
}

// However many keys there are, the list has them all.
func TestKeysListHasEveryPage(t *testing.T) {
	url := emptyDatabase(t)
	db, err := (&databaseFlags{DatabaseURL: url}).openReady(t.Context())
	require.NoError(t, err)
	const number = 230
	for i := range number {
		_, err := db.AddAPIKey(t.Context(), store.APIKey{Name: fmt.Sprint("n", i), Role: store.RoleRead}, admin.HashKey(fmt.Sprint(i)))
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())
	list := mustAuthhook(t, "keys", "list", "--database-url", url)
	for i := range number {
		assert.Contains(t, list, fmt.Sprintf(" n%d ", i))
	}
	assert.Equal(t, 1+number, strings.Count(list, "\n"))
}

// What keeps a command from a service is said in one message that says what to do, and never with the key.
func TestWhatKeepsACommandFromAService(t *testing.T) {
	const key = "ahk_SECRETSECRETSECRETSECRET26"
	s := serveForTest(t, "--database-url", emptyDatabase(t), "--admin-token", adminToken)
	answers := func(status int, contentType, text string) string {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			if status/100 == 3 {
				w.Header().Set("Location", "https://hook.example.com"+r.URL.Path)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}))
		t.Cleanup(other.Close)
		return other.URL
	}
	problem := func(status int, kind, more string) string {
		return answers(status, "application/problem+json", fmt.Sprintf(`{"type":"urn:authhook:problem:%s","title":"x","status":%d%s}`, kind, status, more))
	}
	for _, test := range []struct {
		name, server string
		code         int
		says         []string
	}{
		{"a wrong key", s.url, exitUsage, []string{"the key of --api-key (AUTHHOOK_API_KEY) is not good", s.url, "authhook keys add"}},
		{"nobody", nobodyThere(t), exitError, []string{"is 'authhook serve' running there?"}},
		{"no URL", "127.0.0.1:4280", exitUsage, []string{"--server", "http://127.0.0.1:4280"}},
		{"a password in it", "http://alice:hunter2@127.0.0.1:4280", exitUsage, []string{"--server", "--api-key-file"}},
		{"a query in it", "http://127.0.0.1:4280?key=hunter2", exitUsage, []string{"--server"}},
		{"a page", answers(200, "text/html", "<p>hello"), exitError, []string{"no authhook", "200 OK, text/html"}},
		{"other JSON", answers(200, "application/json", "{}"), exitError, []string{"no authhook"}},
		{"a proxy", answers(502, "text/html", "<p>hunter2"), exitError, []string{"no authhook, or cannot reach it", "502 Bad Gateway"}},
		{"another place", answers(301, "text/html", ""), exitError, []string{"https://hook.example.com", "--server"}},
		{"no path of it", answers(404, "text/plain", "no page"), exitError, []string{"404 Not Found"}},
		{"its database is away", problem(503, "unavailable", `,"detail":"the database does not answer"`), exitError, []string{"the database does not answer", "http://"}},
		{"a fault", problem(500, "internal", ""), exitError, []string{"the service at http://"}},
		{"too many guesses", problem(429, "slow-down", `,"detail":"too many wrong keys"`), exitError, []string{"too many wrong keys"}},
		{"fields", problem(422, "impossible", `,"errors":[{"field":"a","problem":"is b","line":3},{"field":"c","problem":"is d"}]`), exitUsage,
			[]string{"line 3: a is b\nc is d"}},
		{"a conflict", problem(409, "conflict", `,"detail":"it exists"`), exitUsage, []string{"it exists"}},
		{"half a problem", answers(500, "application/problem+json", "{"), exitError, []string{"cannot be read"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, command := range [][]string{{"keys", "add", "x", "--role", "read"}, {"keys", "list"}, {"apply", "-f", exampleCatalog},
				{"explain", "--stream", "movie", "--address", "192.0.2.1"}, {"token", "alice"}} {
				out, errOut, code := authhook(t, append(command, "--server", test.server, "--api-key", key)...)
				assert.Equal(t, test.code, code, errOut)
				for _, words := range test.says {
					assert.Contains(t, errOut, words)
				}
				assert.NotContains(t, out+errOut, "SECRET")
				assert.NotContains(t, out+errOut, "hunter2")
			}
		})
	}
}

func TestSettingsOfAServiceThatCannotBe(t *testing.T) {
	example, err := filepath.Abs(exampleCatalog)
	require.NoError(t, err)
	t.Chdir(t.TempDir()) // where the default database would be
	db := emptyDatabase(t)
	const url = "http://127.0.0.1:4280"
	for _, test := range []struct {
		says string
		args []string
	}{
		{"--server needs a key", []string{"--server", url}},
		{"--api-key", []string{"--server", url, "--api-key", "hunter2 x"}},
		{"--api-key", []string{"--server", url, "--api-key", "hunter2\nx"}},
		{"--api-key-file", []string{"--server", url, "--api-key-file", write(t, "key", "hunter2 x\n")}},
		{"--api-key-file", []string{"--server", url, "--api-key-file", "/nosuch"}},
		{"--api-key and --api-key-file", []string{"--server", url, "--api-key", "hunter2", "--api-key-file", write(t, "key", "x")}},
		{"--server and --database-url are both set", []string{"--server", url, "--api-key", "hunter2", "--database-url", db}},
		{"--server and --database-url-file are both set", []string{"--server", url, "--api-key", "hunter2", "--database-url-file", write(t, "url", db)}},
		{"--api-key is for --server", []string{"--api-key", "hunter2", "--database-url", db}},
		{"--api-key-file is for --server", []string{"--api-key-file", write(t, "key", "hunter2")}},
	} {
		for _, command := range [][]string{
			{"token", "alice"}, {"apply", "-f", example}, {"explain", "--stream", "movie", "--address", "192.0.2.1"},
			{"keys", "list"}, {"keys", "add", "x", "--role", "read"}, {"keys", "withdraw", "x"},
		} {
			_, errOut, code := authhook(t, append(command, test.args...)...)
			assert.Equal(t, exitUsage, code, "%q", test.args)
			assert.Contains(t, errOut, test.says)
			assert.NotContains(t, errOut, "hunter2")
		}
	}
	assert.NoFileExists(t, strings.TrimPrefix(db, "sqlite:"))
	assert.NoFileExists(t, "authhook.db")

	_, errOut, code := authhook(t, "token", "alice", "--jwt", "--server", url, "--api-key", "x")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errOut, "--key-file")
	_, errOut, code = authhook(t, "token", "..", "--create", "--server", url, "--api-key", "x")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errOut, "user cannot be ..", "before anything is asked: the path would be another")
	for _, command := range []string{"token", "apply", "explain"} {
		help := mustAuthhook(t, command, "--help")
		for _, name := range []string{"SERVER", "API_KEY", "API_KEY_FILE", "DATABASE_URL"} {
			assert.Contains(t, help, "$AUTHHOOK_"+name)
		}
	}
	// A settings file is for every command: there, a server goes before a database.
	config := write(t, "authhook.yaml", "database-url: "+db+"\nserver: "+nobodyThere(t)+"\napi-key: hunter2\n")
	_, errOut, code = authhook(t, "keys", "list", "--config", config)
	assert.Equal(t, exitError, code)
	assert.Contains(t, errOut, "nobody answers")
}

// slow is an error as those of a connection whose time is over.
type slow struct{ error }

func (slow) Timeout() bool   { return true }
func (slow) Temporary() bool { return true }

func TestWhyAServiceWasNotReached(t *testing.T) {
	f := &serviceFlags{Server: "http://h"}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		err  error
		says string
	}{
		{&url.Error{Op: "Get", URL: "http://h/api", Err: syscall.ECONNREFUSED}, "nobody answers at http://h: is 'authhook serve' running there?"},
		{&net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}, "--server http://h: there is no host h"},
		{&url.Error{Op: "Get", URL: "http://h/api", Err: slow{errors.New("x")}}, "no answer from http://h within 30s: whether it was done is not known"},
		{&url.Error{Op: "Get", URL: "http://h/api", Err: errors.New("a bad certificate")}, "http://h cannot be asked: a bad certificate"},
		{&client.AnswerError{Status: "302 Found", Location: "/login"}, "http://h sends callers on to /login: give --server as it is there"},
	} {
		assert.EqualError(t, f.unreached(t.Context(), test.err), test.says)
		assert.ErrorIs(t, f.unreached(gone, test.err), context.Canceled)
	}
}

// A database that fails says so in its own words, to who works on it.
func TestADatabaseSaysWhatItLacks(t *testing.T) {
	url := emptyDatabase(t)
	require.NoError(t, os.WriteFile(strings.TrimPrefix(url, "sqlite:"), nil, 0o600))
	for _, command := range [][]string{{"token", "alice"}, {"explain", "--stream", "movie", "--address", "192.0.2.1"}} {
		_, errOut, code := authhook(t, append(command, "--database-url", url)...)
		assert.Equal(t, exitError, code)
		assert.Contains(t, errOut, "authhook migrate")
	}
	mustAuthhook(t, "migrate", "--database-url", url)
	_, errOut, code := authhook(t, "explain", "--stream", "movie", "--address", "192.0.2.1", "--database-url", url)
	assert.Equal(t, exitError, code)
	assert.Contains(t, errOut, "authhook apply")
}

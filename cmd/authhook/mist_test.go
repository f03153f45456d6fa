package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/mist/guard"
	"authhook/internal/mist/misttest"
)

// mistKey is a trigger key, and nothing may show it.
const mistKey = "s3cret-trigger-key-0123456789"

// standIn is a MistServer, twenty times as fast as a real one.
func standIn(t *testing.T, o misttest.Options) *misttest.Server {
	t.Helper()
	if o.Timing == (misttest.Timing{}) {
		o.Timing = misttest.MeasuredTiming().Scaled(0.05)
	}
	s, err := misttest.Start(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// reach waits until a player is in a state.
func reach(t *testing.T, p *misttest.Player, wanted misttest.State) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, p.Wait(ctx, wanted))
}

// others are entries of somebody else, in types of ours and in others.
func others() map[string][]misttest.Trigger {
	return map[string][]misttest.Trigger{
		"USER_NEW":   {{Handler: "http://stats.example/hook?k=s3cret", Sync: true, Default: "true", Streams: []string{"movie"}}},
		"STREAM_END": {{Handler: "/opt/notify", Streams: []string{}}},
	}
}

// installed are the entries that install writes by default.
func installed(handler string) map[string][]misttest.Trigger {
	gate := misttest.Trigger{Handler: handler, Sync: true, Default: "false"}
	return map[string][]misttest.Trigger{
		"USER_NEW": {gate}, "CONN_PLAY": {gate}, "STREAM_PUSH": {gate}, "USER_END": {{Handler: handler}},
	}
}

// entriesOf are the triggers of a server, with no list and an empty one alike.
func entriesOf(s *misttest.Server) map[string][]misttest.Trigger {
	all := s.Triggers()
	for _, list := range all {
		for i := range list {
			if len(list[i].Streams) == 0 {
				list[i].Streams = nil
			}
		}
	}
	return all
}

// calls are the kinds of calls that came over a way.
func calls(s *misttest.Server, over string) []string {
	var kinds []string
	for _, c := range s.Commands() {
		if c.Over == over {
			kinds = append(kinds, c.Kind)
		}
	}
	return kinds
}

// noServe is the URL of a handler at which nobody answers.
func noServe(t *testing.T) string { return nobodyThere(t) + "/trigger" }

func TestMistInstall(t *testing.T) {
	handler := noServe(t)
	for _, over := range []string{"udp", "http"} {
		t.Run(over, func(t *testing.T) {
			s := standIn(t, misttest.Options{})
			s.SetTriggers(others())
			install := func(more ...string) string {
				return mustAuthhook(t, append([]string{"mist", "install", "--mist", over + "://" + s.Addr(), "--handler", handler, "--trigger-key", mistKey}, more...)...)
			}
			want := installed(handler + "/" + mistKey)
			want["USER_NEW"] = append(others()["USER_NEW"], want["USER_NEW"]...)
			want["STREAM_END"] = []misttest.Trigger{{Handler: "/opt/notify"}}

			out := install("--dry-run")
			assert.Equal(t, 4, strings.Count(out, "would be added"), out)
			assert.NotContains(t, out, "done")
			assert.Equal(t, others(), s.Triggers(), "nothing was written")

			out = install()
			assert.Equal(t, want, entriesOf(s))
			assert.Equal(t, 4, strings.Count(out, "  added "), out)
			assert.Contains(t, out, "left alone  USER_NEW     http://stats.example/hook?…")
			assert.Contains(t, out, "done, and saved\n")
			assert.Contains(t, out, "mind: nobody answers at "+handler+"/…")
			assert.Contains(t, calls(s, over), "save")
			other := map[string]string{"udp": "http", "http": "udp"}[over]
			assert.Empty(t, calls(s, other), "it went the way that was named")

			before := len(s.Commands())
			out = install()
			assert.Equal(t, want, entriesOf(s))
			assert.Equal(t, 4, strings.Count(out, "  unchanged "), out)
			assert.Contains(t, out, "nothing was changed\n")
			for _, c := range s.Commands()[before:] {
				assert.NotEqual(t, "save", c.Kind)
			}

			out = mustAuthhook(t, "mist", "install", "--mist", over+"://"+s.Addr(), "--handler", handler, "--trigger-key", "another-"+mistKey, "--no-save")
			assert.Equal(t, 4, strings.Count(out, "  changed "), out)
			assert.Contains(t, out, "(was another key or none)")
			assert.Contains(t, out, "done, and not saved")
			for _, c := range s.Commands()[before:] {
				assert.NotEqual(t, "save", c.Kind)
			}
			assert.Len(t, entriesOf(s)["USER_NEW"], 2, "the entry with the old key would deny everybody")

			out = install("--triggers", "user_new,PUSH_REWRITE", "--stream", "live,#paid")
			assert.Contains(t, out, "removed")
			assert.Contains(t, out, "mind: STREAM_PUSH asks nobody any more")
			assert.Contains(t, out, "whatever streams are listed")
			assert.Equal(t, []string{"live", "#paid"}, entriesOf(s)["USER_NEW"][1].Streams)
			assert.Nil(t, entriesOf(s)["PUSH_REWRITE"][0].Streams)
			assert.NotContains(t, entriesOf(s), "CONN_PLAY")

			out = install("--executable", "/usr/local/bin/authhook-trigger", "--replace", handler)
			assert.Contains(t, out, "/usr/local/bin/authhook-trigger")
			want = installed("/usr/local/bin/authhook-trigger")
			want["USER_NEW"] = append(others()["USER_NEW"], want["USER_NEW"]...)
			want["STREAM_END"] = []misttest.Trigger{{Handler: "/opt/notify"}}
			assert.Equal(t, want, entriesOf(s))

			out = mustAuthhook(t, "mist", "uninstall", "--mist", over+"://"+s.Addr(), "--handler", handler, "--dry-run", "--replace", "/usr/local/bin/authhook-trigger")
			assert.Contains(t, out, "would be removed")
			assert.Equal(t, want, entriesOf(s))
			out = mustAuthhook(t, "mist", "uninstall", "--mist", over+"://"+s.Addr(), "--executable", "/usr/local/bin/authhook-trigger")
			assert.Contains(t, out, "mind: STREAM_PUSH asks nobody any more")
			assert.NotContains(t, out, "mind: USER_NEW", "somebody else is asked still")
			assert.Equal(t, map[string][]misttest.Trigger{"USER_NEW": others()["USER_NEW"], "STREAM_END": {{Handler: "/opt/notify"}}}, entriesOf(s))
			assert.Contains(t, mustAuthhook(t, "mist", "uninstall", "--mist", over+"://"+s.Addr()), "no entry of authhook's is there")
			assert.False(t, s.Corrupted())
		})
	}
}

// What is installed does what it is for: a real service is asked, and while it is away nobody gets in.
func TestMistInstallGuards(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(key, []byte(mistKey+"\n"), 0o600))
	serve := serveForTest(t, "--database-url", emptyDatabase(t), "--catalog", exampleCatalog, "--trigger-key-file", key)
	s := standIn(t, misttest.Options{Name: "edge-1"})
	server := []string{"--mist", s.UDPURL()}
	doctor := func() (string, int) {
		out, _, code := authhook(t, append([]string{"mist", "doctor"}, server...)...)
		assert.NotContains(t, out, "s3cret")
		return out, code
	}
	out, code := doctor()
	assert.Equal(t, exitError, code)
	assert.Contains(t, out, "no-gate")

	install := append([]string{"mist", "install", "--handler", serve.url + "/trigger"}, server...)
	out = mustAuthhook(t, append(install, "--trigger-key", "not-the-"+mistKey)...)
	assert.Contains(t, out, "mind: authhook at "+serve.url+"/trigger/… refuses the trigger key")
	out, code = doctor()
	assert.Equal(t, exitError, code)
	assert.Contains(t, out, "handler-key")

	out = mustAuthhook(t, append(install, "--trigger-key-file", key)...)
	assert.NotContains(t, out, "mind:")
	out, code = doctor()
	assert.Equal(t, exitOK, code, out)
	assert.Contains(t, out, ": all well\n")
	_, metrics := serve.get(t, "/metrics")
	assert.NotRegexp(t, `(?m)^authhook_decisions_total.* [1-9]`, metrics, "the doctor had nothing decided")

	let := s.Connect(misttest.Viewer{Stream: "extra", Token: "yan"})
	reach(t, let, misttest.Watching)
	denied := s.Connect(misttest.Viewer{Stream: "movie", Token: "yan"})
	reach(t, denied, misttest.Denied)

	assert.Zero(t, serve.stop(), serve.log.String())
	late := s.Connect(misttest.Viewer{Stream: "extra", Token: "late"})
	reach(t, late, misttest.Denied)
	out, code = doctor()
	assert.Equal(t, exitError, code)
	assert.Contains(t, out, "handler-away")
}

// What does not fit a datagram goes over HTTP: 200 streams, and the entries that somebody has for them.
func TestMistInstallWithManyStreams(t *testing.T) {
	handler := noServe(t)
	s := standIn(t, misttest.Options{})
	many := map[string][]misttest.Trigger{}
	for i := range 200 {
		name := fmt.Sprintf("channel-%03d", i)
		s.AddStream(name)
		many["STREAM_BUFFER"] = append(many["STREAM_BUFFER"], misttest.Trigger{Handler: "/opt/notify", Streams: []string{name}})
	}
	s.SetTriggers(many)
	args := []string{"mist", "install", "--mist", s.UDPURL(), "--handler", handler}
	_, errOut, code := authhook(t, append(args, "--mist-lists", "none")...)
	assert.Equal(t, exitError, code)
	assert.Contains(t, errOut, "--mist-lists")
	assert.Equal(t, many, s.Triggers())

	mustAuthhook(t, args...)
	want := installed(handler)
	want["STREAM_BUFFER"] = many["STREAM_BUFFER"]
	assert.Equal(t, want, entriesOf(s))
	assert.Contains(t, calls(s, "http"), "config")
	assert.False(t, s.Corrupted())

	out := mustAuthhook(t, "mist", "install", "--mist", s.UDPURL(), "--handler", handler, "--stream", "channel-000,channel-001")
	assert.Contains(t, out, "streams channel-000 channel-001")
	out, _, code = authhook(t, "mist", "doctor", "--mist", s.UDPURL())
	assert.Equal(t, exitError, code)
	assert.Contains(t, out, "leaves out channel-002, channel-003, channel-004, channel-005, channel-006 and 193 more")
}

func TestMistInstallWithLogin(t *testing.T) {
	handler := noServe(t)
	s := standIn(t, misttest.Options{Username: "op", Password: "s3cret"})
	with := func(user string) string { return "http://" + user + s.Addr() }
	for _, user := range []string{"", "op:s3cret-no@"} {
		out, errOut, code := authhook(t, "mist", "install", "--mist", with(user), "--handler", handler)
		assert.Equal(t, exitError, code)
		assert.Contains(t, errOut, "give user and password in --mist")
		assert.NotContains(t, out+errOut, "s3cret")
	}
	file := filepath.Join(t.TempDir(), "mist")
	require.NoError(t, os.WriteFile(file, []byte(with("op:s3cret@")), 0o600))
	out := mustAuthhook(t, "mist", "install", "--mist-file", file, "--handler", handler)
	assert.NotContains(t, out, "s3cret")
	assert.Equal(t, installed(handler), entriesOf(s))

	s.SetTriggers(nil)
	mustAuthhook(t, "mist", "install", "--mist", s.UDPURL(), "--handler", handler)
	assert.Equal(t, installed(handler), entriesOf(s), "over UDP there is no login")
	out, _, _ = authhook(t, "mist", "doctor", "--mist", s.UDPURL())
	assert.Contains(t, out, "api-http", "and long lists would need one")
	out, _, _ = authhook(t, "mist", "doctor", "--mist", s.UDPURL(), "--mist-lists", with("op:s3cret@"))
	assert.NotContains(t, out, "api-http")
	assert.NotContains(t, out, "s3cret")
}

func TestMistInstallWatches(t *testing.T) {
	s := standIn(t, misttest.Options{})
	handler := noServe(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, code := newOutput(), make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"mist", "install", "--watch", "--every", "10ms", "--mist", "edge-1=" + s.HTTPURL(), "--handler", handler, "--trigger-key", mistKey}, out, out)
	}()
	out.find(t, `(edge-1 \(http://\S+\) is watched, every 10ms)`)
	want := installed(handler + "/" + mistKey)
	assert.Equal(t, want, entriesOf(s))

	changed := installed(handler + "/" + mistKey)
	delete(changed, "CONN_PLAY")
	changed["USER_NEW"][0].Default = "true"
	s.SetTriggers(changed)
	out.find(t, `(?m)^\S+Z edge-1 \(http://\S+\): (put back USER_NEW, CONN_PLAY)$`)
	assert.Equal(t, want, entriesOf(s))

	s.Kill()
	out.find(t, `(cannot be looked after, will try again: .*is MistServer running there)`)
	s.SetTriggers(nil)
	require.NoError(t, s.Revive())
	out.find(t, `(?s)(answers again.*put back USER_NEW, CONN_PLAY, STREAM_PUSH, USER_END)`)
	assert.Equal(t, want, entriesOf(s))
	stop()
	assert.Zero(t, <-code)
	assert.Equal(t, 1, strings.Count(out.String(), "will try again"), "told once")
	assert.NotContains(t, out.String(), "s3cret")
}

// dressed is the server's API over HTTP, with what a real one says and the stand-in does not.
func dressed(t *testing.T, s *misttest.Server, dress func(calls, reply map[string]json.RawMessage)) string {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer, err := http.Post(s.HTTPURL()+r.URL.Path, r.Header.Get("Content-Type"), bytes.NewReader(body))
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer func() { _ = answer.Body.Close() }()
		var calls, reply map[string]json.RawMessage
		_ = json.Unmarshal(body, &calls)
		_ = json.NewDecoder(answer.Body).Decode(&reply)
		dress(calls, reply)
		_ = json.NewEncoder(w).Encode(reply)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

type found struct {
	Name, URL string
	Findings  []struct{ Severity, Code, What, Remedy string }
}

// doctorJSON is what the doctor finds, as codes.
func doctorJSON(t *testing.T, args ...string) (codes [][]string, text string, exit int) {
	t.Helper()
	out, _, exit := authhook(t, append([]string{"mist", "doctor", "--json"}, args...)...)
	var all []found
	require.NoError(t, json.Unmarshal([]byte(out), &all), out)
	for _, one := range all {
		list := []string{}
		for _, f := range one.Findings {
			list = append(list, f.Severity+" "+f.Code)
		}
		codes = append(codes, list)
	}
	return codes, out, exit
}

func TestMistDoctor(t *testing.T) {
	serve := serveForTest(t, "--database-url", emptyDatabase(t), "--catalog", exampleCatalog)
	s := standIn(t, misttest.Options{Name: "edge-1"})
	mustAuthhook(t, "mist", "install", "--mist", s.UDPURL(), "--handler", serve.url+"/trigger")
	codes, _, exit := doctorJSON(t, "--mist", "edge-1="+s.UDPURL())
	assert.Equal(t, [][]string{{}}, codes)
	assert.Zero(t, exit)

	entries := s.Triggers()
	entries["USER_NEW"][0].Streams = []string{"live"}
	entries["STREAM_PUSH"][0].Default = ""
	s.SetTriggers(entries)
	url := dressed(t, s, func(calls, reply map[string]json.RawMessage) {
		if calls["config_backup"] != nil {
			reply["config_backup"] = json.RawMessage(`{"account":{"op":{"password":"s3cret"}},"streams":{"live":{"source":"push://s3cret"},"movie":{"source":"/m.mp4"}}}`)
		}
		if calls["jwks"] != nil {
			reply["jwks"] = json.RawMessage(`[[{"kty":"oct","k":"s3cret"},{"input":false,"output":true}]]`)
			reply["streamkeys"] = json.RawMessage(`{"s3cret":"live"}`)
		}
		var config map[string]json.RawMessage
		if json.Unmarshal(reply["config"], &config) == nil && config != nil {
			config["time"] = json.RawMessage(fmt.Sprint(time.Now().Add(time.Hour).Unix()))
			config["sessionViewerMode"] = json.RawMessage("12")
			reply["config"], _ = json.Marshal(config)
		}
	})
	want := []string{"wrong fail-open", "wrong unguarded", "wrong jwk", "wrong stream-key", "wrong session-mode", "wrong server-name", "wrong clock", "note list"}
	codes, text, exit := doctorJSON(t, "--mist", "edge-9="+url)
	assert.Equal(t, [][]string{want}, codes)
	assert.Equal(t, exitError, exit)
	assert.Contains(t, text, "leaves out movie")
	assert.NotContains(t, text, "s3cret")

	out, errOut, exit := authhook(t, "mist", "doctor", "--mist", "edge-9="+url)
	assert.Equal(t, exitError, exit)
	assert.Contains(t, errOut, "something is wrong with edge-9")
	assert.Contains(t, out, "edge-9 ("+url+"): 7 wrong, 1 note\n")
	assert.Contains(t, out, "\n  WRONG    fail-open\n           STREAM_PUSH has no default")
	assert.Contains(t, out, "\n           → authhook mist install")
	assert.NotContains(t, out, "s3cret")

	codes, _, exit = doctorJSON(t, "--mist", "edge-9="+url, "--ignore", "fail-open,unguarded,jwk,stream-key,session-mode,server-name,clock")
	assert.Equal(t, [][]string{{"note list"}}, codes)
	assert.Zero(t, exit, "a note is nothing wrong")
}

func TestMistDoctorOfSeveral(t *testing.T) {
	one, two := standIn(t, misttest.Options{Name: "edge"}), standIn(t, misttest.Options{Name: "edge"})
	three := standIn(t, misttest.Options{})
	handler := "/usr/local/bin/authhook-trigger"
	servers := "a=" + one.UDPURL() + ",b=" + two.UDPURL() + ",c=" + three.UDPURL()
	mustAuthhook(t, "mist", "install", "--mist", servers, "--executable", handler)
	assert.Equal(t, installed(handler), entriesOf(three))
	three.Kill()
	codes, _, exit := doctorJSON(t, "--mist", servers)
	assert.Equal(t, [][]string{
		{"wrong server-name", "wrong server-name", "warning handler-program"},
		{"wrong server-name", "wrong server-name", "warning handler-program"},
		{"wrong api-udp", "wrong api-http"},
	}, codes)
	assert.Equal(t, exitError, exit)

	// One way is enough to say what is wrong with the other, and with the rest.
	codes, _, _ = doctorJSON(t, "--mist", "edge="+three.UDPURL(), "--mist-lists", "edge="+one.HTTPURL())
	assert.Equal(t, [][]string{{"wrong api-udp", "warning handler-program"}}, codes)

	out, errOut, exit := authhook(t, "mist", "install", "--mist", "c="+three.HTTPURL()+",a="+one.UDPURL(), "--executable", handler)
	assert.Equal(t, exitError, exit)
	assert.Contains(t, errOut, "is MistServer running there?")
	assert.Contains(t, out, "nothing was changed", "the others are seen to all the same")
}

// watching has a viewer of each, listed.
func watching(t *testing.T, s *misttest.Server, viewers ...misttest.Viewer) []*misttest.Player {
	t.Helper()
	players := make([]*misttest.Player, len(viewers))
	for i, v := range viewers {
		players[i] = s.Connect(v)
		reach(t, players[i], misttest.Watching)
	}
	require.Eventually(t, func() bool {
		out := mustAuthhook(t, "mist", "sessions", "--mist", s.UDPURL(), "--full")
		return !slices.ContainsFunc(players, func(p *misttest.Player) bool { return !strings.Contains(out, p.SessionID()) })
	}, 20*time.Second, 20*time.Millisecond)
	return players
}

func TestMistSessions(t *testing.T) {
	one, two := standIn(t, misttest.Options{Name: "edge-1"}), standIn(t, misttest.Options{})
	one.AddStream("live+a")
	p := watching(t, one,
		misttest.Viewer{Stream: "live+a", Token: "s3cret", Address: netip.MustParseAddr("203.0.113.9")},
		misttest.Viewer{Stream: "live+\x1b[2J", Token: "s3cret", Connector: "MP4"},
		misttest.Viewer{Stream: "liver", Token: "s3cret"},
	)
	q := watching(t, two, misttest.Viewer{Stream: "live", Token: "s3cret"})[0]
	both := []string{"mist", "sessions", "--mist", "a=" + one.UDPURL() + ",b=" + two.HTTPURL()}

	out := mustAuthhook(t, both...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 5, out)
	assert.Regexp(t, `^node +session +stream +address +connector$`, lines[0])
	assert.Regexp(t, `(?m)^a +`+p[0].SessionID()[:8]+` +live\+a +203\.0\.113\.9 +HLS$`, out)
	assert.Contains(t, out, `"live+\x1b[2J"`)
	assert.NotContains(t, out, "\x1b")
	assert.NotContains(t, out, p[0].SessionID())
	assert.NotContains(t, out, "s3cret")

	out = mustAuthhook(t, append(both, "--stream", "live", "--full")...)
	assert.Contains(t, out, p[0].SessionID())
	assert.Contains(t, out, q.SessionID())
	assert.NotContains(t, out, p[2].SessionID())
	out = mustAuthhook(t, append(both, "--node", "b", "--full")...)
	assert.Contains(t, out, q.SessionID())
	assert.NotContains(t, out, p[0].SessionID())
	out = mustAuthhook(t, append(both, "--all")...)
	assert.Contains(t, out, "INPUT:MP4")
	assert.Regexp(t, `(?m) I[0-9a-f]{8} `, out)

	var list []map[string]string
	require.NoError(t, json.Unmarshal([]byte(mustAuthhook(t, "mist", "sessions", "--json", "--mist", two.UDPURL())), &list))
	assert.Equal(t, []map[string]string{{"node": "mist", "session": q.SessionID(), "stream": "live", "address": "127.0.0.1", "connector": "HLS"}}, list)
	require.NoError(t, json.Unmarshal([]byte(mustAuthhook(t, "mist", "sessions", "--json", "--mist", one.UDPURL(), "--node", "edge-1", "--stream", "none")), &list))
	assert.Empty(t, list)

	_, errOut, code := authhook(t, append(both, "--node", "c")...)
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errOut, `"c"`)
	one.Kill()
	out, errOut, code = authhook(t, "mist", "sessions", "--mist", "a="+one.HTTPURL()+",b="+two.UDPURL(), "--full")
	assert.Equal(t, exitError, code)
	assert.Contains(t, errOut, "running")
	assert.Contains(t, out, q.SessionID(), "what can be listed is")
}

// With a service, it is said whose the sessions are.
func TestMistSessionsOfAService(t *testing.T) {
	db := emptyDatabase(t)
	serve := serveForTest(t, "--database-url", db, "--catalog", exampleCatalog, "--admin-token", adminToken)
	key := strings.TrimSpace(mustAuthhook(t, "token", "alice", "--create", "--plan", "gold", "--for", "1h", "--database-url", db))
	s := standIn(t, misttest.Options{})
	unknown := watching(t, s, misttest.Viewer{Stream: "movie", Token: "before"})[0]
	mustAuthhook(t, "mist", "install", "--mist", s.UDPURL(), "--handler", serve.url+"/trigger")
	p := watching(t, s, misttest.Viewer{Stream: "movie", Token: key})[0]
	sessions := func(more ...string) (string, string, int) {
		return authhook(t, append([]string{"mist", "sessions", "--mist", s.UDPURL(), "--server", serve.url}, more...)...)
	}
	var out string
	require.Eventually(t, func() bool {
		out, _, _ = sessions("--api-key", adminToken)
		return strings.Contains(out, "alice")
	}, 20*time.Second, 20*time.Millisecond, "sessions are written in batches")
	assert.Regexp(t, `(?m)^node .* connector +user +reason +plan$`, out)
	assert.Regexp(t, `(?m)^mist +`+p.SessionID()[:8]+` .* alice +entitled +gold$`, out)
	assert.Regexp(t, `(?m)^mist +`+unknown.SessionID()[:8]+` .* - +unknown +-$`, out)
	out, _, _ = sessions("--api-key", adminToken, "--json")
	assert.Contains(t, out, `"user": "alice"`)

	out, errOut, code := sessions("--api-key", "not-"+adminToken)
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errOut, "--api-key")
	assert.Contains(t, out, p.SessionID()[:8], "what MistServer says is listed all the same")
	assert.NotContains(t, out+errOut, adminToken)
	assert.Zero(t, serve.stop(), serve.log.String())
	_, errOut, code = sessions("--api-key", adminToken)
	assert.Equal(t, exitError, code)
	assert.Contains(t, errOut, "authhook serve")
}

func TestMistEnd(t *testing.T) {
	s := standIn(t, misttest.Options{})
	p := watching(t, s,
		misttest.Viewer{Stream: "movie", Token: "one", Connector: "MP4"},
		misttest.Viewer{Stream: "movie", Token: "two", Connector: "MP4"},
		misttest.Viewer{Stream: "movie", Token: "three", Connector: "MP4"},
	)
	end := func(args ...string) (string, string, int) {
		return authhook(t, append([]string{"mist", "end", "--mist", s.UDPURL(), "--look", "100ms"}, args...)...)
	}
	out, errOut, code := end(p[0].SessionID()[:8], p[1].SessionID())
	assert.Zero(t, code, errOut)
	assert.Contains(t, out, p[0].SessionID()[:8]+"  movie  127.0.0.1  ended\n")
	assert.Contains(t, out, p[1].SessionID()[:8]+"  movie  127.0.0.1  ended\n")
	assert.Contains(t, out, "may come back")
	assert.Equal(t, misttest.Ended, p[0].State())
	assert.Equal(t, misttest.Ended, p[1].State())
	assert.Equal(t, misttest.Watching, p[2].State())

	for _, test := range []struct {
		says string
		args []string
	}{
		{"4 digits", []string{"abc"}},
		{"is not listed", []string{"zzzz"}},
		{"is not listed", []string{p[0].SessionID()[:8], p[2].SessionID()}},
		{"--wait", []string{"--wait", "0s", p[2].SessionID()}},
		{`--node "x"`, []string{"--node", "x", p[2].SessionID()}},
	} {
		_, errOut, code = end(test.args...)
		assert.Equal(t, exitUsage, code, errOut)
		assert.Contains(t, errOut, test.says)
	}
	assert.Equal(t, misttest.Watching, p[2].State(), "nothing was ended by what was refused")
}

func TestMistEndNeedsOneSession(t *testing.T) {
	c := &mistEndCommand{Session: []string{"aaaa"}}
	m := make([]mistServer, 2)
	one := func(id string, at *mistServer) listedSession {
		return listedSession{Session: id, Stream: "movie", Address: "192.0.2.1", at: at}
	}
	a, b := strings.Repeat("a", 64), strings.Repeat("a", 63)+"b"
	_, err := c.choose([]listedSession{one(a, &m[0]), one(b, &m[0])}, m)
	require.ErrorContains(t, err, "is not one: aaaaaaaaaaaaaaaa (movie, 192.0.2.1)")
	chosen, err := c.choose([]listedSession{one(a, &m[0]), one(a, &m[1])}, m)
	require.NoError(t, err)
	require.Len(t, chosen, 2, "the same viewer at two MistServers")
	c.Session = []string{b[:63] + "b", b, "aaaaaaaa"}
	_, err = c.choose([]listedSession{one(a, &m[0]), one(b, &m[0])}, m)
	require.Error(t, err)
	c.Session = []string{b, b}
	chosen, err = c.choose([]listedSession{one(a, &m[0]), one(b, &m[0])}, m)
	require.NoError(t, err)
	require.Len(t, chosen, 1)
}

// At a real server's pace: the list lags, and a player that comes back is seen to.
func TestMistEndOfOneWhoComesBack(t *testing.T) {
	s := standIn(t, misttest.Options{Timing: misttest.MeasuredTiming()})
	p := watching(t, s, misttest.Viewer{Stream: "movie", Token: "one", Connector: "MP4", Reconnect: 100 * time.Millisecond})[0]
	out, errOut, code := authhook(t, "mist", "end", "--mist", s.UDPURL(), p.SessionID()[:12])
	assert.Equal(t, exitError, code)
	assert.Contains(t, out, "its player came back")
	assert.Contains(t, errOut, "take the right away first")
}

// A denial that is remembered is in no list, and is lifted by the whole id.
func TestMistEndLiftsADenial(t *testing.T) {
	s := standIn(t, misttest.Options{})
	s.SetTriggers(map[string][]misttest.Trigger{"USER_NEW": {{Sync: true, Default: guard.Deny}}})
	p := s.Connect(misttest.Viewer{Stream: "movie", Token: "one", Connector: "MP4"})
	reach(t, p, misttest.Denied)
	out := mustAuthhook(t, "mist", "end", "--mist", s.UDPURL(), "--look", "200ms", p.SessionID())
	assert.Contains(t, out, "is not listed; if MistServer remembered a denial of it, that is lifted")
	assert.Empty(t, s.Sessions())
}

func TestMistSettingsAreNamedAndChangeNothing(t *testing.T) {
	s := standIn(t, misttest.Options{})
	long := make([]string, 30)
	for i := range long {
		long[i] = fmt.Sprintf("channel-%03d", i)
	}
	install := []string{"mist", "install", "--mist", s.UDPURL()}
	for _, test := range []struct {
		name, says string
		args       []string
	}{
		{"no MistServer", "--mist", []string{"mist", "install", "--mist", "none"}},
		{"no URL", "--mist", []string{"mist", "sessions", "--mist", "op:s3cret@host"}},
		{"several without names", "--mist", []string{"mist", "doctor", "--mist", s.UDPURL() + "," + s.HTTPURL()}},
		{"too many streams", "as name what stands before a +", append(install, "--stream", strings.Join(long, ","))},
		{"a stream with a star", `"live"`, append(install, "--stream", "live+*")},
		{"no such type", "USER_NEW", append(install, "--triggers", "USER_NEWS")},
		{"no URL for the handler", "--handler", append(install, "--handler", "/opt/authhook-trigger")},
		{"not a trigger URL", "/trigger", append(install, "--handler", "http://127.0.0.1:4280")},
		{"the key in the handler", "--trigger-key", append(install, "--handler", "http://127.0.0.1:4280/trigger/s3cret-0123456789")},
		{"a password in the handler", "--trigger-key", append(install, "--handler", "http://op:s3cret@127.0.0.1:4280/trigger")},
		{"a handler too long", "127", append(install, "--handler", "http://"+strings.Repeat("h", 120)+"/trigger")},
		{"a short key", "--trigger-key", append(install, "--trigger-key", "s3cret")},
		{"a key that a URL would change", "--trigger-key", append(install, "--trigger-key", "s3cret-s3cret-s3cret?")},
		{"a relative program", "--executable", append(install, "--executable", "authhook-trigger")},
		{"watch and dry run", "--watch", append(install, "--watch", "--dry-run")},
		{"every", "--every", append(install, "--watch", "--every", "0s")},
		{"no session", "session", []string{"mist", "end", "--mist", s.UDPURL()}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, errOut, code := authhook(t, test.args...)
			assert.Equal(t, exitUsage, code)
			assert.Contains(t, errOut, strings.TrimPrefix(test.says, "as "))
			assert.Empty(t, out)
			assert.NotContains(t, errOut, "s3cret")
		})
	}
	assert.Empty(t, s.Commands(), "nothing was asked")
}

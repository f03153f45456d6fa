package guard

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/mist/api"
)

const secret = "s3cret-s3cret-s3cret"

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// healthy is a MistServer of which there is nothing to say.
func healthy() *Observation {
	w := Wanted{Handler: "http://127.0.0.1:4280/trigger/" + secret, Types: DefaultTypes()}
	return &Observation{
		Name: "edge-1", Local: true,
		UDP: Reach{Tried: true, Address: "udp://127.0.0.1:4242"}, HTTP: Reach{Tried: true, Address: "http://127.0.0.1:4242"},
		Config: &api.Config{
			ServerName: "edge-1", SessionMode: 14, Triggers: w.Merge(nil).Triggers,
			Streams: map[string]json.RawMessage{
				"live":  json.RawMessage(`{"source":"push://","tags":["paid"]}`),
				"movie": json.RawMessage(`{"source":"/media/movie.mp4"}`),
			},
		},
		Time: noon, Asked: noon.Add(300 * time.Millisecond), Answered: noon.Add(310 * time.Millisecond),
		Active:   []api.ActiveStream{{Name: "live+a", Tags: []string{"news"}}},
		Handlers: map[string]Tried{w.Handler: {Result: Answers}},
	}
}

// each changes every entry of a type.
func each(o *Observation, t string, change func(*api.Trigger)) {
	for i := range o.Config.Triggers[t] {
		change(&o.Config.Triggers[t][i])
	}
}

func TestDiagnose(t *testing.T) {
	ours := "http://127.0.0.1:4280/trigger/" + secret
	listed := func(o *Observation, names ...string) {
		for _, t := range []string{"USER_NEW", "STREAM_PUSH"} {
			each(o, t, func(e *api.Trigger) { e.Streams = names })
		}
	}
	for _, test := range []struct {
		name   string
		change func(*Observation)
		want   []string // "severity code", the worst first
		says   []string // in some finding
	}{
		{name: "all well", change: func(*Observation) {}},
		{"the mode is not set", func(o *Observation) { o.Config.SessionMode = -1 }, nil, nil},
		{"streams are not told", func(o *Observation) { o.Config.Streams = nil }, nil, nil},
		{"one MistServer without a name", func(o *Observation) { o.Name, o.Config.ServerName = "", "" }, nil, nil},

		{"no triggers", func(o *Observation) { o.Config.Triggers = nil },
			[]string{"wrong no-gate", "wrong no-push-gate", "warning no-user-end"}, []string{"everybody may watch", "publish to live"}},
		{"somebody else's gate", func(o *Observation) {
			each(o, "USER_NEW", func(e *api.Trigger) { e.Handler = "http://op:" + secret + "@h/x" })
		},
			[]string{"wrong no-gate"}, []string{"asks http://h/x, and not authhook"}},
		{"a gate that is named", func(o *Observation) {
			each(o, "USER_NEW", func(e *api.Trigger) { e.Handler = "/opt/wrapper" })
			o.Known = []string{"/opt/wrapper"}
		}, nil, nil},
		{"no push gate, and nothing to push to", func(o *Observation) {
			delete(o.Config.Triggers, "STREAM_PUSH")
			delete(o.Config.Streams, "live")
		}, []string{"note no-push-gate"}, nil},
		{"no push gate, and who knows", func(o *Observation) {
			delete(o.Config.Triggers, "STREAM_PUSH")
			o.Config.Streams = nil
		}, []string{"wrong no-push-gate"}, []string{"a stream that takes pushes"}},
		{"a push gate of another type", func(o *Observation) {
			o.Config.Triggers["PUSH_REWRITE"] = o.Config.Triggers["STREAM_PUSH"]
			delete(o.Config.Triggers, "STREAM_PUSH")
		}, []string{"warning no-push-gate"}, []string{"final"}},

		{"not sync", func(o *Observation) { each(o, "USER_NEW", func(e *api.Trigger) { e.Sync = false }) }, []string{"wrong not-sync"}, []string{"USER_NEW"}},
		{"USER_END need not be", func(o *Observation) { each(o, "USER_END", func(e *api.Trigger) { e.Sync = true }) }, nil, nil},
		{"no default", func(o *Observation) { each(o, "USER_NEW", func(e *api.Trigger) { e.Default = "" }) }, []string{"wrong fail-open"}, []string{"every viewer"}},
		{"default true", func(o *Observation) { each(o, "CONN_PLAY", func(e *api.Trigger) { e.Default = "true" }) }, []string{"wrong fail-open"}, nil},
		{"default 1", func(o *Observation) { each(o, "STREAM_PUSH", func(e *api.Trigger) { e.Default = "1" }) }, []string{"wrong fail-open"}, []string{"every publisher"}},
		{"default Yes!", func(o *Observation) { each(o, "USER_NEW", func(e *api.Trigger) { e.Default = " Yes!" }) }, []string{"wrong fail-open"}, nil},
		{"default continue", func(o *Observation) { each(o, "USER_NEW", func(e *api.Trigger) { e.Default = "continue" }) }, []string{"wrong fail-open"}, nil},
		{"default no text", func(o *Observation) {
			each(o, "USER_NEW", func(e *api.Trigger) {
				e.Default, e.Other = "", map[string]json.RawMessage{"default": json.RawMessage("false")}
			})
		}, []string{"wrong fail-open"}, []string{"not a text"}},
		{"default no", func(o *Observation) { each(o, "USER_NEW", func(e *api.Trigger) { e.Default = "no" }) }, nil, nil},
		{"a rewrite without default", func(o *Observation) {
			o.Config.Triggers["PLAY_REWRITE"] = []api.Trigger{{Handler: ours, Sync: true}}
		}, []string{"warning rewrite-default"}, []string{`played is a stream called "true"`}},
		{"a rewrite with the default of a gate that is open", func(o *Observation) {
			o.Config.Triggers["PLAY_REWRITE"] = []api.Trigger{{Handler: ours, Sync: true, Default: "True"}}
		}, []string{"warning rewrite-default"}, []string{`the default "True"`, `played is a stream called "true"`}},
		{"a rewrite without default, to a stream", func(o *Observation) {
			o.Config.Streams["true"] = nil
			o.Config.Triggers["PLAY_REWRITE"] = []api.Trigger{{Handler: ours, Sync: true}}
		}, []string{"wrong rewrite-default"}, []string{`played is the stream "true"`}},
		{"a rewrite to a stream", func(o *Observation) {
			o.Config.Triggers["PUSH_REWRITE"] = []api.Trigger{{Handler: ours, Sync: true, Default: "Live"}}
		}, []string{"wrong rewrite-default"}, []string{`pushed is the stream "live"`}},
		{"a rewrite that denies", func(o *Observation) {
			o.Config.Triggers["PUSH_REWRITE"] = []api.Trigger{{Handler: ours, Sync: true, Default: Deny}}
		}, nil, nil},

		{"a list that is cut", func(o *Observation) {
			o.Config.Streams = map[string]json.RawMessage{"channel-number-0001": nil, "channel-number-0011": nil}
			o.Active = nil
			each(o, "USER_NEW", func(e *api.Trigger) { e.Streams = long() })
		}, []string{"wrong list-cut", "wrong unguarded", "note list"}, []string{"needs 276 bytes", "keeps 256: channel-number-0011 is", "leaves out channel-number-0011:"}},
		{"a list that is nearly full", func(o *Observation) { listed(o, "live", "movie", "!"+strings.Repeat("x", 205)) },
			[]string{"warning list-nearly-full", "warning list-nearly-full", "note list", "note list"}, nil},
		{"a list with room", func(o *Observation) { listed(o, "live", "movie") }, []string{"note list", "note list"}, nil},
		{"a handler that is cut", func(o *Observation) {
			each(o, "USER_NEW", func(e *api.Trigger) { e.Handler = "http://h/trigger/" + strings.Repeat(secret, 6) })
		}, []string{"wrong handler-cut"}, []string{"http://h/trigger/… has 137 bytes"}},
		{"a default that is cut", func(o *Observation) {
			each(o, "USER_NEW", func(e *api.Trigger) { e.Default = strings.Repeat("no", 64) })
		}, []string{"wrong default-cut"}, nil},

		{"unguarded", func(o *Observation) { listed(o, "live") }, []string{"wrong unguarded", "note list", "note list"}, []string{"leaves out movie: everybody may watch"}},
		{"unguarded by name", func(o *Observation) { listed(o, "!live") }, []string{"wrong unguarded", "wrong unguarded"}, []string{"live, live+a: everybody may publish"}},
		{"unguarded instances", func(o *Observation) { listed(o, "live", "movie", "!live+a") },
			[]string{"wrong unguarded", "wrong unguarded", "note list", "note list"}, []string{"live+a"}},
		{"unguarded by tag", func(o *Observation) { listed(o, "#paid") }, []string{"wrong unguarded", "note list", "note list"}, []string{"leaves out movie"}},
		{"guarded by tags", func(o *Observation) {
			o.Config.Streams = nil
			listed(o, "#news")
		}, []string{"note list", "note list"}, nil},
		{"many unguarded", func(o *Observation) {
			for i := range 200 {
				o.Config.Streams[fmt.Sprintf("vod%03d", i)] = nil
			}
			each(o, "USER_NEW", func(e *api.Trigger) { e.Streams = []string{"live", "movie"} })
		}, []string{"wrong unguarded", "note list"}, []string{"vod000, vod001, vod002, vod003, vod004 and 195 more"}},
		{"two lists together", func(o *Observation) {
			e := o.Config.Triggers["USER_NEW"][0]
			one, two := e, e
			one.Streams, two.Streams = []string{"live"}, []string{"movie"}
			o.Config.Triggers["USER_NEW"] = []api.Trigger{one, two}
		}, []string{"note list"}, nil},

		{"nobody there", func(o *Observation) { o.Handlers[ours] = Tried{Unreachable, "connection refused"} },
			[]string{"wrong handler-away"}, []string{"http://127.0.0.1:4280/trigger/…: connection refused"}},
		{"nobody there, seen from elsewhere", func(o *Observation) {
			o.Handlers[ours] = Tried{Unreachable, "connection refused"}
			o.Local = false
		}, []string{"warning handler-away"}, []string{"from here"}},
		{"somebody else there", func(o *Observation) { o.Handlers[ours] = Tried{NotAuthhook, "/healthz answers 404"} }, []string{"wrong handler-other"}, nil},
		{"another key", func(o *Observation) { o.Handlers[ours] = Tried{Result: KeyRefused} }, []string{"wrong handler-key"}, nil},
		{"no program", func(o *Observation) { o.Handlers[ours] = Tried{NoProgram, "there is no such file"} }, []string{"warning handler-program"}, nil},
		{"not tried", func(o *Observation) { o.Handlers[ours] = Tried{NotTried, "a program of another machine"} }, []string{"note handler-not-tried"}, nil},

		{"a JWK", func(o *Observation) { o.Keys.Watch = 1 }, []string{"wrong jwk"}, []string{"1 JSON Web Key of MistServer's own (jwks) lets in"}},
		{"JWKs to publish", func(o *Observation) { o.Keys.Publish = 2 }, []string{"wrong jwk"}, []string{"publishes"}},
		{"JWKs for both", func(o *Observation) { o.Keys.Watch, o.Keys.Publish = 2, 2 }, []string{"wrong jwk"}, []string{"watches"}},
		{"stream keys", func(o *Observation) { o.Keys.Streams = []string{"live", "live"} }, []string{"wrong stream-key"}, []string{"2 stream keys", "to live"}},

		{"mode without token", func(o *Observation) { o.Config.SessionMode = 12 }, []string{"wrong session-mode"}, []string{"sessionViewerMode is 12", "behind one address", "sessionViewerMode to 14"}},
		{"mode without stream", func(o *Observation) { o.Config.SessionMode = 6 }, []string{"wrong session-mode"}, []string{"watch them all"}},
		{"mode without address", func(o *Observation) { o.Config.SessionMode = 10 }, []string{"warning session-mode"}, []string{"passed on"}},
		{"mode with connector", func(o *Observation) { o.Config.SessionMode = 15 }, []string{"note session-mode"}, []string{"twice", "sessionViewerMode to 14"}},
		{"mode with nothing", func(o *Observation) { o.Config.SessionMode = 0 }, []string{"wrong session-mode", "wrong session-mode", "warning session-mode"}, nil},

		{"no name, and called by one", func(o *Observation) { o.Config.ServerName = "" }, []string{"wrong server-name"}, []string{`no name, and is called "edge-1"`, "to edge-1"}},
		{"another name", func(o *Observation) { o.Config.ServerName = "edge-2" }, []string{"wrong server-name"}, []string{`itself "edge-2"`}},

		{"behind", func(o *Observation) { o.Time = noon.Add(-2 * time.Second) }, nil, nil},
		{"too far behind", func(o *Observation) { o.Time = noon.Add(-3 * time.Second) }, []string{"wrong clock"}, []string{"2s behind"}},
		{"ahead", func(o *Observation) { o.Time = noon.Add(2 * time.Second) }, nil, nil},
		{"too far ahead", func(o *Observation) { o.Time = noon.Add(3 * time.Second) }, []string{"wrong clock"}, []string{"3s ahead"}},
		{"slow to answer", func(o *Observation) { o.Time, o.Answered = noon.Add(9*time.Second), noon.Add(8*time.Second) }, nil, nil},
		{"no clock", func(o *Observation) { o.Time = time.Time{} }, nil, nil},

		{"no USER_END", func(o *Observation) { delete(o.Config.Triggers, "USER_END") }, []string{"warning no-user-end"}, nil},
		{"no CONN_PLAY", func(o *Observation) { delete(o.Config.Triggers, "CONN_PLAY") }, []string{"note no-conn-play"}, nil},
		{"CONN_OPEN instead", func(o *Observation) {
			o.Config.Triggers["CONN_OPEN"] = o.Config.Triggers["CONN_PLAY"]
			delete(o.Config.Triggers, "CONN_PLAY")
		}, nil, nil},
		{"others too", func(o *Observation) {
			o.Config.Triggers["USER_NEW"] = append(o.Config.Triggers["USER_NEW"], api.Trigger{Handler: "http://h/x?k=" + secret}, api.Trigger{})
		}, []string{"note others"}, []string{"http://h/x?… and no handler"}},
		{"two authhooks", func(o *Observation) {
			o.Config.Triggers["USER_NEW"] = append(o.Config.Triggers["USER_NEW"], api.Trigger{Handler: "http://old/trigger/" + secret, Sync: true, Default: "false"})
		}, []string{"warning twice"}, []string{"several authhooks, http://127.0.0.1:4280/trigger/… and http://old/trigger/…", "--replace"}},
		{"one authhook twice", func(o *Observation) {
			o.Config.Triggers["USER_NEW"] = append(o.Config.Triggers["USER_NEW"], api.Trigger{Handler: "http://127.0.0.1:4280/trigger/old", Sync: true, Default: "false"})
		}, []string{"warning twice"}, []string{"2 times"}},

		{"UDP away", func(o *Observation) { o.UDP.Err = api.ErrNotReachable }, []string{"wrong api-udp"}, []string{"udp://127.0.0.1:4242: not reachable", "UDP_API"}},
		{"UDP away, elsewhere", func(o *Observation) { o.UDP.Err, o.Local = api.ErrNotReachable, false }, []string{"wrong api-udp"}, []string{"from elsewhere"}},
		{"HTTP away beside UDP", func(o *Observation) { o.HTTP.Err = api.ErrNotReachable }, []string{"warning api-http"}, []string{"--mist-lists"}},
		{"HTTP away", func(o *Observation) { o.UDP, o.HTTP.Err = Reach{}, api.ErrNotReachable }, []string{"wrong api-http"}, nil},
		{"no login", func(o *Observation) {
			o.UDP, o.HTTP.Err = Reach{}, fmt.Errorf("MistServer at x: %w: wrong", api.ErrLogin)
		},
			[]string{"wrong api-http"}, []string{"login refused: wrong", "user and password"}},
		{"nothing known", func(o *Observation) { o.UDP.Err, o.HTTP.Err, o.Config = api.ErrNotReachable, api.ErrNotReachable, nil },
			[]string{"wrong api-udp", "wrong api-http"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := healthy()
			test.change(o)
			var got []string
			for _, f := range Diagnose(o) {
				got = append(got, f.Severity.String()+" "+f.Code)
				assert.NotEmpty(t, f.What)
				if f.Code != "others" {
					assert.NotEmpty(t, f.Remedy, f.Code)
				}
			}
			assert.Equal(t, test.want, got)
			text := fmt.Sprint(Diagnose(o))
			for _, says := range test.says {
				assert.Contains(t, text, says)
			}
			assert.NotContains(t, text, secret)
		})
	}
}

func TestDiagnoseAll(t *testing.T) {
	one, two, three, away := healthy(), healthy(), healthy(), &Observation{HTTP: Reach{true, "x", api.ErrNotReachable}}
	three.Name, three.Config.ServerName = "edge-3", "edge-3"
	all := DiagnoseAll([]*Observation{one, two, three, away})
	for _, found := range all[:2] {
		require.Len(t, found, 1)
		assert.Equal(t, "server-name", found[0].Code)
		assert.Contains(t, found[0].What, `"edge-1"`)
	}
	assert.Empty(t, all[2])
	one.Name, two.Name, one.Config.ServerName, two.Config.ServerName = "", "", "", ""
	assert.Empty(t, DiagnoseAll([]*Observation{one, two})[0], "no name is not the same name")
	assert.Len(t, all[3], 1)
}

func TestParseKeys(t *testing.T) {
	for _, test := range []struct {
		reply string
		want  Keys
	}{
		{`{"LTS":1}`, Keys{}},
		{`{"jwks":null,"streamkeys":null}`, Keys{}},
		{`{"jwks":"?","streamkeys":[]}`, Keys{}},
		{`{"jwks":[[{"kty":"oct","k":"s3cret"},{"input":false,"output":true,"admin":false,"stream":"*"}]]}`, Keys{Watch: 1}},
		{`{"jwks":[[{"kty":"oct"},{"input":1,"output":0}],[{"kty":"oct"},{"input":false,"output":false,"admin":true}]]}`, Keys{Publish: 1}},
		{`{"jwks":["https://idp/keys",{"kty":"RSA"},["https://idp/keys"],[{"kty":"EC"},{}]]}`, Keys{Watch: 4, Publish: 4}},
		{`{"streamkeys":{"s3cret":"movie","s3cret2":"live","s3cret3":7}}`, Keys{Streams: []string{"", "live", "movie"}}},
	} {
		got := parseKeys(json.RawMessage(test.reply))
		assert.Equal(t, test.want, got, test.reply)
		assert.NotContains(t, fmt.Sprint(got), "s3cret")
	}
}

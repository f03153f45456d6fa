package misttest_test

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/mist"
	"authhook/internal/mist/misttest"
)

// exchange is a line of udp.jsonl: what a real server was sent, and replied.
type exchange struct {
	Request json.RawMessage `json:"request"`
	Reply   json.RawMessage `json:"reply"`
}

func exchanges(t *testing.T) []exchange {
	t.Helper()
	f, err := os.Open("testdata/udp.jsonl")
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	var all []exchange
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e exchange
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		var text string
		if json.Unmarshal(e.Request, &text) == nil {
			e.Request = []byte(text) // what was no JSON is not sent as any
		}
		all = append(all, e)
	}
	require.NotEmpty(t, all)
	return all
}

// form is a reply without what differs from server to server: each value's kind, but keys, fields and nulls as they are.
func form(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, one := range v {
			switch {
			case k == "fields":
				out[k] = one
			case k == "data":
				out[k] = rowForm(one)
			default:
				out[k] = form(one)
			}
		}
		return out
	case []any:
		out := []any{}
		for _, one := range v {
			out = append(out, form(one))
		}
		return out
	case nil:
		return nil
	}
	return fmt.Sprintf("%T", v)
}

// rowForm is the form of a table's first row: how many there are is no matter of form.
func rowForm(v any) any {
	switch v := v.(type) {
	case []any:
		return []any{form(v[0])}
	case map[string]any:
		for _, one := range v {
			return map[string]any{"stream": form(one)}
		}
	}
	return form(v)
}

func TestRepliesHaveTheFormOfTheRecordedOnes(t *testing.T) {
	s, _ := world(t, yes)
	s.AddStream("movie")
	p := s.Connect(misttest.Viewer{Stream: "movie", Token: "a", Connector: "MP4"})
	reach(t, p, misttest.Watching)
	c := dialUDP(t, s)
	until(t, "listed", func() bool { return len(c.listed()) == 1 })
	for _, e := range exchanges(t) {
		var want map[string]any
		require.NoError(t, json.Unmarshal(e.Reply, &want))
		got := c.call(string(e.Request))
		require.Equal(t, form(want), form(got), string(e.Request))
		if strings.Contains(string(e.Request), "stream_tags") {
			require.Equal(t, want, got)
		}
	}
	require.False(t, s.Corrupted())
	require.Equal(t, misttest.Watching, p.State(), "nothing of it was about its session but an invalidation")
}

func TestTheListNamesWhoWatchedASecondAgo(t *testing.T) {
	timing := fast()
	timing.Listed = misttest.Range{Min: 100 * time.Millisecond, Max: 100 * time.Millisecond}
	d := newDesk(t, yes)
	s := start(t, misttest.Options{Timing: timing})
	s.SetTriggers(sync1(d.URL, mist.TypeUserNew))
	v := ada()
	v.Connector = "MP4"
	p := s.Connect(v)
	reach(t, p, misttest.Watching)
	began := time.Now()
	c := dialUDP(t, s)
	require.Empty(t, c.listed(), "not known yet")
	c.call(`{"tag_sessid":{"` + p.SessionID() + `":"early"}}`)
	until(t, "listed", func() bool { return len(c.listed()) == 1 })
	require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)
	c.call(`{"tag_sessid":{"` + p.SessionID() + `":"late"}}`)
	require.Equal(t, []string{"late"}, s.Sessions()[0].Tags, "the early one was dropped")
	row := c.listed("protocol", "host", "stream")[p.SessionID()]
	require.Equal(t, map[string]any{
		"sessid": p.SessionID(), "host": "203.0.113.9", "stream": "movie", "protocol": "MP4",
	}, row)
	none := c.call(`{"clients":{"fields":["sessid"]}}`)["clients"].(map[string]any)
	for _, r := range none["data"].([]any) {
		require.Equal(t, "I", r.([]any)[0].(string)[:1], "without a time nobody is there")
	}
	p.Leave()
	require.Empty(t, c.listed(), "gone with its connection")
}

func TestAnHLSViewerStaysListedForAWhile(t *testing.T) {
	s, d := world(t, yes)
	p := s.Connect(ada())
	reach(t, p, misttest.Watching)
	c := dialUDP(t, s)
	until(t, "listed", func() bool { return len(c.listed()) == 1 })
	p.Leave()
	require.Len(t, c.listed(), 1)
	d.await(t, mist.TypeUserEnd, 1)
	require.Empty(t, c.listed())
}

func TestADeniedSessionIsNotListed(t *testing.T) {
	s, _ := world(t, no)
	p := s.Connect(ada())
	reach(t, p, misttest.Denied)
	require.Empty(t, dialUDP(t, s).listed())
	require.Len(t, s.Sessions(), 1)
}

func TestTagsStopAndStay(t *testing.T) {
	timing := fast()
	timing.StopAfter = misttest.Range{Min: time.Millisecond, Max: time.Millisecond}
	s := start(t, misttest.Options{Timing: timing})
	tagged, other, third := ada(), ada(), ada()
	other.Token, third.Token = "bob", "eve"
	p, q, r := s.Connect(tagged), s.Connect(other), s.Connect(third)
	for _, one := range []*misttest.Player{p, q, r} {
		reach(t, one, misttest.Watching)
	}
	c := dialUDP(t, s)
	until(t, "listed", func() bool { return len(c.listed()) == 3 })
	c.call(`{"tag_sessid":{"` + p.SessionID() + `":"user:1"}}`)
	c.call(`{"tag_sessid":{"` + p.SessionID() + `":"plan:gold"}}`)
	c.call(`{"untag_sessid":{"` + p.SessionID() + `":"plan:gold"},"tag_sessid":{"` + q.SessionID() + `":"user:2"}}`)
	for _, one := range s.Sessions() {
		if one.ID == p.SessionID() {
			require.Equal(t, []string{"user:1", "plan:gold"}, one.Tags, "nothing takes one away")
		}
	}
	c.call(`{"stop_tag":"user:1"}`)
	c.call(`{"stop_sessid":"` + r.SessionID() + `"}`)
	reach(t, p, misttest.Ended)
	reach(t, r, misttest.Ended) // who was stopped later, so that all others have been
	require.Equal(t, misttest.Watching, q.State())
}

func TestATagForAStreamThatIsNotActiveWaits(t *testing.T) {
	s, _ := world(t, yes)
	c := dialUDP(t, s)
	tags := func() any { return c.call(`{"stream_tags":"movie"}`)["stream_tags"].(map[string]any)["movie"] }
	c.call(`{"tag_stream":{"movie":["ppv","hot"]}}`)
	require.Nil(t, tags())
	require.Nil(t, c.call(`{"active_streams":true}`)["active_streams"])
	reach(t, s.Connect(ada()), misttest.Watching)
	require.Equal(t, []any{"ppv", "hot"}, tags())
	require.Equal(t, []any{"movie"}, c.call(`{"active_streams":true}`)["active_streams"])
	c.call(`{"untag_stream":{"movie":"ppv"}}`)
	require.Equal(t, []any{"hot"}, tags())
	s.AddStream("always", "fixed")
	require.Equal(t, []any{"always", "movie"}, c.call(`{"active_streams":true}`)["active_streams"])
	s.RemoveStream("always")
	require.Equal(t, []any{"movie"}, c.call(`{"active_streams":true}`)["active_streams"])
}

func TestActiveStreamsCountTheirViewers(t *testing.T) {
	s, _ := world(t, yes)
	reach(t, s.Connect(ada()), misttest.Watching)
	c := dialUDP(t, s)
	until(t, "counted", func() bool {
		reply := c.call(`{"active_streams":{"fields":["viewers","inputs","clients"]}}`)["active_streams"].(map[string]any)
		row := reply["data"].(map[string]any)["movie"].([]any)
		return row[0] == 1.0 && row[1] == 1.0 && row[2] == 2.0
	})
}

func TestTheConfigurationIsReadAndWritten(t *testing.T) {
	s, d := world(t, yes)
	c := dialUDP(t, s)
	read := func() map[string]any { return c.call(`{"config":true}`)["config"].(map[string]any) }
	before := read()
	require.Equal(t, "edge-1", before["serverid"])
	require.Equal(t, 14.0, before["sessionViewerMode"])
	require.Equal(t, s.Instance(), before["iid"])
	require.Equal(t, map[string]any{"handler": d.URL, "sync": true, "default": "false", "streams": []any{}},
		before["triggers"].(map[string]any)["USER_NEW"].([]any)[0])
	c.call(`{"config":{"serverid":"edge-2"}}`)
	require.Len(t, read()["triggers"], 2, "what is not written stays")
	require.Equal(t, "edge-2", read()["serverid"])
	c.call(`{"config":{"triggers":{"USER_NEW":[{"handler":"` + d.URL + `","sync":true,"default":"false","streams":["movie"]}]}},"save":true}`)
	require.Equal(t, map[string][]misttest.Trigger{
		"USER_NEW": {{Handler: d.URL, Sync: true, Default: "false", Streams: []string{"movie"}}},
	}, s.Triggers(), "writing triggers replaces them all")
	reach(t, s.Connect(ada()), misttest.Watching)
	require.Equal(t, "edge-2", d.asked("")[0].header.Get("X-Name"))
	c.call(`{"addstream":{"vod":{"source":"/media/movie.mp4","tags":["paid"]}}}`)
	require.Contains(t, c.call(`{"streams":true}`)["streams"], "vod")
	reach(t, s.Connect(misttest.Viewer{Stream: "vod"}), misttest.Watching)
	require.Equal(t, []any{"paid"}, c.call(`{"stream_tags":"vod"}`)["stream_tags"].(map[string]any)["vod"])
}

func TestALargeDatagramIsLostAndCorrupts(t *testing.T) {
	s, _ := world(t, yes)
	reach(t, s.Connect(ada()), misttest.Watching)
	id := s.Sessions()[0].ID
	c := dialUDP(t, s)
	fits := `{"stop_sessid":"` + strings.Repeat("x", 2048-18) + `"}`
	require.Len(t, fits, 2048)
	c.call(fits)
	require.False(t, s.Corrupted())
	large := `{"stop_sessid":["` + id + `"` + strings.Repeat(" ", 2048) + `]}`
	c.send(large)
	require.NotNil(t, c.call(`{"version":true}`)["version"], "the next answer is the next one's")
	require.True(t, s.Corrupted())
	require.Len(t, stops(s, id), 0)
	c.call(large) // now there is room
	require.Len(t, stops(s, id), 1)
}

func stops(s *misttest.Server, id string) []misttest.Command {
	var all []misttest.Command
	for _, c := range s.Commands() {
		if c.Kind == "stop_sessid" && c.Target == id {
			all = append(all, c)
		}
	}
	return all
}

func TestAListThatDoesNotFitADatagramIsNotSent(t *testing.T) {
	s := start(t, misttest.Options{})
	var players []*misttest.Player
	for i := range 900 {
		players = append(players, s.Connect(misttest.Viewer{Stream: "movie", Token: fmt.Sprint(i)}))
	}
	for _, p := range players {
		reach(t, p, misttest.Watching)
	}
	count := func() int {
		reply := apiCall(t, s.HTTPURL(), `{"clients":{"time":-1,"fields":["sessid","stream","host"]}}`)
		data, _ := reply["clients"].(map[string]any)["data"].([]any)
		return len(data)
	}
	until(t, "all are listed over HTTP, and the input", func() bool { return count() == 901 })
	c := dialUDP(t, s)
	c.send(`{"clients":{"time":-1,"fields":["sessid","stream","host"]}}`)
	require.NotNil(t, c.call(`{"version":true}`)["version"], "no answer but the next one's")
}

func TestDatagramsAreLostAsOftenAsWanted(t *testing.T) {
	timing := fast()
	timing.Answer = misttest.Range{}
	s := start(t, misttest.Options{Timing: timing, Seed: 7})
	c := dialUDP(t, s)
	const n = 200 // as many as a socket has room for
	s.SetLoss(0.5, 1)
	for range n {
		c.send(`{"stop_tag":"half"}`)
	}
	until(t, "what was sent after them is there", func() bool {
		c.send(`{"stop_tag":"last"}`)
		return len(targets(s, "last")) > 0
	})
	require.InDelta(t, n/2, len(targets(s, "half")), n/4)
	s.SetLoss(0, 0.5)
	for i := range n {
		c.send(`{"stop_tag":"answered"}`)
		until(t, "it is read", func() bool { return len(targets(s, "answered")) == i+1 })
	}
	s.SetLoss(0, 0)
	c.send(`{"version":true}`)
	answers := 0
	for c.receive()["version"] == nil {
		answers++
	}
	require.InDelta(t, n/2, answers, n/4, "answers are lost, not what was asked for")
}

func targets(s *misttest.Server, target string) []misttest.Command {
	var all []misttest.Command
	for _, c := range s.Commands() {
		if c.Target == target {
			all = append(all, c)
		}
	}
	return all
}

func TestGarbageIsAcknowledged(t *testing.T) {
	s, _ := world(t, yes)
	c := dialUDP(t, s)
	for _, text := range []string{
		"not json", `"text"`, "[]", "null", "{}", "\x00", `{"no_such_call":1}`, `{"stop_sessid":{"a":[]}}`, `{"tag_sessid":7}`,
		`{"invalidate_sessions":null}`, `{"clients":"x"}`, `{"config":{"triggers":7}}`, `{"stop_sessid":"deadbeef"}`,
	} {
		reply := c.call(text)
		require.Equal(t, 1.0, reply["LTS"], text)
		if !strings.Contains(text, "clients") && !strings.Contains(text, "config") {
			require.Equal(t, map[string]any{"LTS": 1.0}, reply, text)
		}
	}
}

func TestCommandsAreKept(t *testing.T) {
	s, _ := world(t, yes)
	c := dialUDP(t, s)
	c.call(`{"tag_sessid":{"a":"x"},"stop_sessid":["a","b"]}`)
	apiCall(t, s.HTTPURL(), `{"invalidate_sessions":"movie"}`)
	all := s.Commands()
	for i := range all {
		require.WithinDuration(t, time.Now(), all[i].At, patience)
		all[i].At = time.Time{}
	}
	require.Equal(t, []misttest.Command{
		{Over: "udp", Kind: "stop_sessid", Target: "a"}, {Over: "udp", Kind: "stop_sessid", Target: "b"},
		{Over: "udp", Kind: "tag_sessid", Target: "a", Value: "x"},
		{Over: "http", Kind: "invalidate_sessions", Target: "movie"},
	}, all)
}

func post(t *testing.T, url, body string, header ...string) map[string]any {
	t.Helper()
	r, err := http.NewRequestWithContext(within(t), http.MethodPost, url+"/api2", bytes.NewBufferString(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	var reply map[string]any
	require.NoError(t, json.Unmarshal(b, &reply))
	return reply
}

func apiCall(t *testing.T, url, body string) map[string]any {
	t.Helper()
	reply := post(t, url, body)
	require.Equal(t, map[string]any{"status": "OK", "local": true}, reply["authorize"])
	return reply
}

func TestTheSameCallsOverHTTPWithoutALimit(t *testing.T) {
	s, _ := world(t, no)
	p := s.Connect(ada())
	reach(t, p, misttest.Denied)
	ids := make([]string, 500)
	for i := range ids {
		ids[i] = fmt.Sprintf("%064x", i)
	}
	body, err := json.Marshal(map[string]any{"stop_sessid": append(ids, p.SessionID())})
	require.NoError(t, err)
	require.Equal(t, 1.0, apiCall(t, s.HTTPURL(), string(body))["LTS"])
	until(t, "lifted", func() bool { return len(s.Sessions()) == 0 })
	require.False(t, s.Corrupted())
}

func hash(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestALogin(t *testing.T) {
	s := start(t, misttest.Options{Username: "admin", Password: "secret"})
	reply := post(t, s.HTTPURL(), `{"authorize":{"username":"admin","password":""},"stop_tag":"x"}`)
	status := reply["authorize"].(map[string]any)
	require.Equal(t, "CHALL", status["status"])
	require.NotContains(t, reply, "LTS")
	require.Empty(t, s.Commands(), "who is not authorized has nothing done")
	login := func(user, password string) map[string]any {
		p := hash(hash(password) + status["challenge"].(string))
		return post(t, s.HTTPURL(), `{"authorize":{"username":"`+user+`","password":"`+p+`"},"stop_tag":"x"}`)
	}
	require.Equal(t, "CHALL", login("admin", "wrong")["authorize"].(map[string]any)["status"])
	require.Equal(t, "CHALL", login("root", "secret")["authorize"].(map[string]any)["status"])
	require.Empty(t, s.Commands())
	reply = login("admin", "secret")
	require.Equal(t, "OK", reply["authorize"].(map[string]any)["status"])
	require.Equal(t, 1.0, reply["LTS"])
	require.Len(t, s.Commands(), 1)
	require.Equal(t, 1.0, dialUDP(t, s).call(`{"stop_tag":"y"}`)["LTS"], "UDP never asks")
}

func TestForwardedRequestsAreNotLocal(t *testing.T) {
	s := start(t, misttest.Options{})
	reply := post(t, s.HTTPURL(), `{"stop_tag":"x"}`, "X-Forwarded-For", "203.0.113.9")
	require.Equal(t, map[string]any{"authorize": map[string]any{"status": "NOACC"}}, reply)
	require.Empty(t, s.Commands())
}

func TestCounters(t *testing.T) {
	d := newDesk(t, func(a asked) string {
		if a.lines()[2] == "bad" {
			return "503"
		}
		return "true"
	})
	s := start(t, misttest.Options{Prometheus: "koekjes"})
	s.SetTriggers(sync1(d.URL, mist.TypeUserNew))
	for token, want := range map[string]misttest.State{"a": misttest.Watching, "b": misttest.Watching, "bad": misttest.Denied} {
		reach(t, s.Connect(misttest.Viewer{Stream: "movie", Token: token}), want)
	}
	answer, err := http.Get(s.HTTPURL() + "/koekjes")
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	http.DefaultClient.CloseIdleConnections()
	require.Regexp(t, `(?m)^mist_trigger_count\{trigger="USER_NEW"\} ?3$`, string(b))
	require.Regexp(t, `(?m)^mist_trigger_time\{trigger="USER_NEW"\} ?\d+$`, string(b))
	require.Regexp(t, `(?m)^mist_trigger_fails\{trigger="USER_NEW"\} ?1$`, string(b))
}

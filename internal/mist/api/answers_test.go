package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// recorded is an exchange of a real MistServer's.
type recorded struct {
	Request, Reply json.RawMessage
}

func recordedExchanges(t testing.TB) []recorded {
	t.Helper()
	raw, err := os.ReadFile("testdata/udp.jsonl")
	require.NoError(t, err)
	var all []recorded
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		var r recorded
		require.NoError(t, json.Unmarshal(lines.Bytes(), &r))
		all = append(all, r)
	}
	return all
}

// replay answers with what MistServer replied to the calls that hold all of these.
func replay(t testing.TB, calls ...string) *network {
	for _, r := range recordedExchanges(t) {
		holds := true
		for _, call := range calls {
			holds = holds && bytes.Contains(r.Request, []byte(call))
		}
		if holds {
			return &network{answer: func([]byte) []byte { return r.Reply }}
		}
	}
	t.Fatalf("no recording of %q", calls)
	return nil
}

func TestRecordedAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := replay(t, `"clients"`, `"time"`)
		list, err := n.client(t, Options{}).Sessions(t.Context())
		require.NoError(t, err)
		require.Equal(t, SessionList{At: time.Unix(1795328676, 0).UTC(), Sessions: []Session{
			{ID: "619abaf04168d787d8394e42531c94e19b215c4031f669e5020c2c1a611fde47", Stream: "movie", Host: "127.0.0.1", Connector: "MP4"},
			{ID: "I3b79bb285253a09904f5408ea2c0449656d0f0f3291a3ad64abebd068d0e2579", Stream: "movie", Host: "::1", Connector: "INPUT:MP4"},
		}}, list)
		require.True(t, list.Sessions[0].Viewer())
		require.False(t, list.Sessions[1].Viewer())
		require.JSONEq(t, `{"clients":{"time":-1,"fields":["sessid","stream","host","protocol"]}}`, n.datagrams()[0])

		n = replay(t, "active_streams")
		streams, err := n.client(t, Options{}).ActiveStreams(t.Context())
		require.NoError(t, err)
		require.Equal(t, []ActiveStream{{Name: "movie", Inputs: 2}}, streams)

		n = replay(t, "untag_stream", "stream_tags")
		tags, err := n.client(t, Options{}).StreamTags(t.Context(), "movie")
		require.NoError(t, err)
		require.Equal(t, map[string][]string{"movie": nil}, tags)
		require.JSONEq(t, `{"stream_tags":["movie"]}`, n.datagrams()[0])
		tags, err = replay(t, `{"tag_stream`, "stream_tags").client(t, Options{}).StreamTags(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string][]string{"movie": {"ppv"}}, tags)

		v, err := replay(t, "version").client(t, Options{}).Version(t.Context())
		require.NoError(t, err)
		require.Equal(t, Version{Version: "3.10", Release: "test", Date: "Nov 22 2026", Time: "05:51:50"}, v)

		raw, err := replay(t, "stop_tag").client(t, Options{}).Do(t.Context(), map[string]any{"stop_tag": "user:1"})
		require.NoError(t, err)
		require.JSONEq(t, `{"LTS":1}`, string(raw))
	})
}

func TestParseSessions(t *testing.T) {
	for name, test := range map[string]struct {
		clients string
		want    int
		problem string
	}{
		"none":               {`{"data":null,"fields":["host","stream","protocol","sessid"],"time":1}`, 0, ""},
		"empty":              {`{"data":[],"fields":["host","stream","protocol","sessid"],"time":1}`, 0, ""},
		"fields first":       {`{"time":1,"fields":["sessid","protocol","x","host","stream"],"data":[["i","p",[{}],"h","s"]]}`, 1, ""},
		"no fields":          {`{"data":[],"time":1}`, 0, "without"},
		"a field is missing": {`{"data":[],"fields":["host","stream","sessid"],"time":1}`, 0, "without protocol"},
		"no time":            {`{"data":[],"fields":["host","stream","protocol","sessid"]}`, 0, "without time"},
		"no data":            {`{"fields":["host","stream","protocol","sessid"],"time":1}`, 0, "without time or data"},
		"a short row":        {`{"data":[["h","s","p"]],"fields":["host","stream","protocol","sessid"],"time":1}`, 0, "as many columns"},
		"a long row":         {`{"data":[["h","s","p","i",""]],"fields":["host","stream","protocol","sessid"],"time":1}`, 0, "as many columns"},
		"a number":           {`{"data":[["h","s","p",1]],"fields":["host","stream","protocol","sessid"],"time":1}`, 0, "a text"},
		"no row":             {`{"data":[1],"fields":["host","stream","protocol","sessid"],"time":1}`, 0, "an array"},
		"too many fields":    {`{"data":[],"fields":["",` + strings.Repeat(`"",`, maxColumns) + `""],"time":1}`, 0, "fewer columns"},
		"cut":                {`{"data":[["h","s","p`, 0, "cut"},
		"null":               {`null`, 0, "an object"},
	} {
		list, err := parseSessions(`{"LTS":1,"clients":` + test.clients)
		if test.problem != "" {
			require.ErrorIs(t, err, ErrReply, name)
			require.ErrorContains(t, err, test.problem, name)
			require.Empty(t, list.Sessions)
			continue
		}
		require.NoError(t, err, name)
		require.Len(t, list.Sessions, test.want, name)
		for _, session := range list.Sessions {
			require.Equal(t, Session{ID: "i", Stream: "s", Host: "h", Connector: "p"}, session)
		}
	}
	_, err := parseSessions(`{"LTS":1}`)
	require.ErrorContains(t, err, `no answer to "clients"`)
}

func TestViewer(t *testing.T) {
	id := strings.Repeat("0af9", 16)
	for written, want := range map[string]bool{id: true, "I" + id: false, "": false, id[1:]: false, "0" + id: false, id[1:] + "A": false, id[1:] + "g": false, id[1:] + "/": false} {
		require.Equal(t, want, (&Session{ID: written}).Viewer(), written)
	}
}

func TestParseActiveStreams(t *testing.T) {
	streams, err := parseActiveStreams(`{"active_streams":{"data":{"live+a":[3,["x","#\u00e9"],1,2],"b":[0,null,0,1]},"fields":["viewers","tags","outputs","inputs"]}}`)
	require.NoError(t, err)
	require.Equal(t, []ActiveStream{
		{Name: "live+a", Viewers: 3, Inputs: 2, Outputs: 1, Tags: []string{"x", "#é"}},
		{Name: "b", Inputs: 1},
	}, streams)
	for _, none := range []string{`null`, `{"fields":["viewers"]}`, `{"data":null,"fields":[]}`} {
		streams, err = parseActiveStreams(`{"active_streams":` + none + `}`)
		require.NoError(t, err)
		require.Empty(t, streams)
	}
	for _, wrong := range []string{
		`["a"]`, `{"data":{"a":[1]},"fields":["viewers"]}`, `{"data":{"a":[1,2,3]},"fields":["viewers","inputs","outputs","tags"]}`,
		`{"data":{"a":[-1,2,3,null]},"fields":["viewers","inputs","outputs","tags"]}`,
		`{"data":{"a":[1.5,2,3,null]},"fields":["viewers","inputs","outputs","tags"]}`,
		`{"data":{"a":[99999999999999999999,2,3,null]},"fields":["viewers","inputs","outputs","tags"]}`,
	} {
		_, err = parseActiveStreams(`{"active_streams":` + wrong + `}`)
		require.ErrorIs(t, err, ErrReply, wrong)
	}
}

// Many names are asked for in several datagrams, one that is too long for any over HTTP.
func TestStreamTagsOfMany(t *testing.T) {
	tagsOf := func(calls json.RawMessage) string {
		var streams []string
		if err := json.Unmarshal(calls, &streams); err != nil {
			return `"stream_tags":false`
		}
		tags := make(map[string][]string, len(streams))
		for _, stream := range streams {
			tags[stream] = []string{"of " + stream}
		}
		written, _ := json.Marshal(tags)
		return `"stream_tags":` + string(written)
	}
	url := mistUDP(t, func(d []byte) []byte {
		if len(d) > maxDatagram {
			t.Errorf("a datagram of %d bytes", len(d))
		}
		var calls map[string]json.RawMessage
		if err := json.Unmarshal(d, &calls); err != nil {
			t.Error(err)
		}
		return []byte("{" + tagsOf(calls["stream_tags"]) + "}")
	})
	m := newMistHTTP(t, &mistHTTP{local: true, answer: func(calls map[string]json.RawMessage) string { return tagsOf(calls["stream_tags"]) }})
	want := make(map[string][]string)
	var streams []string
	for i := range 300 {
		stream := "live+" + strings.Repeat("\"x", i%40)
		if i == 100 {
			stream = strings.Repeat("long", 500)
		}
		streams = append(streams, stream)
		want[stream] = []string{"of " + stream}
	}
	tags, err := newClient(t, url, Options{ListURL: m.URL}).StreamTags(t.Context(), streams...)
	require.NoError(t, err)
	require.Equal(t, want, tags)
	require.Len(t, m.asked, 1)
}

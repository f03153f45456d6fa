package api

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

const someConfig = `{"LTS":1,"config":{"controller":{"port":4242},"iid":"QXw","serverid":"edge-1","sessionViewerMode":15,"time":1,
	"triggers":{
		"USER_NEW":[
			{"handler":"http://127.0.0.1:4280/trigger","sync":true,"default":"false","streams":["live","#p\u00e9v","\u4e2d"],"extra":{"a":[1,"\u4e2d\ud83d\ude00"]}},
			["/bin/old",1,["a"]],
			{"handler":"x","sync":"maybe","default":false,"streams":"no list","params":"p"},
			{"streams":null,"sync":0},
			7
		],
		"STREAM_END":null,
		"OTHER":[]
	}},
	"config_backup":{"account":{"op":{"password":"0123456789abcdef0123456789abcdef"}},"streams":{"live":{"source":"push://","x":1},"movie":{"source":"/a.mp4"}}}}`

func TestConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{answer: func([]byte) []byte { return []byte(someConfig) }}
		config, err := n.client(t, Options{}).Config(t.Context())
		require.NoError(t, err)
		require.NotContains(t, n.datagrams()[0], `"streams"`, "it would delete them")

		require.Equal(t, "edge-1", config.ServerName)
		require.Equal(t, "QXw", config.Instance)
		require.Equal(t, 15, config.SessionMode)
		require.JSONEq(t, `{"source":"push://","x":1}`, string(config.Streams["live"]))
		require.Len(t, config.Streams, 2)
		require.NotContains(t, string(config.Raw), "0123456789abcdef")
		require.Equal(t, map[string][]Trigger{"USER_NEW": {
			{Handler: "http://127.0.0.1:4280/trigger", Sync: true, Default: "false", Streams: []string{"live", "#pév", "中"},
				Other: map[string]json.RawMessage{"extra": json.RawMessage(`{"a":[1,"\u4e2d\ud83d\ude00"]}`)}},
			{Handler: "/bin/old", Sync: true, Streams: []string{"a"}},
			{Handler: "x", Params: "p", Other: map[string]json.RawMessage{
				"sync": json.RawMessage(`"maybe"`), "default": json.RawMessage(`false`), "streams": json.RawMessage(`"no list"`)}},
			{},
		}}, config.Triggers)
	})
}

func TestConfigWithoutMuch(t *testing.T) {
	config, err := parseConfig(`{"config":{}}`)
	require.NoError(t, err)
	require.Equal(t, Config{Raw: json.RawMessage(`{}`), SessionMode: -1, Triggers: map[string][]Trigger{}}, config)
	for _, wrong := range []string{`{}`, `{"config":null}`, `{"config":[]}`, `[]`, ``} {
		_, err := parseConfig(wrong)
		require.ErrorIs(t, err, ErrReply, wrong)
	}
}

// Triggers that were read go back as they were, their texts in their own bytes.
func TestSetTriggers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config, err := parseConfig(someConfig)
		require.NoError(t, err)
		n := &network{answer: acknowledge}
		require.NoError(t, n.client(t, Options{}).SetTriggers(t.Context(), config.Triggers))
		require.Equal(t, `{"config":{"triggers":{"USER_NEW":[`+
			`{"default":"false","extra":{"a":[1,"中😀"]},"handler":"http://127.0.0.1:4280/trigger","streams":["live","#pév","中"],"sync":true},`+
			`{"handler":"/bin/old","streams":["a"],"sync":true},`+
			`{"default":false,"handler":"x","params":"p","streams":"no list","sync":"maybe"},`+
			`{"streams":[],"sync":false}]}}}`, n.datagrams()[0])

		require.NoError(t, n.client(t, Options{}).SetTriggers(t.Context(), nil))
		require.Equal(t, `{"config":{"triggers":{}}}`, n.datagrams()[1])
		require.NoError(t, n.client(t, Options{}).Save(t.Context()))
		require.Equal(t, `{"save":true}`, n.datagrams()[2])
	})
}

// Where the reply shows what was written, it is held against it.
func TestSetTriggersIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{answer: func(d []byte) []byte { return d }}
		written := map[string][]Trigger{
			"USER_NEW": {{Handler: "h", Sync: true, Default: "false", Streams: []string{}, Other: map[string]json.RawMessage{"gone": json.RawMessage("null")}}},
			"USER_END": nil,
		}
		require.NoError(t, n.client(t, Options{}).SetTriggers(t.Context(), written))
		n.answer = func(d []byte) []byte { return []byte(strings.Replace(string(d), `"false"`, `"true"`, 1)) }
		require.ErrorIs(t, n.client(t, Options{ListURL: "none"}).SetTriggers(t.Context(), written), ErrReply)
	})
}

// Triggers that do not fit a datagram go over HTTP.
func TestSetLongTriggers(t *testing.T) {
	url := mistUDP(t, func([]byte) []byte { t.Error("a datagram"); return nil })
	m := newMistHTTP(t, &mistHTTP{local: true})
	triggers := map[string][]Trigger{"USER_NEW": make([]Trigger, 60)}
	require.NoError(t, newClient(t, url, Options{ListURL: m.URL}).SetTriggers(t.Context(), triggers))
	require.Len(t, m.asked, 1)
	require.ErrorIs(t, newClient(t, url, Options{ListURL: "none"}).SetTriggers(t.Context(), triggers), ErrTooLong)
}

func TestTriggerAsJSON(t *testing.T) {
	written, err := json.Marshal(Trigger{Handler: "h", Default: "true"})
	require.NoError(t, err)
	require.JSONEq(t, `{"handler":"h","sync":false,"default":"true","streams":[]}`, string(written))
	require.ErrorIs(t, json.Unmarshal([]byte(`"text"`), &Trigger{}), ErrReply)
}

func TestCheckTrigger(t *testing.T) {
	fits := Trigger{Handler: strings.Repeat("h", 127), Default: strings.Repeat("d", 127), Streams: []string{strings.Repeat("s", 124), strings.Repeat("s", 124)}}
	require.NoError(t, fits.Check())
	for name, change := range map[string]func(*Trigger){
		"handler": func(t *Trigger) { t.Handler += "h" },
		"default": func(t *Trigger) { t.Default += "d" },
		"streams": func(t *Trigger) { t.Streams = append(t.Streams, "") },
	} {
		long := fits
		change(&long)
		require.ErrorContains(t, long.Check(), name)
	}
}

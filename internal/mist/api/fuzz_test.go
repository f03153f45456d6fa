package api

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzReplies: no reply makes a parser panic, and every error is ErrReply and short.
func FuzzReplies(f *testing.F) {
	for _, r := range recordedExchanges(f) {
		f.Add(string(r.Reply))
		f.Add(strings.ToUpper(string(r.Reply)))
	}
	f.Add(someConfig)
	f.Add("{" + sessionsReply(3) + "}")
	f.Add(`{"authorize":{"challenge":"x","status":"CHALL"}}`)
	f.Fuzz(func(t *testing.T, reply string) {
		check := func(err error) {
			if err != nil {
				require.True(t, errors.Is(err, ErrReply))
				require.Less(t, len(err.Error()), 300+len(reply)/10)
			}
		}
		list, err := parseSessions(reply)
		check(err)
		require.LessOrEqual(t, len(list.Sessions)*shortestRow, len(reply)+len("},"))
		if err == nil && json.Valid([]byte(reply)) && utf8.ValidString(reply) {
			sameSessions(t, reply, list)
		}
		_, err = parseActiveStreams(reply)
		check(err)
		check(parseStreamTags(reply, make(map[string][]string)))
		_, err = parseVersion(reply)
		check(err)
		_, err = readVerdict(reply)
		check(err)
		config, err := parseConfig(reply)
		check(err)
		if err == nil {
			written, err := appendValue(nil, config.Triggers)
			require.NoError(t, err)
			require.Equal(t, essence(config.Triggers), essence(readTriggers(written)))
		}
	})
}

// sameSessions holds the list against what encoding/json reads.
func sameSessions(t *testing.T, reply string, list SessionList) {
	var r struct {
		Clients struct {
			Data   [][]any
			Fields []string
		}
	}
	if strings.Count(strings.ToLower(reply), "clients") != 1 || strings.Count(reply, "\\") > 0 ||
		json.Unmarshal([]byte(reply), &r) != nil || strings.Count(reply, `"data"`)+strings.Count(reply, `"fields"`) != 2 {
		return // encoding/json takes other names for the same, and the last of several
	}
	require.Len(t, list.Sessions, len(r.Clients.Data))
	for i, row := range r.Clients.Data {
		for j, name := range r.Clients.Fields {
			text, ok := row[j].(string)
			if want := map[string]string{"sessid": list.Sessions[i].ID, "stream": list.Sessions[i].Stream,
				"host": list.Sessions[i].Host, "protocol": list.Sessions[i].Connector}; ok && strings.Count(reply, `"`+name+`"`) == 1 {
				if _, known := want[name]; known {
					require.Equal(t, want[name], text)
				}
			}
		}
	}
}

// FuzzScanner: what is JSON is read, texts as encoding/json reads them, and nothing panics.
func FuzzScanner(f *testing.F) {
	for _, r := range recordedExchanges(f) {
		f.Add(string(r.Request))
		f.Add(string(r.Reply))
	}
	for _, text := range []string{`"\u00e9\ud83d\ude00\ud83d\n\/"`, `-1.5e+3`, `[true,false,null,[]]`, ` {"a" : {"":[1,{}]} } `, `"\ud83d\u0041"`, `"\ud83dx"`, `"a\"b"`, `["\\", "\\\""]`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := scanner{text: text}
		s.skip()
		s.end()
		var text1, text2 string
		whole := scanner{text: text}
		if strings.HasPrefix(text, `"`) {
			text1 = whole.str()
			whole.end()
		}
		if !json.Valid([]byte(text)) || strings.Count(text, "[")+strings.Count(text, "{") > maxDepth {
			return
		}
		require.NoError(t, s.err())
		if strings.HasPrefix(text, `"`) {
			require.NoError(t, whole.err())
			require.NoError(t, json.Unmarshal([]byte(text), &text2))
			if utf8.ValidString(text) {
				require.Equal(t, text2, text1)
			}
		}
		// Without its escapes it says the same.
		plain := appendUnescaped(nil, []byte(text))
		require.True(t, json.Valid(plain))
		require.Equal(t, readAny(t, text), readAny(t, string(plain)))
	})
}

func readAny(t *testing.T, text string) (value any) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	require.NoError(t, d.Decode(&value))
	return value
}

// FuzzText: any bytes are read back as they were, and JSON where they are UTF-8.
func FuzzText(f *testing.F) {
	for _, text := range []string{"", "live+\"a\"\\", "\x00\x1f\x7f", "\xff\xfe", "中\u2028é😀", "</script>"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		written := appendText(nil, text)
		require.Len(t, written, textLength(text))
		s := scanner{text: string(written)}
		require.Equal(t, text, s.str())
		s.end()
		require.NoError(t, s.err())
		var read string
		require.NoError(t, json.Unmarshal(written, &read))
		if utf8.ValidString(text) {
			require.Equal(t, text, read)
		}
		require.False(t, strings.ContainsFunc(string(written), func(r rune) bool { return r < ' ' }))
	})
}

package credential

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// otherKey is another than exampleKey.
const otherKey = "ak_77777777777777777777777777"

func TestFromURL(t *testing.T) {
	jwt := hsToken(goodClaims())
	for _, c := range []struct{ name, url, want string }{
		{"empty", "", ""},
		{"no query", "rtsp://127.0.0.1:5554/movie", ""},
		{"empty query", "http://h/p?", ""},
		{"rtmp", "rtmp://127.0.0.1:1935/play/movie?token=" + exampleKey, exampleKey},
		{"jwt", "rtmp://h/play/movie?jwt=" + jwt, jwt},
		{"tkn", "http://h/p?a=b&tkn=" + exampleKey, exampleKey},
		{"key", "http://h/p?key=" + exampleKey, exampleKey},
		{"sid", "http://h/p?sid=" + exampleKey, exampleKey},
		{"sessId", "http://h/p?sessId=" + exampleKey, exampleKey},
		{"access_token", "http://h/p?access_token=" + exampleKey, exampleKey},
		{"another name", "http://h/p?apikey=" + exampleKey, ""},
		{"another case", "http://h/p?Token=" + exampleKey, ""},
		{"a name that holds one", "http://h/p?xtoken=" + exampleKey, ""},
		{"no form of a credential", "http://h/p?token=hello", ""},
		{"a made-up number", "http://h/p?tkn=12345", ""},
		{"no value", "http://h/p?token&key=" + exampleKey, exampleKey},
		{"skips what is none", "http://h/p?key=movie&token=" + exampleKey, exampleKey},
		{"skips what is none of the same name", "http://h/p?token=x&token=" + exampleKey, exampleKey},
		{"jwt over tkn", "http://h/p?jwt=" + exampleKey + "&tkn=" + otherKey, exampleKey},
		{"tkn over sid", "http://h/p?sid=" + otherKey + "&tkn=" + exampleKey, exampleKey},
		{"sid over sessId", "http://h/p?sessId=" + otherKey + "&sid=" + exampleKey, exampleKey},
		{"token over key", "http://h/p?key=" + otherKey + "&token=" + exampleKey, exampleKey},
		{"the first of one name", "http://h/p?token=" + exampleKey + "&token=" + otherKey, exampleKey},
		{"escaped", "http://h/p?token=%61k%5F" + exampleKey[3:], exampleKey},
		{"escaped twice", "http://h/p?token=%2561k_" + exampleKey[3:], ""},
		{"escaped wrong", "http://h/p?token=%zz&key=" + exampleKey, exampleKey},
		{"escaped line break", "http://h/p?token=" + exampleKey + "%0a", ""},
		{"plus", "http://h/p?token=+" + exampleKey, ""},
		{"without first letter", "http://h/p?token=" + exampleKey[1:], exampleKey},
		{"fragment", "http://h/p#?token=" + exampleKey, ""},
		{"fragment after the query", "http://h/p?a=b#&token=" + exampleKey, ""},
		{"fragment ends the value", "http://h/p?token=" + exampleKey + "#x", exampleKey},
		{"a second question mark is of the value", "http://h/p?a=b?token=" + exampleKey, ""},
		{"in the path", "http://h/token=" + exampleKey, ""},
		{"only a query", "?token=" + exampleKey, exampleKey},
		{"ampersands", "http://h/p?&&&token=" + exampleKey + "&&", exampleKey},
		{"long and escaped", "http://h/p?token=" + strings.Repeat("%41", maxToken+1), ""},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, FromURL(c.url)) })
	}
}

func TestLastPathElement(t *testing.T) {
	for _, c := range []struct{ name, url, want string }{
		{"empty", "", ""},
		{"a stream key", "rtmp://host:1935/live/" + exampleKey, exampleKey},
		{"and a query", "rtmp://host:1935/live/" + exampleKey + "?a=/b", exampleKey},
		{"and a fragment", "rtmp://host:1935/live/" + exampleKey + "#/b", exampleKey},
		{"recorded", "rtmp://127.0.0.1:1935/app/live?key=streamkey123", "live"},
		{"escaped", "rtmp://host/live/%61k_" + exampleKey[3:], exampleKey},
		{"escaped slash", "rtmp://host/live/a%2Fb", "a/b"},
		{"escaped wrong", "rtmp://host/live/%zz", ""},
		{"longer than any token, escaped", "rtmp://host/" + strings.Repeat("%41", maxToken+1), ""},
		{"slash at the end", "rtmp://host/live/", ""},
		{"no path", "srt://host:8889?streamid=x", ""},
		{"no path, a key for a host", "rtmp://" + exampleKey, ""},
		{"no scheme", "/live/key", "key"},
		{"one word", "key", "key"},
		{"a URL in a URL", "rtmp://host/a/http://b/" + exampleKey, exampleKey},
		{"scheme only", "rtmp://", ""},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, LastPathElement(c.url)) })
	}
}

// What MistServer sent: the token is line 3, the URL the third from the end (session id and flag follow).
func TestRecordings(t *testing.T) {
	for _, c := range []struct {
		file string
		form Form
	}{
		{"USER_NEW.rtmp.http", None},               // a process id
		{"USER_NEW.rtsp.http", None},               // a process id
		{"USER_NEW.forwarded-no-token.http", None}, // a made-up number
		{"USER_NEW.ipv6-jwt.http", JWT},
		{"USER_NEW.bearer-first-character-lost.http", Other}, // abcdef123456 was sent: no form tells what is missing
	} {
		t.Run(c.file, func(t *testing.T) {
			b, err := os.ReadFile("testdata/recordings/" + c.file)
			require.NoError(t, err)
			_, body, ok := strings.Cut(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n\n")
			require.True(t, ok)
			lines := strings.Split(body, "\n")
			form, text := Classify(lines[2])
			assert.Equal(t, c.form, form, form.String())
			assert.Equal(t, lines[2], text)
			if form == JWT {
				assert.Equal(t, text, FromURL(lines[4]))
			} else {
				assert.Empty(t, FromURL(lines[4]), "rtmptoken and the like are in no known form")
			}
		})
	}
	b, err := os.ReadFile("testdata/recordings/RTMP_PUSH_REWRITE.http")
	require.NoError(t, err)
	url, _, _ := strings.Cut(string(b)[strings.Index(string(b), "rtmp://"):], "\n")
	assert.Empty(t, FromURL(url))
	assert.Equal(t, exampleKey, FromURL(strings.Replace(url, "streamkey123", exampleKey, 1)))
	assert.Equal(t, "live", LastPathElement(url))
}

func TestFromURLAllocatesNothing(t *testing.T) {
	url := "rtmp://127.0.0.1:1935/play/movie?a=b&key=movie&token=" + exampleKey
	assert.Zero(t, testing.AllocsPerRun(100, func() { FromURL(url); LastPathElement(url) }))
}

func FuzzFromURL(f *testing.F) {
	for _, s := range []string{
		"", "?", "#", "%", "rtmp://h/play/movie?token=" + exampleKey, "http://h/p?jwt=" + hsToken(goodClaims()), "?tkn=%6" + exampleKey,
		"a://b://c?key=" + exampleKey[1:] + "#&=%00", "?key=%61" + exampleKey[1:] + "&jwt=%zz",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		found := FromURL(s)
		if form, same := Classify(found); found != "" && (form != Key && form != JWT || same != found) {
			t.Fatalf("FromURL(%q) = %q, which is no credential", s, found)
		}
		if found != "" && !strings.Contains(s, "?") {
			t.Fatalf("FromURL(%q) = %q, without a query", s, found)
		}
		if last := LastPathElement(s); len(last) > len(s) {
			t.Fatalf("LastPathElement(%q) = %q", s, last)
		}
	})
}

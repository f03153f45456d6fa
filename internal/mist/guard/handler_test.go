package guard

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSame(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"http://h:4280/trigger", "http://h:4280/trigger", true},
		{"http://h:4280/trigger/old", "http://h:4280/trigger/new", true},
		{"http://h:4280/trigger", "http://h:4280/trigger/new", true},
		{"http://h:4280/a/trigger/x", "http://h:4280/a/trigger", true},
		{"http://h:4280/trigger", "http://h:4281/trigger", false},
		{"http://h:4280/trigger", "https://h:4280/trigger", false},
		{"http://h:4280/trigger", "http://h:4280/triggers", false},
		{"http://h:4280/trigger", "http://h:4280/a/trigger", false},
		{"http://trigger/old", "http://trigger/new", false},
		{"/usr/bin/authhook-trigger", "/usr/bin/authhook-trigger", true},
		{"/usr/bin/authhook-trigger", "/opt/authhook-trigger", false},
		{"/srv/trigger/a", "/srv/trigger/b", false},
		{"", "http://h/trigger", false},
	} {
		assert.Equal(t, test.same, Same(test.a, test.b), "%s, %s", test.a, test.b)
		assert.Equal(t, test.same, Same(test.b, test.a), "%s, %s", test.b, test.a)
	}
}

func TestLooksLikeAuthhook(t *testing.T) {
	for handler, is := range map[string]bool{
		"http://h:4280/trigger": true, "https://h/auth/trigger/key": true, "/usr/local/bin/authhook-trigger": true,
		"http://h:4280/": false, "http://trigger": false, "http://trigger/hook": false, "/usr/bin/other": false, "": false,
	} {
		assert.Equal(t, is, LooksLikeAuthhook(handler), handler)
	}
}

func TestRedact(t *testing.T) {
	for handler, want := range map[string]string{
		"http://h:4280/trigger/s3cret":         "http://h:4280/trigger/…",
		"https://h/a/trigger/s3cret?x=s3cret2": "https://h/a/trigger/…",
		"http://h:4280/trigger":                "http://h:4280/trigger",
		"http://h:4280/trigger/":               "http://h:4280/trigger",
		"http://op:s3cret@h:4280/trigger":      "http://h:4280/trigger",
		"http://op:s3cret@h":                   "http://h",
		"http://op:s3:c@ret@h/hook":            "http://h/hook",
		"http://h/hook?token=s3cret":           "http://h/hook?…",
		"http://h?token=s3cret@x":              "http://h?…",
		"http://h/hook#s3cret":                 "http://h/hook#…",
		"ftp://op:s3cret@h/x":                  "ftp://h/x",
		"/usr/local/bin/authhook-trigger":      "/usr/local/bin/authhook-trigger",
		"http://h/\x1b[2J":                     `"http://h/\x1b[2J"`,
		"":                                     "",
	} {
		assert.Equal(t, want, Redact(handler), handler)
		assert.NotContains(t, Redact(handler), "s3c")
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"live+Ä中": "live+Ä中", "a b": "a b", "a\x1b[31mb": `"a\x1b[31mb"`, "a\nb": `"a\nb"`, "a\u202eb": `"a\u202eb"`, "a\xffb": `"a\xffb"`, "": "",
	} {
		assert.Equal(t, want, Printable(text))
	}
}

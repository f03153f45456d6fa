package console_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/webhook/console"
)

// get asks the console for a path.
func get(t *testing.T, method, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	router := chi.NewRouter()
	console.Mount(router)
	r := httptest.NewRequest(method, path, http.NoBody)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	router.ServeHTTP(w, r)
	return w
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}

func found(pattern, text string) []string { return regexp.MustCompile(pattern).FindAllString(text, -1) }

// all are the files of the page, by path.
var all = map[string]struct{ name, kind string }{
	"/console/":            {"page.html", "text/html; charset=utf-8"},
	"/console/console.js":  {"console.js", "text/javascript; charset=utf-8"},
	"/console/elements.js": {"elements.js", "text/javascript; charset=utf-8"},
	"/console/console.css": {"console.css", "text/css; charset=utf-8"},
}

func TestFilesAndTheirHeaders(t *testing.T) {
	for path, want := range all {
		w := get(t, http.MethodGet, path)
		assert.Equal(t, http.StatusOK, w.Code, path)
		assert.Equal(t, read(t, want.name), w.Body.String(), path)
		for name, value := range map[string]string{
			"Content-Type":                 want.kind,
			"X-Frame-Options":              "DENY",
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Cache-Control":                "no-cache",
		} {
			assert.Equal(t, value, w.Header().Get(name), "%s: %s", path, name)
		}
		assert.Empty(t, w.Header().Values("Set-Cookie"), path)
	}
}

// Nothing but the service's own script and style, nothing inline, no frame around it.
func TestPolicy(t *testing.T) {
	for path := range all {
		policy := map[string]string{}
		for _, part := range strings.Split(get(t, http.MethodGet, path).Header().Get("Content-Security-Policy"), "; ") {
			directive, value, _ := strings.Cut(part, " ")
			policy[directive] = value
		}
		assert.Equal(t, map[string]string{
			"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'", "base-uri": "'none'",
			"form-action": "'none'", "frame-ancestors": "'none'", "require-trusted-types-for": "'script'", "trusted-types": "'none'",
		}, policy, path)
	}
}

// A browser asks each time, and gets a file again only when it is another one.
func TestCaching(t *testing.T) {
	tags := map[string]bool{}
	for path := range all {
		tag := get(t, http.MethodGet, path).Header().Get("ETag")
		require.NotEmpty(t, tag, path)
		tags[tag] = true
		w := get(t, http.MethodGet, path, "If-None-Match", tag)
		assert.Equal(t, http.StatusNotModified, w.Code, path)
		assert.Empty(t, w.Body.String(), path)
		assert.Equal(t, http.StatusOK, get(t, http.MethodGet, path, "If-None-Match", `"other"`).Code, path)
	}
	assert.Len(t, tags, len(all), "each file has a tag of its own")
}

func TestPathsAndMethods(t *testing.T) {
	w := get(t, http.MethodGet, "/console")
	assert.Equal(t, http.StatusPermanentRedirect, w.Code)
	assert.Equal(t, "console/", w.Header().Get("Location"))
	for _, path := range []string{
		"/console/page.html", "/console/console.go", "/console/nosuch", "/console/..%2fconsole.go", "/console/%2e%2e", "/console/console.js/",
		"/console/assets/console.js", "/console/console.js%00", "/console/CONSOLE.JS", "/console//",
	} {
		assert.Equal(t, http.StatusNotFound, get(t, http.MethodGet, path).Code, path)
	}
	for path := range all {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
			assert.Equal(t, http.StatusMethodNotAllowed, get(t, method, path).Code, "%s %s", method, path)
		}
	}
}

// The page names its own files and nobody else's: nothing comes from, and nothing goes to, anywhere but the service.
func TestNothingFromElsewhere(t *testing.T) {
	for _, file := range all {
		text := read(t, file.name)
		assert.Empty(t, found(`(?i)(?:https?|wss?|blob):|data:[a-z]+/|["'(]//`, text), file.name)
		assert.Empty(t, found(`@import|url\(|import\(|importScripts|sendBeacon|WebSocket|EventSource|XMLHttpRequest`, text), file.name)
	}
	named := regexp.MustCompile(`<(?:link|script)[^>]*(?:href|src)="([^"]*)"|from "\./([^"]*)"`).FindAllStringSubmatch(
		read(t, "page.html")+read(t, "console.js")+read(t, "elements.js"), -1)
	require.Len(t, named, 3)
	for _, n := range named {
		assert.Contains(t, all, "/console/"+n[1]+n[2])
	}
}

// The policy forbids what is inline, so it would not work; and the script has no way to read a text as HTML or as a script.
func TestNoTextBecomesMarkup(t *testing.T) {
	page := read(t, "page.html")
	assert.Empty(t, found(`(?i)<style|\sstyle=|\son[a-z]+=|javascript:`, page))
	assert.Empty(t, found(`(?is)<script[^>]*>[^<]`, page))
	script := read(t, "console.js") + read(t, "elements.js")
	assert.Empty(t, found(`innerHTML|outerHTML|insertAdjacentHTML|setHTML|document\.write|DOMParser|createContextualFragment|srcdoc`, script))
	assert.Empty(t, found(`eval\(|Function\(|\.src\b|\.style\b|javascript:`, script))
}

// The key is kept for the tab only, and sent in one place, as a header.
func TestTheKeyStays(t *testing.T) {
	script := read(t, "console.js") + read(t, "elements.js")
	assert.Empty(t, found(`localStorage|document\.cookie|indexedDB|console\.(?:log|error|info|debug)`, script))
	assert.Equal(t, 1, strings.Count(script, `Authorization: "Bearer " + key`))
	assert.Equal(t, 1, strings.Count(script, "fetch("))
}

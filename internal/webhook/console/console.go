// Package console is the page for people at /console/: who is watching, what a user has, why the answer is what it is,
// what billing said and who changed what. It is a view of the admin API and nothing more: it knows only what the API
// tells whoever has the key that was typed in, and there is no other way in.
//
// The page is plain HTML, a style sheet and a script of our own, from this program and from nowhere else. The service
// keeps nothing about who looks. What the API answers is strangers' text (stream names, addresses, user ids), and is
// never read as HTML: the script has no call that could, and the policy below has the browser refuse one.
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
)

//go:embed page.html console.js elements.js console.css
var files embed.FS

// policy lets the page load and ask only what is the service's own. The last two make the browser refuse to read a text
// as HTML or as a script.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Mount adds /console/ to a router.
func Mount(router chi.Router) {
	// Relative, for a proxy may serve all of this below a directory.
	router.Get("/console", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "console/")
		w.WriteHeader(http.StatusPermanentRedirect)
	})
	router.Get("/console/", file("page.html", "text/html"))
	assets := map[string]http.HandlerFunc{
		"console.js":  file("console.js", "text/javascript"),
		"elements.js": file("elements.js", "text/javascript"),
		"console.css": file("console.css", "text/css"),
	}
	router.Get("/console/{asset}", func(w http.ResponseWriter, r *http.Request) {
		asset := assets[chi.URLParam(r, "asset")]
		if asset == nil {
			http.Error(w, "there is no such file", http.StatusNotFound)
			return
		}
		asset(w, r)
	})
}

// file serves one file of the page. A browser asks each time whether it is still the same, so that page and script are
// of one version after the service was replaced.
func file(name, kind string) http.HandlerFunc {
	text, err := files.ReadFile(name)
	if err != nil {
		panic(fmt.Sprintf("console: %s is not embedded: %v", name, err)) // go:embed names it
	}
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(text))
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind+"; charset=utf-8")
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	}
}

// Package docs shows the contract to people: Swagger UI over openapi.yaml, from this program and from nowhere else. The
// page needs no network and sends nothing anywhere but to the service it came from.
//
// The files in assets are those of the npm package swagger-ui-dist 5.35.0, unchanged (Apache 2.0); page.html and page.js
// are ours.
package docs

import (
	"embed"
	"net/http"
	"path"

	"github.com/go-chi/chi/v5"

	"authhook"
)

//go:embed assets page.html page.js
var files embed.FS

// policy lets the page load and ask only what is the service's own. Swagger UI sets styles of its own, and has pictures
// in its style sheet.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

var kinds = map[string]string{".html": "text/html", ".js": "text/javascript", ".css": "text/css"}

// Mount adds /docs and /openapi.yaml to a router.
func Mount(router chi.Router) {
	router.Get("/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		write(w, "application/yaml", authhook.OpenAPI)
	})
	router.Get("/docs", func(w http.ResponseWriter, _ *http.Request) { serve(w, "page.html") })
	router.Get("/docs/{asset}", func(w http.ResponseWriter, r *http.Request) {
		name := chi.URLParam(r, "asset")
		if name != "page.js" {
			name = "assets/" + path.Base(name)
		}
		serve(w, name)
	})
}

func serve(w http.ResponseWriter, name string) {
	text, err := files.ReadFile(name)
	if err != nil {
		http.Error(w, "there is no such file", http.StatusNotFound)
		return
	}
	kind := kinds[path.Ext(name)]
	if kind == "" {
		kind = "text/plain"
	}
	write(w, kind+"; charset=utf-8", text)
}

func write(w http.ResponseWriter, kind string, text []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(text)
}

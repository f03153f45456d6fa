package guard

import (
	"path"
	"strconv"
	"strings"
	"unicode"
)

// Program is the name of authhook's executable handler.
const Program = "authhook-trigger"

// endpoint ends the URL of authhook's triggers, before the key.
const endpoint = "/trigger"

// isURL says whether a handler is asked over HTTP; else it is the path of a program.
func isURL(handler string) bool {
	return strings.HasPrefix(handler, "http://") || strings.HasPrefix(handler, "https://")
}

// split takes the key off a trigger URL. ok is whether it is one: a URL whose path is …/trigger or …/trigger/KEY.
func split(handler string) (base, key string, ok bool) {
	if !isURL(handler) {
		return handler, "", false
	}
	host := strings.Index(handler, "://") + len("://")
	slash := strings.IndexByte(handler[host:], '/')
	if slash < 0 {
		return handler, "", false
	}
	from := host + slash
	at := strings.Index(handler[from:]+"/", endpoint+"/")
	if at < 0 {
		return handler, "", false
	}
	end := from + at + len(endpoint)
	return handler[:end], strings.TrimPrefix(handler[end:], "/"), true
}

// Same says whether two handlers are the same authhook: equal, or trigger URLs that differ in the key alone. An entry with
// an old key is answered with a denial, and one of several handlers that denies is enough.
func Same(a, b string) bool {
	if a == b {
		return true
	}
	baseA, _, okA := split(a)
	baseB, _, okB := split(b)
	return okA && okB && baseA == baseB
}

// LooksLikeAuthhook says whether a handler is one by its form: a URL that ends in /trigger or /trigger/KEY, or a program of
// authhook-trigger's name.
func LooksLikeAuthhook(handler string) bool {
	if isURL(handler) {
		_, _, ok := split(handler)
		return ok
	}
	return path.Base(handler) == Program
}

// Redact is a handler as it may be shown: without user, password, query and the key of a trigger URL.
func Redact(handler string) string {
	if !strings.Contains(handler, "://") {
		return Printable(handler)
	}
	base, key, _ := split(handler)
	if key != "" {
		base += "/…"
	}
	if i := strings.IndexAny(base, "?#"); i >= 0 {
		base = base[:i+1] + "…"
	}
	host := strings.Index(base, "://") + len("://")
	end := len(base)
	if i := strings.IndexAny(base[host:], "/?#"); i >= 0 {
		end = host + i
	}
	if i := strings.LastIndexByte(base[host:end], '@'); i >= 0 {
		base = base[:host] + base[host+i+1:]
	}
	return Printable(base)
}

// Printable is a text of MistServer's, some of which viewers choose, as a terminal may be given it.
func Printable(text string) string {
	plain := func(r rune) bool { return r != unicode.ReplacementChar && unicode.IsPrint(r) }
	if !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return strconv.QuoteToGraphic(text)
}

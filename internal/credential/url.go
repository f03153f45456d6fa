package credential

import (
	"net/url"
	"slices"
	"strings"
)

// parameters are the query parameters that may carry a credential, the one that wins first: MistServer's own order
// (jwt over tkn over sid over sessId), and where players and encoders are told to put one.
var parameters = [...]string{"jwt", "tkn", "token", "key", "sid", "sessId", "access_token"}

// FromURL is the credential in a URL's query, as [Classify] returns it; empty when there is none. It is for requests
// whose token line carries none: RTMP keeps its query in the URL only (USER_NEW.rtmp.http).
//
// Of several, the parameter that comes first in this list wins: jwt, tkn, token, key, sid, sessId, access_token,
// wherever it stands in the URL; of several of one name, the first. Only a value in a credential's form counts, so
// that ?key=movie&token=ak_… is the token. That it looks like one is not proof: it has to be found or verified still.
func FromURL(rawURL string) string {
	_, query, _ := strings.Cut(withoutFragment(rawURL), "?")
	best, found := len(parameters), ""
	for query != "" && best > 0 {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		rank := slices.Index(parameters[:best], name)
		if rank < 0 {
			continue
		}
		if form, c := Classify(unescape(value)); form == Key || form == JWT {
			best, found = rank, c
		}
	}
	return found
}

// LastPathElement is what stands after the last slash of a URL's path, decoded: a stream key in a push URL such as
// rtmp://host/live/ak_…. Empty when the path is, or ends in a slash. What it returns is whatever the publisher wrote.
func LastPathElement(rawURL string) string {
	path, _, _ := strings.Cut(withoutFragment(rawURL), "?")
	if _, rest, ok := strings.Cut(path, "://"); ok {
		_, path, _ = strings.Cut(rest, "/") // what is before the first slash is the host
	}
	return unescape(path[strings.LastIndexByte(path, '/')+1:])
}

func withoutFragment(rawURL string) string {
	before, _, _ := strings.Cut(rawURL, "#")
	return before
}

// unescape decodes percent signs; a plus sign stays one. Empty when they are wrong, or when the text is longer than the
// longest token could be if all of it were escaped.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	if len(s) > 3*maxToken {
		return ""
	}
	u, err := url.PathUnescape(s)
	if err != nil {
		return ""
	}
	return u
}

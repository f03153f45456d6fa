package misttest

import (
	"net/url"
	"strconv"
	"strings"
)

// request makes the token line and the URL that a connection of this player brings.
func (p *Player) request() {
	v := &p.viewer
	if p.url != "" && v.Connector != "RTMP" && v.Connector != "RTSP" {
		return // all that it brings is as it was
	}
	p.url = v.URL
	if p.url == "" {
		p.url = defaultURL(v)
	}
	p.url = sortedQuery(p.url)
	switch v.Connector {
	case "RTMP":
		// The token line is a process id, the query stays in the URL (USER_NEW.rtmp.http).
		p.key = strconv.Itoa(p.pid)
	case "RTSP":
		// The same, without query and user (USER_NEW.rtsp.http).
		p.key = strconv.Itoa(p.pid)
		p.url, _, _ = strings.Cut(p.url, "?")
		p.url = withoutUser(p.url)
	default:
		p.key = v.Token
		if p.key == "" {
			p.key = tokenOf(p.url)
		}
		if v.Bearer != "" {
			p.key = v.Bearer[1:] // it loses its first letter (USER_NEW.bearer-first-character-lost.http)
		}
		if p.key == "" {
			p.key = p.madeUp()
		}
	}
}

func defaultURL(v *Viewer) string {
	stream := url.PathEscape(v.Stream)
	query := ""
	if v.Token != "" {
		query = "?tkn=" + escape(v.Token)
	}
	switch v.Connector {
	case "RTMP":
		if v.Token != "" {
			query = "?token=" + escape(v.Token) // USER_NEW.rtmp.http
		}
		return "rtmp://127.0.0.1:1935/play/" + stream + query
	case "RTSP":
		return "rtsp://127.0.0.1:5554/" + stream
	case "HTTP":
		return "http://127.0.0.1:8080/json_" + stream + ".js" + query // USER_NEW.info-request.http
	case "HLS":
		return "http://127.0.0.1:8080/hls/" + stream + "/index.m3u8" + query
	}
	return "http://127.0.0.1:8080/" + stream + "." + strings.ToLower(v.Connector) + query // USER_NEW.http
}

// escape writes a query's value as MistServer does, in lowercase hex (USER_NEW.newline-in-token.http).
func escape(value string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(value) {
		c := value[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.~", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// sortedQuery puts the parameters of a query in order, as they arrive (USER_NEW.http).
func sortedQuery(address string) string {
	head, query, ok := strings.Cut(address, "?")
	if !ok || !strings.Contains(query, "&") {
		return address
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return address
	}
	// As in MistServer's map, a name has one value; sorted by name.
	var b strings.Builder
	for _, name := range sortedKeys(values) {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		all := values[name]
		b.WriteString(escape(name) + "=" + escape(all[len(all)-1]))
	}
	return head + "?" + b.String()
}

// tokenOf is the token in a URL's query: tkn, else sid, else sessId; jwt goes above them.
func tokenOf(address string) string {
	_, query, _ := strings.Cut(address, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return ""
	}
	for _, name := range []string{"jwt", "tkn", "sid", "sessId"} {
		if v := values.Get(name); v != "" {
			return v
		}
	}
	return ""
}

func withoutUser(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return address
	}
	host, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	return scheme + "://" + host + "/" + path
}

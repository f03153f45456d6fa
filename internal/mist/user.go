package mist

import (
	"net/netip"
	"strings"
)

// UserNew asks whether a viewer's session may begin, or, when MistServer was told to ask again, whether it may go on.
type UserNew struct {
	// Stream is the stream's full name, a wildcard's instance included ("live+a").
	Stream  string
	Address netip.Addr
	// Token is what the viewer presented, and may be any bytes. MistServer takes it from the query (tkn, sid, sessId,
	// above them jwt), the cookie tkn, or above all of these a Bearer header, which loses its first character
	// (USER_NEW.bearer-first-character-lost.http was sent as abcdef123456). With none of them it makes up a short decimal
	// number (USER_NEW.forwarded-no-token.http). For RTMP and RTSP it is a process id (USER_NEW.rtmp.http,
	// USER_NEW.rtsp.http).
	Token string
	// Connector is the protocol: "HLS", "RTMP". "HTTP" is a request for the player's JSON information, which opens the
	// very session that HLS then plays in (USER_NEW.info-request.http).
	Connector string
	// URL is the request's, its query in sorted order. RTMP keeps its query here (USER_NEW.rtmp.http), RTSP drops query
	// and user (USER_NEW.rtsp.http). It may be empty.
	URL string
	// SessionID is the same again when the viewer comes back with the same parameters: see [SessionID].
	SessionID string
	// First is set when the session is new, and not when MistServer asks again about one that runs
	// (USER_NEW.rerun.http).
	First bool
}

// Type is USER_NEW.
func (UserNew) Type() Type { return TypeUserNew }

// ParseUserNew reads the payload of a USER_NEW.
//
// The token stands in its middle, is the viewer's to choose, and may hold line breaks (USER_NEW.newline-in-token.http):
// read from the top, it could name any connector, URL and session id. So the stream and the address are taken from the
// front, all else from the back, and what is left is the token. A line break in the stream's name or in the URL still
// moves other parameters: [UserNew.SessionIDMatches] exposes that.
func ParseUserNew(body []byte) (UserNew, error) {
	p := read(TypeUserNew, body)
	var u UserNew
	u.Stream = p.front("stream")
	u.Address = p.address("address", p.front("address"))
	u.SessionID = p.back("session id")
	// A seventh line is there on the first ask only (USER_NEW.http, USER_NEW.rerun.http). It cannot be taken for a
	// session id, nor one for it.
	if u.SessionID == "false" || u.SessionID == "true" {
		u.First = true
		u.SessionID = p.back("session id")
	}
	p.checkSessionID(u.SessionID)
	u.URL = p.back("request URL")
	u.Connector = p.back("connector")
	u.Token = p.left
	return done(&p, u)
}

// UserEnd reports that a viewer's session is over. It may come up to 15 s after the last byte, ten minutes after a
// denial, or never.
type UserEnd struct {
	// Token is as in [UserNew].
	Token string
	// Streams, Connectors and Addresses are those that the session used, in MistServer's order, without the connector
	// HTTP (USER_END.two-connectors.http).
	Streams    []string
	Connectors []string
	Addresses  []netip.Addr
	// Seconds is how long the session was active.
	Seconds int64
	// BytesUp went to the viewer, BytesDown came from it (USER_END.http).
	BytesUp, BytesDown int64
	// Tags are the session's. One of them holds the user agent, as "UA:VLC/3.0.20" (USER_END.http), which the viewer
	// chose: with "][" in it, it makes up other tags. So they are for reading, never for deciding.
	Tags []string
	// SecondsPerAddress, SecondsPerConnector and SecondsPerStream belong to Addresses, Connectors and Streams and are
	// as long. Connections that run at the same time all count: a sum may exceed Seconds (USER_END.two-connectors.http).
	SecondsPerAddress   []int64
	SecondsPerConnector []int64
	SecondsPerStream    []int64
	SessionID           string
}

// Type is USER_END.
func (UserEnd) Type() Type { return TypeUserEnd }

// Denied says that the session never played: no stream, no connector and no address, as after a denial
// (USER_END.denied-session.http). A session that was allowed but gone within its first second looks the same (source).
func (e UserEnd) Denied() bool {
	return len(e.Streams) == 0 && len(e.Connectors) == 0 && len(e.Addresses) == 0
}

// ParseUserEnd reads the payload of a USER_END. The token comes first and may hold line breaks as in USER_NEW, so
// everything is taken from the back.
func ParseUserEnd(body []byte) (UserEnd, error) {
	p := read(TypeUserEnd, body)
	var e UserEnd
	e.SessionID = p.back("session id")
	p.checkSessionID(e.SessionID)
	e.SecondsPerStream = p.numbers("seconds per stream", p.back("seconds per stream"))
	e.SecondsPerConnector = p.numbers("seconds per connector", p.back("seconds per connector"))
	e.SecondsPerAddress = p.numbers("seconds per address", p.back("seconds per address"))
	e.Tags = p.tags(p.back("tags"))
	e.BytesDown = p.number("bytes down", p.back("bytes down"))
	e.BytesUp = p.number("bytes up", p.back("bytes up"))
	e.Seconds = p.number("seconds", p.back("seconds"))
	for _, a := range commaList(p.back("addresses")) {
		e.Addresses = append(e.Addresses, p.address("addresses", a))
	}
	e.Connectors = commaList(p.back("connectors"))
	e.Streams = p.streams(p.back("streams"), len(e.SecondsPerStream))
	e.Token = p.left
	p.checkLength("seconds per address", len(e.SecondsPerAddress), len(e.Addresses))
	p.checkLength("seconds per connector", len(e.SecondsPerConnector), len(e.Connectors))
	p.checkLength("seconds per stream", len(e.SecondsPerStream), len(e.Streams))
	return done(&p, e)
}

// streams splits the list of streams. Behind the + of a wildcard a name may hold commas (source): where there is one
// number of seconds, there is one name.
func (p *parameters) streams(value string, count int) []string {
	if count == 1 {
		return []string{value}
	}
	return commaList(value)
}

func (p *parameters) checkLength(name string, got, want int) {
	if got != want {
		p.fail(name, "one for each")
	}
}

// tags reads tags written as [a][b]; none are written as nothing (USER_END.denied-session.http).
func (p *parameters) tags(value string) []string {
	if value == "" {
		return nil
	}
	if value[0] != '[' || value[len(value)-1] != ']' {
		p.fail("tags", "each in brackets")
		return nil
	}
	return strings.Split(value[1:len(value)-1], "][")
}

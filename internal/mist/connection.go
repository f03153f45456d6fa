package mist

import "net/netip"

// Connection is the payload of CONN_OPEN and CONN_PLAY, which ask whether a connection may open and play, and of
// CONN_CLOSE, which reports its end. A session has many of them.
type Connection struct {
	// Trigger is one of the three types.
	Trigger Type
	// Stream may be empty in a CONN_OPEN: not every protocol knows it by then.
	Stream string
	// Address is the zero address when MistServer's own output connects: recordings to a file run these triggers too
	// (the log in PUSH_END.http).
	Address   netip.Addr
	Connector string
	// URL is the request's. It may be empty, and mostly is in a CONN_OPEN (CONN_OPEN.http).
	URL string
}

// Type is the Trigger.
func (c Connection) Type() Type { return c.Trigger }

func parseConnection(t Type, body []byte) (Connection, error) {
	p := read(t, body)
	c := Connection{Trigger: t}
	c.Stream = p.front("stream")
	c.Address, c.Connector, c.URL = p.requester()
	return done(&p, c)
}

// PlayRewrite asks which stream to play in the place of Stream. The answer Stream changes nothing.
type PlayRewrite struct {
	Stream string
	// Address is the zero address when MistServer's own output asks, as in [Connection].
	Address   netip.Addr
	Connector string
	URL       string
}

// Type is PLAY_REWRITE.
func (PlayRewrite) Type() Type { return TypePlayRewrite }

// ParsePlayRewrite reads the payload of a PLAY_REWRITE.
func ParsePlayRewrite(body []byte) (PlayRewrite, error) {
	p := read(TypePlayRewrite, body)
	var r PlayRewrite
	r.Stream = p.front("stream")
	r.Address, r.Connector, r.URL = p.requester()
	return done(&p, r)
}

// DefaultStream asks which stream to fall back to when the requested one is not there. The answer Default changes
// nothing.
type DefaultStream struct {
	// Default is the fallback as it is set. It may be empty (DEFAULT_STREAM.http).
	Default   string
	Requested string
	// Address is the zero address when MistServer's own output asks, as in [Connection].
	Address   netip.Addr
	Connector string
	URL       string
}

// Type is DEFAULT_STREAM.
func (DefaultStream) Type() Type { return TypeDefaultStream }

func parseDefaultStream(body []byte) (DefaultStream, error) {
	p := read(TypeDefaultStream, body)
	var d DefaultStream
	d.Default = p.front("current setting")
	d.Requested = p.front("requested stream")
	d.Address, d.Connector, d.URL = p.requester()
	return done(&p, d)
}

// requester takes who asks, which ends all of these payloads. The URL is the requester's to choose: it is whatever is
// left.
func (p *parameters) requester() (address netip.Addr, connector, url string) {
	address = p.addressOrNone("address", p.front("address"))
	connector = p.front("connector")
	return address, connector, p.left
}

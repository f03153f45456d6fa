package mist

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
)

// SessionMode is MistServer's setting sessionViewerMode: which parameters make a viewer's session.
type SessionMode uint8

// The bits of a session mode.
const (
	SessionByConnector SessionMode = 1 << iota
	SessionByToken
	SessionByAddress
	SessionByStream
)

// DefaultSessionMode is MistServer's own default, 14: stream, address and token, not the connector.
const DefaultSessionMode = SessionByStream | SessionByAddress | SessionByToken

const sessionIDLength = 2 * sha256.Size

// SessionID is the id of a viewer's session: lowercase hex SHA-256 of those parameters that the mode has a bit for
// (USER_NEW.http and its like were all made with the default mode; USER_NEW.ipv6-jwt.http from an IPv6 address).
// Whoever comes with the same parameters joins the same session, and then MistServer asks nothing.
func SessionID(mode SessionMode, stream string, addr netip.Addr, token, connector string) string {
	sum := sessionHash(mode, stream, addr, token, connector)
	return hex.EncodeToString(sum[:])
}

// SessionIDMatches says whether the session id is the one that MistServer makes from these parameters under the mode.
// If not, a line break in what the viewer chose has moved them, and none of them can be believed; or the server runs in
// another mode. A line break in the stream or the URL brings other parameters into the token, so the default mode exposes
// every one; a mode without the token does not.
func (u UserNew) SessionIDMatches(mode SessionMode) bool {
	sum := sessionHash(mode, u.Stream, u.Address, u.Token, u.Connector)
	var id [sessionIDLength]byte
	hex.Encode(id[:], sum[:])
	return u.SessionID == string(id[:])
}

func sessionHash(mode SessionMode, stream string, addr netip.Addr, token, connector string) [sha256.Size]byte {
	b := make([]byte, 0, 512) // on the stack, unless a token is longer than most JWTs
	if mode&SessionByStream != 0 {
		b = append(b, stream...)
	}
	if mode&SessionByAddress != 0 {
		a := addr.As16() // IPv4 as ::ffff:a.b.c.d
		b = append(b, a[:]...)
	}
	if mode&SessionByToken != 0 {
		b = append(b, token...)
	}
	if mode&SessionByConnector != 0 {
		b = append(b, connector...)
	}
	return sha256.Sum256(b)
}

// checkSessionID wants a viewer's session id. The ids of inputs, outputs and unspecified sessions begin with I, O and
// U, and fire neither USER_NEW nor USER_END.
func (p *parameters) checkSessionID(id string) {
	ok := len(id) == sessionIDLength
	for i := range len(id) {
		ok = ok && isHexDigit[id[i]]
	}
	if !ok {
		p.fail("session id", "64 lowercase hex digits")
	}
}

var isHexDigit = func() (is [256]bool) {
	for _, c := range "0123456789abcdef" {
		is[c] = true
	}
	return is
}()

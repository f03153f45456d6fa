package mist

import (
	"encoding/json"
	"net/netip"
)

// PushRewrite asks which stream a publisher's push goes to. The answer Stream changes nothing, an empty one denies.
//
// No session id vouches for a push. The URL is the publisher's to choose, and behind the + of a wildcard the stream is
// (source): a line break in them may move every parameter, the address too. Whichever of them it was in, the URL that
// comes out holds one: then nothing of the payload can be believed.
type PushRewrite struct {
	// URL is what was pushed to, mostly with a key in it (PUSH_REWRITE.http).
	URL     string
	Address netip.Addr
	// Stream is the name that MistServer reads in the URL.
	Stream string
}

// Type is PUSH_REWRITE.
func (PushRewrite) Type() Type { return TypePushRewrite }

// ParsePushRewrite reads the payload of a PUSH_REWRITE. The URL comes first and is the publisher's to choose, so all
// else is taken from the back.
func ParsePushRewrite(body []byte) (PushRewrite, error) {
	p := read(TypePushRewrite, body)
	var r PushRewrite
	r.Stream = p.back("stream")
	r.Address = p.address("address", p.back("address"))
	r.URL = p.left
	return done(&p, r)
}

// RTMPPushRewrite asks which URL to take in the place of a publisher's, before a stream's name is read in it. The
// answer URL changes nothing, an empty one denies.
type RTMPPushRewrite struct {
	URL     string
	Address netip.Addr
}

// Type is RTMP_PUSH_REWRITE.
func (RTMPPushRewrite) Type() Type { return TypeRTMPPushRewrite }

// ParseRTMPPushRewrite reads the payload of an RTMP_PUSH_REWRITE, from the back like [ParsePushRewrite].
func ParseRTMPPushRewrite(body []byte) (RTMPPushRewrite, error) {
	p := read(TypeRTMPPushRewrite, body)
	var r RTMPPushRewrite
	r.Address = p.address("address", p.back("address"))
	r.URL = p.left
	return done(&p, r)
}

// StreamPush asks whether a publisher may push to a stream. A line break in its URL means what it means in
// [PushRewrite].
type StreamPush struct {
	Stream    string
	Address   netip.Addr
	Connector string
	// URL is what was pushed to, mostly with a key in it (STREAM_PUSH.http).
	URL string
}

// Type is STREAM_PUSH.
func (StreamPush) Type() Type { return TypeStreamPush }

// ParseStreamPush reads the payload of a STREAM_PUSH.
func ParseStreamPush(body []byte) (StreamPush, error) {
	p := read(TypeStreamPush, body)
	var s StreamPush
	s.Stream = p.front("stream")
	s.Address = p.address("address", p.front("address"))
	s.Connector = p.front("connector")
	s.URL = p.left
	return done(&p, s)
}

// PushOutStart asks where a push from this server goes. The answer Target changes nothing, an empty one aborts.
type PushOutStart struct {
	Stream string
	// Target is a file or a URL, variables in it not yet replaced.
	Target string
}

// Type is PUSH_OUT_START.
func (PushOutStart) Type() Type { return TypePushOutStart }

func parsePushOutStart(body []byte) (PushOutStart, error) {
	p := read(TypePushOutStart, body)
	var s PushOutStart
	s.Stream = p.front("stream")
	s.Target = p.left
	return done(&p, s)
}

// PushEnd reports that a push from this server is over.
type PushEnd struct {
	ID     int64
	Stream string
	// TargetBefore is the target as it was asked for, TargetAfter as it was used.
	TargetBefore, TargetAfter string
	// Log is an array of the last ten lines that it logged, Status the object that it last reported.
	Log, Status json.RawMessage
}

// Type is PUSH_END.
func (PushEnd) Type() Type { return TypePushEnd }

func parsePushEnd(body []byte) (PushEnd, error) {
	p := read(TypePushEnd, body)
	var e PushEnd
	e.ID = p.number("push id", p.front("push id"))
	e.Stream = p.front("stream")
	e.TargetBefore = p.front("target before")
	e.TargetAfter = p.front("target after")
	e.Log = p.json("log", p.front("log"))
	e.Status = p.json("status", p.left)
	return done(&p, e)
}

package mist

import "encoding/json"

// SystemStart asks whether the server may start. False stops it. Its request is the one that carries no X-Instance
// (SYSTEM_START.http).
type SystemStart struct{ Version string }

// Type is SYSTEM_START.
func (SystemStart) Type() Type { return TypeSystemStart }

// SystemStop asks whether the server may stop. False keeps it running.
type SystemStop struct{ Reason string }

// Type is SYSTEM_STOP.
func (SystemStop) Type() Type { return TypeSystemStop }

// InputAbort reports that an input ended with an error.
type InputAbort struct {
	Stream string
	// Source is the file or URL that it read.
	Source string
	// Binary is the program ("MistInMP4"), PID its process.
	Binary string
	PID    int64
	// ReasonCode is for programs ("READ_START_FAILURE"), Reason for people.
	ReasonCode, Reason string
}

// Type is INPUT_ABORT.
func (InputAbort) Type() Type { return TypeInputAbort }

func parseInputAbort(body []byte) (InputAbort, error) {
	p := read(TypeInputAbort, body)
	var a InputAbort
	a.Stream = p.front("stream")
	a.Source = p.front("source")
	a.Binary = p.front("binary")
	a.PID = p.number("pid", p.front("pid"))
	a.ReasonCode = p.front("reason code")
	a.Reason = p.left
	return done(&p, a)
}

// LivepeerSegmentRejected reports a segment that Livepeer would not transcode. No recording shows one: its five lines
// are as MistServer documents them.
type LivepeerSegmentRejected struct {
	// Options are those of the transcode.
	Options json.RawMessage
	// Segment is the rejected segment, in base64.
	Segment string
	// Track describes the source track.
	Track json.RawMessage
	// FirstBroadcaster and SecondBroadcaster are the URLs that were tried; the second is "N/A" when there was none.
	FirstBroadcaster, SecondBroadcaster string
}

// Type is LIVEPEER_SEGMENT_REJECTED.
func (LivepeerSegmentRejected) Type() Type { return TypeLivepeerSegmentRejected }

func parseLivepeerSegmentRejected(body []byte) (LivepeerSegmentRejected, error) {
	p := read(TypeLivepeerSegmentRejected, body)
	var l LivepeerSegmentRejected
	l.Options = p.json("options", p.front("options"))
	l.Segment = p.front("segment")
	l.Track = p.json("track", p.front("track"))
	l.FirstBroadcaster = p.front("first broadcaster")
	l.SecondBroadcaster = p.left
	return done(&p, l)
}

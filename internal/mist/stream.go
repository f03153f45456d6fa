package mist

import (
	"encoding/json"
	"strings"
)

// StreamSource asks for a stream's source. An empty answer keeps the one that is configured.
type StreamSource struct{ Stream string }

// Type is STREAM_SOURCE.
func (StreamSource) Type() Type { return TypeStreamSource }

// StreamLifecycle is the payload of STREAM_LOAD and STREAM_REMOVE, which ask whether a stream may be loaded and its
// configuration removed.
type StreamLifecycle struct {
	// Trigger is one of the two types.
	Trigger Type
	Stream  string
}

// Type is the Trigger.
func (s StreamLifecycle) Type() Type { return s.Trigger }

// StreamConfig is the payload of STREAM_ADD and STREAM_CONFIG, which ask whether a stream may be added and its
// configuration changed.
type StreamConfig struct {
	// Trigger is one of the two types.
	Trigger Type
	Stream  string
	// Config is the new configuration.
	Config json.RawMessage
}

// Type is the Trigger.
func (s StreamConfig) Type() Type { return s.Trigger }

func parseStreamConfig(t Type, body []byte) (StreamConfig, error) {
	p := read(t, body)
	s := StreamConfig{Trigger: t}
	s.Stream = p.front("stream")
	s.Config = p.json("configuration", p.left)
	return done(&p, s)
}

// StreamReady asks whether a stream that has loaded may stay.
type StreamReady struct {
	Stream string
	Input  string // "MP4", "Buffer"
}

// Type is STREAM_READY.
func (StreamReady) Type() Type { return TypeStreamReady }

func parseStreamReady(body []byte) (StreamReady, error) {
	p := read(TypeStreamReady, body)
	var s StreamReady
	s.Stream = p.front("stream")
	s.Input = p.left
	return done(&p, s)
}

// StreamUnload asks whether a stream may be unloaded. False keeps it.
type StreamUnload struct {
	Stream, Input string
	// Reason is MistServer's own words, run together as they are (STREAM_UNLOAD.http).
	Reason string
}

// Type is STREAM_UNLOAD.
func (StreamUnload) Type() Type { return TypeStreamUnload }

func parseStreamUnload(body []byte) (StreamUnload, error) {
	p := read(TypeStreamUnload, body)
	var s StreamUnload
	s.Stream = p.front("stream")
	s.Input = p.front("input")
	s.Reason = p.left
	return done(&p, s)
}

// BufferState says how a live stream's buffer does.
type BufferState string

// The states of a buffer.
const (
	BufferEmpty   BufferState = "EMPTY"
	BufferFull    BufferState = "FULL"
	BufferDry     BufferState = "DRY"
	BufferRecover BufferState = "RECOVER"
)

// StreamBuffer reports that a live stream's buffer changed its state.
type StreamBuffer struct {
	Stream string
	State  BufferState
	// Health is nil when the buffer is empty (STREAM_BUFFER.http).
	Health json.RawMessage
}

// Type is STREAM_BUFFER.
func (StreamBuffer) Type() Type { return TypeStreamBuffer }

func parseStreamBuffer(body []byte) (StreamBuffer, error) {
	p := read(TypeStreamBuffer, body)
	var s StreamBuffer
	s.Stream = p.front("stream")
	state, health, _ := strings.Cut(p.left, "\n")
	s.State = BufferState(state)
	switch s.State {
	case BufferEmpty:
		s.Health = p.jsonOrNone("health", health)
	case BufferFull, BufferDry, BufferRecover:
		s.Health = p.json("health", health)
	default:
		p.fail("state", "EMPTY, FULL, DRY or RECOVER")
	}
	return done(&p, s)
}

// StreamEnd reports that nobody uses a stream any more, and what it was used for.
type StreamEnd struct {
	Stream                   string
	BytesDown, BytesUp       int64
	Viewers, Inputs, Outputs int64
	// ViewerSeconds is what all viewers watched together.
	ViewerSeconds int64
}

// Type is STREAM_END.
func (StreamEnd) Type() Type { return TypeStreamEnd }

func parseStreamEnd(body []byte) (StreamEnd, error) {
	p := read(TypeStreamEnd, body)
	var s StreamEnd
	s.ViewerSeconds = p.number("viewer seconds", p.back("viewer seconds"))
	s.Outputs = p.number("outputs", p.back("outputs"))
	s.Inputs = p.number("inputs", p.back("inputs"))
	s.Viewers = p.number("viewers", p.back("viewers"))
	s.BytesUp = p.number("bytes up", p.back("bytes up"))
	s.BytesDown = p.number("bytes down", p.back("bytes down"))
	s.Stream = p.left
	return done(&p, s)
}

// LiveBandwidth asks whether a live stream may go on at its rate. False stops it.
type LiveBandwidth struct {
	Stream         string
	BytesPerSecond int64
}

// Type is LIVE_BANDWIDTH.
func (LiveBandwidth) Type() Type { return TypeLiveBandwidth }

func parseLiveBandwidth(body []byte) (LiveBandwidth, error) {
	p := read(TypeLiveBandwidth, body)
	var l LiveBandwidth
	l.BytesPerSecond = p.number("bytes per second", p.back("bytes per second"))
	l.Stream = p.left
	return done(&p, l)
}

// LiveTrackList reports that a live stream's tracks changed.
type LiveTrackList struct {
	Stream string
	// Tracks is nil when none are left (LIVE_TRACK_LIST.http).
	Tracks json.RawMessage
}

// Type is LIVE_TRACK_LIST.
func (LiveTrackList) Type() Type { return TypeLiveTrackList }

func parseLiveTrackList(body []byte) (LiveTrackList, error) {
	p := read(TypeLiveTrackList, body)
	var l LiveTrackList
	l.Stream = p.front("stream")
	// The type adds a line break at the end (LIVE_TRACK_LIST.http).
	l.Tracks = p.jsonOrNone("tracks", strings.TrimSuffix(p.left, "\n"))
	return done(&p, l)
}

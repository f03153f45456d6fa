package mist

import "slices"

// Type is a trigger's type, as it stands in the header X-Trigger or in the only argument of an executable handler. Any
// text can be converted to it: see [Known].
type Type string

// The types that MistServer 3.10 has.
const (
	TypeUserNew                 Type = "USER_NEW"
	TypeUserEnd                 Type = "USER_END"
	TypeConnOpen                Type = "CONN_OPEN"
	TypeConnPlay                Type = "CONN_PLAY"
	TypeConnClose               Type = "CONN_CLOSE"
	TypePlayRewrite             Type = "PLAY_REWRITE"
	TypeStreamPush              Type = "STREAM_PUSH"
	TypePushRewrite             Type = "PUSH_REWRITE"
	TypeRTMPPushRewrite         Type = "RTMP_PUSH_REWRITE"
	TypePushOutStart            Type = "PUSH_OUT_START"
	TypeStreamSource            Type = "STREAM_SOURCE"
	TypeDefaultStream           Type = "DEFAULT_STREAM"
	TypeLiveBandwidth           Type = "LIVE_BANDWIDTH"
	TypeStreamAdd               Type = "STREAM_ADD"
	TypeStreamConfig            Type = "STREAM_CONFIG"
	TypeStreamRemove            Type = "STREAM_REMOVE"
	TypeStreamLoad              Type = "STREAM_LOAD"
	TypeStreamReady             Type = "STREAM_READY"
	TypeStreamUnload            Type = "STREAM_UNLOAD"
	TypeStreamBuffer            Type = "STREAM_BUFFER"
	TypeStreamEnd               Type = "STREAM_END"
	TypeLiveTrackList           Type = "LIVE_TRACK_LIST"
	TypeInputAbort              Type = "INPUT_ABORT"
	TypeRecordingEnd            Type = "RECORDING_END"
	TypeOutputEnd               Type = "OUTPUT_END"
	TypePushEnd                 Type = "PUSH_END"
	TypeOutputStart             Type = "OUTPUT_START"
	TypeOutputStop              Type = "OUTPUT_STOP"
	TypeSystemStart             Type = "SYSTEM_START"
	TypeSystemStop              Type = "SYSTEM_STOP"
	TypeLivepeerSegmentRejected Type = "LIVEPEER_SEGMENT_REJECTED"
)

var types = [...]Type{
	TypeUserNew, TypeUserEnd, TypeConnOpen, TypeConnPlay, TypeConnClose, TypePlayRewrite, TypeStreamPush,
	TypePushRewrite, TypeRTMPPushRewrite, TypePushOutStart, TypeStreamSource, TypeDefaultStream, TypeLiveBandwidth,
	TypeStreamAdd, TypeStreamConfig, TypeStreamRemove, TypeStreamLoad, TypeStreamReady, TypeStreamUnload,
	TypeStreamBuffer, TypeStreamEnd, TypeLiveTrackList, TypeInputAbort, TypeRecordingEnd, TypeOutputEnd, TypePushEnd,
	TypeOutputStart, TypeOutputStop, TypeSystemStart, TypeSystemStop, TypeLivepeerSegmentRejected,
}

// Types lists every type that the package knows.
func Types() []Type { return slices.Clone(types[:]) }

// Known says whether the package knows the type. Other builds of MistServer have more (STREAM_PROCESS,
// PUSH_INPUT_CLOSE): one that is not known must never break the server.
func Known(t Type) bool {
	_, known := t.answer()
	return known
}

// AnswerKind says what the answer to a trigger is for.
type AnswerKind uint8

// The kinds of answers.
const (
	// AnswerNone: nobody reads it.
	AnswerNone AnswerKind = iota
	// AnswerAllow: true or false. True lets MistServer go on with what it is about to do: play, load, stop. An answer
	// that begins with 1, yes, true or cont is true (source); anything else, an empty one too, is false.
	AnswerAllow
	// AnswerRewrite: a value to put in the place of one of the payload's. The payload's own type says which value
	// changes nothing, and what an empty one does.
	AnswerRewrite
)

// String is the kind in one word.
func (k AnswerKind) String() string {
	switch k {
	case AnswerNone:
		return "none"
	case AnswerAllow:
		return "allow"
	case AnswerRewrite:
		return "rewrite"
	}
	return "unknown"
}

// Answer is the kind of answer that a blocking trigger of the type is given; where the trigger is configured as
// non-blocking, nobody reads any. For a type that is not known it is AnswerAllow, because true is the answer that
// changes least.
func (t Type) Answer() AnswerKind {
	kind, _ := t.answer()
	return kind
}

func (t Type) answer() (kind AnswerKind, known bool) {
	switch t {
	case TypeUserNew, TypeConnOpen, TypeConnPlay, TypeStreamPush, TypeLiveBandwidth, TypeStreamAdd, TypeStreamConfig,
		TypeStreamRemove, TypeStreamLoad, TypeStreamReady, TypeStreamUnload, TypeSystemStart, TypeSystemStop:
		return AnswerAllow, true
	case TypePlayRewrite, TypePushRewrite, TypeRTMPPushRewrite, TypePushOutStart, TypeStreamSource, TypeDefaultStream:
		return AnswerRewrite, true
	case TypeUserEnd, TypeConnClose, TypeStreamBuffer, TypeStreamEnd, TypeLiveTrackList, TypeInputAbort,
		TypeRecordingEnd, TypeOutputEnd, TypePushEnd, TypeOutputStart, TypeOutputStop, TypeLivepeerSegmentRejected:
		return AnswerNone, true
	}
	return AnswerAllow, false
}

package mist

import (
	"errors"
	"fmt"
)

// Payload is what a trigger says: one of this package's structs, such as [UserNew].
type Payload interface {
	// Type is the trigger's type.
	Type() Type
}

// ErrUnknownType is matched by the error for a type that the package does not know.
var ErrUnknownType = errors.New("unknown trigger type")

// PayloadError says what is wrong with a payload. It never quotes the payload.
type PayloadError struct {
	Type Type
	// Problem names the parameter and what was expected of it.
	Problem string
}

// Error is the type and the problem.
func (e *PayloadError) Error() string { return string(e.Type) + " payload: " + e.Problem }

// Parse reads the payload of a trigger: the body of the request, or an executable handler's standard input. Its error
// is a [*PayloadError], or matches [ErrUnknownType].
//
// The strings in a payload share one copy of the body: who keeps one of them for long clones it, or keeps them all.
func Parse(t Type, body []byte) (Payload, error) {
	switch t {
	case TypeUserNew:
		return payload(ParseUserNew(body))
	case TypeUserEnd:
		return payload(ParseUserEnd(body))
	case TypeConnOpen, TypeConnPlay, TypeConnClose:
		return payload(parseConnection(t, body))
	case TypePlayRewrite:
		return payload(ParsePlayRewrite(body))
	case TypeDefaultStream:
		return payload(parseDefaultStream(body))
	case TypeStreamPush:
		return payload(ParseStreamPush(body))
	case TypePushRewrite:
		return payload(ParsePushRewrite(body))
	case TypeRTMPPushRewrite:
		return payload(ParseRTMPPushRewrite(body))
	case TypePushOutStart:
		return payload(parsePushOutStart(body))
	case TypePushEnd:
		return payload(parsePushEnd(body))
	case TypeStreamSource:
		return StreamSource{Stream: string(body)}, nil
	case TypeStreamRemove, TypeStreamLoad:
		return StreamLifecycle{Trigger: t, Stream: string(body)}, nil
	case TypeStreamAdd, TypeStreamConfig:
		return payload(parseStreamConfig(t, body))
	case TypeStreamReady:
		return payload(parseStreamReady(body))
	case TypeStreamUnload:
		return payload(parseStreamUnload(body))
	case TypeStreamBuffer:
		return payload(parseStreamBuffer(body))
	case TypeStreamEnd:
		return payload(parseStreamEnd(body))
	case TypeLiveBandwidth:
		return payload(parseLiveBandwidth(body))
	case TypeLiveTrackList:
		return payload(parseLiveTrackList(body))
	case TypeInputAbort:
		return payload(parseInputAbort(body))
	case TypeRecordingEnd, TypeOutputEnd:
		return payload(parseOutputEnd(t, body))
	case TypeOutputStart, TypeOutputStop:
		return payload(parseConnectorConfig(t, body))
	case TypeSystemStart:
		return SystemStart{Version: string(body)}, nil
	case TypeSystemStop:
		return SystemStop{Reason: string(body)}, nil
	case TypeLivepeerSegmentRejected:
		return payload(parseLivepeerSegmentRejected(body))
	}
	return nil, fmt.Errorf("%w %.40q", ErrUnknownType, string(t))
}

// payload is a typed result as Parse returns it: nil with an error, never half a payload.
func payload[P Payload](p P, err error) (Payload, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

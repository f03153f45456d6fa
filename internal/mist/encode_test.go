package mist_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"authhook/internal/mist"
)

// encode writes a payload as MistServer does: what Parse reads, from the other side and written independently of it.
func encode(payload mist.Payload) string {
	switch p := payload.(type) {
	case mist.UserNew:
		parts := []any{p.Stream, p.Address, p.Token, p.Connector, p.URL, p.SessionID}
		if p.First {
			parts = append(parts, "false")
		}
		return lines(parts...)
	case mist.UserEnd:
		tags := ""
		for _, tag := range p.Tags {
			tags += "[" + tag + "]"
		}
		return lines(p.Token, list(p.Streams), list(p.Connectors), list(p.Addresses), p.Seconds, p.BytesUp, p.BytesDown,
			tags, list(p.SecondsPerAddress), list(p.SecondsPerConnector), list(p.SecondsPerStream), p.SessionID)
	case mist.Connection:
		return lines(p.Stream, p.Address, p.Connector, p.URL)
	case mist.PlayRewrite:
		return lines(p.Stream, p.Address, p.Connector, p.URL)
	case mist.DefaultStream:
		return lines(p.Default, p.Requested, p.Address, p.Connector, p.URL)
	case mist.StreamPush:
		return lines(p.Stream, p.Address, p.Connector, p.URL)
	case mist.PushRewrite:
		return lines(p.URL, p.Address, p.Stream)
	case mist.RTMPPushRewrite:
		return lines(p.URL, p.Address)
	case mist.PushOutStart:
		return lines(p.Stream, p.Target)
	case mist.PushEnd:
		return lines(p.ID, p.Stream, p.TargetBefore, p.TargetAfter, string(p.Log), string(p.Status))
	case mist.StreamSource:
		return p.Stream
	case mist.StreamLifecycle:
		return p.Stream
	case mist.StreamConfig:
		return lines(p.Stream, string(p.Config))
	case mist.StreamReady:
		return lines(p.Stream, p.Input)
	case mist.StreamUnload:
		return lines(p.Stream, p.Input, p.Reason)
	case mist.StreamBuffer:
		if p.Health == nil {
			return lines(p.Stream, p.State)
		}
		return lines(p.Stream, p.State, string(p.Health))
	case mist.StreamEnd:
		return lines(p.Stream, p.BytesDown, p.BytesUp, p.Viewers, p.Inputs, p.Outputs, p.ViewerSeconds)
	case mist.LiveBandwidth:
		return lines(p.Stream, p.BytesPerSecond)
	case mist.LiveTrackList:
		return lines(p.Stream, string(p.Tracks), "")
	case mist.InputAbort:
		return lines(p.Stream, p.Source, p.Binary, p.PID, p.ReasonCode, p.Reason)
	case mist.OutputEnd:
		return lines(p.Stream, p.Target, p.Output, p.Bytes, p.Seconds, p.Start.Unix(), p.End.Unix(),
			uint64(p.MediaMillis), uint64(p.FirstMillis), uint64(p.LastMillis), p.ReasonCode, p.Reason, "")
	case mist.ConnectorConfig:
		return string(p.Config)
	case mist.SystemStart:
		return p.Version
	case mist.SystemStop:
		return p.Reason
	case mist.LivepeerSegmentRejected:
		return lines(string(p.Options), p.Segment, string(p.Track), p.FirstBroadcaster, p.SecondBroadcaster)
	}
	panic(fmt.Sprintf("no encoding of a %T", payload))
}

func lines(parts ...any) string { return join(parts, "\n") }

func list[T any](values []T) string { return join(values, ",") }

func join[T any](values []T, separator string) string {
	var texts []string
	for _, value := range values {
		switch v := any(value).(type) {
		case netip.Addr:
			if v.IsValid() {
				texts = append(texts, v.String())
			} else {
				texts = append(texts, "")
			}
		case int64:
			texts = append(texts, strconv.FormatInt(v, 10))
		default:
			texts = append(texts, fmt.Sprint(v))
		}
	}
	return strings.Join(texts, separator)
}

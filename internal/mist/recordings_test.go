package mist_test

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/mist"
	"authhook/internal/mist/recording"
)

var (
	local4 = netip.MustParseAddr("127.0.0.1")
	local6 = netip.MustParseAddr("::1")
)

const (
	hlsURL    = "http://127.0.0.1:8080/hls/movie/index.m3u8"
	jwt       = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtb3ZpZSJ9.c2ln"
	jwtURL    = "http://[::1]:8080/hls/movie/index.m3u8?jwt=" + jwt
	extraURL  = "http://127.0.0.1:8080/extra.mp4?rate=1&tkn=yan"
	publish   = "rtmp://127.0.0.1:1935/app/live?key=streamkey123"
	yanID     = "f698f47cfd88c45c7f12610e49ab0f8402a1315a99ac848f060b6685ebbcb6a0"
	infoID    = "4d98f533558e84e77066364864d766f52566bc42c1f7e5edd845e1fa5e1c4907"
	pushLog   = `[[1795327160,"INFO","Executing CONN_OPEN trigger: http://127.0.0.1:4280/trigger (blocking)","live",29758,"MistOutEBML","../lib/triggers.cpp:57"],[1795327173,"WARN","Dropping invalid track 1: disappeared from metadata","live",29758,"MistOutEBML","../src/output/output.cpp:2273"],[1795327173,"WARN","Dropping invalid track 0: disappeared from metadata","live",29758,"MistOutEBML","../src/output/output.cpp:2273"],[1795327173,"WARN","Dropping invalid track 2: disappeared from metadata","live",29758,"MistOutEBML","../src/output/output.cpp:2273"],[1795327173,"INFO","Buffer completely played out","live",29758,"MistOutEBML","../src/output/output.cpp:2368"],[1795327173,"INFO","Logging clean exit reason: end of stream","live",29758,"MistOutEBML","../lib/config.cpp:60"],[1795327173,"INFO","Client handler shutting down, exit reason: end of stream","live",29758,"MistOutEBML","../src/output/output.cpp:2152"],[1795327173,"INFO","Executing CONN_CLOSE trigger: http://127.0.0.1:4280/trigger (asynchronous)","live",29758,"MistOutEBML","../lib/triggers.cpp:57"],[1795327173,"INFO","Executing RECORDING_END trigger: http://127.0.0.1:4280/trigger (asynchronous)","live",29758,"MistOutEBML","../lib/triggers.cpp:57"],[1795327173,"INFO","Executing OUTPUT_END trigger: http://127.0.0.1:4280/trigger (asynchronous)","live",29758,"MistOutEBML","../lib/triggers.cpp:57"]]`
	pushState = `{"active_ms":9203,"active_seconds":9,"bytes":257785,"current_target":"/media/rec.mkv","latency":280,"media_tx":2556,"mediatime":16623,"tracks":[0,1,2]}`
)

// recorded is what each recording says, whole.
var recorded = map[string]mist.Payload{
	"USER_NEW": mist.UserNew{
		Stream: "extra", Address: local4, Token: "yan", Connector: "MP4", URL: extraURL, SessionID: yanID, First: true,
	},
	"USER_NEW.rerun": mist.UserNew{
		Stream: "extra", Address: local4, Token: "yan", Connector: "MP4", URL: extraURL, SessionID: yanID, First: false,
	},
	"USER_NEW.bearer-first-character-lost": mist.UserNew{
		Stream: "movie", Address: local4, Token: "bcdef123456", Connector: "HLS", URL: hlsURL,
		SessionID: "df4408e551a040de49e656d713c8d813719df69a7acbcc52dd25cce4760a7b7c", First: true,
	},
	"USER_NEW.forwarded-no-token": mist.UserNew{
		Stream: "movie", Address: netip.MustParseAddr("203.0.113.9"), Token: "1993345245", Connector: "HLS", URL: hlsURL,
		SessionID: "8c54f6e4e7dc8979741fab5968363dc7a1ef6be3a008c76d5222fe095a7bec33", First: true,
	},
	"USER_NEW.info-request": mist.UserNew{
		Stream: "movie", Address: local4, Token: "info1", Connector: "HTTP",
		URL: "http://127.0.0.1:8080/json_movie.js?tkn=info1", SessionID: infoID, First: true,
	},
	"USER_NEW.ipv6-jwt": mist.UserNew{
		Stream: "movie", Address: local6, Token: jwt, Connector: "HLS", URL: jwtURL,
		SessionID: "590be9d56926780ced50f8feb1d8e68ec74f777a1f1efb7301f3580763be09de", First: true,
	},
	"USER_NEW.newline-in-token": mist.UserNew{
		Stream: "movie", Address: local4, Token: "a\nb\nc", Connector: "HLS", URL: hlsURL + "?tkn=a%0ab%0ac",
		SessionID: "d6dae6ee287a5089fa77929dd9e13dd83da578fb5998cd90bf9ae1b02f154dfb", First: true,
	},
	"USER_NEW.rtmp": mist.UserNew{
		Stream: "movie", Address: local4, Token: "15302", Connector: "RTMP",
		URL:       "rtmp://127.0.0.1:1935/play/movie?token=rtmptoken",
		SessionID: "5daece06701982d390f8de576352e7ecd14885b6f2bf6d14ad39aab84fc1b8d9", First: true,
	},
	"USER_NEW.rtsp": mist.UserNew{
		Stream: "movie", Address: local4, Token: "15327", Connector: "RTSP", URL: "rtsp://127.0.0.1:5554/movie",
		SessionID: "c5d13262992c2538af06529e036b55801a2fbfd9353101f8293bf6dc80abc1d9", First: true,
	},
	"USER_END": mist.UserEnd{
		Token: "yan", Streams: []string{"extra"}, Connectors: []string{"MP4"}, Addresses: []netip.Addr{local4},
		Seconds: 8, BytesUp: 527711, BytesDown: 0, Tags: []string{"UA:VLC/3.0.20"},
		SecondsPerAddress: []int64{8}, SecondsPerConnector: []int64{8}, SecondsPerStream: []int64{8}, SessionID: yanID,
	},
	"USER_END.two-connectors": mist.UserEnd{
		Token: "info1", Streams: []string{"movie"}, Connectors: []string{"HLS"}, Addresses: []netip.Addr{local4},
		Seconds: 1, BytesUp: 3659, BytesDown: 0, Tags: []string{"UA:curl/7.88.1"},
		SecondsPerAddress: []int64{2}, SecondsPerConnector: []int64{1}, SecondsPerStream: []int64{2}, SessionID: infoID,
	},
	"USER_END.denied-session": mist.UserEnd{
		Token: "frank", SessionID: "c32bd6f7be07a0cb1cc8f132be3d9dfae68051abbf407c8c225e3972d7d75e7a",
	},
	"CONN_OPEN": mist.Connection{
		Trigger: mist.TypeConnOpen, Stream: "movie", Address: local6, Connector: "HLS", URL: "",
	},
	"CONN_PLAY": mist.Connection{
		Trigger: mist.TypeConnPlay, Stream: "movie", Address: local6, Connector: "HLS", URL: jwtURL,
	},
	"CONN_CLOSE": mist.Connection{
		Trigger: mist.TypeConnClose, Stream: "movie", Address: local6, Connector: "HLS", URL: jwtURL,
	},
	"PLAY_REWRITE": mist.PlayRewrite{Stream: "movie", Address: local6, Connector: "HLS", URL: jwtURL},
	"DEFAULT_STREAM": mist.DefaultStream{
		Default: "", Requested: "nosuch", Address: local4, Connector: "MP4", URL: "http://127.0.0.1:8080/nosuch.mp4",
	},
	"STREAM_PUSH":       mist.StreamPush{Stream: "live", Address: local4, Connector: "RTMP", URL: publish},
	"PUSH_REWRITE":      mist.PushRewrite{URL: publish, Address: local4, Stream: "live"},
	"RTMP_PUSH_REWRITE": mist.RTMPPushRewrite{URL: publish, Address: local4},
	"PUSH_OUT_START":    mist.PushOutStart{Stream: "live", Target: "/media/rec.mkv"},
	"PUSH_END": mist.PushEnd{
		ID: 29758, Stream: "live", TargetBefore: "/media/rec.mkv", TargetAfter: "/media/rec.mkv",
		Log: json.RawMessage(pushLog), Status: json.RawMessage(pushState),
	},
	"STREAM_SOURCE": mist.StreamSource{Stream: "movie"},
	"STREAM_LOAD":   mist.StreamLifecycle{Trigger: mist.TypeStreamLoad, Stream: "movie"},
	"STREAM_REMOVE": mist.StreamLifecycle{Trigger: mist.TypeStreamRemove, Stream: "extra"},
	"STREAM_ADD": mist.StreamConfig{
		Trigger: mist.TypeStreamAdd, Stream: "broken", Config: json.RawMessage(`{"source":"/media/missing.mp4"}`),
	},
	"STREAM_CONFIG": mist.StreamConfig{
		Trigger: mist.TypeStreamConfig, Stream: "extra",
		Config: json.RawMessage(`{"source":"/media/movie.mp4","tags":["paid"]}`),
	},
	"STREAM_READY": mist.StreamReady{Stream: "movie", Input: "MP4"},
	"STREAM_UNLOAD": mist.StreamUnload{
		Stream: "live", Input: "Buffer", Reason: "uncancelablesource disconnected for non-resumable stream",
	},
	"STREAM_BUFFER": mist.StreamBuffer{Stream: "live", State: mist.BufferEmpty},
	"STREAM_END": mist.StreamEnd{
		Stream: "live", BytesDown: 0, BytesUp: 378872, Viewers: 0, Inputs: 1, Outputs: 1, ViewerSeconds: 0,
	},
	"LIVE_BANDWIDTH":  mist.LiveBandwidth{Stream: "live", BytesPerSecond: 29151},
	"LIVE_TRACK_LIST": mist.LiveTrackList{Stream: "live"},
	"INPUT_ABORT": mist.InputAbort{
		Stream: "broken", Source: "/media/missing.mp4", Binary: "MistInMP4", PID: 30245,
		ReasonCode: "READ_START_FAILURE", Reason: "Could not open URL or contains no data",
	},
	"RECORDING_END": mist.OutputEnd{
		Trigger: mist.TypeRecordingEnd, Stream: "live", Target: "/media/rec.mkv", Output: "EBML", Bytes: 378872, Seconds: 13,
		Start: time.Date(2026, 11, 22, 5, 59, 20, 0, time.UTC), End: time.Date(2026, 11, 22, 5, 59, 33, 0, time.UTC),
		MediaMillis: 12714, FirstMillis: 7023, LastMillis: 19737, ReasonCode: "CLEAN_EOF", Reason: "end of stream",
	},
	"OUTPUT_END": mist.OutputEnd{
		Trigger: mist.TypeOutputEnd, Stream: "extra", Target: "", Output: "MP4", Bytes: 527711, Seconds: 8,
		Start: time.Date(2026, 11, 22, 6, 0, 20, 0, time.UTC), End: time.Date(2026, 11, 22, 6, 0, 28, 0, time.UTC),
		MediaMillis: 14907, FirstMillis: 0, LastMillis: 14907, ReasonCode: "CLEAN_REMOTE_CLOSE", Reason: "connection closed",
	},
	"OUTPUT_START": mist.ConnectorConfig{
		Trigger: mist.TypeOutputStart, Config: json.RawMessage(`{"connector":"RTMP","port":1935}`),
	},
	"OUTPUT_STOP": mist.ConnectorConfig{
		Trigger: mist.TypeOutputStop, Config: json.RawMessage(`{"connector":"RTMP","port":1935}`),
	},
	"SYSTEM_START": mist.SystemStart{Version: "3.10"},
	"SYSTEM_STOP":  mist.SystemStop{Reason: "signal Terminated (15) from process 16733"},
}

func recordings(t testing.TB) []*recording.Recording {
	t.Helper()
	all, err := recording.All()
	require.NoError(t, err)
	return all
}

func TestEveryRecordingIsInTheTable(t *testing.T) {
	var names []string
	for _, r := range recordings(t) {
		names = append(names, r.Name)
	}
	var table []string
	for name := range recorded {
		table = append(table, name)
	}
	require.ElementsMatch(t, names, table)
}

func TestParseRecordings(t *testing.T) {
	for _, r := range recordings(t) {
		t.Run(r.Name, func(t *testing.T) {
			got, err := mist.Parse(mist.Type(r.Type), r.Body)
			require.NoError(t, err)
			require.Equal(t, recorded[r.Name], got)
			require.Equal(t, mist.Type(r.Type), got.Type())
			require.Equal(t, string(r.Body), encode(got), "written again, it is the very payload")
		})
	}
}

func TestDenied(t *testing.T) {
	for name, payload := range recorded {
		if end, ok := payload.(mist.UserEnd); ok {
			require.Equal(t, name == "USER_END.denied-session", end.Denied(), name)
		}
	}
	// A session of nothing but the player's JSON information has no connector, and was not denied.
	require.False(t, mist.UserEnd{Streams: []string{"movie"}}.Denied())
	require.False(t, mist.UserEnd{Addresses: []netip.Addr{local4}}.Denied())
	require.False(t, mist.UserEnd{Connectors: []string{"HLS"}}.Denied())
}

func TestSessionIDsOfRecordings(t *testing.T) {
	for name, payload := range recorded {
		if u, ok := payload.(mist.UserNew); ok {
			require.Equal(t, u.SessionID,
				mist.SessionID(mist.DefaultSessionMode, u.Stream, u.Address, u.Token, u.Connector), name)
			require.True(t, u.SessionIDMatches(mist.DefaultSessionMode), name)
			require.False(t, u.SessionIDMatches(mist.DefaultSessionMode|mist.SessionByConnector), name)
		}
	}
}

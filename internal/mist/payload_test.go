package mist_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/mist"
)

func TestParseErrors(t *testing.T) {
	for _, row := range []struct {
		trigger       mist.Type
		body, problem string
	}{
		{"USER_NEW", "", "stream: expected more parameters after it"},
		{"USER_NEW", "movie", "stream: expected more parameters after it"},
		{"USER_NEW", "movie\n127.0.0.1", "address: expected more parameters after it"},
		{"USER_NEW", "movie\n127.0.0.1\ntoken", "session id: expected more parameters before it"},
		{"USER_NEW", "movie\n127.0.0.1\nHLS\nurl\n" + yanID, "connector: expected more parameters before it"},
		{"USER_NEW", "movie\n127.0.0.1\nurl\n" + yanID + "\nfalse", "request URL: expected more parameters before it"},
		{"USER_NEW", "movie\n127.0.0.1\n" + yanID + "\nfalse", "session id: expected more parameters before it"},
		{"USER_NEW", "movie\n\ntoken\nHLS\nurl\n" + yanID, "address: expected an IP address"},
		{"USER_NEW", "movie\nunknown\ntoken\nHLS\nurl\n" + yanID, "address: expected an IP address"},
		{"USER_NEW", "movie\n127.0.0.1 \ntoken\nHLS\nurl\n" + yanID, "address: expected an IP address"},
		{"USER_NEW", "movie\n127.0.0.1\ntoken\nHLS\nurl\n" + yanID + "\n", "session id: expected 64 lowercase hex digits"},
		{"USER_NEW", "movie\n127.0.0.1\ntoken\nHLS\nurl\n" + yanID + "\nfalse\n", "session id: expected 64 lowercase hex digits"},
		{"USER_NEW", "movie\n127.0.0.1\ntoken\nHLS\nurl\n" + yanID[1:], "session id: expected 64 lowercase hex digits"},
		{"USER_NEW", "movie\n127.0.0.1\ntoken\nHLS\nurl\nI" + yanID[1:], "session id: expected 64 lowercase hex digits"},
		{"USER_NEW", "movie\n127.0.0.1\ntoken\nHLS\nurl\nF" + yanID[1:], "session id: expected 64 lowercase hex digits"},
		{"USER_NEW", "movie\n127.0.0.1\ntoken\nHLS\nurl\n" + yanID[:63] + "g", "session id: expected 64 lowercase hex digits"},
		{"USER_NEW", "movie\n127.0.0.1\ntoken\nHLS\nurl\n" + yanID + "\nFALSE", "session id: expected 64 lowercase hex digits"},
		{"USER_NEW", "movie\n127.0.0.1\ntoken\nHLS\nurl\n" + yanID + "\nfalse\nfalse", "session id: expected 64 lowercase hex digits"},

		{"USER_END", yanID, "session id: expected more parameters before it"},
		{"USER_END", "\n\n\n1\n2\n3\n\n\n\n\n" + yanID, "streams: expected more parameters before it"},
		{"USER_END", "yan\n\n\n\n\n2\n3\n\n\n\n\n" + yanID, "seconds: expected a whole number"},
		{"USER_END", "yan\n\n\n\n1\n-2\n3\n\n\n\n\n" + yanID, "bytes up: expected a whole number"},
		{"USER_END", "yan\n\n\n\n1\n2\n9223372036854775808\n\n\n\n\n" + yanID, "bytes down: expected a whole number"},
		{"USER_END", "yan\n\n\n\n1\n2\n3\nUA:x]\n\n\n\n" + yanID, "tags: expected each in brackets"},
		{"USER_END", "yan\n\n\n\n1\n2\n3\n[UA:x\n\n\n\n" + yanID, "tags: expected each in brackets"},
		{"USER_END", "yan\n\n\n\n1\n2\n3\n[\n\n\n\n" + yanID, "tags: expected each in brackets"},
		{"USER_END", "yan\n\n\nhost\n1\n2\n3\n\n1\n\n\n" + yanID, "addresses: expected an IP address"},
		{"USER_END", "yan\n\n\n::1,\n1\n2\n3\n\n1,1\n\n\n" + yanID, "addresses: expected an IP address"},
		{"USER_END", "yan\n\n\n::1\n1\n2\n3\n\n\n\n\n" + yanID, "seconds per address: expected one for each"},
		{"USER_END", "yan\n\nHLS\n\n1\n2\n3\n\n\n1,2\n\n" + yanID, "seconds per connector: expected one for each"},
		{"USER_END", "yan\nlive\n\n\n1\n2\n3\n\n\n\n\n" + yanID, "seconds per stream: expected one for each"},
		{"USER_END", "yan\na,b\n\n\n1\n2\n3\n\n\n\n1,,2\n" + yanID, "seconds per stream: expected a whole number"},
		{"USER_END", "yan\n\n\n\n1\n2\n3\n\n\n\n\nO" + yanID[1:], "session id: expected 64 lowercase hex digits"},

		{"CONN_OPEN", "movie\n::1\nHLS", "connector: expected more parameters after it"},
		{"CONN_PLAY", "movie\nhost\nHLS\nurl", "address: expected an IP address"},
		{"CONN_CLOSE", "movie", "stream: expected more parameters after it"},
		{"PLAY_REWRITE", "movie\n::1", "address: expected more parameters after it"},
		{"DEFAULT_STREAM", "nosuch\n127.0.0.1\nMP4\nurl", "address: expected an IP address"},
		{"STREAM_PUSH", "live\n\nRTMP\nurl", "address: expected an IP address"},
		{"PUSH_REWRITE", "url\n127.0.0.1", "address: expected more parameters before it"},
		{"PUSH_REWRITE", "url\n\nlive", "address: expected an IP address"},
		{"RTMP_PUSH_REWRITE", "url", "address: expected more parameters before it"},
		{"RTMP_PUSH_REWRITE", "url\n", "address: expected an IP address"},
		{"PUSH_OUT_START", "live", "stream: expected more parameters after it"},
		{"PUSH_END", "x\nlive\na\nb\n[]\n{}", "push id: expected a whole number"},
		{"PUSH_END", "1\nlive\na\nb\n[\n{}", "log: expected JSON"},
		{"PUSH_END", "1\nlive\na\nb\n[]\n", "status: expected JSON"},
		{"PUSH_END", "1\nlive\na\nb\n[]", "log: expected more parameters after it"},
		{"STREAM_ADD", "live\n", "configuration: expected JSON"},
		{"STREAM_CONFIG", "live\n{", "configuration: expected JSON"},
		{"STREAM_READY", "live", "stream: expected more parameters after it"},
		{"STREAM_UNLOAD", "live\nBuffer", "input: expected more parameters after it"},
		{"STREAM_BUFFER", "live\nempty", "state: expected EMPTY, FULL, DRY or RECOVER"},
		{"STREAM_BUFFER", "live\nFULL", "health: expected JSON"},
		{"STREAM_BUFFER", "live\nDRY\n", "health: expected JSON"},
		{"STREAM_BUFFER", "live\nEMPTY\nx", "health: expected JSON"},
		{"STREAM_END", "1\n2\n3\n4\n5\n6", "bytes down: expected more parameters before it"},
		{"STREAM_END", "live\n1\n2\n3\n4\n5\n", "viewer seconds: expected a whole number"},
		{"LIVE_BANDWIDTH", "live\n1.5", "bytes per second: expected a whole number"},
		{"LIVE_TRACK_LIST", "live\n{\n", "tracks: expected JSON"},
		{"LIVE_TRACK_LIST", "live\n\n\n", "tracks: expected JSON"},
		{"INPUT_ABORT", "live\nsource\nbinary\npid\ncode\nreason", "pid: expected a whole number"},
		{"RECORDING_END", "live\nt\nEBML\n1\n2\nnow\n4\n5\n6\n7\nCODE\nreason\n", "start: expected a whole number"},
		{"OUTPUT_END", "live\nt\nEBML\n1\n2\n3\n4\n5\n-6\n7\nCODE\nreason\n", "first millisecond: expected a whole number"},
		{"OUTPUT_START", "", "configuration: expected JSON"},
		{"OUTPUT_STOP", "RTMP", "configuration: expected JSON"},
		{"LIVEPEER_SEGMENT_REJECTED", "{}\nAAAA\n\na\nb", "track: expected JSON"},
	} {
		payload, err := mist.Parse(row.trigger, []byte(row.body))
		require.Nil(t, payload, "%s %q", row.trigger, row.body)
		var wrong *mist.PayloadError
		require.ErrorAs(t, err, &wrong, "%s %q", row.trigger, row.body)
		require.Equal(t, mist.PayloadError{Type: row.trigger, Problem: row.problem}, *wrong, "%q", row.body)
		require.EqualError(t, err, string(row.trigger)+" payload: "+row.problem)
	}
}

func TestTypedParsersReturnNothingWithAnError(t *testing.T) {
	u, err := mist.ParseUserNew([]byte("movie\n127.0.0.1\ntoken\nHLS\nurl\nno id"))
	require.Error(t, err)
	require.Zero(t, u)
	r, err := mist.ParsePushRewrite([]byte("url\nhost\nlive"))
	require.Error(t, err)
	require.Zero(t, r)
}

// What no recording shows.
func TestParseOtherForms(t *testing.T) {
	health := json.RawMessage(`{"jitter":4}`)
	for _, row := range []struct {
		body string
		want mist.Payload
	}{
		{"\n\nMP4\n", mist.Connection{Trigger: mist.TypeConnOpen, Connector: "MP4"}},
		{"movie\n\nEBML\n", mist.Connection{Trigger: mist.TypeConnClose, Stream: "movie", Connector: "EBML"}},
		{"movie\n::1\nHLS\na\nb\n", mist.Connection{Trigger: mist.TypeConnPlay, Stream: "movie", Address: local6, Connector: "HLS", URL: "a\nb\n"}},
		{"movie\n\nHLS\na\nb", mist.PlayRewrite{Stream: "movie", Connector: "HLS", URL: "a\nb"}},
		{"fallback\nlive+a\n\nHLS\na\nb", mist.DefaultStream{Default: "fallback", Requested: "live+a", Connector: "HLS", URL: "a\nb"}},
		{"live\n::1\nRTMP\na\nb\n", mist.StreamPush{Stream: "live", Address: local6, Connector: "RTMP", URL: "a\nb\n"}},
		{"a\n203.0.113.9\nother\n::1\nlive", mist.PushRewrite{URL: "a\n203.0.113.9\nother", Address: local6, Stream: "live"}},
		{"\n::ffff:127.0.0.1\n", mist.PushRewrite{Address: local4}},
		{"a\n203.0.113.9\n::1", mist.RTMPPushRewrite{URL: "a\n203.0.113.9", Address: local6}},
		{"live\n", mist.PushOutStart{Stream: "live"}},
		{"", mist.StreamSource{}},
		{"live+a\nb", mist.StreamSource{Stream: "live+a\nb"}},
		{"live\nFULL\n" + string(health), mist.StreamBuffer{Stream: "live", State: mist.BufferFull, Health: health}},
		{"live\nDRY\n" + string(health), mist.StreamBuffer{Stream: "live", State: mist.BufferDry, Health: health}},
		{"live\nRECOVER\n" + string(health), mist.StreamBuffer{Stream: "live", State: mist.BufferRecover, Health: health}},
		{"live\nEMPTY\n", mist.StreamBuffer{Stream: "live", State: mist.BufferEmpty}},
		{"live\n{\"a\":1}\n", mist.LiveTrackList{Stream: "live", Tracks: json.RawMessage(`{"a":1}`)}},
		{"live\n", mist.LiveTrackList{Stream: "live"}},
		{"live+a\nb\n5", mist.LiveBandwidth{Stream: "live+a\nb", BytesPerSecond: 5}},
		{"{}\nAAAA\n{\"width\":1}\nhttp://a\nN/A", mist.LivepeerSegmentRejected{
			Options: json.RawMessage("{}"), Segment: "AAAA", Track: json.RawMessage(`{"width":1}`),
			FirstBroadcaster: "http://a", SecondBroadcaster: "N/A",
		}},
		{"live\n\nMP4\n0\n0\n1\n1\n0\n18446744073709551615\n0\nCODE\na reason\n\n", mist.OutputEnd{
			Trigger: mist.TypeOutputEnd, Stream: "live", Output: "MP4", Start: time.Unix(1, 0).UTC(), End: time.Unix(1, 0).UTC(),
			FirstMillis: -1, ReasonCode: "CODE", Reason: "a reason\n",
		}},
	} {
		got, err := mist.Parse(row.want.Type(), []byte(row.body))
		require.NoError(t, err, "%q", row.body)
		require.Equal(t, row.want, got, "%q", row.body)
	}
}

func TestParseKeepsNoPartOfTheBody(t *testing.T) {
	body := []byte("movie\n127.0.0.1\nyan\nHLS\nurl\n" + yanID)
	u, err := mist.ParseUserNew(body)
	require.NoError(t, err)
	clear(body)
	require.Equal(t, mist.UserNew{
		Stream: "movie", Address: netip.MustParseAddr("127.0.0.1"), Token: "yan", Connector: "HLS", URL: "url", SessionID: yanID,
	}, u, "the caller may use the body again")
}

func TestPayloadErrorIsMatchedByType(t *testing.T) {
	_, err := mist.ParseUserEnd(nil)
	var wrong *mist.PayloadError
	require.True(t, errors.As(err, &wrong))
	require.Equal(t, mist.TypeUserEnd, wrong.Type)
}

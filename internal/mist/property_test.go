package mist_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"authhook/internal/mist"
)

// Fragments of which a hostile text is put together.
var fragments = []string{
	"\n", "\n\n", "\r\n", "\x00", "true", "false", "\ntrue", "\nfalse\n", "127.0.0.1", "HLS", hlsURL, yanID, infoID, "8", ",",
	"[UA:x]", "][",
}

// hostileText is any bytes, mostly such as could be taken for parameters.
func hostileText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(rapid.OneOf(
			rapid.SampledFrom(fragments),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 16), func(b []byte) string { return string(b) }),
		), 0, 12).Draw(t, "parts")
		return strings.Join(parts, "")
	})
}

// lineText is any bytes but a line break.
func lineText() *rapid.Generator[string] {
	return rapid.Map(hostileText(), func(s string) string { return strings.ReplaceAll(s, "\n", "") })
}

func address() *rapid.Generator[netip.Addr] {
	return rapid.Custom(func(t *rapid.T) netip.Addr {
		if b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address"); rapid.Bool().Draw(t, "v6") {
			return netip.AddrFrom16([16]byte(b)).Unmap()
		} else {
			return netip.AddrFrom4([4]byte(b))
		}
	})
}

func TestParseUserNewAnyToken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := mist.UserNew{
			Stream:    lineText().Draw(t, "stream"),
			Address:   address().Draw(t, "address"),
			Token:     hostileText().Draw(t, "token"),
			Connector: lineText().Draw(t, "connector"),
			URL:       lineText().Draw(t, "url"),
			First:     rapid.Bool().Draw(t, "first"),
		}
		want.SessionID = mist.SessionID(mist.DefaultSessionMode, want.Stream, want.Address, want.Token, want.Connector)
		got, err := mist.ParseUserNew([]byte(encode(want)))
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.True(t, got.SessionIDMatches(mist.DefaultSessionMode))
	})
}

// Whatever stands in the stream and the URL too: a payload is refused, or exposed, or read as it was meant.
func TestParseUserNewAnyStreamAndURL(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := mist.UserNew{
			Stream:    hostileText().Draw(t, "stream"),
			Address:   address().Draw(t, "address"),
			Token:     hostileText().Draw(t, "token"),
			Connector: "HLS",
			URL:       hostileText().Draw(t, "url"),
			First:     rapid.Bool().Draw(t, "first"),
		}
		want.SessionID = mist.SessionID(mist.DefaultSessionMode, want.Stream, want.Address, want.Token, want.Connector)
		got, err := mist.ParseUserNew([]byte(encode(want)))
		if err == nil && got.SessionIDMatches(mist.DefaultSessionMode) {
			require.Equal(t, want, got)
		}
	})
}

func TestParseUserEndAnyToken(t *testing.T) {
	count := rapid.Int64Min(0)
	rapid.Check(t, func(t *rapid.T) {
		want := mist.UserEnd{
			Token:     hostileText().Draw(t, "token"),
			Seconds:   count.Draw(t, "seconds"),
			BytesUp:   count.Draw(t, "up"),
			BytesDown: count.Draw(t, "down"),
			SessionID: yanID,
		}
		for range rapid.IntRange(0, 3).Draw(t, "addresses") {
			want.Addresses = append(want.Addresses, address().Draw(t, "address"))
			want.SecondsPerAddress = append(want.SecondsPerAddress, count.Draw(t, "seconds"))
		}
		if rapid.Bool().Draw(t, "played") {
			want.Streams, want.SecondsPerStream = []string{lineText().Draw(t, "stream")}, []int64{1}
			want.Connectors, want.SecondsPerConnector = []string{"HLS", "MP4"}, []int64{1, 2}
			want.Tags = []string{"UA:x", "user:1"}
		}
		got, err := mist.ParseUserEnd([]byte(encode(want)))
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

// Of a push, whatever the publisher puts in its stream and URL: it is refused, or read as it was meant, or there is a
// line break in its URL to tell.
func TestParsePushAnyStreamAndURL(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := mist.StreamPush{
			Stream:    hostileText().Draw(t, "stream"),
			Address:   address().Draw(t, "address"),
			Connector: "RTMP",
			URL:       hostileText().Draw(t, "url"),
		}
		got, err := mist.ParseStreamPush([]byte(encode(want)))
		if err == nil && !strings.Contains(got.URL, "\n") {
			require.Equal(t, want, got)
		}

		wantRewrite := mist.PushRewrite{URL: want.URL, Address: want.Address, Stream: want.Stream}
		gotRewrite, err := mist.ParsePushRewrite([]byte(encode(wantRewrite)))
		if err == nil && !strings.Contains(gotRewrite.URL, "\n") {
			require.Equal(t, wantRewrite, gotRewrite)
		}

		wantRTMP := mist.RTMPPushRewrite{URL: want.URL, Address: want.Address}
		gotRTMP, err := mist.ParseRTMPPushRewrite([]byte(encode(wantRTMP)))
		require.NoError(t, err)
		require.Equal(t, wantRTMP, gotRTMP)
	})
}

package mist_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"authhook/internal/mist"
)

// Tokens that a viewer may send to be taken for something else.
var hostileTokens = map[string]string{
	"plain":                   "yan",
	"empty":                   "",
	"one line break":          "\n",
	"only line breaks":        "\n\n\n\n\n\n\n\n\n\n\n\n",
	"line break first":        "\nyan",
	"line break last":         "yan\n",
	"a whole payload":         "x\nHLS\nhttp://127.0.0.1/\n" + yanID + "\nfalse",
	"a whole payload, closed": "x\nHLS\nhttp://127.0.0.1/\n" + yanID + "\nfalse\n",
	"another stream first":    "x\nother\n203.0.113.9\nyan",
	"true":                    "true",
	"false, false":            "false\nfalse",
	"session ids":             yanID + "\n" + infoID + "\n" + yanID,
	"carriage returns":        "\r\nyan\r\n\r",
	"NULs":                    "\x00\n\x00",
	"not UTF-8":               "\xff\xfe\n\x80",
	"other line separators":   "\u2028\u0085\v\f",
	"60 KiB":                  strings.Repeat("a\n"+infoID+"\ntrue\n", 60<<10/72),
}

func TestParseUserNewHostileTokens(t *testing.T) {
	for name, token := range hostileTokens {
		for _, first := range []bool{true, false} {
			want := mist.UserNew{
				Stream: "live+a", Address: local4, Token: token, Connector: "HLS", URL: hlsURL, First: first,
				SessionID: mist.SessionID(mist.DefaultSessionMode, "live+a", local4, token, "HLS"),
			}
			got, err := mist.ParseUserNew([]byte(encode(want)))
			require.NoError(t, err, name)
			require.Equal(t, want, got, name)
			require.True(t, got.SessionIDMatches(mist.DefaultSessionMode), name)
		}
	}
}

func TestParseUserNewEmptyParameters(t *testing.T) {
	got, err := mist.ParseUserNew([]byte("\n127.0.0.1\n\n\n\n" + yanID))
	require.NoError(t, err)
	require.Equal(t, mist.UserNew{Address: local4, SessionID: yanID}, got, "a leading empty line is a parameter")
}

func TestParseUserNewSeventhLine(t *testing.T) {
	for seventh, first := range map[string]bool{"\nfalse": true, "\ntrue": true, "": false} {
		got, err := mist.ParseUserNew([]byte("movie\n::1\ntoken\nHLS\nurl\n" + yanID + seventh))
		require.NoError(t, err)
		require.Equal(t, first, got.First)
		require.Equal(t, yanID, got.SessionID)
	}
}

// A line break anywhere but in the token moves other parameters. The session id, made of the true ones, exposes it.
func TestMovedParametersAreExposed(t *testing.T) {
	id := func(stream, token string) string {
		return mist.SessionID(mist.DefaultSessionMode, stream, local4, token, "RTMP")
	}
	forged := "live+free\n203.0.113.9\nother"
	for name, body := range map[string]string{
		"line break in the URL": lines("live", local4, "15302", "RTMP", "rtmp://h/live\nrtmp://h/free", id("live", "15302")),
		"a whole payload in the URL": lines("live", local4, "15302", "RTMP",
			"u\nyan\nHLS\nhttp://127.0.0.1/\n"+id("live", "15302"), id("live", "15302")),
		"line break in a wildcard stream": lines(forged, local4, "yan", "RTMP", "u", id(forged, "yan")),
		"a stream that ends in one":       lines("live+free\n203.0.113.9\n", local4, "yan", "RTMP", "u", id("live+free\n203.0.113.9\n", "yan")),
		"line break in the connector":     lines("live", local4, "yan", "RT\nMP", "u", id("live", "yan")),
	} {
		u, err := mist.ParseUserNew([]byte(body))
		require.NoError(t, err, name)
		require.False(t, u.SessionIDMatches(mist.DefaultSessionMode), name)
	}
}

func TestParseUserEndHostileTokens(t *testing.T) {
	for name, token := range hostileTokens {
		want := mist.UserEnd{
			Token: token, Streams: []string{"live+a", "movie"}, Connectors: []string{"HLS", "MP4", "RTMP"},
			Addresses: []netip.Addr{local4, local6}, Seconds: 3600, BytesUp: 9223372036854775807, BytesDown: 1,
			Tags:              []string{"UA:VLC", "plan:gold"},
			SecondsPerAddress: []int64{3599, 1}, SecondsPerConnector: []int64{1, 2, 3}, SecondsPerStream: []int64{0, 3600},
			SessionID: yanID,
		}
		got, err := mist.ParseUserEnd([]byte(encode(want)))
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
}

func TestParseUserEndCommaInStream(t *testing.T) {
	end, err := mist.ParseUserEnd([]byte("yan\nlive+a,b\nHLS\n::1\n1\n2\n3\n\n1\n1\n1\n" + yanID))
	require.NoError(t, err)
	require.Equal(t, []string{"live+a,b"}, end.Streams)
}

func TestParseUserEndTags(t *testing.T) {
	for written, want := range map[string][]string{
		"":                            nil,
		"[]":                          {""},
		"[UA:x]":                      {"UA:x"},
		"[UA:x][user:1]":              {"UA:x", "user:1"},
		"[UA:Mozilla/5.0 [en] (X11)]": {"UA:Mozilla/5.0 [en] (X11)"},
		"[UA:x][plan:gold]":           {"UA:x", "plan:gold"}, // as it may be, or as the viewer would have it
	} {
		end, err := mist.ParseUserEnd([]byte("yan\n\n\n\n1\n2\n3\n" + written + "\n\n\n\n" + yanID))
		require.NoError(t, err, written)
		require.Equal(t, want, end.Tags, written)
	}
}

func TestAddresses(t *testing.T) {
	for written, want := range map[string]string{
		"127.0.0.1":        "127.0.0.1",
		"::ffff:127.0.0.1": "127.0.0.1",
		"::ffff:7f00:1":    "127.0.0.1",
		"::1":              "::1",
		"2001:DB8::1":      "2001:db8::1",
		"0000:0000:0000:0000:0000:0000:0000:0001": "::1", // as MistServer writes it when it asks again (source)
		"fe80::1%eth0": "fe80::1",
	} {
		u, err := mist.ParseUserNew([]byte("movie\n" + written + "\ntoken\nHLS\nurl\n" + yanID))
		require.NoError(t, err, written)
		require.Equal(t, netip.MustParseAddr(want), u.Address, written)
	}
}

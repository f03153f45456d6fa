package mist_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"authhook/internal/mist"
)

// The ids were computed with another program.
func TestSessionIDModes(t *testing.T) {
	const (
		stream    = "8a6ba32c9bed6ce703f999f9af6ec23686d44e144e4da572d94c8daca4a9cbab"
		address4  = "c1d5a9d859da6ab451a3820c97ca06bf3b92e189d074b968d43856fb172daf2d"
		address6  = "7c3ccd10bb7ec37b46d37926ae6274267f007a34aeaf15c882a715a7f3300529"
		noAddress = "374708fff7719dd5979ec875d56cd2286f6d3cf7ec317a3b25632aab28ec37bb"
		token     = "281aca1a80b52620bd717e8b14a0386b8ada92ae859ac2c8a2ac222efa02edbb"
		connector = "32e5edc3c081a7f079cda6c50a7fd74611ee5b3c2485ac76e7d57d38ec5d3d21"
		all       = "3e6446a98a64559cf762891cd49bd53bf644cf26a02a2dfb636825bc12b0402a"
		nothing   = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	)
	for _, row := range []struct {
		mode    mist.SessionMode
		address netip.Addr
		want    string
	}{
		{8, local4, stream},
		{4, local4, address4},
		{4, netip.MustParseAddr("::ffff:127.0.0.1"), address4},
		{4, local6, address6},
		{4, netip.Addr{}, noAddress},
		{2, local4, token},
		{1, local4, connector},
		{15, local4, all},
		{0, local4, nothing},
	} {
		require.Equal(t, row.want, mist.SessionID(row.mode, "movie", row.address, "yan", "HLS"), "mode %d", row.mode)
		u := mist.UserNew{Stream: "movie", Address: row.address, Token: "yan", Connector: "HLS", SessionID: row.want}
		require.True(t, u.SessionIDMatches(row.mode), "mode %d", row.mode)
	}
	require.Equal(t, mist.SessionMode(14), mist.DefaultSessionMode)
}

// Each parameter that the mode has a bit for changes the id, and no other does.
func TestSessionIDMatches(t *testing.T) {
	for mode := range mist.SessionMode(16) {
		u := mist.UserNew{Stream: "movie", Address: local4, Token: "yan", Connector: "HLS", URL: "url"}
		u.SessionID = mist.SessionID(mode, u.Stream, u.Address, u.Token, u.Connector)
		require.True(t, u.SessionIDMatches(mode), "mode %d", mode)

		other := u
		other.Stream = "live"
		require.Equal(t, mode&8 == 0, other.SessionIDMatches(mode), "stream, mode %d", mode)
		other = u
		other.Address = local6
		require.Equal(t, mode&4 == 0, other.SessionIDMatches(mode), "address, mode %d", mode)
		other = u
		other.Token = "yan\n"
		require.Equal(t, mode&2 == 0, other.SessionIDMatches(mode), "token, mode %d", mode)
		other = u
		other.Connector = "MP4"
		require.Equal(t, mode&1 == 0, other.SessionIDMatches(mode), "connector, mode %d", mode)
		other = u
		other.SessionID = strings.ToUpper(u.SessionID)
		require.False(t, other.SessionIDMatches(mode), "upper case, mode %d", mode)
	}
}

func TestSessionIDMatchesLongToken(t *testing.T) {
	token := strings.Repeat("x", 60<<10)
	u := mist.UserNew{Stream: "movie", Address: local4, Token: token}
	u.SessionID = mist.SessionID(mist.DefaultSessionMode, u.Stream, u.Address, u.Token, u.Connector)
	require.True(t, u.SessionIDMatches(mist.DefaultSessionMode))
	u.Token = token[1:] + "y"
	require.False(t, u.SessionIDMatches(mist.DefaultSessionMode))
}

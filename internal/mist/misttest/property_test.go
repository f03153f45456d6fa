package misttest_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"authhook/internal/mist"
	"authhook/internal/mist/misttest"
)

// Whatever a viewer presents, what arrives can be read, and the session's id vouches for it.
func TestWhateverIsPresentedArrives(t *testing.T) {
	s, d := world(t, yes)
	rapid.Check(t, func(r *rapid.T) {
		v := misttest.Viewer{
			Stream:    rapid.StringMatching(`[a-z][a-z0-9_]{0,8}(\+[a-z]{1,3})?`).Draw(r, "stream"),
			Token:     string(rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(r, "token")),
			Connector: rapid.SampledFrom([]string{"HLS", "MP4", "HTTP", "WebRTC"}).Draw(r, "connector"),
			Address:   netip.AddrFrom16(rapid.Custom(address).Draw(r, "address")),
		}
		p := s.Connect(v)
		reach(t, p, misttest.Watching)
		for _, a := range d.asked(mist.TypeUserNew) {
			if a.lines()[len(a.lines())-2] != p.SessionID() {
				continue
			}
			u, err := mist.ParseUserNew([]byte(a.body))
			require.NoError(t, err)
			require.True(t, u.SessionIDMatches(mist.DefaultSessionMode))
			require.Equal(t, v.Token, u.Token)
			require.Equal(t, v.Stream, u.Stream)
			require.Equal(t, v.Address.Unmap(), u.Address)
		}
		p.Leave()
	})
}

func address(r *rapid.T) (a [16]byte) {
	copy(a[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(r, "bytes"))
	return a
}

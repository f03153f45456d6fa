package recording_test

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"authhook/internal/mist/recording"
)

func TestRead(t *testing.T) {
	r, err := recording.Read("LIVE_TRACK_LIST")
	require.NoError(t, err)
	require.Equal(t, "LIVE_TRACK_LIST", r.Name)
	require.Equal(t, "LIVE_TRACK_LIST", r.Type)
	require.Equal(t, "live\n\n", string(r.Body), "the body to the byte, its last line breaks too")
	require.Equal(t, "edge-1", r.Header.Get("X-Name"))
	require.Equal(t, "ugaTKwbv^DVkjjr^", r.Header.Get("X-Instance"))
}

func TestReadMissing(t *testing.T) {
	_, err := recording.Read("USER_NEW.none")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestAll(t *testing.T) {
	all, err := recording.All()
	require.NoError(t, err)
	require.Len(t, all, 40)
	for _, r := range all {
		require.NotEmpty(t, r.Type, r.Name)
		require.NotEmpty(t, r.Body, r.Name)
	}
}

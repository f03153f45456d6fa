package api

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNew(t *testing.T) {
	for url, want := range map[string]struct{ name, endpoint string }{
		"udp://127.0.0.1:4242":          {"udp://127.0.0.1:4242", "http://127.0.0.1:4242/api2"},
		"udp://localhost":               {"udp://localhost:4242", "http://localhost:4242/api2"},
		"udp://[::1]":                   {"udp://[::1]:4242", "http://[::1]:4242/api2"},
		"http://mist":                   {"http://mist:4242", "http://mist:4242/api2"},
		"https://u:s3cret@mist:443/m/":  {"https://mist:443/m", "https://mist:443/m/api2"},
		"http://u:s3cret@mist:80/api2":  {"http://mist:80", "http://mist:80/api2"},
		"http://u:s3%2fcret@[fe80::1]/": {"http://[fe80::1]:4242", "http://[fe80::1]:4242/api2"},
	} {
		c, err := New(url, Options{})
		require.NoError(t, err, url)
		require.Equal(t, want.name, c.String())
		require.Equal(t, want.endpoint, c.http.endpoint)
		require.NoError(t, c.Close())
	}
}

func TestNewRefuses(t *testing.T) {
	for _, url := range []string{
		"", "mist:4242", "ftp://u:s3cret@mist", "http://", "http://u:s3cret@mist:port", "http://u:s3cret @mist", "://u:s3cret@mist",
		"udp://u:s3cret@mist", "udp://mist/path", "http://mist?s3cret", "http://mist#s3cret", "http://u:s3cret@", "http://u:%zzs3cret@mist",
		"http://u:s3cret@mi\x00st", "http://u:s3cret@mist:99999999999999999999x",
	} {
		_, err := New(url, Options{})
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "s3cret")
	}
	for _, o := range []struct{ url, list string }{
		{"http://mist", "http://u:s3cret@mist"}, {"udp://mist", "udp://mist"}, {"udp://mist", "u:s3cret@mist"}, {"http://mist", "none"},
	} {
		_, err := New(o.url, Options{ListURL: o.list})
		require.ErrorIs(t, err, errListURL)
	}
	c, err := New("udp://mist", Options{ListURL: "none"})
	require.NoError(t, err)
	require.Nil(t, c.http)
	require.NoError(t, c.Close())
}

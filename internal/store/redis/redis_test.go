package redis

import (
	"testing"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestOpen(t *testing.T) {
	for url, is := range map[string]goredis.UniversalClient{
		"redis://localhost:6379/0":                       &goredis.Client{},
		"redis://localhost":                              &goredis.Client{},
		"redis://:secret@localhost:6379/3?pool_size=7":   &goredis.Client{},
		"rediss://user:secret@redis.example:6380/0":      &goredis.Client{},
		"unix:///run/redis.sock":                         &goredis.Client{},
		"redis://s1:26379/0?master_name=m&addr=s2:26379": &goredis.Client{},
		"rediss://user:secret@n1:6379?addr=n2:6379":      &goredis.ClusterClient{},
	} {
		client, err := Open(url)
		require.NoError(t, err, url)
		require.IsType(t, is, client, url)
		require.NoError(t, client.Close())
	}
	client, err := Open("rediss://user:secret@redis.example:6380/2")
	require.NoError(t, err)
	o := client.(*goredis.Client).Options()
	require.Equal(t, "redis.example", o.TLSConfig.ServerName)
	require.False(t, o.TLSConfig.InsecureSkipVerify)
	require.True(t, o.ContextTimeoutEnabled)
	require.Zero(t, o.MaxRetries)
	require.Equal(t, 2, o.DB)
	require.NoError(t, client.Close())
}

func TestOpenSaysNothingOfTheURL(t *testing.T) {
	for _, url := range []string{
		"", "redis", "redis://", "http://user:s3cret@host", "localhost:6379", "redis://user:s3cret@host:port/0",
		"redis://user:s3cret@host:6379/s3cret", "redis://user:s3cret@host:6379/0?s3cret=1", "redis://user:s3%cret@host:6379/0",
		"rediss://s3cret@host:6379/0?pool_size=s3cret", "redis://user:s3cret@host:6379/1/2",
		"redis://user:s3cret@host:6379?addr=n2:6379&s3cret=1", "redis://user:s3cret@host:6379?master_name=&x=s3cret",
		"redis://user:s3cret@host:6379/s3cret?master_name=m", "redis://user:s3cret@host\x00:6379", "unix://",
	} {
		_, err := Open(url)
		require.ErrorIs(t, err, errURL, url)
		require.NotContains(t, err.Error(), "s3cret")
	}
}

// The Redis that `scripts/with-services` starts, over TCP.
func TestOverTCP(t *testing.T) {
	client := opened(t, redisURL(t))
	r, _ := atWork(t, client, patience)
	r.user("anna")
	require.Equal(t, answers{"hit": 1}, r.answers())
}

package mist_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"authhook/internal/mist"
	"authhook/internal/mist/recording"
)

func userNewBody(t testing.TB) []byte {
	t.Helper()
	r, err := recording.Read("USER_NEW.ipv6-jwt")
	require.NoError(t, err)
	return r.Body
}

// A session begins with this: one allocation, the copy of the body that the strings share.
func TestParseUserNewAllocations(t *testing.T) {
	body := userNewBody(t)
	require.Equal(t, 1.0, testing.AllocsPerRun(100, func() {
		if u, err := mist.ParseUserNew(body); err != nil || !u.SessionIDMatches(mist.DefaultSessionMode) {
			t.Error(err)
		}
	}))
}

func BenchmarkParseUserNew(b *testing.B) {
	body := userNewBody(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mist.ParseUserNew(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	body := userNewBody(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mist.Parse(mist.TypeUserNew, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSessionIDMatches(b *testing.B) {
	u, err := mist.ParseUserNew(userNewBody(b))
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if !u.SessionIDMatches(mist.DefaultSessionMode) {
			b.Fatal("no match")
		}
	}
}

package mist_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"authhook/internal/mist"
)

// problems are all that an error may say: no text of a payload fits.
var problems = regexp.MustCompile(`^[a-zA-Z ]{3,24}: expected (more parameters (after|before) it|an IP address|` +
	`a whole number|JSON|64 lowercase hex digits|one for each|each in brackets|EMPTY, FULL, DRY or RECOVER)$`)

// FuzzParse: no payload of any type panics, no error quotes it, and what was read can be written and read again.
func FuzzParse(f *testing.F) {
	all := mist.Types()
	index := make(map[mist.Type]uint8)
	for i, t := range all {
		index[t] = uint8(i)
		f.Add(uint8(i), []byte(""))
		f.Add(uint8(i), []byte("\n\n\n\n\n\n\n\n\n\n\n\n"))
	}
	for _, r := range recordings(f) {
		f.Add(index[mist.Type(r.Type)], r.Body)
	}
	f.Fuzz(func(t *testing.T, i uint8, body []byte) {
		trigger := all[int(i)%len(all)]
		payload, err := mist.Parse(trigger, body)
		if err != nil {
			var wrong *mist.PayloadError
			require.True(t, errors.As(err, &wrong))
			require.Equal(t, trigger, wrong.Type)
			require.Regexp(t, problems, wrong.Problem)
			require.Nil(t, payload)
			return
		}
		require.Equal(t, trigger, payload.Type())
		again, err := mist.Parse(trigger, []byte(encode(payload)))
		require.NoError(t, err)
		require.Equal(t, payload, again)
	})
}

// FuzzUserNew: what is read of any payload is its own text in its own order, and a token of any bytes moves nothing.
func FuzzUserNew(f *testing.F) {
	for _, r := range recordings(f) {
		if r.Type == "USER_NEW" {
			f.Add(r.Body, "")
		}
	}
	for _, token := range hostileTokens {
		f.Add([]byte("movie\n::1\n"+token+"\nHLS\nurl\n"+yanID), token)
	}
	f.Fuzz(func(t *testing.T, body []byte, token string) {
		u, err := mist.ParseUserNew(body)
		if err != nil {
			return
		}
		require.True(t, u.Address.IsValid())
		require.False(t, u.Address.Is4In6())
		require.Empty(t, u.Address.Zone())
		require.Len(t, u.SessionID, 64)
		for _, line := range []string{u.Stream, u.Connector, u.URL} {
			require.NotContains(t, line, "\n")
		}
		seventh := ""
		if u.First {
			seventh = string(body[strings.LastIndexByte(string(body), '\n'):])
			require.Contains(t, []string{"\ntrue", "\nfalse"}, seventh)
		}
		_, rest, _ := strings.Cut(string(body), "\n")
		written, _, _ := strings.Cut(rest, "\n")
		require.Equal(t, string(body), lines(u.Stream, written, u.Token, u.Connector, u.URL, u.SessionID)+seventh)

		u.Token = token
		u.SessionID = mist.SessionID(mist.DefaultSessionMode, u.Stream, u.Address, token, u.Connector)
		again, err := mist.ParseUserNew([]byte(encode(u)))
		require.NoError(t, err)
		require.Equal(t, u, again)
		require.True(t, again.SessionIDMatches(mist.DefaultSessionMode))
	})
}

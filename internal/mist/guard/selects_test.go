package guard

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/mist/misttest"
)

// long is a list that needs more than MistServer keeps: the 12th name is cut off.
func long() []string {
	var list []string
	for i := range 12 {
		list = append(list, fmt.Sprintf("channel-number-%04d", i)) // 4+19 bytes each: 11 fit
	}
	return list
}

var lists = []struct {
	list   []string
	stream string
	tags   []string
	chosen bool
}{
	{nil, "live", nil, true},
	{[]string{"live"}, "live", nil, true},
	{[]string{"live"}, "live+a", nil, true},
	{[]string{"live"}, "live2", nil, false},
	{[]string{"live"}, "movie", nil, false},
	{[]string{"live+a"}, "live+a", nil, true},
	{[]string{"live+a"}, "live", nil, false},
	{[]string{"live+a"}, "live+b", nil, false},
	{[]string{"live+"}, "live+a", nil, false},
	{[]string{"live*"}, "live", nil, false},
	{[]string{"!live"}, "live", nil, false},
	{[]string{"!live"}, "live+a", nil, false},
	{[]string{"!live"}, "movie", nil, true},
	{[]string{"!live", "!movie"}, "movie", nil, false},
	{[]string{"!live", "movie"}, "other", nil, false},
	{[]string{"live", "!live+a"}, "live+a", nil, false},
	{[]string{"live", "!live+a"}, "live+b", nil, true},
	{[]string{"!live+a", "live"}, "live+a", nil, true},
	{[]string{"#paid"}, "movie", []string{"new", "paid"}, true},
	{[]string{"#paid"}, "movie", []string{"new"}, false},
	{[]string{"!#free"}, "movie", []string{"free"}, false},
	{[]string{"!#free"}, "movie", nil, true},
	{[]string{"live", "", "movie"}, "movie", nil, false},
	{[]string{""}, "movie", nil, true},
	{[]string{"!", "live"}, "movie", nil, true},
	{long(), "channel-number-0010", nil, true},
	{long(), "channel-number-0011", nil, false},
	{[]string{strings.Repeat("a", 124), strings.Repeat("b", 124)}, strings.Repeat("b", 124), nil, true}, // 256 bytes
	{[]string{strings.Repeat("x", 252)}, strings.Repeat("x", 252), nil, true},
	{[]string{strings.Repeat("x", 253)}, "movie", nil, true}, // nothing is left of it, and so it is for all
}

func TestSelects(t *testing.T) {
	for _, test := range lists {
		assert.Equal(t, test.chosen, selects(test.list, test.stream, test.tags), "%q for %s %q", test.list, test.stream, test.tags)
	}
}

// The stand-in server takes the same lists for the same streams: who is asked about, is denied by the default.
func TestSelectsAsTheServerDoes(t *testing.T) {
	s, err := misttest.Start(misttest.Options{Timing: misttest.MeasuredTiming().Scaled(0.01)})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, test := range lists {
		s.AddStream(test.stream, test.tags...)
		s.SetTriggers(map[string][]misttest.Trigger{"CONN_OPEN": {{Sync: true, Default: Deny, Streams: test.list}}})
		p := s.Connect(misttest.Viewer{Stream: test.stream, Connector: "MP4"})
		wanted := misttest.Watching
		if test.chosen {
			wanted = misttest.Denied
		}
		require.NoError(t, p.Wait(ctx, wanted), "%q for %s %q", test.list, test.stream, test.tags)
		assert.Equal(t, wanted, p.State(), "%q for %s %q", test.list, test.stream, test.tags)
		p.Leave()
		s.RemoveStream(test.stream)
	}
}

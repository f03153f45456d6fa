package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sessionsReply is the answer to "clients", as long as one gets.
func sessionsReply(n int) string {
	var b strings.Builder
	b.WriteString(`"clients":{"data":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `["203.0.113.%d","live+channel-%d","HLS","%064x"]`, i%256, i%50, i)
	}
	b.WriteString(`],"fields":["host","stream","protocol","sessid"],"time":1795328676}`)
	return b.String()
}

// A list that does not fit a datagram gets no reply over UDP: it comes over HTTP, and at once the next time. When it has
// become short, it is UDP's again.
func TestLongListOverHTTP(t *testing.T) {
	var sessions, overUDP atomic.Int64
	answer := func() string { return sessionsReply(int(sessions.Load())) }
	url := mistUDP(t, func([]byte) []byte {
		overUDP.Add(1)
		if reply := "{" + answer() + "}"; len(reply) <= 65507 {
			return []byte(reply)
		}
		return nil
	})
	m := newMistHTTP(t, &mistHTTP{local: true, answer: func(map[string]json.RawMessage) string { return answer() }})
	c := newClient(t, url, Options{ListURL: m.URL})
	c.udp.pause = func(int) time.Duration { return 300 * time.Millisecond } // for slow machines
	for i, step := range []struct{ sessions, overUDP, overHTTP int }{
		{300, 1, 0},   // over UDP
		{2000, -1, 1}, // tried over UDP, then over HTTP
		{2000, 0, 1},
		{100, 0, 1},
		{100, 1, 0},
		{500, 1, 0}, // near the limit
		{500, 0, 1},
	} {
		sessions.Store(int64(step.sessions))
		udpBefore, httpBefore := overUDP.Load(), len(m.asked)
		list, err := c.Sessions(t.Context())
		require.NoError(t, err, i)
		require.Len(t, list.Sessions, step.sessions)
		if step.overUDP >= 0 {
			require.EqualValues(t, step.overUDP, overUDP.Load()-udpBefore, i)
		} else {
			require.Greater(t, overUDP.Load(), udpBefore, i)
			require.Less(t, overUDP.Load()-udpBefore, int64(attempts), "HTTP is asked before UDP is given up")
		}
		require.Equal(t, step.overHTTP, len(m.asked)-httpBefore, i)
	}
}

// A reply that was cut on its way is asked for over HTTP.
func TestCutReplyOverHTTP(t *testing.T) {
	url := mistUDP(t, func([]byte) []byte { return []byte("{" + sessionsReply(10)[:300]) })
	m := newMistHTTP(t, &mistHTTP{local: true, answer: func(map[string]json.RawMessage) string { return sessionsReply(10) }})
	list, err := newClient(t, url, Options{ListURL: m.URL}).Sessions(t.Context())
	require.NoError(t, err)
	require.Len(t, list.Sessions, 10)
}

// When neither way answers, the error names both.
func TestNeitherWay(t *testing.T) {
	url := mistUDP(t, func([]byte) []byte { return []byte("hello") })
	m := newMistHTTP(t, &mistHTTP{account: [2]string{"op", "pass"}})
	c := newClient(t, url, Options{ListURL: m.with("op:s3cret")})
	for range 2 {
		_, err := c.Sessions(t.Context())
		require.ErrorIs(t, err, ErrReply)
		require.ErrorIs(t, err, ErrLogin)
		require.ErrorContains(t, err, "over UDP: ")
		require.ErrorContains(t, err, "over HTTP: ")
		require.NotContains(t, err.Error(), "s3cret")
		c.replies[questionSessions].Store(longReply + 1) // HTTP first, the next time
	}
}

// While HTTP does not answer either, UDP goes on trying.
func TestUDPAfterAll(t *testing.T) {
	var asked atomic.Int64
	url := mistUDP(t, func([]byte) []byte {
		if asked.Add(1) < 5 {
			return nil
		}
		return []byte("{" + sessionsReply(1) + "}")
	})
	m := newMistHTTP(t, &mistHTTP{})
	list, err := newClient(t, url, Options{ListURL: m.URL, Timeout: time.Minute}).Sessions(t.Context())
	require.NoError(t, err)
	require.Len(t, list.Sessions, 1)
}

// Calls that do not fit a datagram go over HTTP, or nowhere.
func TestLongCalls(t *testing.T) {
	url := mistUDP(t, func(d []byte) []byte {
		if len(d) > maxDatagram {
			t.Errorf("a datagram of %d bytes", len(d))
		}
		return []byte(`{"LTS":1}`)
	})
	m := newMistHTTP(t, &mistHTTP{local: true})
	c := newClient(t, url, Options{ListURL: m.URL})
	for n := maxDatagram - 40; n < maxDatagram+10; n++ {
		_, err := c.Do(t.Context(), map[string]any{"stop_tag": strings.Repeat("x", n)})
		require.NoError(t, err)
	}
	require.NotEmpty(t, m.asked)
	for _, calls := range m.asked {
		require.Greater(t, len(calls["stop_tag"])+len(`{"stop_tag":}`), maxDatagram)
	}
	_, err := newClient(t, url, Options{ListURL: "none"}).Do(t.Context(), map[string]any{"stop_tag": strings.Repeat("x", maxDatagram)})
	require.ErrorIs(t, err, ErrTooLong)
	require.NotContains(t, err.Error(), "xxx")
}

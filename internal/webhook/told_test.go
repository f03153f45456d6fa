package webhook_test

import (
	"context"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/mist"
	"authhook/internal/mist/recording"
	"authhook/internal/policy"
	"authhook/internal/webhook"
	"authhook/internal/wire"
)

// recorded is when the recordings were made.
var recorded = time.UnixMilli(1795327245742)

// replay sends a recording, with changes to its header, a while after it was made; and returns what is said of the session.
func replay(t *testing.T, name string, change func(http.Header)) policy.Session {
	t.Helper()
	w := newWorld(t, webhook.TriggerOptions{Now: func() time.Time { return recorded.Add(time.Hour) }}, webhook.HandlerOptions{})
	r, err := recording.Read(name)
	require.NoError(t, err)
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/trigger", strings.NewReader(string(r.Body)))
	request.Header = r.Header.Clone()
	if change != nil {
		change(request.Header)
	}
	w.handler.ServeHTTP(httptest.NewRecorder(), request)
	require.Len(t, w.sessions.recorded(), 1)
	return w.sessions.recorded()[0]
}

func TestASessionCarriesWhatMistServerTells(t *testing.T) {
	for name, want := range map[string]policy.Session{
		"USER_NEW":                {Told: time.UnixMilli(1795327221030)},
		"USER_NEW.rerun":          {Told: time.UnixMilli(1795327224708)},
		"USER_END":                {Told: time.UnixMilli(1795327245742), Tags: []string{"UA:VLC/3.0.20"}},
		"USER_END.two-connectors": {Told: time.UnixMilli(1795328888475), Tags: []string{"UA:curl/7.88.1"}},
		"USER_END.denied-session": {Told: time.UnixMilli(1795327245742), NeverRan: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := replay(t, name, nil)
			assert.True(t, want.Told.Equal(s.Told), "%d", s.Told.UnixMilli())
			assert.Equal(t, want.NeverRan, s.NeverRan)
			assert.Equal(t, want.Tags, s.Tags)
		})
	}
}

// A time that is not told, cannot be read or cannot be is none.
func TestATimeThatCannotBeIsNone(t *testing.T) {
	now := recorded.Add(time.Hour)
	for told, want := range map[string]bool{
		"": false, "noon": false, "1795327245742.5": false, "0x1a2": false, "0": false, "-1": false, "99999999999999999999": false,
		strconv.Itoa(math.MaxInt64): false, strconv.Itoa(math.MinInt64): false,
		strconv.FormatInt(now.Unix(), 10):                                   false, // seconds
		strconv.FormatInt(now.Add(-24*time.Hour-1e6).UnixMilli(), 10):       false,
		strconv.FormatInt(now.Add(24*time.Hour+1e6).UnixMilli(), 10):        false,
		strconv.FormatInt(now.Add(-24*time.Hour).UnixMilli(), 10):           true,
		strconv.FormatInt(now.Add(24*time.Hour).UnixMilli(), 10):            true,
		strconv.FormatInt(now.Add(-15*time.Second+1234567).UnixMilli(), 10): true,
	} {
		s := replay(t, "USER_END", func(h http.Header) { h.Set("X-Trigger-UnixMillis", told) })
		assert.Equal(t, want, !s.Told.IsZero(), told)
		if want {
			assert.Equal(t, told, strconv.FormatInt(s.Told.UnixMilli(), 10))
		}
	}
	s := replay(t, "USER_END", func(h http.Header) { h.Del("X-Trigger-UnixMillis") })
	assert.Zero(t, s.Told)
}

// The executable hands on MIST_TIME.
func TestATimeOverTheSocket(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{Now: func() time.Time { return recorded }}, webhook.HandlerOptions{})
	l, err := webhook.ListenSocket(t.Context(), filepath.Join(t.TempDir(), "s"), 0)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- w.triggers.ServeSocket(ctx, l) }()
	for i, told := range []int64{recorded.UnixMilli() - 5, 0, 4711} {
		body := userNew("extra", "192.0.2."+strconv.Itoa(i), "", "HLS", "http://h/")
		call, err := wire.AppendCall(nil, &wire.Call{Type: string(mist.TypeUserNew), UUID: strconv.Itoa(i), UnixMillis: told, Body: []byte(body)})
		require.NoError(t, err)
		conn, err := new(net.Dialer).DialContext(ctx, "unix", l.Addr().String())
		require.NoError(t, err)
		_, err = conn.Write(call)
		require.NoError(t, err)
		_, err = conn.Read(make([]byte, 64))
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	cancel()
	require.NoError(t, <-served)
	sessions := w.sessions.recorded()
	require.Len(t, sessions, 3)
	assert.Equal(t, recorded.Add(-5*time.Millisecond).UnixMilli(), sessions[0].Told.UnixMilli())
	assert.Zero(t, sessions[1].Told)
	assert.Zero(t, sessions[2].Told)
}

// A viewer chooses its user agent, and with it how many tags there are.
func TestTagsOfAnEndAreBounded(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	end := func(tags string) string {
		return strings.Join([]string{"x", "movie", "HLS", "192.0.2.1", "8", "1", "2", tags, "8", "8", "8", strings.Repeat("ab", 32)}, "\n")
	}
	w.send("USER_END", "u1", end("[plan:gold][UA:"+strings.Repeat("][", 10_000)+"]"))
	w.send("USER_END", "u2", end("[plan:gold][UA:"+strings.Repeat("x", 10_000)+"]"))
	sessions := w.sessions.recorded()
	require.Len(t, sessions, 2)
	assert.Len(t, sessions[0].Tags, 100)
	assert.Equal(t, []string{"plan:gold", "UA:" + strings.Repeat("x", 509)}, sessions[1].Tags)
}

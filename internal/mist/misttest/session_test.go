package misttest_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/mist"
	"authhook/internal/mist/misttest"
)

func ada() misttest.Viewer {
	return misttest.Viewer{Stream: "movie", Address: netip.MustParseAddr("203.0.113.9"), Token: "ada"}
}

func TestAViewerIsAskedAboutOnceAndWatches(t *testing.T) {
	s, d := world(t, yes)
	p := s.Connect(ada())
	reach(t, p, misttest.Watching)
	got, err := mist.ParseUserNew([]byte(d.asked(mist.TypeUserNew)[0].body))
	require.NoError(t, err)
	require.True(t, got.SessionIDMatches(mist.DefaultSessionMode))
	require.Equal(t, mist.UserNew{
		Stream: "movie", Address: netip.MustParseAddr("203.0.113.9"), Token: "ada", Connector: "HLS",
		URL: "http://127.0.0.1:8080/hls/movie/index.m3u8?tkn=ada", SessionID: p.SessionID(), First: true,
	}, got)
	require.Len(t, s.Sessions(), 1)
	require.Equal(t, 1, s.Sessions()[0].Connections)
	require.Zero(t, s.Sessions()[0].DeniedUntil)
}

func TestAnotherConnectionOfTheSameIdJoinsWithoutATrigger(t *testing.T) {
	s, d := world(t, yes)
	info := ada()
	info.Connector = "HTTP"
	first := s.Connect(info)
	reach(t, first, misttest.Watching)
	second := s.Connect(ada())
	reach(t, second, misttest.Watching)
	require.Equal(t, first.SessionID(), second.SessionID())
	require.Equal(t, "", string(second.Events()[0].Trigger))
	first.Leave()
	third := s.Connect(ada())
	reach(t, third, misttest.Watching)
	require.Len(t, d.asked(mist.TypeUserNew), 1)
	require.Equal(t, []string{"HLS"}, s.Sessions()[0].Connectors, "HTTP is none")
}

func TestConnectionsWhileTheFirstIsAskedAboutShareItsAnswer(t *testing.T) {
	release := make(chan struct{})
	s, d := world(t, func(asked) string { <-release; return "false" })
	first, second := s.Connect(ada()), s.Connect(ada())
	d.await(t, mist.TypeUserNew, 1)
	require.Equal(t, misttest.Connecting, second.State())
	close(release)
	reach(t, first, misttest.Denied)
	reach(t, second, misttest.Denied)
	require.Len(t, d.asked(mist.TypeUserNew), 1)
}

func TestTheSessionModeMakesTheId(t *testing.T) {
	d := newDesk(t, yes)
	s := start(t, misttest.Options{SessionMode: mist.SessionByStream | mist.SessionByConnector})
	s.SetTriggers(sync1(d.URL, mist.TypeUserNew))
	v := ada()
	first := s.Connect(v)
	reach(t, first, misttest.Watching)
	v.Token = "bob"
	second := s.Connect(v)
	reach(t, second, misttest.Watching)
	require.Equal(t, first.SessionID(), second.SessionID())
	v.Connector = "MP4"
	third := s.Connect(v)
	reach(t, third, misttest.Watching)
	require.NotEqual(t, first.SessionID(), third.SessionID())
}

func TestADenialIsRememberedAndLifted(t *testing.T) {
	for name, lift := range map[string]func(id string) string{
		"stop_sessid":         func(id string) string { return `{"stop_sessid":"` + id + `"}` },
		"invalidate_sessions": func(string) string { return `{"invalidate_sessions":["movie"]}` },
	} {
		t.Run(name, func(t *testing.T) {
			s, d := world(t, no)
			v := ada()
			v.Reconnect = 5 * time.Millisecond
			p := s.Connect(v)
			events := observed(t, p)
			for range 5 {
				next(t, events, misttest.EventReconnected)
				require.Empty(t, next(t, events, misttest.EventDenied).Trigger, "nobody was asked")
			}
			require.Len(t, d.asked(mist.TypeUserNew), 1)
			require.Empty(t, d.asked(mist.TypeUserEnd))
			require.NotZero(t, s.Sessions()[0].DeniedUntil)
			d.set(yes)
			sent := time.Now()
			dialUDP(t, s).call(lift(p.SessionID()))
			reach(t, p, misttest.Watching)
			require.Greater(t, d.asked(mist.TypeUserNew)[1].at.Sub(sent), fast().LiftAfter.Min)
			require.Len(t, d.asked(mist.TypeUserNew), 2)
			end := d.await(t, mist.TypeUserEnd, 1)[0]
			require.Equal(t, "ada\n\n\n\n0\n0\n0\n\n\n\n\n"+p.SessionID(), end.body)
			require.Greater(t, end.at.Sub(sent), fast().LiftAfter.Min)
		})
	}
}

func TestADenialIsForgottenAfterItsTime(t *testing.T) {
	d := newDesk(t, no)
	timing := fast()
	timing.Denied = 150 * time.Millisecond
	s := start(t, misttest.Options{Timing: timing})
	s.SetTriggers(sync1(d.URL, mist.TypeUserNew, mist.TypeUserEnd))
	v := ada()
	v.Reconnect = time.Millisecond
	s.Connect(v)
	all := d.await(t, mist.TypeUserNew, 2)
	require.GreaterOrEqual(t, all[1].at.Sub(all[0].at), timing.Denied)
	d.await(t, mist.TypeUserEnd, 1)
}

func TestInvalidateAsksExactlyThatStreamAgain(t *testing.T) {
	s, d := world(t, yes)
	var players []*misttest.Player
	for _, stream := range []string{"live+a", "live+a", "live+b", "live", "live+ab"} {
		v := ada()
		v.Stream, v.Token, v.Reconnect = stream, stream+string(rune('0'+len(players))), 5*time.Millisecond
		players = append(players, s.Connect(v))
		reach(t, players[len(players)-1], misttest.Watching)
	}
	d.set(func(a asked) string {
		if a.lines()[2] == "live+a1" {
			return "false"
		}
		return "true"
	})
	events := observed(t, players[1])
	dialUDP(t, s).call(`{"invalidate_sessions":"live+a"}`)
	denied := next(t, events, misttest.EventDenied)
	require.True(t, denied.Rerun)
	require.Equal(t, misttest.Watching, players[1].State(), "it plays on for a moment")
	cut := next(t, events, misttest.EventCut)
	took := cut.At.Sub(denied.At)
	require.GreaterOrEqual(t, took, fast().InvalidateCut.Min)
	refused := next(t, events, misttest.EventDenied)
	require.Empty(t, refused.Trigger)
	all := d.asked(mist.TypeUserNew)
	require.Len(t, all, 5+2)
	for _, a := range all[5:] {
		require.Len(t, a.lines(), 6)
		u, err := mist.ParseUserNew([]byte(a.body))
		require.NoError(t, err)
		require.False(t, u.First)
		require.Equal(t, "live+a", u.Stream)
		require.True(t, u.SessionIDMatches(mist.DefaultSessionMode))
	}
	require.Equal(t, misttest.Watching, players[0].State())
}

func TestStopSessidEndsItAndRemembersNothing(t *testing.T) {
	s, d := world(t, yes)
	v := ada()
	v.Reconnect = time.Millisecond
	p := s.Connect(v)
	reach(t, p, misttest.Watching)
	events := observed(t, p)
	d.set(no)
	sent := time.Now()
	dialUDP(t, s).call(`{"stop_sessid":["` + p.SessionID() + `"]}`)
	cut := next(t, events, misttest.EventCut)
	require.GreaterOrEqual(t, cut.At.Sub(sent), fast().StopAfter.Min)
	reach(t, p, misttest.Denied)
	all := d.asked(mist.TypeUserNew)
	require.Len(t, all, 2)
	require.Len(t, all[1].lines(), 7, "a new session")
	d.await(t, mist.TypeUserEnd, 1)
}

func TestAStopWhileItIsAskedAboutEndsIt(t *testing.T) {
	release := make(chan struct{})
	d := newDesk(t, func(a asked) string {
		if a.kind() == mist.TypeUserNew && a.lines()[2] == "ada" {
			<-release
			return "false"
		}
		return "true"
	})
	timing := fast()
	timing.StopAfter = misttest.Range{Min: time.Millisecond, Max: time.Millisecond}
	s := start(t, misttest.Options{Timing: timing})
	s.SetTriggers(sync1(d.URL, mist.TypeUserNew))
	other := ada()
	other.Token = "bob"
	p, q := s.Connect(ada()), s.Connect(other)
	reach(t, q, misttest.Watching)
	d.await(t, mist.TypeUserNew, 2)
	c := dialUDP(t, s)
	c.call(`{"stop_sessid":"` + p.SessionID() + `"}`)
	c.call(`{"stop_sessid":"` + q.SessionID() + `"}`)
	reach(t, q, misttest.Ended) // so the first one's time to stop is over too
	require.Len(t, s.Sessions(), 1)
	close(release)
	reach(t, p, misttest.Ended)
	require.Empty(t, s.Sessions(), "the denial is not remembered")
}

func TestAnInvalidationWhileItIsAskedAboutAsksOnceMore(t *testing.T) {
	release := make(chan struct{})
	s, d := world(t, func(asked) string { <-release; return "true" })
	p := s.Connect(ada())
	d.await(t, mist.TypeUserNew, 1)
	dialUDP(t, s).call(`{"invalidate_sessions":"movie"}`)
	close(release)
	reach(t, p, misttest.Watching)
	require.Len(t, d.await(t, mist.TypeUserNew, 2)[1].lines(), 6)
}

func TestAWatcherWhoLeavesLeavesASessionForAWhile(t *testing.T) {
	s, d := world(t, yes)
	p := s.Connect(ada())
	reach(t, p, misttest.Watching)
	c := dialUDP(t, s)
	until(t, "listed", func() bool { return len(c.listed()) == 1 })
	left := time.Now()
	p.Leave()
	require.Equal(t, misttest.Ended, p.State())
	require.ErrorIs(t, p.Wait(within(t), misttest.Watching), misttest.ErrNever)
	end := d.await(t, mist.TypeUserEnd, 1)[0]
	require.GreaterOrEqual(t, end.at.Sub(left), fast().UserEnd.Min)
	e, err := mist.ParseUserEnd([]byte(end.body))
	require.NoError(t, err)
	require.Equal(t, []string{"movie"}, e.Streams)
	require.Equal(t, []string{"HLS"}, e.Connectors)
	require.Positive(t, e.Seconds)
	require.Positive(t, e.BytesUp)
	require.Empty(t, s.Sessions())
}

func TestUserEndCountsWhatWasUsed(t *testing.T) {
	s, d := world(t, yes)
	v := ada()
	v.UserAgent = "VLC/3.0.20"
	info := v
	info.Connector = "HTTP"
	first, second := s.Connect(info), s.Connect(v)
	reach(t, second, misttest.Watching)
	c := dialUDP(t, s)
	until(t, "tagged with its agent", func() bool { return len(s.Sessions()[0].Tags) == 1 })
	until(t, "counted", func() bool {
		row := c.listed("conntime")[second.SessionID()]
		return row != nil && row["conntime"].(float64) >= 3
	})
	c.call(`{"stop_sessid":"` + second.SessionID() + `"}`)
	reach(t, first, misttest.Ended)
	e, err := mist.ParseUserEnd([]byte(d.await(t, mist.TypeUserEnd, 1)[0].body))
	require.NoError(t, err)
	require.Equal(t, "ada", e.Token)
	require.Equal(t, []string{"HLS"}, e.Connectors)
	require.Equal(t, []string{"UA:VLC/3.0.20"}, e.Tags)
	require.GreaterOrEqual(t, e.Seconds, int64(3))
	require.Greater(t, e.SecondsPerStream[0], e.Seconds, "both connections count")
	require.False(t, e.Denied())
}

func TestARestartForgetsWithoutAUserEnd(t *testing.T) {
	s, d := world(t, yes)
	d.set(func(a asked) string {
		if a.lines()[2] == "bob" {
			return "false"
		}
		return "true"
	})
	v := ada()
	v.Reconnect = 10 * time.Millisecond
	w := v
	w.Token = "bob"
	p, denied := s.Connect(v), s.Connect(w)
	reach(t, p, misttest.Watching)
	reach(t, denied, misttest.Denied)
	before := s.Instance()
	d.set(yes)
	events := observed(t, p)
	require.NoError(t, s.Restart())
	next(t, events, misttest.EventCut)
	reach(t, p, misttest.Watching)
	reach(t, denied, misttest.Watching)
	require.NotEqual(t, before, s.Instance())
	all := d.await(t, mist.TypeUserNew, 4)
	require.Equal(t, before, all[0].header.Get("X-Instance"))
	require.Equal(t, s.Instance(), all[3].header.Get("X-Instance"))
	require.Empty(t, d.asked(mist.TypeUserEnd))
	require.Len(t, s.Triggers(), 2, "what is configured stays")
}

func TestAKilledServerIsGoneUntilItIsRevived(t *testing.T) {
	s, d := world(t, yes)
	v := ada()
	v.Reconnect = 5 * time.Millisecond
	p := s.Connect(v)
	reach(t, p, misttest.Watching)
	addr := s.Addr()
	once := ada()
	once.Token = "once"
	other := s.Connect(once)
	reach(t, other, misttest.Watching)
	s.Kill()
	require.Equal(t, misttest.Connecting, p.State())
	require.Equal(t, misttest.Ended, other.State())
	require.Empty(t, s.Sessions())
	require.Empty(t, s.Instance())
	require.Equal(t, misttest.Ended, s.Connect(once).State(), "nobody is there")
	require.NoError(t, s.Revive())
	require.Equal(t, addr, s.Addr())
	reach(t, p, misttest.Watching)
	require.Len(t, d.asked(mist.TypeUserNew), 3)
}

func TestWaitEndsWithItsContext(t *testing.T) {
	s, _ := world(t, yes)
	p := s.Connect(ada())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, p.Wait(ctx, misttest.Denied), context.Canceled)
}

func TestWhatAViewerPresents(t *testing.T) {
	tests := map[string]struct {
		viewer     misttest.Viewer
		token, url string
	}{
		"a given URL, sorted":  {misttest.Viewer{Stream: "extra", Connector: "MP4", URL: "http://127.0.0.1:8080/extra.mp4?tkn=yan&rate=1"}, "yan", "http://127.0.0.1:8080/extra.mp4?rate=1&tkn=yan"},
		"line breaks":          {misttest.Viewer{Stream: "movie", Token: "a\nb\nc"}, "a\nb\nc", "http://127.0.0.1:8080/hls/movie/index.m3u8?tkn=a%0ab%0ac"},
		"a bearer's first one": {misttest.Viewer{Stream: "movie", Bearer: "abcdef123456"}, "bcdef123456", "http://127.0.0.1:8080/hls/movie/index.m3u8"},
		"jwt above tkn":        {misttest.Viewer{Stream: "movie", URL: "http://h/hls/movie/index.m3u8?jwt=x.y.z&tkn=a"}, "x.y.z", "http://h/hls/movie/index.m3u8?jwt=x.y.z&tkn=a"},
		"information":          {misttest.Viewer{Stream: "movie", Token: "info1", Connector: "HTTP"}, "info1", "http://127.0.0.1:8080/json_movie.js?tkn=info1"},
		"RTMP":                 {misttest.Viewer{Stream: "movie", Token: "rtmptoken", Connector: "RTMP"}, `\d+`, "rtmp://127.0.0.1:1935/play/movie?token=rtmptoken"},
		"RTSP":                 {misttest.Viewer{Stream: "movie", Connector: "RTSP", URL: "rtsp://a:b@127.0.0.1:5554/movie?x=y"}, `\d+`, "rtsp://127.0.0.1:5554/movie"},
		"nothing":              {misttest.Viewer{Stream: "movie"}, `\d+`, "http://127.0.0.1:8080/hls/movie/index.m3u8"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, d := world(t, yes)
			reach(t, s.Connect(test.viewer), misttest.Watching)
			u, err := mist.ParseUserNew([]byte(d.asked(mist.TypeUserNew)[0].body))
			require.NoError(t, err)
			if test.token == `\d+` {
				require.Regexp(t, `^\d+$`, u.Token)
			} else {
				require.Equal(t, test.token, u.Token)
			}
			require.Equal(t, test.url, u.URL)
		})
	}
}

func TestARTMPPlayerComesBackAsAnotherSession(t *testing.T) {
	s, d := world(t, no)
	s.Connect(misttest.Viewer{Stream: "movie", Connector: "RTMP", Reconnect: time.Millisecond})
	all := d.await(t, mist.TypeUserNew, 3)
	require.NotEqual(t, all[0].lines()[2], all[1].lines()[2])
	require.NotEqual(t, all[0].lines()[5], all[1].lines()[5])
}

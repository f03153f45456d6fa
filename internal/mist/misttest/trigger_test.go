package misttest_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/mist"
	"authhook/internal/mist/misttest"
	"authhook/internal/mist/recording"
)

// real is a recorded request as it was sent.
func real(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../recording/" + name + ".http")
	require.NoError(t, err)
	return string(b)
}

// head is a request's first line and the names of its headers, in their order.
func head(request string) []string {
	top, _, _ := strings.Cut(request, "\r\n\r\n")
	var names []string
	for i, line := range strings.Split(top, "\r\n") {
		if i > 0 {
			line, _, _ = strings.Cut(line, ":")
		}
		names = append(names, line)
	}
	return names
}

func body(request string) string {
	_, b, _ := strings.Cut(request, "\r\n\r\n")
	return b
}

// likeReal says that a request has the form of a recorded one: the same headers in the same order, those that say the
// same for every server as recorded, the others of the same form, and as many parameters.
func likeReal(t *testing.T, request, name string) {
	t.Helper()
	was := real(t, name)
	require.Equal(t, head(was), head(request), name)
	require.Equal(t, strings.Count(body(was), "\n"), strings.Count(body(request), "\n"), name)
	forms := map[string]string{
		"Accept": `^\*/\*$`, "Content-Length": `^\d+$`, "Content-Type": `^text/plain$`, "User-Agent": `^MistServer/3\.10$`,
		"Date":      `^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d \+0000$`,
		"X-Attempt": `^1$`, "X-Instance": `^[A-z]{16}$`, "X-PID": `^\d+$`, "X-Name": `^edge-1$`, "X-Version": `^3\.10$`,
		"X-Trigger":      "^" + strings.Split(name, ".")[0] + "$",
		"X-Trigger-UUID": `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$`, "X-Trigger-UnixMillis": `^\d{13}$`,
	}
	for _, one := range []string{was, request} {
		top, _, _ := strings.Cut(one, "\r\n\r\n")
		for _, line := range strings.Split(top, "\r\n")[1:] {
			key, value, _ := strings.Cut(line, ": ")
			if form, ok := forms[key]; ok && !(key == "X-Trigger-UUID" && one == was) {
				require.Regexp(t, form, value, "%s: %s", name, key)
			}
		}
	}
	_, err := mist.Parse(mist.Type(strings.Split(name, ".")[0]), []byte(body(request)))
	require.NoError(t, err)
}

func TestRequestsAreAsRecorded(t *testing.T) {
	url, requests := raw(t)
	s := start(t, misttest.Options{Name: "edge-1"})
	s.SetTriggers(sync1(url, mist.TypeConnOpen, mist.TypePlayRewrite, mist.TypeUserNew, mist.TypeConnPlay,
		mist.TypeConnClose, mist.TypeUserEnd))
	// The rewriting handler answers "true": that is the stream that is played.
	jwt := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtb3ZpZSJ9.c2ln"
	p := s.Connect(misttest.Viewer{
		Stream: "movie", URL: "http://[::1]:8080/hls/movie/index.m3u8?jwt=" + jwt, UserAgent: "VLC/3.0.20",
	})
	opened := <-requests
	likeReal(t, opened, "CONN_OPEN")
	require.Equal(t, "movie\n127.0.0.1\nHLS\n", body(opened), "the URL is not known yet")
	for _, name := range []string{"PLAY_REWRITE", "USER_NEW.ipv6-jwt", "CONN_PLAY"} {
		likeReal(t, <-requests, name)
	}
	reach(t, p, misttest.Watching)
	require.Equal(t, "true", p.Stream())
	c := dialUDP(t, s)
	c.call(`{"invalidate_sessions":"true"}`)
	likeReal(t, <-requests, "USER_NEW.rerun")
	until(t, "tagged", func() bool { return len(s.Sessions()[0].Tags) > 0 })
	p.Leave()
	likeReal(t, <-requests, "CONN_CLOSE")
	likeReal(t, <-requests, "USER_END")
}

func TestNoNameIsNoHeader(t *testing.T) {
	url, requests := raw(t)
	s := start(t, misttest.Options{})
	s.SetTriggers(sync1(url, mist.TypeUserNew))
	s.Connect(ada())
	want := slices.DeleteFunc(head(real(t, "USER_NEW")), func(n string) bool { return n == "X-Name" })
	require.Equal(t, want, head(<-requests))
}

func TestEveryRecordedHeaderOfWhatIsEmittedIsKnown(t *testing.T) {
	all, err := recording.All()
	require.NoError(t, err)
	for _, r := range all {
		if r.Type == "SYSTEM_START" { // which has no instance yet, and is not emitted
			continue
		}
		require.Equal(t, head(real(t, "USER_NEW")), head(real(t, r.Name)), r.Name)
	}
}

func TestADeniedSessionsUserEndIsAsRecorded(t *testing.T) {
	d := newDesk(t, no)
	url, requests := raw(t)
	s := start(t, misttest.Options{Name: "edge-1"})
	triggers := sync1(d.URL, mist.TypeUserNew)
	triggers["USER_END"] = []misttest.Trigger{{Handler: url}}
	s.SetTriggers(triggers)
	p := s.Connect(misttest.Viewer{Stream: "movie", Token: "frank"})
	reach(t, p, misttest.Denied)
	dialUDP(t, s).call(`{"stop_sessid":"` + p.SessionID() + `"}`)
	request := <-requests
	likeReal(t, request, "USER_END.denied-session")
	was := strings.Split(body(real(t, "USER_END.denied-session")), "\n")
	require.Equal(t, was[:len(was)-1], strings.Split(body(request), "\n")[:len(was)-1])
}

func TestAnswers(t *testing.T) {
	for text, allowed := range map[string]bool{
		"true": true, "1": true, "yes": true, "yesterday": true, "continue": true, "true\n": true,
		"": false, "false": false, "0": false, "on": false, " true": false, "allow": false,
	} {
		t.Run(text, func(t *testing.T) {
			s, _ := world(t, func(asked) string { return text })
			want := misttest.Denied
			if allowed {
				want = misttest.Watching
			}
			reach(t, s.Connect(ada()), want)
		})
	}
}

func TestAStatusIsTheDefaultAtOnce(t *testing.T) {
	for fallback, want := range map[string]misttest.State{
		"": misttest.Watching, "true": misttest.Watching, "false": misttest.Denied,
	} {
		t.Run(fallback, func(t *testing.T) {
			d := newDesk(t, func(asked) string { return "503" })
			s := start(t, misttest.Options{})
			s.SetTriggers(map[string][]misttest.Trigger{"USER_NEW": {{Handler: d.URL, Sync: true, Default: fallback}}})
			reach(t, s.Connect(ada()), want)
			require.Len(t, d.asked(""), 1)
		})
	}
}

func TestAHangingHandlerIsAskedFiveTimes(t *testing.T) {
	release := make(chan struct{})
	d := newDesk(t, func(asked) string { <-release; return "true" })
	defer close(release)
	timing := misttest.MeasuredTiming().Scaled(0.01)
	s := start(t, misttest.Options{Timing: timing})
	s.SetTriggers(sync1(d.URL, mist.TypeUserNew))
	p := s.Connect(ada())
	reach(t, p, misttest.Denied)
	all := d.asked("")
	require.Len(t, all, 5)
	for i, a := range all {
		require.Equal(t, string(rune('1'+i)), a.header.Get("X-Attempt"))
		require.Equal(t, all[0].header.Get("X-Trigger-UUID"), a.header.Get("X-Trigger-UUID"))
		require.Equal(t, all[0].header.Get("X-Trigger-UnixMillis"), a.header.Get("X-Trigger-UnixMillis"))
		if i > 0 {
			require.GreaterOrEqual(t, a.at.Sub(all[i-1].at), timing.TriggerWait*8/10)
		}
	}
}

func TestAFailedConnectionIsTriedFiveTimes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	count := make(chan int, 1)
	go func() {
		n := 0
		defer func() { count <- n }()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n++
			_ = conn.Close()
		}
	}()
	s := start(t, misttest.Options{})
	s.SetTriggers(map[string][]misttest.Trigger{"USER_NEW": {{Handler: "http://" + l.Addr().String(), Sync: true}}})
	reach(t, s.Connect(ada()), misttest.Watching) // no default: fail open
	require.NoError(t, l.Close())
	require.Equal(t, 5, <-count)
}

func TestAURLsAnswerIsSeenInSteps(t *testing.T) {
	timing := misttest.MeasuredTiming()
	d := newDesk(t, yes)
	s := start(t, misttest.Options{Timing: timing})
	s.SetTriggers(sync1(d.URL, mist.TypeUserNew))
	p := s.Connect(ada())
	reach(t, p, misttest.Watching)
	events := p.Events()
	require.GreaterOrEqual(t, events[1].At.Sub(events[0].At), timing.HTTPPoll)
}

func TestSeveralHandlersMustAllAgree(t *testing.T) {
	agree, refuse := newDesk(t, yes), newDesk(t, no)
	s := start(t, misttest.Options{})
	for name, test := range map[string]struct {
		handlers []misttest.Trigger
		want     misttest.State
	}{
		"all":                 {[]misttest.Trigger{{Handler: agree.URL, Sync: true}, {Handler: agree.URL, Sync: true}}, misttest.Watching},
		"first no":            {[]misttest.Trigger{{Handler: refuse.URL, Sync: true}, {Handler: agree.URL, Sync: true}}, misttest.Denied},
		"last no":             {[]misttest.Trigger{{Handler: agree.URL, Sync: true}, {Handler: refuse.URL, Sync: true}}, misttest.Denied},
		"who does not wait":   {[]misttest.Trigger{{Handler: refuse.URL}}, misttest.Watching},
		"its default refuses": {[]misttest.Trigger{{Handler: agree.URL, Default: "false"}}, misttest.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			s.SetTriggers(map[string][]misttest.Trigger{"USER_NEW": test.handlers})
			before := len(agree.asked("")) + len(refuse.asked(""))
			v := ada()
			v.Token = name
			reach(t, s.Connect(v), test.want)
			until(t, "all are asked", func() bool {
				return len(agree.asked(""))+len(refuse.asked("")) == before+len(test.handlers)
			})
			var uuids []string
			for _, a := range slices.Concat(agree.asked(""), refuse.asked("")) {
				if a.lines()[2] == name {
					uuids = append(uuids, a.header.Get("X-Trigger-UUID"))
				}
			}
			require.Len(t, slices.Compact(uuids), 1)
		})
	}
}

func TestStreamsOfATrigger(t *testing.T) {
	d := newDesk(t, no)
	s := start(t, misttest.Options{})
	s.AddStream("premium", "paid")
	s.AddStream("live+tagged", "paid")
	for _, test := range []struct {
		streams []string
		asked   string // who is asked about, of premium, live+a, live+tagged, free
	}{
		{nil, "premium live+a live+tagged free"},
		{[]string{"premium"}, "premium"},
		{[]string{"live"}, "live+a live+tagged"},
		{[]string{"live+a"}, "live+a"},
		{[]string{"live+"}, ""},
		{[]string{"#paid"}, "premium live+tagged"},
		{[]string{"!#paid"}, "live+a free"},
		{[]string{"!free"}, "premium live+a live+tagged"},
		{[]string{"!live"}, "premium free"},
		{[]string{"live", "!live+a"}, "live+tagged"},
		{[]string{"!live+a", "live"}, "live+a live+tagged"},
		{[]string{strings.Repeat("x", 250), "premium"}, ""}, // a longer list loses its end
	} {
		t.Run(strings.Join(test.streams, ","), func(t *testing.T) {
			s.SetTriggers(map[string][]misttest.Trigger{"USER_NEW": {{Handler: d.URL, Sync: true, Streams: test.streams}}})
			var asked []string
			for _, stream := range []string{"premium", "live+a", "live+tagged", "free"} {
				p := s.Connect(misttest.Viewer{Stream: stream, Token: strings.Join(test.streams, ",")})
				select {
				case <-entered(t, p, misttest.Denied):
					asked = append(asked, stream)
				case <-entered(t, p, misttest.Watching):
				}
			}
			require.Equal(t, test.asked, strings.Join(asked, " "))
		})
	}
}

func entered(t *testing.T, p *misttest.Player, s misttest.State) <-chan struct{} {
	c := make(chan struct{})
	ctx := t.Context()
	go func() {
		if p.Wait(ctx, s) == nil {
			close(c)
		}
	}()
	return c
}

func TestALongHandlerIsCutOff(t *testing.T) {
	d := newDesk(t, no)
	s := start(t, misttest.Options{})
	long := d.URL + "/" + strings.Repeat("k", 127)
	s.SetTriggers(sync1(long, mist.TypeUserNew))
	require.Equal(t, long, s.Triggers()["USER_NEW"][0].Handler)
	reach(t, s.Connect(ada()), misttest.Denied)
	require.Equal(t, long[:127], strings.TrimSuffix(d.URL, "/trigger")+d.asked("")[0].path)
}

func TestGatesBeforeAndAfterTheSession(t *testing.T) {
	for _, test := range []struct {
		gate   mist.Type
		answer string
		asked  []mist.Type
	}{
		{mist.TypeConnOpen, "false", []mist.Type{mist.TypeConnOpen}},
		{mist.TypePlayRewrite, "", []mist.Type{mist.TypeConnOpen, mist.TypePlayRewrite}},
		{mist.TypeUserNew, "false", []mist.Type{mist.TypeConnOpen, mist.TypePlayRewrite, mist.TypeUserNew}},
		{mist.TypeConnPlay, "false", []mist.Type{mist.TypeConnOpen, mist.TypePlayRewrite, mist.TypeUserNew, mist.TypeConnPlay}},
	} {
		t.Run(string(test.gate), func(t *testing.T) {
			d := newDesk(t, func(a asked) string {
				switch a.kind() {
				case test.gate:
					return test.answer
				case mist.TypePlayRewrite:
					return "movie_sd"
				}
				return "true"
			})
			s := start(t, misttest.Options{})
			s.SetTriggers(sync1(d.URL, mist.TypeConnOpen, mist.TypePlayRewrite, mist.TypeUserNew, mist.TypeConnPlay))
			p := s.Connect(ada())
			reach(t, p, misttest.Denied)
			events := p.Events()
			require.Equal(t, test.gate, events[len(events)-1].Trigger)
			var kinds []mist.Type
			for _, a := range d.asked("") {
				kinds = append(kinds, a.kind())
				if a.kind() == mist.TypeUserNew {
					require.Equal(t, "movie_sd", a.lines()[0], "the session is the rewritten stream's")
				}
			}
			require.Equal(t, test.asked, kinds)
		})
	}
}

func TestARewriteThatFailsOpenPlaysTrue(t *testing.T) {
	d := newDesk(t, func(asked) string { return "503" })
	s := start(t, misttest.Options{})
	s.SetTriggers(map[string][]misttest.Trigger{"PLAY_REWRITE": {{Handler: d.URL, Sync: true}}})
	p := s.Connect(ada())
	reach(t, p, misttest.Watching)
	require.Equal(t, "true", p.Stream())
}

func TestCredentialsOfAURLAreSentAfterAChallenge(t *testing.T) {
	var first []string
	d := &desk{answer: yes, more: make(chan struct{}, 1)}
	server := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		first = append(first, r.Header.Get("Authorization"))
		if !ok || user != "mist" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		d.ServeHTTP(w, r)
	}))
	s := start(t, misttest.Options{})
	s.SetTriggers(sync1(strings.Replace(server, "http://", "http://mist:secret@", 1), mist.TypeUserNew))
	reach(t, s.Connect(ada()), misttest.Watching)
	require.Equal(t, []string{"", "Basic bWlzdDpzZWNyZXQ="}, first)
}

// script is an executable handler.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "handler")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700))
	return path
}

func TestAnExecutableHandler(t *testing.T) {
	dir := t.TempDir()
	path := script(t, `cat > `+dir+`/in; echo "$#:$1" > `+dir+`/arguments; env | grep ^MIST_ | sort > `+dir+`/environment; printf true`)
	s := start(t, misttest.Options{Name: "edge-1", Timing: misttest.MeasuredTiming()})
	s.SetTriggers(map[string][]misttest.Trigger{"USER_NEW": {{Handler: path, Sync: true, Default: "false"}}})
	p := s.Connect(ada())
	reach(t, p, misttest.Watching)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(b)
	}
	require.Equal(t, "1:USER_NEW\n", read("arguments"))
	u, err := mist.ParseUserNew([]byte(read("in")))
	require.NoError(t, err)
	require.Equal(t, p.SessionID(), u.SessionID)
	env := read("environment")
	for _, line := range []string{
		`MIST_DATE=\w{3}, \d\d \w{3} \d{4} [\d:]{8} \+0000`, `MIST_INSTANCE=[A-z]{16}`, `MIST_NAME=edge-1`, `MIST_PID=\d+`,
		`MIST_TIME=\d{13}`, `MIST_TRIGGER=USER_NEW`, `MIST_TRIG_DEF=false`, `MIST_TUUID=[0-9a-f-]{36}`,
	} {
		require.Regexp(t, `(?m)^`+line+`$`, env)
	}
}

func TestWhatAnExecutableSaysOrNot(t *testing.T) {
	timing := misttest.MeasuredTiming().Scaled(0.02)
	for name, test := range map[string]struct {
		script   string
		fallback string
		want     misttest.State
	}{
		"yes":                           {"printf yes", "false", misttest.Watching},
		"nothing, in time":              {"cat > /dev/null", "true", misttest.Denied},
		"nothing, until it is stopped":  {"exec sleep 30", "true", misttest.Watching},
		"nothing, until it is killed":   {"trap '' TERM; while :; do sleep 0.01; done", "true", misttest.Watching},
		"a word, then it is stopped":    {"printf false; exec sleep 30", "true", misttest.Denied},
		"it fails, with a word":         {"printf true; exit 1", "false", misttest.Watching},
		"it is stopped, and says so":    {"trap 'printf false; exit' TERM; while :; do sleep 0.01; done", "true", misttest.Denied},
		"it is not there: fails open":   {"", "", misttest.Watching},
		"it is not there: it is denied": {"", "false", misttest.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			path := "/nonexistent/handler"
			if test.script != "" {
				path = script(t, test.script)
			}
			s := start(t, misttest.Options{Timing: timing})
			s.SetTriggers(map[string][]misttest.Trigger{"USER_NEW": {{Handler: path, Sync: true, Default: test.fallback}}})
			reach(t, s.Connect(ada()), test.want)
		})
	}
}

func TestAnExecutableThatNobodyWaitsFor(t *testing.T) {
	path := script(t, "exec sleep 30")
	s := start(t, misttest.Options{})
	s.SetTriggers(map[string][]misttest.Trigger{"USER_NEW": {{Handler: path, Default: "true"}}})
	reach(t, s.Connect(ada()), misttest.Watching)
	began := time.Now()
	require.NoError(t, s.Close())
	require.Less(t, time.Since(began), patience/2)
}

func TestManyTriggersHaveFewConnectionsAtOnce(t *testing.T) {
	const most = 4
	var now, peak int
	one := make(chan struct{})
	d := newDesk(t, nil)
	d.answer = func(asked) string {
		d.mu.Lock()
		now++
		peak = max(peak, now)
		d.mu.Unlock()
		<-one
		d.mu.Lock()
		now--
		d.mu.Unlock()
		return "true"
	}
	s := start(t, misttest.Options{Concurrency: most})
	s.SetTriggers(sync1(d.URL, mist.TypeUserNew))
	var players []*misttest.Player
	for i := range 40 {
		players = append(players, s.Connect(misttest.Viewer{Stream: "movie", Token: string(rune('a' + i))}))
	}
	watching := func() (n int) {
		for _, p := range players {
			if p.State() == misttest.Watching {
				n++
			}
		}
		return n
	}
	for i := range players {
		one <- struct{}{} // one is answered
		until(t, "one more is let in", func() bool { return watching() == i+1 })
	}
	require.Equal(t, most, peak)
}

package webhook_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/mist"
	"authhook/internal/mist/recording"
	"authhook/internal/policy"
	"authhook/internal/webhook"
)

// userNew is the body of a first USER_NEW, with the session id that MistServer would make.
func userNew(stream, address, token, connector, url string) string {
	id := mist.SessionID(mist.DefaultSessionMode, stream, netip.MustParseAddr(address), token, connector)
	return strings.Join([]string{stream, address, token, connector, url, id, "false"}, "\n")
}

// Every recorded request is answered with 200 and what DESIGN says: viewers and publishers by the catalog, rewriting
// triggers with their value, all else with true.
func TestEveryRecordingIsAnswered(t *testing.T) {
	answers := map[string]string{
		"USER_NEW":                             "true", // extra is public
		"USER_NEW.rerun":                       "true",
		"USER_NEW.info-request":                "false", // movie is entitled, and nobody here has a key
		"USER_NEW.ipv6-jwt":                    "false",
		"USER_NEW.rtmp":                        "false",
		"USER_NEW.rtsp":                        "false",
		"USER_NEW.newline-in-token":            "false",
		"USER_NEW.forwarded-no-token":          "false",
		"USER_NEW.bearer-first-character-lost": "false",
		"PLAY_REWRITE":                         "movie",
		"STREAM_PUSH":                          "false", // live wants a key
		"PUSH_REWRITE":                         "",
		"RTMP_PUSH_REWRITE":                    "",
		"PUSH_OUT_START":                       "/media/rec.mkv",
		"STREAM_SOURCE":                        "",
		"DEFAULT_STREAM":                       "",
	}
	all, err := recording.All()
	require.NoError(t, err)
	require.Len(t, all, 40)
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	for _, r := range all {
		t.Run(r.Name, func(t *testing.T) {
			want, special := answers[r.Name]
			if !special {
				want = "true"
			}
			request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/trigger", strings.NewReader(string(r.Body)))
			request.Header = r.Header
			answer := httptest.NewRecorder()
			w.handler.ServeHTTP(answer, request)
			assert.Equal(t, http.StatusOK, answer.Code)
			assert.Equal(t, want, answer.Body.String())
			assert.Empty(t, answer.Header().Get("X-Authhook-Problem"))
		})
	}
	ended := 0
	for _, s := range w.sessions.recorded() {
		if s.State == policy.SessionEnded {
			ended++
		}
	}
	assert.Equal(t, 3, ended, "two USER_END of one UUID are two events")
}

func TestViewersAreAnswered(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	gold := w.user("alice", "gold", policy.Credential{})
	basic := w.user("bob", "basic", policy.Credential{})
	none := w.user("carol", "", policy.Credential{})
	url := "http://127.0.0.1:8080/hls/movie/index.m3u8"
	tests := []struct {
		name, trigger, body, answer string
		reason                      policy.Reason
	}{
		{"key as token", "USER_NEW", userNew("movie", "192.0.2.1", gold, "HLS", url), "true", policy.Entitled},
		{"key in the URL, process id as token", "USER_NEW", userNew("movie", "192.0.2.1", "15302", "RTMP", "rtmp://h/play/movie?token="+gold), "true", policy.Entitled},
		{"key from a Bearer header", "USER_NEW", userNew("movie", "192.0.2.1", gold[1:], "HLS", url), "true", policy.Entitled},
		{"another plan", "USER_NEW", userNew("movie", "192.0.2.1", basic, "HLS", url), "false", policy.PaymentRequired},
		{"no plan", "USER_NEW", userNew("movie", "192.0.2.1", none, "HLS", url), "false", policy.PaymentRequired},
		{"no token", "USER_NEW", userNew("movie", "192.0.2.1", "1993345245", "HLS", url), "false", policy.CredentialMissing},
		{"token of no form", "USER_NEW", userNew("movie", "192.0.2.1", "yan", "HLS", url), "false", policy.CredentialUnknown},
		{"stream of no policy", "USER_NEW", userNew("nosuch", "192.0.2.1", gold, "HLS", url), "false", policy.StreamUnknown},
		{"public", "USER_NEW", userNew("extra", "192.0.2.1", "", "HLS", url), "true", policy.Public},
		{"public, address denied", "USER_NEW", userNew("extra", "203.0.113.9", "", "HLS", url), "false", policy.AddressDenied},
		{"public, connector denied", "USER_NEW", userNew("extra", "192.0.2.1", "", "RTSP", url), "false", policy.ConnectorDenied},
		{"closed", "USER_NEW", userNew("shut", "192.0.2.1", gold, "HLS", url), "false", policy.StreamClosed},
		{"connection of a denied address", "CONN_OPEN", "extra\n203.0.113.9\nHLS\n", "false", policy.AddressDenied},
		{"connection of no stream yet", "CONN_OPEN", "\n203.0.113.9\nRTMP\n", "true", policy.Public},
		{"encoder over what nobody may watch over", "CONN_OPEN", "extra\n192.0.2.1\nRTSP\n", "true", policy.Public},
		{"playing over a denied connector", "CONN_PLAY", "extra\n192.0.2.1\nRTSP\n" + url, "false", policy.ConnectorDenied},
		{"recording of a closed stream", "CONN_PLAY", "shut\n\nEBML\n", "true", policy.Public},
		{"line break in a connection's URL", "CONN_PLAY", "extra\n192.0.2.1\nHLS\nhttp://h/\nx", "false", policy.PayloadInvalid},
		{"rendition of a plan", "PLAY_REWRITE", "movie\n192.0.2.1\nHLS\n" + url + "?tkn=" + basic, "movie_sd", 0},
		{"rendition of no plan", "PLAY_REWRITE", "movie\n192.0.2.1\nHLS\n" + url, "movie", 0},
		{"rendition as it is", "PLAY_REWRITE", "movie\n192.0.2.1\nHLS\n" + url + "?tkn=" + gold, "movie", 0},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			metric := fmt.Sprintf(`authhook_decisions_total{reason="%s",trigger="%s"}`, test.reason, test.trigger)
			before := w.counted(metric)
			answer := w.send(test.trigger, fmt.Sprint("uuid-", i), test.body)
			assert.Equal(t, http.StatusOK, answer.Code)
			assert.Equal(t, test.answer, answer.Body.String())
			if test.reason != 0 {
				assert.NotEqual(t, before, w.counted(metric), "the decision is counted under its reason")
				assert.Contains(t, lastLine(w.log.String()), "reason="+test.reason.String())
			}
		})
	}
	for _, secret := range []string{gold, gold[3:], basic, "index.m3u8", "yan"} {
		assert.NotContains(t, w.log.String(), secret, "no credential and no URL in the log")
	}
}

func lastLine(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return lines[len(lines)-1]
}

func TestPublishersAreAnswered(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	key := w.user("encoder", "", policy.Credential{Publish: true, Streams: []string{"live"}})
	many := w.user("studio", "", policy.Credential{Publish: true, Streams: []string{"live", "extra"}})
	viewer := w.user("alice", "gold", policy.Credential{})
	in := func(key string) string { return "rtmp://192.0.2.1:1935/app/live?key=" + key }
	path := func(key string) string { return "rtmp://192.0.2.1:1935/app/" + key }
	tests := []struct{ name, trigger, body, answer string }{
		{"key in the query", "STREAM_PUSH", "live\n192.0.2.9\nRTMP\n" + in(key), "true"},
		{"no key", "STREAM_PUSH", "live\n192.0.2.9\nRTMP\nrtmp://192.0.2.1/app/live", "false"},
		{"a viewer's key", "STREAM_PUSH", "live\n192.0.2.9\nRTMP\n" + in(viewer), "false"},
		{"a key of other streams", "STREAM_PUSH", "extra\n192.0.2.9\nRTMP\nrtmp://h/app/extra?key=" + key, "false"},
		{"open", "STREAM_PUSH", "open\n192.0.2.9\nRTMP\nrtmp://h/app/open", "true"},
		{"closed", "STREAM_PUSH", "shut\n192.0.2.9\nRTMP\nrtmp://h/app/shut?key=" + key, "false"},
		{"key as path, after the rewrite", "STREAM_PUSH", "live\n192.0.2.9\nRTMP\n" + path(key), "true"},
		{"address denied", "STREAM_PUSH", "extra\n203.0.113.9\nRTMP\nrtmp://h/app/extra?key=" + many, "false"},
		{"key in the query", "PUSH_REWRITE", in(key) + "\n192.0.2.9\nlive", "live"},
		{"key as path", "PUSH_REWRITE", path(key) + "\n192.0.2.9\n" + strings.ToLower(key), "live"},
		{"key of several streams as path", "PUSH_REWRITE", path(many) + "\n192.0.2.9\n" + strings.ToLower(many), ""},
		{"unknown key as path", "PUSH_REWRITE", path("ak_"+strings.Repeat("A", 26)) + "\n192.0.2.9\nak", ""},
		{"no key", "PUSH_REWRITE", "rtmp://h/app/live\n192.0.2.9\nlive", ""},
		{"line break in the URL", "PUSH_REWRITE", in(key) + "\nx\n192.0.2.9\nlive", ""},
		{"line break in the URL, open", "PUSH_REWRITE", "rtmp://h/app/open\nx\n192.0.2.9\nopen", ""},
		{"line break in the stream, open", "STREAM_PUSH", "open\n192.0.2.9\nRTMP\nrtmp://h/app/open\nx", "false"},
		{"a name that is not clean yet", "PUSH_REWRITE", "rtmp://h/app/Open!\n192.0.2.9\nOpen!", "Open!"},
		{"a closed name that is not clean yet", "PUSH_REWRITE", "rtmp://h/app/sh!ut\n192.0.2.9\nsh!ut", ""},
		{"another name behind the query", "RTMP_PUSH_REWRITE", "rtmp://h/app/open?a=/shut\n192.0.2.9", ""},
		{"line break in the URL, open", "RTMP_PUSH_REWRITE", "rtmp://h/app/open\nx\n192.0.2.9", ""},
		{"key in the query", "RTMP_PUSH_REWRITE", in(key) + "\n192.0.2.9", in(key)},
		{"key as path", "RTMP_PUSH_REWRITE", path(key) + "\n192.0.2.9", path(key)},
		{"no key", "RTMP_PUSH_REWRITE", "rtmp://h/app/live\n192.0.2.9", ""},
		{"open", "RTMP_PUSH_REWRITE", "rtmp://h/app/open\n192.0.2.9", "rtmp://h/app/open"},
	}
	for i, test := range tests {
		t.Run(test.trigger+", "+test.name, func(t *testing.T) {
			answer := w.send(test.trigger, fmt.Sprint("uuid-", i), test.body)
			assert.Equal(t, http.StatusOK, answer.Code)
			assert.Equal(t, test.answer, answer.Body.String())
		})
	}
	w.send("STREAM_PUSH", "name", strings.ToLower(key)+"\n192.0.2.9\nRTMP\n"+path(key))
	w.send("USER_NEW", "name", userNew(strings.ToLower(key), "192.0.2.9", "", "HLS", "http://h/"))
	assert.Contains(t, w.log.String(), `stream="(a key)"`)
	recorded := w.sessions.recorded()
	assert.Equal(t, "(a key)", recorded[len(recorded)-1].Stream)
	assert.NotContains(t, strings.ToUpper(w.log.String()), key[3:], "in whatever letters")
}

// A session under a plan with a quota is told as one, so that what it watches counts from now on.
func TestASessionUnderAQuotaIsTold(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	for i, plan := range []string{"basic", "metered"} {
		body := userNew("movie_sd", "192.0.2.1", w.user(plan+"-user", plan, policy.Credential{}), "HLS", "http://h/")
		assert.Equal(t, "true", w.send("USER_NEW", fmt.Sprint("uuid-", i), body).Body.String())
		assert.Equal(t, plan == "metered", w.sessions.recorded()[i].Metered)
	}
}

// Whatever a viewer puts into a token, and whatever stream name it makes up, no other field moves.
func TestLineBreaksMoveNothing(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	w.user("alice", "gold", policy.Credential{})
	fake := strings.Repeat("ab", 32)
	tokens := []string{
		"x\nHLS\nhttp://h/\n" + fake + "\nfalse",
		"\n\n\n", "a\nb\nc", "true", "x\ntrue", "\r\n\x00", fake,
		"x\n" + strings.Repeat(fake+"\n", 500) + "true",
	}
	for i, token := range tokens {
		body := userNew("movie", "192.0.2.1", token, "HLS", "http://h/movie?tkn=…")
		answer := w.send("USER_NEW", fmt.Sprint("uuid-", i), body)
		assert.Equal(t, "false", answer.Body.String())
		recorded := w.sessions.recorded()
		s := recorded[len(recorded)-1]
		assert.Len(t, recorded, i+1)
		assert.Equal(t, "movie", s.Stream)
		assert.Equal(t, "HLS", s.Connector)
		assert.Equal(t, mist.SessionID(mist.DefaultSessionMode, "movie", s.Address, token, "HLS"), s.ID)
	}

	// Behind the + of a wildcard a viewer chooses the stream's name too: an address in it must not be believed.
	before := len(w.sessions.recorded())
	body := userNew("live+a\n10.0.0.1\nx", "203.0.113.9", "1", "HLS", "http://h/")
	answer := w.send("USER_NEW", "uuid-stream", body)
	assert.Equal(t, "false", answer.Body.String())
	assert.Equal(t, "session_id_wrong", answer.Header().Get("X-Authhook-Problem"))
	assert.Len(t, w.sessions.recorded(), before, "what cannot be believed is no session")
}

func TestAModeThatCannotVouchForATokenRefusesItsLineBreaks(t *testing.T) {
	mode := 12 // stream and address
	w := newWorld(t, webhook.TriggerOptions{SessionMode: &mode}, webhook.HandlerOptions{})
	id := mist.SessionID(12, "extra", netip.MustParseAddr("192.0.2.1"), "", "")
	ask := func(uuid, token, connector, url string) string {
		return w.send("USER_NEW", uuid, strings.Join([]string{"extra", "192.0.2.1", token, connector, url, id, "false"}, "\n")).Body.String()
	}
	assert.Equal(t, "true", ask("u1", "x", "HLS", "http://h/a"))
	assert.Equal(t, "false", ask("u2", "x", "RTSP", "http://h/a"), "the connector is denied")
	assert.Equal(t, "false", ask("u3", "x", "RTSP", "http://h/a\nMP4\nhttp://h/b"), "and hides behind no line break")
}

func TestALineBreakInAPlayRewriteIsNotBelieved(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	answer := w.send("PLAY_REWRITE", "u", "movie\n192.0.2.1\nHLS\nhttp://h/\nx")
	assert.Empty(t, answer.Body.String())
	assert.Equal(t, "payload_unreadable", answer.Header().Get("X-Authhook-Problem"))
	assert.Contains(t, w.log.String(), "line break")
}

func TestTheSameUUIDOfAnotherServerIsAnotherEvent(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	for _, instance := range []string{"one", "two", "one"} {
		c := webhook.Call{Type: mist.TypeUserNew, UUID: "u", Instance: instance, Body: []byte(userNew("extra", "192.0.2.1", "", "HLS", "http://h/"))}
		assert.Equal(t, "true", w.triggers.Answer(t.Context(), &c))
	}
	assert.Len(t, w.sessions.recorded(), 2)
}

// A panic while deciding is answered like everything else that goes wrong: MistServer must not fall back to its default.
func TestAPanicDenies(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	triggers := webhook.NewTriggers(panicking{}, w.sessions, w.metrics, w.logger(), webhook.TriggerOptions{})
	w.handler = webhook.NewHandler(triggers, w.metrics, webhook.HandlerOptions{})
	answer := w.send("USER_NEW", "u1", userNew("extra", "192.0.2.1", "", "HLS", "http://h/"))
	assert.Equal(t, http.StatusOK, answer.Code)
	assert.Equal(t, "false", answer.Body.String())
	assert.Empty(t, w.send("PUSH_REWRITE", "u2", "rtmp://h/app/open\n192.0.2.9\nopen").Body.String())
	assert.Equal(t, "1", w.counted(`authhook_trigger_problems_total{problem="panic",trigger="USER_NEW"}`))
	assert.Contains(t, w.log.String(), "panic")
	assert.Empty(t, w.sessions.asked, "nobody waits for an answer any more")
}

// Of whichever attempt, an answer is one.
func TestEveryAnswerIsTold(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	for range 2 {
		w.send("USER_NEW", "u", userNew("extra", "192.0.2.1", "", "HLS", "http://h/"))
		assert.Empty(t, w.sessions.asked)
	}
	assert.Len(t, w.sessions.recorded(), 1)
}

// What a stranger calls with a wrong key is no event: nothing is remembered of it.
func TestACallWithAWrongKeyIsNotRemembered(t *testing.T) {
	const key = "0123456789abcdef"
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{TriggerKey: key})
	body := userNew("extra", "192.0.2.1", "", "HLS", "http://h/")
	for range 2 {
		assert.Equal(t, "false", w.sendTo("/trigger/another", "USER_NEW", "u", body).Body.String())
	}
	assert.NotContains(t, w.log.String(), "repeated=true")
	assert.Equal(t, "true", w.sendTo("/trigger/"+key, "USER_NEW", "u", body).Body.String())
}

type panicking struct{}

func (panicking) Decide(context.Context, *policy.Request) (policy.Decision, bool) { panic("a mistake") }
func (panicking) Seen(policy.EventID) bool                                        { return false }

func TestSessionIDIsCheckedWhereTheModeIsKnown(t *testing.T) {
	body := strings.Replace(userNew("extra", "192.0.2.1", "x", "HLS", "http://h/"), "\nx\n", "\ny\n", 1)
	unknown := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	assert.Equal(t, "true", unknown.send("USER_NEW", "u1", body).Body.String())
	mode := 14
	known := newWorld(t, webhook.TriggerOptions{SessionMode: &mode}, webhook.HandlerOptions{})
	assert.Equal(t, "false", known.send("USER_NEW", "u1", body).Body.String())
	assert.Equal(t, "1", known.counted(`authhook_trigger_problems_total{problem="session_id_wrong",trigger="USER_NEW"}`))
	assert.Equal(t, "true", known.send("USER_NEW", "u2", userNew("extra", "192.0.2.1", "x", "HLS", "http://h/")).Body.String())
}

func TestBadRequestsAreAnsweredSafelyAndCounted(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	large := userNew("extra", "192.0.2.1", strings.Repeat("x", webhook.MaxBody), "HLS", "http://h/")
	tests := []struct{ name, trigger, body, answer, metric string }{
		{"no type", "", "extra", "false", `authhook_trigger_problems_total{problem="type_missing",trigger="other"}`},
		{"unknown type", "STREAM_PROCESS", "whatever", "true", `authhook_trigger_problems_total{problem="type_unknown",trigger="other"}`},
		{"empty body", "USER_NEW", "", "false", `authhook_trigger_problems_total{problem="payload_unreadable",trigger="USER_NEW"}`},
		{"too large", "USER_NEW", large, "false", `authhook_trigger_problems_total{problem="body_too_large",trigger="USER_NEW"}`},
		{"too large push", "PUSH_REWRITE", strings.Repeat("x", webhook.MaxBody+1), "", `authhook_trigger_problems_total{problem="body_too_large",trigger="PUSH_REWRITE"}`},
		{"unreadable, gates nothing", "LIVE_BANDWIDTH", "live\nmany", "true", `authhook_trigger_problems_total{problem="payload_unreadable",trigger="LIVE_BANDWIDTH"}`},
		{"unreadable end", "USER_END", "x", "true", `authhook_trigger_problems_total{problem="payload_unreadable",trigger="USER_END"}`},
		{"not an address", "STREAM_PUSH", "live\nnowhere\nRTMP\nrtmp://h/app/live", "false", `authhook_decisions_total{reason="payload_invalid",trigger="STREAM_PUSH"}`},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answer := w.send(test.trigger, fmt.Sprint("uuid-", i), test.body)
			assert.Equal(t, http.StatusOK, answer.Code)
			assert.Equal(t, test.answer, answer.Body.String())
			assert.Equal(t, "1", w.counted(test.metric))
		})
	}
	t.Run("another method", func(t *testing.T) {
		answer := httptest.NewRecorder()
		w.handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/trigger", nil))
		assert.Equal(t, http.StatusMethodNotAllowed, answer.Code)
		assert.Equal(t, http.MethodPost, answer.Header().Get("Allow"))
		assert.Equal(t, "1", w.counted(`authhook_trigger_problems_total{problem="method_wrong",trigger="other"}`))
	})
	assert.Empty(t, w.sessions.recorded())
}

func TestTriggerKeyIsDemanded(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{TriggerKey: "0123456789abcdef"})
	body := userNew("extra", "192.0.2.1", "x", "HLS", "http://h/")
	for path, want := range map[string]string{
		"/trigger": "false", "/trigger/": "false", "/trigger/wrong": "false", "/trigger/0123456789abcdef/": "false",
		"/trigger/0123456789abcdef": "true",
	} {
		answer := w.sendTo(path, "USER_NEW", "uuid"+path, body)
		assert.Equal(t, http.StatusOK, answer.Code, path)
		assert.Equal(t, want, answer.Body.String(), path)
	}
	assert.Equal(t, "4", w.counted(`authhook_trigger_problems_total{problem="key_wrong",trigger="USER_NEW"}`))
	assert.Equal(t, "", w.sendTo("/trigger", "PUSH_REWRITE", "u", "rtmp://h/app/open\n192.0.2.9\nopen").Body.String())
	assert.NotContains(t, w.log.String(), "0123456789abcdef")
}

// Five attempts of one event, some at once, are one decision with one effect.
func TestAttemptsOfOneEventAreAnsweredAlike(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	key := w.user("alice", "single", policy.Credential{})
	body := userNew("movie", "192.0.2.1", key, "HLS", "http://h/")
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() { assert.Equal(t, "true", w.send("USER_NEW", "one-event", body).Body.String()) })
	}
	asking.Wait()
	assert.Len(t, w.sessions.recorded(), 1)
	assert.Equal(t, "1", w.counted(`authhook_decisions_total{reason="entitled",trigger="USER_NEW"}`))
	assert.Equal(t, "19", w.counted(`authhook_repeated_triggers_total`))

	other := userNew("movie", "192.0.2.2", key, "HLS", "http://h/")
	assert.Equal(t, "false", w.send("USER_NEW", "another-event", other).Body.String(), "the plan's one place is taken")
	assert.Equal(t, "true", w.send("USER_NEW", "one-event", body).Body.String())

	end := strings.Join([]string{key, "movie", "HLS", "192.0.2.1", "8", "1", "2", "[UA:x]", "8", "8", "8", strings.Repeat("ab", 32)}, "\n")
	w.send("USER_END", "end", end)
	w.send("USER_END", "end", end)
	assert.Len(t, w.sessions.recorded(), 3, "an end that is told twice is one end")
}

// A body that does not come is waited for no longer than MistServer would wait for the answer. One of the API may take longer.
func TestSlowBodyIsDenied(t *testing.T) {
	bodies := make(chan string, 1)
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{API: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		bodies <- string(body)
	})})
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := webhook.NewServer(w.handler, w.logger())
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	defer serving.Wait()
	defer func() { _ = server.Close() }()

	send := func(text string) net.Conn {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		_, err = io.WriteString(conn, text)
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
		return conn
	}
	slow := send("POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
	defer func() { _ = slow.Close() }()
	conn := send("POST /trigger HTTP/1.1\r\nHost: x\r\nX-Trigger: USER_NEW\r\nContent-Length: 100\r\n\r\nextra\n")
	defer func() { _ = conn.Close() }()
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Contains(t, string(answer), "200 OK")
	assert.True(t, strings.HasSuffix(string(answer), "false"), string(answer))
	assert.Equal(t, "1", w.counted(`authhook_trigger_problems_total{problem="body_slow",trigger="USER_NEW"}`))

	_, err = io.WriteString(slow, "}")
	require.NoError(t, err)
	assert.Equal(t, "{}", <-bodies)
}

func TestHealth(t *testing.T) {
	missing := map[string]string{"database": "does not answer"}
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{Ready: func(context.Context) map[string]string { return missing }})
	get := func(path string) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		w.handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return answer
	}
	assert.Equal(t, http.StatusOK, get("/healthz").Code)
	assert.Equal(t, http.StatusServiceUnavailable, get("/readyz").Code)
	assert.JSONEq(t, `{"ready":false,"missing":{"database":"does not answer"}}`, get("/readyz").Body.String())
	missing = nil
	assert.JSONEq(t, `{"ready":true}`, get("/readyz").Body.String())
	assert.Equal(t, http.StatusNotFound, get("/triggers").Code)
}

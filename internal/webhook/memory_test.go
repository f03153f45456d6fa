package webhook_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"authhook/internal/mist"
	"authhook/internal/policy"
	"authhook/internal/webhook"
)

// Many ask at once, with bodies of all lengths: of nobody's request anything shows in another's session.
func TestNothingOfARequestShowsInAnother(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	const askers, each = 4, 60
	type asked struct{ stream, address, connector string }
	var all sync.Map // by session id
	var asking sync.WaitGroup
	for asker := range askers {
		asking.Go(func() {
			for n := range each {
				a := asked{fmt.Sprintf("live+%d-%d", asker, n), fmt.Sprintf("10.0.%d.%d", asker, n), fmt.Sprintf("C%d", asker)}
				token := strings.Repeat(strconv.Itoa(asker), 1+n*n*7%20_000)
				id := mist.SessionID(mist.DefaultSessionMode, a.stream, netip.MustParseAddr(a.address), token, a.connector)
				all.Store(id, a)
				answer := w.send("USER_NEW", fmt.Sprint("uuid-", asker, "-", n), userNew(a.stream, a.address, token, a.connector, "http://h/"))
				assert.Equal(t, "false", answer.Body.String())
			}
		})
	}
	asking.Wait()
	recorded := w.sessions.recorded()
	assert.Len(t, recorded, askers*each)
	for _, s := range recorded {
		want, ok := all.Load(s.ID)
		assert.True(t, ok, s.ID)
		assert.Equal(t, want, asked{s.Stream, s.Address.String(), s.Connector})
	}
}

// A body that ends early is not filled up with what was there before.
func TestABrokenBodyIsDenied(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	whole := userNew("extra", "192.0.2.1", "x", "HLS", "http://h/")
	assert.Equal(t, "true", w.send("USER_NEW", "u1", whole).Body.String())
	for _, sent := range []string{"", "extra\n192.0.2.1\n", whole[:len(whole)-1]} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/trigger", strings.NewReader(sent))
		r.ContentLength = int64(len(whole))
		r.Header.Set("X-Trigger", "USER_NEW")
		answer := httptest.NewRecorder()
		w.handler.ServeHTTP(answer, r)
		assert.Equal(t, http.StatusOK, answer.Code)
		assert.Equal(t, "false", answer.Body.String())
		assert.Equal(t, "body_broken", answer.Header().Get("X-Authhook-Problem"))
	}
	assert.Len(t, w.sessions.recorded(), 1)
}

// A decision from facts in memory costs little of it: a payload's text, the session's id, the address as text, and what
// deciding takes.
func TestATriggerCostsLittleMemory(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	body := userNew("movie", "192.0.2.1", w.user("alice", "gold", policy.Credential{}), "HLS", "http://h/")
	triggers := webhook.NewTriggers(w.decider, unheard{}, w.metrics, w.logger(), webhook.TriggerOptions{Node: "mist"})
	handler := webhook.NewHandler(triggers, w.metrics, webhook.HandlerOptions{TriggerKey: "0123456789abcdef"})
	reader := strings.NewReader(body)
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/trigger/0123456789abcdef", reader)
	r.ContentLength, r.Body = int64(len(body)), io.NopCloser(reader)
	uuid := []string{""}
	r.Header = http.Header{"X-Trigger": {"USER_NEW"}, "X-Trigger-Uuid": uuid, "X-Instance": {"i"}, "X-Trigger-Unixmillis": {"1795327221030"}}
	n := 0
	answer := &lastAnswer{header: http.Header{}}
	cost := testing.AllocsPerRun(500, func() {
		n++
		uuid[0] = strconv.Itoa(1000 + n) // which costs one
		reader.Reset(body)
		handler.ServeHTTP(answer, r)
	})
	assert.LessOrEqual(t, cost, 10.0) // 7 with slog's handler, but under the race detector pools forget on purpose
	assert.Equal(t, "true", answer.text)
	assert.Empty(t, answer.header, "nothing is told beyond the answer")
}

type unheard struct{}

func (unheard) Asks(string, string) bool  { return false }
func (unheard) Answered(string, string)   {}
func (unheard) Record(*policy.Session)    {}
func (unheard) Kick(policy.KickedSession) {}

// lastAnswer keeps an answer, as cheaply as a server would.
type lastAnswer struct {
	header http.Header
	text   string
}

func (a *lastAnswer) Header() http.Header { return a.header }
func (a *lastAnswer) WriteHeader(int)     {}
func (a *lastAnswer) Write(b []byte) (int, error) {
	a.text = string(b)
	return len(b), nil
}
func (a *lastAnswer) WriteString(s string) (int, error) {
	a.text = s
	return len(s), nil
}

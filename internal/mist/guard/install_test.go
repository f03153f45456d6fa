package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/mist"
	"authhook/internal/mist/api"
)

const handler = "http://127.0.0.1:4280/trigger/new-key"

func gate(streams ...string) api.Trigger {
	return api.Trigger{Handler: handler, Sync: true, Default: "false", Streams: streams}
}

func told(streams ...string) api.Trigger { return api.Trigger{Handler: handler, Streams: streams} }

// named are changes, one text each.
func named(changes []Change) []string {
	var all []string
	for _, c := range changes {
		switch {
		case c.Was == nil:
			all = append(all, "+"+string(c.Type))
		case c.Is == nil:
			all = append(all, "-"+string(c.Type))
		default:
			all = append(all, "~"+string(c.Type))
		}
	}
	return all
}

func TestMerge(t *testing.T) {
	type triggers = map[string][]api.Trigger
	other := api.Trigger{Handler: "http://stats.example/hook", Default: "true", Streams: []string{"a"}, Params: "p",
		Other: map[string]json.RawMessage{"default": json.RawMessage("true"), "x": json.RawMessage("1")}}
	older := api.Trigger{Handler: "http://127.0.0.1:4280/trigger/old-key", Sync: true, Default: "false"}
	two := []mist.Type{mist.TypeUserNew, mist.TypeUserEnd}
	for _, test := range []struct {
		name       string
		w          Wanted
		now, after triggers
		changes    []string
		same       int
		others     int
		lost       []mist.Type
	}{
		{
			name: "into none", w: Wanted{Types: DefaultTypes()},
			after:   triggers{"USER_NEW": {gate()}, "CONN_PLAY": {gate()}, "STREAM_PUSH": {gate()}, "USER_END": {told()}},
			changes: []string{"+USER_NEW", "+CONN_PLAY", "+STREAM_PUSH", "+USER_END"},
		},
		{
			name: "every type", w: Wanted{Types: Types()},
			after: triggers{"CONN_OPEN": {gate()}, "PLAY_REWRITE": {gate()}, "USER_NEW": {gate()}, "CONN_PLAY": {gate()},
				"RTMP_PUSH_REWRITE": {gate()}, "PUSH_REWRITE": {gate()}, "STREAM_PUSH": {gate()}, "USER_END": {told()}},
			changes: []string{"+CONN_OPEN", "+PLAY_REWRITE", "+USER_NEW", "+CONN_PLAY", "+RTMP_PUSH_REWRITE", "+PUSH_REWRITE", "+STREAM_PUSH", "+USER_END"},
		},
		{
			name: "a second time", w: Wanted{Types: two},
			now: triggers{"USER_NEW": {gate()}, "USER_END": {told()}}, after: triggers{"USER_NEW": {gate()}, "USER_END": {told()}}, same: 2,
		},
		{
			name: "beside others", w: Wanted{Types: two},
			now:     triggers{"USER_NEW": {other}, "USER_END": {other}, "STREAM_END": {other}, "SOMETHING_NEW": {other}},
			after:   triggers{"USER_NEW": {other, gate()}, "USER_END": {other, told()}, "STREAM_END": {other}, "SOMETHING_NEW": {other}},
			changes: []string{"+USER_NEW", "+USER_END"}, others: 1,
		},
		{
			name: "in its place", w: Wanted{Types: two},
			now:     triggers{"USER_NEW": {other, older, other}, "USER_END": {told()}},
			after:   triggers{"USER_NEW": {other, gate(), other}, "USER_END": {told()}},
			changes: []string{"~USER_NEW"}, same: 1, others: 2,
		},
		{
			name: "one of several", w: Wanted{Types: two},
			now:     triggers{"USER_NEW": {older, gate(), gate()}, "USER_END": {told()}},
			after:   triggers{"USER_NEW": {gate()}, "USER_END": {told()}},
			changes: []string{"~USER_NEW", "-USER_NEW", "-USER_NEW"}, same: 1,
		},
		{
			name: "named to be replaced", w: Wanted{Types: []mist.Type{mist.TypeUserNew}, Replace: []string{"/old/authhook-trigger", "http://old/trigger"}},
			now: triggers{"USER_NEW": {{Handler: "/old/authhook-trigger", Sync: true, Default: "false"}, {Handler: "http://old/trigger/key", Sync: true}},
				"STREAM_PUSH": {{Handler: "http://old/trigger/key", Sync: true}}},
			after:   triggers{"USER_NEW": {gate()}},
			changes: []string{"~USER_NEW", "-USER_NEW", "-STREAM_PUSH"}, lost: []mist.Type{mist.TypeStreamPush},
		},
		{
			name: "not named", w: Wanted{Types: []mist.Type{mist.TypeUserNew}},
			now:     triggers{"USER_NEW": {{Handler: "http://old/trigger/key", Sync: true}}},
			after:   triggers{"USER_NEW": {{Handler: "http://old/trigger/key", Sync: true}, gate()}},
			changes: []string{"+USER_NEW"}, others: 1,
		},
		{
			name: "a type less", w: Wanted{Types: two},
			now:     triggers{"USER_NEW": {gate()}, "USER_END": {told()}, "CONN_PLAY": {other, gate()}, "STREAM_READY": {told()}},
			after:   triggers{"USER_NEW": {gate()}, "USER_END": {told()}, "CONN_PLAY": {other}, "STREAM_READY": {told()}},
			changes: []string{"-CONN_PLAY"}, same: 2, others: 1, lost: []mist.Type{mist.TypeConnPlay},
		},
		{
			name: "streams, where they select", w: Wanted{Types: []mist.Type{mist.TypeUserNew, mist.TypePushRewrite, mist.TypeUserEnd}, Streams: []string{"live", "#paid"}},
			now:     triggers{"USER_NEW": {gate()}},
			after:   triggers{"USER_NEW": {gate("live", "#paid")}, "PUSH_REWRITE": {gate()}, "USER_END": {told("live", "#paid")}},
			changes: []string{"~USER_NEW", "+PUSH_REWRITE", "+USER_END"},
		},
		{
			name: "what MistServer does not read as text", w: Wanted{Types: []mist.Type{mist.TypeUserNew}},
			now: triggers{"USER_NEW": {{Handler: handler, Sync: true, Default: "false", Other: map[string]json.RawMessage{
				"streams": json.RawMessage(`"live"`), "onfail": json.RawMessage(`"deny"`)}}}},
			after:   triggers{"USER_NEW": {{Handler: handler, Sync: true, Default: "false", Other: map[string]json.RawMessage{"onfail": json.RawMessage(`"deny"`)}}}},
			changes: []string{"~USER_NEW"},
		},
		{
			name:  "out again",
			now:   triggers{"USER_NEW": {gate(), other}, "STREAM_PUSH": {gate()}, "USER_END": {told()}, "STREAM_END": {told()}},
			after: triggers{"USER_NEW": {other}, "STREAM_END": {told()}}, changes: []string{"-USER_NEW", "-STREAM_PUSH", "-USER_END"}, others: 1,
			lost: []mist.Type{mist.TypeUserNew, mist.TypeStreamPush},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.w.Handler = handler
			before, err := json.Marshal(test.now)
			require.NoError(t, err)
			p := test.w.Merge(test.now)
			assert.Equal(t, test.after, p.Triggers)
			assert.Equal(t, test.changes, named(p.Changes))
			assert.Len(t, p.Same, test.same)
			assert.Len(t, p.Others, test.others)
			assert.Equal(t, test.lost, p.Lost())
			unchanged, err := json.Marshal(test.now)
			require.NoError(t, err)
			assert.Equal(t, string(before), string(unchanged), "what was read stays as it was read")
			again := test.w.Merge(p.Triggers)
			assert.Empty(t, again.Changes, "a second time changes nothing")
			assert.Equal(t, p.Triggers, again.Triggers)
		})
	}
}

// Each field of an entry counts.
func TestMergeSeesEveryDifference(t *testing.T) {
	w := Wanted{Handler: handler, Types: []mist.Type{mist.TypeUserNew}, Streams: []string{"live"}}
	for name, change := range map[string]func(*api.Trigger){
		"handler": func(e *api.Trigger) { e.Handler = "http://127.0.0.1:4280/trigger" },
		"sync":    func(e *api.Trigger) { e.Sync = false },
		"default": func(e *api.Trigger) { e.Default = "true" },
		"none":    func(e *api.Trigger) { e.Default = "" },
		"params":  func(e *api.Trigger) { e.Params = "x" },
		"streams": func(e *api.Trigger) { e.Streams = []string{"live", "movie"} },
		"all":     func(e *api.Trigger) { e.Streams = nil },
		"kind":    func(e *api.Trigger) { e.Other = map[string]json.RawMessage{"sync": json.RawMessage(`"no"`)} },
	} {
		e := gate("live")
		change(&e)
		p := w.Merge(map[string][]api.Trigger{"USER_NEW": {e}})
		assert.Equal(t, []string{"~USER_NEW"}, named(p.Changes), name)
		assert.Equal(t, []api.Trigger{gate("live")}, p.Triggers["USER_NEW"], name)
	}
}

func TestCheckWanted(t *testing.T) {
	fits := Wanted{Handler: strings.Repeat("h", 127), Types: Types(), Streams: []string{strings.Repeat("s", 124), "!" + strings.Repeat("s", 123)}}
	require.NoError(t, fits.Check())
	for _, test := range []struct {
		says   string
		change func(*Wanted)
	}{
		{"needs 261 bytes and MistServer keeps 256", func(w *Wanted) { w.Streams = append(w.Streams[:2:2], "x") }},
		{"127", func(w *Wanted) { w.Handler += "h" }},
		{"USER_NEW", func(w *Wanted) { w.Types = []mist.Type{"STREAM_READY"} }},
		{`"live"`, func(w *Wanted) { w.Streams = []string{"live+*"} }},
		{`"!live*"`, func(w *Wanted) { w.Streams = []string{"!live*"} }},
		{"leave the + out", func(w *Wanted) { w.Streams = []string{"live+"} }},
		{"no name", func(w *Wanted) { w.Streams = []string{"!#"} }},
		{"no name", func(w *Wanted) { w.Streams = []string{""} }},
	} {
		w := fits
		test.change(&w)
		assert.ErrorContains(t, w.Check(), test.says)
	}
	long := Wanted{Handler: "http://127.0.0.1:4280/trigger/" + strings.Repeat("s3cret", 20), Types: DefaultTypes()}
	require.Error(t, long.Check())
	assert.NotContains(t, long.Check().Error(), "s3cret")
}

// server is a MistServer with triggers, and somebody who changes them.
type server struct {
	mu       sync.Mutex
	triggers map[string][]api.Trigger
	err      error
	written  error         // of SetTriggers alone
	meddle   func(*server) // after every writing
	log      []string
}

func (s *server) Config(context.Context) (api.Config, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, "read")
	return api.Config{Triggers: s.triggers}, s.err
}

func (s *server) SetTriggers(_ context.Context, triggers map[string][]api.Trigger) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, "write")
	s.triggers = triggers
	if s.meddle != nil {
		s.meddle(s)
	}
	if s.written != nil {
		return s.written
	}
	return s.err
}

func (s *server) Save(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, "save")
	return s.err
}

func TestPut(t *testing.T) {
	w := Wanted{Handler: handler, Types: DefaultTypes()}
	s := &server{}
	plan, err := w.Put(t.Context(), s, true)
	require.NoError(t, err)
	assert.Len(t, plan.Changes, 4)
	assert.Equal(t, []string{"read", "write", "read", "save"}, s.log)

	s.log = nil
	plan, err = w.Put(t.Context(), s, true)
	require.NoError(t, err)
	assert.Empty(t, plan.Changes)
	assert.Equal(t, []string{"read"}, s.log, "nothing is written, not even saved")

	s = &server{}
	_, err = w.Put(t.Context(), s, false)
	require.NoError(t, err)
	assert.NotContains(t, s.log, "save")
}

// Somebody wrote between our reading and our writing, and is read again.
func TestPutAgainstSomebodyElse(t *testing.T) {
	w := Wanted{Handler: handler, Types: DefaultTypes()}
	s := &server{}
	s.meddle = func(s *server) {
		delete(s.triggers, "USER_NEW")
		s.meddle = nil
	}
	_, err := w.Put(t.Context(), s, true)
	require.NoError(t, err)
	assert.Equal(t, []string{"read", "write", "read", "write", "read", "save"}, s.log)
	assert.Equal(t, []api.Trigger{gate()}, s.triggers["USER_NEW"])

	s = &server{meddle: func(s *server) { delete(s.triggers, "USER_NEW") }}
	_, err = w.Put(t.Context(), s, true)
	require.ErrorIs(t, err, ErrContested)
	assert.NotContains(t, s.log, "save")

	// A reply that shows other triggers is no reason to give up: they are read again.
	s = &server{written: api.ErrReply}
	_, err = w.Put(t.Context(), s, false)
	require.NoError(t, err)
	s = &server{written: api.ErrTooLong}
	_, err = w.Put(t.Context(), s, false)
	require.ErrorIs(t, err, api.ErrTooLong)

	s = &server{err: api.ErrNotReachable}
	_, err = w.Put(t.Context(), s, true)
	require.ErrorIs(t, err, api.ErrNotReachable)
	assert.Equal(t, []string{"read"}, s.log)
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &server{err: fmt.Errorf("read udp 127.0.0.1:%d: %w", 1, api.ErrNotReachable)}
		var seen []Seen
		done := make(chan struct{})
		go func() {
			defer close(done)
			Wanted{Handler: handler, Types: DefaultTypes()}.Watch(ctx, s, true, 10*time.Second, func(e Seen) {
				s.mu.Lock()
				defer s.mu.Unlock()
				seen = append(seen, e)
			})
		}()
		step := func(after time.Duration, change func()) []Seen {
			s.mu.Lock()
			if change != nil {
				change()
			}
			seen = nil
			s.mu.Unlock()
			time.Sleep(after) // virtual
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			return seen
		}
		synctest.Wait()
		require.Len(t, seen, 1, "at once, although it is away")
		require.ErrorIs(t, seen[0].Err, api.ErrNotReachable)
		require.Empty(t, step(time.Minute, func() { s.err = fmt.Errorf("read udp 127.0.0.1:%d: %w", 2, api.ErrNotReachable) }), "told once")
		got := step(10*time.Second, func() { s.err = errors.Join(api.ErrLogin) })
		require.Len(t, got, 1, "another kind is told")

		got = step(10*time.Second, func() { s.err = nil })
		require.Len(t, got, 1)
		assert.True(t, got[0].Back)
		assert.Len(t, got[0].Plan.Changes, 4)
		require.Empty(t, step(time.Minute, func() { s.log = nil }), "all is as it should be")
		assert.Equal(t, []string{"read", "read", "read", "read", "read", "read"}, s.log)

		got = step(9*time.Second, func() { s.triggers = nil })
		require.Empty(t, got)
		got = step(time.Second, nil)
		require.Len(t, got, 1)
		assert.False(t, got[0].Back)
		assert.Len(t, got[0].Plan.Changes, 4)
		assert.Len(t, s.triggers, 4, "put back")
		cancel()
		<-done
	})
}

// The first time is told, although nothing had to be changed.
func TestWatchTellsThatItWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := Wanted{Handler: handler, Types: DefaultTypes()}
		s := &server{triggers: w.Merge(nil).Triggers}
		told := make(chan Seen, 10)
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.Watch(ctx, s, true, time.Second, func(e Seen) { told <- e })
		}()
		assert.Equal(t, 4, len((<-told).Plan.Same))
		time.Sleep(time.Minute) // virtual
		cancel()
		<-done
		assert.Empty(t, told)
	})
}

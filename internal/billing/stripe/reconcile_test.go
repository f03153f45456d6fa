package stripe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/billing/stripe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "rk_the_key_of_the_tests"

// api answers with handle at Stripe's API, and asks once.
type api struct {
	*stripe.Client
	waited []time.Duration
}

func newAPI(t *testing.T, handle http.HandlerFunc) *api {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return clientOf(t, stripe.ClientOptions{URL: server.URL})
}

func clientOf(t *testing.T, o stripe.ClientOptions) *api {
	t.Helper()
	a := new(api)
	o.Key = key
	if o.Wait == nil {
		o.Wait = func(ctx context.Context, d time.Duration) error {
			a.waited = append(a.waited, d)
			return ctx.Err()
		}
	}
	c, err := stripe.NewClient(o)
	require.NoError(t, err)
	a.Client = c
	return a
}

// all asks for all events since a moment.
func (a *api) all(t *testing.T, since time.Time) (ids []string, bodies [][]byte, err error) {
	t.Helper()
	err = a.Events(t.Context(), since, func(id string, body []byte) error {
		ids, bodies = append(ids, id), append(bodies, bytes.Clone(body))
		return nil
	})
	if err != nil {
		require.NotContains(t, err.Error(), key)
		require.NotContains(t, err.Error(), "http:")
		require.NotContains(t, err.Error(), "created")
		require.NotContains(t, err.Error(), "\n")
	}
	return ids, bodies, err
}

// list is Stripe's list of events, newest first, as docs.stripe.com/api/events/list and /pagination describe it.
type list []json.RawMessage

func (l list) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit, err := strconv.Atoi(query.Get("limit"))
	types := query["types[]"]
	if r.Method != http.MethodGet || r.URL.Path != "/v1/events" || err != nil || limit > 100 || len(types) > 20 ||
		r.Header.Get("Authorization") != "Bearer "+key || r.ContentLength > 0 {
		http.Error(w, "unexpected", http.StatusBadRequest)
		return
	}
	since, _ := strconv.ParseInt(query.Get("created[gte]"), 10, 64)
	page, begun, more := []json.RawMessage{}, query.Get("starting_after") == "", false
	for _, raw := range l {
		var e struct {
			ID, Type string
			Created  int64
		}
		if json.Unmarshal(raw, &e) != nil {
			panic("no event")
		}
		switch {
		case !begun:
			begun = e.ID == query.Get("starting_after")
		case e.Created < since || !slices.Contains(types, e.Type):
		case len(page) == limit:
			more = true
		default:
			page = append(page, raw)
		}
	}
	// Written by hand: package json would write the events anew.
	_, _ = fmt.Fprintf(w, `{"object": "list", "data": [%s], "has_more": %v, "url": "/v1/events"}`,
		bytes.Join(func() (parts [][]byte) {
			for _, raw := range page {
				parts = append(parts, raw)
			}
			return parts
		}(), []byte(", ")), more)
}

func TestEventsOfSeveralPages(t *testing.T) {
	var all list
	var want []string
	for i := range 250 {
		id := fmt.Sprintf("evt_%03d", i)
		kind := "customer.updated"
		if i%10 == 0 {
			kind = "payout.paid"
		} else if i < 230 {
			want = append(want, id)
		}
		all = append(all, json.RawMessage(fmt.Sprintf(`{"id":%q,"type":%q,"created":%d,"data":{"object":{"id":"cus_1"}}}`, id, kind, 2000-i)))
	}
	var asked atomic.Int32
	a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		all.ServeHTTP(w, r)
	})
	ids, _, err := a.all(t, time.Unix(2000-229, 0))
	require.NoError(t, err)
	require.Equal(t, want, ids)
	require.EqualValues(t, 3, asked.Load())
	require.Empty(t, a.waited)

	ids, _, err = a.all(t, time.Time{})
	require.NoError(t, err)
	require.Len(t, ids, 225)
}

// TestEventsAsOfTheWebhook: from the list the same is read as from the webhook's body, byte for byte.
func TestEventsAsOfTheWebhook(t *testing.T) {
	bodies := samples(t)
	var all list
	want := make(map[string][]byte)
	p := provider(t, stripe.Options{})
	for _, name := range slices.Sorted(maps.Keys(bodies)) {
		all = append(all, bytes.TrimSpace(bodies[name]))
		e, err := p.Envelope(nil, bodies[name])
		require.NoError(t, err)
		if _, err := p.Records(bodies[name]); err == nil && e.Type != "invoice.payment_succeeded" {
			want[e.ID] = bytes.TrimSpace(bodies[name])
		}
	}
	a := newAPI(t, all.ServeHTTP)
	ids, got, err := a.all(t, time.Time{})
	require.NoError(t, err)
	read := 0
	for i, id := range ids {
		records, err := p.Records(got[i])
		if err != nil {
			continue // a customer that is nobody's
		}
		read++
		require.Equal(t, string(want[id]), string(got[i]))
		same, err := p.Records(want[id])
		require.NoError(t, err)
		require.Equal(t, same, records)
	}
	require.Equal(t, len(want), read)
}

// TestEventsLeaveNothingOpen: once the list is read, its connection is closed.
func TestEventsLeaveNothingOpen(t *testing.T) {
	closed := make(chan struct{}, 1)
	server := httptest.NewUnstartedServer(list{})
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.Start()
	defer server.Close()
	_, _, err := clientOf(t, stripe.ClientOptions{URL: server.URL}).all(t, time.Time{})
	require.NoError(t, err)
	select {
	case <-closed:
	case <-time.After(time.Minute):
		require.Fail(t, "the connection is left open")
	}
}

func TestEventsOfAnEmptyAccount(t *testing.T) {
	ids, _, err := newAPI(t, list{}.ServeHTTP).all(t, time.Unix(1, 0))
	require.NoError(t, err)
	require.Empty(t, ids)
}

// TestEventsAskAgain: what may be better the next time is asked again, as late as Stripe wants it.
func TestEventsAskAgain(t *testing.T) {
	const s = time.Second
	tests := []struct {
		name   string
		answer []int // then it is well
		after  string
		waited []time.Duration
		want   string
	}{
		{"too many", []int{429}, "", []time.Duration{s}, ""},
		{"too many, in a while", []int{429}, "7", []time.Duration{7 * s}, ""},
		{"sooner than we would", []int{429, 503, 500}, "0", []time.Duration{s, 2 * s, 4 * s}, ""},
		{"in a very long while", []int{429}, "18446744073709551615", []time.Duration{300 * s}, ""},
		{"nonsense", []int{502, 504}, "-1", []time.Duration{s, 2 * s}, ""},
		{"at a time that is over", []int{429}, "Mon, 02 Jan 2006 15:04:05 GMT", []time.Duration{s}, ""},
		{"at a time that never comes", []int{429}, "Fri, 31 Dec 9999 23:59:59 GMT", []time.Duration{300 * s}, ""},
		{"in vain", []int{500, 500, 500, 500, 500, 500, 500}, "", []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s},
			"asking Stripe for events: it answered 500; gave up after 6 tries"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int32
			a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
				if n := int(asked.Add(1)); n <= len(tt.answer) {
					if tt.after != "" {
						w.Header().Set("Retry-After", tt.after)
					}
					w.WriteHeader(tt.answer[n-1])
					return
				}
				list{}.ServeHTTP(w, r)
			})
			_, _, err := a.all(t, time.Time{})
			require.Equal(t, tt.waited, a.waited)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tt.want)
		})
	}
}

// TestEventsFaults: what is no list of events is an error, at once.
func TestEventsFaults(t *testing.T) {
	answer := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"error":{"message":"Invalid API Key provided: `+key+`"}}`, code)
		}
	}
	const reading = "reading Stripe's list of events: "
	tests := []struct {
		name   string
		handle http.HandlerFunc
		want   string
		calls  int
	}{
		{"a wrong key", status(401), "asking Stripe for events: " + stripe.ErrKeyRefused.Error() + " (it answered 401)", 0},
		{"a key that may not", status(403), "asking Stripe for events: " + stripe.ErrKeyRefused.Error() + " (it answered 403)", 0},
		{"what Stripe does not know", status(400), "asking Stripe for events: it answered 400", 0},
		{"another place", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/elsewhere", http.StatusTemporaryRedirect)
		}, "asking Stripe for events: it answered 307", 0},
		{"nothing", answer(""), reading + "the body is not JSON", 0},
		{"a page of the web", answer("<html>"), reading + "the body is not JSON", 0},
		{"no list", answer(`{"has_more":false}`), reading + "data is missing", 0},
		{"a list of another kind", answer(`{"has_more":false,"data":{}}`), reading + "data is not a list", 0},
		{"no end", answer(`{"data":[]}`), reading + "has_more is missing", 0},
		{"no event", answer(`{"has_more":false,"data":[7]}`), reading + "data[0] is not an object", 0},
		{"an event without a name", answer(`{"has_more":false,"data":[{"id":"evt_1"},{}]}`), reading + "data[1].id is missing", 0},
		{"cut off", answer(`{"has_more":false,"data":[{"id":"evt_1"}`), reading + "the body is not JSON", 0},
		{"an endless list", answer(`{"has_more":true,"data":[]}`), reading + "a page is empty, and is said not to be the last", 0},
		{"the same again", answer(`{"has_more":true,"data":[{"id":"evt_1"}]}`), reading + "it comes round to the same page again", 2},
		{"a flood", func(w http.ResponseWriter, _ *http.Request) {
			some := bytes.Repeat([]byte(" "), 1<<20)
			for range 17 {
				_, _ = w.Write(some)
			}
		}, "asking Stripe for events: a page is larger than 16 MiB", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAPI(t, tt.handle)
			ids, _, err := a.all(t, time.Unix(1, 0))
			require.EqualError(t, err, tt.want)
			require.Len(t, ids, tt.calls)
			require.Empty(t, a.waited)
			require.Equal(t, strings.Contains(tt.name, "key"), errors.Is(err, stripe.ErrKeyRefused))
		})
	}
}

// TestEventsInCircles: three pages that lead to each other.
func TestEventsInCircles(t *testing.T) {
	next := map[string]string{"": "evt_1", "evt_1": "evt_2", "evt_2": "evt_3", "evt_3": "evt_1"}
	a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"has_more":true,"data":[{"id":%q}]}`, next[r.URL.Query().Get("starting_after")])
	})
	ids, _, err := a.all(t, time.Time{})
	require.ErrorContains(t, err, "it comes round to the same page again")
	require.Equal(t, []string{"evt_1", "evt_2", "evt_3", "evt_1"}, ids)
}

// TestEventsNobodyThere: a connection that fails is tried again, and the error does not hold the URL.
func TestEventsNobodyThere(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	a := clientOf(t, stripe.ClientOptions{URL: server.URL})
	_, _, err := a.all(t, time.Unix(1, 0))
	require.ErrorContains(t, err, "refused; gave up after 6 tries")
	require.Len(t, a.waited, 5)

	// One that breaks off in the middle of a page too.
	var asked atomic.Int32
	a = newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("{"))
			return
		}
		list{}.ServeHTTP(w, r)
	})
	_, _, err = a.all(t, time.Time{})
	require.NoError(t, err)
	require.Len(t, a.waited, 1)
}

// TestEventsStop: they stop with the context, wherever it ends, and with what is told of an event.
func TestEventsStop(t *testing.T) {
	two := answerTwo(t)
	calls := 0
	full := errors.New("the disk is full")
	err := two.Events(t.Context(), time.Time{}, func(string, []byte) error { calls++; return full })
	require.Equal(t, full, err)
	require.Equal(t, 1, calls)

	ctx, cancel := context.WithCancel(t.Context())
	err = two.Events(ctx, time.Time{}, func(string, []byte) error { calls++; cancel(); return nil })
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 2, calls)
	require.ErrorIs(t, two.Events(ctx, time.Time{}, nil), context.Canceled)

	ctx, cancel = context.WithCancel(t.Context())
	a := newAPI(t, func(w http.ResponseWriter, _ *http.Request) { cancel(); w.WriteHeader(http.StatusTooManyRequests) })
	require.ErrorIs(t, a.Events(ctx, time.Time{}, nil), context.Canceled)

	// Without a wait of its own, a client waits by the clock and until its context ends.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "300")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	c, err := stripe.NewClient(stripe.ClientOptions{Key: key, URL: server.URL})
	require.NoError(t, err)
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.Events(ctx, time.Time{}, nil), context.DeadlineExceeded)
}

func answerTwo(t *testing.T) *api {
	return newAPI(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"has_more":false,"data":[{"id":"evt_1"},{"id":"evt_2"}]}`))
	})
}

// TestEventsOfAnAccount: events of a connected account must name it, or they would be refused later, and stay so.
func TestEventsOfAnAccount(t *testing.T) {
	for account, want := range map[string]string{
		`"acct_1"`: "",
		`"acct_2"`: "account is not the one that was asked for",
		"null":     "account is not the one that was asked for",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Stripe-Account") == "acct_1" {
				_, _ = w.Write([]byte(`{"has_more":false,"data":[{"id":"evt_1","account":` + account + `}]}`))
			}
		}))
		a := clientOf(t, stripe.ClientOptions{URL: server.URL, Account: "acct_1"})
		ids, _, err := a.all(t, time.Time{})
		if want == "" {
			require.NoError(t, err)
			require.Equal(t, []string{"evt_1"}, ids)
		} else {
			require.ErrorContains(t, err, want)
			require.Empty(t, ids)
		}
		server.Close()
	}
}

func TestClientOptions(t *testing.T) {
	for _, o := range []stripe.ClientOptions{
		{},
		{Key: "sk_1 "},
		{Key: "sk\n1"},
		{Key: "sk_é"},
		{Key: key, Account: "acct 1"},
		{Key: key, URL: "http://api.stripe.com"},
		{Key: key, URL: "ftp://127.0.0.1"},
		{Key: key, URL: "https://"},
		{Key: key, URL: "https://u:p@127.0.0.1"},
		{Key: key, URL: "https://api.stripe.com?a=b"},
		{Key: key, URL: "://"},
	} {
		_, err := stripe.NewClient(o)
		require.Error(t, err, o.URL)
		if o.Key != "" {
			require.NotContains(t, err.Error(), o.Key)
		}
	}
	for _, url := range []string{"", "https://api.stripe.com/", "http://127.0.0.1:1", "http://[::1]:1/x", "http://localhost"} {
		_, err := stripe.NewClient(stripe.ClientOptions{Key: key, URL: url})
		require.NoError(t, err, url)
	}
}

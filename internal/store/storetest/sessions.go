package storetest

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// watching is an open session with every field set that an open one has.
func watching(id string) policy.Session {
	return policy.Session{Node: "n", ID: id, Instance: "i-1", State: policy.SessionOpen, Stream: "live+x",
		Address: netip.MustParseAddr("2001:db8::1"), Connector: "HLS", User: "anna", Credential: policy.HashKey("ak_1"),
		JWT: &policy.Credential{Kind: policy.CredentialJWT, User: "anna", Streams: []string{"live+*"},
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, From: noon, Until: noon.Add(time.Hour), Publish: true},
		Reason: policy.Entitled, Plan: "gold", Tags: []string{"plan:gold", hostile["json"]}, Opened: noon,
		Decided: noon.Add(time.Microsecond), Until: noon.Add(time.Hour)}
}

// over is what is known at the end of a session.
func over(id string, after, duration time.Duration) policy.Session {
	return policy.Session{Node: "n", ID: id, State: policy.SessionEnded, Ended: noon.Add(after), Duration: duration,
		BytesUp: 1, BytesDown: math.MaxInt64, Connectors: []string{"HLS", "WebRTC"}}
}

func write(t testing.TB, s Store, sessions ...policy.Session) {
	t.Helper()
	require.NoError(t, s.WriteSessions(t.Context(), sessions))
}

func stored(t testing.TB, s Store, id string) policy.Session {
	t.Helper()
	got, err := s.Session(t.Context(), "n", id)
	require.NoError(t, err)
	return got
}

func ids(list []policy.Session) []string {
	var out []string
	for _, s := range list {
		out = append(out, s.Node+"/"+s.ID)
	}
	return out
}

func testSessions(t *testing.T, database func(testing.TB) Open) {
	t.Run("every field comes back", func(t *testing.T) {
		s := fresh(t, database)
		full, bare := watching("1"), policy.Session{Node: "n", ID: "2", State: policy.SessionDenied, Reason: policy.PaymentRequired}
		write(t, s, full, bare)
		require.Equal(t, full, stored(t, s, "1"))
		require.Equal(t, bare, stored(t, s, "2"))
		_, err := s.Session(t.Context(), "m", "1")
		require.ErrorIs(t, err, store.ErrNotFound)
		require.Empty(t, feed(t, s, 0), "sessions are no facts")
	})

	t.Run("decided again", func(t *testing.T) {
		s := fresh(t, database)
		write(t, s, watching("1"))
		again := policy.Session{Node: "n", ID: "1", State: policy.SessionOpen, Stream: "live+y", Reason: policy.Public,
			Opened: noon.Add(time.Minute), Decided: noon.Add(time.Minute)}
		write(t, s, again)
		again.Opened = noon
		require.Equal(t, again, stored(t, s, "1"), "all is new but when it opened")
	})

	t.Run("an end that knows little", func(t *testing.T) {
		s := fresh(t, database)
		write(t, s, watching("1"))
		write(t, s, over("1", time.Minute, time.Minute))
		want := watching("1")
		want.State, want.Ended, want.Duration = policy.SessionEnded, noon.Add(time.Minute), time.Minute
		want.BytesUp, want.BytesDown, want.Connectors = 1, math.MaxInt64, []string{"HLS", "WebRTC"}
		require.Equal(t, want, stored(t, s, "1"))

		stranger := over("2", 0, time.Minute)
		write(t, s, stranger)
		require.Equal(t, stranger, stored(t, s, "2"), "an end of a session that is not stored")
	})

	t.Run("comes back", func(t *testing.T) {
		s := fresh(t, database)
		write(t, s, watching("1"), over("1", time.Minute, time.Minute))
		back := watching("1")
		back.Opened, back.Decided = noon.Add(time.Hour), noon.Add(time.Hour)
		write(t, s, back)
		require.Equal(t, back, stored(t, s, "1"), "it opens anew")
		write(t, s, over("1", time.Minute, time.Minute))
		require.Equal(t, back, stored(t, s, "1"), "an end from before is told again")
	})

	t.Run("an end without a time", func(t *testing.T) {
		s := fresh(t, database)
		end := over("1", 0, 0)
		end.Ended = time.Time{}
		write(t, s, end)
		require.Equal(t, noon, stored(t, s, "1").Ended)
	})

	t.Run("what strangers write", func(t *testing.T) {
		s := fresh(t, database)
		var all []policy.Session
		for name, text := range hostile {
			h := watching(name)
			h.Stream, h.Connector, h.Instance, h.Tags, h.Connectors = text, text, text, []string{text, ""}, []string{text}
			all = append(all, h)
		}
		write(t, s, all...)
		for _, h := range all {
			require.Equal(t, h, stored(t, s, h.ID))
		}

		bad := watching("bad")
		bad.Stream = "a\x00b\xff" + strings.Repeat("é", 10<<10)
		bad.Connector, bad.User, bad.Plan = strings.Repeat("x", 10<<10), "\x00", "\xfe"
		bad.Tags = []string{strings.Repeat("t", 10<<10), "\x00"}
		bad.Until, bad.JWT.Until = time.Date(292277, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1<<60, 0)
		bad.Opened = time.Date(-5000, 1, 1, 0, 0, 0, 0, time.UTC)
		odd := watching("\x00\xff" + strings.Repeat("z", 10<<10))
		write(t, s, bad, odd, watching("good"))
		require.Equal(t, watching("good"), stored(t, s, "good"), "one that cannot be stored as it is holds up no other")
		got := stored(t, s, "bad")
		require.True(t, strings.HasPrefix(got.Stream, "a\uFFFDb\uFFFDé"), got.Stream[:10])
		require.LessOrEqual(t, len(got.Stream), 1024)
		require.Equal(t, bad.Tags[0], got.Tags[0])
		require.Equal(t, 9999, got.Until.Year())
		require.Equal(t, 9999, got.JWT.Until.Year())
		stored(t, s, odd.ID)
	})

	t.Run("a thousand at once, twice", func(t *testing.T) {
		s := fresh(t, database)
		var opens, ends []policy.Session
		for i := range 1000 {
			id := fmt.Sprintf("%04d", i)
			opens, ends = append(opens, watching(id)), append(ends, over(id, time.Minute, time.Second))
		}
		write(t, s, opens...)
		write(t, s, append(opens, ends...)...)
		list, err := s.Sessions(t.Context(), store.SessionFilter{Limit: 5000, State: policy.SessionEnded})
		require.NoError(t, err)
		require.Len(t, list, 1000)
		f, err := s.FactsByUser(t.Context(), "anna")
		require.NoError(t, err)
		require.Equal(t, 1000*time.Second, f.Used)
	})

	t.Run("listed", func(t *testing.T) {
		s := fresh(t, database)
		add := func(node, id, user, stream string, state policy.SessionState) {
			write(t, s, policy.Session{Node: node, ID: id, User: user, Stream: stream, State: state, Ended: noon, Decided: noon})
		}
		add("a", "1", "anna", "x", policy.SessionOpen)
		add("a", "2", "ben", "x", policy.SessionEnded)
		add("a", "Z", "anna", "y", policy.SessionDenied)
		add("a", "a", "", "y", policy.SessionOpen)
		add("b", "0", "anna", "x", policy.SessionOpen)
		for _, c := range []struct {
			f    store.SessionFilter
			want []string
		}{
			{store.SessionFilter{}, []string{"a/1", "a/2", "a/Z", "a/a", "b/0"}},
			{store.SessionFilter{Limit: 2}, []string{"a/1", "a/2"}},
			{store.SessionFilter{Limit: 2, After: store.SessionKey{Node: "a", ID: "2"}}, []string{"a/Z", "a/a"}},
			{store.SessionFilter{After: store.SessionKey{Node: "a", ID: "a"}}, []string{"b/0"}},
			{store.SessionFilter{User: "anna"}, []string{"a/1", "a/Z", "b/0"}},
			{store.SessionFilter{User: "anna", After: store.SessionKey{Node: "a", ID: "1"}, Limit: 1}, []string{"a/Z"}},
			{store.SessionFilter{Stream: "x"}, []string{"a/1", "a/2", "b/0"}},
			{store.SessionFilter{Node: "a"}, []string{"a/1", "a/2", "a/Z", "a/a"}},
			{store.SessionFilter{Node: "a", State: policy.SessionOpen}, []string{"a/1", "a/a"}},
			{store.SessionFilter{User: "anna", Stream: "x", Node: "b", State: policy.SessionOpen}, []string{"b/0"}},
			{store.SessionFilter{User: "anna", Stream: "x", Node: "b", State: policy.SessionEnded}, nil},
			{store.SessionFilter{User: "a\x00b"}, nil},
			{store.SessionFilter{State: "' OR 1=1 --"}, nil},
		} {
			list, err := s.Sessions(t.Context(), c.f)
			require.NoError(t, err)
			require.Equal(t, c.want, ids(list), "%+v", c.f)
		}
	})

	t.Run("pruned", func(t *testing.T) {
		s := fresh(t, database)
		denied := func(id string, decided time.Duration) policy.Session {
			return policy.Session{Node: "n", ID: id, State: policy.SessionDenied, Decided: noon.Add(decided)}
		}
		write(t, s, watching("open"), over("old", 0, 0), over("new", time.Hour, 0), denied("old denial", 0), denied("new denial", time.Hour))
		n, err := s.PruneSessions(t.Context(), noon.Add(time.Minute))
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		n, err = s.PruneDenials(t.Context(), noon.Add(time.Minute))
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		list, err := s.Sessions(t.Context(), store.SessionFilter{})
		require.NoError(t, err)
		require.Equal(t, []string{"n/new", "n/new denial", "n/open"}, ids(list))
	})
}

func testUsage(t *testing.T, database func(testing.TB) Open) {
	used := func(t *testing.T, s Store, user string) time.Duration {
		t.Helper()
		f, err := s.FactsByUser(t.Context(), user)
		require.NoError(t, err)
		return f.Used
	}

	t.Run("each end once", func(t *testing.T) {
		s := fresh(t, database)
		write(t, s, watching("1"))
		require.Zero(t, used(t, s, "anna"), "nothing is counted before the end")
		end := over("1", time.Minute, 40*time.Second)
		write(t, s, end)
		require.Equal(t, 40*time.Second, used(t, s, "anna"), "it is whose the session was")
		write(t, s, end)
		write(t, s, end, end)
		earlier := over("1", time.Second, time.Second)
		write(t, s, earlier)
		require.Equal(t, 40*time.Second, used(t, s, "anna"))

		back := watching("1")
		back.Decided = noon.Add(2 * time.Minute)
		write(t, s, back)
		write(t, s, end)
		require.Equal(t, 40*time.Second, used(t, s, "anna"), "also when it came back in between")
		write(t, s, over("1", 3*time.Minute, 5*time.Second))
		require.Equal(t, 45*time.Second, used(t, s, "anna"))
		require.Empty(t, feed(t, s, 0))
	})

	t.Run("in one batch", func(t *testing.T) {
		s := fresh(t, database)
		reopened := watching("1")
		reopened.Opened = noon.Add(2 * time.Minute)
		write(t, s, watching("1"), over("1", time.Minute, time.Second), over("1", time.Minute, time.Second), reopened,
			over("1", 3*time.Minute, 10*time.Second), of("anna", over("2", 0, 100*time.Second)), of("ben", over("3", 0, time.Second)))
		require.Equal(t, 111*time.Second, used(t, s, "anna"))
		require.Equal(t, time.Second, used(t, s, "ben"))
		require.Equal(t, noon.Add(2*time.Minute), stored(t, s, "1").Opened)
	})

	t.Run("of nobody", func(t *testing.T) {
		s := fresh(t, database)
		nobody := watching("1")
		nobody.User = ""
		write(t, s, nobody)
		write(t, s, over("1", 0, time.Hour), over("2", 0, time.Hour), of("anna", over("3", 0, 0)))
		require.Zero(t, used(t, s, "anna"))
		require.Zero(t, used(t, s, ""))
	})

	t.Run("under no plan", func(t *testing.T) {
		s := fresh(t, database)
		public := watching("1")
		public.Plan = ""
		write(t, s, public)
		write(t, s, over("1", 0, time.Hour))
		require.Zero(t, used(t, s, "anna"), "what everybody may watch uses up nobody's quota")
	})

	t.Run("in the month of the end", func(t *testing.T) {
		now := noon
		s := migrated(t, database(t), func() time.Time { return now })
		write(t, s, watching("1"))
		write(t, s, over("1", 30*24*time.Hour, time.Minute))
		require.Zero(t, used(t, s, "anna"))
		now = noon.Add(30 * 24 * time.Hour)
		require.Equal(t, time.Minute, used(t, s, "anna"))
	})

	t.Run("told of where a quota can depend on it", func(t *testing.T) {
		s := fresh(t, database)
		metered := func(id, user string) policy.Session {
			w := watching(id)
			w.User, w.Metered = user, true
			return w
		}
		until := func(w policy.Session) policy.Session {
			w.Until, w.Decided = w.Until.Add(time.Second), w.Decided.Add(time.Second)
			return w
		}
		plan := func(w policy.Session, plan string) policy.Session {
			w.Plan = plan
			return w
		}
		who := func(users ...string) []string { return users }
		seen := int64(0)
		told := func(what string, want []string, words ...policy.Session) {
			t.Helper()
			write(t, s, words...)
			var entries []string
			for _, user := range want {
				entries = append(entries, "user "+user)
			}
			got := feed(t, s, seen)
			require.Equal(t, len(entries), len(got), "%s: %v", what, got)
			require.ElementsMatch(t, entries, got, what)
			seen = last(t, s)
		}
		anna, ben := metered("1", "anna"), metered("2", "ben")
		told("two begin, one of nobody, and one without a quota", who("anna", "ben"), anna, ben, metered("3", ""), watching("4"))
		told("nothing but the decision's end is new", nil, until(anna), until(until(ben)))
		told("nothing is new", nil, until(anna))
		back := metered("1", "anna")
		back.Opened = noon.Add(2 * time.Minute)
		told("one was gone at once and is back", who("anna"), over("1", time.Minute, 0), back)
		told("many of one", who("anna"), metered("5", "anna"), metered("6", "anna"), metered("7", "anna"))
		told("one ends", who("anna"), over("5", time.Minute, time.Minute))
		told("it ended before", nil, over("5", time.Minute, time.Minute))
		guess := over("6", time.Minute, time.Minute)
		guess.Estimated = true
		told("one vanishes", who("anna"), guess)
		told("its end is told, and was longer", who("anna"), over("6", 2*time.Minute, 70*time.Second))
		told("one begins and ends", who("anna"), metered("8", "anna"), over("8", time.Minute, time.Second))
		told("one comes under no plan", who("ben"), plan(ben, ""))
		told("and ends", nil, over("2", time.Minute, time.Second))
		told("one without a quota comes under one", who("anna"), metered("4", "anna"))
		told("and is without again", who("anna"), watching("4"))
		told("and ends", nil, over("4", time.Minute, time.Minute))
		told("one becomes another's", who("anna", "ben"), metered("7", "ben"))
		denied := metered("9", "anna")
		denied.State, denied.Reason = policy.SessionDenied, policy.QuotaExhausted
		told("a denial", nil, denied)
		told("its end", nil, over("9", time.Minute, 0))
		told("an end of nobody knows what", nil, of("anna", over("10", time.Minute, time.Minute)))
	})

	t.Run("no word of who has no quota", func(t *testing.T) {
		s := fresh(t, database)
		var opens, ends []policy.Session
		for i := range 1000 {
			opens, ends = append(opens, watching(fmt.Sprint(i))), append(ends, over(fmt.Sprint(i), time.Minute, time.Second))
		}
		write(t, s, opens...)
		write(t, s, ends...)
		require.Empty(t, feed(t, s, 0))
	})

	for _, stood := range []bool{true, false} {
		t.Run(fmt.Sprint("racing ends, stored before: ", stood), func(t *testing.T) {
			open := database(t)
			replicas := []Store{migrated(t, open, at(noon)), opened(t, open, at(noon))}
			const rounds, many = 6, 30
			for round := range rounds {
				var opens, ends []policy.Session
				for i := range many {
					id := fmt.Sprint(round, " ", i)
					opens, ends = append(opens, of("anna", watching(id))), append(ends, of("anna", over(id, time.Minute, time.Second)))
				}
				if stood {
					write(t, replicas[0], opens...)
				}
				start := make(chan struct{})
				var wg sync.WaitGroup
				for i := range 10 {
					mine := slices.Concat(ends[i:], ends[:i])
					wg.Go(func() {
						<-start
						assert.NoError(t, replicas[i%2].WriteSessions(t.Context(), mine))
					})
				}
				close(start)
				wg.Wait()
			}
			require.Equal(t, rounds*many*time.Second, used(t, replicas[0], "anna"))
		})
	}
}

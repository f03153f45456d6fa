package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// held are the sessions that a node holds, as "node/id", in order.
func held(t testing.TB, s Store, node string, deniedSince time.Time) []string {
	t.Helper()
	var list []policy.Session
	require.NoError(t, s.HeldSessions(t.Context(), node, deniedSince, func(one policy.Session) error {
		list = append(list, one)
		return nil
	}))
	names := ids(list)
	slices.Sort(names)
	return names
}

func testHeldSessions(t *testing.T, database func(testing.TB) Open) {
	t.Run("of a node", func(t *testing.T) {
		s := fresh(t, database)
		refused := func(id string, at time.Duration) policy.Session {
			return policy.Session{Node: "n", ID: id, State: policy.SessionDenied, Decided: noon.Add(at)}
		}
		elsewhere := watching("3")
		elsewhere.Node = "n2"
		write(t, s, watching("1"), watching("2"), elsewhere, over("2", time.Minute, time.Minute), watching("4"), over("5", 0, 0),
			refused("new", time.Microsecond), refused("then", 0), refused("old", -time.Second),
			policy.Session{Node: "n", ID: "never", State: policy.SessionDenied}, watching("6"), refused("6", time.Second))
		for _, c := range []struct {
			node  string
			since time.Time
			want  []string
		}{
			{"n", noon, []string{"n/1", "n/4", "n/6", "n/new"}},
			{"n", noon.Add(time.Second), []string{"n/1", "n/4"}},
			{"n", noon.Add(-2 * time.Second), []string{"n/1", "n/4", "n/6", "n/new", "n/old", "n/then"}},
			{"n", time.Time{}, []string{"n/1", "n/4", "n/6", "n/new", "n/old", "n/then"}},
			{"n2", noon, []string{"n2/3"}},
			{"none", noon, nil},
			{"", noon, nil},
			{"n\x00", noon, nil},
		} {
			require.Equal(t, c.want, held(t, s, c.node, c.since), "%q since %v", c.node, c.since)
		}
	})

	t.Run("every field comes along", func(t *testing.T) {
		s := fresh(t, database)
		full, bare := watching("1"), policy.Session{Node: "n", ID: "2", State: policy.SessionOpen}
		refused := watching("3")
		refused.State, refused.Reason, refused.Tags = policy.SessionDenied, policy.PaymentRequired, []string{"other"}
		write(t, s, full, bare, refused)
		got := map[string]policy.Session{}
		require.NoError(t, s.HeldSessions(t.Context(), "n", noon, func(one policy.Session) error {
			got[one.ID] = one
			return nil
		}))
		require.Equal(t, map[string]policy.Session{"1": full, "2": bare, "3": refused}, got)
	})

	t.Run("many, to one who stops", func(t *testing.T) {
		s := fresh(t, database)
		var many []policy.Session
		for i := range 3000 {
			many = append(many, watching(fmt.Sprintf("%04d", i)))
		}
		write(t, s, many...)
		require.Len(t, held(t, s, "n", noon), 3000)

		enough := errors.New("enough")
		told := 0
		err := s.HeldSessions(t.Context(), "n", noon, func(policy.Session) error {
			if told++; told == 100 {
				return enough
			}
			return nil
		})
		require.Same(t, enough, err, "as it is")
		require.Equal(t, 100, told)

		told = 0
		away := fmt.Errorf("elsewhere: %w", store.ErrUnavailable)
		require.Same(t, away, s.HeldSessions(t.Context(), "n", noon, func(policy.Session) error { told++; return away }))
		require.Equal(t, 1, told, "nothing is told twice")

		ctx, cancel := context.WithCancel(t.Context())
		told = 0
		err = s.HeldSessions(ctx, "n", noon, func(policy.Session) error {
			if told++; told == 10 {
				cancel()
			}
			return nil
		})
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, store.ErrUnavailable)
		require.Less(t, told, 3000)

		require.NoError(t, s.HeldSessions(t.Context(), "n", noon, func(one policy.Session) error {
			if one.ID != "0007" {
				return nil
			}
			_, err := s.Session(t.Context(), "n", "0008")
			return errors.Join(err, s.WriteSessions(t.Context(), []policy.Session{over("0009", time.Minute, 0)}))
		}), "the store can be used meanwhile")
	})
}

func testEndSession(t *testing.T, database func(testing.TB) Open) {
	t.Run("is told in the feed", func(t *testing.T) {
		s := fresh(t, database)
		ctx := store.WithActor(t.Context(), "key_of_eve")
		far := watching("ab12")
		far.Node, far.Stream = "edge 2, "+hostile["unicode"], hostile["json"]
		nobody := watching("5")
		nobody.User = ""
		write(t, s, far, nobody, over("6", 0, 0))
		require.NoError(t, s.EndSession(ctx, far.Node, "ab12"))
		require.NoError(t, s.EndSession(ctx, "n", "5"))
		require.NoError(t, s.EndSession(ctx, "n", "6"), "whether it is over is its node's to say")
		require.NoError(t, s.EndSession(ctx, "n", "6"), "again")
		list, err := s.Changes(t.Context(), 0, 10)
		require.NoError(t, err)
		require.Equal(t, store.Change{Number: 1, At: noon, Kind: store.ChangeSessionEnd, Subject: store.SessionSubject(far.Node, "ab12")}, list[0])
		require.Equal(t, []string{"session_end 5 n", "session_end 6 n", "session_end 6 n"}, feed(t, s, 1))

		all := audit(t, s, store.AuditFilter{})
		require.Len(t, all, 4)
		e := all[3]
		require.JSONEq(t, fmt.Sprintf(`{"node":%q,"id":"ab12","stream":%s}`, far.Node, quoted("json")), string(e.Detail))
		e.Detail = nil
		require.Equal(t, store.AuditEntry{Number: 1, At: noon, Actor: "key_of_eve", Action: store.ActionSessionEnd, Subject: "anna"}, e)
		require.Empty(t, all[2].Subject, "nobody is known")
		require.Equal(t, far, func() policy.Session { one, _ := s.Session(ctx, far.Node, "ab12"); return one }(), "it is not ended yet")
	})

	t.Run("is not stored", func(t *testing.T) {
		s := fresh(t, database)
		write(t, s, watching("1"), watching("a b"))
		for _, k := range []store.SessionKey{{Node: "n", ID: "2"}, {Node: "m", ID: "1"}, {Node: "", ID: "1"}, {Node: "n\x00", ID: "1"}} {
			require.ErrorIs(t, s.EndSession(t.Context(), k.Node, k.ID), store.ErrNotFound, "%q", k)
		}
		invalid := new(store.InvalidError)
		for _, id := range []string{"", "a b", "a\x00"} {
			require.ErrorAs(t, s.EndSession(t.Context(), "n", id), &invalid, "%q", id)
		}
		require.Empty(t, feed(t, s, 0))
		require.Empty(t, audit(t, s, store.AuditFilter{}))
	})
}

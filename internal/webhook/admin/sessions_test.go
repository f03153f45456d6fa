package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/webhook/admin"
)

// told is a session that a node was told to end, and who wanted it.
type told struct{ node, id, actor string }

// Whoever may end a session has its node told, once the session is known, and is not over.
func TestASessionIsEnded(t *testing.T) {
	var ended []told // of one test at a time
	answer := error(nil)
	for kind, open := range stores {
		t.Run(kind, func(t *testing.T) {
			ended, answer = nil, nil
			w := newWorld(t, open(t), func(w *world) {
				w.options.End = func(ctx context.Context, node, id string) error {
					ended = append(ended, told{node, id, store.ActorOf(ctx)})
					return answer
				}
			})
			ctx, c := t.Context(), w.admin()
			id := strings.Repeat("ab", 32)
			session := func(node string, state policy.SessionState) policy.Session {
				s := policy.Session{Node: node, ID: id, State: state, Stream: "live+fight", Opened: noon, Decided: noon, Reason: policy.Public}
				if state == policy.SessionEnded {
					s.Ended = noon.Add(time.Minute)
				}
				return s
			}
			require.NoError(t, w.db.WriteSessions(ctx, []policy.Session{
				session("mist", policy.SessionOpen), session("edge 2", policy.SessionDenied), session("three", policy.SessionEnded),
			}))
			end := func(node string) error {
				a, err := c.EndSessionWithResponse(ctx, id, &client.EndSessionParams{Node: given(node)})
				if err == nil {
					assert.Equal(t, http.StatusNoContent, a.StatusCode())
				}
				return err
			}
			require.NoError(t, end(""))
			require.NoError(t, end("edge 2"))
			require.NoError(t, end("three"))
			assert.Equal(t, []told{{"mist", id, admin.AdminToken}, {"edge 2", id, admin.AdminToken}}, ended,
				"of one that is over, no node is told")
			refused(t, end("nosuch"), client.ProblemNotFound)
			assert.Len(t, ended, 2)

			open, err := c.GetSessionWithResponse(ctx, id, nil)
			require.NoError(t, err)
			assert.Equal(t, client.SessionOpen, open.JSON200.State, "told is not done")

			answer = fmt.Errorf("ask for it: %w", admin.ErrNotHeld)
			p := refused(t, end("edge 2"), client.ProblemConflict)
			assert.Contains(t, p.Detail, `"edge 2"`)
			answer = fmt.Errorf("ask for it: %w", store.ErrNotFound) // it was dropped meanwhile
			refused(t, end("mist"), client.ProblemNotFound)
			answer = fmt.Errorf("ask for it: %w", store.ErrUnavailable)
			refused(t, end("mist"), client.ProblemUnavailable)
			answer = errors.New("hunter2")
			p = refused(t, end("mist"), client.ProblemInternal)
			assert.NotContains(t, p.Error(), "hunter2")
			assert.Contains(t, w.log.String(), "hunter2")

			_, key := w.key(client.RoleBilling)
			_, err = w.as(key).EndSessionWithResponse(ctx, id, nil)
			assert.Equal(t, client.RoleAdmin, refused(t, err, client.ProblemForbidden).Role)
			assert.Len(t, ended, 6)
		})
	}
}

// What the store does with the wish: it stands in the change feed, for whoever has the node, and in the audit.
func TestWhoEndedASessionIsInTheAudit(t *testing.T) {
	for kind, open := range stores {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			db := open(t)
			w := newWorld(t, db, func(w *world) { w.options.End = db.EndSession })
			ctx, c := t.Context(), w.admin()
			id := strings.Repeat("ab", 32)
			require.NoError(t, db.WriteSessions(ctx, []policy.Session{{
				Node: "edge 2", ID: id, State: policy.SessionOpen, Stream: "live+fight", User: "alice", Opened: noon, Decided: noon, Reason: policy.Entitled,
			}}))
			last, err := db.LastChange(ctx)
			require.NoError(t, err)
			keyID, key := w.key(client.RoleAdmin)
			_, err = w.as(key).EndSessionWithResponse(ctx, id, &client.EndSessionParams{Node: new("edge 2")})
			require.NoError(t, err)
			audit, err := c.ListAuditWithResponse(ctx, &client.ListAuditParams{Subject: new("alice")})
			require.NoError(t, err)
			require.Len(t, audit.JSON200.Items, 1)
			entry := audit.JSON200.Items[0]
			assert.Equal(t, "session.end", entry.Action)
			assert.Equal(t, keyID, entry.Actor)
			assert.JSONEq(t, `{"node":"edge 2","id":"`+id+`","stream":"live+fight"}`, string(entry.Detail))
			changes, err := c.ListChangesWithResponse(ctx, &client.ListChangesParams{After: &last})
			require.NoError(t, err)
			change := changes.JSON200.Items[len(changes.JSON200.Items)-1]
			assert.Equal(t, "session_end "+id+" edge 2", change.Kind+" "+change.Subject)
		})
	}
}

func TestWithoutAMistServerNoSessionIsEnded(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		id := strings.Repeat("ab", 32)
		require.NoError(t, w.db.WriteSessions(t.Context(), []policy.Session{
			{Node: "mist", ID: id, State: policy.SessionOpen, Stream: "movie", Opened: noon, Decided: noon, Reason: policy.Entitled},
		}))
		a := w.send(http.MethodDelete, "/api/v1/sessions/"+id, "")
		assert.Equal(t, http.StatusServiceUnavailable, a.StatusCode)
		assert.Contains(t, a.body, "no MistServer is configured")
		assert.Empty(t, a.Header.Get("Retry-After"), "waiting does not help")
		assert.Equal(t, http.StatusNotFound, w.send(http.MethodDelete, "/api/v1/sessions/nosuch", "").StatusCode)
	})
}

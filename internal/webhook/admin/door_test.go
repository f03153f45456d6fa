package admin_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/store"
	"authhook/internal/webhook/admin"
)

func TestWhoIsNotKnownIsAnsweredAlike(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		id, withdrawn := w.key(client.RoleAdmin)
		_, err := w.admin().WithdrawKeyWithResponse(t.Context(), id)
		require.NoError(t, err)
		var answers []string
		for _, authorization := range []string{
			"", "Bearer", "Bearer ", "Basic YTpi", "Bearer wrong", "Bearer " + adminToken + "x", "Bearer " + adminToken[1:],
			"Bearer " + withdrawn, "Bearer " + admin.MakeKey(), adminToken,
		} {
			for _, path := range []string{"/api/v1/users", "/api/v1/nosuch"} {
				a := w.send(http.MethodGet, path, "", "Authorization", authorization)
				if a.StatusCode == http.StatusTooManyRequests {
					continue // the same place has guessed enough
				}
				assert.Equal(t, http.StatusUnauthorized, a.StatusCode, authorization)
				assert.Equal(t, `Bearer realm="authhook"`, a.Header.Get("WWW-Authenticate"))
				answers = append(answers, a.body)
			}
		}
		for _, a := range answers {
			assert.Equal(t, answers[0], a)
		}
		assert.NotContains(t, w.log.String(), withdrawn)
		assert.NotContains(t, w.log.String(), adminToken)
	})
}

func TestWithoutTokenAndKeysTheAPIIsClosed(t *testing.T) {
	w := newWorld(t, openSQLite(t), func(w *world) { w.options.Token = "" })
	for _, authorization := range []string{"", "Bearer", "Bearer ", "Bearer  ", "Bearer " + adminToken} {
		assert.Equal(t, http.StatusUnauthorized, w.send(http.MethodGet, "/api/v1/users", "", "Authorization", authorization).StatusCode)
	}
}

// Every operation of the contract, with a key of each role: it is let in, or told which role is demanded.
func TestRoles(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		rank := map[client.Role]int{client.RoleRead: 1, client.RoleBilling: 2, client.RoleAdmin: 3}
		keys := map[client.Role]string{}
		for role := range rank {
			_, keys[role] = w.key(role)
		}
		walked := 0
		for path, item := range contract(t).Paths.Map() {
			if !strings.HasPrefix(path, "/api/") {
				continue
			}
			for method, op := range item.Operations() {
				demanded := client.Role(op.Extensions["x-role"].(string))
				for role, key := range keys {
					walked++
					a := w.send(method, strings.NewReplacer("{", "", "}", "").Replace(path), "", "Authorization", "Bearer "+key)
					if rank[role] >= rank[demanded] {
						assert.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, a.StatusCode, "%s %s %s", role, method, path)
						continue
					}
					assert.Equal(t, http.StatusForbidden, a.StatusCode, "%s %s %s", role, method, path)
					assert.Contains(t, a.body, fmt.Sprintf(`"role":%q`, demanded))
				}
			}
		}
		assert.Greater(t, walked, 90)
	})
}

// What each role is for, written out: the contract must not grant more by a slip.
func TestWhatRolesPermit(t *testing.T) {
	for path, item := range contract(t).Paths.Map() {
		if !strings.HasPrefix(path, "/api/") {
			continue
		}
		for method, op := range item.Operations() {
			want := "read"
			switch {
			case strings.HasPrefix(path, "/api/v1/keys"), path == "/api/v1/audit":
				want = "admin"
			case method == http.MethodGet, path == "/api/v1/explain":
			case strings.HasPrefix(path, "/api/v1/users"), strings.HasPrefix(path, "/api/v1/billing/"):
				want = "billing"
			default:
				want = "admin"
			}
			assert.Equal(t, want, op.Extensions["x-role"], "%s %s", method, path)
		}
	}
}

func TestAWithdrawnKeyIsGoodNoMore(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		id, key := w.key(client.RoleRead)
		_, err := w.as(key).ListUsersWithResponse(t.Context(), nil)
		require.NoError(t, err)
		for range 2 {
			_, err = w.admin().WithdrawKeyWithResponse(t.Context(), id)
			require.NoError(t, err)
		}
		_, err = w.as(key).ListUsersWithResponse(t.Context(), nil)
		refused(t, err, client.ProblemUnauthenticated)
		_, err = w.admin().WithdrawKeyWithResponse(t.Context(), "nosuch")
		refused(t, err, client.ProblemNotFound)
		list, err := w.admin().ListKeysWithResponse(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, list.JSON200.Items, 1)
		assert.Equal(t, admin.AdminToken, list.JSON200.Items[0].CreatedBy)
		assert.False(t, list.JSON200.Items[0].Withdrawn.IsZero())
		assert.NotContains(t, string(list.Body), key)
	})
}

// Guesses are told to wait; a good key comes through all the while.
func TestGuessesAreSlowedAndGoodKeysAreNot(t *testing.T) {
	var now atomic.Pointer[time.Time]
	start := noon
	now.Store(&start)
	w := newWorld(t, openSQLite(t), func(w *world) { w.options.Now = func() time.Time { return *now.Load() } })
	_, key := w.key(client.RoleRead)
	guess := func() answer {
		return w.send(http.MethodGet, "/api/v1/users", "", "Authorization", "Bearer "+admin.MakeKey())
	}
	refusals := 0
	for range 50 {
		a := guess()
		if a.StatusCode == http.StatusTooManyRequests {
			refusals++
			assert.Equal(t, "5", a.Header.Get("Retry-After"))
		}
	}
	assert.Equal(t, 40, refusals)
	for _, good := range []string{key, adminToken} {
		_, err := w.as(good).ListUsersWithResponse(t.Context(), nil)
		require.NoError(t, err)
	}
	assert.Equal(t, http.StatusUnauthorized, w.send(http.MethodGet, "/api/v1/users", "", "Authorization", "").StatusCode, "no guess")
	later := start.Add(5 * time.Second)
	now.Store(&later)
	assert.Equal(t, http.StatusUnauthorized, guess().StatusCode)
	assert.Equal(t, http.StatusTooManyRequests, guess().StatusCode)
}

// away is a store that does not answer.
type away struct{ testStore }

func (away) APIKeyByHash(context.Context, [32]byte) (store.APIKey, error) {
	return store.APIKey{}, fmt.Errorf("look up a key: %w", store.ErrUnavailable)
}

func (away) Users(context.Context, store.UserFilter) ([]store.User, error) {
	return nil, fmt.Errorf("list users on host db.internal: %w", store.ErrUnavailable)
}

func (away) Audit(context.Context, store.AuditFilter) ([]store.AuditEntry, error) {
	return nil, fmt.Errorf("password=hunter2 is not what the database wants")
}

func (away) LastChange(context.Context) (int64, error) { panic("hunter2") }

func TestFaultsAndOutages(t *testing.T) {
	w := newWorld(t, away{openSQLite(t)})
	for _, headers := range [][]string{nil, {"Authorization", "Bearer " + admin.MakeKey()}} {
		a := w.send(http.MethodGet, "/api/v1/users", "", headers...)
		assert.Equal(t, http.StatusServiceUnavailable, a.StatusCode)
		assert.Equal(t, "1", a.Header.Get("Retry-After"))
		assert.NotContains(t, a.body, "db.internal")
	}
	for path, logged := range map[string]string{"/api/v1/audit": "what the database wants", "/api/v1/changes": "fault=hunter2"} {
		a := w.send(http.MethodGet, path, "")
		assert.Equal(t, http.StatusInternalServerError, a.StatusCode)
		assert.NotContains(t, a.body, "hunter2")
		assert.Contains(t, w.log.String(), logged)
	}
}

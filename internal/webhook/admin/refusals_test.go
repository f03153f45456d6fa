package admin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
)

// What cannot be done is refused with the field that says why, and changes nothing: not the facts, not the feed, not the
// audit.
func TestTheImpossible(t *testing.T) {
	tests := []struct{ ask, body, field string }{
		{"PUT users/alice", `{"status":"actve"}`, "status"},
		{"PUT users/alice", `{}`, "status"},
		{"PUT users/alice", `{"status":"active","statsu":"x"}`, "statsu"},
		{"PUT users/alice", `{"status":"active","attributes":[]}`, "attributes"},
		{"PUT users/alice", `{"status":null}`, "status"},
		{"PUT users/alice", `{"status":"active"} {}`, ""},
		{"PUT users/alice", `{"status":`, ""},
		{"PUT users/alice", ``, ""},
		{"PUT users/a%00b", `{"status":"active"}`, "user"},
		{"PUT users/" + strings.Repeat("x", 257), `{"status":"active"}`, "user"},
		{"PUT users/" + strings.Repeat("ä", 200), `{"status":"active"}`, "user"},
		{"PUT users/.", `{"status":"active"}`, "user"},
		{"PUT users/%2e%2E", `{"status":"active"}`, "user"},
		{"PUT plans/%2E", `{}`, "key"},
		{"PUT streams/..", `{"access":"public"}`, "match"},
		{"PUT catalog", `{"plans":[{"key":"a"},{"key":".."}],"streams":[{"match":".","access":"public"}]}`, "plans[1].key"},
		{"PUT catalog", `{"streams":[{"match":".","access":"public"}]}`, "streams[0].match"},
		{"POST users/alice/entitlements", `{}`, "plan"},
		{"POST users/alice/entitlements", `{"plan":"nosuch"}`, "plan"},
		{"POST users/alice/entitlements", `{"plan":"gold","stream":"movie"}`, "stream"},
		{"POST users/alice/entitlements", `{"stream":"movie","tag":"premium"}`, "tag"},
		{"POST users/alice/entitlements", `{"stream":"Movie"}`, "stream"},
		{"POST users/alice/entitlements", `{"plan":"gold","untill":"2026-12-31T23:00:00Z"}`, "untill"},
		{"POST users/alice/entitlements", `{"plan":"gold","until":"soon"}`, "until"},
		{"POST users/alice/entitlements", `{"plan":"gold","until":"0001-01-01T00:00:00Z"}`, "until"},
		{"POST users/alice/entitlements", `{"plan":"gold","until":null}`, "until"},
		{"POST users/alice/entitlements", `{"plan":"gold","from":"2026-12-24T20:00:00Z","until":"2026-12-24T19:00:00Z"}`, "until"},
		{"POST users/alice/entitlements", `{"plan":"gold","from":"2026-12-24T20:00:00Z","until":"2026-12-24T21:00:00+01:00"}`, "until"},
		{"POST users/alice/credentials", `{"addresses":["192.0.2.0/24","192.0.2.300"]}`, "addresses[1]"},
		{"POST users/alice/credentials", `{"addresses":["192.0.2.7/24"]}`, "addresses[0]"},
		{"POST users/alice/credentials", `{"streams":["live+*","*live"]}`, "streams[1]"},
		{"POST users/alice/credentials", `{"publish":"yes"}`, "publish"},
		{"POST users/alice/credentials", `{"from":"2026-12-24T20:00:00Z","until":"2026-12-24T20:00:00Z"}`, "until"},
		{"POST users/alice/credentials", `{"address":""}`, "address"},
		{"POST users/alice/credentials", `{"address":null}`, "address"},
		{"POST users/alice/credentials", `{"address":"192.0.2.0/24"}`, "address"},
		{"POST users/alice/credentials", `{"address":"fe80::1%eth0"}`, "address"},
		{"POST users/alice/credentials", `{"address":"0.0.0.0"}`, "address"},
		{"POST users/alice/credentials", `{"address":"::"}`, "address"},
		{"POST users/alice/credentials", `{"address":"::ffff:0.0.0.0"}`, "address"},
		{"POST users/alice/credentials", `{"address":"224.0.0.1"}`, "address"},
		{"POST users/alice/credentials", `{"address":"ff02::1"}`, "address"},
		{"POST users/alice/credentials", `{"address":"255.255.255.255"}`, "address"},
		{"POST users/alice/credentials", `{"address":"192.0.2.9","addresses":["192.0.2.0/24"]}`, "addresses"},
		{"POST users/alice/credentials", `{"address":"192.0.2.9","token":"ak_mine"}`, "token"},
		{"POST users/alice/credentials", `{"address":"192.0.2.9","streams":["*live"]}`, "streams[0]"},
		{"POST users/alice/credentials", `{"address":"192.0.2.9","from":"2026-12-24T20:00:00Z","until":"2026-12-24T20:00:00Z"}`, "until"},
		{"POST users/alice/holds", `{"kind":""}`, "kind"},
		{"PUT plans/gold", `{"max_concurrent":-1}`, "max_concurrent"},
		{"PUT plans/gold", `{"max_concurrent":1.5}`, "max_concurrent"},
		{"PUT plans/gold", `{"grace":"-1h"}`, "grace"},
		{"PUT plans/gold", `{"grace":"99999d"}`, "grace"},
		{"PUT plans/gold", `{"cancel":"at_once"}`, "cancel"},
		{"PUT plans/gold", `{"key":"silver"}`, "key"},
		{"PUT plans/gold", `{"tags":["a b"]}`, "tags[0]"},
		{"DELETE plans/gold", ``, "streams[1].plans[0]"},
		{"PUT streams/movie", `{"access":"entitled","plans":["nosuch"]}`, "plans[0]"},
		{"PUT streams/movie", `{"access":"entitled","match":"movies"}`, "match"},
		{"PUT streams/Movie", `{"access":"public"}`, "match"},
		{"PUT streams/movie", `{"access":"public","allow_addresses":["nowhere"]}`, "allow_addresses[0]"},
		{"PUT streams/movie", `{"access":"public","windows":[{"from":"2026-12-24T20:00:00Z","until":"2026-12-24T19:00:00Z","access":"closed"}]}`, "windows[0].until"},
		{"PUT streams/movie", `{"access":"public","renditions":{"nosuch":"movie_sd"}}`, "renditions.nosuch"},
		{"PUT catalog", `{"streams":[{"match":"x","access":"entiteld"}]}`, "streams[0].access"},
		{"PUT catalog", `{"streams":[],"jwt":{"keys":[{"alg":"HS256","secret_env":"HOME"}]}}`, "jwt.keys[0].secret_env"},
		{"POST keys", `{"name":"x","role":"root"}`, "role"},
		{"POST explain", `{"stream":"movie"}`, "address"},
		{"POST explain", `{"address":"192.0.2.1"}`, "stream"},
		{"POST explain", `{"stream":"movie","address":"192.0.2.1","trigger":{"type":"USER_NEW","body":""}}`, "stream"},
		{"POST explain", `{"trigger":{"type":"USER_END","body":""}}`, "trigger.type"},
		{"GET users?limit=-1", ``, "limit"},
		{"GET users?limit=1001", ``, "limit"},
		{"GET users?limit=1&limit=2", ``, "limit"},
		{"GET users?staus=active", ``, "staus"},
		{"GET users?cursor=x", ``, "cursor"},
		{"GET sessions?state=gone", ``, "state"},
		{"DELETE sessions/x?nod=y", ``, "nod"},
		{"DELETE sessions/x?node=", ``, "node"},
		{"GET changes?after=-1", ``, "after"},
		{"GET users?limit=%zz", ``, ""},
	}
	everyStore(t, func(t *testing.T, w *world) {
		w.user("alice")
		before := w.everything()
		for _, test := range tests {
			method, path, _ := strings.Cut(test.ask, " ")
			a := w.send(method, "/api/v1/"+path, test.body, "Content-Type", "application/json")
			var p client.Problem
			require.NoError(t, json.Unmarshal([]byte(a.body), &p), "%s %s: %s", test.ask, test.body, a.body)
			assert.Contains(t, []int{http.StatusBadRequest, http.StatusUnprocessableEntity}, a.StatusCode, "%s %s: %s", test.ask, test.body, a.body)
			if assert.NotEmpty(t, p.Errors, "%s %s: %s", test.ask, test.body, a.body) {
				assert.Equal(t, test.field, p.Errors[0].Field, "%s %s: %s", test.ask, test.body, a.body)
			}
		}
		assert.Equal(t, before, w.everything())
	})
}

// everything that the tests of this file could change, in one text.
func (w *world) everything() string {
	w.t.Helper()
	ctx, c := w.t.Context(), w.admin()
	var b strings.Builder
	user, err := c.GetUserWithResponse(ctx, "alice")
	require.NoError(w.t, err)
	users, err := c.ListUsersWithResponse(ctx, nil)
	require.NoError(w.t, err)
	catalog, err := c.GetCatalogWithResponse(ctx)
	require.NoError(w.t, err)
	keys, err := c.ListKeysWithResponse(ctx, nil)
	require.NoError(w.t, err)
	audit, err := c.ListAuditWithResponse(ctx, nil)
	require.NoError(w.t, err)
	last, err := w.db.LastChange(ctx)
	require.NoError(w.t, err)
	for _, body := range [][]byte{user.Body, users.Body, catalog.Body, keys.Body, audit.Body} {
		_, _ = fmt.Fprintf(&b, "%s\n", body)
	}
	_, _ = fmt.Fprintln(&b, catalog.HTTPResponse.Header.Get("ETag"), last)
	return b.String()
}

func TestWrongWaysToAsk(t *testing.T) {
	w := newWorld(t, openSQLite(t))
	a := w.send(http.MethodPatch, "/api/v1/users/alice", "")
	assert.Equal(t, http.StatusMethodNotAllowed, a.StatusCode)
	assert.Equal(t, "GET, PUT", a.Header.Get("Allow"))

	for _, kind := range []string{"text/plain", "", "application/yaml", "multipart/form-data"} {
		a = w.send(http.MethodPut, "/api/v1/users/alice", `{"status":"active"}`, "Content-Type", kind)
		assert.Equal(t, http.StatusUnsupportedMediaType, a.StatusCode, kind)
	}
	a = w.send(http.MethodPut, "/api/v1/users/alice", `{"status":"active"}`, "Content-Type", "application/json; charset=utf-8")
	assert.Equal(t, http.StatusCreated, a.StatusCode, a.body)

	large := `{"status":"active","attributes":{"x":"` + strings.Repeat("x", 4<<20) + `"}}`
	a = w.send(http.MethodPut, "/api/v1/users/alice", large)
	assert.Equal(t, http.StatusRequestEntityTooLarge, a.StatusCode)
	a = w.send(http.MethodPut, "/api/v1/users/alice", large[:3<<20]+`"}}`)
	assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode, a.body)
	assert.Contains(t, a.body, `"field":"attributes"`)

	_, err := w.admin().GetUserWithResponse(t.Context(), "alice")
	require.NoError(t, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Equal(t, 1, w.observed["unknown"])
	assert.Equal(t, 7, w.observed["putUser"])
}

package admin_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/webhook/admin"
)

// What two could write at once, and how it is written.
var versioned = []struct{ name, path, kind, body string }{
	{"user", "users/alice", "application/json", `{"status":"active","attributes":{"n":%}}`},
	{"plan", "plans/gold", "application/json", `{"rank":%}`},
	{"stream", "streams/live%2B%2A", "application/json", `{"access":"entitled","plans":["gold"],"preview":"%s"}`},
	{"catalog as JSON", "catalog", "application/json", `{"plans":[{"key":"gold","rank":%}],"streams":[]}`},
	{"catalog as YAML", "catalog", "application/yaml", "plans: [{key: gold, rank: 1%}]\nstreams: []"},
}

func TestOfTwoWritersOneWins(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		w.user("alice")
		for _, v := range versioned {
			t.Run(v.name, func(t *testing.T) {
				tag := w.send(http.MethodGet, "/api/v1/"+v.path, "").Header.Get("ETag")
				require.NotEmpty(t, tag)
				const writers = 6
				var won atomic.Int32
				var group sync.WaitGroup
				statuses := make([]answer, writers)
				for i := range writers {
					group.Go(func() {
						body := strings.Replace(v.body, "%", strconv.Itoa(100+i), 1)
						statuses[i] = w.send(http.MethodPut, "/api/v1/"+v.path, body, "Content-Type", v.kind, "If-Match", tag)
					})
				}
				group.Wait()
				winner := ""
				for _, a := range statuses {
					if a.StatusCode == http.StatusOK {
						won.Add(1)
						winner = a.Header.Get("ETag")
						continue
					}
					assert.Equal(t, http.StatusPreconditionFailed, a.StatusCode, a.body)
				}
				assert.EqualValues(t, 1, won.Load())
				assert.NotEqual(t, tag, winner)
				for _, a := range statuses {
					if a.StatusCode != http.StatusOK {
						assert.Contains(t, a.body, `"version":`+strings.Trim(winner, `"`), "the problem names the version that stands")
					}
				}
				assert.Equal(t, winner, w.send(http.MethodGet, "/api/v1/"+v.path, "").Header.Get("ETag"))
			})
		}
	})
}

// Writers without a precondition all get through: of the catalog, none loses what another wrote.
func TestWritersOfDifferentPlansDoNotLoseEachOther(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		var group sync.WaitGroup
		for i := range 5 {
			group.Go(func() {
				a, err := w.admin().PutPlanWithResponse(t.Context(), "plan"+strconv.Itoa(i), nil, client.PlanChange{Rank: i + 1})
				if assert.NoError(t, err) {
					assert.Equal(t, i+1, a.JSON201.Rank)
				}
			})
		}
		group.Wait()
		list, err := w.admin().ListPlansWithResponse(t.Context())
		require.NoError(t, err)
		assert.Len(t, list.JSON200.Items, 2+5)
	})
}

func TestPreconditions(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		const body = `{"status":"active"}`
		put := func(user string, headers ...string) answer {
			return w.send(http.MethodPut, "/api/v1/users/"+user, body, headers...)
		}
		assert.Equal(t, http.StatusPreconditionFailed, put("new", "If-Match", "*").StatusCode)
		assert.Equal(t, http.StatusPreconditionFailed, put("new", "If-Match", `"1"`).StatusCode)
		made := put("new", "If-None-Match", "*")
		assert.Equal(t, http.StatusCreated, made.StatusCode, made.body)
		assert.Equal(t, `"1"`, made.Header.Get("ETag"))
		assert.Equal(t, http.StatusPreconditionFailed, put("new", "If-None-Match", "*").StatusCode)
		assert.Equal(t, http.StatusOK, put("new", "If-Match", "*").StatusCode)
		assert.Equal(t, http.StatusOK, put("new", "If-Match", `"7", "1"`).StatusCode)
		assert.Equal(t, http.StatusPreconditionFailed, put("new", "If-Match", `W/"1"`).StatusCode, "weak tags match nothing")
		assert.Equal(t, http.StatusPreconditionFailed, put("new", "If-Match", `"another"`).StatusCode)
		for _, wrong := range []string{"1", `"1`, `"1",`, `1"`, `"1" "2"`} {
			a := put("new", "If-Match", wrong)
			assert.Equal(t, http.StatusBadRequest, a.StatusCode, wrong)
			assert.Contains(t, a.body, `"field":"If-Match"`)
		}
		a := put("new", "If-None-Match", `"1"`)
		assert.Equal(t, http.StatusBadRequest, a.StatusCode)
		assert.Contains(t, a.body, `"field":"If-None-Match"`)

		for _, path := range []string{"plans/gold", "streams/movie"} {
			a := w.send(http.MethodDelete, "/api/v1/"+path, "", "If-Match", `"99"`)
			assert.Equal(t, http.StatusPreconditionFailed, a.StatusCode, a.body)
		}
		a = w.send(http.MethodDelete, "/api/v1/streams/movie", "", "If-Match", w.send(http.MethodGet, "/api/v1/catalog", "").Header.Get("ETag"))
		assert.Equal(t, http.StatusNoContent, a.StatusCode, a.body)
		assert.Equal(t, http.StatusNotFound, w.send(http.MethodGet, "/api/v1/streams/movie", "").StatusCode)
	})
}

// Whatever the size of the pages, a list is each of its items once and in order.
func TestPagesAreTheList(t *testing.T) {
	everyStore(t, func(t *testing.T, w *world) {
		var want []string
		for _, id := range []string{"A", "B", "a", "a%", "a%2", "b", "z z", "ä", "日本"} {
			want = append(want, id)
			w.user(id)
			_, err := w.admin().AddHoldWithResponse(t.Context(), "A", client.HoldRequest{Kind: id})
			require.NoError(t, err)
		}
		for limit := range len(want) + 3 {
			limit++
			var got []string
			for cursor := ""; ; {
				list, err := w.admin().ListUsersWithResponse(t.Context(), &client.ListUsersParams{Limit: &limit, Cursor: given(cursor)})
				require.NoError(t, err)
				require.LessOrEqual(t, len(list.JSON200.Items), limit)
				for _, u := range list.JSON200.Items {
					got = append(got, u.ID)
				}
				if cursor = list.JSON200.Next; cursor == "" {
					break
				}
			}
			require.Equal(t, want, got)
			held := map[string]bool{}
			pages := 0
			for cursor := ""; ; pages++ {
				list, err := w.admin().ListHoldsWithResponse(t.Context(), "A", &client.ListHoldsParams{Limit: &limit, Cursor: given(cursor)})
				require.NoError(t, err)
				for _, h := range list.JSON200.Items {
					require.False(t, held[h.Kind])
					held[h.Kind] = true
				}
				if cursor = list.JSON200.Next; cursor == "" {
					break
				}
			}
			require.Len(t, held, len(want))
			audited := 0
			for cursor := ""; ; {
				list, err := w.admin().ListAuditWithResponse(t.Context(), &client.ListAuditParams{Limit: &limit, Cursor: given(cursor)})
				require.NoError(t, err)
				audited += len(list.JSON200.Items)
				if cursor = list.JSON200.Next; cursor == "" {
					break
				}
			}
			require.Equal(t, 1+2*len(want), audited, "the catalog, the users, the holds")
		}
		list, err := w.admin().ListUsersWithResponse(t.Context(), &client.ListUsersParams{Limit: new(1)})
		require.NoError(t, err)
		_, err = w.admin().ListHoldsWithResponse(t.Context(), "A", &client.ListHoldsParams{Cursor: &list.JSON200.Next})
		assert.Equal(t, "cursor", refused(t, err, client.ProblemInvalid).Errors[0].Field, "one list's cursor is not another's")
	})
}

func given(cursor string) *string {
	if cursor == "" {
		return nil
	}
	return &cursor
}

// FuzzCursor: a cursor is read as what it was written of, or refused; nothing else comes of it.
func FuzzCursor(f *testing.F) {
	const list = "users"
	f.Add("WyJ1c2VycyIsImFsaWNlIl0", "alice")
	f.Add("!", "\x00")
	f.Add("WyJzZXNzaW9ucyIsIm1pc3QiXQ==", `"],["`)
	f.Fuzz(func(t *testing.T, cursor, key string) {
		if parts, err := admin.ReadCursor(list, cursor, 1); err == nil && cursor != "" {
			again, err := admin.ReadCursor(list, admin.CursorAfter(list, parts...), 1)
			require.NoError(t, err)
			require.Equal(t, parts, again)
		}
		parts, err := admin.ReadCursor(list, admin.CursorAfter(list, key), 1)
		require.NoError(t, err)
		if utf8.ValidString(key) { // every stored key is
			require.Equal(t, key, parts[0])
		}
		_, err = admin.ReadCursor(list+"x", admin.CursorAfter(list, key), 1)
		require.Error(t, err)
	})
}

// FuzzPrecondition: no header makes a write fit that names no version which stands.
func FuzzPrecondition(f *testing.F) {
	for _, seed := range []string{`"1"`, `*`, `W/"1"`, `"1", "2"`, `"`, `""`, `"1","`, ` * `, `"01"`, `"9223372036854775808"`} {
		f.Add(seed, "", int64(1))
	}
	f.Add("", "*", int64(0))
	f.Fuzz(func(t *testing.T, ifMatch, ifNoneMatch string, version int64) {
		version = max(version, 0)
		fits, err := admin.Fits(ifMatch, ifNoneMatch, version)
		if err != nil || !fits || ifMatch == "" {
			return
		}
		exact := strings.Contains(ifMatch, `"`+strconv.FormatInt(version, 10)+`"`)
		require.True(t, version > 0 && (exact || strings.TrimSpace(ifMatch) == "*") || strings.TrimSpace(ifMatch) == "", "%q fits %d", ifMatch, version)
	})
}

package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// walk reads a list page by page and says how the pages were filled.
func walk[T any](t *testing.T, read func(after string) ([]T, error), id func(T) string) (all []string, pages []int) {
	t.Helper()
	for after := ""; len(pages) < 100; {
		list, err := read(after)
		require.NoError(t, err)
		pages = append(pages, len(list))
		if len(list) == 0 {
			break
		}
		for _, v := range list {
			all = append(all, id(v))
		}
		after = all[len(all)-1]
	}
	return all, pages
}

func testUserPages(t *testing.T, database func(testing.TB) Open) {
	s := fresh(t, database)
	last := string(rune(0x10FFFF))
	ids := []string{"a", "ab", "ab_", "ab%", "ab\uD7FF", "ab\uD7FFx", "ab\uE000", "ac", "b", "B", "ä", "z", last, last + last, last + "x",
		strings.Repeat(last, store.MaxUserID/4), "_", "%", "日本語"}
	for name := range hostile {
		ids = append(ids, hostile[name])
	}
	status := func(i int) policy.UserStatus {
		if i%3 == 0 {
			return policy.SuspendedUser
		}
		return policy.ActiveUser
	}
	for i, id := range ids {
		put(t, s, id, status(i), []byte(`{"n":1}`))
	}

	prefixes := []string{"", "a", "ab", "ab%", "ab_", "ab\uD7FF", "ab\uD7FE", "b", "B", "ä", last, last + last, "x", "\x00", "\xff", "日"}
	for _, prefix := range prefixes {
		for _, st := range []policy.UserStatus{"", policy.ActiveUser, policy.SuspendedUser} {
			var want []string
			for i, id := range ids {
				if strings.HasPrefix(id, prefix) && (st == "" || status(i) == st) {
					want = append(want, id)
				}
			}
			slices.Sort(want)
			got, _ := walk(t, func(after string) ([]store.User, error) {
				return s.Users(t.Context(), store.UserFilter{Status: st, Prefix: prefix, After: after, Limit: 2})
			}, func(u store.User) string { return u.ID })
			require.Equal(t, want, got, "prefix %q, status %q", prefix, st)
		}
	}

	list, err := s.Users(t.Context(), store.UserFilter{Prefix: "ab", After: "b"})
	require.NoError(t, err)
	require.Empty(t, list, "after the end")
	list, err = s.Users(t.Context(), store.UserFilter{Prefix: "b", After: "a"})
	require.NoError(t, err)
	require.Len(t, list, 1, "after what comes before the first")
	require.Equal(t, user(t, s, "b"), list[0], "every field comes back")
	list, err = s.Users(t.Context(), store.UserFilter{Status: "asleep"})
	require.NoError(t, err)
	require.Empty(t, list)
	for _, id := range []string{"\x00", "a\xff"} {
		_, err = s.Users(t.Context(), store.UserFilter{After: id})
		require.NoError(t, err, "%q", id)
	}
}

func testPages(t *testing.T, database func(testing.TB) Open) {
	s := fresh(t, database)
	withUsers(t, s, "anna", "ben", "carl")
	var want []string
	for i := range 7 {
		id := fmt.Sprint("id", (i*3)%7) // not in the order of their ids
		want = append(want, id)
		_, err := s.AddEntitlement(t.Context(), "anna", policy.Entitlement{ID: id, Tag: "x", Until: noon.AddDate(0, 0, i)})
		require.NoError(t, err)
		_, err = s.AddHold(t.Context(), "anna", policy.Hold{ID: id, Kind: "abuse"})
		require.NoError(t, err)
		_, err = s.AddCredential(t.Context(), policy.HashKey(id), policy.Credential{ID: id, Kind: policy.CredentialKey, User: "anna"}, noon)
		require.NoError(t, err)
		_, err = s.AddAPIKey(t.Context(), store.APIKey{ID: id, Name: "n", Role: store.RoleRead}, policy.HashKey(id))
		require.NoError(t, err)
	}
	slices.Sort(want)
	require.NoError(t, s.RevokeCredential(t.Context(), "anna", want[3]))
	require.NoError(t, s.WithdrawAPIKey(t.Context(), want[3]))
	_, err := s.AddEntitlement(t.Context(), "ben", policy.Entitlement{ID: "id33", Tag: "x"})
	require.NoError(t, err)
	_, err = s.AddHold(t.Context(), "ben", policy.Hold{ID: "id33", Kind: "x"})
	require.NoError(t, err)
	_, err = s.AddCredential(t.Context(), policy.HashKey("33"), policy.Credential{ID: "id33", Kind: policy.CredentialKey, User: "ben"}, noon)
	require.NoError(t, err)

	lists := map[string]func(user string, p store.Page) ([]string, error){
		"entitlements": func(user string, p store.Page) (ids []string, err error) {
			list, err := s.Entitlements(t.Context(), user, p)
			for _, e := range list {
				ids = append(ids, e.ID)
			}
			return ids, err
		},
		"holds": func(user string, p store.Page) (ids []string, err error) {
			list, err := s.Holds(t.Context(), user, p)
			for _, h := range list {
				ids = append(ids, h.ID)
			}
			return ids, err
		},
		"credentials": func(user string, p store.Page) (ids []string, err error) {
			list, err := s.Credentials(t.Context(), user, p)
			for _, c := range list {
				require.Equal(t, c.Credential.Revoked, !c.Revoked.IsZero())
				ids = append(ids, c.ID)
			}
			return ids, err
		},
		"API keys": func(_ string, p store.Page) (ids []string, err error) {
			list, err := s.APIKeys(t.Context(), p)
			for _, k := range list {
				ids = append(ids, k.ID)
			}
			return ids, err
		},
	}
	for name, list := range lists {
		got, pages := walk(t, func(after string) ([]string, error) {
			return list("anna", store.Page{After: after, Limit: 3})
		}, func(id string) string { return id })
		require.Equal(t, want, got, name)
		require.Equal(t, []int{3, 3, 1, 0}, pages, name)
		got, err := list("anna", store.Page{After: "id3x"})
		require.NoError(t, err, name)
		require.Equal(t, want[4:], got, "%s: after one that is not there", name)
		for _, after := range []string{"a\x00", "\xff"} {
			_, err := list("anna", store.Page{After: after})
			require.NoError(t, err, name)
		}
		if name == "API keys" {
			continue
		}
		got, err = list("carl", store.Page{})
		require.NoError(t, err, name)
		require.Empty(t, got, name)
		for _, nobody := range []string{"dora", "", "a\x00b", "\xff"} {
			_, err = list(nobody, store.Page{})
			require.ErrorIs(t, err, store.ErrNotFound, "%s of %q", name, nobody)
		}
	}

	for i := range 100 {
		_, err := s.AddHold(t.Context(), "ben", policy.Hold{ID: fmt.Sprint("many", i), Kind: "x"})
		require.NoError(t, err)
	}
	list, err := s.Holds(t.Context(), "ben", store.Page{})
	require.NoError(t, err)
	require.Len(t, list, 100, "as many when nobody says how many")
}

package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

func testEntitlements(t *testing.T, database func(testing.TB) Open) {
	t.Run("every field comes back", func(t *testing.T) {
		s := fresh(t, database)
		withUsers(t, s, "anna", "ben")
		us := time.Microsecond
		want := []policy.Entitlement{
			{Plan: "gold", From: noon.Add(us), Until: noon.Add(900 * time.Hour), GraceFrom: noon.Add(2 * us), Source: "stripe sub_1"},
			{Stream: "live+*", Until: noon.Add(3 * us)},
			{Tag: hostile["unicode"], From: noon.Add(-us), Until: noon, Source: strings.Repeat(hostile["quotes"], 300)},
			{Plan: hostile["quotes"], From: time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC)},
			{Tag: "old", From: time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), Until: time.Date(1899, 12, 31, 23, 59, 59, 999999000, time.UTC)},
		}
		before := last(t, s)
		for i := range want {
			id, err := s.AddEntitlement(t.Context(), "anna", want[i])
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(id, "ent_"), id)
			want[i].ID = id
		}
		unended := policy.Entitlement{ID: "ent_mine", Tag: "unended", Source: "admin"}
		id, err := s.AddEntitlement(t.Context(), "anna", unended)
		require.NoError(t, err)
		require.Equal(t, "ent_mine", id)
		_, err = s.AddEntitlement(t.Context(), "anna", unended)
		require.ErrorIs(t, err, store.ErrConflict)
		want = append([]policy.Entitlement{unended}, want...)

		f, err := s.FactsByUser(t.Context(), "anna")
		require.NoError(t, err)
		require.Equal(t, want, f.Entitlements, "unended first, then those that ended last")
		for _, e := range want {
			one, err := s.Entitlement(t.Context(), "anna", e.ID)
			require.NoError(t, err)
			require.Equal(t, store.StoredEntitlement{Entitlement: e, User: "anna", Created: noon}, one)
		}
		list, err := s.Entitlements(t.Context(), "anna", store.Page{})
		require.NoError(t, err)
		require.Len(t, list, len(want))
		for _, e := range list {
			require.Contains(t, want, e.Entitlement)
			require.Equal(t, "anna", e.User)
			require.Equal(t, noon, e.Created)
		}
		require.Equal(t, []string{"user anna", "user anna", "user anna", "user anna", "user anna", "user anna"}, feed(t, s, before))

		require.ErrorIs(t, s.RemoveEntitlement(t.Context(), "ben", id), store.ErrNotFound, "it is anna's")
		_, err = s.Entitlement(t.Context(), "ben", id)
		require.ErrorIs(t, err, store.ErrNotFound, "it is anna's")
		require.NoError(t, s.RemoveEntitlement(t.Context(), "anna", id))
		require.ErrorIs(t, s.RemoveEntitlement(t.Context(), "anna", id), store.ErrNotFound)
		f, err = s.FactsByUser(t.Context(), "anna")
		require.NoError(t, err)
		require.Equal(t, want[1:], f.Entitlements)
		require.Len(t, feed(t, s, before), 7)
	})

	t.Run("finer than a microsecond", func(t *testing.T) {
		s := fresh(t, database)
		withUsers(t, s, "anna")
		zone := time.FixedZone("", 3600)
		_, err := s.AddEntitlement(t.Context(), "anna", policy.Entitlement{Plan: "gold", Until: noon.Add(999).In(zone)})
		require.NoError(t, err)
		list, err := s.Entitlements(t.Context(), "anna", store.Page{})
		require.NoError(t, err)
		require.Equal(t, noon, list[0].Until, "cut, in UTC")
	})

	t.Run("holds", func(t *testing.T) {
		s := fresh(t, database)
		withUsers(t, s, "anna", "ben")
		before := last(t, s)
		want := policy.Hold{Kind: "dispute", Ref: hostile["json"], From: noon}
		id, err := s.AddHold(t.Context(), "anna", want)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(id, "hold_"), id)
		want.ID = id
		f, err := s.FactsByUser(t.Context(), "anna")
		require.NoError(t, err)
		require.Equal(t, []policy.Hold{want}, f.Holds)
		one, err := s.Hold(t.Context(), "anna", id)
		require.NoError(t, err)
		require.Equal(t, store.StoredHold{Hold: want, User: "anna", Created: noon}, one)
		list, err := s.Holds(t.Context(), "anna", store.Page{})
		require.NoError(t, err)
		require.Equal(t, []store.StoredHold{one}, list)

		require.ErrorIs(t, s.RemoveHold(t.Context(), "ben", id), store.ErrNotFound, "it is anna's")
		_, err = s.Hold(t.Context(), "ben", id)
		require.ErrorIs(t, err, store.ErrNotFound, "it is anna's")
		require.ErrorIs(t, s.RemoveHold(t.Context(), "anna", "hold_none"), store.ErrNotFound)
		require.NoError(t, s.RemoveHold(t.Context(), "anna", id))
		f, err = s.FactsByUser(t.Context(), "anna")
		require.NoError(t, err)
		require.Empty(t, f.Holds)
		require.Equal(t, []string{"user anna", "user anna"}, feed(t, s, before))
	})

	t.Run("of nobody", func(t *testing.T) {
		s := fresh(t, database)
		_, err := s.AddEntitlement(t.Context(), "anna", policy.Entitlement{Plan: "gold"})
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = s.AddHold(t.Context(), "anna", policy.Hold{Kind: "abuse"})
		require.ErrorIs(t, err, store.ErrNotFound)
		require.ErrorIs(t, s.RemoveHold(t.Context(), "a\x00b", "x"), store.ErrNotFound)
		_, err = s.Entitlements(t.Context(), "anna", store.Page{})
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = s.Holds(t.Context(), "anna", store.Page{})
		require.ErrorIs(t, err, store.ErrNotFound)
		require.Empty(t, feed(t, s, 0))
	})

	t.Run("what cannot be stored", func(t *testing.T) {
		s := fresh(t, database)
		withUsers(t, s, "anna")
		for name, c := range map[string]struct {
			field string
			e     policy.Entitlement
		}{
			"nothing":        {"plan", policy.Entitlement{}},
			"plan and tag":   {"tag", policy.Entitlement{Plan: "gold", Tag: "sport"}},
			"all three":      {"stream", policy.Entitlement{Plan: "gold", Stream: "live", Tag: "sport"}},
			"NUL":            {"plan", policy.Entitlement{Plan: "go\x00ld"}},
			"not UTF-8":      {"source", policy.Entitlement{Plan: "gold", Source: "\xc3"}},
			"backwards":      {"until", policy.Entitlement{Plan: "gold", From: noon, Until: noon.Add(-1)}},
			"empty":          {"until", policy.Entitlement{Plan: "gold", From: noon, Until: noon}},
			"empty once cut": {"until", policy.Entitlement{Plan: "gold", From: noon, Until: noon.Add(999)}},
			"far":            {"until", policy.Entitlement{Plan: "gold", Until: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}},
			"before time":    {"from", policy.Entitlement{Plan: "gold", From: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}},
		} {
			_, err := s.AddEntitlement(t.Context(), "anna", c.e)
			invalid := new(store.InvalidError)
			require.ErrorAs(t, err, &invalid, name)
			require.Equal(t, c.field, invalid.Field, name)
		}
		invalid := new(store.InvalidError)
		_, err := s.AddHold(t.Context(), "anna", policy.Hold{})
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, "kind", invalid.Field)
		require.Len(t, feed(t, s, 0), 1)
	})
}

func testFacts(t *testing.T, database func(testing.TB) Open) {
	t.Run("everything at once", func(t *testing.T) {
		now := noon
		s := migrated(t, database(t), func() time.Time { return now })
		withUsers(t, s, "anna", "ben")
		hash := policy.HashKey("ak_1")
		for _, user := range []string{"ben", "anna"} {
			_, err := s.AddEntitlement(t.Context(), user, policy.Entitlement{ID: user, Plan: "plan of " + user})
			require.NoError(t, err)
			_, err = s.AddHold(t.Context(), user, policy.Hold{ID: user, Kind: "abuse"})
			require.NoError(t, err)
		}
		_, err := s.AddCredential(t.Context(), hash, policy.Credential{ID: "c", Kind: policy.CredentialKey, User: "anna"}, noon)
		require.NoError(t, err)
		end := policy.Session{Node: "n", ID: "1", State: policy.SessionEnded, User: "anna", Plan: "gold", Ended: noon, Duration: 90 * time.Minute}
		require.NoError(t, s.WriteSessions(t.Context(), []policy.Session{end}))

		want := &policy.UserFacts{User: "anna", Status: policy.ActiveUser,
			Entitlements: []policy.Entitlement{{ID: "anna", Plan: "plan of anna"}},
			Holds:        []policy.Hold{{ID: "anna", Kind: "abuse"}},
			Used:         90 * time.Minute, UsedMonth: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
		_, got, err := s.FactsByCredential(t.Context(), hash)
		require.NoError(t, err)
		require.Equal(t, want, got)
		got, err = s.FactsByUser(t.Context(), "anna")
		require.NoError(t, err)
		require.Equal(t, want, got)

		now = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
		want.Used, want.UsedMonth = 0, now
		got, err = s.FactsByUser(t.Context(), "anna")
		require.NoError(t, err)
		require.Equal(t, want, got, "a new month")
		now = now.Add(-time.Nanosecond).In(time.FixedZone("", 7200))
		got, err = s.FactsByUser(t.Context(), "anna")
		require.NoError(t, err)
		require.Equal(t, 90*time.Minute, got.Used, "months are UTC")
	})

	t.Run("at most a thousand", func(t *testing.T) {
		s := fresh(t, database)
		withUsers(t, s, "anna")
		const more = store.MaxFacts + 5
		for i := range more {
			until := noon.Add(time.Duration(i) * time.Second)
			_, err := s.AddEntitlement(t.Context(), "anna", policy.Entitlement{ID: fmt.Sprint(i), Tag: "x", Until: until})
			require.NoError(t, err)
		}
		_, err := s.AddEntitlement(t.Context(), "anna", policy.Entitlement{ID: "unended", Tag: "x"})
		require.NoError(t, err)
		f, err := s.FactsByUser(t.Context(), "anna")
		require.NoError(t, err)
		require.Len(t, f.Entitlements, store.MaxFacts)
		require.Equal(t, "unended", f.Entitlements[0].ID)
		require.Equal(t, fmt.Sprint(more-1), f.Entitlements[1].ID)
		require.Equal(t, fmt.Sprint(more-store.MaxFacts+1), f.Entitlements[store.MaxFacts-1].ID)
		list, err := s.Entitlements(t.Context(), "anna", store.Page{Limit: 1 << 40})
		require.NoError(t, err)
		require.Len(t, list, store.MaxFacts)
	})

	t.Run("sessions that run", func(t *testing.T) {
		now := noon
		open := database(t)
		s := migrated(t, open, func() time.Time { return now })
		withUsers(t, s, "anna", "ben")
		hash := policy.HashKey("ak_1")
		_, err := s.AddCredential(t.Context(), hash, policy.Credential{ID: "c", Kind: policy.CredentialKey, User: "anna"}, noon)
		require.NoError(t, err)
		november := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
		facts := func() (running int, from time.Time) {
			t.Helper()
			u, err := s.FactsByUser(t.Context(), "anna")
			require.NoError(t, err)
			_, same, err := s.FactsByCredential(t.Context(), hash)
			require.NoError(t, err)
			require.Equal(t, u, same)
			return u.Running, u.RunningFrom
		}
		running, from := facts()
		require.Zero(t, running)
		require.Zero(t, from)

		metered := func(id string, opened time.Time) policy.Session {
			w := watching(id)
			w.Metered, w.Opened, w.Decided = true, opened, opened
			return w
		}
		one, other := metered("1", noon.Add(-10*time.Minute)), metered("2", noon.Add(-4*time.Minute))
		other.Node = "m"
		write(t, s, one)
		running, from = facts()
		require.Equal(t, 1, running)
		require.Equal(t, noon.Add(-10*time.Minute), from)
		write(t, opened(t, open, at(noon)), other)
		running, from = facts()
		require.Equal(t, 2, running, "on another node, written by another replica")
		require.Equal(t, noon.Add(-7*time.Minute), from, "the mean")
		require.Equal(t, one, stored(t, s, "1"))

		bens, nobodys, free, unmetered, denied, ended := metered("3", noon), metered("4", noon), metered("5", noon), watching("6"),
			metered("7", noon), metered("8", noon)
		bens.User, nobodys.User, free.Plan, denied.State, denied.Reason = "ben", "", "", policy.SessionDenied, policy.QuotaExhausted
		write(t, s, bens, nobodys, free, unmetered, denied, ended)
		write(t, s, over("8", time.Minute, time.Second))
		running, from = facts()
		require.Equal(t, 2, running, "others do not count")
		require.Equal(t, noon.Add(-7*time.Minute), from)

		write(t, s, metered("9", november.Add(-10*24*time.Hour)), metered("10", november.AddDate(0, -1, -1)))
		running, from = facts()
		require.Equal(t, 3, running, "but one whose end was lost long ago")
		middle := november.Add((2*noon.Sub(november) - 14*time.Minute) / 3)
		require.WithinDuration(t, middle, from, time.Microsecond, "from the beginning of the month")
		require.Equal(t, from, from.Truncate(time.Microsecond))

		now = time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC)
		running, from = facts()
		require.Equal(t, 2, running)
		require.Equal(t, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), from)
		now = now.Add(time.Second)
		running, _ = facts()
		require.Zero(t, running)
	})

	t.Run("very many sessions that run", func(t *testing.T) {
		now := noon
		s := migrated(t, database(t), func() time.Time { return now })
		var batch []policy.Session
		const many = 3000
		for i := range many {
			w := watching(fmt.Sprint(i))
			w.Metered = true
			batch = append(batch, w)
		}
		write(t, s, batch...)
		now = noon.Add(8 * 24 * time.Hour)
		f, err := s.FactsByUser(t.Context(), "anna")
		require.NoError(t, err)
		require.Equal(t, many, f.Running)
		require.Equal(t, noon, f.RunningFrom)
	})
}

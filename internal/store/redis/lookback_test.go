package redis

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/storetest"
)

// ledger is a database whose feed the test writes.
type ledger struct {
	storetest.Store
	Source
	changes func(after int64, limit int) ([]store.Change, error)
}

func (l *ledger) Changes(_ context.Context, after int64, limit int) ([]store.Change, error) {
	return l.changes(after, limit)
}

func entries(from, to int64, at time.Time) (list []store.Change) {
	for n := from; n <= to; n++ {
		list = append(list, store.Change{Number: n, At: at, Kind: store.ChangeUser, Subject: string(rune('a' + n%7))})
	}
	return list
}

// A new replica reads the feed back to where it was cut off, to where no value is older, or to where it has no room.
func TestLookBack(t *testing.T) {
	now := time.Now().Truncate(time.Microsecond)
	const last = 10_000
	for name, c := range map[string]struct {
		feed       []store.Change
		room       int
		first, max int64
	}{
		"all of it":            {entries(1, last, now), rememberedChanges, 1, 1},
		"cut off":              {entries(7001, last, now), rememberedChanges, 7001, 7001},
		"cut off at the end":   {entries(last, last, now), rememberedChanges, last, last},
		"no room":              {entries(1, last, now), 3000, last - 2999, last - 2999},
		"older than any value": {append(entries(1, 8000, now.Add(-time.Hour)), entries(8001, last, now)...), rememberedChanges, last - 2*backPage, 8000},
	} {
		t.Run(name, func(t *testing.T) {
			begin := c.feed[len(c.feed)-1]
			offset := c.feed[0].Number
			feed := &ledger{changes: func(after int64, limit int) ([]store.Change, error) {
				if after < offset-1 {
					return nil, store.ErrFeedGap
				}
				from := after - offset + 1
				return c.feed[from:min(from+int64(limit), int64(len(c.feed)))], nil
			}}
			f := NewFacts(feed, opened(t, redisURL(t)), Options{CaughtUp: time.Now})
			defer f.Close()
			f.history = newHistory(c.room)
			f.share(f.begin(), begin)
			f.back.running.Wait()
			_, first, _ := f.history.edge()
			require.True(t, first >= c.first && first <= c.max, first)
			for n := first; n <= last; n++ {
				e := c.feed[n-offset]
				require.Equal(t, outdatedUnless(last-n < 7), f.history.judge(aboutUser(e.Subject), entryAsOf(e)), n)
			}
			require.Equal(t, unverified, f.history.judge(aboutUser("z"), asOf{first - 1, 0}))
		})
	}
}

func outdatedUnless(newest bool) verdict {
	if newest {
		return usable
	}
	return outdated
}

// What it finds when the history was forgotten meanwhile, or is of another course, is not taken in.
func TestLookBackOfWhatIsOver(t *testing.T) {
	now := time.Now()
	h := newHistory(100)
	list := entries(1, 50, now)
	require.True(t, h.loaded(h.begin(), entryAsOf(list[49])))
	generation, first, room := h.edge()
	require.EqualValues(t, 50, first)
	require.EqualValues(t, 99, room)
	require.False(t, h.prepend(generation+1, list), "forgotten meanwhile")
	require.False(t, h.prepend(generation, list[:49]), "does not reach it")
	require.False(t, h.prepend(generation, list[49:]), "nothing new")
	require.False(t, h.prepend(generation, append(list[:10:10], list[11:]...)), "a hole")
	require.True(t, h.ready())
	require.False(t, h.prepend(generation, entries(1, 50, now.Add(time.Second))), "another course")
	require.False(t, h.ready())

	h.loaded(h.begin(), entryAsOf(list[49]))
	generation, _, _ = h.edge()
	h.append(store.Change{Number: 51, At: now, Kind: store.ChangeUser, Subject: list[20].Subject})
	require.True(t, h.prepend(generation, list[9:]))
	require.Equal(t, outdated, h.judge(aboutUser(list[20].Subject), entryAsOf(list[49])), "what is known already stands")
	require.Equal(t, usable, h.judge(aboutUser("z"), entryAsOf(list[9])))
	require.Equal(t, unverified, h.judge(aboutUser("z"), entryAsOf(list[8])))
}

// The catalog's entry counts also when it is found looking back.
func TestLookBackFindsTheCatalog(t *testing.T) {
	db, client := sqliteDatabase(t)(t), opened(t, newBox(t).url())
	putUser(t, db, "anna", policy.ActiveUser)
	a := newReplica(t, db, client)
	a.user("anna")
	_, _, err := db.ApplyCatalog(t.Context(), &policy.Catalog{}, nil)
	require.NoError(t, err)
	putUser(t, db, "ben", policy.ActiveUser)
	b := newReplica(t, db, client)
	b.user("ben")
	b.answers()
	b.user("anna")
	require.Equal(t, answers{"outdated": 1}, b.answers())
}

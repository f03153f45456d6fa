package redis

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"authhook/internal/policy"
	"authhook/internal/store"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// change is the entry of a number: of the user of that name.
func change(number int64, user string) store.Change {
	return store.Change{Number: number, At: noon.Add(time.Duration(number) * time.Second), Kind: store.ChangeUser, Subject: user}
}

func (h *history) usable(user string, c store.Change) bool {
	return h.judge(aboutUser(user), entryAsOf(c)) == usable
}

// The first load sets the beginning, unless the follower told of a higher number: what lies between was told before there
// was a history, and is not in it.
func TestWhereTheHistoryBegins(t *testing.T) {
	h := newHistory(8)
	l := h.begin()
	h.append(change(6, "anna"))
	require.False(t, h.loaded(l, entryAsOf(change(5, "ben"))))
	require.False(t, h.ready(), "6 would be missing")
	require.True(t, h.loaded(h.begin(), entryAsOf(change(6, "anna"))))
	require.True(t, h.usable("anna", change(6, "anna")))
	require.False(t, h.usable("anna", change(5, "ben")))
	require.False(t, h.loaded(h.begin(), entryAsOf(change(7, "ben"))), "it is begun")
	require.False(t, h.usable("carl", change(7, "ben")), "the follower has not told of 7")
	require.False(t, h.loaded(h.begin(), asOf{}), "a load as of no moment says nothing")
	require.True(t, h.ready())
}

// A load that began before everything was dropped says nothing of what holds now.
func TestALoadFromBeforeTheDrop(t *testing.T) {
	h := newHistory(8)
	l := h.begin()
	h.drop()
	require.False(t, h.loaded(l, entryAsOf(change(5, "anna"))))
	require.False(t, h.ready())
}

func TestWhatContradictsTheHistory(t *testing.T) {
	for name, tell := range map[string]func(h *history){
		"a hole": func(h *history) { h.append(change(8, "ben")) },
		"another entry, told": func(h *history) {
			h.append(change(6, "ben"))
		},
		"another entry, read":    func(h *history) { h.loaded(h.begin(), entryAsOf(change(6, "ben"))) },
		"a number that was over": func(h *history) { h.loaded(h.begin(), entryAsOf(change(3, "ben"))) },
	} {
		h := newHistory(8)
		h.loaded(h.begin(), entryAsOf(change(5, "carl")))
		h.append(change(6, "anna"))
		require.True(t, h.usable("anna", change(6, "anna")))
		tell(h)
		require.False(t, h.ready(), name)
		require.False(t, h.usable("anna", change(6, "anna")), name)
	}
	// A load that began early and took its time contradicts nothing.
	h := newHistory(8)
	l := h.begin()
	h.loaded(h.begin(), entryAsOf(change(5, "carl")))
	h.append(change(6, "anna"))
	h.loaded(l, entryAsOf(change(3, "ben")))
	require.True(t, h.usable("anna", change(6, "anna")))
}

// What is about nobody outdates nobody; what may be about anybody outdates all.
func TestKindsOfChanges(t *testing.T) {
	hash := policy.HashKey("ak_1")
	for _, c := range []struct {
		kind                           store.ChangeKind
		subject                        string
		credential, anna, ben, noOther bool // whether they are still usable
	}{
		{store.ChangeUser, "anna", true, false, true, true},
		{store.ChangeCredential, hash.String(), false, true, true, true},
		{store.ChangeCredential, "in another form", false, false, false, false},
		{store.ChangeAPIKey, "key_1", true, true, true, true},
		{store.ChangePayment, "stripe pi_1", true, true, true, true},
		{store.ChangeSession, "id node", true, true, true, true},
		{store.ChangeSessionEnd, "anna", true, true, true, true},
		{store.ChangeCatalog, "", false, false, false, false},
		{"of a later version", "x", false, false, false, false},
	} {
		h := newHistory(8)
		h.loaded(h.begin(), entryAsOf(change(5, "carl")))
		h.append(store.Change{Number: 6, At: noon, Kind: c.kind, Subject: c.subject})
		at := entryAsOf(change(5, "carl"))
		require.Equal(t, c.credential, h.judge(aboutCredential(hash), at) == usable, c.kind)
		require.Equal(t, c.anna, h.usable("anna", change(5, "carl")), c.kind)
		require.Equal(t, c.ben, h.usable("ben", change(5, "carl")), c.kind)
		require.Equal(t, c.noOther, h.judge(aboutCredential(policy.HashKey("ak_2")), at) == usable, c.kind)
	}
}

// However short the history is, and in whatever order it is told: a value is usable only if nothing changed since, and the
// entry is known.
func TestHistoryForgetsSafely(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		users := []string{"a", "b", "c"}
		first := rapid.Int64Range(1, 20).Draw(t, "first")
		feed := map[int64]store.Change{first: change(first, "a")}
		h := newHistory(rapid.IntRange(1, 6).Draw(t, "size"))
		h.loaded(h.begin(), entryAsOf(feed[first]))
		last, told := first, first
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				last++
				feed[last] = change(last, rapid.SampledFrom(users).Draw(t, "user"))
			case 1:
				if told < last {
					told++
					h.append(feed[told])
				}
			case 2:
				h.append(feed[rapid.Int64Range(first, told).Draw(t, "again")])
			}
			for n, c := range feed {
				for _, user := range users {
					since := false
					for later := n + 1; later <= told; later++ {
						since = since || feed[later].Subject == user
					}
					if h.usable(user, c) && (since || n > told) {
						t.Fatalf("%s as of %d is used, told up to %d", user, n, told)
					}
					if n == told && !h.usable(user, c) {
						t.Fatalf("%s as of %d, the newest, is refused", user, n)
					}
				}
			}
		}
		if len(h.changed) > len(h.entries) {
			t.Fatal("subjects are kept longer than their entries: " + strconv.Itoa(len(h.changed)))
		}
	})
}

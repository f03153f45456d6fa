package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// effect is what an event leaves behind that only needs names.
func effect(names ...string) *store.BillingEffect {
	return &store.BillingEffect{State: store.EventApplied, Names: names}
}

// apply applies an event, whatever its account, and returns what was stored of that.
func apply(t testing.TB, s Store, number int64, e *store.BillingEffect) *store.BillingAccount {
	t.Helper()
	var seen *store.BillingAccount
	require.NoError(t, s.ApplyEvent(t.Context(), number, e.Names, false, func(a *store.BillingAccount) (*store.BillingEffect, error) {
		seen = a
		return e, nil
	}))
	return seen
}

// peek is all that is stored of the account of names.
func peek(t testing.TB, s Store, number int64, names ...string) *store.BillingAccount {
	t.Helper()
	var seen *store.BillingAccount
	require.NoError(t, s.ApplyEvent(t.Context(), number, names, true, func(a *store.BillingAccount) (*store.BillingEffect, error) {
		seen = a
		return effect(names...), nil
	}))
	return seen
}

func owned(id, user, origin string) store.OwnedEntitlement {
	return store.OwnedEntitlement{Entitlement: policy.Entitlement{ID: id, Plan: "gold", From: noon, Until: noon.Add(time.Hour),
		GraceFrom: noon.Add(time.Minute), Source: hostile["quotes"]}, User: user, Origin: origin}
}

func blocked(id, user, origin string) store.OwnedHold {
	return store.OwnedHold{Hold: policy.Hold{ID: id, Kind: "dispute", Ref: "dp_1", From: noon}, User: user, Origin: origin}
}

func testApplyEvent(t *testing.T, database func(testing.TB) Open) {
	t.Run("all in one", func(t *testing.T) {
		s := fresh(t, database)
		withUsers(t, s, "ben", "carl")
		first, second, third := receive(t, s, told("1")), receive(t, s, told("2")), receive(t, s, told("3"))
		ctx := store.WithActor(t.Context(), "stripe")
		before := last(t, s)
		names := []string{"subscription/sub_1", "payment/pi_1", hostile["quotes"]}
		sub, pay := "stripe/subscription/sub_1", "stripe/payment/pi_1"
		paid := store.Payment{Provider: "stripe", ID: "pi_1", User: "anna", Amount: 999, Currency: "usd", Status: store.PaymentSucceeded}
		does := &store.BillingEffect{State: store.EventApplied, Reason: "why", User: "anna", Subject: "subscription/sub_1", Names: names,
			Records: []store.BillingRecord{{Kind: "subscription", ID: "sub_1", Doc: `{"a": "` + `\u0000ä"}`}, {Kind: "payment", ID: "pi_1", Doc: `{}`}},
			Add:     []store.OwnedEntitlement{owned("e1", "anna", sub), owned("", "anna", pay)}, AddHolds: []store.OwnedHold{blocked("h1", "ben", pay), blocked("", "anna", sub)},
			Payments: []store.Payment{paid}, Statuses: map[string]policy.UserStatus{"carl": policy.SuspendedUser, "dora": policy.SuspendedUser, "ben": policy.ActiveUser}}
		require.NoError(t, s.ApplyEvent(ctx, first.Number, names, false, func(a *store.BillingAccount) (*store.BillingEffect, error) {
			require.Equal(t, &store.BillingAccount{Event: first}, a, "nothing was known of them")
			return does, nil
		}))

		want := first
		want.State, want.Reason, want.User, want.Subject, want.Applied, want.Next = store.EventApplied, "why", "anna", "subscription/sub_1", noon, time.Time{}
		require.Equal(t, want, event(t, s, first.Number))
		require.Equal(t, []string{"user anna", "user carl", "user dora", "user anna", "user anna", "user ben", "user anna", "payment stripe/pi_1"},
			feed(t, s, before))
		for user, status := range map[string]policy.UserStatus{"anna": policy.ActiveUser, "ben": policy.ActiveUser, "carl": policy.SuspendedUser, "dora": policy.SuspendedUser} {
			f, err := s.FactsByUser(t.Context(), user)
			require.NoError(t, err)
			require.Equal(t, status, f.Status, user)
		}
		anna, err := s.FactsByUser(t.Context(), "anna")
		require.NoError(t, err)
		require.Len(t, anna.Entitlements, 2)
		require.Contains(t, anna.Entitlements, owned("e1", "", "").Entitlement, "decisions see it as any other")
		require.Len(t, anna.Holds, 1)
		ben, err := s.FactsByUser(t.Context(), "ben")
		require.NoError(t, err)
		require.Equal(t, []policy.Hold{blocked("h1", "", "").Hold}, ben.Holds)
		require.EqualValues(t, 1, user(t, s, "ben").Version)
		require.EqualValues(t, 2, user(t, s, "carl").Version)
		paid.Recorded = noon
		require.Equal(t, paid, payment(t, s, "stripe", "pi_1"))
		list := audit(t, s, store.AuditFilter{Limit: 8})
		var actions []string
		for _, e := range list {
			require.Equal(t, "stripe", e.Actor)
			actions = append(actions, string(e.Action)+" "+e.Subject)
		}
		require.Equal(t, []string{"payment.put anna", "hold.add anna", "hold.add ben", "entitlement.add anna", "entitlement.add anna",
			"user.put dora", "user.put carl", "user.put anna"}, actions)

		// The next event of the same things finds all of it, by any of the names.
		before = last(t, s)
		known := peek(t, s, second.Number, names[2])
		require.Equal(t, []store.BillingRecord{{Kind: "payment", ID: "pi_1", Doc: `{}`}, does.Records[0]}, known.Records)
		require.Equal(t, second, known.Event)
		require.Len(t, known.Entitlements, 2)
		require.Contains(t, known.Entitlements, does.Add[0])
		require.Len(t, known.Holds, 2)
		require.Contains(t, known.Holds, does.AddHolds[0])
		require.Equal(t, []store.Payment{paid}, known.Payments)
		require.Empty(t, known.Unlinked)
		other := told("1")
		other.Provider = "paddle"
		foreign := peek(t, s, receive(t, s, other).Number, names...)
		require.Empty(t, foreign.Records, "another provider's names are others")
		require.Empty(t, foreign.Entitlements)

		// The same again changes nothing.
		same := *does
		same.State, same.Add, same.AddHolds, same.Change = store.EventStale, nil, nil, known.Entitlements
		apply(t, s, second.Number, &same)
		require.Equal(t, store.EventStale, event(t, s, second.Number).State)
		require.Empty(t, feed(t, s, before), "none where nothing changes")
		require.Equal(t, known.Records, peek(t, s, second.Number, names[0]).Records)

		// Another user's, no more, and less.
		moved := does.Add[0]
		moved.User, moved.Plan, moved.Tag, moved.Until, moved.Origin = "emil", "", "sport", time.Time{}, pay
		gone := known.Entitlements[0]
		if gone.ID == "e1" {
			gone = known.Entitlements[1]
		}
		paid.Refunded = 999
		apply(t, s, third.Number, &store.BillingEffect{State: store.EventApplied, Names: names[:1], Change: []store.OwnedEntitlement{moved},
			Remove: []store.OwnedEntitlement{gone}, RemoveHolds: []store.OwnedHold{known.Holds[0], known.Holds[1]}, Payments: []store.Payment{paid},
			Records: []store.BillingRecord{{Kind: "payment", ID: "pi_1", Doc: `[]`}}})
		require.ElementsMatch(t, []string{"user emil", "user anna", "user anna", "user emil", "user anna", "user ben", "payment stripe/pi_1"},
			feed(t, s, before))
		known = peek(t, s, third.Number, names[2])
		require.Equal(t, []store.OwnedEntitlement{moved}, known.Entitlements)
		require.Empty(t, known.Holds)
		require.Equal(t, []store.Payment{paid}, known.Payments)
		require.Equal(t, `[]`, known.Records[0].Doc)
		require.Equal(t, does.Records[0], known.Records[1], "what is not named stays")
		emil, err := s.FactsByUser(t.Context(), "emil")
		require.NoError(t, err)
		require.Equal(t, []policy.Entitlement{moved.Entitlement}, emil.Entitlements)
		anna, err = s.FactsByUser(t.Context(), "anna")
		require.NoError(t, err)
		require.Empty(t, anna.Entitlements)
		changed := audit(t, s, store.AuditFilter{Subject: "emil"})
		require.Equal(t, store.ActionEntitlementChange, changed[0].Action)
		require.JSONEq(t, `{"id":"e1","tag":"sport","from":"2026-11-22T12:00:00.123456Z","grace_from":"2026-11-22T12:01:00.123456Z","source":`+
			quoted("quotes")+`}`, string(changed[0].Detail))

		// What an administrator takes away is gone; what an administrator gives is nobody's.
		require.NoError(t, s.RemoveEntitlement(t.Context(), "emil", "e1"))
		_, err = s.AddEntitlement(t.Context(), "emil", policy.Entitlement{Plan: "gold"})
		require.NoError(t, err)
		_, err = s.AddHold(t.Context(), "emil", policy.Hold{Kind: "abuse"})
		require.NoError(t, err)
		known = peek(t, s, third.Number, names[2])
		require.Empty(t, known.Entitlements)
		require.Empty(t, known.Holds)
	})

	t.Run("nothing half", func(t *testing.T) {
		s := fresh(t, database)
		withUsers(t, s, "anna")
		old, one := receive(t, s, told("0")), receive(t, s, told("1"))
		e := effect("a", "b")
		e.Records, e.State = []store.BillingRecord{{Kind: "k", ID: "1", Doc: `1`}}, store.EventUnlinked
		apply(t, s, old.Number, e)
		before, entries, stood := last(t, s), audit(t, s, store.AuditFilter{}), peek(t, s, one.Number, "a")
		old = event(t, s, old.Number)
		full := func(a *store.BillingAccount) *store.BillingEffect {
			return &store.BillingEffect{State: store.EventApplied, User: "anna", Names: []string{"a", "c"},
				Records: []store.BillingRecord{{Kind: "k", ID: "1", Doc: `2`}, {Kind: "payment", ID: "2", Doc: `2`}},
				Add:     []store.OwnedEntitlement{owned("", "carl", "stripe/k/1")}, AddHolds: []store.OwnedHold{blocked("", "anna", "stripe/k/1")},
				Payments: []store.Payment{{Provider: "stripe", ID: "2", Status: "failed"}}, Statuses: map[string]policy.UserStatus{"anna": policy.SuspendedUser},
				Linked: map[int64]string{a.Unlinked[0].Number: "anna"}}
		}
		folds := 0
		require.NoError(t, s.ApplyEvent(t.Context(), one.Number, []string{"c", "b"}, true, func(a *store.BillingAccount) (*store.BillingEffect, error) {
			folds++
			return full(a), nil
		}))
		require.Positive(t, folds)
		for _, theirs := range []error{errors.New("no"), context.DeadlineExceeded, store.ErrConflict} {
			folds = 0
			require.Equal(t, theirs, s.ApplyEvent(t.Context(), one.Number, []string{"c", "b"}, false, func(a *store.BillingAccount) (*store.BillingEffect, error) {
				folds++
				return full(a), theirs
			}))
			require.Equal(t, 1, folds)
		}
		// The last of all that is written fails.
		invalid := new(store.InvalidError)
		require.ErrorAs(t, s.ApplyEvent(t.Context(), one.Number, []string{"a", "c"}, false, func(a *store.BillingAccount) (*store.BillingEffect, error) {
			e := full(a)
			e.Add = append(e.Add, owned("same", "anna", "stripe/k/1"), owned("same", "anna", "stripe/k/1"))
			return e, nil
		}), &invalid)
		require.Equal(t, "entitlement", invalid.Field)

		require.Equal(t, before, last(t, s))
		require.Equal(t, entries, audit(t, s, store.AuditFilter{}))
		require.Equal(t, one, event(t, s, one.Number))
		require.Equal(t, old, event(t, s, old.Number))
		require.Equal(t, stood, peek(t, s, one.Number, "a"))
		require.Empty(t, peek(t, s, one.Number, "c").Records, "the name is not known")
		_, err := s.User(t.Context(), "carl")
		require.ErrorIs(t, err, store.ErrNotFound)
		require.Equal(t, policy.ActiveUser, user(t, s, "anna").Status)
		_, err = s.Payment(t.Context(), "stripe", "2")
		require.ErrorIs(t, err, store.ErrNotFound)
	})

	t.Run("merged", func(t *testing.T) {
		s := fresh(t, database)
		record := func(id string) store.BillingRecord {
			return store.BillingRecord{Kind: "payment", ID: id, Doc: `"` + id + `"`}
		}
		var waiting []int64
		for i, id := range []string{"a", "b", "c"} {
			e := receive(t, s, told(id))
			does := effect(id, id+id)
			does.State, does.Records = store.EventUnlinked, []store.BillingRecord{record(id)}
			does.Payments = []store.Payment{{Provider: "stripe", ID: id, Status: "pending", Recorded: noon}}
			apply(t, s, e.Number, does)
			waiting = append(waiting, e.Number)
			require.Equal(t, store.EventUnlinked, event(t, s, e.Number).State)
			require.Equal(t, noon, event(t, s, e.Number).Applied)
			require.Empty(t, peek(t, s, e.Number, id).Unlinked, "not itself")
			require.Len(t, feed(t, s, 0), i+1)
		}
		both := receive(t, s, told("bc"))
		seen := apply(t, s, both.Number, effect("cc", "b"))
		require.Equal(t, []store.BillingRecord{record("b"), record("c")}, seen.Records)
		require.Len(t, seen.Payments, 2)
		require.Len(t, seen.Unlinked, 2)
		for i, e := range seen.Unlinked {
			want := event(t, s, waiting[i+1])
			want.Body = nil
			require.Equal(t, want, e)
		}

		// The account of another name turns up only by what fold says.
		all := receive(t, s, told("all"))
		folds := 0
		require.NoError(t, s.ApplyEvent(t.Context(), all.Number, []string{"bb", "new"}, false, func(a *store.BillingAccount) (*store.BillingEffect, error) {
			folds++
			e := effect("aa", "bb", "also new")
			e.User, e.Linked = "anna", map[int64]string{waiting[2]: "anna"}
			if len(a.Unlinked) == 3 {
				e.Linked[waiting[0]] = "ben"
			}
			return e, nil
		}))
		require.Equal(t, 2, folds)
		for _, name := range []string{"a", "aa", "b", "cc", "new", "also new"} {
			require.Equal(t, []store.BillingRecord{record("a"), record("b"), record("c")}, peek(t, s, all.Number, name).Records, name)
		}
		for i, who := range []string{"ben", "", "anna"} {
			e := event(t, s, waiting[i])
			require.Equal(t, who, e.User)
			require.Equal(t, who == "", e.State == store.EventUnlinked)
		}
		require.Equal(t, waiting[1], peek(t, s, all.Number, "a").Unlinked[0].Number)
		require.Len(t, feed(t, s, 0), 3, "no fact has changed")
	})

	t.Run("one name leads to the next", func(t *testing.T) {
		s := fresh(t, database)
		const accounts = 12 // more than a driver tries again where it lost a race
		for i := range accounts {
			does := effect(fmt.Sprint(i))
			does.Records = []store.BillingRecord{{Kind: "k", ID: fmt.Sprint(i), Doc: `{}`}}
			apply(t, s, receive(t, s, told(fmt.Sprint(i))).Number, does)
		}
		folds := 0
		require.NoError(t, s.ApplyEvent(t.Context(), receive(t, s, told("all")).Number, []string{"0"}, false,
			func(a *store.BillingAccount) (*store.BillingEffect, error) {
				folds++
				return effect("0", fmt.Sprint(len(a.Records)%accounts)), nil
			}))
		require.Equal(t, accounts, folds)
		require.Len(t, peek(t, s, 1, fmt.Sprint(accounts-1)).Records, accounts)
	})

	t.Run("what cannot be", func(t *testing.T) {
		s := fresh(t, database)
		one, done := receive(t, s, told("1")), receive(t, s, told("2"))
		apply(t, s, done.Number, effect("z"))
		foreign := receive(t, s, told("3"))
		other := effect("other")
		other.Records = []store.BillingRecord{{Kind: "payment", ID: "theirs", Doc: `{}`}}
		other.Add = []store.OwnedEntitlement{owned("theirs", "anna", "stripe/payment/theirs")}
		apply(t, s, foreign.Number, other)
		before := last(t, s)
		record := store.BillingRecord{Kind: "k", ID: "1", Doc: `{}`}
		for field, change := range map[string]func(*store.BillingEffect){
			"state":       func(e *store.BillingEffect) { e.State = store.EventReceived },
			"names":       func(e *store.BillingEffect) { e.Names = nil },
			"name":        func(e *store.BillingEffect) { e.Names = []string{"\xff"} },
			"user":        func(e *store.BillingEffect) { e.User = "\x00" },
			"subject":     func(e *store.BillingEffect) { e.Subject = "\x00" },
			"status":      func(e *store.BillingEffect) { e.Statuses = map[string]policy.UserStatus{"anna": "asleep"} },
			"kind":        func(e *store.BillingEffect) { e.Records[0].Kind = "a/b" },
			"id":          func(e *store.BillingEffect) { e.Records[0].ID = "" },
			"record":      func(e *store.BillingEffect) { e.Records[0].Doc = "{" },
			"origin":      func(e *store.BillingEffect) { e.Add[0].Origin = "stripe/payment/theirs" },
			"plan":        func(e *store.BillingEffect) { e.Add[0].Plan = "" },
			"entitlement": func(e *store.BillingEffect) { e.Remove = other.Add },
			"hold":        func(e *store.BillingEffect) { e.RemoveHolds = e.AddHolds },
			"linked":      func(e *store.BillingEffect) { e.Linked = map[int64]string{done.Number: "anna"} },
			"payment": func(e *store.BillingEffect) {
				p := store.Payment{Provider: "stripe", ID: "1", Status: "failed"}
				e.Payments = []store.Payment{p, p}
			},
			"amount": func(e *store.BillingEffect) {
				e.Payments = []store.Payment{{Provider: "stripe", ID: "1", Status: "failed", Amount: -1}}
			},
		} {
			e := effect("a")
			e.Records = []store.BillingRecord{record}
			e.Add = []store.OwnedEntitlement{owned("", "anna", "stripe/k/1")}
			e.AddHolds = []store.OwnedHold{blocked("", "anna", "stripe/k/1")}
			change(e)
			err := s.ApplyEvent(t.Context(), one.Number, []string{"a"}, false, func(*store.BillingAccount) (*store.BillingEffect, error) { return e, nil })
			invalid := new(store.InvalidError)
			require.ErrorAs(t, err, &invalid, field)
			require.Equal(t, field, invalid.Field)
		}
		stolen := effect("a")
		stolen.Records = other.Records
		nothing := func(*store.BillingAccount) (*store.BillingEffect, error) { return nil, nil }
		for what, err := range map[string]error{
			"no effect": s.ApplyEvent(t.Context(), one.Number, []string{"a"}, false, nothing),
			"no names":  s.ApplyEvent(t.Context(), one.Number, nil, false, nothing),
			"long":      s.ApplyEvent(t.Context(), one.Number, []string{strings.Repeat("x", 1025)}, false, nothing),
			"another account's record": s.ApplyEvent(t.Context(), one.Number, []string{"a"}, false,
				func(*store.BillingAccount) (*store.BillingEffect, error) { return stolen, nil }),
		} {
			invalid := new(store.InvalidError)
			require.ErrorAs(t, err, &invalid, what)
		}
		require.ErrorIs(t, s.ApplyEvent(t.Context(), done.Number, []string{"z"}, false, nothing), store.ErrConflict)
		require.ErrorIs(t, s.ApplyEvent(t.Context(), 99, []string{"z"}, false, nothing), store.ErrNotFound)
		require.ErrorIs(t, s.ApplyEvent(t.Context(), 99, []string{"z"}, true, nothing), store.ErrNotFound)
		require.Equal(t, before, last(t, s))
		require.Equal(t, one, event(t, s, one.Number))
		require.Empty(t, peek(t, s, one.Number, "a").Records)
	})

	t.Run("twice at once", func(t *testing.T) {
		open := database(t)
		replicas := []Store{migrated(t, open, at(noon)), opened(t, open, at(noon))}
		withUsers(t, replicas[0], "anna")
		for round := range 6 {
			e := receive(t, replicas[0], told(fmt.Sprint(round)))
			var applied atomic.Int64
			start := make(chan struct{})
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					<-start
					err := replicas[i%2].ApplyEvent(t.Context(), e.Number, []string{fmt.Sprint("a", round/2), fmt.Sprint("b", round)}, false,
						func(*store.BillingAccount) (*store.BillingEffect, error) {
							does := effect(fmt.Sprint("a", round/2))
							does.Records = []store.BillingRecord{{Kind: "k", ID: fmt.Sprint(round / 2), Doc: `{}`}}
							does.Add = []store.OwnedEntitlement{owned("", "anna", fmt.Sprint("stripe/k/", round/2))}
							return does, nil
						})
					if err == nil {
						applied.Add(1)
					} else {
						assert.ErrorIs(t, err, store.ErrConflict)
					}
				})
			}
			close(start)
			wg.Wait()
			require.EqualValues(t, 1, applied.Load())
			f, err := replicas[0].FactsByUser(t.Context(), "anna")
			require.NoError(t, err)
			require.Len(t, f.Entitlements, round+1)
			require.Len(t, peek(t, replicas[0], e.Number, fmt.Sprint("b", round)).Entitlements, round%2+1)
		}
	})
}

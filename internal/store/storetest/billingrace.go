package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// union is what accounts must come to: those who share a name, directly or by others.
type union map[string]string

func (u union) find(name string) string {
	for u[name] != name {
		if u[name] == "" {
			u[name] = name
		}
		name = u[name]
	}
	return name
}

// testApplyEventRace: many events with random names, applied at once by two replicas, end in the accounts that the names
// make, whatever the order, and nothing that was written is lost.
func testApplyEventRace(t *testing.T, database func(testing.TB) Open) {
	for _, size := range []struct{ events, names, most int }{{120, 40, 3}, {60, 6, 2}, {60, 200, 6}} {
		t.Run(fmt.Sprint(size.names, " names"), func(t *testing.T) {
			open := database(t)
			replicas := []Store{migrated(t, open, at(noon)), opened(t, open, at(noon))}
			want := union{}
			var numbers []int64
			names := map[int64][]string{}
			for i := range size.events {
				e := receive(t, replicas[0], told(fmt.Sprint(i)))
				numbers = append(numbers, e.Number)
				for range 1 + rand.N(size.most) {
					name := fmt.Sprint("n", rand.N(size.names))
					names[e.Number] = append(names[e.Number], name)
					want[want.find(name)] = want.find(names[e.Number][0])
				}
			}
			rand.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
			const workers = 8
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					for i := w; i < len(numbers); i += workers {
						n := numbers[i]
						assert.NoError(t, replicas[w%2].ApplyEvent(t.Context(), n, names[n], false, counting(n, names[n])))
					}
				})
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			accounts := map[string]string{} // by the root of the model, the names in the store
			for n, of := range names {
				for _, name := range of {
					a := peek(t, replicas[1], n, name)
					var ids []string
					for _, r := range a.Records {
						ids = append(ids, r.ID)
						var counted []int64
						require.NoError(t, json.Unmarshal([]byte(r.Doc), &counted))
						require.Equal(t, slices.Contains(names[n], r.ID), slices.Contains(counted, n), "event %d in %s", n, r.ID)
					}
					require.Contains(t, ids, name)
					root := want.find(name)
					if accounts[root] == "" {
						accounts[root] = fmt.Sprint(ids)
					}
					require.Equal(t, accounts[root], fmt.Sprint(ids), "all of one account find the same")
					for _, id := range ids {
						require.Equal(t, root, want.find(id), "%s and %s are of one account", name, id)
					}
					require.Len(t, a.Unlinked, countUnlinked(want, names, root, n), "those that wait are moved with their account")
				}
				require.Equal(t, n%3 == 0, event(t, replicas[0], n).State == store.EventUnlinked)
			}
			require.Equal(t, []string{"payment stripe/counted"}, slices.Compact(feed(t, replicas[0], 0)))
			require.Len(t, feed(t, replicas[0], 0), len(numbers))
		})
	}
}

// countUnlinked is how many events of an account wait beside one.
func countUnlinked(u union, names map[int64][]string, root string, but int64) int {
	total := 0
	for n, of := range names {
		if n%3 == 0 && n != but && u.find(of[0]) == root {
			total++
		}
	}
	return total
}

// counting adds an event's number to the records that it names, and to a payment that all share. Every third waits for a user.
func counting(n int64, names []string) func(*store.BillingAccount) (*store.BillingEffect, error) {
	return func(a *store.BillingAccount) (*store.BillingEffect, error) {
		e := &store.BillingEffect{State: store.EventApplied, Names: slices.Clone(names)}
		if n%3 == 0 {
			e.State = store.EventUnlinked
		}
		e.Payments = []store.Payment{{Provider: "stripe", ID: "counted", Status: "failed", Amount: n}}
		for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
			var counted []int64
			for _, r := range a.Records {
				if r.ID == name {
					if err := json.Unmarshal([]byte(r.Doc), &counted); err != nil {
						return nil, err
					}
				}
			}
			doc, err := json.Marshal(append(counted, n))
			if err != nil {
				return nil, err
			}
			e.Records = append(e.Records, store.BillingRecord{Kind: "k", ID: name, Doc: string(doc)})
		}
		return e, nil
	}
}

// testApplyEventAmong: those who apply events about the same users and payments, and those who change these by other ways, hold
// nobody up for good and lose nothing.
func testApplyEventAmong(t *testing.T, database func(testing.TB) Open) {
	open := database(t)
	replicas := []Store{migrated(t, open, at(noon)), opened(t, open, at(noon))}
	const events, workers = 60, 6
	var numbers []int64
	for i := range events {
		numbers = append(numbers, receive(t, replicas[0], told(fmt.Sprint(i))).Number)
	}
	var wg sync.WaitGroup
	var applied atomic.Int64
	for w := range workers {
		wg.Go(func() {
			s := replicas[w%2]
			for range events / 2 {
				n, name := numbers[rand.N(events)], fmt.Sprint("n", rand.N(8))
				id := fmt.Sprint("h", store.NewID("x"))
				err := s.ApplyEvent(t.Context(), n, []string{name}, rand.N(9) == 0, func(a *store.BillingAccount) (*store.BillingEffect, error) {
					does := effect(name, fmt.Sprint("n", n%8))
					if does.State = store.EventUnlinked; n%3 > 0 {
						does.State, does.Statuses = store.EventApplied, map[string]policy.UserStatus{}
					}
					does.Records = []store.BillingRecord{{Kind: "payment", ID: name, Doc: `{}`}}
					for _, i := range rand.Perm(4) {
						user := fmt.Sprint("user", i)
						does.AddHolds = append(does.AddHolds, blocked(id+user, user, "stripe/payment/"+name))
						does.Payments = append(does.Payments, store.Payment{Provider: "stripe", ID: fmt.Sprint("n", i), Status: "failed", Amount: rand.Int64N(9)})
						if does.Statuses != nil && rand.N(2) == 0 {
							does.Statuses[user] = []policy.UserStatus{policy.ActiveUser, policy.SuspendedUser}[rand.N(2)]
						}
					}
					does.RemoveHolds = a.Holds
					for _, u := range a.Unlinked {
						does.Linked = map[int64]string{u.Number: "user1"}
					}
					return does, nil
				})
				switch {
				case err == nil:
					applied.Add(1)
				case !errors.Is(err, store.ErrConflict):
					assert.NoError(t, err)
				}
			}
		})
	}
	others := []func(s Store) error{
		func(s Store) error { _, err := s.ReplayEvents(t.Context(), store.EventFilter{}, noon); return err },
		func(s Store) error { return s.ReplayEvent(t.Context(), numbers[rand.N(events)], noon) },
		func(s Store) error {
			err := s.FailEvent(t.Context(), numbers[rand.N(events)], store.EventFailed, "why", noon)
			if errors.Is(err, store.ErrConflict) {
				return nil
			}
			return err
		},
		func(s Store) error {
			_, _, err := s.PutUser(t.Context(), store.UserChange{ID: fmt.Sprint("user", rand.N(4)), Status: policy.ActiveUser})
			return err
		},
		func(s Store) error {
			return s.PutPayment(t.Context(), store.Payment{Provider: "stripe", ID: fmt.Sprint("n", rand.N(4)), Status: "x", Amount: rand.Int64N(9)})
		},
		func(s Store) error {
			user := fmt.Sprint("user", rand.N(4))
			f, err := s.FactsByUser(t.Context(), user)
			if err != nil || len(f.Holds) == 0 {
				return err
			}
			err = s.RemoveHold(t.Context(), user, f.Holds[0].ID)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			return err
		},
	}
	for i, other := range others {
		wg.Go(func() {
			for range events / 4 {
				assert.NoError(t, other(replicas[i%2]))
			}
		})
	}
	wg.Wait()
	require.Greater(t, applied.Load(), int64(events/4))
	entries := audit(t, replicas[0], store.AuditFilter{Limit: store.MaxFacts})
	require.NotEmpty(t, entries)
	require.Len(t, feed(t, replicas[0], 0), int(last(t, replicas[0])), "no number is missing")
}

package storetest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/store"
)

// paid is a payment with every field set.
func paid(id string) store.Payment {
	return store.Payment{Provider: "stripe", ID: id, User: "anna", Subscription: "sub_1", Price: hostile["quotes"], Plan: "gold",
		Stream: "live+x", Tag: "sport", Amount: math.MaxInt64, Refunded: 3, Currency: "usd", Status: store.PaymentRefused,
		Reason: hostile["lines"], At: noon.Add(-time.Minute)}
}

func testPayments(t *testing.T, database func(testing.TB) Open) {
	t.Run("stored and changed", func(t *testing.T) {
		now := noon
		s := migrated(t, database(t), func() time.Time { return now })
		_, err := s.Payment(t.Context(), "stripe", "pi_1")
		require.ErrorIs(t, err, store.ErrNotFound)
		full, bare := paid("pi_1"), store.Payment{Provider: "events", ID: "pi_1", Status: store.PaymentFailed}
		finer := full
		finer.At = full.At.Add(999).In(time.FixedZone("", 3600)) // than is stored
		require.NoError(t, s.PutPayment(t.Context(), finer))
		now = noon.Add(time.Minute)
		require.NoError(t, s.PutPayment(t.Context(), bare))
		full.Recorded, bare.Recorded = noon, now
		require.Equal(t, full, payment(t, s, "stripe", "pi_1"))
		require.Equal(t, bare, payment(t, s, "events", "pi_1"))
		for _, same := range []store.Payment{finer, full, bare} {
			require.NoError(t, s.PutPayment(t.Context(), same))
		}
		require.Equal(t, []string{"payment stripe/pi_1", "payment events/pi_1"}, feed(t, s, 0), "the same again is no change")

		for field, change := range map[string]func(*store.Payment){
			"user": func(p *store.Payment) { p.User = "ben" }, "subscription": func(p *store.Payment) { p.Subscription = "" },
			"price": func(p *store.Payment) { p.Price = "" }, "plan": func(p *store.Payment) { p.Plan = "" },
			"stream": func(p *store.Payment) { p.Stream = "" }, "tag": func(p *store.Payment) { p.Tag = "" },
			"amount": func(p *store.Payment) { p.Amount-- }, "refunded": func(p *store.Payment) { p.Refunded++ },
			"currency": func(p *store.Payment) { p.Currency = "eur" }, "at": func(p *store.Payment) { p.At = time.Time{} },
			"status": func(p *store.Payment) { p.Status = "disputed" }, "reason": func(p *store.Payment) { p.Reason = "" },
		} {
			before := last(t, s)
			change(&full)
			put := full
			put.Recorded = time.Time{}
			require.NoError(t, s.PutPayment(t.Context(), put), field)
			require.Equal(t, full, payment(t, s, "stripe", "pi_1"), field)
			require.Equal(t, []string{"payment stripe/pi_1"}, feed(t, s, before), field)
		}
		require.Equal(t, bare, payment(t, s, "events", "pi_1"), "another provider's")
	})

	t.Run("pages", func(t *testing.T) {
		s := fresh(t, database)
		var all []store.Payment
		for i := range 12 {
			p := store.Payment{Provider: []string{"stripe", "paddle", "B"}[i%3], ID: fmt.Sprint((i * 5) % 12), Status: "succeeded",
				User: []string{"anna", "ben", "", "anna"}[i%4], Recorded: noon}
			require.NoError(t, s.PutPayment(t.Context(), p))
			all = append(all, p)
		}
		slices.SortFunc(all, func(a, b store.Payment) int {
			return strings.Compare(a.Provider+"/"+a.ID, b.Provider+"/"+b.ID)
		})
		for _, f := range []store.PaymentFilter{{}, {User: "anna"}, {Provider: "stripe"}, {User: "ben", Provider: "B"}, {User: "carl"},
			{User: "a\x00"}, {Provider: "\xff"}} {
			var want, got []store.Payment
			for _, p := range all {
				if (f.User == "" || f.User == p.User) && (f.Provider == "" || f.Provider == p.Provider) {
					want = append(want, p)
				}
			}
			for f.Limit = 2; len(got) <= len(want); { // no longer, should the pages repeat themselves
				list, err := s.Payments(t.Context(), f)
				require.NoError(t, err)
				require.LessOrEqual(t, len(list), 2)
				got = append(got, list...)
				if len(list) == 0 {
					break
				}
				f.After = list[len(list)-1].Key()
			}
			require.Equal(t, want, got, "%+v", f)
		}
	})

	t.Run("what cannot be stored", func(t *testing.T) {
		s := fresh(t, database)
		for field, change := range map[string]func(*store.Payment){
			"provider": func(p *store.Payment) { p.Provider = "a/b" }, "id": func(p *store.Payment) { p.ID = "" },
			"status": func(p *store.Payment) { p.Status = "" }, "amount": func(p *store.Payment) { p.Amount = -1 },
			"refunded": func(p *store.Payment) { p.Refunded = -1 }, "user": func(p *store.Payment) { p.User = "\x00" },
			"reason": func(p *store.Payment) { p.Reason = "\xff" },
			"at":     func(p *store.Payment) { p.At = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		} {
			p := paid("1")
			change(&p)
			invalid := new(store.InvalidError)
			require.ErrorAs(t, s.PutPayment(t.Context(), p), &invalid, field)
			require.Equal(t, field, invalid.Field)
			_, err := s.Payment(t.Context(), p.Provider, p.ID)
			require.ErrorIs(t, err, store.ErrNotFound, field)
		}
		require.Empty(t, feed(t, s, 0))
	})

	t.Run("racing writers", func(t *testing.T) {
		open := database(t)
		replicas := []Store{migrated(t, open, at(noon)), opened(t, open, at(noon))}
		const payments, writers = 20, 6
		for i := range payments {
			id := fmt.Sprint(i)
			start := make(chan struct{})
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					<-start
					p := paid(id)
					p.Refunded = int64(w)
					assert.NoError(t, replicas[w%2].PutPayment(t.Context(), p))
				})
			}
			close(start)
			wg.Wait()
			var last struct{ Refunded int64 }
			require.NoError(t, json.Unmarshal(audit(t, replicas[0], store.AuditFilter{Limit: 1})[0].Detail, &last))
			require.Equal(t, last.Refunded, payment(t, replicas[0], "stripe", id).Refunded, "what was written last stands")
		}
		require.Len(t, feed(t, replicas[0], 0), payments*writers, "each was another than the one before")
	})
}

func payment(t testing.TB, s Store, provider, id string) store.Payment {
	t.Helper()
	p, err := s.Payment(t.Context(), provider, id)
	require.NoError(t, err)
	return p
}

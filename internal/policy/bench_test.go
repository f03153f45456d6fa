package policy

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkDecide is deciding with the facts in memory, each question a new event, as MistServer asks. DESIGN.md's
// budget: 5 µs, 10 allocations. The user has one entitlement, to a plan; the key is an opaque one unless the name says
// otherwise.
func BenchmarkDecide(b *testing.B) {
	subscribed := has(Entitlement{ID: "e1", Plan: "gold", From: in(-day), Until: in(30 * day), Source: "stripe sub_1"})
	claims := &Credential{Kind: CredentialJWT, User: "ann", Until: in(time.Hour)}
	for _, c := range []struct {
		name    string
		changes []change
	}{
		{"entitled", with(subscribed)},
		{"public", with(access(AccessPublic), nobody)},
		{"claims", with(subscribed, presented(Presented{Claims: claims}))},
		{"denied", with(has(Entitlement{ID: "e1", Plan: "gold", From: in(-30 * day), Until: in(-day)}))},
		// Where a plan without a quota is in force as well, the quota of the other never matters.
		{"metered", with(plan("metered"), used(20*time.Minute), running(in(-time.Minute), in(-time.Second)))},
		{"metered in vain", with(plan("metered"), subscribed, used(20*time.Minute), running(in(-time.Minute), in(-time.Second)))},
	} {
		w := newWorld(c.changes...)
		b.Run(c.name, func(b *testing.B) {
			h := newHouse(w, Options{})
			b.ReportAllocs()
			r := w.request
			for i := range uint64(b.N) {
				h.ask(&r, i)
			}
		})
		b.Run(c.name+"/parallel", func(b *testing.B) {
			h := newHouse(w, Options{})
			var next atomic.Uint64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r := w.request
				for pb.Next() {
					h.ask(&r, next.Add(1))
				}
			})
		})
	}
}

// uuids are made beforehand: with the digest beside them they name as many events as a benchmark asks about.
var uuids = func() (s [4096]string) {
	for i := range s {
		s[i] = fmt.Sprintf("9f8b2c4e-%04x-4a5b-8c6d-1e2f3a4b5c6d", i)
	}
	return s
}()

// ask asks about the n-th event.
func (h *house) ask(r *Request, n uint64) {
	r.Event = eventID(uuids[n%uint64(len(uuids))], n)
	if d, repeated := h.Decide(context.Background(), r); repeated || d.Reason == Unavailable {
		panic("this is not the decision to be measured")
	}
}

// BenchmarkEvaluate is the pure decision alone, with its Until.
func BenchmarkEvaluate(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		w := newWorld()
		for i := range n {
			gold(in(time.Duration(-i-1)*30*day), in(time.Duration(1-i)*30*day))(w)
		}
		b.Run(fmt.Sprintf("entitlements-%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.evaluate()
			}
		})
	}
}

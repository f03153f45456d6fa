package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// Bench measures what decisions and the registry wait for.
func Bench(b *testing.B, database func(testing.TB) Open) {
	s := fresh(b, database)
	users := make([]string, 1000)
	for i := range users {
		users[i] = fmt.Sprint("user", i)
		withUsers(b, s, users[i])
		_, err := s.AddCredential(b.Context(), policy.HashKey(users[i]), policy.Credential{Kind: policy.CredentialKey, User: users[i]}, noon)
		require.NoError(b, err)
		for range 3 {
			_, err := s.AddEntitlement(b.Context(), users[i], policy.Entitlement{Plan: "gold", Until: noon.Add(time.Hour)})
			require.NoError(b, err)
		}
	}
	b.Run("FactsByCredential", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if _, u, err := s.FactsByCredential(b.Context(), policy.HashKey(users[i%len(users)])); err != nil || len(u.Entitlements) != 3 {
				b.Fatal(u, err)
			}
		}
	})
	b.Run("FactsByCredentialParallel", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, _, err := s.FactsByCredential(b.Context(), policy.HashKey(users[i%len(users)])); err != nil {
					b.Error(err)
				}
			}
		})
	})
	for name, l := range map[string]struct {
		limit   int
		onLimit policy.OnLimit
		session func(n int) string
	}{
		"renews":  {2, policy.OnLimitKickOldest, func(n int) string { return fmt.Sprint("r", n%len(users)) }},
		"room":    {1 << 30, policy.OnLimitKickOldest, func(n int) string { return fmt.Sprint("room", n) }},
		"refuses": {1, policy.OnLimitReject, func(n int) string { return fmt.Sprint("x", n) }},
		"kicks":   {1, policy.OnLimitKickOldest, func(n int) string { return fmt.Sprint("k", n) }},
	} {
		b.Run("AcquireLease/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				one := policy.Lease{User: users[i%len(users)], Plan: name, Node: "n", Session: l.session(i), At: noon, Until: noon.Add(time.Minute)}
				if _, _, err := s.AcquireLease(b.Context(), one, l.limit, l.onLimit); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("AddEntitlement", func(b *testing.B) {
		for i := range b.N {
			if _, err := s.AddEntitlement(b.Context(), users[i%len(users)], policy.Entitlement{Plan: "gold", Until: noon}); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, kind := range []string{"new", "again"} {
		b.Run("WriteSessions1000/"+kind, func(b *testing.B) {
			batch := make([]policy.Session, 1000)
			for n := range b.N {
				for i := range batch {
					batch[i] = watching(fmt.Sprintf("%s%d", kind, i))
					if kind == "new" {
						batch[i].ID = fmt.Sprintf("%d-%d-%d", b.N, n, i)
					}
					batch[i].User = users[i]
				}
				if err := s.WriteSessions(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("RenewLeases1000", func(b *testing.B) {
		node := store.NewID("renewed")
		renewed := make([]policy.Place, 1000)
		for i := range renewed {
			renewed[i] = policy.Place{User: users[i], Session: fmt.Sprintf("%064d", i)}
			l := policy.Lease{User: users[i], Plan: "renewed", Node: node, Session: renewed[i].Session, At: noon, Until: noon.Add(time.Minute)}
			_, _, err := s.AcquireLease(b.Context(), l, 1000, policy.OnLimitReject)
			require.NoError(b, err)
		}
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			if lost, err := s.RenewLeases(b.Context(), node, renewed, noon.Add(time.Duration(n)*time.Second)); err != nil || lost != nil {
				b.Fatal(lost, err)
			}
		}
	})
	// What is read at the start: a node's open sessions, and its denied ones of the last ten minutes, among as many that ended.
	b.Run("HeldSessions100k", func(b *testing.B) {
		const many = 100_000
		var batch []policy.Session
		for n := range 2 * many {
			one := watching(fmt.Sprintf("%064d", n))
			one.Node, one.User, one.JWT = "start", users[n%len(users)], nil
			switch {
			case n%2 == 1:
				one.State, one.Ended = policy.SessionEnded, noon
			case n%20 == 0:
				one.State, one.Reason = policy.SessionDenied, policy.PaymentRequired
			case n%4 == 0:
				one.JWT = watching("").JWT
			}
			if batch = append(batch, one); len(batch) == 1000 {
				write(b, s, batch...)
				batch = batch[:0]
			}
		}
		b.ReportAllocs()
		for b.Loop() {
			total := 0
			err := s.HeldSessions(b.Context(), "start", noon.Add(-10*time.Minute), func(policy.Session) error { total++; return nil })
			require.NoError(b, err)
			require.Equal(b, many, total)
		}
	})
}

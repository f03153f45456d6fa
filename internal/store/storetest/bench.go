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
	b.Run("AcquireLease", func(b *testing.B) {
		for i := range b.N {
			l := policy.Lease{User: users[i%len(users)], Plan: "gold", Node: "n", Session: fmt.Sprint(i), At: noon, Until: noon.Add(time.Minute)}
			if _, _, err := s.AcquireLease(b.Context(), l, 2, policy.OnLimitKickOldest); err != nil {
				b.Fatal(err)
			}
		}
	})
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
	b.Run("ReadOpenSessions100k", func(b *testing.B) {
		const many = 100_000
		batch := make([]policy.Session, 1000)
		for n := range many / len(batch) {
			for i := range batch {
				batch[i] = watching(fmt.Sprintf("%06d", n*len(batch)+i))
				batch[i].Node, batch[i].JWT = "start", nil
			}
			write(b, s, batch...)
		}
		for b.Loop() {
			f, total := store.SessionFilter{Node: "start", State: policy.SessionOpen, Limit: store.MaxPage}, 0
			for {
				list, err := s.Sessions(b.Context(), f)
				require.NoError(b, err)
				if total += len(list); len(list) < f.Limit {
					break
				}
				f.After = store.SessionKey{Node: "start", ID: list[len(list)-1].ID}
			}
			require.Equal(b, many, total)
		}
	})
}

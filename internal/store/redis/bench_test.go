package redis

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store/storetest"
)

// A credential and its user, found in Redis, beside the same from PostgreSQL: what a hit saves.
func BenchmarkFacts(b *testing.B) {
	client := opened(b, redisURL(b))
	db := postgresDatabase(b)(b)
	putUser(b, db, "anna", policy.ActiveUser)
	addCredential(b, db, "ak_bench", "anna")
	_, err := db.AddEntitlement(b.Context(), "anna", policy.Entitlement{Plan: "gold", Source: "stripe:sub_1"})
	require.NoError(b, err)
	r := newReplica(b, db, client)
	hash := policy.HashKey("ak_bench")
	r.credential(hash)
	r.answers()
	b.Run("Redis", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := r.FactsByCredential(b.Context(), hash); err != nil {
				b.Fatal(err)
			}
		}
	})
	require.Equal(b, 1, len(r.answers()), "hits only")
	b.Run("PostgreSQL", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := db.FactsByCredential(b.Context(), hash); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("RedisByUser", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.FactsByUser(b.Context(), "anna"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("PostgreSQLByUser", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := db.FactsByUser(b.Context(), "anna"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A place that is taken and given up, and the renewing of ten thousand, over Redis and in PostgreSQL alone: what Redis costs an ask
// and spares the database.
func BenchmarkPlaces(b *testing.B) {
	client := opened(b, redisURL(b))
	places := newPlaces(b, storetest.PostgresSchema(b), client, patience)
	for _, over := range []struct {
		name  string
		store storetest.Store
	}{{"PostgreSQL", places.Store}, {"Redis", places}} {
		b.Run("Acquire/"+over.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				now := time.Now()
				l := policy.Lease{User: strconv.Itoa(i % 1000), Plan: "newest", Node: over.name, Session: strconv.Itoa(i), At: now, Until: now.Add(time.Minute)}
				if granted, _, err := over.store.AcquireLease(b.Context(), l, 2, policy.OnLimitKickOldest); err != nil || !granted {
					b.Fatal(granted, err)
				}
			}
		})
		b.Run("Renew10000/"+over.name, func(b *testing.B) {
			now := time.Now()
			var renewed []policy.Place
			for i := range 10_000 {
				p := policy.Place{User: strconv.Itoa(i % 5000), Session: fmt.Sprintf("%064d", i)}
				l := policy.Lease{User: p.User, Plan: "renewed", Node: over.name, Session: p.Session, At: now, Until: now.Add(time.Hour)}
				_, _, err := over.store.AcquireLease(b.Context(), l, 10, policy.OnLimitReject)
				require.NoError(b, err)
				renewed = append(renewed, p)
			}
			b.ReportAllocs()
			before := busy(b, client)
			b.ResetTimer()
			for n := 0; b.Loop(); n++ {
				if lost, err := over.store.RenewLeases(b.Context(), over.name, renewed, now.Add(time.Hour+time.Duration(n)*time.Second)); err != nil || lost != nil {
					b.Fatal(len(lost), err)
				}
			}
			b.ReportMetric(float64(busy(b, client)-before)/float64(b.N*len(renewed)), "Redis-ns/place")
		})
	}
}

// busy is the CPU time that a Redis has taken.
func busy(b *testing.B, client goredis.UniversalClient) (cpu time.Duration) {
	b.Helper()
	info, err := client.Info(b.Context(), "cpu").Result()
	require.NoError(b, err)
	for _, name := range []string{"used_cpu_sys:", "used_cpu_user:"} {
		_, after, found := strings.Cut(info, name)
		require.True(b, found)
		text, _, _ := strings.Cut(after, "\r")
		is, err := time.ParseDuration(text + "s")
		require.NoError(b, err)
		cpu += is
	}
	return cpu
}

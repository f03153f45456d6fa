package redis

import (
	"testing"

	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
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

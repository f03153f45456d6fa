package cache_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	"authhook/internal/store/cache"
)

// Both the credential and its user in memory.
func BenchmarkHit(b *testing.B) {
	const known = 1000
	c := cache.New(newSource().with(known), cache.Options{FreshFor: 1 << 50})
	defer c.Close()
	hashes := hashesOf(known)
	for _, h := range hashes {
		if _, _, err := c.FactsByCredential(b.Context(), h); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	var from atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		i := int(from.Add(1)) * 7919
		for pb.Next() {
			i++
			if _, _, err := c.FactsByCredential(context.Background(), hashes[i%known]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkHitByUser(b *testing.B) {
	c := cache.New(newSource().with(1), cache.Options{FreshFor: 1 << 50})
	defer c.Close()
	user := userOf(0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.FactsByUser(context.Background(), user); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A cold ask, of a source that answers at once: what the cache itself costs.
func BenchmarkMiss(b *testing.B) {
	c := cache.New(newSource().with(1), cache.Options{})
	defer c.Close()
	hash, user := hashOf(0), userOf(0)
	b.ReportAllocs()
	for b.Loop() {
		c.ChangedUser(user)
		c.ChangedCredential(hash)
		if _, _, err := c.FactsByCredential(b.Context(), hash); err != nil {
			b.Fatal(err)
		}
	}
}

// A change while many entries are kept.
func BenchmarkChangedUser(b *testing.B) {
	const known = 50_000
	c := cache.New(newSource().with(known), cache.Options{})
	defer c.Close()
	for _, h := range hashesOf(known) {
		if _, _, err := c.FactsByCredential(b.Context(), h); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		c.ChangedUser("user-" + strconv.Itoa(i%known))
	}
}

func hashesOf(n int) [][32]byte {
	hashes := make([][32]byte, n)
	for i := range hashes {
		hashes[i] = hashOf(i)
	}
	return hashes
}

package storetest

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// catalog has every field set somewhere, and parts whose order matters.
func catalog() *policy.Catalog {
	c := &policy.Catalog{
		Plans: []policy.Plan{
			{Key: "gold", Rank: 20, MaxConcurrent: 2, OnLimit: policy.OnLimitKickOldest, Grace: policy.Duration(72 * time.Hour),
				QuotaMinutes: 600, Refund: policy.OnEventVoid, Dispute: policy.OnEventHold, Tags: []string{"plan:gold", "b", "a"},
				Bounce: true},
			{Key: "basic"},
			{Key: hostile["quotes"], Tags: []string{hostile["unicode"], hostile["json"]}},
		},
		Streams: []policy.StreamPolicy{
			{Match: "live+*", Access: policy.AccessEntitled, Plans: []string{"gold"}, Tags: []string{"premium"},
				Preview: policy.Duration(time.Minute), PreviewEvery: policy.Duration(12 * time.Hour),
				AllowAddresses: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
				DenyAddresses:  []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, DenyConnectors: []string{"RTMP"},
				Windows: []policy.Window{{From: noon, Until: noon.Add(time.Hour), Access: policy.AccessPublic}},
				Publish: policy.PublishKey, Renditions: map[string]string{"gold": "movie", "basic": "movie_sd"}},
			{Match: "*", Access: policy.AccessClosed},
			{Match: "a", Access: policy.AccessPublic},
		},
		Prices: []policy.Price{
			{Provider: "stripe", Price: "price_gold", Plan: "gold"},
			{Provider: "events", Price: "price_gold", Stream: "live+fight", For: policy.Duration(48 * time.Hour), Amount: 999, Currency: "usd"},
			{Provider: "a", Price: "b", Tag: "sport"},
		},
		JWT: policy.JWT{Keys: []policy.JWTKey{{KID: "1", Alg: "HS256", Secret: "s3cret"}, {Alg: "EdDSA", PublicKey: "-----BEGIN\n"}},
			JWKSURL: "https://example.com/jwks", Issuer: "me", Audience: "you"},
	}
	c.Index()
	return c
}

func testCatalog(t *testing.T, database func(testing.TB) Open) {
	t.Run("comes back as it was", func(t *testing.T) {
		s := fresh(t, database)
		_, err := s.Catalog(t.Context())
		require.ErrorIs(t, err, store.ErrNotFound)
		version, changed, err := s.ApplyCatalog(t.Context(), catalog(), nil)
		require.NoError(t, err)
		require.True(t, changed)
		require.EqualValues(t, 1, version)
		got, err := s.Catalog(t.Context())
		require.NoError(t, err)
		want := catalog()
		want.Version = 1
		require.Equal(t, want, got)
		require.Equal(t, "live+*", got.Stream("live+x").Match, "it is indexed")
		require.Equal(t, []string{"catalog "}, feed(t, s, 0))
	})

	t.Run("the same again", func(t *testing.T) {
		s := fresh(t, database)
		for i := range 3 {
			version, changed, err := s.ApplyCatalog(t.Context(), catalog(), nil)
			require.NoError(t, err)
			require.Equal(t, i == 0, changed)
			require.EqualValues(t, 1, version)
		}
		require.Len(t, feed(t, s, 0), 1)
	})

	t.Run("an empty one", func(t *testing.T) {
		s := fresh(t, database)
		_, changed, err := s.ApplyCatalog(t.Context(), &policy.Catalog{Version: 7}, nil)
		require.NoError(t, err)
		require.True(t, changed, "an empty catalog is not none")
		got, err := s.Catalog(t.Context())
		require.NoError(t, err)
		want := &policy.Catalog{Version: 1}
		want.Index()
		require.Equal(t, want, got)
	})

	t.Run("another replaces it whole", func(t *testing.T) {
		s := fresh(t, database)
		version, _, err := s.ApplyCatalog(t.Context(), catalog(), nil)
		require.NoError(t, err)
		for name, change := range map[string]func(*policy.Catalog){
			"a plan less":        func(c *policy.Catalog) { c.Plans = c.Plans[1:] },
			"another order":      func(c *policy.Catalog) { c.Streams[0], c.Streams[1] = c.Streams[1], c.Streams[0] },
			"one field":          func(c *policy.Catalog) { c.Prices[1].Amount++ },
			"a JWT's settings":   func(c *policy.Catalog) { c.JWT.Issuer = "them" },
			"a price's provider": func(c *policy.Catalog) { c.Prices[0].Provider = "paddle" },
			"nothing but JWT":    func(c *policy.Catalog) { c.Plans, c.Streams, c.Prices = nil, nil, nil },
		} {
			c := catalog()
			change(c)
			c.Index()
			before := last(t, s)
			now, changed, err := s.ApplyCatalog(t.Context(), c, &version)
			require.NoError(t, err, name)
			require.True(t, changed, name)
			require.Equal(t, version+1, now, name)
			version, c.Version = now, now
			got, err := s.Catalog(t.Context())
			require.NoError(t, err, name)
			require.Equal(t, c, got, name)
			require.Equal(t, []string{"catalog "}, feed(t, s, before), name)
		}
	})

	t.Run("what cannot be stored", func(t *testing.T) {
		s := fresh(t, database)
		for name, c := range map[string]*policy.Catalog{
			"two plans of one key":  {Plans: []policy.Plan{{Key: "gold"}, {Key: "gold"}}},
			"a plan without a key":  {Plans: []policy.Plan{{}}},
			"a NUL":                 {Streams: []policy.StreamPolicy{{Match: "a\x00"}}},
			"two prices of one key": {Prices: []policy.Price{{Provider: "p", Price: "x"}, {Provider: "p", Price: "x"}}},
		} {
			_, _, err := s.ApplyCatalog(t.Context(), c, nil)
			invalid := new(store.InvalidError)
			require.ErrorAs(t, err, &invalid, name)
		}
		require.Empty(t, feed(t, s, 0))
		_, err := s.Catalog(t.Context())
		require.ErrorIs(t, err, store.ErrNotFound)
	})

	t.Run("never half of one and half of another", func(t *testing.T) {
		open := database(t)
		s := migrated(t, open, at(noon))
		other := opened(t, open, at(noon))
		numbered := func(n int) *policy.Catalog {
			key := fmt.Sprint(n)
			return &policy.Catalog{Plans: []policy.Plan{{Key: key}}, Streams: []policy.StreamPolicy{{Match: key}},
				Prices: []policy.Price{{Provider: "p", Price: key}}, JWT: policy.JWT{Issuer: key}}
		}
		_, _, err := s.ApplyCatalog(t.Context(), numbered(-1), nil)
		require.NoError(t, err)
		var writers sync.WaitGroup
		for i, w := range []Store{s, other} {
			writers.Go(func() {
				for n := range 40 {
					_, changed, err := w.ApplyCatalog(t.Context(), numbered(2*n+i), nil)
					assert.NoError(t, err)
					assert.True(t, changed)
				}
			})
		}
		done := make(chan struct{})
		go func() { writers.Wait(); close(done) }()
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
			}
			c, err := s.Catalog(t.Context())
			require.NoError(t, err)
			require.Len(t, c.Plans, 1)
			key := c.JWT.Issuer
			require.Equal(t, []string{key, key, key}, []string{c.Plans[0].Key, c.Streams[0].Match, c.Prices[0].Price})
		}
		require.Len(t, feed(t, s, 0), 81)
		c, err := s.Catalog(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 81, c.Version)
	})
}

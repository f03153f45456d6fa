package catalog_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"authhook/internal/catalog"
	"authhook/internal/policy"
)

// What Format writes, and what the API shows as JSON, is read back as an equal catalog, and is right under the schema.
func TestFormatRoundTrip(t *testing.T) {
	schema := compiled(t)
	rapid.Check(t, func(t *rapid.T) {
		c := anyCatalog(t)
		text, err := catalog.Format(c)
		require.NoError(t, err)
		read, err := catalog.Parse("formatted", text)
		require.NoError(t, err, "%s", text)
		require.Equal(t, c, read, "%s", text)

		doc, err := json.Marshal(c)
		require.NoError(t, err)
		read, err = catalog.Parse("json", doc)
		require.NoError(t, err, "%s", doc)
		require.Equal(t, c, read, "%s", doc)

		var v any
		require.NoError(t, json.Unmarshal(doc, &v))
		require.NoError(t, schema.Validate(v), "%s", doc)
	})
}

// A redacted catalog holds no secret, and cannot be installed by mistake.
func TestFormatRedacted(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	c := &policy.Catalog{JWT: policy.JWT{Keys: []policy.JWTKey{{KID: "a", Alg: "HS256", Secret: secret}}}}
	text, err := catalog.Format(c, catalog.Redacted())
	require.NoError(t, err)
	assert.Equal(t, "streams: []\njwt:\n  keys:\n    - kid: a\n      alg: HS256\n      secret: (redacted)\n", string(text))
	assert.Equal(t, secret, c.JWT.Keys[0].Secret, "the catalog itself is untouched")
	_, err = catalog.Parse("c.yaml", text)
	assert.EqualError(t, err, "c.yaml:6: jwt.keys[0].secret: was left out when this catalog was written: "+
		"put the secret back, or name it with secret_env or secret_file")
}

func TestFormatImpossible(t *testing.T) {
	_, err := catalog.Format(&policy.Catalog{Streams: []policy.StreamPolicy{{
		Match: "a", Windows: []policy.Window{{Until: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}},
	}}})
	assert.ErrorContains(t, err, "catalog: ")
}

// anyCatalog is a catalog as Parse makes them, of awkward names.
func anyCatalog(t *rapid.T) *policy.Catalog {
	word := rapid.OneOf(
		rapid.StringMatching(`[a-zA-Z0-9:_.-]{1,8}`),
		rapid.StringMatching(`[!-Z^-~]{1,6}`),
		rapid.SampledFrom([]string{"true", "null", "~", "123", "0x1", "1.5", "-", "#a", "a:", ": ", "yes", "2026-12-24", "<<", "=", "ü", "日本", "'", `"`, "&a", "*a", "!a", "|", ">", "%", "@", "`", "{}", "?", "é", "a#b", "…", "😀"}),
	).Filter(func(s string) bool { return s != ": " })
	phrase := rapid.OneOf(word, rapid.StringMatching(`[!-~][ -~]{0,20}`), rapid.SampledFrom([]string{" a", "a ", "a  b", "a: b", "- a", "a #b"}))
	name := rapid.OneOf(rapid.StringMatching(`[a-z0-9_.-]{1,8}`), rapid.StringMatching(`[a-z0-9_.-]{1,4}\+[!-)+-~ü]([ -)+-~]{0,5}[!-)+-~])?`))
	pattern := rapid.Custom(func(t *rapid.T) string {
		return rapid.OneOf(name, rapid.Just("")).Draw(t, "name") + rapid.SampledFrom([]string{"", "*"}).Draw(t, "star")
	}).Filter(func(s string) bool { return s != "" })
	words := func(of *rapid.Generator[string], label string) []string {
		return none(rapid.SliceOfNDistinct(of, 0, 3, rapid.ID[string]).Draw(t, label))
	}
	duration := func(least int64, label string) policy.Duration {
		return policy.Duration(rapid.OneOf(
			rapid.Int64Range(least, 1000), rapid.Int64Range(least, int64(36500*24*time.Hour)),
			rapid.Map(rapid.Int64Range(1, 1000), func(h int64) int64 { return h * int64(time.Hour) })).Draw(t, label))
	}
	count := rapid.IntRange(0, 1<<31-1)
	isTag := func(s string) bool { return s != "[" && s != "]" }

	c := &policy.Catalog{Plans: []policy.Plan{}, Streams: []policy.StreamPolicy{}, Prices: []policy.Price{}}
	named := func(s string) bool { return s != "." && s != ".." }
	keys := rapid.SliceOfNDistinct(word.Filter(named), 0, 4, rapid.ID[string]).Draw(t, "plans")
	for _, key := range keys {
		c.Plans = append(c.Plans, policy.Plan{
			Key: key, Rank: count.Draw(t, "rank"), MaxConcurrent: count.Draw(t, "max"), QuotaMinutes: count.Draw(t, "quota"),
			OnLimit: rapid.SampledFrom([]policy.OnLimit{"reject", "kick_oldest"}).Draw(t, "on limit"),
			Grace:   duration(0, "grace"),
			Refund:  rapid.SampledFrom([]policy.OnEvent{"void", "keep"}).Draw(t, "refund"),
			Dispute: rapid.SampledFrom([]policy.OnEvent{"hold", "void", "keep"}).Draw(t, "dispute"),
			Cancel:  rapid.SampledFrom([]policy.OnCancel{"period_end", "now"}).Draw(t, "cancel"),
			Tags:    words(word.Filter(isTag), "tags"),
			Bounce:  rapid.Bool().Draw(t, "bounce"),
		})
	}
	accesses := rapid.SampledFrom([]policy.Access{"public", "authenticated", "entitled", "closed"})
	for _, match := range rapid.SliceOfNDistinct(pattern.Filter(named), 0, 4, rapid.ID[string]).Draw(t, "streams") {
		s := policy.StreamPolicy{
			Match: match, Access: accesses.Draw(t, "access"), Tags: words(word.Filter(isTag), "tags"),
			Preview: duration(0, "preview"), PreviewEvery: policy.Duration(24 * time.Hour),
			DenyConnectors: words(word, "connectors"),
			Publish:        rapid.SampledFrom([]policy.Publish{"open", "key", "closed"}).Draw(t, "publish"),
			AllowAddresses: addresses(t), DenyAddresses: addresses(t),
		}
		if rapid.Bool().Draw(t, "every") {
			s.PreviewEvery = duration(1, "every")
		}
		at := time.Date(2026, 1, 1, 0, 0, 0, rapid.IntRange(0, 999_999_999).Draw(t, "ns"), time.UTC)
		for range rapid.IntRange(0, 3).Draw(t, "windows") {
			from := at.Add(time.Duration(rapid.IntRange(0, 1e15).Draw(t, "from")))
			at = from.Add(time.Duration(rapid.IntRange(1, 1e15).Draw(t, "until")))
			s.Windows = append(s.Windows, policy.Window{From: from, Until: at, Access: accesses.Draw(t, "access")})
		}
		if len(keys) > 0 {
			s.Plans = words(rapid.SampledFrom(keys), "plans of")
			for _, key := range words(rapid.SampledFrom(keys), "renditions") {
				if s.Renditions == nil {
					s.Renditions = map[string]string{}
				}
				s.Renditions[key] = name.Draw(t, "rendition")
			}
		}
		c.Streams = append(c.Streams, s)
	}
	for i, s := range c.Streams {
		p := policy.Price{Provider: word.Draw(t, "provider"), Price: fmt.Sprint(i, word.Draw(t, "price")), Stream: s.Match}
		p.Price = p.Price[:1] + "/" + p.Price[1:]
		switch {
		case len(s.Tags) > 0:
			p.Stream, p.Tag = "", s.Tags[0]
		case len(keys) > 0:
			p.Stream, p.Plan = "", keys[0]
		}
		if rapid.Bool().Draw(t, "amount") {
			p.Currency, p.Amount = "usd", rapid.Int64Range(0, 1<<53-1).Draw(t, "cents")
			p.For = duration(1, "for")
		}
		c.Prices = append(c.Prices, p)
	}
	c.JWT = policy.JWT{Issuer: rapid.OneOf(phrase, rapid.Just("")).Draw(t, "issuer"), Audience: phrase.Draw(t, "audience"), JWKSURL: rapid.SampledFrom([]string{"", "https://a/b?c=d#e"}).Draw(t, "url")}
	for _, kid := range words(word, "keys") {
		k := policy.JWTKey{KID: kid, Alg: "HS256", Secret: rapid.StringMatching(`[ -~ü]{32,64}`).Draw(t, "secret")}
		if rapid.Bool().Draw(t, "public") {
			key, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key")))
			if err != nil {
				t.Fatal(err)
			}
			k.Alg, k.Secret = "EdDSA", ""
			k.PublicKey = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: key}))
		}
		c.JWT.Keys = append(c.JWT.Keys, k)
	}
	c.Index()
	return c
}

// none is a list as Parse makes it: nil when there is nothing in it.
func none(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}

func addresses(t *rapid.T) []netip.Prefix {
	var all []netip.Prefix
	for _, b := range rapid.SliceOfNDistinct(rapid.Byte(), 0, 3, rapid.ID[byte]).Draw(t, "addresses") {
		a := netip.AddrFrom4([4]byte{b, b, 1, b})
		if b%2 == 0 {
			a = netip.AddrFrom16([16]byte{0x20, b, 1, 15: b})
		}
		p, _ := a.Prefix(rapid.IntRange(24, 32).Draw(t, "bits"))
		all = append(all, p)
	}
	return all
}

package policy

import (
	"encoding/json"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The codes are what others have in their logs and dashboards: this list is DESIGN.md's, and changes with it only.
var designReasons = []string{
	"public", "authenticated", "entitled", "grace", "preview", "publisher",
	"payload_invalid", "stream_unknown", "stream_closed", "address_denied", "connector_denied", "credential_missing", "credential_unknown",
	"credential_expired", "credential_revoked", "credential_wrong_stream", "credential_wrong_address", "user_unknown", "user_suspended",
	"hold", "payment_required", "entitlement_expired", "entitlement_not_started", "concurrency_limit", "quota_exhausted", "publisher_denied",
	"unavailable",
}

func TestReasons(t *testing.T) {
	var codes []string
	for _, r := range Reasons() {
		codes = append(codes, r.String())
		parsed, ok := ParseReason(r.String())
		assert.True(t, ok)
		assert.Equal(t, r, parsed)
	}
	assert.Equal(t, designReasons, codes)
	for _, code := range []string{"", "Public", "public ", "denied"} {
		r, ok := ParseReason(code)
		assert.False(t, ok, code)
		assert.Zero(t, r)
	}
	named := map[Reason]bool{}
	for _, r := range Reasons() {
		named[r] = true
	}
	for i := range math.MaxUint8 + 1 {
		r := Reason(i)
		assert.Equal(t, named[r], r.String() != "", "reason %d", i)
	}
}

func TestDurationIsReadAsItIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "d"))
		text, err := d.MarshalText()
		require.NoError(t, err)
		var back Duration
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, d, back)
	})
}

func TestDurationInADocument(t *testing.T) {
	p := Plan{Key: "gold", Grace: Duration(72 * time.Hour)}
	text, err := json.Marshal(p)
	require.NoError(t, err)
	assert.JSONEq(t, `{"key":"gold","grace":"72h0m0s"}`, string(text), "what is nothing is left out")
	var back Plan
	require.NoError(t, json.Unmarshal(text, &back))
	assert.Equal(t, p, back)
}

func TestDurationText(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "60s": time.Minute, "72h": 72 * time.Hour, "30d": 30 * day, "1.5d": 36 * time.Hour, "1h30m": 90 * time.Minute, "0d": 0,
		"106751d": 106751 * day,
	} {
		var d Duration
		assert.NoError(t, d.UnmarshalText([]byte(text)), text)
		assert.Equal(t, Duration(want), d, text)
	}
	for _, text := range []string{"", "d", "5", "1w", "30 d", "-1s", "-1d", "-0.5d", "nand", "infd", "+infd", "-infd", "1e300d", "106752d", "1e9d",
		"10000000h", "ever"} {
		d := Duration(7)
		assert.Error(t, d.UnmarshalText([]byte(text)), text)
		assert.Equal(t, Duration(7), d, "%q leaves what was there", text)
	}
}

func TestCatalogFindsThePolicyOfAStream(t *testing.T) {
	// The order in the file does not matter.
	for _, matches := range [][]string{{"live+a", "live+*", "live*", "*", "live+news*"}, {"live+news*", "*", "live*", "live+*", "live+a"}} {
		c := &Catalog{}
		for _, m := range matches {
			c.Streams = append(c.Streams, StreamPolicy{Match: m})
		}
		c.Index()
		for stream, want := range map[string]string{
			"live+a": "live+a", "live+ab": "live+*", "live+": "live+*", "live": "live*", "livestock": "live*", "live+news": "live+news*",
			"live+newsroom": "live+news*", "vod": "*", "": "*", "a+live+a": "*", "LIVE+a": "*",
		} {
			s := c.Stream(stream)
			require.NotNil(t, s, stream)
			assert.Equal(t, want, s.Match, stream)
		}
	}
	c := &Catalog{Streams: []StreamPolicy{{Match: "a*b"}, {Match: "vod"}}}
	c.Index()
	assert.Nil(t, c.Stream("axb"), "a * stands at the end only")
	assert.NotNil(t, c.Stream("a*b"))
	assert.Nil(t, c.Stream("vod2"))
	assert.Nil(t, c.Stream("vo"))
	assert.Nil(t, c.Stream(""))
}

func TestCatalogIndex(t *testing.T) {
	c := &Catalog{Plans: []Plan{{Key: "gold", Rank: 2}}, Streams: []StreamPolicy{{Match: "*"}, {Match: "vod"}}}
	assert.Nil(t, c.Stream("vod"), "without an index nothing is found, so nothing is allowed")
	assert.Nil(t, c.Plan("gold"))
	for range 2 { // again after a change, as after the first time
		c.Index()
		assert.Same(t, &c.Plans[0], c.Plan("gold"))
		assert.Nil(t, c.Plan("silver"))
		assert.Nil(t, c.Plan(""))
		assert.Same(t, &c.Streams[1], c.Stream("vod"))
		assert.Same(t, &c.Streams[0], c.Stream("live"))
		assert.Len(t, c.prefixes, 1)
	}
	c.Streams = c.Streams[:1]
	c.Index()
	assert.Same(t, &c.Streams[0], c.Stream("vod"), "what is gone is found no more")
}

func TestCatalogFindsPrices(t *testing.T) {
	c := &Catalog{Prices: []Price{
		{Provider: "stripe", Price: "month", Plan: "gold"},
		{Provider: "stripe", Price: "fight", Stream: "live+a"},
		{Provider: "stripe", Price: "year", Plan: "gold"},
		{Provider: "paddle", Price: "month", Plan: "gold"},
		{Provider: "stripe", Price: "all", Stream: "live+*"},
		{Provider: "stripe", Price: "sport", Tag: "gold"},
	}}
	assert.Nil(t, c.Price("stripe", "month"), "without an index nothing is found, so nothing is sold")
	assert.Empty(t, c.PricesOf("stripe", "gold", "", ""))
	for range 2 { // again after a change, as after the first time
		c.Index()
		for i := range c.Prices {
			assert.Same(t, &c.Prices[i], c.Price(c.Prices[i].Provider, c.Prices[i].Price))
		}
		for _, name := range [][2]string{{"paddle", "fight"}, {"stripe", "Month"}, {"stripe", ""}, {"", "month"}, {"stripem", "onth"}, {"", ""}} {
			assert.Nil(t, c.Price(name[0], name[1]), name)
		}
		for _, tt := range []struct {
			provider, plan, stream, tag string
			want                        []*Price
		}{
			{"stripe", "gold", "", "", []*Price{&c.Prices[0], &c.Prices[2]}},
			{"paddle", "gold", "", "", []*Price{&c.Prices[3]}},
			{"stripe", "", "live+a", "", []*Price{&c.Prices[1]}},
			{"stripe", "", "live+*", "", []*Price{&c.Prices[4]}},
			{"stripe", "", "", "gold", []*Price{&c.Prices[5]}},
			{"stripe", "", "gold", "", nil},   // a plan is no stream
			{"stripe", "", "live+b", "", nil}, // though the price of live+* is for it too
			{"stripe", "gold", "live+a", "", nil},
			{"stripe", "silver", "", "", nil},
			{"events", "gold", "", "", nil},
			{"stripe", "", "", "", nil},
		} {
			assert.Equal(t, tt.want, c.PricesOf(tt.provider, tt.plan, tt.stream, tt.tag), "%+v", tt)
		}
	}
	c.Prices = c.Prices[3:]
	c.Index()
	assert.Nil(t, c.Price("stripe", "fight"), "what is gone is found no more")
	assert.Empty(t, c.PricesOf("stripe", "gold", "", ""))
}

func TestMatchStreamIsAsTheOracleSays(t *testing.T) {
	letters := rapid.StringOfN(rapid.SampledFrom([]rune("ab+*")), 0, 4, -1)
	rapid.Check(t, func(t *rapid.T) {
		pattern, stream := letters.Draw(t, "pattern"), letters.Draw(t, "stream")
		require.Equal(t, covers(pattern, stream), MatchStream(pattern, stream))
	})
}

func TestHashes(t *testing.T) {
	assert.Equal(t, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", HashKey("abc").String())
	a := netip.MustParseAddr
	assert.Equal(t, HashAddress(a("192.0.2.7")), HashAddress(a("::ffff:192.0.2.7")))
	assert.Equal(t, HashAddress(a("fe80::1")), HashAddress(a("fe80::1%eth0")))
	assert.NotEqual(t, HashAddress(a("192.0.2.7")), HashAddress(a("192.0.2.8")))
	assert.NotEqual(t, HashAddress(a("::c000:207")), HashAddress(a("192.0.2.7")))
}

func TestPresentedNone(t *testing.T) {
	assert.True(t, (&Presented{}).None())
	for _, p := range []Presented{{Key: HashKey("")}, {JWT: "a.b.c"}, {Claims: &Credential{}}, {Unrecognised: true}} {
		assert.False(t, p.None(), "%+v", p)
	}
}

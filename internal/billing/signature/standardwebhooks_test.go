package signature_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"authhook/internal/billing/signature"
	"authhook/internal/billing/signature/sign"
)

const standardSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func headers(prefix, id, timestamp, signatures string) http.Header {
	h := http.Header{}
	h.Set(prefix+"-id", id)
	h.Set(prefix+"-timestamp", timestamp)
	h.Set(prefix+"-signature", signatures)
	return h
}

// The vector that the specification's own libraries are tested with.
func TestStandardWebhooksVector(t *testing.T) {
	const signed = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	body := []byte(`{"test": 2432232314}`)
	s, err := signature.ParseStandardSecrets(standardSecret, false)
	require.NoError(t, err)
	then := time.Unix(1614265330, 0)

	id, at, err := signature.StandardWebhooks(headers("webhook", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", signed), body, s, then)
	require.NoError(t, err)
	assert.Equal(t, "msg_p5jXN8AQM9LWM0D4loKWxJek", id)
	assert.Equal(t, then.UTC(), at)

	id, at, err = signature.StandardWebhooks(headers("svix", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", signed), body, s, then)
	require.NoError(t, err)
	assert.Equal(t, "msg_p5jXN8AQM9LWM0D4loKWxJek", id)
	assert.Equal(t, then.UTC(), at)

	h := http.Header{}
	key, err := sign.StandardKey(standardSecret)
	require.NoError(t, err)
	sign.StandardWebhooks(h, "msg_p5jXN8AQM9LWM0D4loKWxJek", body, then, key)
	assert.Equal(t, signed, h.Get("webhook-signature"))

	id, at, err = signature.StandardWebhooks(h, []byte(`{"test": 2432232315}`), s, then)
	require.ErrorIs(t, err, signature.ErrSignature)
	assert.Empty(t, id, "nothing that is not verified is returned")
	assert.Zero(t, at)
}

// The two names of a header are never mixed; where both are complete, Standard Webhooks' own count.
func TestStandardWebhooksNames(t *testing.T) {
	s, err := signature.ParseStandardSecrets(standardSecret, false)
	require.NoError(t, err)
	key, err := sign.StandardKey(standardSecret)
	require.NoError(t, err)
	right := http.Header{}
	sign.StandardWebhooks(right, "msg_1", nil, at, key)
	parts := []string{"Id", "Timestamp", "Signature"}
	for named := range 8 { // which of the three have Svix's name
		h := http.Header{}
		for i, part := range parts {
			prefix := "Webhook-"
			if named>>i&1 == 1 {
				prefix = "Svix-"
			}
			h.Set(prefix+part, right.Get("Webhook-"+part))
		}
		_, _, err := signature.StandardWebhooks(h, nil, s, now)
		if named == 0 || named == 7 {
			assert.NoError(t, err, h)
		} else {
			assert.ErrorIs(t, err, signature.ErrSignature, h)
		}
	}
	for _, part := range parts { // and one of the others beside all three of Svix's
		h := http.Header{}
		for _, part := range parts {
			h.Set("Svix-"+part, right.Get("Webhook-"+part))
		}
		_, _, err := signature.StandardWebhooks(h, nil, s, now)
		require.NoError(t, err)
		h.Set("Webhook-"+part, right.Get("Webhook-"+part))
		_, _, err = signature.StandardWebhooks(h, nil, s, now)
		assert.ErrorIs(t, err, signature.ErrSignature, h)
	}
	both := right.Clone()
	for _, part := range parts {
		both.Set("Svix-"+part, "other")
	}
	id, _, err := signature.StandardWebhooks(both, nil, s, now)
	require.NoError(t, err)
	assert.Equal(t, "msg_1", id)

	for _, part := range parts {
		both.Set("Svix-"+part, right.Get("Webhook-"+part))
		both.Set("Webhook-"+part, "other")
	}
	_, _, err = signature.StandardWebhooks(both, nil, s, now)
	assert.ErrorIs(t, err, signature.ErrSignature)
}

// An id that could be read in two ways, or stored in none, is refused although it is signed.
func TestStandardWebhooksIDs(t *testing.T) {
	s, err := signature.ParseStandardSecrets(standardSecret, false)
	require.NoError(t, err)
	key, err := sign.StandardKey(standardSecret)
	require.NoError(t, err)
	for id, good := range map[string]bool{
		"a": true, "msg_p5jXN8AQM9LWM0D4loKWxJek": true, "2d1a5a2e-8f6f-4a9f-9d3c-1f9b0f1c2d3e": true, "~!/:,;=": true,
		strings.Repeat("a", 256): true,
		"":                       false, strings.Repeat("a", 257): false, strings.Repeat("a", 1<<20): false, ".": false, "a.b": false, "msg_1.": false,
		".1": false, "a b": false, " a": false, "a\x00": false, "a\n": false, "a\x7f": false, "é": false, "\xff": false,
	} {
		h := http.Header{}
		sign.StandardWebhooks(h, id, nil, at, key)
		got, _, err := signature.StandardWebhooks(h, nil, s, now)
		if good {
			assert.NoError(t, err, "%.80q", id)
			assert.Equal(t, id, got)
		} else {
			assert.ErrorIs(t, err, signature.ErrSignature, "%.80q", id)
		}
	}

	// The same signed bytes, with the boundary moved: an event cannot be had under a second id, nor at a second time.
	stamp := digitsOf(at, time.Second)
	h := http.Header{}
	sign.StandardWebhooks(h, "a", []byte(stamp+".b"), at, key)
	signed := h.Get("webhook-signature")
	_, _, err = signature.StandardWebhooks(h, []byte(stamp+".b"), s, now)
	require.NoError(t, err)
	_, _, err = signature.StandardWebhooks(headers("webhook", "a."+stamp, stamp, signed), []byte("b"), s, now)
	assert.ErrorIs(t, err, signature.ErrSignature)
}

func TestStandardWebhooksLists(t *testing.T) {
	s, err := signature.ParseStandardSecrets(standardSecret, false)
	require.NoError(t, err)
	h := http.Header{}
	key, err := sign.StandardKey(standardSecret)
	require.NoError(t, err)
	sign.StandardWebhooks(h, "msg_1", nil, at, key)
	right := h.Get("webhook-signature")
	code := strings.TrimPrefix(right, "v1,")
	for list, good := range map[string]bool{
		right:                      true,
		right + " " + right:        true,
		"v1a,abc= v2,abc " + right: true,
		right + " v1,AAAA":         true,
		"v1, v1,, v1 " + right:     true,
		"  " + right + "  ":        true,
		strings.Repeat("v2,"+code+" ", 60) + right: true, // versions not known do not count as signatures
		code:                                 false,
		"v1=" + code:                         false,
		"V1," + code:                         false,
		"v2," + code:                         false,
		"v1a," + code:                        false,
		"v1," + code + ",x":                  false,
		"v1," + code + "," + code:            false,
		"v1,x," + code:                       false,
		"v1 ," + code:                        false,
		right + "\t" + right:                 false,
		"v1," + strings.TrimRight(code, "="): false,
		"v1," + code + "=":                   false,
		"v1,\n" + code:                       false,
		"v1," + code[:20] + "\n" + code[20:]: false,
		"v1,":                                false,
		",":                                  false,
		" ":                                  false,
	} {
		h := headers("webhook", "msg_1", digitsOf(at, time.Second), list)
		_, _, err := signature.StandardWebhooks(h, nil, s, now)
		if good {
			assert.NoError(t, err, "%.120q", list)
		} else {
			assert.ErrorIs(t, err, signature.ErrSignature, "%.120q", list)
		}
	}
}

// What the specification's own library signs is good here, and what is signed here is good there.
func TestStandardWebhooksLibrarySigns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rapid.SyncTest(t, func(t *rapid.T) {
			secret := rapid.SampledFrom(keys).Draw(t, "secret")
			id := rapid.StringMatching(`[!-\-/-~]{1,256}`).Draw(t, "id")
			body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
			offset := time.Duration(rapid.IntRange(-310, 310).Draw(t, "offset")) * time.Second
			now := time.Now() // stands still
			signed := now.Add(offset)
			library := newLibrary(t, secret)
			s, err := signature.ParseStandardSecrets(secret, false)
			require.NoError(t, err)

			text, err := library.Sign(id, signed, body)
			require.NoError(t, err)
			h := headers("webhook", id, strconv.FormatInt(signed.Unix(), 10), text)
			got, at, err := signature.StandardWebhooks(h, body, s, now)
			if offset.Abs() <= signature.Tolerance {
				require.NoError(t, err)
				require.Equal(t, id, got)
				require.True(t, signed.Equal(at))
			} else {
				require.ErrorIs(t, err, signature.ErrSignature)
			}

			h = http.Header{}
			key, err := sign.StandardKey(secret)
			require.NoError(t, err)
			sign.StandardWebhooks(h, id, body, signed, key)
			require.Equal(t, err == nil && offset.Abs() <= signature.Tolerance, library.Verify(body, h) == nil)
		})
	})
}

// newLibrary takes a padded key only.
func newLibrary(t require.TestingT, secret string) *standardwebhooks.Webhook {
	key, err := sign.StandardKey(secret)
	require.NoError(t, err)
	library, err := standardwebhooks.NewWebhookRaw(key)
	require.NoError(t, err)
	return library
}

// Whatever is done to a request, it is good here only if it is to the specification's own library; and what is good there
// and not here is one of the few things that are refused on purpose.
func TestStandardWebhooksLibraryRefuses(t *testing.T) {
	s, err := signature.ParseStandardSecrets(standardSecret, false)
	require.NoError(t, err)
	library := newLibrary(t, standardSecret)
	rapid.Check(t, func(t *rapid.T) {
		rapid.SyncTest(t, func(t *rapid.T) {
			now := time.Now()
			signed := now.Add(time.Duration(rapid.SampledFrom([]int{-301, -300, -1, 0, 300, 301}).Draw(t, "offset")) * time.Second)
			fields := []string{"msg_1", strconv.FormatInt(signed.Unix(), 10), "", "{}"}
			fields[2], err = library.Sign(fields[0], signed, []byte(fields[3]))
			require.NoError(t, err)
			right := fields[2]
			for range rapid.IntRange(0, 2).Draw(t, "changes") {
				i := rapid.IntRange(0, 3).Draw(t, "field")
				fields[i] = mutated(t, fields[i])
			}
			h := headers("webhook", fields[0], fields[1], fields[2])
			theirs := library.Verify([]byte(fields[3]), h) == nil
			_, _, err := signature.StandardWebhooks(h, []byte(fields[3]), s, now)
			if err == nil {
				require.True(t, theirs, "%q is good here alone", fields)
			} else if theirs {
				onPurpose := strings.Contains(fields[0], ".") || // an id with a dot
					fields[1] != strconv.FormatInt(signed.Unix(), 10) || // another way to write the time
					strings.Contains(fields[2], right+",") // more after the signature
				require.True(t, onPurpose, "%q is good there alone", fields)
			}
		})
	})
}

// mutated is a text with one thing changed.
func mutated(t *rapid.T, s string) string {
	i := rapid.IntRange(0, len(s)).Draw(t, "where")
	switch piece := rapid.SampledFrom([]string{"", "0", "+", "-", " ", ",", ".", "=", "v1,", "\x00", "\n", "A", "٠"}).Draw(t, "piece"); {
	case rapid.Bool().Draw(t, "flip") && i < len(s):
		b := []byte(s)
		b[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		return string(b)
	case piece == "" && i < len(s):
		return s[:i] + s[i+1:]
	default:
		return s[:i] + piece + s[i:]
	}
}

// The table of what the library refuses.
func TestStandardWebhooksLibraryRefusesTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := signature.ParseStandardSecrets(standardSecret, false)
		require.NoError(t, err)
		library := newLibrary(t, standardSecret)
		now := time.Now()
		stamp := strconv.FormatInt(now.Unix(), 10)
		right, err := library.Sign("msg_1", now, []byte("{}"))
		require.NoError(t, err)
		old, err := library.Sign("msg_1", now.Add(-301*time.Second), []byte("{}"))
		require.NoError(t, err)
		early, err := library.Sign("msg_1", now.Add(301*time.Second), []byte("{}"))
		require.NoError(t, err)
		for name, h := range map[string]http.Header{
			"no id":           headers("webhook", "", stamp, right),
			"no time":         headers("webhook", "msg_1", "", right),
			"no signature":    headers("webhook", "msg_1", stamp, ""),
			"another id":      headers("webhook", "msg_2", stamp, right),
			"no number":       headers("webhook", "msg_1", "yesterday", right),
			"old":             headers("webhook", "msg_1", strconv.FormatInt(now.Unix()-301, 10), old),
			"early":           headers("webhook", "msg_1", strconv.FormatInt(now.Unix()+301, 10), early),
			"another time":    headers("webhook", "msg_1", strconv.FormatInt(now.Unix()+1, 10), right),
			"another version": headers("webhook", "msg_1", stamp, "v2"+right[2:]),
			"no version":      headers("webhook", "msg_1", stamp, right[3:]),
			"shorter":         headers("webhook", "msg_1", stamp, right[:len(right)-1]),
		} {
			require.Error(t, library.Verify([]byte("{}"), h), name)
			_, _, err := signature.StandardWebhooks(h, []byte("{}"), s, now)
			assert.ErrorIs(t, err, signature.ErrSignature, name)
		}
		h := headers("webhook", "msg_1", stamp, right)
		require.NoError(t, library.Verify([]byte("{}"), h))
		_, _, err = signature.StandardWebhooks(h, []byte("{}"), s, now)
		require.NoError(t, err)
	})
}

// The id and the time that are read again later are those that were verified.
func TestStandardIDAndTime(t *testing.T) {
	s, err := signature.ParseStandardSecrets(standardSecret, false)
	require.NoError(t, err)
	key, err := sign.StandardKey(standardSecret)
	require.NoError(t, err)
	h := http.Header{}
	sign.StandardWebhooks(h, "msg_1", []byte("{}"), at, key)
	svix := http.Header{}
	for name, values := range h {
		svix[strings.Replace(name, "Webhook-", "Svix-", 1)] = values
	}
	both := h.Clone()
	both.Set("svix-id", "msg_2")
	both.Set("svix-timestamp", "1600000000")
	for _, h := range []http.Header{h, svix, both} {
		id, signed, err := signature.StandardWebhooks(h, []byte("{}"), s, now)
		require.NoError(t, err)
		again, err := signature.StandardID(h)
		require.NoError(t, err)
		assert.Equal(t, id, again)
		assert.Equal(t, signed, signature.StandardTime(h))
	}
	for _, h := range []http.Header{
		nil, {"Webhook-Id": {""}}, {"Webhook-Id": {"a", "b"}}, {"Webhook-Id": {"a.b"}}, {"Webhook-Id": {"a b"}}, {"Webhook-Timestamp": {"1"}, "Svix-Id": {"a"}},
	} {
		_, err := signature.StandardID(h)
		assert.ErrorContains(t, err, "webhook-id", h)
	}
	for _, h := range []http.Header{
		nil, {"Webhook-Timestamp": {""}}, {"Webhook-Timestamp": {"1", "1"}}, {"Webhook-Timestamp": {"x"}}, {"Webhook-Id": {"a"}, "Svix-Timestamp": {"1"}},
	} {
		assert.Zero(t, signature.StandardTime(h), h)
	}
}

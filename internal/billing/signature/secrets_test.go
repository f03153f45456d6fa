package signature_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing/signature"
	"authhook/internal/billing/signature/sign"
)

func parseStandard(list string) (signature.Secrets, error) {
	return signature.ParseStandardSecrets(list, false)
}

func parseWhole(list string) (signature.Secrets, error) {
	return signature.ParseStandardSecrets(list, true)
}

const (
	isEmpty   = "is empty: take the provider's, or make one with openssl rand -hex 32"
	isShort   = "is a key of less than 16 bytes: take the provider's, or make one with openssl rand -hex 32"
	isOne     = "is one byte over and over: take the provider's, or make one with openssl rand -hex 32"
	isLong    = "is longer than 4096 bytes: take the provider's, or make one with openssl rand -hex 32"
	isBroken  = "holds a line break, or bytes that are no text: write it again by hand"
	isBare    = "does not begin with whsec_: copy it whole, or say that the whole text is the key"
	isNoCode  = "is not base64 after whsec_: copy it whole, or say that the whole text is the key"
	isNoLogin = "is no login: write user:password"
	isWeak    = "has a password of less than 16 bytes: make one with openssl rand -hex 32"
	areMany   = "there are more than 8 secrets: remove those that are not in use any more"
)

func TestSecretsWithFaults(t *testing.T) {
	const good, key, login = "0123456789abcdef", "whsec_AAECAwQFBgcICQoLDA0ODw==", "a:0123456789abcdef"
	for _, c := range []struct {
		parse     func(string) (signature.Secrets, error)
		list, err string
	}{
		{signature.ParseSecrets, "", "the first secret " + isEmpty},
		{signature.ParseSecrets, " \t\r\n", "the first secret " + isEmpty},
		{signature.ParseSecrets, ",", "the first secret " + isEmpty},
		{signature.ParseSecrets, good + ",", "the second secret " + isEmpty},
		{signature.ParseSecrets, "," + good, "the first secret " + isEmpty},
		{signature.ParseSecrets, good + ", ," + good, "the second secret " + isEmpty},
		{signature.ParseSecrets, good[1:], "the first secret " + isShort},
		{signature.ParseSecrets, good + "," + good + "," + good[1:], "the third secret " + isShort},
		{signature.ParseSecrets, "  " + good[1:] + "  ", "the first secret " + isShort},
		{signature.ParseSecrets, strings.Repeat("a", 4097), "the first secret " + isLong},
		{signature.ParseSecrets, good + "\n" + good, "the first secret " + isBroken},
		{signature.ParseSecrets, good + "\x00", "the first secret " + isBroken},
		{signature.ParseSecrets, good + "\xff", "the first secret " + isBroken},
		{signature.ParseSecrets, good + "\u200b", "the first secret " + isBroken},
		{signature.ParseSecrets, strings.Repeat(good+",", 8) + good, areMany},
		{signature.ParseSecrets, strings.Repeat(",", 1_000_000), areMany},
		{parseStandard, "", "the first secret " + isEmpty},
		{parseStandard, good, "the first secret " + isBare},
		{parseStandard, "WHSEC_" + key[6:], "the first secret " + isBare},
		{parseStandard, key[6:], "the first secret " + isBare},
		{parseStandard, key + "," + key[6:], "the second secret " + isBare},
		{signature.ParseSecrets, strings.Repeat("0", 16), "the first secret " + isOne},
		{signature.ParseSecrets, good + "," + strings.Repeat("*", 4096), "the second secret " + isOne},
		{parseStandard, "whsec_AAAAAAAAAAAAAAAAAAAAAA==", "the first secret " + isOne}, // to an HMAC, the empty key
		{parseStandard, "whsec_" + strings.Repeat("A", 44), "the first secret " + isOne},
		{parseStandard, "whsec_", "the first secret " + isShort},
		{parseStandard, "whsec_AAECAwQFBgcICQoLDA0O", "the first secret " + isShort}, // 15 bytes
		{parseStandard, "whsec_AAECAwQFBgcICQoLDA0ODw=", "the first secret " + isNoCode},
		{parseStandard, "whsec_AAECAwQFBgcICQoLDA0ODw===", "the first secret " + isNoCode},
		{parseStandard, "whsec_AAECAwQFBgcICQoLDA0O_w==", "the first secret " + isNoCode},
		{parseStandard, "whsec_AAECAwQFBgcI CQoLDA0ODw==", "the first secret " + isNoCode},
		{parseStandard, "whsec_AAECAwQFBgcI\nCQoLDA0ODw==", "the first secret " + isBroken},
		{parseStandard, "whsec_" + key, "the first secret " + isNoCode},
		{parseWhole, "", "the first secret " + isEmpty},
		{parseWhole, "whsec_123456789", "the first secret " + isShort},
		{signature.ParseLogins, "", "the first secret " + isEmpty},
		{signature.ParseLogins, good, "the first secret " + isNoLogin},
		{signature.ParseLogins, ":" + good, "the first secret " + isNoLogin},
		{signature.ParseLogins, "administrator:" + good[1:], "the first secret " + isWeak},
		{signature.ParseLogins, login + ",a:", "the second secret " + isWeak},
	} {
		s, err := c.parse(c.list)
		assert.EqualError(t, err, c.err, "%.80q", c.list)
		assert.Equal(t, signature.Secrets{}, s, "%.80q", c.list)
	}
}

// What stands around a secret is no part of it, and what stands in it is.
func TestSecretsInOrder(t *testing.T) {
	for list, keys := range map[string][]string{
		"0123456789abcdef":                                              {"0123456789abcdef"},
		" 0123456789abcdef , \tfedcba9876543210\r\n":                    {"0123456789abcdef", "fedcba9876543210"},
		"0123456789abcdef,0123456789abcdef":                             {"0123456789abcdef"},
		"Bearer 0123456789 abcdef":                                      {"Bearer 0123456789 abcdef"},
		"Schlüssel für Überall":                                         {"Schlüssel für Überall"},
		"====================?":                                         {"====================?"},
		strings.Repeat("ab", 2048):                                      {strings.Repeat("ab", 2048)},
		strings.TrimSuffix(strings.Repeat("0123456789abcdef,", 8), ","): {"0123456789abcdef"},
	} {
		s, err := signature.ParseSecrets(list)
		require.NoError(t, err, "%.80q", list)
		for _, key := range keys {
			h := http.Header{}
			sign.Stripe(h, nil, at, key)
			assert.NoError(t, signature.Stripe(h, nil, s, now), "%.80q", list)
		}
	}
}

// A key is what the base64 stands for, padded or not; or the text, where that is said.
func TestStandardKeys(t *testing.T) {
	key := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	const secret = "whsec_AAECAwQFBgcICQoLDA0ODw"
	good := func(key []byte, s signature.Secrets) bool {
		h := http.Header{}
		sign.StandardWebhooks(h, "a", nil, at, key)
		_, _, err := signature.StandardWebhooks(h, nil, s, now)
		return err == nil
	}
	for _, text := range []string{secret, secret + "==", " " + secret + " "} {
		s, err := signature.ParseStandardSecrets(text, false)
		require.NoError(t, err)
		assert.True(t, good(key, s), "%q", text)
		assert.False(t, good([]byte(strings.TrimSpace(text)), s), "%q", text)

		s, err = signature.ParseStandardSecrets(text, true)
		require.NoError(t, err)
		assert.False(t, good(key, s), "%q as a whole", text)
		assert.True(t, good([]byte(strings.TrimSpace(text)), s), "%q as a whole", text)
	}
	s, err := signature.ParseStandardSecrets("polar_whs_0123456789abcdef", true)
	require.NoError(t, err)
	assert.True(t, good([]byte("polar_whs_0123456789abcdef"), s))
}

// However they are printed, alone or within something, the secrets are not.
func TestSecretsAreNotPrinted(t *testing.T) {
	const secret = "0123456789abcdef"
	s, err := signature.ParseSecrets(secret)
	require.NoError(t, err)
	type inner struct{ s, S signature.Secrets }
	values := []any{s, &s, inner{s, s}, &inner{s, s}, []signature.Secrets{s}, map[string]signature.Secrets{"a": s}, []inner{{s, s}}}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "% x", "%T", "%p"} {
			isNotIn(t, secret, fmt.Sprintf(verb, v))
		}
		b, err := json.Marshal(v)
		require.NoError(t, err)
		isNotIn(t, secret, string(b))
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		isNotIn(t, secret, log.String())
	}
}

func isNotIn(t *testing.T, secret, printed string) {
	t.Helper()
	assert.NotContains(t, printed, secret)
	assert.NotContains(t, strings.ToLower(printed), fmt.Sprintf("%x", secret))
	assert.NotContains(t, printed, "48 49 50 51") // the bytes as numbers
	assert.NotContains(t, printed, "0x30, 0x31")
}

package signature_test

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing/signature"
)

var bodies = map[string][]byte{
	"nothing": nil,
	"json":    []byte(`{"id":"evt_test"}`),
	"binary":  []byte("\x00\xff.:\r\n{"),
	"large":   []byte(strings.Repeat("0123456789", 100_000)),
}

func TestSignedIsGood(t *testing.T) {
	each(t, func(t *testing.T, s scheme) {
		for name, body := range bodies {
			assert.NoError(t, s.verify(s.signed(body, at, s.secrets[0]), body, s.known(t, s.secrets[0]), now), name)
		}
	})
}

func TestUnsignedIsNot(t *testing.T) {
	body := bodies["json"]
	each(t, func(t *testing.T, s scheme) {
		known := s.known(t, s.secrets[0])
		assert.ErrorIs(t, s.verify(http.Header{}, body, known, now), signature.ErrSignature, "no headers")
		assert.ErrorIs(t, s.verify(nil, body, known, now), signature.ErrSignature, "nil headers")
		assert.ErrorIs(t, s.verify(s.signed(body, at, s.secrets[1]), body, known, now), signature.ErrSignature, "another's secret")
		assert.ErrorIs(t, s.verify(s.signed(body, at, s.secrets[0]), body, signature.Secrets{}, now), signature.ErrSignature, "no secrets")
		empty := ""
		if s.name == "standard webhooks" {
			empty = "whsec_"
		}
		assert.ErrorIs(t, s.verify(s.signed(body, at, empty), body, signature.Secrets{}, now), signature.ErrSignature, "the empty secret")
		if !s.unsigned {
			assert.ErrorIs(t, s.verify(s.signed(body, at), body, known, now), signature.ErrSignature, "no signature")
			assert.ErrorIs(t, s.verify(s.signed(body, at, s.secrets[0]), nil, known, now), signature.ErrSignature, "no body")
		}
		for _, name := range s.headers {
			h := s.signed(body, at, s.secrets[0])
			h.Del(name)
			assert.ErrorIs(t, s.verify(h, body, known, now), signature.ErrSignature, "without %s", name)
			h.Set(name, "")
			assert.ErrorIs(t, s.verify(h, body, known, now), signature.ErrSignature, "%s is empty", name)
		}
	})
}

// Every secret that is known is as good as the others, whoever of both sides changes it first, and in whatever order.
func TestSecretsChange(t *testing.T) {
	body := bodies["json"]
	each(t, func(t *testing.T, s scheme) {
		for theirs := 1; theirs < 8; theirs++ {
			for ours := 1; ours < 8; ours++ {
				signing, verifying := some(s.secrets, theirs), some(s.secrets, ours)
				good := theirs&ours != 0
				if s.unsigned { // one alone is sent
					signing = signing[:1]
					good = theirs&-theirs&ours != 0
				}
				err := s.verify(s.signed(body, at, signing...), body, s.known(t, verifying...), now)
				if good {
					assert.NoError(t, err, "signed with %03b, verified with %03b", theirs, ours)
				} else {
					assert.ErrorIs(t, err, signature.ErrSignature, "signed with %03b, verified with %03b", theirs, ours)
				}
			}
		}
	})
}

// some are the members whose bits are set.
func some(list []string, bits int) (chosen []string) {
	for i, s := range list {
		if bits>>i&1 == 1 {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

func TestTime(t *testing.T) {
	body := bodies["json"]
	each(t, func(t *testing.T, s scheme) {
		known := s.known(t, s.secrets[0])
		h := s.signed(body, at, s.secrets[0])
		for _, c := range []struct {
			now  time.Time
			near bool
		}{
			{at, true},
			{at.Add(signature.Tolerance), true},
			{at.Add(signature.Tolerance + 1), false},
			{at.Add(-signature.Tolerance), true},
			{at.Add(-signature.Tolerance - 1), false},
			{at.Add(signature.Tolerance).In(time.FixedZone("x", 3600)), true},
			{time.Time{}, false},
			{time.Unix(0, 0), false},
			{time.Unix(math.MaxInt64>>4, 0), false},
			{time.Unix(math.MinInt64>>4, 0), false},
		} {
			err := s.verify(h, body, known, c.now)
			if c.near || !s.timed {
				assert.NoError(t, err, c.now)
			} else {
				assert.ErrorIs(t, err, signature.ErrSignature, c.now)
			}
		}
	})
}

// A time is digits and nothing else, even where the secret's holder signed what is written.
func TestTimeIsWrittenInOneWay(t *testing.T) {
	each(t, func(t *testing.T, s scheme) {
		if !s.timed {
			return
		}
		known := s.known(t, s.secrets[0])
		digits := digitsOf(at, s.unit)
		for _, text := range []string{
			digits[:9] + "/" + digits[10:], // what lies beside the digits, and comes to a near time as if it were one
			"169999999:" + digits[10:],
			"", "0", "00", "-1", "+" + digits, "-" + digits, "0" + digits, " " + digits, digits + " ", digits + ".0", digits + "e0",
			digits[:4] + "_" + digits[4:], "0x6553f100", "1.7e9", digits + "\x00", "\x00" + digits, digits + "\n", "NaN", "Inf",
			arabic(digits), fullwidth(digits), digits + digits, strings.Repeat("9", 13), strings.Repeat("9", 14),
			strings.Repeat("9", 19), "9223372036854775807", "9223372036854775808", "18446744073709551616",
			"18446744073709551616" + digits, strings.Repeat("1", 1000),
		} {
			h, body := resigned(t, s, digits, text)
			assert.ErrorIs(t, s.verify(h, body, known, now), signature.ErrSignature, "%q", text)
			assert.ErrorIs(t, s.verify(h, body, known, time.Time{}), signature.ErrSignature, "%q, of no time", text)
		}
		h, body := resigned(t, s, digits, digits)
		assert.NoError(t, s.verify(h, body, known, now))
	})
}

// A header is given once, and of bounded length; one of signatures holds a bounded number. None of them panics or passes.
func TestHostileHeaders(t *testing.T) {
	body := bodies["json"]
	each(t, func(t *testing.T, s scheme) {
		known := s.known(t, s.secrets[0])
		right := s.signed(body, at, s.secrets[0])
		for i, name := range s.headers {
			value := right.Get(name)
			for what, values := range map[string][]string{
				"a NUL ahead":          {"\x00" + value},
				"a NUL after":          {value + "\x00"},
				"no break space ahead": {"\u00a0" + value},
				"a line break":         {value + "\r\n"},
				"in quotes":            {`"` + value + `"`},
				"no text":              {"\xff\xfe"},
				"many commas":          {strings.Repeat(",", 100_000)},
				"many semicolons":      {strings.Repeat(";", 100_000)},
				"many spaces":          {strings.Repeat(" ", 100_000)},
				"many equals":          {strings.Repeat("=", 100_000)},
				"a megabyte":           {strings.Repeat("a", 1<<20)},
				"a megabyte ahead":     {strings.Repeat("a", 1<<20) + "," + value},
				"commas and the right": {strings.Repeat(",", 4097) + value},
				"spaces and the right": {strings.Repeat(" ", 4097) + value},
				"without its end":      {value[:len(value)-3]}, // more than padding
				"one letter more":      {value + "0"},
				"its first alone":      {value[:1]},
			} {
				h := right.Clone()
				h[http.CanonicalHeaderKey(name)] = values
				assert.ErrorIs(t, s.verify(h, body, known, now), signature.ErrSignature, "%s: %s", name, what)
			}
			h := right.Clone()
			h.Add(name, value)
			if s.repeats && i == 0 {
				assert.NoError(t, s.verify(h, body, known, now), "%s is repeated", name)
			} else {
				assert.ErrorIs(t, s.verify(h, body, known, now), signature.ErrSignature, "%s is repeated", name)
			}
		}
	})
}

// Sixteen signatures are looked at, whichever of them is right, and a request with more is refused.
func TestHowManySignatures(t *testing.T) {
	body := bodies["json"]
	each(t, func(t *testing.T, s scheme) {
		if s.unsigned {
			return
		}
		known := s.known(t, s.secrets[0])
		for _, c := range []struct{ before, after int }{{0, 0}, {15, 0}, {0, 15}, {16, 0}, {0, 16}, {7, 8}, {100, 100}} {
			var secrets []string
			for range c.before {
				secrets = append(secrets, s.secrets[1])
			}
			secrets = append(secrets, s.secrets[0])
			for range c.after {
				secrets = append(secrets, s.secrets[2])
			}
			err := s.verify(s.signed(body, at, secrets...), body, known, now)
			// Sixteen of SHA-512 and a prefix still fit into a header.
			if len(secrets) <= 16 {
				assert.NoError(t, err, "%+v", c)
			} else {
				assert.ErrorIs(t, err, signature.ErrSignature, "%+v", c)
			}
		}
	})
}

// Whichever bit of a request is changed, it is refused; save for the letters that mean the same in either case, and for
// headers and bodies that nothing signs.
func TestEveryBitCounts(t *testing.T) {
	body := bodies["json"]
	each(t, func(t *testing.T, s scheme) {
		known := s.known(t, s.secrets[0])
		right := s.signed(body, at, s.secrets[0])
		require.NoError(t, s.verify(right, body, known, now))
		for i := range len(body) * 8 {
			changed := append([]byte(nil), body...)
			changed[i/8] ^= 1 << (i % 8)
			err := s.verify(right, changed, known, now)
			if s.unsigned {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, signature.ErrSignature, "bit %d of the body", i)
			}
		}
		for _, name := range s.headers {
			value := right.Get(name)
			scheme, _, _ := strings.Cut(value, " ") // of Basic
			for i := range len(value) * 8 {
				changed := []byte(value)
				changed[i/8] ^= 1 << (i % 8)
				letter := strings.IndexByte(s.anyCase, value[i/8]) >= 0 && i%8 == 5
				if s.name == "basic" {
					letter = letter && i/8 < len(scheme)
				}
				h := right.Clone()
				h.Set(name, string(changed))
				err := s.verify(h, body, known, now)
				if letter && !isPrefix(s, i/8) {
					require.NoError(t, err, "%s: %q", name, changed)
				} else {
					require.ErrorIs(t, err, signature.ErrSignature, "bit %d of %s: %q", i, name, changed)
				}
			}
		}
	})
}

// isPrefix says whether a letter of the signature's header is one of the prefix, whose case counts.
func isPrefix(s scheme, i int) bool { return i < len(providers[s.name].Prefix) }

package credential

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const exampleKey = "ak_ABCDEFGHIJKLMNOPQRSTUVWX23"

func TestNewKeyHasItsFormAndIsNeverTheSame(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		k := NewKey()
		form, text := Classify(k)
		require.Equal(t, Key, form, k)
		require.Equal(t, k, text)
		require.GreaterOrEqual(t, (len(k)-len(keyPrefix))*5, 128, "bits")
		require.False(t, seen[k])
		seen[k] = true
	}
}

func TestClassify(t *testing.T) {
	jwt := hsToken(goodClaims())
	sig := jwt[strings.LastIndex(jwt, ".")+1:]
	for _, c := range []struct {
		name, token string
		form        Form
		text        string // the token itself when empty
	}{
		{"nothing", "", None, ""},
		{"made up", "1993345245", None, ""},
		{"process id", "15302", None, ""},
		{"64 bits", "18446744073709551615", None, ""},
		{"a longer number", "184467440737095516150", Other, ""},
		{"a negative number", "-1", Other, ""},
		{"other digits", "١٢٣", Other, ""},
		{"key", exampleKey, Key, ""},
		{"key without its first letter", exampleKey[1:], Key, exampleKey},
		{"key without two letters", exampleKey[2:], Other, ""},
		{"key in lowercase", strings.ToLower(exampleKey), Other, ""},
		{"key with a wrong digit", exampleKey[:28] + "1", Other, ""},
		{"key cut short", exampleKey[:28], Other, ""},
		{"key without its first letter, cut short", exampleKey[1:28], Other, ""},
		{"key of a longer rand.Text", exampleKey + strings.Repeat("A", 38), Key, ""},
		{"key too long", exampleKey + strings.Repeat("A", 39), Other, ""},
		{"key and a line break", exampleKey + "\n", Other, ""},
		{"key prefix alone", "ak_", Other, ""},
		{"lost prefix alone", "k_", Other, ""},
		{"jwt", jwt, JWT, ""},
		{"jwt without its first letter", jwt[1:], JWT, jwt},
		{"jwt without two letters", jwt[2:], Other, ""},
		{"jwt with a space before", " " + jwt, Other, ""},
		{"jwt with a line break", jwt[:30] + "\n" + jwt[30:], Other, ""},
		{"jwt with padding", jwt + "=", Other, ""},
		{"jwt in the other alphabet", strings.TrimSuffix(jwt, sig) + "ab+/", Other, ""},
		{"jwt of two parts", strings.TrimSuffix(jwt, "."+sig), Other, ""},
		{"jwt of four parts", jwt + "." + sig, Other, ""},
		{"jwt of five parts (encrypted)", "eyJh.a.b.c.d", Other, ""},
		{"jwt without signature", strings.TrimSuffix(jwt, sig), Other, ""},
		{"jwt without claims", "eyJh.." + sig, Other, ""},
		{"jwt's dots only", "eyJ..", Other, ""},
		{"jwt header that is no object", "abc.def.ghi", Other, ""},
		{"text", "abcdef123456", Other, ""},
		{"bearer of a text", "bcdef123456", Other, ""},
		{"8 KiB of jwt", "eyJ.a." + strings.Repeat("a", maxToken-6), JWT, ""},
		{"8 KiB of jwt without its first letter", "yJ.a." + strings.Repeat("a", maxToken-6), JWT, "eyJ.a." + strings.Repeat("a", maxToken-6)},
		{"more", "eyJ.a." + strings.Repeat("a", maxToken-5), Other, ""},
		{"more, without its first letter", "yJ.a." + strings.Repeat("a", maxToken-5), Other, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			form, text := Classify(c.token)
			assert.Equal(t, c.form, form, form.String())
			want := c.text
			if want == "" {
				want = c.token
			}
			assert.Equal(t, want, text)
		})
	}
}

func TestFormsHaveNames(t *testing.T) {
	assert.Equal(t, []string{"none", "key", "jwt", "other"}, []string{None.String(), Key.String(), JWT.String(), Other.String()})
}

// MistServer drops the first character of a Bearer header, whatever is sent.
func TestALostFirstLetterIsPutBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := NewKey()
		if rapid.Bool().Draw(t, "jwt") {
			claims := `{"sub":"` + rapid.StringMatching(`[a-z0-9@.-]{1,40}`).Draw(t, "sub") + `","exp":` + exp(1e12) + `}`
			s := rapid.SampledFrom([]struct {
				alg string
				signer
			}{{hs256, hsSigner(testSecret)}, {es256, keySigner(testEC)}, {edDSA, keySigner(testEd)}}).Draw(t, "key")
			whole = token(`{"alg":"`+s.alg+`","kid":"`+rapid.StringMatching(`[a-z0-9]{0,20}`).Draw(t, "kid")+`"}`, claims, s.signer)
		}
		form, text := Classify(whole)
		require.Contains(t, []Form{Key, JWT}, form)
		require.Equal(t, whole, text)
		lost, repaired := Classify(whole[1:])
		require.Equal(t, form, lost)
		require.Equal(t, whole, repaired)
	})
}

func TestClassifyAllocatesNothingForWhatIsWhole(t *testing.T) {
	for _, s := range []string{"", "15302", exampleKey, hsToken(goodClaims()), "abcdef", strings.Repeat("a", 9000)} {
		assert.Zero(t, testing.AllocsPerRun(100, func() { Classify(s) }))
	}
}

func FuzzClassify(f *testing.F) {
	for _, s := range []string{"", "1", "15302", exampleKey, exampleKey[1:], hsToken(goodClaims()), hsToken(goodClaims())[1:], "a\nb\nc", "eyJ..", "yJ.a.b", "k_"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		form, text := Classify(s)
		if text != s && (len(text) != len(s)+1 || text[1:] != s) {
			t.Fatalf("%q became %q", s, text)
		}
		again, same := Classify(text)
		if again != form || same != text {
			t.Fatalf("%q is %v, and what it became, %q, is %v", s, form, text, again)
		}
		if (form == None || form == Other) && text != s {
			t.Fatalf("%q is changed, and is no credential", s)
		}
	})
}

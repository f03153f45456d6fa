package signature_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"authhook/internal/billing/signature"
	"authhook/internal/billing/signature/sign"
)

// A stranger cannot write a signature, so that a fuzzer would never see one accepted. In what these targets are given, $
// therefore stands for the right signature of the body at the right time, and @ for that time; now is so many seconds
// later. What is accepted is then held against an HMAC that is computed here.

var stamp = digitsOf(at, time.Second)

func written(text, right string) string {
	return strings.NewReplacer("$", right, "@", stamp).Replace(text)
}

// refused says whether an error is the one that there is, and fails the test when it is another.
func refused(t *testing.T, err error) bool {
	if err != nil && !errors.Is(err, signature.ErrSignature) || err != nil && err.Error() != signature.ErrSignature.Error() {
		t.Fatalf("another error: %v", err)
	}
	return err != nil
}

// soon says whether a time of digits is within the tolerance, in numbers that cannot run over.
func soon(digits string, now time.Time, unit, tolerance time.Duration) bool {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > 1e13 {
		return false
	}
	at := time.Unix(n, 0)
	if unit == time.Millisecond {
		at = time.UnixMilli(n)
	}
	return !now.Before(at.Add(-tolerance)) && !now.After(at.Add(tolerance))
}

func FuzzStripe(f *testing.F) {
	for _, header := range []string{
		"t=@,v1=$", "t=@,v1=00,v1=$,v0=1", "v1=$,t=@", "t=@,t=1,v1=$", "t=1700000001,v1=$", "t=@,v1=", "", ",", "=", "t=@", "t=@\x00,v1=$",
		"t=99999999999999999999,v1=$", "t=+@,v1=$", "t=0@,v1=$", "t=١٢٣,v1=$", strings.Repeat("v1=$,", 20) + "t=@",
	} {
		f.Add(header, []byte("{}"), int64(2))
	}
	f.Add("t=@,v1=$", []byte("\x00\xff"), int64(300))
	f.Add("t=@,v1=$", []byte(nil), int64(-301))
	known := parsed(f, texts[0]+","+texts[1])
	found := regexp.MustCompile(`(?:^|,)t=([1-9][0-9]*)(?:,|$)`)
	f.Fuzz(func(t *testing.T, header string, body []byte, later int64) {
		now := at.Add(time.Duration(later%1_000_000) * time.Second)
		value := written(header, hexOf(texts[0], stamp+"."+string(body)))
		if refused(t, signature.Stripe(http.Header{"Stripe-Signature": {value}}, body, known, now)) {
			if header == "t=@,v1=$" && later >= -300 && later <= 300 {
				t.Fatal("the right one is refused")
			}
			return
		}
		m := found.FindAllStringSubmatch(value, -1)
		if len(m) != 1 || !soon(m[0][1], now, time.Second, 300*time.Second) {
			t.Fatalf("%q is accepted, of no time or another", value)
		}
		if items := strings.Split(value, ","); !slices.Contains(items, "v1="+hexOf(texts[0], m[0][1]+"."+string(body))) &&
			!slices.Contains(items, "v1="+hexOf(texts[1], m[0][1]+"."+string(body))) {
			t.Fatalf("%q is accepted without a signature", value)
		}
	})
}

func FuzzPaddle(f *testing.F) {
	for _, header := range []string{
		"ts=@;h1=$", "ts=@;h1=00;h1=$;h2=1", "h1=$;ts=@", "ts=@;ts=1;h1=$", "ts=1700000001;h1=$", "ts=@;h1=", "", ";", "=", "ts=@", "ts=@,h1=$",
		"ts=99999999999999999999;h1=$", "ts=-@;h1=$", strings.Repeat("h1=$;", 20) + "ts=@",
	} {
		f.Add(header, []byte("{}"), int64(2))
	}
	f.Add("ts=@;h1=$", []byte(":"), int64(301))
	known := parsed(f, texts[1])
	found := regexp.MustCompile(`(?:^|;)ts=([1-9][0-9]*)(?:;|$)`)
	f.Fuzz(func(t *testing.T, header string, body []byte, later int64) {
		now := at.Add(time.Duration(later%1_000_000) * time.Second)
		value := written(header, hexOf(texts[1], stamp+":"+string(body)))
		if refused(t, signature.Paddle(http.Header{"Paddle-Signature": {value}}, body, known, now)) {
			if header == "ts=@;h1=$" && later >= -300 && later <= 300 {
				t.Fatal("the right one is refused")
			}
			return
		}
		m := found.FindAllStringSubmatch(value, -1)
		if len(m) != 1 || !soon(m[0][1], now, time.Second, 300*time.Second) {
			t.Fatalf("%q is accepted, of no time or another", value)
		}
		if !slices.Contains(strings.Split(value, ";"), "h1="+hexOf(texts[1], m[0][1]+":"+string(body))) {
			t.Fatalf("%q is accepted without a signature", value)
		}
	})
}

func FuzzStandardWebhooks(f *testing.F) {
	for _, list := range []string{
		"v1,$", "v1,00 v1,$", "v2,$", "v1a,x v1,$", "v1,$,", "v1,", "", " ", ",", "$", "v1,$\x00", strings.Repeat("v1,$ ", 20), "v1 v1,$",
	} {
		f.Add("msg_1", "@", list, []byte("{}"), int64(2), false)
	}
	for _, id := range []string{"", ".", "a.b", "a b", "\x00", "é", strings.Repeat("a", 257)} {
		f.Add(id, "@", "v1,$", []byte("{}"), int64(2), true)
	}
	for _, timestamp := range []string{"", "0", "+@", "0@", "@.", "1700000001", "99999999999999999999", "١٢٣"} {
		f.Add("msg_1", timestamp, "v1,$", []byte("{}"), int64(300), true)
	}
	known, err := signature.ParseStandardSecrets(standardSecret, false)
	if err != nil {
		f.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(standardSecret, "whsec_"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, timestamp, list string, body []byte, later int64, svix bool) {
		now := at.Add(time.Duration(later%1_000_000) * time.Second)
		signed := func(timestamp string) string {
			return base64.StdEncoding.EncodeToString(mac(sha256.New, key, id+"."+timestamp+"."+string(body)))
		}
		prefix := "webhook"
		if svix {
			prefix = "svix"
		}
		timestamp, value := written(timestamp, ""), written(list, signed(stamp))
		got, moment, err := signature.StandardWebhooks(headers(prefix, id, timestamp, value), body, known, now)
		if refused(t, err) {
			if got != "" || !moment.IsZero() {
				t.Fatalf("id %q and time %v although it is refused", got, moment)
			}
			if list == "v1,$" && timestamp == stamp && later >= -300 && later <= 300 && regexp.MustCompile(`^[!-\-/-~]{1,256}$`).MatchString(id) {
				t.Fatal("the right one is refused")
			}
			return
		}
		if got != id || id == "" || len(id) > 256 || strings.ContainsAny(id, ". \x00") || strconv.FormatInt(moment.Unix(), 10) != timestamp {
			t.Fatalf("id %q, %q at %v", got, id, moment)
		}
		h := headers(prefix, id, timestamp, value)
		if again, err := signature.StandardID(h); err != nil || again != got || !signature.StandardTime(h).Equal(moment) {
			t.Fatalf("what was verified is %q at %v, and what is read later %q at %v: %v", got, moment, again, signature.StandardTime(h), err)
		}
		if !soon(timestamp, now, time.Second, 300*time.Second) {
			t.Fatalf("%q is accepted at %v", timestamp, now)
		}
		if !slices.Contains(strings.Split(value, " "), "v1,"+signed(timestamp)) {
			t.Fatalf("%q is accepted without a signature", value)
		}
	})
}

func FuzzHMAC(f *testing.F) {
	// which is read bit by bit as settings.
	for which := range uint8(64) {
		f.Add(which, "", int64(0), "$", "@", []byte("{}"), int64(2))
		f.Add(which, "sha256=", int64(60), "@,sha256=00, sha256=$", "@", []byte("{}"), int64(60))
	}
	for _, value := range []string{"", ",", "@,", "@,$,$", "$,@", "@,@,$", strings.Repeat("$,", 20), strings.Repeat(",", 5000), "\x00", "@,\xff", "==="} {
		f.Add(uint8(0), "", int64(0), value, "", []byte(nil), int64(0))
		f.Add(uint8(1), "", int64(0), value, "", []byte(nil), int64(0))
		f.Add(uint8(2), "", int64(0), value, "0", []byte(nil), int64(0))
	}
	known := parsed(f, texts[2])
	f.Fuzz(func(t *testing.T, which uint8, prefix string, tolerance int64, value, timeValue string, body []byte, later int64) {
		settings := signature.HMAC{
			Header: "X-Sig", Prefix: prefix, Milliseconds: which&4 != 0, Tolerance: time.Duration(tolerance) * time.Second,
			Signed: []signature.Signed{signature.Body, signature.TimeAheadAndBody, signature.TimeHeaderAndBody, "other"}[which&3],
		}
		if settings.Signed == signature.TimeHeaderAndBody {
			settings.TimeHeader = "X-Time"
		}
		unit, newHash, encode := time.Second, sha256.New, hex.EncodeToString
		if which&4 != 0 {
			unit = time.Millisecond
		}
		if which&8 != 0 {
			settings.Encoding, encode = signature.Base64, base64.StdEncoding.EncodeToString
		}
		if which&16 != 0 {
			settings.Hash, newHash = signature.SHA512, sha512.New
		}
		now := at.Add(time.Duration(later%1_000_000) * time.Second)
		stamp := digitsOf(at, unit)
		signed := func(stamp string) []byte {
			text := string(body)
			if settings.Signed != signature.Body {
				text = stamp + "." + text
			}
			return mac(newHash, []byte(texts[2]), text)
		}
		replace := strings.NewReplacer("$", encode(signed(stamp)), "@", stamp)
		value, timeValue = replace.Replace(value), strings.ReplaceAll(timeValue, "@", stamp)

		fault := settings.Check()
		if refused(t, settings.Verify(http.Header{"X-Sig": {value}, "X-Time": {timeValue}}, body, known, now)) {
			return
		}
		if fault != nil {
			t.Fatalf("accepted under settings with a fault: %v", fault)
		}
		items := strings.Split(value, ",")
		switch settings.Signed {
		case signature.TimeAheadAndBody:
			stamp, items = items[0], items[1:]
		case signature.TimeHeaderAndBody:
			stamp = timeValue
		}
		within := settings.Tolerance
		if within == 0 {
			within = 300 * time.Second
		}
		if settings.Signed != signature.Body && !soon(stamp, now, unit, within) {
			t.Fatalf("%q is accepted at %v", stamp, now)
		}
		if !slices.ContainsFunc(items, func(item string) bool {
			text, ok := strings.CutPrefix(strings.Trim(item, " \t"), prefix)
			decoded, err := hex.DecodeString(text)
			if settings.Encoding == signature.Base64 {
				decoded, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
			}
			return ok && err == nil && bytes.Equal(decoded, signed(stamp))
		}) {
			t.Fatalf("%q is accepted without a signature", value)
		}
	})
}

func FuzzStatic(f *testing.F) {
	for _, value := range []string{"", texts[0], texts[1], "Bearer " + texts[0], texts[0] + "\x00", texts[0][1:], strings.ToUpper(texts[0]), strings.Repeat("a", 5000)} {
		f.Add(value, false)
		f.Add(value, true)
	}
	known := parsed(f, texts[0]+","+texts[1])
	f.Fuzz(func(t *testing.T, value string, twice bool) {
		h := http.Header{"Authorization": {value}}
		if twice {
			h.Add("Authorization", value)
		}
		right := !twice && (value == texts[0] || value == texts[1])
		if refused(t, signature.Static(h, "authorization", known)) == right {
			t.Fatalf("%q", value)
		}
	})
}

func FuzzBasic(f *testing.F) {
	for _, value := range []string{
		"", "Basic", "Basic ", "Basic $", "basic $", "BASIC $", "Bearer $", "$", "Basic  $", "Basic $ ", "Basic $=", "Basic $\x00", "Basic $\n", "Baſic $",
	} {
		f.Add(value, false)
		f.Add(value, true)
	}
	known, err := signature.ParseLogins(users[0])
	if err != nil {
		f.Fatal(err)
	}
	right := base64.StdEncoding.EncodeToString([]byte(users[0]))
	f.Fuzz(func(t *testing.T, value string, twice bool) {
		value = written(value, right)
		h := http.Header{"Authorization": {value}}
		if twice {
			h.Add("Authorization", value)
		}
		if refused(t, signature.Basic(h, known)) {
			if !twice && value == "Basic "+right {
				t.Fatal("the right one is refused")
			}
			return
		}
		r := http.Request{Header: h}
		user, password, ok := r.BasicAuth()
		if twice || !ok || user+":"+password != users[0] {
			t.Fatalf("%q is accepted", value)
		}
	})
}

// faults are all that is said of secrets: none of it is theirs.
var faults = regexp.MustCompile(`^(there are more than 8 secrets: [a-z ]+|the (first|second|third|fourth|fifth|sixth|seventh|eighth) secret (` +
	strings.Join([]string{
		regexp.QuoteMeta(isEmpty), regexp.QuoteMeta(isShort), regexp.QuoteMeta(isLong), regexp.QuoteMeta(isOne), regexp.QuoteMeta(isBroken), regexp.QuoteMeta(isBare),
		regexp.QuoteMeta(isNoCode), regexp.QuoteMeta(isNoLogin), regexp.QuoteMeta(isWeak),
	}, "|") + `))$`)

// fuzzSecrets: a list is refused with one of the known errors, or each of its elements is a key that verifies, and is long
// enough; and nothing else verifies. key is what an element stands for, computed beside the parser.
func fuzzSecrets(f *testing.F, parse func(string) (signature.Secrets, error), key func(element string) []byte, seeds ...string) {
	for _, seed := range append(seeds,
		"", ",", " ", "0123456789abcdef", " 0123456789abcdef , fedcba9876543210 ", "short", "0123456789abcdef,", "0123456789abcdef\x00",
		"0123456789abcdef\n", "\xff0123456789abcdef", strings.Repeat(",", 100), strings.Repeat("a", 5000), "ffffffffffffffffff\u00a0", strings.Repeat("0", 20),
	) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		s, err := parse(list)
		h := http.Header{}
		if err != nil {
			if !faults.MatchString(err.Error()) {
				t.Fatalf("%q: %v", list, err)
			}
			sign.Stripe(h, nil, at, "")
			if signature.Stripe(h, nil, s, now) == nil {
				t.Fatalf("%q is refused, and verifies", list)
			}
			return
		}
		elements := strings.Split(list, ",")
		if len(elements) > 8 {
			t.Fatalf("%q is accepted", list)
		}
		for _, element := range elements {
			k := key(strings.TrimSpace(element))
			if len(k) < 16 {
				t.Fatalf("%q is accepted", list)
			}
			sign.Stripe(h, nil, at, string(k))
			if err := signature.Stripe(h, nil, s, now); err != nil {
				t.Fatalf("%q: an element does not verify: %v", list, err)
			}
			other := sha256.Sum256([]byte("other" + list)) // the hash of a long key alone is that key, to an HMAC
			sign.Stripe(h, nil, at, string(other[:]), "")
			if signature.Stripe(h, nil, s, now) == nil {
				t.Fatalf("%q: what is no element verifies", list)
			}
		}
	})
}

func text(element string) []byte { return []byte(element) }

func FuzzParseSecrets(f *testing.F) {
	fuzzSecrets(f, signature.ParseSecrets, text, texts...)
}

func FuzzParseStandardSecrets(f *testing.F) {
	fuzzSecrets(f, parseStandard, func(element string) []byte {
		key, err := sign.StandardKey(element)
		if err != nil {
			return nil
		}
		return key
	}, append([]string{"whsec_", "whsec_=", "whsec_AAAA", "whsec_AAECAwQFBgcICQoLDA0ODw=", "whsec_\n", "whsec_" + strings.Repeat("A", 5000)}, keys...)...)
}

func FuzzParseWholeSecrets(f *testing.F) {
	fuzzSecrets(f, parseWhole, text, keys...)
}

func FuzzParseLogins(f *testing.F) {
	fuzzSecrets(f, signature.ParseLogins, func(element string) []byte {
		user, password, _ := strings.Cut(element, ":")
		if user == "" || len(password) < 16 {
			return nil
		}
		return []byte(element)
	}, append([]string{":", "a:", ":0123456789abcdef", "a:b:c", "a::::::::::::::::"}, users...)...)
}

package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"authhook/internal/policy"
)

const (
	// maxDepth is how deep a token's JSON may nest. What is read of it nests once.
	maxDepth = 16
	// maxSeconds is the last second of the year 9999: a larger number is not in seconds.
	maxSeconds = 253402300799
)

var segment = base64.RawURLEncoding.Strict()

// header is what is read of a token's header. Everything else there is ignored: jwk, jku, x5c and x5u above all, by
// which a token would bring its own key.
type header struct {
	alg string
	kid string // empty: the token names no key
}

// readHeader reads a decoded header. Its errors are for people and quote nothing.
func readHeader(data []byte) (h header, err error) {
	fields, err := readObject(data)
	if err != nil {
		return h, errors.New("its header is not a plain JSON object")
	}
	if _, ok := fields["crit"]; ok {
		return h, errors.New("its header demands extensions (crit), and none is known here")
	}
	var ok bool
	if h.alg, ok = readString(fields["alg"]); !ok || methods[h.alg] == nil {
		return h, errors.New("its algorithm is not one of HS256, RS256, ES256 and EdDSA")
	}
	if kid, present := fields["kid"]; present {
		if h.kid, ok = readString(kid); !ok || h.kid == "" || len(h.kid) > maxName {
			return h, errors.New("its kid is not a name")
		}
	}
	return h, nil
}

// readClaims reads decoded claims into the credential that they describe, and holds issuer and audience against what is
// demanded. A claim that is there and not in order is an error: a stream or ip that cannot be read must never come to
// mean every stream, every address. Its errors are for people and quote nothing.
func readClaims(data []byte, demand policy.JWT) (*policy.Credential, error) {
	fields, err := readObject(data)
	if err != nil {
		return nil, errors.New("its claims are not a plain JSON object")
	}
	c := &policy.Credential{Kind: policy.CredentialJWT}
	for _, read := range []func(map[string]json.RawMessage, *policy.Credential) error{
		readSubject, readTimes, readStreams, readAddresses, readPublish,
	} {
		if err := read(fields, c); err != nil {
			return nil, err
		}
	}
	if iss, _ := readString(fields["iss"]); demand.Issuer != "" && iss != demand.Issuer {
		return nil, errors.New("its issuer (iss) is not the one demanded")
	}
	if aud, _ := readStrings(fields["aud"]); demand.Audience != "" && !slices.Contains(aud, demand.Audience) {
		return nil, errors.New("it is not for the audience (aud) demanded")
	}
	return c, nil
}

func readSubject(fields map[string]json.RawMessage, c *policy.Credential) error {
	sub, ok := readString(fields["sub"])
	if !ok || !isName(sub) {
		return errors.New("it has no sub that could be a user's id")
	}
	c.User = sub
	return nil
}

// readTimes narrows fractions to whole seconds, so that no token is good for longer than it says.
func readTimes(fields map[string]json.RawMessage, c *policy.Credential) error {
	exp, ok := readSeconds(fields["exp"])
	if !ok || exp < 1 {
		return errors.New("it has no exp that is a time in seconds")
	}
	c.Until = time.Unix(int64(math.Floor(exp)), 0).UTC()
	if raw, present := fields["nbf"]; present {
		nbf, ok := readSeconds(raw)
		if !ok {
			return errors.New("its nbf is not a time in seconds")
		}
		c.From = time.Unix(int64(math.Ceil(nbf)), 0).UTC()
	}
	return nil
}

func readStreams(fields map[string]json.RawMessage, c *policy.Credential) error {
	raw, present := fields["stream"]
	if !present {
		return nil
	}
	patterns, ok := readStrings(raw)
	if !ok || len(patterns) == 0 {
		return errors.New("its stream claim names no stream: it must be a pattern or a list of them")
	}
	for _, p := range patterns {
		// A * before the end would be taken for a stream's own letter, and match none: surely meant otherwise.
		if !isName(p) || strings.Contains(p[:len(p)-1], "*") {
			return errors.New("its stream claim holds what is not a stream's name or a prefix with a * at its end")
		}
	}
	c.Streams = patterns
	return nil
}

func readAddresses(fields map[string]json.RawMessage, c *policy.Credential) error {
	raw, present := fields["ip"]
	if !present {
		return nil
	}
	texts, ok := readStrings(raw)
	if !ok || len(texts) == 0 {
		return errors.New("its ip claim names no address: it must be an address or network, or a list of them")
	}
	for _, text := range texts {
		p, ok := parsePrefix(text)
		if !ok {
			return errors.New("its ip claim holds what is not an address or network")
		}
		c.Addresses = append(c.Addresses, p)
	}
	return nil
}

func readPublish(fields map[string]json.RawMessage, c *policy.Credential) error {
	switch raw, present := fields["publish"]; {
	case !present || string(raw) == "false":
	case string(raw) == "true":
		c.Publish = true
	default:
		return errors.New("its publish claim is not true or false")
	}
	return nil
}

// parsePrefix reads an address or a network. IPv4 written as IPv6 becomes IPv4, as addresses of requests are.
func parsePrefix(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), a.Zone() == ""
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

// isName says whether a text can be a user's id or a stream's pattern. A database refuses some of what it keeps out,
// and replacement characters stand for text that was lost: two names would become one.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r == 0x7f || r == utf8.RuneError
	})
}

// readObject reads one JSON object and nothing after it: each name once and exactly as written, no deep nesting, UTF-8
// only. encoding/json by itself takes the last of two names and matches them in any case.
func readObject(data []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(data) || tooDeep(data) {
		return nil, errOdd
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errOdd
	}
	fields := map[string]json.RawMessage{}
	for dec.More() {
		token, err := dec.Token()
		name, ok := token.(string)
		if _, twice := fields[name]; err != nil || !ok || twice {
			return nil, errOdd
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errOdd
		}
		fields[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errOdd
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errOdd
	}
	return fields, nil
}

var errOdd = errors.New("not a plain JSON object")

// tooDeep says whether JSON nests deeper than maxDepth. Of what is not JSON it says anything.
func tooDeep(data []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// readString reads a value that is a string; null is none.
func readString(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return s, json.Unmarshal(raw, &s) == nil
}

// readStrings reads a value that is a string or a list of strings.
func readStrings(raw json.RawMessage) ([]string, bool) {
	if s, ok := readString(raw); ok {
		return []string{s}, true
	}
	var values []json.RawMessage
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &values) != nil {
		return nil, false
	}
	list := make([]string, len(values))
	for i, v := range values {
		var ok bool
		if list[i], ok = readString(v); !ok {
			return nil, false
		}
	}
	return list, true
}

// readSeconds reads a number of seconds since 1970 that is a moment until the year 9999.
func readSeconds(raw json.RawMessage) (float64, bool) {
	n, err := strconv.ParseFloat(string(raw), 64) // JSON's own grammar holds already: raw was decoded as a JSON value
	return n, err == nil && n >= 0 && n <= maxSeconds
}

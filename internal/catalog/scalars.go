package catalog

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"authhook/internal/policy"
)

// What a document can hold at most, in characters.
const (
	maxWordLength = 128
	maxTextLength = 1024
)

// aText is what most fields want.
const aText = "a text"

// text is a text of whatever content, not empty, and where it is. The message of a wrong one asks for what is wanted.
func (r *reader) text(v value, want string) (string, value, bool) {
	v, ok := r.visit(v)
	if !ok {
		return "", v, false
	}
	if v.node.Kind != scalarNode || v.node.Tag != "!!str" {
		if v.node.Kind == scalarNode && !isNull(v.node) && want == aText {
			want += ": put it in quotes"
		}
		r.wrongType(v, want)
		return "", v, false
	}
	if v.node.Value == "" {
		r.fail(v, "is empty: write %s, or remove it", want)
		return "", v, false
	}
	return v.node.Value, v, true
}

// What follows makes functions that read one value into dst, to stand in a [fields].

// phrase reads a text of one line.
func (r *reader) phrase(dst *string) func(value) {
	return func(v value) {
		if s, v, ok := r.text(v, aText); ok {
			if problem := textProblem(s, maxTextLength, true); problem != "" {
				r.fail(v, "%s", problem)
				return
			}
			*dst = s
		}
	}
}

// word reads a text without spaces.
func (r *reader) word(dst *string) func(value) {
	return func(v value) {
		if s, v, ok := r.text(v, aText); ok {
			if problem := textProblem(s, maxWordLength, false); problem != "" {
				r.fail(v, "%s", problem)
				return
			}
			*dst = s
		}
	}
}

// pathName reads a name, with read, by which a path of the API can ask for what it names.
func (r *reader) pathName(dst *string, read func(*string) func(value)) func(value) {
	return func(v value) {
		var s string
		read(&s)(v)
		if err := CheckPathName(s); err != nil {
			r.fail(v, "%s", err)
			return
		}
		*dst = s
	}
}

// CheckPathName says why a name cannot stand in a path; nil when it can. Browsers, proxies and Go's own client take these
// two for steps, and would ask about something else.
func CheckPathName(name string) error {
	if name == "." || name == ".." {
		return errors.New("cannot be " + name + ", which in a path is a step and no name")
	}
	return nil
}

// textProblem says what keeps a text from being a name that can be seen and typed. It does not quote the text.
func textProblem(s string, most int, spaces bool) string {
	if utf8.RuneCountInString(s) > most {
		return "is too long: it has at most " + strconv.Itoa(most) + " characters"
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return "holds an unprintable character (" + strings.Trim(strconv.QuoteRuneToASCII(c), "'") + "): remove it"
		}
		if c == ' ' && !spaces {
			return "holds a space: remove it"
		}
	}
	return ""
}

// tag reads a tag's name. MistServer lists a session's tags as [a][b] (recording USER_END.http), so that no tag can
// hold a bracket.
func (r *reader) tag(dst *string) func(value) {
	return func(v value) {
		var s string
		r.word(&s)(v)
		if strings.ContainsAny(s, "[]") {
			r.fail(v, "%s holds a bracket, with which MistServer separates tags: remove it", quote(s))
			return
		}
		*dst = s
	}
}

// planName reads the key of a plan that must exist.
func (r *reader) planName(dst *string) func(value) {
	return func(v value) {
		if s, v, ok := r.text(v, aText); ok {
			*dst = s
			r.planNames = append(r.planNames, named{v, s})
		}
	}
}

// distinct reads a list of texts, each with read, none of which may be there twice.
func (r *reader) distinct(dst *[]string, read func(*string) func(value)) func(value) {
	return func(v value) {
		seen := map[string]int{}
		r.list(v, func(v value) {
			var s string
			read(&s)(v)
			if s == "" {
				return
			}
			if first, twice := seen[s]; twice {
				r.fail(v, "%s is in the list twice, first in line %d: remove one", quote(s), first)
				return
			}
			seen[s] = v.node.Line
			*dst = append(*dst, s)
		})
	}
}

// choice reads one of a few words.
func choice[T ~string](r *reader, dst *T, among ...T) func(value) {
	return func(v value) {
		names := make([]string, len(among))
		for i, a := range among {
			names[i] = string(a)
		}
		all := strings.Join(names, ", ")
		s, v, ok := r.text(v, "one of "+all)
		switch {
		case !ok:
		case slices.Contains(names, s):
			*dst = T(s)
		default:
			r.fail(v, "%s is none of %s", quoteName(s), all)
		}
	}
}

// truth reads true or false.
func (r *reader) truth(dst *bool) func(value) {
	return func(v value) {
		v, ok := r.visit(v)
		if !ok {
			return
		}
		if v.node.Kind != scalarNode || v.node.Tag != "!!bool" {
			want := "true or false"
			if v.node.Kind == scalarNode && (v.node.Value == "true" || v.node.Value == "false") {
				want += ": remove the quotes"
			}
			r.wrongType(v, want)
			return
		}
		*dst = strings.EqualFold(v.node.Value, "true")
	}
}

var wholeNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// number reads a whole number from 0 to most.
func number[T int | int64](r *reader, dst *T, most int64) func(value) {
	return func(v value) {
		v, ok := r.visit(v)
		if !ok {
			return
		}
		if v.node.Kind != scalarNode || v.node.Tag != "!!int" && v.node.Tag != "!!float" {
			want := "a whole number"
			if v.node.Kind == scalarNode && wholeNumber.MatchString(v.node.Value) {
				want = "a whole number: remove the quotes"
			}
			r.wrongType(v, want)
			return
		}
		s := v.node.Value
		if !wholeNumber.MatchString(s) {
			r.fail(v, "%s is not a whole number: write it with digits alone, as 2", plainName(s))
			return
		}
		if s[0] == '-' {
			r.fail(v, "%s is negative: write 0 or more", plainName(s))
			return
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n > most {
			r.fail(v, "%s is too much: write at most %d", plainName(s), most)
			return
		}
		*dst = T(n)
	}
}

var (
	durationForm = regexp.MustCompile(`^(([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+|[0-9]+(\.[0-9]+)?d)$`)
	bareNumber   = regexp.MustCompile(`^[0-9.]+$`)
)

// maxDuration keeps every sum of a time and a duration far from the end of time.
const maxDuration = policy.Duration(100 * 365 * 24 * time.Hour)

// duration reads a length of time, zero only where that means something.
func (r *reader) duration(dst *policy.Duration, zero bool) func(value) {
	return func(v value) {
		if n, ok := r.visit(v); ok && n.node.Kind == scalarNode && bareNumber.MatchString(n.node.Value) {
			r.fail(n, "%s has no unit: write it like 60s, 72h or 30d", plainName(n.node.Value))
			return
		}
		s, v, ok := r.text(v, "a length of time like 60s")
		if !ok {
			return
		}
		var d policy.Duration
		switch {
		case s[0] == '-' && durationForm.MatchString(s[1:]):
			r.fail(v, "%s is negative: write it like 60s, 72h or 30d", quoteName(s))
		case !durationForm.MatchString(s):
			r.fail(v, "%s is not a length of time: write it like 60s, 72h or 30d", quoteName(s))
		case d.UnmarshalText([]byte(s)) != nil || d > maxDuration:
			r.fail(v, "%s is too long: write at most 36500d", quoteName(s))
		case d == 0 && !zero:
			r.fail(v, "is no time at all: write more than 0, or remove the field")
		default:
			*dst = d
		}
	}
}

// moment reads a time with its zone, as UTC.
func (r *reader) moment(dst *time.Time) func(value) {
	return func(v value) {
		v, ok := r.visit(v)
		if !ok {
			return
		}
		if v.node.Kind != scalarNode || v.node.Tag != "!!timestamp" && v.node.Tag != "!!str" {
			r.wrongType(v, "a time like 2026-12-24T20:00:00Z")
			return
		}
		t, err := time.Parse(time.RFC3339, v.node.Value)
		t = t.UTC()
		switch {
		case err != nil || !momentForm.MatchString(v.node.Value):
			r.fail(v, "%s is not a time with its zone (RFC 3339): write it like 2026-12-24T20:00:00Z or 2026-12-24T21:00:00+01:00",
				quoteName(v.node.Value))
		case t.Year() < 1970 || t.Year() > 9999:
			r.fail(v, "%s is out of range: write a year from 1970 to 9999", quoteName(v.node.Value))
		default:
			*dst = t
		}
	}
}

// momentForm is what RFC 3339 permits and Go's time package accepts. Alone, the latter takes a little more.
var momentForm = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$`)

// addresses reads a list of address ranges, none of which may be there twice.
func (r *reader) addresses(dst *[]netip.Prefix) func(value) {
	return func(v value) {
		seen := map[netip.Prefix]int{}
		r.list(v, func(v value) {
			s, v, ok := r.text(v, aText)
			if !ok {
				return
			}
			p, problem := ParseAddressRange(s)
			if problem != "" {
				r.fail(v, "%s", problem)
				return
			}
			if first, twice := seen[p]; twice {
				r.fail(v, "%s is in the list twice, first in line %d: remove one", p, first)
				return
			}
			seen[p] = v.node.Line
			*dst = append(*dst, p)
		})
	}
}

// ParseAddressRange reads a range in CIDR notation or a single address. An IPv4 address in IPv6 form is the IPv4 address, as
// MistServer reports it.
func ParseAddressRange(s string) (p netip.Prefix, problem string) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), ""
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, quoteName(s) + " is not an address range: write it like 203.0.113.0/24, 2001:db8::/32 or 192.0.2.7"
	}
	if p.Masked() != p {
		return p, quoteName(s) + " has bits set behind its length: for the whole network write " + unmapped(p.Masked()).String()
	}
	return unmapped(p), ""
}

// unmapped is the IPv4 range that an IPv6 range of the form ::ffff:a.b.c.d/n means.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

package body

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Fields are the fields of an object. A field that is missing, null or an empty text is nothing: reading it gives the zero
// value. The first field that holds something else than is asked for is remembered, see [Fields.Err]. The zero Fields has no
// field.
type Fields struct {
	path string
	m    map[string]any
	err  *error
}

// Read reads a body that is an object.
func Read(data []byte) (Fields, error) {
	v, err := Parse(data)
	if err != nil {
		return Fields{}, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return Fields{}, fmt.Errorf("the body is %s: send an object", kind(v))
	}
	return Fields{m: m, err: new(error)}, nil
}

// Err is the first thing that was wrong with any of the body's fields that were asked for.
func (f Fields) Err() error {
	if f.err == nil {
		return nil
	}
	return *f.err
}

// Has says whether a field is there and not null.
func (f Fields) Has(name string) bool { return f.m[name] != nil }

// Any is whatever stands in a field of an object in a field; nil where anything else than objects is on the way.
func (f Fields) Any(object, name string) any {
	m, _ := f.m[object].(map[string]any)
	return m[name]
}

// Missing notes that a field must be there.
func (f Fields) Missing(name, advice string) { f.fail(name, "is missing: %s", advice) }

func (f Fields) fail(name, format string, args ...any) {
	if f.err != nil && *f.err == nil {
		*f.err = &FieldError{join(f.path, name), fmt.Sprintf(format, args...)}
	}
}

// In are the fields of an object in a field.
func (f Fields) In(name string) Fields {
	v := f.m[name]
	m, ok := v.(map[string]any)
	if v != nil && !ok {
		f.fail(name, "is %s: send an object", kind(v))
	}
	return Fields{join(f.path, name), m, f.err}
}

// List are the objects of a list.
func (f Fields) List(name string) []Fields {
	v := f.m[name]
	items, ok := v.([]any)
	if v != nil && !ok {
		f.fail(name, "is %s: send a list", kind(v))
	}
	list := make([]Fields, 0, len(items))
	for i, item := range items {
		m, ok := item.(map[string]any)
		if !ok {
			f.fail(name, "holds %s: send a list of objects", kind(item))
		}
		list = append(list, Fields{fmt.Sprintf("%s[%d]", join(f.path, name), i), m, f.err})
	}
	return list
}

// Text is a text.
func (f Fields) Text(name string) string {
	s, problem := Text(f.m[name])
	if problem != "" {
		f.fail(name, "%s", problem)
	}
	return s
}

// ID is a text that names something, see [CheckID].
func (f Fields) ID(name string) string {
	s := f.Text(name)
	if problem := CheckID(s); s != "" && problem != "" {
		f.fail(name, "%s", problem)
		return ""
	}
	return s
}

// Truth is true or false.
func (f Fields) Truth(name string) bool {
	b, problem := Truth(f.m[name])
	if problem != "" {
		f.fail(name, "%s", problem)
	}
	return b
}

// Time is a moment as RFC 3339 writes it, see [Time]. An empty text is none: it may have been meant as an end.
func (f Fields) Time(name string) time.Time {
	v := f.m[name]
	if v == nil {
		return time.Time{}
	}
	t, problem := Time(v)
	if problem != "" {
		f.fail(name, "%s", problem)
	}
	return t
}

// Amount is an amount of money in the currency's smallest unit, as a number; ok says whether it is there.
func (f Fields) Amount(name string) (n int64, ok bool) { return f.amount(name, Amount) }

// AmountText is an amount that is written as a text of digits.
func (f Fields) AmountText(name string) (n int64, ok bool) { return f.amount(name, amountText) }

func (f Fields) amount(name string, read func(any) (int64, string)) (n int64, ok bool) {
	v := f.m[name]
	if v == nil {
		return 0, false
	}
	n, problem := read(v)
	if problem != "" {
		f.fail(name, "%s", problem)
	}
	return n, problem == ""
}

// What follows reads one value, and says what is wrong with it.

// Text is a text; empty where the value is null.
func Text(v any) (s, problem string) {
	if v == nil {
		return "", ""
	}
	s, ok := v.(string)
	switch {
	case !ok:
		return "", fmt.Sprintf("is %s: write a text", kind(v))
	// The decoder makes this letter of halves of a letter, so that two texts could look like one.
	case strings.ContainsAny(s, "\x00\uFFFD"):
		return "", "holds a character that is no letter: correct it"
	}
	return s, ""
}

// MaxID is how many bytes a name may have.
const MaxID = 256

// CheckID says what keeps a text from being a name of something.
func CheckID(s string) (problem string) {
	switch {
	case s == "":
		return "is empty"
	case len(s) > MaxID:
		return fmt.Sprintf("is longer than %d bytes", MaxID)
	case strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7F }):
		return "holds a control character"
	}
	return ""
}

// Truth is true or false; false where the value is null.
func Truth(v any) (b bool, problem string) {
	if v == nil {
		return false, ""
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Sprintf("is %s: write true or false", Show(v))
	}
	return b, ""
}

// Moments outside these years are mistakes: seconds that were meant as milliseconds, or the other way round.
const minYear, maxYear = 2000, 2200

// timeForm is what RFC 3339 permits of what Go's time package accepts.
var timeForm = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$`)

// Time is a moment as RFC 3339 writes it, in UTC.
func Time(v any) (t time.Time, problem string) {
	s, ok := v.(string)
	if ok && timeForm.MatchString(s) {
		var err error
		if t, err = time.Parse(time.RFC3339, s); err == nil {
			return bounded(t)
		}
	}
	return time.Time{}, fmt.Sprintf("is %s: write a time with its zone (RFC 3339), like 2026-12-24T20:00:00Z", Show(v))
}

// UnixTime is a moment as a count since 1970 of units as long as this one, as a number or a text of digits, in UTC.
func UnixTime(v any, unit time.Duration) (t time.Time, problem string) {
	s := ""
	switch v := v.(type) {
	case json.Number:
		s = v.String()
	case string:
		s = v
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || !whole.MatchString(s) {
		return time.Time{}, fmt.Sprintf("is %s: write a whole number of %s since 1970", Show(v), map[time.Duration]string{
			time.Second: "seconds", time.Millisecond: "milliseconds",
		}[unit])
	}
	perSecond := int64(time.Second / unit)
	return bounded(time.Unix(n/perSecond, n%perSecond*int64(unit)))
}

func bounded(t time.Time) (time.Time, string) {
	t = t.UTC()
	if t.Year() < minYear || t.Year() >= maxYear {
		return time.Time{}, fmt.Sprintf("is in the year %d: write a time from %d to %d", t.Year(), minYear, maxYear-1)
	}
	return t, ""
}

var whole = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)

// maxAmount is what every database and every JSON reader can hold.
const maxAmount = 1<<53 - 1

// Amount is an amount of money in the currency's smallest unit.
func Amount(v any) (n int64, problem string) {
	if number, ok := v.(json.Number); ok {
		return parseAmount(v, number.String())
	}
	return 0, notAmount(v)
}

func amountText(v any) (n int64, problem string) {
	if s, ok := v.(string); ok {
		return parseAmount(v, s)
	}
	return 0, notAmount(v)
}

func parseAmount(v any, s string) (n int64, problem string) {
	if !whole.MatchString(s) {
		return 0, notAmount(v)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > maxAmount {
		return 0, fmt.Sprintf("is %s: it is at most %d", Show(v), int64(maxAmount))
	}
	return n, ""
}

func notAmount(v any) string {
	return fmt.Sprintf("is %s: write a whole number in the currency's smallest unit", Show(v))
}

// MajorAmount is an amount of money in the currency's own unit, such as 9.99, as the count of its smallest unit, of which
// there are ten to the power of decimals in one. It is a number or a text.
func MajorAmount(v any, decimals int) (n int64, problem string) {
	s := ""
	switch v := v.(type) {
	case json.Number:
		s = v.String()
	case string:
		s = v
	}
	units, fraction, point := strings.Cut(s, ".")
	trimmed := strings.TrimRight(fraction, "0")
	if !whole.MatchString(units) || point && !digits.MatchString(fraction) || len(trimmed) > decimals {
		return 0, fmt.Sprintf("is %s: write an amount with at most %d decimals, like 9.99", Show(v), decimals)
	}
	all := strings.TrimLeft(units+trimmed+strings.Repeat("0", decimals-len(trimmed)), "0")
	if all == "" {
		all = "0"
	}
	return parseAmount(v, all)
}

var digits = regexp.MustCompile(`^[0-9]+$`)

// kind says what a value is, and nothing of what it holds.
func kind(v any) string {
	switch v.(type) {
	case string:
		return "a text"
	case json.Number:
		return "a number"
	case bool:
		return "true or false"
	case nil:
		return "null"
	case []any:
		return "a list"
	default:
		return "an object"
	}
}

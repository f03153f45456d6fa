package body_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing/events/body"
)

func TestParse(t *testing.T) {
	v, err := body.Parse([]byte(` {"a": [1.50, "x", true, null, {}], "A": 1e400} `))
	require.NoError(t, err)
	assert.Equal(t, map[string]any{
		"a": []any{json.Number("1.50"), "x", true, nil, map[string]any{}}, "A": json.Number("1e400"),
	}, v)
}

func TestParseFaults(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{`{"a": {"b": [{"c": 1, "c": 2}]}}`, "a.b[0].c is there twice: send it once"},
		{`{"a": 1, "\u0061": 2}`, "a is there twice: send it once"},
		{`{"secret word": 1, "secret word": 2}`, "… is there twice: send it once"},
		{`{"a": [[{"b": 1, "b": 2}]]}`, "a[0][0].b is there twice: send it once"},
		{strings.Repeat(`{"abcdefghij":`, 500) + `{"b": 1, "b": 2}` + strings.Repeat("}", 500), "…"},
		{`{"a": 1,}`, "not JSON"},
		{`{"a" 1}`, "not JSON"},
		{`{a: 1}`, "not JSON"},
		{``, "ends before"},
		{`["`, "ends before"},
		{`[1 2]`, "not JSON"},
		{`[1}`, "not JSON"},
		{`{"a": 1]`, "not JSON"},
		{`{"a":`, "ends before"},
		{`01`, "behind its JSON value"},
		{`NaN`, "not JSON"},
		{"\xef\xbb\xbf{}", "not JSON"},
		{strings.Repeat("[", 1001) + strings.Repeat("]", 1001), "nested deeper than 1000 levels"},
		{strings.Repeat(`{"a":`, 1_000_000), "nested deeper than 1000 levels"},
	} {
		_, err := body.Parse([]byte(c.data))
		assert.ErrorContains(t, err, c.want, c.data[:min(len(c.data), 50)])
	}
	_, err := body.Parse([]byte(strings.Repeat("[", 1000) + strings.Repeat("]", 1000)))
	assert.NoError(t, err)
}

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string // empty: an error
	}{
		{"2026-12-24T20:00:00Z", "2026-12-24T20:00:00Z"},
		{"2026-12-24T20:00:00.123456789+01:30", "2026-12-24T18:30:00.123456789Z"},
		{"2026-12-24T20:00:00,5Z", ""}, {"2026-12-24T20:00:00", ""}, {"2026-12-24", ""}, {"2026-12-24t20:00:00z", ""},
		{"2026-12-24T20:00:60Z", ""}, {"2026-12-24T20:00:00+25:00", ""}, {"", ""}, {nil, ""}, {json.Number("1"), ""},
		{"1999-12-31T23:30:00-01:00", "2000-01-01T00:30:00Z"}, {"2000-01-01T00:30:00+01:00", ""},
		{"2199-12-31T23:59:59.999999999Z", "2199-12-31T23:59:59.999999999Z"}, {"2199-12-31T23:30:00-01:00", ""},
	} {
		got, problem := body.Time(c.v)
		check(t, c.v, c.want, got, problem)
	}
	for _, c := range []struct {
		v    any
		unit time.Duration
		want string
	}{
		{json.Number("1798142400"), time.Second, "2026-12-24T20:00:00Z"},
		{"1798142400", time.Second, "2026-12-24T20:00:00Z"},
		{json.Number("1798142400123"), time.Millisecond, "2026-12-24T20:00:00.123Z"},
		{json.Number("1798142400123"), time.Second, ""}, // milliseconds
		{json.Number("1798142400"), time.Millisecond, ""},
		{json.Number("1798142400.5"), time.Second, ""}, {json.Number("1e9"), time.Second, ""}, {json.Number("-1"), time.Second, ""},
		{json.Number("99999999999999999999"), time.Second, ""}, {"+1798142400", time.Second, ""}, {true, time.Second, ""}, {nil, time.Second, ""},
	} {
		got, problem := body.UnixTime(c.v, c.unit)
		check(t, c.v, c.want, got, problem)
	}
}

func check(t *testing.T, v any, want string, got time.Time, problem string) {
	t.Helper()
	if want == "" {
		assert.NotEmpty(t, problem, v)
		assert.Zero(t, got, v)
		return
	}
	assert.Empty(t, problem, v)
	assert.Equal(t, want, got.Format(time.RFC3339Nano), v)
}

func TestAmounts(t *testing.T) {
	for _, c := range []struct {
		v        any
		decimals int
		want     int64 // -1: an error
	}{
		{json.Number("9.99"), 2, 999}, {"9.99", 2, 999}, {"9.9", 2, 990}, {"9", 2, 900}, {"0", 2, 0}, {"0.00", 2, 0}, {"0.01", 2, 1},
		{"9.990", 2, 999}, {"9.9900000000", 2, 999}, {"9.991", 2, -1}, {"9.", 2, -1}, {".99", 2, -1}, {"9,99", 2, -1}, {"-9.99", 2, -1}, {"+1", 2, -1},
		{"1e3", 2, -1}, {json.Number("1e3"), 2, -1}, {"09.99", 2, -1}, {"", 2, -1}, {" 9", 2, -1}, {nil, 2, -1}, {true, 2, -1}, {"9.9x", 2, -1},
		{"500", 0, 500}, {"500.0", 0, 500}, {"500.5", 0, -1}, {"1.234", 3, 1234}, {"0.1", 8, 10_000_000},
		{"90071992547409.91", 2, 1<<53 - 1}, {"90071992547409.92", 2, -1}, {"99999999999999999999999", 2, -1},
		{json.Number("8.27"), 2, 827}, {json.Number("1.15"), 2, 115}, // which floating-point numbers get wrong
	} {
		got, problem := body.MajorAmount(c.v, c.decimals)
		if c.want < 0 {
			assert.NotEmpty(t, problem, c.v)
			assert.Zero(t, got, c.v)
			continue
		}
		assert.Empty(t, problem, c.v)
		assert.Equal(t, c.want, got, c.v)
	}
}

// An amount is within its bounds, or is none.
func FuzzMajorAmount(f *testing.F) {
	f.Add("9.99", 2)
	f.Fuzz(func(t *testing.T, s string, decimals int) {
		if decimals < 0 || decimals > 8 {
			return
		}
		n, problem := body.MajorAmount(s, decimals)
		assert.GreaterOrEqual(t, n, int64(0))
		assert.LessOrEqual(t, n, int64(1<<53-1))
		assert.True(t, problem == "" || n == 0)
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"a": [1.50, "x", true, null, {}]}`))
	f.Add([]byte(`{"a": 1, "a": 2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := body.Parse(data)
		if err != nil {
			return
		}
		assert.True(t, json.Valid(data))
		out, err := json.Marshal(v)
		require.NoError(t, err)
		again, err := body.Parse(out)
		require.NoError(t, err)
		assert.Equal(t, v, again)
	})
}

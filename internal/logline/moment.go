package logline

import (
	"sync/atomic"
	"time"
)

// isOrdinary says whether a time is one that both handlers write: of a year with four digits, wherever it is told.
func isOrdinary(t time.Time) bool {
	s := t.Unix()
	return s >= 0 && s < 250_000_000_000 // the year 9892
}

// second is a second, written out. Thousands of lines are of the same one.
type second struct {
	unix       int64
	where      *time.Location
	text, zone string // "2026-11-28T12:00:00" and "Z"
}

var latest atomic.Pointer[second]

func secondOf(t time.Time) *second {
	s := latest.Load()
	if s == nil || s.unix != t.Unix() || s.where != t.Location() {
		const upToSeconds = len("2006-01-02T15:04:05")
		text := t.Truncate(time.Second).Format(time.RFC3339)
		s = &second{t.Unix(), t.Location(), text[:upToSeconds], text[upToSeconds:]}
		latest.Store(s)
	}
	return s
}

// appendMillis appends a time as slog.TextHandler does: RFC 3339, to the millisecond.
func appendMillis(b []byte, t time.Time) []byte {
	s, n := secondOf(t), t.Nanosecond()/1e6
	b = append(append(b, s.text...), '.', byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
	return append(b, s.zone...)
}

// appendNanos appends a time as slog.JSONHandler does: RFC 3339, to the nanosecond, without zeros at the end.
func appendNanos(b []byte, t time.Time) []byte {
	s, n := secondOf(t), t.Nanosecond()
	b = append(b, s.text...)
	if n > 0 {
		b = append(b, ".000000000"...)
		for i := len(b) - 1; n > 0; i, n = i-1, n/10 {
			b[i] = byte('0' + n%10)
		}
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return append(b, s.zone...)
}

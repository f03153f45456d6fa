package logline

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
)

// handler writes plain lines itself. What is not plain, and whatever has attributes or groups of its own, it leaves to
// slog's handler, which writes to the same place.
type handler struct {
	slog.Handler
	w      io.Writer // takes one line a call, from many at once
	format Format
}

func newHandler(w io.Writer, level slog.Level, format Format) slog.Handler {
	options := &slog.HandlerOptions{Level: level}
	if format == JSON {
		return &handler{slog.NewJSONHandler(w, options), w, format}
	}
	return &handler{slog.NewTextHandler(w, options), w, format}
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	var plain bool
	if h.format == JSON {
		*b, plain = appendJSON((*b)[:0], &r)
	} else {
		*b, plain = appendText((*b)[:0], &r)
	}
	if !plain {
		return h.Handler.Handle(ctx, r)
	}
	_, err := h.w.Write(*b)
	return err
}

// buffers hold a line each. A longer one than longestLine is not plain, so none of them grows.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2*longestLine); return &b }}

// longestLine is how long a plain line may become, in bytes, before its last attribute; longestValue how long a text.
const longestLine, longestValue = 1 << 10, 512

// appendText appends the line that slog.TextHandler makes of a record. It is none when the record is not plain: when it
// has a value that is no text, whole number or truth, or a text in which something must be escaped.
func appendText(b []byte, r *slog.Record) (line []byte, plain bool) {
	if !isOrdinary(r.Time) {
		return b, false
	}
	b = append(b, "time="...)
	b = appendMillis(b, r.Time)
	b = append(b, " level="...)
	ok := textValue(&b, r.Level.String())
	b = append(b, " msg="...)
	ok = ok && textValue(&b, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		b = append(b, ' ')
		ok = ok && len(b) < longestLine && textValue(&b, a.Key)
		b = append(b, '=')
		switch a.Value.Kind() {
		case slog.KindString:
			ok = ok && textValue(&b, a.Value.String())
		case slog.KindInt64:
			b = strconv.AppendInt(b, a.Value.Int64(), 10)
		case slog.KindBool:
			b = strconv.AppendBool(b, a.Value.Bool())
		default:
			ok = false
		}
		return ok
	})
	return append(b, '\n'), ok
}

// appendJSON appends the line that slog.JSONHandler makes of a record, where it is plain.
func appendJSON(b []byte, r *slog.Record) (line []byte, plain bool) {
	if !isOrdinary(r.Time) {
		return b, false
	}
	b = append(b, `{"time":"`...)
	b = appendNanos(b, r.Time)
	b = append(b, `","level":`...)
	ok := jsonValue(&b, r.Level.String())
	b = append(b, `,"msg":`...)
	ok = ok && jsonValue(&b, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		b = append(b, ',')
		ok = ok && len(b) < longestLine && jsonValue(&b, a.Key)
		b = append(b, ':')
		switch a.Value.Kind() {
		case slog.KindString:
			ok = ok && jsonValue(&b, a.Value.String())
		case slog.KindInt64:
			b = strconv.AppendInt(b, a.Value.Int64(), 10)
		case slog.KindBool:
			b = strconv.AppendBool(b, a.Value.Bool())
		default:
			ok = false
		}
		return ok
	})
	return append(b, '}', '\n'), ok
}

// textValue appends a key or a value as slog.TextHandler does; false where something in it must be escaped.
func textValue(b *[]byte, text string) bool {
	s := signs(text)
	switch {
	case len(text) > longestValue || s&escaped != 0 || s&quoted != 0 && s&escapedInQuotes != 0:
		return false
	case s&quoted != 0 || text == "":
		*b = append(append(append(*b, '"'), text...), '"')
	default:
		*b = append(*b, text...)
	}
	return true
}

// jsonValue does the same as slog.JSONHandler.
func jsonValue(b *[]byte, text string) bool {
	if len(text) > longestValue || signs(text)&escapedInJSON != 0 {
		return false
	}
	*b = append(append(append(*b, '"'), text...), '"')
	return true
}

// What a byte does to the text that it stands in.
const (
	quoted          = 1 << iota // it stands in quotes
	escapedInQuotes             // where it stands in quotes it is escaped
	escaped                     // it is in quotes and escaped
	escapedInJSON
)

// signs are those of all the bytes of a text.
func signs(text string) (s uint8) {
	for i := range len(text) {
		s |= signOf[text[i]]
	}
	return s
}

// signOf follows log/slog's needsQuoting and safeSet. Beyond ASCII it depends on the letter: slog knows.
var signOf = func() (of [256]uint8) {
	for c := range of {
		switch {
		case c < ' ' || c == '"' || c > 0x7f:
			of[c] = escaped | escapedInJSON
		case c == ' ' || c == '=':
			of[c] = quoted
		case c == '\\':
			of[c] = escapedInQuotes | escapedInJSON
		case c == 0x7f:
			of[c] = escapedInQuotes
		}
	}
	return of
}()

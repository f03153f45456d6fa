package logline

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
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
	l := h.begin(r.Time, r.Level, r.Message)
	defer lines.Put(l)
	r.Attrs(l.add)
	if !l.end() {
		return h.Handler.Handle(ctx, r)
	}
	_, err := h.w.Write(l.b)
	return err
}

// Write writes a line with attributes to a handler, as a record of them would be: with a handler of this package at less cost.
func Write(ctx context.Context, to slog.Handler, at time.Time, level slog.Level, message string, attrs ...slog.Attr) error {
	if h, ok := to.(*handler); ok {
		l := h.begin(at, level, message)
		defer lines.Put(l)
		for i := range attrs {
			if !l.add(attrs[i]) {
				break
			}
		}
		if l.end() {
			_, err := h.w.Write(l.b)
			return err
		}
		to = h.Handler
	}
	r := slog.NewRecord(at, level, message, 0)
	r.AddAttrs(attrs...)
	return to.Handle(ctx, r)
}

// line is a line while it is being written. Once it turns out not to be plain, when it has a value that is no text, whole
// number or truth, or a text in which something must be escaped, what stands there means nothing.
type line struct {
	b      []byte
	format Format
	odd    bool // not plain
}

// lines are kept for those to come. None grows: a longer one than longestLine is not plain.
var lines = sync.Pool{New: func() any { return &line{b: make([]byte, 0, 2*longestLine)} }}

// longestLine is how long a plain line may become, in bytes, before its last attribute; longestValue how long a text.
const longestLine, longestValue = 1 << 10, 512

func (h *handler) begin(at time.Time, level slog.Level, message string) *line {
	l := lines.Get().(*line)
	l.b, l.format, l.odd = l.b[:0], h.format, !isOrdinary(at)
	switch {
	case l.odd:
	case l.format == JSON:
		l.b = appendNanos(append(l.b, `{"time":"`...), at)
		l.b = append(l.b, `","level":`...)
		l.text(level.String())
		l.b = append(l.b, `,"msg":`...)
		l.text(message)
	default:
		l.b = appendMillis(append(l.b, "time="...), at)
		l.b = append(l.b, " level="...)
		l.text(level.String())
		l.b = append(l.b, " msg="...)
		l.text(message)
	}
	return l
}

// add adds an attribute; false when the line is not plain.
func (l *line) add(a slog.Attr) bool {
	between, equals := byte(' '), byte('=')
	if l.format == JSON {
		between, equals = ',', ':'
	}
	l.odd = l.odd || len(l.b) > longestLine
	l.b = append(l.b, between)
	l.text(a.Key)
	l.b = append(l.b, equals)
	switch a.Value.Kind() {
	case slog.KindString:
		l.text(a.Value.String())
	case slog.KindInt64:
		l.b = strconv.AppendInt(l.b, a.Value.Int64(), 10)
	case slog.KindBool:
		l.b = strconv.AppendBool(l.b, a.Value.Bool())
	default:
		l.odd = true
	}
	return !l.odd
}

// text adds a key or a text, as slog does it.
func (l *line) text(text string) {
	s := signs(text)
	switch {
	case l.odd || len(text) > longestValue || s&l.format.escaped() != 0 || s&quoted != 0 && s&escapedInQuotes != 0 && l.format == Text:
		l.odd = true
	case s&quoted != 0 || text == "" || l.format == JSON:
		l.b = append(append(append(l.b, '"'), text...), '"')
	default:
		l.b = append(l.b, text...)
	}
}

// escaped is the sign of what must be escaped wherever it stands.
func (f Format) escaped() uint8 {
	if f == JSON {
		return escapedInJSON
	}
	return escapedInText
}

// end ends the line, and says whether it is plain.
func (l *line) end() bool {
	if l.format == JSON {
		l.b = append(l.b, '}')
	}
	l.b = append(l.b, '\n')
	return !l.odd
}

// What a byte does to the text that it stands in.
const (
	quoted          = 1 << iota // slog.TextHandler puts it in quotes,
	escapedInQuotes             // and escapes this in it where it does,
	escapedInText               // and this in quotes anyway
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
			of[c] = escapedInText | escapedInJSON
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

package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// MistServer's JSON reader takes the bytes of a text as they are, and spoils \u escapes from U+0800 on (source). So texts
// go out as their own bytes, whichever they are, and only what JSON cannot hold is escaped. encoding/json would replace bytes
// that are not UTF-8, and name another stream.

const hexDigits = "0123456789abcdef"

// appendText appends a text as JSON.
func appendText(b []byte, text string) []byte {
	b = append(b, '"')
	from := 0
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, text[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, text[from:]...), '"')
}

// textLength is the length of what appendText appends.
func textLength(text string) int {
	n := len(text) + len(`""`)
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"', c == '\\', c == '\n', c == '\r', c == '\t':
			n++
		case c < ' ':
			n += len(`\u0000`) - 1
		}
	}
	return n
}

func appendTexts(b []byte, texts []string) []byte {
	b = append(b, '[')
	for i, text := range texts {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, text)
	}
	return append(b, ']')
}

// appendObject appends a map as an object, its members in the order of their names.
func appendObject[V any](b []byte, members map[string]V, value func([]byte, V) ([]byte, error)) ([]byte, error) {
	b = append(b, '{')
	var err error
	for i, name := range slices.Sorted(maps.Keys(members)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, name), ':')
		if b, err = value(b, members[name]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// appendValue appends a value as JSON. Maps and lists of texts keep their bytes; what encoding/json has to write is
// written without escapes.
func appendValue(b []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case string:
		return appendText(b, v), nil
	case []string:
		return appendTexts(b, v), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case map[string]any:
		return appendObject(b, v, appendValue)
	case map[string]string:
		return appendObject(b, v, func(b []byte, s string) ([]byte, error) { return appendText(b, s), nil })
	case map[string][]string:
		return appendObject(b, v, func(b []byte, s []string) ([]byte, error) { return appendTexts(b, s), nil })
	case map[string][]Trigger:
		return appendObject(b, v, appendTriggers)
	case json.RawMessage:
		return appendRaw(b, v)
	}
	written, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return appendUnescaped(b, written), nil
}

func appendRaw(b []byte, raw json.RawMessage) ([]byte, error) {
	if len(raw) == 0 {
		return append(b, "null"...), nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return nil, fmt.Errorf("raw JSON: %w", err)
	}
	return appendUnescaped(b, compact.Bytes()), nil
}

// appendUnescaped appends JSON with every \u escape from U+0080 on replaced by the character itself.
func appendUnescaped(b, raw []byte) []byte {
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 || i+1 >= len(raw) {
			return append(b, raw...)
		}
		b = append(b, raw[:i]...)
		raw = raw[i:]
		if r, n := escapedRune(raw); n > 0 && r >= utf8.RuneSelf {
			b = utf8.AppendRune(b, r)
			raw = raw[n:]
			continue
		}
		b = append(b, raw[:2]...)
		raw = raw[2:]
	}
	return b
}

// escapedRune is the character that a \u escape, or two that belong together, stands for, and the length of that; 0 when
// there is none, or half of one.
func escapedRune[T []byte | string](text T) (rune, int) {
	first, ok := escapedUnit(text)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(first) {
		return first, 6
	}
	second, ok := escapedUnit(text[6:])
	if r := utf16.DecodeRune(first, second); ok && r != utf8.RuneError {
		return r, 12
	}
	return 0, 0
}

func escapedUnit[T []byte | string](text T) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(n), err == nil
}

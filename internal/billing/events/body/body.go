// Package body reads what billing systems send: JSON, strictly. A field is matched by its exact name, and one that is there
// twice is an error, since two readers could each believe another of the two. Numbers stay as they are written: money never
// becomes a floating-point number.
//
// It is for the packages that read events of one provider. Its errors say which field is wrong and what to write; of what was
// sent they hold at most the first letters of one value that is no text of people.
package body

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep a body may be nested. Those of billing systems have about ten levels; a customer may have a say in
// what they carry along.
const maxDepth = 1000

// Parse reads one JSON document as a tree of map[string]any, []any, string, [json.Number], bool and nil.
func Parse(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := value(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the body has something behind its JSON value: send one value")
	}
	return v, nil
}

func value(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, notJSON(d, err)
	}
	delim, ok := t.(json.Delim)
	switch {
	case !ok:
		return t, nil
	case depth == maxDepth:
		return nil, fmt.Errorf("the body is nested deeper than %d levels", maxDepth)
	case delim == '[':
		return list(d, depth)
	default:
		return object(d, depth)
	}
}

func list(d *json.Decoder, depth int) (any, error) {
	items := []any{}
	for d.More() {
		v, err := value(d, depth+1)
		if err != nil {
			return nil, within(fmt.Sprintf("[%d]", len(items)), err)
		}
		items = append(items, v)
	}
	return items, closing(d)
}

func object(d *json.Decoder, depth int) (any, error) {
	fields := map[string]any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, notJSON(d, err)
		}
		name, _ := t.(string) // the decoder lets nothing else stand here
		if _, twice := fields[name]; twice {
			return nil, &FieldError{join("", name), "is there twice: send it once"}
		}
		v, err := value(d, depth+1)
		if err != nil {
			return nil, within(join("", name), err)
		}
		fields[name] = v
	}
	return fields, closing(d)
}

// within says of an error in a value where that stands. The way there is put together only once there is an error, and only
// its first steps are: a body that is made for that purpose must not make it long.
func within(step string, err error) error {
	const most = 200
	var field *FieldError
	if !errors.As(err, &field) {
		return err
	}
	switch {
	case len(field.Field) > most:
		field.Field = step + ".…" // what is left out stays short
	case field.Field[0] == '[':
		field.Field = step + field.Field
	default:
		field.Field = step + "." + field.Field
	}
	return field
}

// closing reads the bracket that ends a list or an object.
func closing(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return notJSON(d, err)
	}
	return nil
}

// notJSON says where a body stops being JSON, and nothing of what it holds.
func notJSON(d *json.Decoder, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the body ends before its JSON does")
	}
	return fmt.Errorf("the body is not JSON after its first %d bytes", d.InputOffset())
}

// join is the path of a field. What is no ordinary name is not repeated.
func join(path, name string) string {
	const most = 64
	if name == "" || len(name) > most || strings.ContainsFunc(name, func(c rune) bool {
		return !(c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
	}) {
		name = "…"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// FieldError says what is wrong with one field.
type FieldError struct {
	Field   string // as data.amount
	Problem string // what is wrong, and what to write
}

func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

// Show is a value in an error: a number, or the first letters of a text.
func Show(v any) string {
	const most = 40
	switch v := v.(type) {
	case string:
		if utf8.RuneCountInString(v) > most {
			return fmt.Sprintf("%q…", string([]rune(v)[:most]))
		}
		return fmt.Sprintf("%q", v)
	case json.Number:
		if len(v) > most {
			return v.String()[:most] + "…"
		}
		return v.String()
	case bool:
		return fmt.Sprint(v)
	case nil:
		return "null"
	case []any:
		return "a list"
	default:
		return "an object"
	}
}

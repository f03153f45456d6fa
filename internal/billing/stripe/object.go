package stripe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// maxDepth is more than Stripe nests: objects may be expanded four deep.
	maxDepth = 64
	// maxID is the longest id in bytes: the inbox and the records have room for no more. Stripe's own are shorter.
	maxID = 255
	// maxText is the longest other text in characters: Stripe's limit for a value of metadata.
	maxText = 500
	// maxUnix is the last second that can be written as RFC 3339.
	maxUnix = 253402300799
)

// object is a JSON object while it is read. Reading goes on after a fault with nothing in the field's place, and the
// document keeps the first fault. A field that is null is as good as missing.
//
// A field's name is matched to the letter. package json would take "User_ID" in metadata for "user_id", and some of
// metadata is of strangers' making.
type object struct {
	doc    *document
	path   string
	fields map[string]json.RawMessage // nil when the object is missing
}

type document struct{ err error }

// parse opens a document. It refuses what two readers could read differently: an object with a name in it twice.
// No error quotes the document.
func parse(body []byte) (object, error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return object{}, errors.New("the body is not JSON")
	}
	if err := walk(body); err != nil {
		return object{}, err
	}
	o := object{doc: new(document)}
	if json.Unmarshal(body, &o.fields) != nil || o.fields == nil {
		return object{}, errors.New("the body is not a JSON object")
	}
	return o, nil
}

// walk looks at how a valid document is nested, and at the names in each of its objects.
func walk(body []byte) error {
	type level struct {
		names map[string]bool // nil in a list
		value bool            // of an object: the next token belongs to a value
	}
	var levels []level
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.New("the body is not JSON")
		}
		switch token {
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:len(levels)-1]
			continue
		}
		if n := len(levels) - 1; n >= 0 && levels[n].names != nil {
			if name, ok := token.(string); ok && !levels[n].value {
				if levels[n].names[name] {
					return errors.New("the body has a name twice in one object")
				}
				levels[n].names[name] = true
				levels[n].value = true
				continue
			}
			levels[n].value = false
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{names: make(map[string]bool)})
		case json.Delim('['):
			levels = append(levels, level{})
		}
		if len(levels) > maxDepth {
			return errors.New("the body is nested too deeply")
		}
	}
}

// at is where a field stands in the document.
func (o object) at(name string) string { return strings.TrimPrefix(o.path+"."+name, ".") }

func (o object) fault(name, problem string) {
	if o.doc.err == nil {
		o.doc.err = fmt.Errorf("%s %s", o.at(name), problem)
	}
}

// raw is a field's JSON; nil when it is missing.
func (o object) raw(name string) json.RawMessage {
	raw := o.fields[name]
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// text is a field's text; empty when it is missing.
func (o object) text(name string) string {
	raw := o.raw(name)
	if raw == nil {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		o.fault(name, "is not a string")
		return ""
	}
	switch {
	case utf8.RuneCountInString(s) > maxText:
		o.fault(name, "is too long")
	case strings.ContainsRune(s, 0):
		o.fault(name, "has a character that cannot be stored")
	default:
		return s
	}
	return ""
}

// id is an id, whether the field holds it or the whole object that it is of (docs.stripe.com/api/expanding_objects); empty
// when it is missing.
func (o object) id(name string) string {
	var s string
	if in := o.expanded(name); in.fields != nil {
		s = in.needID("id")
	} else {
		s = o.text(name)
	}
	switch {
	case len(s) > maxID:
		o.fault(name, "is too long")
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }):
		o.fault(name, "has a character that no id has")
	default:
		return s
	}
	return ""
}

func (o object) needID(name string) string {
	s := o.id(name)
	if s == "" {
		o.fault(name, "is missing")
	}
	return s
}

// whole is a whole number, and whether there is one.
func (o object) whole(name string) (int64, bool) {
	raw := o.raw(name)
	if raw == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		o.fault(name, "is not a whole number")
		return 0, false
	}
	return n, true
}

// amount is money in the currency's smallest unit, and whether any is named.
func (o object) amount(name string) (int64, bool) {
	n, there := o.whole(name)
	if n < 0 {
		o.fault(name, "is negative")
		return 0, false
	}
	return n, there
}

func (o object) needAmount(name string) int64 {
	n, there := o.amount(name)
	if !there {
		o.fault(name, "is missing")
	}
	return n
}

// currency is a currency's three letters, in lowercase; empty when it is missing.
func (o object) currency(name string) string {
	s := strings.ToLower(o.text(name))
	if s != "" && (len(s) != 3 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") != "") {
		o.fault(name, "is not three letters")
		return ""
	}
	return s
}

// moment is a time in Unix seconds; zero when it is missing.
func (o object) moment(name string) time.Time {
	n, there := o.whole(name)
	if !there {
		return time.Time{}
	}
	if n <= 0 || n > maxUnix {
		o.fault(name, "is out of range")
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

func (o object) needMoment(name string) time.Time {
	t := o.moment(name)
	if t.IsZero() {
		o.fault(name, "is missing")
	}
	return t
}

// whether is a yes or no, and whether there is one.
func (o object) whether(name string) (yes, there bool) {
	switch string(o.raw(name)) {
	case "":
		return false, false
	case "true":
		return true, true
	case "false":
		return false, true
	}
	o.fault(name, "is neither true nor false")
	return false, false
}

func (o object) needWhether(name string) bool {
	yes, there := o.whether(name)
	if !there {
		o.fault(name, "is missing")
	}
	return yes
}

// in is an object within; one without fields when it is missing.
func (o object) in(name string) object {
	in := object{doc: o.doc, path: o.at(name)}
	if raw := o.raw(name); raw != nil && json.Unmarshal(raw, &in.fields) != nil {
		o.fault(name, "is not an object")
		in.fields = nil
	}
	return in
}

// expanded is the object in a field that may hold its id alone; one without fields then.
func (o object) expanded(name string) object {
	if raw := o.raw(name); raw == nil || raw[0] != '{' {
		return object{doc: o.doc, path: o.at(name)}
	}
	return o.in(name)
}

// list are the elements of a list as they stand there, and whether there is a list.
func (o object) list(name string) ([]json.RawMessage, bool) {
	raw := o.raw(name)
	if raw == nil {
		return nil, false
	}
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) != nil {
		o.fault(name, "is not a list")
		return nil, false
	}
	return elements, true
}

// objects are the objects of a list, and whether there is a list.
func (o object) objects(name string) ([]object, bool) {
	elements, there := o.list(name)
	list := make([]object, 0, len(elements))
	for i, raw := range elements {
		in := object{doc: o.doc, path: fmt.Sprintf("%s[%d]", o.at(name), i)}
		if json.Unmarshal(raw, &in.fields) != nil || in.fields == nil {
			o.fault(fmt.Sprintf("%s[%d]", name, i), "is not an object")
			return nil, false
		}
		list = append(list, in)
	}
	return list, there
}

// names are ids, sorted, without empty ones and without the one that is known already.
func names(known string, ids ...string) []string {
	slices.Sort(ids)
	ids = slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return id == "" || id == known })
	if len(ids) == 0 {
		return nil
	}
	return ids
}

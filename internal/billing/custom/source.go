package custom

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"authhook/internal/billing/events/body"
)

// source is where a field of ours comes from: places in the body, of which the first that holds something counts, or a value
// that is always the same.
type source struct {
	at    []pointer
	value any // a text, a number or true or false; nil where the places count
	// joint stands between what all of the places hold, where these make one text together; empty where the first counts.
	joint string
	// words translate what the body says. What is none of them is otherwise, or a fault where that is empty.
	words     map[string]string
	otherwise string
	// prefix is put before what the body says.
	prefix string
	// format is how a time is written: rfc3339, unix or unix_ms.
	format string
}

// String names the place in messages.
func (s *source) String() string {
	var places []string
	for _, p := range s.at {
		places = append(places, p.String())
	}
	if s.joint != "" {
		return strings.Join(places, " and ")
	}
	return strings.Join(places, " or ")
}

// find is what the body says; nil where it says nothing.
func (s *source) find(tree any) any {
	if s.value != nil {
		return s.value
	}
	if s.joint != "" {
		return s.joined(tree)
	}
	for _, p := range s.at {
		if v := p.find(tree); v != nil && v != "" {
			return v
		}
	}
	return nil
}

// joined is what all of the places hold, as one text; nil where one of them holds nothing. What can be no part of a text is
// returned itself, for whoever asked says what is wrong with it.
func (s *source) joined(tree any) any {
	var parts []string
	for _, p := range s.at {
		v := p.find(tree)
		part, ok := plain(v)
		if _, truth := v.(bool); truth || !ok {
			return v
		}
		if part == "" {
			return nil
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, s.joint)
}

var wholeNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// plain is a text, a whole number, or true or false, as a text.
func plain(v any) (s string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), wholeNumber.MatchString(v.String())
	case bool:
		return fmt.Sprint(v), true
	}
	return "", false
}

// text is a text, or a number that names something.
func (s *source) text(tree any) (text, problem string) {
	v := s.find(tree)
	if v == nil {
		return "", "" // nothing is no other word: what is needed is missing
	}
	if len(s.words) > 0 {
		text, ok := plain(v)
		if word, known := s.words[text]; ok && known {
			return word, ""
		}
		if s.otherwise != "" {
			return s.otherwise, ""
		}
		return "", fmt.Sprintf("is %s, which is none of its words: %s", body.Show(v), strings.Join(slices.Sorted(maps.Keys(s.words)), ", "))
	}
	if _, ok := v.(bool); ok {
		return "", fmt.Sprintf("is %s: a text was to stand there", body.Show(v))
	}
	text, ok := plain(v)
	if !ok {
		return "", fmt.Sprintf("is %s: a text or a whole number was to stand there", body.Show(v))
	}
	if text, problem = body.Text(text); problem != "" {
		return "", problem
	}
	return s.prefix + text, ""
}

// truth is true or false; false where the body says nothing.
func (s *source) truth(tree any) (b bool, problem string) {
	if len(s.words) == 0 {
		return body.Truth(s.find(tree))
	}
	word, problem := s.text(tree)
	return word == "true", problem
}

// time is a moment; the zero time where the body says nothing.
func (s *source) time(tree any) (t time.Time, problem string) {
	v := s.find(tree)
	switch {
	case v == nil:
		return time.Time{}, ""
	case s.format == "unix":
		return body.UnixTime(v, time.Second)
	case s.format == "unix_ms":
		return body.UnixTime(v, time.Millisecond)
	default:
		return body.Time(v)
	}
}

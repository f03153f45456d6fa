package api

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deeply a reply may be nested.
const maxDepth = 200

// scanner reads JSON from the front, with no copy of it: lists of sessions run to megabytes, several times a minute. What
// does not look like JSON stops it. It is more lenient than the standard with numbers and with control characters in texts.
type scanner struct {
	text    string
	at      int
	depth   int
	stopped bool   // by a callback that has seen enough
	problem string // what was expected, when it was not there
}

func (s *scanner) fail(expected string) {
	if s.problem == "" {
		s.problem = expected
	}
}

func (s *scanner) err() error {
	if s.problem == "" {
		return nil
	}
	if s.at >= len(s.text) {
		return fmt.Errorf("%w: cut after %d bytes", ErrReply, len(s.text))
	}
	return fmt.Errorf("%w: at byte %d: expected %s", ErrReply, s.at, s.problem)
}

func (s *scanner) done() bool { return s.stopped || s.problem != "" }

// peek is the next byte that is not white space; 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.text); s.at++ {
		if c := s.text[s.at]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

// take reads one byte if it is the next one.
func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.at >= len(s.text) {
		return false
	}
	s.at++
	return true
}

// end wants nothing more.
func (s *scanner) end() {
	if !s.done() && s.peek() != 0 {
		s.fail("nothing more")
	}
}

// object reads an object. member reads the value of each; false from it stops the scanner.
func (s *scanner) object(member func(name string) bool) {
	if !s.open('{', "an object") {
		return
	}
	for first := true; !s.done() && !s.take('}'); first = false {
		if !first && !s.take(',') {
			s.fail("a comma")
			break
		}
		if s.peek() != '"' {
			s.fail("a name")
			break
		}
		name := s.str()
		if !s.take(':') {
			s.fail("a colon")
			break
		}
		if !s.done() && !member(name) {
			s.stopped = true
		}
	}
	s.depth--
}

// array reads an array. element reads each of its values.
func (s *scanner) array(element func()) {
	if !s.open('[', "an array") {
		return
	}
	for first := true; !s.done() && !s.take(']'); first = false {
		if !first && !s.take(',') {
			s.fail("a comma")
			break
		}
		if !s.done() {
			element()
		}
	}
	s.depth--
}

func (s *scanner) open(c byte, what string) bool {
	if s.done() {
		return false
	}
	if !s.take(c) {
		s.fail(what)
		return false
	}
	if s.depth++; s.depth > maxDepth {
		s.fail("less depth")
		return false
	}
	return true
}

// null reads a null, if it is the next value.
func (s *scanner) null() bool {
	if s.done() || s.peek() != 'n' || !strings.HasPrefix(s.text[s.at:], "null") {
		return false
	}
	s.at += len("null")
	return true
}

// str reads a text. A null is an empty one.
func (s *scanner) str() string {
	if s.null() || s.done() {
		return ""
	}
	if !s.take('"') {
		s.fail("a text")
		return ""
	}
	from := s.at
	for ; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case '"':
			s.at++
			return s.text[from : s.at-1]
		case '\\':
			return s.escaped(from)
		}
	}
	s.fail("the end of a text")
	return ""
}

// escaped reads the rest of a text that has escapes.
func (s *scanner) escaped(from int) string {
	var b strings.Builder
	for s.at < len(s.text) {
		c := s.text[s.at]
		if c != '"' && c != '\\' {
			s.at++
			continue
		}
		b.WriteString(s.text[from:s.at])
		if c == '"' {
			s.at++
			return b.String()
		}
		if r, n := escapedRune(s.text[s.at:]); n > 0 {
			b.WriteRune(r)
			s.at += n
		} else if _, half := escapedUnit(s.text[s.at:]); half {
			b.WriteRune(utf8.RuneError)
			s.at += 6
		} else {
			s.at++
			if s.at >= len(s.text) {
				break
			}
			plain := escapes[s.text[s.at]]
			if plain == 0 {
				s.fail("an escape")
				return ""
			}
			b.WriteByte(plain)
			s.at++
		}
		from = s.at
	}
	s.fail("the end of a text")
	return ""
}

var escapes = [256]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// number reads a whole number. A null is 0.
func (s *scanner) number() int64 {
	if s.null() || s.done() {
		return 0
	}
	negative := s.take('-')
	from, n := s.at, int64(0)
	for s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9' {
		if n > (1<<63-10)/10 {
			s.fail("a smaller number")
			return 0
		}
		n = n*10 + int64(s.text[s.at]-'0')
		s.at++
	}
	if s.at == from || s.at < len(s.text) && strings.IndexByte(".eE", s.text[s.at]) >= 0 {
		s.fail("a whole number")
		return 0
	}
	if negative {
		n = -n
	}
	return n
}

// skip reads any value.
func (s *scanner) skip() {
	if s.done() {
		return
	}
	switch c := s.peek(); {
	case c == '{':
		s.object(func(string) bool { s.skip(); return true })
	case c == '[':
		s.array(s.skip)
	case c == '"':
		s.skipText()
	case c == '-' || '0' <= c && c <= '9':
		for s.at < len(s.text) && strings.IndexByte("0123456789+-.eE", s.text[s.at]) >= 0 {
			s.at++
		}
	case s.null():
	default:
		for _, word := range [...]string{"true", "false"} {
			if strings.HasPrefix(s.text[s.at:], word) {
				s.at += len(word)
				return
			}
		}
		s.fail("a value")
	}
}

// skipText reads a text without looking at its escapes.
func (s *scanner) skipText() {
	for s.at++; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case '"':
			s.at++
			return
		case '\\':
			s.at++
		}
	}
	s.at = len(s.text)
	s.fail("the end of a text")
}

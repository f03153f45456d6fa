package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// The kinds of nodes in a document, under shorter names.
const (
	mappingNode  = yaml.MappingNode
	sequenceNode = yaml.SequenceNode
	scalarNode   = yaml.ScalarNode
	aliasNode    = yaml.AliasNode
)

// load reads the one YAML document in data as a tree, whatever it means.
func load(file string, data []byte) (*yaml.Node, Errors) {
	one := func(line, column int, problem string) (*yaml.Node, Errors) {
		return nil, Errors{{File: file, Line: line, Column: column, Problem: problem}}
	}
	if len(data) > MaxSize {
		return one(0, 0, fmt.Sprintf("the document has %d bytes; a catalog has at most %d (4 MiB)", len(data), MaxSize))
	}
	if line, column, problem := unreadable(data); problem != "" {
		return one(line, column, problem)
	}
	const empty = "the document is empty; a catalog is a mapping with streams, plans, prices and jwt"
	d := yaml.NewDecoder(bytes.NewReader(data))
	doc, err := decode(d)
	switch {
	case errors.Is(err, io.EOF):
		return one(1, 1, empty)
	case err != nil:
		return one(syntaxErrorLine(data, err), 0, explain(err))
	}
	second, err := decode(d)
	switch {
	case err == nil:
		return one(second.Line, second.Column, "a second document begins here; a catalog is one document: "+
			"remove the --- line and what must not be read")
	case !errors.Is(err, io.EOF):
		return one(syntaxErrorLine(data, err), 0, explain(err))
	}
	root := doc.Content[0]
	if root.Kind == scalarNode && root.Tag == "!!null" {
		return one(1, 1, empty)
	}
	return root, nil
}

// countNodes is how many nodes a tree has, aliases not followed.
func countNodes(n *yaml.Node) int {
	count := 1
	for _, child := range n.Content {
		count += countNodes(child)
	}
	return count
}

// unreadable finds the first character that no YAML document may hold.
func unreadable(data []byte) (line, column int, problem string) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return 1, 1, "the document is UTF-16; save it as UTF-8"
	}
	line, column = 1, 1
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			return line, column, fmt.Sprintf("the byte 0x%02X is no UTF-8; save the document as UTF-8", data[i])
		case c == '\n', c == '\r' && !bytes.HasPrefix(data[i+1:], []byte("\n")):
			line, column = line+1, 0
		case c == 0xFEFF && i == 0, printable(c):
		default:
			return line, column, fmt.Sprintf("the character U+%04X cannot stand in a YAML document; remove it", c)
		}
		i += size
		column++
	}
	return 0, 0, ""
}

// printable says whether YAML lets a character stand in a document unescaped (YAML 1.2, c-printable).
func printable(c rune) bool {
	return c == '\t' || c == '\n' || c == '\r' || c >= 0x20 && c <= 0x7E || c == 0x85 ||
		c >= 0xA0 && c <= 0xFFFD && c != 0xFEFF || c >= 0x10000
}

// decode reads the next document. A panic of the YAML library is an error like another: the document is not readable.
func decode(d *yaml.Decoder) (doc *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("yaml: the document confuses the YAML reader")
		}
	}()
	doc = &yaml.Node{}
	if err := d.Decode(doc); err != nil {
		return nil, err
	}
	return doc, nil
}

var libraryLine = regexp.MustCompile(`^yaml: (line \d+: )?`)

// bare is the library's message without its line, which is often that of the line before, or of the beginning of what
// it was reading.
func bare(err error) string { return libraryLine.ReplaceAllString(err.Error(), "") }

// syntaxErrorLine finds the line that the YAML library stumbled over: how far it had read says it to a line or two, as
// it looks ahead; and the shortest beginning of the document that fails in the same way says it exactly, even where a
// quote was opened long before.
func syntaxErrorLine(data []byte, err error) int {
	const most = 256 << 10 // beyond that, reading it again and again takes too long
	_, read, _ := failure(data)
	line := 1 + bytes.Count(bytes.TrimRight(data[:read], "\r\n\t "), []byte("\n"))
	if len(data) > most {
		return line
	}
	problem := bare(err)
	same := func(line int) bool {
		got, _, failed := failure(firstLines(data, line))
		return failed && got == problem
	}
	// Double the step back until the beginning fails otherwise or not at all, then halve what is between.
	step := 1
	for line > step && same(line-step) {
		line -= step
		step *= 2
	}
	for low := max(line-step, 0); line-low > 1; {
		if mid := (line + low) / 2; same(mid) {
			line = mid
		} else {
			low = mid
		}
	}
	return line
}

// failure reads every document in data and says how that fails, and how many bytes were read by then.
func failure(data []byte) (problem string, read int, failed bool) {
	r := &byteReader{data: data}
	d := yaml.NewDecoder(r)
	for {
		switch _, err := decode(d); {
		case errors.Is(err, io.EOF):
			return "", r.read, false
		case err != nil:
			return bare(err), r.read, true
		}
	}
}

func firstLines(data []byte, lines int) []byte {
	end := 0
	for range lines {
		i := bytes.IndexByte(data[end:], '\n')
		if i < 0 {
			return data
		}
		end += i + 1
	}
	return data[:end]
}

// byteReader hands out one byte at a time and knows how many were asked for.
type byteReader struct {
	data []byte
	read int
}

func (r *byteReader) Read(p []byte) (int, error) {
	if r.read == len(r.data) || len(p) == 0 {
		return 0, io.EOF
	}
	p[0] = r.data[r.read]
	r.read++
	return 1, nil
}

// explanations say in an operator's words what the YAML library's messages mean. The library's own words may hold parts
// of the document, and so a secret.
var explanations = []struct{ message, meaning string }{
	{"did not find expected alphabetic or numeric character", `a text that begins with * or & must be in quotes, as "*"`},
	{"unknown anchor", `a text that begins with * must be in quotes, as "*" (without them it refers to an anchor, and there is none of this name)`},
	{"found character that cannot start any token", "a value cannot begin with a tab, @, ` or %: indent with spaces, put a text in quotes"},
	{"found a tab character", "a tab stands in the indentation: indent with spaces"},
	{"mapping values are not allowed", "a colon is not expected here: put a text that holds one in quotes, or correct the indentation"},
	{"did not find expected key", "the indentation does not fit the lines before: fields of one thing begin in one column"},
	{"did not find expected '-' indicator", "the indentation does not fit the lines before: items of one list begin in one column, each with a -"},
	{"did not find expected ',' or ']'", "a list that was opened with [ is not closed, or a comma is missing"},
	{"did not find expected ',' or '}'", "a mapping that was opened with { is not closed, or a comma is missing"},
	{"did not find expected node content", "a value is missing here, or a bracket is not opened or closed"},
	{"could not find expected ':'", "a field's name without its colon: write name: value"},
	{"found unexpected end of stream", "a quote is opened here and never closed"},
	{"found unexpected document indicator", "a quote is opened and not closed before the document ends"},
	{"found unknown escape character", `in "…" a backslash begins an escape: write \\ for a backslash, or use '…'`},
	{"did not find expected hexdecimal number", `in "…" a \x, \u or \U is followed by 2, 4 or 8 hexadecimal digits`},
	{"found invalid Unicode character escape", "this character cannot be written as an escape: write the character itself"},
	{"found undefined tag handle", "a text that begins with ! must be in quotes"},
	{"did not find expected tag URI", "a text that begins with ! must be in quotes"},
	{"exceeded max depth", "brackets or indentation are nested too deeply: no catalog needs that"},
}

// explain says what is wrong with the syntax.
func explain(err error) string {
	message := bare(err)
	for _, e := range explanations {
		if strings.HasPrefix(message, e.message) {
			return "not YAML: " + e.meaning
		}
	}
	return "not YAML: " + message
}

package catalog

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxUnfolded is how many values a document may reach through aliases, beyond those that it holds.
const maxUnfolded = 100_000

// reader walks a document's tree. Whatever is wrong is noted, and the walk goes on, so that all is found at once.
type reader struct {
	file     string
	getenv   func(name string) string
	readFile func(path string) ([]byte, error)

	errs Errors
	more bool // errors were left out
	// allowance is how many more values may be visited. It runs out only where aliases unfold to far more than there is.
	allowance int

	planKeys    map[string]value // where each plan is defined
	planNames   []named          // where plans are referred to
	soldStreams []named          // what prices sell besides plans
	soldTags    []named
}

// value is one value of the document, and where it is.
type value struct {
	node *yaml.Node
	path string
}

// named is a value that refers to something by its name.
type named struct {
	value
	name string
}

// fields are what an object may hold: how each is read.
type fields map[string]func(value)

// need is a field that must be there, and what to write.
type need struct{ field, advice string }

// fail notes what is wrong with a value.
func (r *reader) fail(v value, format string, args ...any) {
	if len(r.errs) == maxErrors {
		r.more = true
		return
	}
	r.errs = append(r.errs, Error{
		File: r.file, Line: v.node.Line, Column: v.node.Column, Path: v.path, Problem: fmt.Sprintf(format, args...),
	})
}

// problems is what was noted, in order; nil when all is well.
func (r *reader) problems() Errors {
	errs := r.errs.sorted()
	if r.more {
		errs = append(errs, Error{
			File: r.file, Line: errs[len(errs)-1].Line, Problem: fmt.Sprintf("there are more than %d errors: correct these first", maxErrors),
		})
	}
	return errs
}

// visit follows an alias to what it stands for. False: too much was visited.
func (r *reader) visit(v value) (value, bool) {
	if v.node.Kind == aliasNode {
		v.node = v.node.Alias
	}
	r.allowance--
	if r.allowance == -1 {
		r.fail(v, "aliases unfold to more than %d values: write the values out", maxUnfolded)
	}
	return v, r.allowance >= 0
}

// object reads a mapping: each field with its own function, in the order of the document. It returns the fields that
// are there.
func (r *reader) object(v value, known fields, needs ...need) map[string]value {
	v, ok := r.visit(v)
	if !ok || !r.is(v, mappingNode, "a mapping of fields") {
		return nil
	}
	given := make(map[string]value, len(known))
	for _, e := range r.entries(v) {
		if read, ok := known[e.name]; ok {
			given[e.name] = e.value
			read(e.value)
		} else {
			r.unknownField(e, slices.Sorted(maps.Keys(known)))
		}
	}
	for _, n := range needs {
		if _, ok := given[n.field]; !ok {
			r.fail(v, "%s is missing: %s", n.field, n.advice)
		}
	}
	return given
}

// entry is a field of a mapping.
type entry struct {
	value
	key  *yaml.Node
	name string
}

// entries are the fields of a mapping, the first of those that are written twice.
func (r *reader) entries(v value) []entry {
	var entries []entry
	lines := make(map[string]int, len(v.node.Content)/2)
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := v.node.Content[i]
		switch {
		case key.Tag == "!!merge":
			r.fail(value{key, v.path}, "merge keys (<<) are not read here: write the fields out")
			continue
		case key.Kind != scalarNode || key.Tag != "!!str":
			r.fail(value{key, v.path}, "a name here is %s; it must be a text: put it in quotes", describe(key))
			continue
		}
		path := join(v.path, key.Value)
		if first, twice := lines[key.Value]; twice {
			r.fail(value{key, path}, "is here twice, first in line %d: remove one", first)
			continue
		}
		lines[key.Value] = key.Line
		entries = append(entries, entry{value{v.node.Content[i+1], path}, key, key.Value})
	}
	return entries
}

func (r *reader) unknownField(e entry, known []string) {
	v := value{e.key, e.path}
	if near := nearest(e.name, known); near != "" {
		r.fail(v, "there is no such field: did you mean %s?", near)
	} else {
		r.fail(v, "there is no such field: remove it, or use one of %s", strings.Join(known, ", "))
	}
}

// list reads a sequence, each item with the same function.
func (r *reader) list(v value, item func(value)) {
	v, ok := r.visit(v)
	if !ok || !r.is(v, sequenceNode, "a list") {
		return
	}
	for i, n := range v.node.Content {
		item(value{n, fmt.Sprintf("%s[%d]", v.path, i)})
	}
}

// is says whether a value is of a kind, and notes it when it is not.
func (r *reader) is(v value, kind yaml.Kind, want string) bool {
	if v.node.Kind != kind {
		r.wrongType(v, want)
		return false
	}
	return true
}

func (r *reader) wrongType(v value, want string) {
	if isNull(v.node) {
		r.fail(v, "has no value: write %s, or remove it", want)
	} else {
		r.fail(v, "is %s; it must be %s", describe(v.node), want)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == scalarNode && n.Tag == "!!null" }

// describe says what a node is, without saying what it holds.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == mappingNode:
		return "a mapping"
	case n.Kind == sequenceNode:
		return "a list"
	case n.Kind == aliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!str":
		return "a text"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "empty"
	case "!!timestamp":
		return "a time"
	default:
		return "a value with a tag (!) of its own"
	}
}

var ordinaryName = regexp.MustCompile(`^[\pL\pN_-]+$`)

// join is the path of a field. A name that is none of ours is quoted, or left out where it is too long to be a name.
func join(path, name string) string {
	switch {
	case len(name) >= minSecretLength:
		return path
	case !ordinaryName.MatchString(name):
		return fmt.Sprintf("%s[%q]", path, name)
	case path == "":
		return name
	default:
		return path + "." + name
	}
}

package custom

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"authhook/internal/catalog"
)

// reader walks a configuration. Whatever is wrong is noted, and the walk goes on, so that all is found at once.
type reader struct {
	file     string
	getenv   func(name string) string
	readFile func(path string) ([]byte, error)
	errs     catalog.Errors
}

// maxErrors is how many errors of one document are kept.
const maxErrors = 100

func (r *reader) note(line int, path, format string, args ...any) {
	if len(r.errs) < maxErrors {
		r.errs = append(r.errs, catalog.Error{File: r.file, Line: line, Path: path, Problem: fmt.Sprintf(format, args...)})
	}
}

// fail notes what is wrong with a value. Nothing of the document may be quoted that could be a secret in a wrong place.
func (r *reader) fail(n *yaml.Node, path, format string, args ...any) {
	r.note(n.Line, path, format, args...)
}

// known are the fields that a mapping may hold, and how each is read.
type known map[string]func(n *yaml.Node, path string)

// mapping reads a mapping, each field with its own function. Those that are needed are given as "name: what to write".
func (r *reader) mapping(n *yaml.Node, path string, fields known, needs ...string) bool {
	entries, ok := r.entries(n, path)
	if !ok {
		return false
	}
	given := map[string]bool{}
	for _, e := range entries {
		read, ok := fields[e.name]
		if !ok {
			names := slices.DeleteFunc(slices.Sorted(maps.Keys(fields)), func(name string) bool { return slices.Contains(forbidden, name) })
			r.fail(e.key, path+r.named(e.name), "is none of the fields that can be here: remove it, or write one of %s", strings.Join(names, ", "))
			continue
		}
		given[e.name] = true
		read(e.value, join(path, e.name))
	}
	for _, need := range needs {
		if field, _, _ := strings.Cut(need, ":"); !given[field] {
			r.fail(n, path, "has no %s", need)
		}
	}
	return true
}

// entry is a field of a mapping.
type entry struct {
	name       string
	key, value *yaml.Node
}

// entries are the fields of a mapping. A name that is there twice is an error.
func (r *reader) entries(n *yaml.Node, path string) (list []entry, ok bool) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, path, "is %s: write a mapping, with a field on each line", describe(n))
		return nil, false
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch first, twice := lines[key.Value]; {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Tag == "!!null":
			r.fail(key, path, "has a name that is %s: write a text", describe(key))
		case twice:
			r.fail(key, path, "has the same field in line %d: remove one", first)
		default:
			lines[key.Value] = key.Line
			list = append(list, entry{key.Value, key, value})
		}
	}
	return list, true
}

// list reads a sequence, each item with the same function.
func (r *reader) list(n *yaml.Node, path string, item func(n *yaml.Node, path string)) {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, path, "is %s: write a list", describe(n))
		return
	}
	for i, c := range n.Content {
		item(c, fmt.Sprintf("%s[%d]", path, i))
	}
}

// text reads a text.
func (r *reader) text(dst *string) func(n *yaml.Node, path string) {
	return func(n *yaml.Node, path string) {
		switch {
		case n.Kind != yaml.ScalarNode || n.Tag != "!!str":
			r.fail(n, path, "is %s: write a text, in quotes if need be", describe(n))
		case n.Value == "":
			r.fail(n, path, "is empty: write a text, or remove it")
		default:
			*dst = n.Value
		}
	}
}

// choice reads one of a few words.
func (r *reader) choice(dst *string, among ...string) func(n *yaml.Node, path string) {
	return func(n *yaml.Node, path string) {
		if n.Kind != yaml.ScalarNode || !slices.Contains(among, n.Value) {
			r.fail(n, path, "is none of %s: write one of them", strings.Join(among, ", "))
			return
		}
		*dst = n.Value
	}
}

// truth reads true or false.
func (r *reader) truth(dst *bool) func(n *yaml.Node, path string) {
	return func(n *yaml.Node, path string) {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(dst) != nil {
			r.fail(n, path, "is %s: write true or false", describe(n))
		}
	}
}

// scalar is a text, a number, or true or false, as it is written.
func (r *reader) scalar(n *yaml.Node, path string) (string, bool) {
	if n.Kind == yaml.ScalarNode && (n.Tag == "!!str" || n.Tag == "!!int" || n.Tag == "!!bool") && n.Value != "" {
		return n.Value, true
	}
	r.fail(n, path, "is %s: write a text, a whole number, or true or false", describe(n))
	return "", false
}

// describe says what a node is, without saying what it holds.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias (*), which is not read here"
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
	default:
		return "a value of another kind"
	}
}

// shortName is a name that is none of ours, but certainly no secret.
var shortName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,40}$`)

// named is a name as a part of a path. One that could be a secret in a wrong place is left out.
func (r *reader) named(name string) string {
	if len(name) >= 16 && !strings.ContainsAny(name, "_.") || !shortName.MatchString(name) {
		return "[…]"
	}
	return "[" + name + "]"
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

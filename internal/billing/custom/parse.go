package custom

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"authhook/internal/billing"
	"authhook/internal/catalog"
)

// maxSize is how many bytes a configuration may have.
const maxSize = 1 << 20

// Option changes where Parse looks for secrets.
type Option func(*reader)

// WithEnv has secret_env looked up with getenv instead of os.Getenv. An empty text means that it is not set.
func WithEnv(getenv func(name string) string) Option {
	return func(r *reader) { r.getenv = getenv }
}

// WithReadFile has secret_file read with readFile. It is given the path relative to the configuration's directory, joined
// with it.
func WithReadFile(readFile func(path string) ([]byte, error)) Option {
	return func(r *reader) { r.readFile = readFile }
}

// Parse reads a configuration. The name is the document's path, for messages and to find the files of secrets. The error is
// always a [catalog.Errors], all that is wrong with a line each; then no provider is returned. Secrets are read now.
func Parse(name string, data []byte, opts ...Option) ([]billing.Provider, error) {
	r := &reader{file: name, getenv: os.Getenv, readFile: readSecretFile}
	for _, opt := range opts {
		opt(r)
	}
	var providers []billing.Provider
	if root := r.load(data); root != nil {
		r.mapping(root, "", known{"providers": func(n *yaml.Node, path string) {
			providers = r.providers(n, path)
		}}, "providers: write the list of billing systems")
	}
	if len(r.errs) > 0 {
		slices.SortStableFunc(r.errs, func(a, b catalog.Error) int { return a.Line - b.Line })
		return nil, r.errs
	}
	return providers, nil
}

var libraryLine = regexp.MustCompile(`line (\d+)`)

// load reads the one YAML document in data as a tree; nil where that cannot be.
func (r *reader) load(data []byte) *yaml.Node {
	d := yaml.NewDecoder(bytes.NewReader(data))
	switch {
	case len(data) > maxSize:
		r.note(0, "", "the document has %d bytes; it may have %d", len(data), maxSize)
		return nil
	case !utf8.Valid(data):
		r.note(1, "", "the document is not UTF-8: save it as UTF-8")
		return nil
	}
	doc, err := decode(d)
	if err == nil {
		var second *yaml.Node
		if second, err = decode(d); err == nil {
			r.note(second.Line, "", "a second document begins here: remove the --- line and what must not be read")
			return nil
		}
	} else if errors.Is(err, io.EOF) {
		r.note(1, "", "the document is empty: write providers: and a list")
		return nil
	}
	if !errors.Is(err, io.EOF) {
		// The library's words may hold parts of the document, and so a secret that stands where none should.
		line := 1
		if m := libraryLine.FindStringSubmatch(err.Error()); m != nil {
			line, _ = strconv.Atoi(m[1])
		}
		r.note(line, "", "not YAML, here or in the line after: look at the indentation, at colons, and put texts with special characters in quotes")
		return nil
	}
	return doc.Content[0]
}

// decode reads the next document. A panic of the YAML library is an error like another.
func decode(d *yaml.Decoder) (doc *yaml.Node, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the document confuses the YAML reader")
		}
	}()
	doc = &yaml.Node{}
	if err := d.Decode(doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return nil, io.EOF
	}
	return doc, nil
}

// readSecretFile reads the beginning of a file, enough for any secrets.
func readSecretFile(path string) ([]byte, error) {
	const most = 64 << 10
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if len(data) > most {
		return nil, fmt.Errorf("it is longer than %d bytes", most)
	}
	return data, err
}

// Package catalog reads and writes the catalog: one YAML (or JSON) file that says what is sold and how streams are
// guarded, as a [policy.Catalog].
//
// [Parse] finds every error of a document at once, each with its line, its path and what to do about it, fills in the
// defaults and resolves secrets that the document only names, so that the file itself can be committed. The same
// document gives the same catalog each time. [Format] writes a catalog that Parse reads back as an equal one. [Schema]
// is the JSON Schema of the document, for editors and for the API's description; the Go code here is what decides, and
// the tests hold the two against each other.
//
// The package must never quote a secret in an error, never install part of a document that has an error, and never
// let a document, however it is made, cost more than its own size does: it may come from the network.
//
// What a stream's name can be is MistServer's: see [streamNameProblem].
package catalog

import (
	"bytes"
	_ "embed"
	"io"
	"os"
	"path/filepath"

	"authhook/internal/policy"
)

// MaxSize is how many bytes a document may have.
const MaxSize = 4 << 20

//go:embed catalog.schema.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of a catalog document. It says all that a schema can say; that a plan which
// is named exists, for instance, only [Parse] can tell.
func Schema() []byte { return bytes.Clone(schema) }

// Option changes where Parse looks for what a document refers to.
type Option func(*reader)

// WithEnv has secret_env looked up with getenv instead of os.Getenv. An empty text means that it is not set.
func WithEnv(getenv func(name string) string) Option {
	return func(r *reader) { r.getenv = getenv }
}

// WithReadFile has secret_file read with readFile. It is given the path relative to the catalog's directory, joined
// with it.
func WithReadFile(readFile func(path string) ([]byte, error)) Option {
	return func(r *reader) { r.readFile = readFile }
}

// WithoutReferences refuses secret_env and secret_file: for a document that was sent by somebody who may change the
// catalog, but not read this machine's environment and files.
func WithoutReferences() Option {
	return func(r *reader) { r.getenv, r.readFile = nil, nil }
}

// Parse reads a catalog. The name is the document's path, for messages and to find files that it names. The error is
// always an [Errors], and with it no catalog is returned. Secrets named by secret_env and secret_file are read now.
func Parse(name string, data []byte, opts ...Option) (*policy.Catalog, error) {
	r := &reader{file: name, getenv: os.Getenv, readFile: readSecretFile}
	for _, opt := range opts {
		opt(r)
	}
	root, errs := load(name, data)
	if errs != nil {
		return nil, errs
	}
	r.allowance = 2*countNodes(root) + maxUnfolded // a value is looked at twice at most
	c := r.catalog(value{node: root})
	if errs := r.problems(); errs != nil {
		return nil, errs
	}
	c.Index()
	return c, nil
}

// catalog reads the whole document.
func (r *reader) catalog(v value) *policy.Catalog {
	c := &policy.Catalog{Plans: []policy.Plan{}, Streams: []policy.StreamPolicy{}, Prices: []policy.Price{}}
	if v.node.Kind != mappingNode {
		r.fail(v, "the document is %s; a catalog is a mapping with streams, plans, prices and jwt", describe(v.node))
		return c
	}
	r.object(v, fields{
		"$schema": func(value) {}, // where an editor finds the schema of a JSON document
		"plans":   func(v value) { c.Plans = r.plans(v) },
		"streams": func(v value) { c.Streams = r.streams(v) },
		"prices":  func(v value) { c.Prices = r.prices(v) },
		"jwt":     func(v value) { c.JWT = r.jwt(v) },
	}, need{"streams", "without a stream policy nobody may watch anything; write streams: [] to mean that"})
	r.checkPlanReferences()
	r.checkSold(c.Streams)
	return c
}

// readSecretFile reads the beginning of a file, enough for any secret.
func readSecretFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSecretLength+3)) // room for a line break, and to see that it is too long
}

// relative is a path that the document names, seen from the document's directory.
func (r *reader) relative(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(r.file), path)
}

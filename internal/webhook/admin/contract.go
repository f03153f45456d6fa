package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/go-chi/chi/v5"

	"authhook"
	"authhook/internal/catalog"
	"authhook/internal/store"
)

// contract is openapi.yaml, ready to hold requests against.
type contract struct {
	doc        *openapi3.T
	operations map[route]*operation
	formats    []openapi3.SchemaValidationOption
}

// route is a method and a path with its parameters' names in braces: chi's patterns are the contract's.
type route struct{ method, pattern string }

// operation is one of the contract.
type operation struct {
	*openapi3.Operation
	item *openapi3.PathItem
	role store.Role
	// json says that the body is JSON and nothing else, and is held against its schema. A catalog is not: it has a
	// reader of its own, that finds more.
	json bool
}

// name is the operation's id, for logs and metrics.
func (o *operation) name() string {
	if o == nil {
		return "unknown"
	}
	return o.OperationID
}

const apiPrefix = "/api/"

// theContract is read once in a process, and never changed.
var theContract = sync.OnceValues(readContract)

// readContract reads openapi.yaml. Every operation of the API demands a role.
func readContract() (*contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(authhook.OpenAPI)
	if err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	c := &contract{doc: doc, operations: map[route]*operation{}, formats: formatOptions()}
	for path, item := range doc.Paths.Map() {
		if !strings.HasPrefix(path, apiPrefix) {
			continue
		}
		for method, op := range item.Operations() {
			o := &operation{Operation: op, item: item}
			role, _ := op.Extensions["x-role"].(string)
			if o.role = store.Role(role); ranks[o.role] == 0 {
				return nil, fmt.Errorf("openapi.yaml: %s %s demands no role", method, path)
			}
			if op.RequestBody != nil {
				o.json = len(op.RequestBody.Value.Content) == 1
			}
			c.operations[route{method, path}] = o
		}
	}
	return c, nil
}

// found is what a request's path leads to.
type found struct {
	op *operation // nil when there is none
	// methods are those that the path has; none when there is no such path.
	methods []string
	// path are the path's parameters.
	path map[string]string
}

// find is the operation that a request is for.
func (c *contract) find(routes chi.Routes, r *http.Request) (f found) {
	for _, method := range [...]string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
		match := chi.NewRouteContext()
		if !routes.Match(match, method, r.URL.RawPath) {
			continue
		}
		f.methods = append(f.methods, method)
		if method != r.Method {
			continue
		}
		f.op, f.path = c.operations[route{method, match.RoutePattern()}], map[string]string{}
		for i, name := range match.URLParams.Keys {
			value, err := url.PathUnescape(match.URLParams.Values[i])
			if err != nil {
				return found{}
			}
			f.path[name] = value
		}
	}
	return f
}

// check holds a request against its operation: whether there is one, whether the caller may, and whether all that is sent
// is as the contract has it.
func (c *contract) check(w http.ResponseWriter, r *http.Request, f found, who caller) error {
	switch {
	case f.op == nil && len(f.methods) > 0:
		return &methodError{f.methods}
	case f.op == nil:
		return errNoPath
	case ranks[who.role] < ranks[f.op.role]:
		return &forbiddenError{has: who.role, demands: f.op.role}
	}
	if err := f.op.checkQuery(r.URL.RawQuery); err != nil {
		return err
	}
	body, err := f.op.readBody(w, r)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	err = openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request: r, PathParams: f.path,
		Route: &routers.Route{Spec: c.doc, PathItem: f.op.item, Method: r.Method, Operation: f.op.Operation},
		Options: &openapi3filter.Options{
			MultiError: true, SkipSettingDefaults: true, ExcludeRequestBody: !f.op.json,
			AuthenticationFunc:      openapi3filter.NoopAuthenticationFunc, // that is the door's business
			SchemaValidationOptions: c.formats,
		},
	})
	r.Body = io.NopCloser(bytes.NewReader(body))
	return err
}

// checkQuery refuses what the contract does not name: a misspelt filter would list everything.
func (o *operation) checkQuery(raw string) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return invalid("", "the query of the URL cannot be read")
	}
	var wrong []FieldError
	for name, values := range query {
		known := slices.ContainsFunc(slices.Concat(o.Parameters, o.item.Parameters), func(p *openapi3.ParameterRef) bool {
			return p.Value.In == openapi3.ParameterInQuery && p.Value.Name == name
		})
		switch {
		case !known:
			wrong = append(wrong, FieldError{Field: name, Problem: "is no parameter of this operation"})
		case len(values) > 1:
			wrong = append(wrong, FieldError{Field: name, Problem: "is there more than once"})
		}
	}
	if wrong == nil {
		return nil
	}
	slices.SortFunc(wrong, func(a, b FieldError) int { return strings.Compare(a.Field, b.Field) })
	return &fieldsError{form: true, errors: wrong}
}

// readBody reads the body of an operation that has one, in a form that it takes.
func (o *operation) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if o.RequestBody == nil {
		return nil, nil
	}
	content := o.RequestBody.Value.Content
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || content[kind] == nil {
		return nil, &mediaTypeError{slices.Sorted(maps.Keys(content))}
	}
	r.Header.Set("Content-Type", kind)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, errTooLarge
	case err != nil:
		return nil, invalid("", "the body did not arrive whole")
	case o.json && !json.Valid(body):
		return nil, invalid("", "the body is not JSON")
	}
	return body, nil
}

// formats are those of openapi.yaml that JSON Schema leaves to the reader.
var formats = map[string]func(string) error{
	"date-time":     func(s string) error { _, err := readMoment(s); return err },
	"address":       func(s string) error { _, err := readAddress(s); return err },
	"address-range": func(s string) error { _, err := readRange(s); return err },
}

func formatOptions() (options []openapi3.SchemaValidationOption) {
	for name, read := range formats {
		options = append(options, openapi3.WithStringFormatValidator(name, openapi3.NewCallbackValidator(read)))
	}
	return options
}

// firstMoment is the first that is taken for one: the zero time means that there is none.
var firstMoment = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)

func readMoment(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	switch {
	case err != nil:
		return t, errors.New("is no moment: write it like 2026-12-31T23:00:00Z")
	case t.Before(firstMoment):
		return t, errors.New("is before 1970")
	}
	return t, nil
}

func readAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return a, errors.New("is no address: write it like 192.0.2.7 or 2001:db8::7")
	}
	return a.Unmap(), nil
}

// readRange reads a range of addresses as the catalog does.
func readRange(s string) (netip.Prefix, error) {
	p, problem := catalog.ParseAddressRange(s)
	if problem != "" {
		return p, errors.New(problem)
	}
	return p, nil
}

package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"

	"authhook/internal/catalog"
	"authhook/internal/policy"
	"authhook/internal/store"
)

var (
	errUnauthenticated = errors.New("no key, or none that is good")
	errNoPath          = errors.New("no such path")
	errTooLarge        = errors.New("the body is too large")
	errFault           = errors.New("a fault")
)

// fieldsError says which fields of a request are wrong: in their form, or in what they ask for.
type fieldsError struct {
	form   bool
	errors []FieldError
}

func (e *fieldsError) Error() string { return fmt.Sprint(e.errors) }

func invalid(field, problem string) error {
	return &fieldsError{form: true, errors: []FieldError{{Field: field, Problem: problem}}}
}

func impossible(field, problem string) error {
	return &fieldsError{errors: []FieldError{{Field: field, Problem: problem}}}
}

// missingError says what there is none of.
type missingError struct{ what string }

func (e *missingError) Error() string { return "there is no " + e.what }

// missing names what was not found.
func missing(err error, format string, args ...any) error {
	if errors.Is(err, store.ErrNotFound) {
		return &missingError{fmt.Sprintf(format, args...)}
	}
	return err
}

// versionError says that another version stands than the caller has seen; 0: none.
type versionError struct{ stands int64 }

func (e *versionError) Error() string {
	if e.stands == 0 {
		return "there is none"
	}
	return fmt.Sprintf("version %d stands", e.stands)
}

type forbiddenError struct{ has, demands store.Role }

func (e *forbiddenError) Error() string {
	return fmt.Sprintf("this demands the role %s, and the key has %s", e.demands, e.has)
}

// conflictError says what stands in the way of a request.
type conflictError struct {
	detail string
	errors []FieldError
}

func (e *conflictError) Error() string { return fmt.Sprint(e.detail, e.errors) }

// absentError says what is not there by the settings: waiting does not help.
type absentError struct{ detail string }

func (e *absentError) Error() string { return e.detail }

type slowDownError struct{ wait time.Duration }

func (e *slowDownError) Error() string { return "too many wrong keys" }

type methodError struct{ allowed []string }

func (e *methodError) Error() string { return "there is only " + strings.Join(e.allowed, ", ") }

type mediaTypeError struct{ accepted []string }

func (e *mediaTypeError) Error() string {
	return "the Content-Type is to be " + strings.Join(e.accepted, " or ")
}

// goneError says that the change feed does not reach back to where it was asked about.
type goneError struct{ last int64 }

func (e *goneError) Error() string {
	return fmt.Sprintf("begin anew, after %d", e.last)
}

// refuse answers with the problem that an error is.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.Type == ProblemInternal && !errors.Is(err, errFault) {
		a.o.Log.Error("the API failed", "error", err)
	}
	if p.Status >= http.StatusInternalServerError && a.o.Failed != nil {
		a.o.Failed(r.Context(), err)
	}
	h := w.Header()
	h.Del("ETag")
	var slow *slowDownError
	var method *methodError
	var absent *absentError
	switch {
	case errors.As(err, &slow):
		h.Set("Retry-After", strconv.Itoa(seconds(slow.wait)))
	case errors.As(err, &absent): // no waiting brings it
	case p.Status == http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	case p.Status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="authhook"`)
	case errors.As(err, &method):
		h.Set("Allow", strings.Join(method.allowed, ", "))
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// problemOf is the one place where an error becomes what a client is told. What it does not know is a fault, about which
// nothing is told.
func problemOf(err error) Problem {
	var (
		fields    *fieldsError
		stored    *store.InvalidError
		document  catalog.Errors
		version   *versionError
		forbidden *forbiddenError
		absent    *missingError
		slow      *slowDownError
		method    *methodError
		media     *mediaTypeError
		gone      *goneError
		conflict  *conflictError
		lacking   *absentError
		form      *openapi3filter.RequestError
		multiple  openapi3.MultiError
		parameter *InvalidParamFormatError
		repeated  *TooManyValuesForParamError
	)
	switch {
	case errors.As(err, &fields) && fields.form:
		return problem(ProblemInvalid, "", fields.errors...)
	case errors.As(err, &fields):
		return problem(ProblemImpossible, "", fields.errors...)
	case errors.As(err, &stored):
		return problem(ProblemImpossible, "", FieldError{Field: stored.Field, Problem: stored.Problem})
	case errors.As(err, &document):
		return problem(ProblemImpossible, "the catalog is not good", catalogErrors(document)...)
	case errors.As(err, &version):
		p := problem(ProblemVersionMismatch, version.Error())
		p.Version = &version.stands
		return p
	case errors.As(err, &forbidden):
		p := problem(ProblemForbidden, forbidden.Error())
		p.Role = Role(forbidden.demands)
		return p
	case errors.As(err, &gone):
		p := problem(ProblemGone, gone.Error())
		p.Last = &gone.last
		return p
	case errors.As(err, &absent):
		return problem(ProblemNotFound, absent.Error())
	case errors.As(err, &slow):
		return problem(ProblemSlowDown, slow.Error())
	case errors.As(err, &method):
		return problem(ProblemMethodNotAllowed, method.Error())
	case errors.As(err, &media):
		return problem(ProblemUnsupportedMediaType, media.Error())
	case errors.As(err, &form), errors.As(err, &multiple):
		return problem(ProblemInvalid, "", distinct(formErrors("", err))...)
	case errors.As(err, &parameter):
		return problem(ProblemInvalid, "", FieldError{Field: parameter.ParamName, Problem: "cannot be read"})
	case errors.As(err, &repeated):
		return problem(ProblemInvalid, "", FieldError{Field: repeated.ParamName, Problem: "is there more than once"})
	case errors.Is(err, errUnauthenticated):
		return problem(ProblemUnauthenticated, "")
	case errors.Is(err, errTooLarge):
		return problem(ProblemTooLarge, fmt.Sprintf("a body has at most %d bytes", MaxBody))
	case errors.Is(err, errNoPath), errors.Is(err, store.ErrNotFound):
		return problem(ProblemNotFound, "")
	case errors.As(err, &conflict):
		return problem(ProblemConflict, conflict.detail, conflict.errors...)
	case errors.Is(err, store.ErrConflict):
		return problem(ProblemConflict, "it exists already, or changed meanwhile")
	case errors.As(err, &lacking):
		return problem(ProblemUnavailable, lacking.detail)
	case errors.Is(err, policy.ErrNoCatalog):
		return problem(ProblemUnavailable, "no catalog is in force yet")
	case errors.Is(err, store.ErrUnavailable), expired(err):
		return problem(ProblemUnavailable, "the database does not answer")
	}
	return problem(ProblemInternal, "")
}

var kinds = map[ProblemType]struct {
	status int
	title  string
}{
	ProblemInvalid:              {http.StatusBadRequest, "The request is not of the form that is asked for"},
	ProblemUnauthenticated:      {http.StatusUnauthorized, "A key that is good is needed"},
	ProblemForbidden:            {http.StatusForbidden, "The key's role does not permit this"},
	ProblemNotFound:             {http.StatusNotFound, "There is no such thing"},
	ProblemMethodNotAllowed:     {http.StatusMethodNotAllowed, "This path has no such method"},
	ProblemConflict:             {http.StatusConflict, "This conflicts with what is there"},
	ProblemGone:                 {http.StatusGone, "The change feed does not reach back so far"},
	ProblemVersionMismatch:      {http.StatusPreconditionFailed, "Another version stands"},
	ProblemTooLarge:             {http.StatusRequestEntityTooLarge, "The body is too large"},
	ProblemUnsupportedMediaType: {http.StatusUnsupportedMediaType, "The body is of another kind than is read here"},
	ProblemImpossible:           {http.StatusUnprocessableEntity, "This cannot be done"},
	ProblemSlowDown:             {http.StatusTooManyRequests, "Too many wrong keys came from there"},
	ProblemInternal:             {http.StatusInternalServerError, "Something failed in authhook"},
	ProblemUnavailable:          {http.StatusServiceUnavailable, "What this needs is not there"},
}

func problem(t ProblemType, detail string, wrong ...FieldError) Problem {
	return Problem{Type: t, Title: kinds[t].title, Status: kinds[t].status, Detail: detail, Errors: wrong}
}

// catalogErrors are those of a catalog that was sent.
func catalogErrors(document catalog.Errors) []FieldError {
	wrong := make([]FieldError, len(document))
	for i, e := range document {
		wrong[i] = FieldError{Field: e.Path, Problem: e.Problem, Line: e.Line}
	}
	return wrong
}

// formErrors are the fields at which a request does not fit the contract.
func formErrors(parameter string, err error) []FieldError {
	switch e := err.(type) {
	case openapi3.MultiError:
		var all []FieldError
		for _, each := range e {
			all = append(all, formErrors(parameter, each)...)
		}
		return all
	case *openapi3filter.RequestError:
		if e.Parameter != nil {
			parameter = e.Parameter.Name
		}
		if e.Err != nil {
			return formErrors(parameter, e.Err)
		}
	case *openapi3.SchemaError:
		return schemaErrors(fieldName(parameter, e.JSONPointer()), e)
	}
	text := "is not of the form that is asked for"
	if errors.Is(err, openapi3filter.ErrInvalidRequired) {
		text = "is missing"
	}
	return []FieldError{{Field: parameter, Problem: text}}
}

// distinct drops what is said twice: the reader of the contract names each unknown field, and so do schemaErrors.
func distinct(list []FieldError) (once []FieldError) {
	for _, e := range list {
		if !slices.Contains(once, e) {
			once = append(once, e)
		}
	}
	return once
}

// schemaErrors say what is wrong with a value, or with fields in it. They never quote it.
func schemaErrors(field string, e *openapi3.SchemaError) []FieldError {
	problem := e.Reason
	switch e.SchemaField {
	case "properties", "additionalProperties":
		value, _ := e.Value.(map[string]any)
		var unknown []FieldError
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if e.Schema.Properties[name] == nil {
				unknown = append(unknown, FieldError{Field: fieldName(field, []string{name}), Problem: "is no field of this"})
			}
		}
		if unknown != nil {
			return unknown
		}
	case "required":
		problem = "is missing"
	case "enum":
		words := make([]string, len(e.Schema.Enum))
		for i, word := range e.Schema.Enum {
			words[i] = fmt.Sprint(word)
		}
		problem = "is none of " + strings.Join(words, ", ")
	case "format":
		if text, ok := e.Value.(string); ok && formats[e.Schema.Format] != nil {
			problem = formats[e.Schema.Format](text).Error()
		}
	case "pattern":
		problem = "is not of the form that is asked for"
		if d := e.Schema.Description; d != "" {
			problem += ": " + strings.TrimSuffix(d, ".")
		}
	}
	return []FieldError{{Field: field, Problem: problem}}
}

// fieldName writes a path as the catalog's errors do: streams[2].preview.
func fieldName(name string, path []string) string {
	for _, step := range path {
		if _, err := strconv.Atoi(step); err == nil {
			name += "[" + step + "]"
		} else {
			name = strings.TrimPrefix(name+"."+step, ".")
		}
	}
	return name
}

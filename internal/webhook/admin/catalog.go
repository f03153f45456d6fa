package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"authhook/internal/catalog"
	"authhook/internal/policy"
	"authhook/internal/store"
)

// ignoreMissing is the error, unless it says that there is no such thing.
func ignoreMissing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// read is the catalog as it is stored; one of version 0 with nothing in it where none was ever applied.
func (a *API) read(ctx context.Context) (*policy.Catalog, error) {
	c, err := a.store.Catalog(ctx)
	if errors.Is(err, store.ErrNotFound) {
		c = new(policy.Catalog)
		c.Index()
		return c, nil
	}
	return c, err
}

func (h handlers) GetCatalog(ctx context.Context, _ GetCatalogRequestObject) (GetCatalogResponseObject, error) {
	c, err := h.store.Catalog(ctx)
	if err != nil {
		return nil, missing(err, "catalog: none was ever applied")
	}
	headers := GetCatalog200ResponseHeaders{ETag: entityTag(c.Version)}
	if wantsJSON(ctx) {
		text, err := json.Marshal(document(catalog.Redact(c)))
		return GetCatalog200JSONResponse{Body: text, Headers: headers}, err
	}
	text, err := catalog.Format(c, catalog.Redacted())
	return GetCatalog200ApplicationYamlResponse{
		Body: bytes.NewReader(text), ContentLength: int64(len(text)), Headers: headers,
	}, err
}

func (h handlers) PutCatalog(ctx context.Context, r PutCatalogRequestObject) (PutCatalogResponseObject, error) {
	only, err := readPrecondition(r.Params.IfMatch, string(r.Params.IfNoneMatch))
	if err != nil {
		return nil, err
	}
	var text []byte
	if r.JSONBody != nil {
		text = *r.JSONBody
	} else if text, err = io.ReadAll(r.Body); err != nil {
		return nil, err
	}
	c, err := parseCatalog(text)
	if err != nil {
		return nil, err
	}
	applied, err := h.apply(ctx, only, func(*policy.Catalog) (*policy.Catalog, error) { return c, nil },
		func(stands *policy.Catalog) bool { return stands.Version != 0 })
	if err != nil {
		return nil, err
	}
	return PutCatalog200JSONResponse{
		Body: CatalogApplied{
			Version: applied.version, Changed: applied.changed,
			Plans: len(c.Plans), Streams: len(c.Streams), Prices: len(c.Prices),
		},
		Headers: PutCatalog200ResponseHeaders{ETag: entityTag(applied.version)},
	}, nil
}

// parseCatalog reads a catalog that was sent.
func parseCatalog(text []byte) (*policy.Catalog, error) {
	return catalog.Parse("catalog", text, catalog.WithoutReferences())
}

// applied is a catalog that was put in force.
type applied struct {
	*policy.Catalog
	version int64
	changed bool
	// existed says that what was written was there before.
	existed bool
}

// apply makes a catalog of the one that stands and puts it in force, unless the precondition forbids it. Exists says
// whether what is written is there already.
func (a *API) apply(ctx context.Context, only precondition, next func(*policy.Catalog) (*policy.Catalog, error),
	exists func(*policy.Catalog) bool,
) (done applied, err error) {
	err = only.write(ctx, func(fits func(int64) error) error {
		stands, err := a.read(ctx)
		if err != nil {
			return err
		}
		done.existed = exists(stands)
		version := stands.Version
		if !done.existed {
			version = 0
		}
		if err := fits(version); err != nil {
			return err
		}
		if done.Catalog, err = next(stands); err != nil {
			return err
		}
		done.version, done.changed, err = a.store.ApplyCatalog(ctx, done.Catalog, &stands.Version)
		return err
	})
	if err == nil {
		a.o.Applied(context.WithoutCancel(ctx))
	}
	return done, err
}

// parts are a catalog as a document, of which one plan or stream policy can be exchanged for another.
type parts struct {
	Plans   []json.RawMessage `json:"plans,omitempty"`
	Streams []json.RawMessage `json:"streams"`
	Prices  []policy.Price    `json:"prices,omitempty"`
	JWT     policy.JWT        `json:"jwt,omitzero"`
}

func document(c *policy.Catalog) parts {
	return parts{Plans: documents(c.Plans), Streams: documents(c.Streams), Prices: c.Prices, JWT: c.JWT}
}

func documents[T any](list []T) []json.RawMessage {
	out := make([]json.RawMessage, len(list))
	for i := range list {
		text, err := json.Marshal(list[i])
		if err != nil {
			panic(err) // it came from JSON
		}
		out[i] = text
	}
	return out
}

// parse checks a whole catalog after one part of it was exchanged. What is wrong with that part is named as its own
// field: max_concurrent, not plans[2].max_concurrent.
func (p parts) parse(part string) (*policy.Catalog, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("write the catalog: %w", err)
	}
	c, err := parseCatalog(text)
	var wrong catalog.Errors
	if !errors.As(err, &wrong) {
		return c, err
	}
	e := &fieldsError{}
	for _, w := range wrong {
		e.errors = append(e.errors, FieldError{Field: strings.TrimPrefix(strings.TrimPrefix(w.Path, part), "."), Problem: w.Problem})
	}
	return nil, e
}

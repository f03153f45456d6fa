package store

import (
	"encoding/json"
	"fmt"

	"authhook/internal/policy"
)

// The parts of a catalog, each of a table of its own, in the order in which they are read back.
const (
	PartJWT    = "jwt"
	PartPlan   = "plan"
	PartPrice  = "price"
	PartStream = "stream"
)

// CatalogRow is one row of a catalog: its key (a price has two), its place among those of its part, and itself as a
// JSON document. A catalog that was ever applied has exactly one row of [PartJWT].
type CatalogRow struct {
	Part     string
	Position int
	Key      string
	Price    string
	Doc      string
}

// Columns are where a driver scans a row to.
func (r *CatalogRow) Columns() []any { return []any{&r.Part, &r.Position, &r.Key, &r.Price, &r.Doc} }

// name is what tells a row from all others.
func (r CatalogRow) name() CatalogRow { return CatalogRow{Part: r.Part, Key: r.Key, Price: r.Price} }

// label names a row for people: a plan's key, a stream's pattern, a price with its provider.
func (r CatalogRow) label() string {
	if r.Part == PartPrice {
		return r.Key + " " + r.Price
	}
	return r.Key
}

// CatalogRows writes a catalog as rows, ordered by part and position, so that the same catalog is the same rows.
func CatalogRows(c *policy.Catalog) ([]CatalogRow, error) {
	w := catalogWriter{keys: map[CatalogRow]bool{}}
	w.add(PartJWT, 0, "", "", c.JWT)
	for i, p := range c.Plans {
		w.add(PartPlan, i, p.Key, "", p)
	}
	for i, p := range c.Prices {
		w.add(PartPrice, i, p.Provider, p.Price, p)
	}
	for i, s := range c.Streams {
		w.add(PartStream, i, s.Match, "", s)
	}
	if w.err == nil && len(w.rows) > MaxCatalog {
		w.err = &InvalidError{"catalog", fmt.Sprintf("has more than %d parts", MaxCatalog)}
	}
	return w.rows, w.err
}

type catalogWriter struct {
	rows []CatalogRow
	keys map[CatalogRow]bool // part and key only
	err  error               // the first
}

func (w *catalogWriter) add(part string, position int, key, price string, v any) {
	if w.err != nil {
		return
	}
	doc, err := json.Marshal(v)
	if err != nil {
		w.err = &InvalidError{fmt.Sprintf("%s %q", part, key), "cannot be written as JSON: " + err.Error()}
		return
	}
	if part != PartJWT {
		name := CatalogRow{Part: part, Key: key, Price: price}
		w.err = firstOf(checkText(part, key, 1, maxKey), checkText(part, price, 0, maxKey),
			checkText(part, string(doc), 0, maxDoc))
		if w.err == nil && w.keys[name] {
			w.err = &InvalidError{fmt.Sprintf("%s %q", part, key+price), "stands in the catalog twice"}
		}
		w.keys[name] = true
	}
	w.rows = append(w.rows, CatalogRow{part, position, key, price, string(doc)})
}

// CatalogFits holds the version of the catalog that a writer has read against the one that stands, 0 where none was
// applied; nil fits always. [ErrConflict] when it does not fit.
func CatalogFits(ifVersion *int64, stands int64) error {
	if err := fits(ifVersion, stands); err != nil {
		return fmt.Errorf("the catalog: %w", err)
	}
	return nil
}

// CatalogOf reads a catalog from its rows and indexes it. [ErrNotFound] when none was ever applied.
func CatalogOf(rows []CatalogRow, version int64) (*policy.Catalog, error) {
	if len(rows) == 0 {
		return nil, fmt.Errorf("no catalog was applied yet: %w", ErrNotFound)
	}
	c := &policy.Catalog{Version: version}
	for _, r := range rows {
		var err error
		switch r.Part {
		case PartJWT:
			err = json.Unmarshal([]byte(r.Doc), &c.JWT)
		case PartPlan:
			c.Plans, err = appendDoc(c.Plans, r.Doc)
		case PartPrice:
			c.Prices, err = appendDoc(c.Prices, r.Doc)
		case PartStream:
			c.Streams, err = appendDoc(c.Streams, r.Doc)
		}
		if err != nil { // never the document itself: it may hold a JWT's secret
			return nil, fmt.Errorf("read the stored %s %q: %w", r.Part, r.Key, err)
		}
	}
	c.Index()
	return c, nil
}

func appendDoc[T any](list []T, doc string) ([]T, error) {
	var v T
	err := json.Unmarshal([]byte(doc), &v)
	return append(list, v), err
}

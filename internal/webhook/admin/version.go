package admin

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"authhook/internal/store"
)

// precondition is what must stand for a write to be done: If-Match and If-None-Match.
type precondition struct {
	anything bool    // If-Match: *
	nothing  bool    // If-None-Match: *
	versions []int64 // If-Match: "7", "8"
	given    bool
}

// readPrecondition reads the two headers. A weak tag matches nothing: a write asks for the very version.
func readPrecondition(ifMatch, ifNoneMatch string) (precondition, error) {
	p := precondition{nothing: ifNoneMatch == "*", given: ifMatch != "" || ifNoneMatch != ""}
	switch strings.TrimSpace(ifMatch) {
	case "":
		return p, nil
	case "*":
		p.anything = true
		return p, nil
	}
	for tag := range strings.SplitSeq(ifMatch, ",") {
		version, ok := readTag(strings.TrimSpace(tag))
		if !ok {
			return p, invalid("If-Match", "is no ETag of this service: send one as it came, with its quotes")
		}
		if version > 0 {
			p.versions = append(p.versions, version)
		}
	}
	return p, nil
}

// readTag reads an entity tag; 0 when it is a good one that no version has.
func readTag(tag string) (version int64, ok bool) {
	strong, weak := strings.CutPrefix(tag, "W/")
	text, quoted := strings.CutPrefix(strong, `"`)
	text, ended := strings.CutSuffix(text, `"`)
	if !quoted || !ended || strings.ContainsAny(text, `"\`) {
		return 0, false
	}
	version, err := strconv.ParseInt(text, 10, 64)
	if weak || err != nil || version < 1 || strconv.FormatInt(version, 10) != text {
		return 0, true
	}
	return version, true
}

// entityTag is the ETag of a version.
func entityTag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// fits says whether a write may be done while a version stands; 0: nothing does.
func (p *precondition) fits(version int64) bool {
	switch {
	case p.nothing && version != 0, p.anything && version == 0:
		return false
	case !p.given || p.anything || p.nothing && len(p.versions) == 0:
		return true
	}
	return slices.Contains(p.versions, version)
}

// attempts is how often a write that others overtake is begun anew.
const attempts = 20

// write does a write that may rest on what was read before: it is begun anew when another one came in between, as long as
// the caller's precondition holds. Try reads the version that stands, asks fits about it, and writes if it still stands.
func (p *precondition) write(ctx context.Context, try func(fits func(version int64) error) error) (err error) {
	for range attempts {
		err = try(func(version int64) error {
			if p.fits(version) {
				return nil
			}
			return &versionError{version}
		})
		if !errors.Is(err, store.ErrConflict) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

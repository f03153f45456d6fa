package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"authhook/internal/policy"
)

// InvalidError says that a value cannot be stored, whoever tries and however often. It is matched with errors.As.
type InvalidError struct{ Field, Problem string }

func (e *InvalidError) Error() string { return e.Field + " " + e.Problem }

// User is a user as stored.
type User struct {
	ID     string
	Status policy.UserStatus
	// Attributes are the operator's own, a JSON document; nil for none.
	Attributes json.RawMessage
	// Version is 1 for a new user and grows by one with each change of the status or the attributes.
	Version          int64
	Created, Updated time.Time
}

// UserChange is what a user is to become.
type UserChange struct {
	ID     string
	Status policy.UserStatus
	// Attributes that are nil leave those of the user as they are.
	Attributes json.RawMessage
	// IfVersion is the version that the user must be at, 0 for one that must not exist yet; nil: whatever it is.
	IfVersion *int64
}

// Onto is what becomes of a user that stood as old, nil when there was none. Changed is false when the user is that
// already. [ErrConflict] when the version does not fit.
func (c UserChange) Onto(old *User, now time.Time) (u User, changed bool, err error) {
	if old != nil {
		u = *old
	}
	if err := fits(c.IfVersion, u.Version); err != nil {
		return User{}, false, fmt.Errorf("user %q: %w", c.ID, err)
	}
	attributes := u.Attributes
	if c.Attributes != nil {
		attributes = c.Attributes
	}
	if old != nil && u.Status == c.Status && string(u.Attributes) == string(attributes) {
		return u, false, nil
	}
	u.ID, u.Status, u.Attributes, u.Updated = c.ID, c.Status, attributes, now.UTC().Truncate(time.Microsecond)
	if u.Version++; old == nil {
		u.Created = u.Updated
	}
	return u, true, nil
}

// fits holds the version that a writer has read against the one that stands.
func fits(ifVersion *int64, stands int64) error {
	if ifVersion == nil || *ifVersion == stands {
		return nil
	}
	return fmt.Errorf("it is at version %d, not %d: %w", stands, *ifVersion, ErrConflict)
}

// UserFilter picks users; an empty field picks all.
type UserFilter struct {
	Status policy.UserStatus
	// Prefix is what the id begins with.
	Prefix string
	// After is the last user of the page before. Users come ordered by id.
	After string
	// Limit is how many users to return at most: 100 when zero, never more than [MaxFacts].
	Limit int
}

// afterAll sorts after every user's id: it is longer than one can be, of the last letter there is.
var afterAll = strings.Repeat(string(utf8.MaxRune), MaxUserID/utf8.UTFMax+1)

// Range is the filter as a range of ids, so that an index serves it: from ≤ id < below, without After itself.
func (f UserFilter) Range() (from, below string) {
	if !Storable(f.Prefix) {
		return "", "" // no id begins so
	}
	f.After = clean(f.After, MaxUserID)
	return max(f.Prefix, f.After), afterPrefix(f.Prefix)
}

// afterPrefix is the first text that sorts after all that begin with a prefix: the order of UTF-8's bytes is that of its
// letters.
func afterPrefix(prefix string) string {
	for prefix != "" {
		r, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		switch r {
		case utf8.MaxRune: // nothing comes after it: the letter before it decides
		case 0xD7FF: // the next ones are no letters
			return prefix + "\uE000"
		default:
			return prefix + string(r+1)
		}
	}
	return afterAll
}

// Clean brings a filter's limit and cursor into their bounds.
func (f UserFilter) Clean() UserFilter {
	f.Limit, f.After = pageLimit(f.Limit), clean(f.After, MaxUserID)
	return f
}

// UserRow is a user as its columns hold it: id, status, attributes (” for none), version, created, updated.
type UserRow struct {
	user             User
	attributes       string
	created, updated Moment
}

// Columns are where a driver scans a row to.
func (r *UserRow) Columns() []any {
	return []any{&r.user.ID, &r.user.Status, &r.attributes, &r.user.Version, &r.created, &r.updated}
}

// User is what a scanned row holds.
func (r *UserRow) User() (User, error) {
	u := r.user
	if r.attributes != "" {
		u.Attributes = json.RawMessage(r.attributes)
	}
	u.Created, u.Updated = r.created.Time, r.updated.Time
	return u, nil
}

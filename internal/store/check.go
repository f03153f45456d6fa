package store

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"authhook/internal/policy"
)

// What texts may measure, in bytes. The first stays below what PostgreSQL can index.
const (
	MaxUserID = 256
	maxKey    = 1024 // a plan's key, a stream's pattern, a provider's price
	maxText   = 64 << 10
	maxDoc    = 1 << 20
	maxName   = 256 // an API key's name, an actor, a payment's status
)

// Rows that one call returns at most.
const (
	// MaxFacts bounds a user's entitlements, holds and credentials in one answer, and every page but those of sessions
	// and changes.
	MaxFacts = 1000
	// MaxPage bounds a page of sessions or changes.
	MaxPage = 10_000
	// MaxCatalog bounds the parts of a catalog.
	MaxCatalog = 100_000
)

// NewID makes an id such as "ent_…": a prefix that says what it names, and 130 random bits.
func NewID(prefix string) string { return prefix + "_" + strings.ToLower(rand.Text()) }

// MonthOf is the first moment of a moment's month (UTC).
func MonthOf(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// CheckUserID says what is wrong with a user's id as an [InvalidError]; nil when nothing is. A part of a path that is . or ..
// never arrives (RFC 3986, 5.2.4): the API could not be asked about such a user.
func CheckUserID(id string) error {
	if id == "." || id == ".." {
		return &InvalidError{"user", "is . or .., which cannot stand in a path"}
	}
	return checkText("user", id, 1, MaxUserID)
}

// Check says what is wrong with a change of a user.
func (c UserChange) Check() error {
	if err := CheckUserID(c.ID); err != nil {
		return err
	}
	if c.Status != policy.ActiveUser && c.Status != policy.SuspendedUser {
		return &InvalidError{"status", "is neither active nor suspended"}
	}
	if c.Attributes == nil {
		return nil
	}
	if err := checkText("attributes", string(c.Attributes), 1, maxText); err != nil {
		return err
	}
	if !json.Valid(c.Attributes) {
		return &InvalidError{"attributes", "are not JSON"}
	}
	return nil
}

// CheckCredential says what is wrong with a credential.
func CheckCredential(c policy.Credential) error {
	if err := CheckUserID(c.User); err != nil {
		return err
	}
	if c.Kind != policy.CredentialKey && c.Kind != policy.CredentialAddress {
		return &InvalidError{"kind", "is neither key nor address: nothing else is stored"}
	}
	for _, s := range c.Streams {
		if err := checkText("streams", s, 1, maxKey); err != nil {
			return err
		}
	}
	return firstOf(checkText("id", c.ID, 0, maxKey), checkSpan(c.From, c.Until))
}

// CheckEntitlement says what is wrong with a user's entitlement.
func CheckEntitlement(user string, e policy.Entitlement) error {
	if err := checkTarget(e.Plan, e.Stream, e.Tag); err != nil {
		return err
	}
	return firstOf(CheckUserID(user), checkText("id", e.ID, 0, maxKey), checkText("plan", e.Plan, 0, maxText),
		checkText("stream", e.Stream, 0, maxText), checkText("tag", e.Tag, 0, maxText),
		checkText("source", e.Source, 0, maxText), checkSpan(e.From, e.Until), checkTime("grace", e.GraceFrom))
}

// checkTarget demands exactly one of a plan, a stream and a tag.
func checkTarget(plan, stream, tag string) error {
	const rule = "exactly one of plan, stream and tag is to be set"
	first := ""
	for _, t := range [...]struct{ field, value string }{{"plan", plan}, {"stream", stream}, {"tag", tag}} {
		switch {
		case t.value == "":
		case first == "":
			first = t.field
		default:
			return &InvalidError{t.field, "cannot stand beside " + first + ": " + rule}
		}
	}
	if first == "" {
		return &InvalidError{"plan", "is missing: " + rule}
	}
	return nil
}

// CheckHold says what is wrong with a hold against a user.
func CheckHold(user string, h policy.Hold) error {
	return firstOf(CheckUserID(user), checkText("id", h.ID, 0, maxKey), checkText("kind", h.Kind, 1, maxText),
		checkText("ref", h.Ref, 0, maxText), checkTime("from", h.From))
}

// CheckLease says what is wrong with a lease.
func CheckLease(l policy.Lease) error {
	return firstOf(CheckUserID(l.User), checkText("plan", l.Plan, 0, maxKey), checkText("node", l.Node, 0, maxNode),
		CheckSessionID(l.Session), checkTime("at", l.At), checkTime("until", l.Until))
}

// CheckSessionID says what is wrong with a session's id as one that the change feed can name (see [SessionSubject]).
// MistServer's own are hexadecimal.
func CheckSessionID(id string) error {
	if strings.Contains(id, " ") {
		return &InvalidError{"session", "holds a space"}
	}
	return checkText("session", id, 1, maxNode)
}

// CheckPreview says what is wrong with a viewer and a policy's pattern.
func CheckPreview(viewer, match string) error {
	return firstOf(checkText("viewer", viewer, 1, maxKey), checkText("match", match, 1, maxKey))
}

// CheckAPIKey says what is wrong with a key of the API.
func CheckAPIKey(k APIKey) error {
	if k.Role != RoleRead && k.Role != RoleBilling && k.Role != RoleAdmin {
		return &InvalidError{"role", "is none of read, billing and admin"}
	}
	return firstOf(checkText("id", k.ID, 0, maxKey), checkText("name", k.Name, 1, maxName))
}

// CheckPayment says what is wrong with a payment.
func CheckPayment(p Payment) error {
	if p.Amount < 0 {
		return &InvalidError{"amount", "is negative"}
	}
	if p.Refunded < 0 {
		return &InvalidError{"refunded", "is negative"}
	}
	if strings.Contains(p.Provider, "/") {
		return &InvalidError{"provider", "holds a slash"}
	}
	return firstOf(checkText("provider", p.Provider, 1, maxKey), checkText("id", p.ID, 1, maxKey),
		checkText("user", p.User, 0, MaxUserID),
		checkText("subscription", p.Subscription, 0, maxKey), checkText("price", p.Price, 0, maxKey),
		checkText("plan", p.Plan, 0, maxText), checkText("stream", p.Stream, 0, maxText), checkText("tag", p.Tag, 0, maxText),
		checkText("currency", p.Currency, 0, maxName), checkText("status", string(p.Status), 1, maxName),
		checkText("reason", p.Reason, 0, maxText), checkTime("at", p.At))
}

// Storable says whether a text can be in a database at all. One that cannot is not found there.
func Storable(s string) bool { return checkText("", s, 0, len(s)) == nil }

// checkText demands text that both databases can hold: PostgreSQL's has no NUL and is UTF-8.
func checkText(field, s string, least, most int) error {
	switch {
	case len(s) < least:
		return &InvalidError{field, "is empty"}
	case len(s) > most:
		return &InvalidError{field, fmt.Sprintf("is longer than %d bytes", most)}
	case strings.IndexByte(s, 0) >= 0:
		return &InvalidError{field, "holds a NUL"}
	case !utf8.ValidString(s):
		return &InvalidError{field, "is not UTF-8"}
	}
	return nil
}

func checkSpan(from, until time.Time) error {
	// As they are stored: two moments of one microsecond are one.
	if !from.IsZero() && !until.IsZero() && !from.Truncate(time.Microsecond).Before(until.Truncate(time.Microsecond)) {
		return &InvalidError{"until", "is not after from"}
	}
	return firstOf(checkTime("from", from), checkTime("until", until))
}

// checkTime demands a moment that JSON and both databases can hold.
func checkTime(field string, t time.Time) error {
	if !t.IsZero() && !t.Equal(clampTime(t)) {
		return &InvalidError{field, "is outside the years 1 to 9999"}
	}
	return nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

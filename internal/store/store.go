// Package store is what the places where facts live have in common: their errors, the change feed, the audit, and what
// becomes of a user or a payment that is written. The facts themselves live in store/sqlite (embedded, one machine) and
// store/postgres (many); store/storetest is the suite that both pass. store/cache keeps facts in process.
//
// Errors of a driver are mapped to these once, where they arise, and matched by type, never by text.
package store

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("not found")
	// ErrConflict: it exists already, or changed since it was read.
	ErrConflict = errors.New("conflict")
	// ErrUnavailable: the database could not be reached, was too slow, or refused. Not a verdict: try again.
	ErrUnavailable = errors.New("store unavailable")
	// ErrBusy: what was asked was not asked of the database, as too many were before it. It says nothing about the database.
	// It is an [ErrUnavailable].
	ErrBusy = fmt.Errorf("%w: too many are before it", ErrUnavailable)
	// ErrFeedGap: entries of the change feed after the asked number are missing (cut off, or never there). Whoever
	// follows the feed must drop everything and begin again at its end.
	ErrFeedGap = errors.New("change feed has a gap")
)

// ChangeKind says what a change was about.
type ChangeKind string

// The kinds of changes.
const (
	// ChangeUser: facts of a user changed. The subject is the user's id.
	ChangeUser ChangeKind = "user"
	// ChangeCredential: a stored credential was made or changed. The subject is its hash in hex.
	ChangeCredential ChangeKind = "credential"
	// ChangeCatalog: the catalog was applied. The subject is empty.
	ChangeCatalog ChangeKind = "catalog"
	// ChangeAPIKey: a key of the API was made or withdrawn. The subject is its id.
	ChangeAPIKey ChangeKind = "api_key"
	// ChangePayment: what is known of a payment changed. The subject is [PaymentKey.String]. No decision depends on it:
	// what was bought is an entitlement.
	ChangePayment ChangeKind = "payment"
	// ChangeSession: what a session may is to be looked at again, by whoever holds its node: it lost its place to a newer
	// one. The subject is [SessionSubject]. No fact changed.
	ChangeSession ChangeKind = "session"
	// ChangeSessionEnd: a session is to be ended, by whoever holds its node: somebody asked for it. The subject is
	// [SessionSubject]. No fact changed.
	ChangeSessionEnd ChangeKind = "session_end"
)

// SessionSubject names a session in the change feed: its id, one space, its node. An id holds no space.
func SessionSubject(node, id string) string { return id + " " + node }

// ParseSessionSubject reads what [SessionSubject] wrote.
func ParseSessionSubject(subject string) (node, id string, ok bool) {
	id, node, ok = strings.Cut(subject, " ")
	if !ok || id == "" {
		return "", "", false
	}
	return node, id, true
}

// Change is one entry of the change feed. It is written in the transaction that changes the facts, and numbered in the
// order in which those commit: whoever has read up to a number has missed nothing before it.
type Change struct {
	Number  int64
	At      time.Time
	Kind    ChangeKind
	Subject string
}

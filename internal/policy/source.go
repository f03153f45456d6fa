package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"time"
)

// CredentialHash is the SHA-256 under which a credential is stored and looked up. The credential itself is never kept.
type CredentialHash [sha256.Size]byte

// String is the hash in lowercase hex.
func (h CredentialHash) String() string { return hex.EncodeToString(h[:]) }

// ParseCredentialHash reads what [CredentialHash.String] wrote.
func ParseCredentialHash(text string) (h CredentialHash, err error) {
	if len(text) != hex.EncodedLen(len(h)) {
		return h, hex.ErrLength
	}
	_, err = hex.Decode(h[:], []byte(text))
	return h, err
}

// HashKey is the hash of an opaque key.
func HashKey(key string) CredentialHash { return sha256.Sum256([]byte(key)) }

// HashAddress is the hash under which the binding of an address to a user is stored. It can equal no key's: keys have
// a prefix of their own.
func HashAddress(a netip.Addr) CredentialHash {
	b := a.Unmap().As16()
	return sha256.Sum256(append([]byte("address\x00"), b[:]...))
}

// Source is where facts are read. Its errors mean that the facts could not be read, never that there are none. What it
// returns is shared and must not be changed. It answers in a time of its own: the context of a decision that several wait
// for has no deadline.
type Source interface {
	// FactsByCredential reads a stored credential and its user's facts, in one round trip. Both are nil when there is
	// no such credential; when only the user is missing, its facts have no status.
	FactsByCredential(ctx context.Context, hash CredentialHash) (*Credential, *UserFacts, error)
	// FactsByUser reads a user's facts, in one round trip. They have no status when there is no such user.
	FactsByUser(ctx context.Context, user string) (*UserFacts, error)
}

// Lease is one session's place under a plan's limit.
type Lease struct {
	User, Plan string
	Node       string // the node's name
	Session    string // MistServer's session id
	// At is when the place is asked for; Until is when it is free again if nobody renews it.
	At, Until time.Time
}

// Leases hand out places under a plan's limit, exactly: of two racing opens under a limit of one, one wins, on one
// machine or on ten.
type Leases interface {
	// AcquireLease takes or renews a place. A session that has one keeps it, whatever the limit. With
	// [OnLimitKickOldest] the oldest sessions lose theirs instead of the new one being refused, and are returned.
	AcquireLease(ctx context.Context, l Lease, limit int, onLimit OnLimit) (granted bool, kicked []KickedSession, err error)
	// CountLeases is how many other sessions hold a place at a moment, without effect.
	CountLeases(ctx context.Context, user, plan, exceptNode, exceptSession string, at time.Time) (int, error)
}

// Place names a session's place under its user's limit, on a node.
type Place struct{ User, Session string }

// SessionsOf are the sessions of places, in their order.
func SessionsOf(places []Place) []string {
	sessions := make([]string, len(places))
	for i, p := range places {
		sessions[i] = p.Session
	}
	return sessions
}

// KickedSession is a session that lost its place to a newer one.
type KickedSession struct{ Node, Session string }

// Previews remember when a viewer's preview began, so that reconnecting does not begin it anew.
type Previews interface {
	// StartPreview is when the preview of this viewer under this policy began: now, if none began within the last
	// `every`. The viewer is "user:<id>" or "address:<ip>".
	StartPreview(ctx context.Context, viewer, match string, now time.Time, every time.Duration) (time.Time, error)
	// Preview is the same without effect: zero when none began within the last `every`.
	Preview(ctx context.Context, viewer, match string, now time.Time, every time.Duration) (time.Time, error)
}

// Verifier verifies JSON Web Tokens.
type Verifier interface {
	// VerifyJWT is the credential that a token is, when its signature and form are right: its streams, addresses,
	// From and Until are claims for Evaluate to hold the request against. Else the fault is the reason ([Unavailable]
	// while its key may yet come), and detail says in words what is wrong with it, without quoting the token.
	VerifyJWT(token string) (c *Credential, fault Reason, detail string)
}

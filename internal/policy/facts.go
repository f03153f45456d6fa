package policy

import (
	"net/netip"
	"time"
)

// Facts are everything that one decision rests on, as read for it. The parts are shared between decisions and must not
// be changed once they are in use.
type Facts struct {
	// Catalog holds the stream policies and plans. Never nil in a call of Evaluate.
	Catalog *Catalog
	// Credential is what the viewer presented, or what its address is bound to; nil when nothing valid was found.
	Credential *Credential
	// CredentialFault says why Credential is nil although something was presented; zero otherwise.
	CredentialFault Reason
	// User is what is known of the credential's user; nil when nobody is known.
	User *UserFacts
	// PreviewFrom is when this viewer's preview of the stream's policy began; zero when it has not.
	PreviewFrom time.Time
}

// claims are those of the JWT that was presented; nil when there was none.
func (f *Facts) claims() *Credential {
	if f.Credential != nil && f.Credential.Kind == CredentialJWT {
		return f.Credential
	}
	return nil
}

// UserFacts are the facts of one user, read together at one moment and kept together.
type UserFacts struct {
	// User is the operator's own id.
	User string
	// Status is empty when there is no such user.
	Status UserStatus
	// Entitlements are those in force, those to come, and the ones that ended last.
	Entitlements []Entitlement
	// Holds are those that stand.
	Holds []Hold
	// Used is what the user watched under plans in the month of UsedMonth, as far as its end was told or estimated.
	Used time.Duration
	// UsedMonth is the first moment of the month (UTC) that Used counts.
	UsedMonth time.Time
	// Running is how many sessions of the user run that will count like those in Used once they are over: what each has come
	// to by now is used as well. They are counted for users whom a quota can concern ([Decision.Metered]); 0 for others.
	Running int
	// RunningFrom is the mean of the moments since when the running sessions count: each since it was opened, or since
	// UsedMonth where that is later. With it Running sessions come to Running × (at − RunningFrom) at a moment. Zero where
	// none runs.
	RunningFrom time.Time
}

// UserStatus says whether a user may do anything at all.
type UserStatus string

// The statuses of a user.
const (
	ActiveUser    UserStatus = "active"
	SuspendedUser UserStatus = "suspended"
)

// CredentialKind says what a credential is made of.
type CredentialKind string

// The kinds of credentials.
const (
	// CredentialKey is an opaque key, made by authhook and stored as its SHA-256 only.
	CredentialKey CredentialKind = "key"
	// CredentialJWT is a signed JSON Web Token. It is never stored.
	CredentialJWT CredentialKind = "jwt"
	// CredentialAddress binds an address to a user, for protocols that carry no token.
	CredentialAddress CredentialKind = "address"
)

// Credential is what a viewer or publisher presents, once it is known to be genuine.
type Credential struct {
	// ID names a stored credential in the API and the log. It is not the key. Empty for a JWT.
	ID   string
	Kind CredentialKind
	User string
	// Streams are the patterns of the streams it was given out for (see [MatchStream]); none: every stream.
	Streams []string
	// Addresses are those it was given out for; none: every address.
	Addresses []netip.Prefix
	// From and Until bound the time it was given out for, half-open; a zero moment is no bound.
	From, Until time.Time
	// Revoked is set once it was withdrawn.
	Revoked bool
	// Publish permits publishing. Without it the credential is for watching only.
	Publish bool
}

// UnverifiedJWT stands for a JWT that was presented and not verified: nothing is known of it but that it was one.
var UnverifiedJWT = &Credential{Kind: CredentialJWT}

// Unverified says whether the credential stands for a JWT that was not verified. The claims of a verified one name a user.
func (c *Credential) Unverified() bool { return c != nil && c.Kind == CredentialJWT && c.User == "" }

// Entitlement is a user's right to watch a plan's streams, one stream or the streams of one tag: exactly one of Plan,
// Stream and Tag is set.
type Entitlement struct {
	ID     string
	Plan   string
	Stream string // a pattern, see [MatchStream]
	Tag    string
	// From and Until bound the right, half-open: from ≤ t < until. A zero moment is no bound.
	From, Until time.Time
	// GraceFrom is when the renewal failed: the plan's grace counts from it. Zero: no grace is due.
	GraceFrom time.Time
	// Source says where the right comes from: "admin", or a provider and its subscription or payment.
	Source string
}

// Hold blocks a user while it stands.
type Hold struct {
	ID   string
	Kind string // "dispute", "abuse", "admin"
	Ref  string // the operator's or the provider's own reference
	From time.Time
}

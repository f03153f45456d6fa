package policy

import (
	"net/netip"
	"time"
)

// SessionState says what became of a session.
type SessionState string

// The states of a session.
const (
	// SessionOpen: it was allowed and has not ended.
	SessionOpen SessionState = "open"
	// SessionDenied: it was denied. MistServer remembers that for 600 s and does not ask again.
	SessionDenied SessionState = "denied"
	// SessionEnded: it is over.
	SessionEnded SessionState = "ended"
)

// Session is a viewer's session on one node, with what is needed to decide again about it. Node and ID name it: the id
// is MistServer's own and the same again when the viewer reconnects.
type Session struct {
	Node string
	ID   string
	// Instance is the server process the session runs on: another one means that the node restarted.
	Instance  string
	State     SessionState
	Stream    string
	Address   netip.Addr
	Connector string
	// User is who is watching; empty when nobody is known.
	User string
	// Credential is the hash of the stored credential that was used; zero when there was none, or a JWT.
	Credential CredentialHash
	// JWT is the verified claims of the JWT that was used, without the token itself, or [UnverifiedJWT]; nil when there was
	// none.
	JWT    *Credential
	Reason Reason
	Plan   string
	Tags   []string
	// Opened is when it was first decided about, Decided when it was last, Ended when it was over.
	Opened, Decided, Ended time.Time
	// Until is when the decision stops holding; zero when no clock ends it.
	Until time.Time
	// PreviewFrom is when the viewer's preview began, where the decision rests on one. It is not stored.
	PreviewFrom time.Time
	// Rerun says of a decision that MistServer was told to ask about a session that ran. It is not stored.
	Rerun bool
	// Told is when MistServer says that what is told happened; zero when it does not say. Not stored.
	Told time.Time
	// NeverRan says of an end that it is that of a remembered denial, which never ran. A session that was gone within its
	// first second looks the same (source). Not stored.
	NeverRan bool
	// Estimated: that it is over was concluded, not told by MistServer: Ended is when it was last known to be alive, and
	// Duration how long that was since it opened. MistServer's own word, should it come, takes the place of the estimate.
	Estimated bool
	// Metered says that what its user watches counts towards a quota ([Decision.Metered]): while it is open under a plan it is
	// among the running sessions of the user's facts, and its beginning and its end are changes of those facts.
	Metered bool
	// Usage, known at its end: how long it lasted, and the bytes sent up and down.
	Duration           time.Duration
	BytesUp, BytesDown int64
	Connectors         []string // every connector it used
}

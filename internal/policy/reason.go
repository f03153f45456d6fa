package policy

// Reason is why a decision is what it is: one stable code, the same in the log, the metrics, the API and the console.
type Reason uint8

// The reasons of an allow.
const (
	// Public: the stream asks nothing of its viewers.
	Public Reason = iota + 1
	// Authenticated: the stream asks for a known, active user, and this is one.
	Authenticated
	// Entitled: an entitlement of the user covers the stream at this moment.
	Entitled
	// Grace: the entitlement ended with a failed renewal, and the plan's grace still runs.
	Grace
	// Preview: nothing entitles this viewer, and the stream's preview still runs.
	Preview
	// Publisher: this publisher may push to the stream.
	Publisher
)

// The reasons of a deny.
const (
	// PayloadInvalid: the trigger's payload could not be read, or contradicts itself.
	PayloadInvalid Reason = iota + 32
	// StreamUnknown: no stream policy of the catalog matches the stream.
	StreamUnknown
	// StreamClosed: the stream is closed to everyone at this moment.
	StreamClosed
	// AddressDenied: the stream's address rules refuse the viewer's address.
	AddressDenied
	// ConnectorDenied: the stream refuses this connector (protocol).
	ConnectorDenied
	// CredentialMissing: the request carries no credential, and its address is bound to no user.
	CredentialMissing
	// CredentialUnknown: the credential is none that was given out: no such key, a JWT that fails verification, or a
	// text in no known form.
	CredentialUnknown
	// CredentialExpired: this moment is outside the time for which the credential was given out.
	CredentialExpired
	// CredentialRevoked: the credential was withdrawn.
	CredentialRevoked
	// CredentialWrongStream: the credential was given out for other streams.
	CredentialWrongStream
	// CredentialWrongAddress: the credential was given out for another address.
	CredentialWrongAddress
	// UserUnknown: the credential names a user that does not exist.
	UserUnknown
	// UserSuspended: the user is suspended.
	UserSuspended
	// Hold: a hold (a dispute, an abuse case, an administrator) stands against the user.
	OnHold
	// PaymentRequired: the user never had an entitlement that covers the stream.
	PaymentRequired
	// EntitlementExpired: every entitlement that covers the stream has ended.
	EntitlementExpired
	// EntitlementNotStarted: an entitlement covers the stream, from a later moment on.
	EntitlementNotStarted
	// ConcurrencyLimit: as many sessions as the plan permits are open already.
	ConcurrencyLimit
	// QuotaExhausted: the plan's minutes of this month are used up.
	QuotaExhausted
	// PublisherDenied: the stream is closed to publishers, or the credential does not permit publishing.
	PublisherDenied
	// Unavailable: the facts could not be read. Not a verdict: the configured answer is given until they can be.
	Unavailable
)

var reasonNames = [...]string{
	Public: "public", Authenticated: "authenticated", Entitled: "entitled", Grace: "grace", Preview: "preview",
	Publisher: "publisher",

	PayloadInvalid: "payload_invalid", StreamUnknown: "stream_unknown", StreamClosed: "stream_closed",
	AddressDenied: "address_denied", ConnectorDenied: "connector_denied", CredentialMissing: "credential_missing",
	CredentialUnknown: "credential_unknown", CredentialExpired: "credential_expired",
	CredentialRevoked: "credential_revoked", CredentialWrongStream: "credential_wrong_stream",
	CredentialWrongAddress: "credential_wrong_address", UserUnknown: "user_unknown", UserSuspended: "user_suspended",
	OnHold: "hold", PaymentRequired: "payment_required", EntitlementExpired: "entitlement_expired",
	EntitlementNotStarted: "entitlement_not_started", ConcurrencyLimit: "concurrency_limit",
	QuotaExhausted: "quota_exhausted", PublisherDenied: "publisher_denied", Unavailable: "unavailable",
}

// String is the reason's stable code, such as "payment_required"; empty for a value that is no reason.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return ""
}

// Reasons lists every reason there is, allows first.
func Reasons() []Reason {
	var all []Reason
	for r, name := range reasonNames {
		if name != "" {
			all = append(all, Reason(r))
		}
	}
	return all
}

// ParseReason is the reason with this code; false when there is none.
func ParseReason(code string) (Reason, bool) {
	for r, name := range reasonNames {
		if name != "" && name == code {
			return Reason(r), true
		}
	}
	return 0, false
}

package webhook

// Problem says why a call's body is not the whole payload.
type Problem uint8

// The problems of a call.
const (
	// BodyTooLarge: the body is over [MaxBody].
	BodyTooLarge Problem = iota + 1
	// BodySlow: the body did not arrive in time.
	BodySlow
	// BodyBroken: the body ended early.
	BodyBroken
	// MethodWrong: the request is not a POST.
	MethodWrong
	// TypeMissing: nothing says which trigger it is.
	TypeMissing
	// KeyWrong: the trigger key is missing or wrong.
	KeyWrong
	// Unreadable: the payload is not of its type's form.
	Unreadable
	// SessionIDWrong: MistServer would compute another session id from this payload.
	SessionIDWrong
	// Panicked: deciding about it met a mistake of ours.
	Panicked
	// TypeUnknown: a trigger type that nobody here knows.
	TypeUnknown
)

var problemNames = [...]string{
	BodyTooLarge: "body_too_large", BodySlow: "body_slow", BodyBroken: "body_broken", MethodWrong: "method_wrong",
	TypeMissing: "type_missing",
	KeyWrong:    "key_wrong", Unreadable: "payload_unreadable", SessionIDWrong: "session_id_wrong", TypeUnknown: "type_unknown", Panicked: "panic",
}

// String is the problem's stable code.
func (p Problem) String() string {
	if int(p) < len(problemNames) {
		return problemNames[p]
	}
	return ""
}

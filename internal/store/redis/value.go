package redis

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"

	"authhook/internal/policy"
)

// format is the version of what is stored here, and part of every key: versions of authhook that write another form, or
// mean another thing by it, do not meet. It is counted up whenever testdata of value_test.go changes.
const format = "1"

// maxValue is the longest value that is written or read, in bytes: some 400 entitlements. Who has more is read from the
// database.
const maxValue = 64 << 10

// Keys hold no credential and no user's id in the clear. What is hashed are the fields with their lengths, so that no two
// lists of fields are the same bytes.
func hashOf(fields ...string) string {
	var b []byte
	for _, f := range fields {
		b = appendField(b, f)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

const (
	factsPrefix   = "authhook:facts:" + format + ":"
	previewPrefix = "authhook:preview:" + format + ":"
)

func credentialKey(hash policy.CredentialHash) string {
	return factsPrefix + hashOf("credential", string(hash[:]))
}
func userKey(user string) string             { return factsPrefix + hashOf("user", user) }
func previewKey(viewer, match string) string { return previewPrefix + hashOf(viewer, match) }

func appendField(b []byte, field string) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(field))), field...)
}

// A value is a header of a fixed length and a document: JSON, or the moment at which a preview began. The header is the
// number and the mark of the feed's entry as of which it was read: decimal and hex, each with a space after it.
const headerSize = 19 + 1 + 16 + 1

func (a asOf) header() string { return fmt.Sprintf("%019d %016x ", a.number, a.mark) }

var errValue = errors.New("not a value of this version")

func parseHeader(b []byte) (asOf, error) {
	if len(b) < headerSize || b[19] != ' ' || b[headerSize-1] != ' ' {
		return asOf{}, errValue
	}
	number, err := strconv.ParseInt(string(b[:19]), 10, 64)
	if err != nil || number <= 0 {
		return asOf{}, errValue
	}
	mark, err := strconv.ParseUint(string(b[20:headerSize-1]), 16, 64)
	if err != nil {
		return asOf{}, errValue
	}
	return asOf{number, mark}, nil
}

// The documents. Their names are their own, so that a field of package policy can be renamed; and as each is converted
// from and to its type there, a field that is added there does not compile here.
type (
	credentialDocument struct {
		ID        string                `json:"i"`
		Kind      policy.CredentialKind `json:"k"`
		User      string                `json:"u"`
		Streams   []string              `json:"s,omitempty"`
		Addresses []netip.Prefix        `json:"a,omitempty"`
		From      time.Time             `json:"f,omitzero"`
		Until     time.Time             `json:"t,omitzero"`
		Revoked   bool                  `json:"r,omitempty"`
		Publish   bool                  `json:"p,omitempty"`
	}
	entitlementDocument struct {
		ID        string    `json:"i"`
		Plan      string    `json:"p,omitempty"`
		Stream    string    `json:"s,omitempty"`
		Tag       string    `json:"g,omitempty"`
		From      time.Time `json:"f,omitzero"`
		Until     time.Time `json:"t,omitzero"`
		GraceFrom time.Time `json:"c,omitzero"`
		Source    string    `json:"o,omitempty"`
	}
	holdDocument struct {
		ID   string    `json:"i"`
		Kind string    `json:"k"`
		Ref  string    `json:"r,omitempty"`
		From time.Time `json:"f,omitzero"`
	}
	userDocument struct {
		User         string                `json:"u"`
		Status       policy.UserStatus     `json:"s"`
		Entitlements []entitlementDocument `json:"e,omitempty"`
		Holds        []holdDocument        `json:"h,omitempty"`
		Used         time.Duration         `json:"d"`
		UsedMonth    time.Time             `json:"m"`
		Running      int                   `json:"n,omitempty"`
		RunningFrom  time.Time             `json:"w,omitzero"`
	}
)

// encodeCredential writes a credential; nil: that there is none.
func encodeCredential(c *policy.Credential) ([]byte, error) {
	return json.Marshal((*credentialDocument)(c))
}

func decodeCredential(b []byte) (*policy.Credential, error) {
	var d *credentialDocument
	if err := decode(b, &d); err != nil {
		return nil, err
	}
	if d != nil && (d.User == "" || d.Kind == "") {
		return nil, errValue
	}
	return (*policy.Credential)(d), nil
}

func encodeUser(u *policy.UserFacts) ([]byte, error) {
	d := userDocument{User: u.User, Status: u.Status, Used: u.Used,
		UsedMonth: u.UsedMonth, Running: u.Running, RunningFrom: u.RunningFrom}
	for _, e := range u.Entitlements {
		d.Entitlements = append(d.Entitlements, entitlementDocument(e))
	}
	for _, h := range u.Holds {
		d.Holds = append(d.Holds, holdDocument(h))
	}
	return json.Marshal(d)
}

// decodeUser reads the facts of a user. Any other user's are none.
func decodeUser(b []byte, user string) (*policy.UserFacts, error) {
	var d userDocument
	if err := decode(b, &d); err != nil {
		return nil, err
	}
	if d.User != user {
		return nil, errValue
	}
	u := &policy.UserFacts{User: d.User, Status: d.Status, Used: d.Used,
		UsedMonth: d.UsedMonth, Running: d.Running, RunningFrom: d.RunningFrom}
	for _, e := range d.Entitlements {
		u.Entitlements = append(u.Entitlements, policy.Entitlement(e))
	}
	for _, h := range d.Holds {
		u.Holds = append(u.Holds, policy.Hold(h))
	}
	return u, nil
}

// encodeBegan writes when a preview began: in microseconds of Unix time, which is what the databases hold.
func encodeBegan(began time.Time) []byte { return strconv.AppendInt(nil, began.UnixMicro(), 10) }

func decodeBegan(b []byte) (time.Time, error) {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}, errValue
	}
	return time.UnixMicro(n).UTC(), nil
}

// decode reads one document and nothing else: a field that this version does not know makes it unreadable.
func decode(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return errValue
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errValue
	}
	return nil
}

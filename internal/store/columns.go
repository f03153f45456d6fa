package store

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"authhook/internal/policy"
)

// How values of package policy stand in columns, where both databases hold the same. A list or a document is JSON
// text, and an empty text where there is none; a moment is NULL where it is zero.

// Moment reads a column that holds a moment: PostgreSQL's timestamptz, or SQLite's microseconds since 1970.
type Moment struct{ time.Time }

// Scan implements sql.Scanner.
func (m *Moment) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		m.Time = time.Time{}
	case int64:
		m.Time = time.UnixMicro(v).UTC()
	case time.Time:
		m.Time = v.UTC()
	default:
		return fmt.Errorf("a moment cannot be read from %T", src)
	}
	return nil
}

var (
	earliest = time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC)
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
)

// clampTime brings a moment into the years that JSON and both databases can hold.
func clampTime(t time.Time) time.Time {
	switch {
	case t.IsZero():
		return time.Time{}
	case t.Before(earliest):
		return earliest
	case t.After(latest.Add(time.Microsecond - 1)):
		return latest
	}
	return t
}

// SameMoment says whether two moments are the same once they are stored.
func SameMoment(a, b time.Time) bool {
	return a.Truncate(time.Microsecond).Equal(b.Truncate(time.Microsecond))
}

// clean makes text of any bytes that both databases can hold, no longer than most.
func clean(s string, most int) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 && len(s) <= most {
		return s
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") // the cut may have split a letter
	}
	return s
}

// EncodeList writes a list of texts, or of what writes itself as text.
func EncodeList[T string | netip.Prefix](list []T) string {
	if len(list) == 0 {
		return ""
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // neither type can fail
	}
	return string(b)
}

// DecodeList reads what [EncodeList] wrote.
func DecodeList[T string | netip.Prefix](s string) ([]T, error) {
	if s == "" {
		return nil, nil
	}
	var list []T
	if err := json.Unmarshal([]byte(s), &list); err != nil {
		return nil, fmt.Errorf("read a stored list: %w", err)
	}
	return list, nil
}

// claims is how a JWT's verified claims are stored beside a session: names of its own, so that a field of
// policy.Credential can be renamed.
type claims struct {
	Kind      policy.CredentialKind `json:"kind"`
	User      string                `json:"user"`
	Streams   []string              `json:"streams,omitempty"`
	Addresses []netip.Prefix        `json:"addresses,omitempty"`
	From      time.Time             `json:"from,omitzero"`
	Until     time.Time             `json:"until,omitzero"`
	Publish   bool                  `json:"publish,omitempty"`
}

// EncodeClaims writes the claims of a JWT; the empty text when there are none.
func EncodeClaims(c *policy.Credential) string {
	if c == nil {
		return ""
	}
	b, err := json.Marshal(claims{c.Kind, c.User, c.Streams, c.Addresses, clampTime(c.From).UTC(), clampTime(c.Until).UTC(),
		c.Publish})
	if err != nil {
		panic(err) // no type in it can fail once its times are clamped
	}
	return string(b)
}

// DecodeClaims reads what [EncodeClaims] wrote.
func DecodeClaims(s string) (*policy.Credential, error) {
	if s == "" {
		return nil, nil
	}
	var c claims
	if err := json.Unmarshal([]byte(s), &c); err != nil {
		return nil, fmt.Errorf("read stored claims: %w", err)
	}
	return &policy.Credential{Kind: c.Kind, User: c.User, Streams: c.Streams, Addresses: c.Addresses, From: c.From,
		Until: c.Until, Publish: c.Publish}, nil
}

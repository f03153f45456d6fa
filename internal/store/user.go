package store

import (
	"encoding/json"
	"time"

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
	Attributes       json.RawMessage
	Created, Updated time.Time
}

package billing

import "time"

// Said is something that was said at a moment. Of two words the later one holds, by the provider's own clock.
type Said[T any] struct {
	At time.Time `json:"at"`
	// Rank orders what was said at one moment: the greater one holds. Providers tell the time in whole seconds.
	Rank  int `json:"rank,omitempty"`
	Value T   `json:"value"`
}

// Say is something that was said at a moment; nil when it is nothing.
func Say[T comparable](at time.Time, value T) *Said[T] {
	var nothing T
	if value == nothing {
		return nil
	}
	return &Said[T]{At: at, Value: value}
}

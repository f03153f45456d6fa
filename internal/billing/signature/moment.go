package signature

import "time"

// Tolerance is how far the time of a signature may be from ours, before or after: exactly this far is still good. It is
// Standard Webhooks' and Stripe's own. Paddle's libraries allow 5 s, which a busy line or a slow clock breaks.
const Tolerance = 300 * time.Second

// maxDigits holds milliseconds until the year 2286, and any number of these stays within an int64.
const maxDigits = 13

// moment reads a Unix time in seconds or milliseconds: digits and nothing else, and no zero ahead. So a moment is written
// in one way only, and holds no byte that could be a joint.
func moment(text string, unit time.Duration) (time.Time, bool) {
	if text == "" || len(text) > maxDigits || text[0] == '0' {
		return time.Time{}, false
	}
	n := int64(0)
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return time.Time{}, false
		}
		n = 10*n + int64(text[i]-'0')
	}
	if unit == time.Millisecond {
		return time.UnixMilli(n).UTC(), true
	}
	return time.Unix(n, 0).UTC(), true
}

// near says whether a moment is within the tolerance. Sub stops at the ends of what a Duration can hold, so that a moment
// however far is far; its amount is not taken, for that of the least Duration is less than nothing.
func near(at, now time.Time, tolerance time.Duration) bool {
	d := now.Sub(at)
	return -tolerance <= d && d <= tolerance
}

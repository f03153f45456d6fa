package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time as operators write it: "60s", "72h", "30d" (a day is 24 hours).
type Duration time.Duration

// String writes the duration as it can be read again.
func (d Duration) String() string { return time.Duration(d).String() }

// IsZero says whether the duration is nothing, so that it can be left out of a document.
func (d Duration) IsZero() bool { return d == 0 }

// MarshalText writes the duration as it can be read again.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a duration. A negative one is an error.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	v, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok && err != nil {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		n *= 24 * float64(time.Hour)
		if err == nil && !(n < math.MaxInt64) { // not a number, or too many: what a conversion makes of it depends on the machine
			err = strconv.ErrRange
		}
		v = time.Duration(n)
	}
	if err != nil {
		return fmt.Errorf("%q is not a duration: write it like 60s, 72h or 30d", s)
	}
	if v < 0 {
		return fmt.Errorf("%q is negative", s)
	}
	*d = Duration(v)
	return nil
}

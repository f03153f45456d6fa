package stripe

import (
	"strconv"
	"time"

	"authhook/internal/billing"
)

// user is who the operator's own system wrote into an object's metadata; empty when it wrote nobody.
func (o object) user() string { return o.in("metadata").text("user_id") }

// bought is what the operator's own system wrote into an object's metadata about what is sold.
func (o object) bought() billing.Terms {
	m := o.in("metadata")
	return billing.Terms{
		Price: m.text("price"), Plan: m.text("plan"), Stream: m.text("stream"), Tag: m.text("tag"),
		Until: m.until("valid_until"),
	}
}

// until is a time that a person or their program wrote: RFC 3339, or Unix seconds. One that cannot be read is a fault:
// without it, what was sold for a day could be taken for something without an end.
func (o object) until(name string) time.Time {
	s := o.text(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			o.fault(name, "is neither RFC 3339 nor Unix seconds")
			return time.Time{}
		}
		t = time.Unix(n, 0)
	}
	if t.Unix() <= 0 || t.Unix() > maxUnix {
		o.fault(name, "is out of range")
		return time.Time{}
	}
	return t.UTC()
}

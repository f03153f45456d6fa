package stripe

import (
	"time"

	"authhook/internal/billing"
)

// customer reads which user a customer is, where the operator's system wrote it there.
func customer(e event) []billing.Record { return e.link(e.needID("id"), e.user()) }

// entitlements reads which features a customer has (docs.stripe.com/api/entitlements/active-entitlement). The event holds the
// first of them only where there are many: then those are there, and nothing is said of the others.
func entitlements(e event) []billing.Record {
	id, list := e.needID("customer"), e.in("entitlements")
	some := list.needWhether("has_more")
	entries, there := list.objects("data")
	if !there {
		list.fault("data", "is missing")
	}
	keys := make([]string, 0, len(entries))
	for _, entry := range entries {
		keys = append(keys, entry.needID("lookup_key"))
	}

	features := new(billing.Features)
	if some {
		if len(keys) == 0 {
			return nil
		}
		features.Also = make(map[string]time.Time, len(keys))
		for _, key := range keys {
			features.Also[key] = e.at
		}
	} else {
		all := names("", keys...)
		if all == nil {
			all = []string{} // none is a full list too
		}
		features.All = &billing.Said[[]string]{At: e.at, Value: all}
	}
	return []billing.Record{{Kind: billing.KindCustomer, ID: id, Features: features}}
}

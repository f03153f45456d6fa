package billing

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// effect is what an event leaves behind, given what it says and all that is stored of what belongs to it. It is pure.
func effect(a *store.BillingAccount, said []Record, c *policy.Catalog) (*store.BillingEffect, error) {
	known, err := decode(a.Records)
	if err != nil {
		return nil, err
	}
	if said[0].Refused != "" {
		return refusal(a, known, said, c), nil
	}
	all, touched := maps.Clone(known), make(map[key]bool)
	for _, r := range said {
		touched[r.key()] = true
		if old, ok := all[r.key()]; ok {
			r = old.Join(r)
		}
		all[r.key()] = r
	}
	rights := Derive(a.Event.Provider, slices.Collect(maps.Values(all)), c)
	e := &store.BillingEffect{
		Subject: said[0].key().String(), User: rights.userOf(said), Reason: rights.findingOf(said),
		Payments: slices.DeleteFunc(rights.Payments, func(p store.Payment) bool { return isStored(p, a.Payments) }),
		Statuses: statusesOf(known, all),
	}
	var names []string
	for k, r := range all {
		if m := rights.remembered[k]; !reflect.DeepEqual(m, r.Remembered) {
			r.Remembered, touched[k] = m, true
		}
		names = append(names, r.Names()...)
		if old, ok := known[k]; touched[k] && (!ok || compareJSON(old, r) != 0) {
			e.Records = append(e.Records, store.BillingRecord{Kind: string(k.kind), ID: k.id, Doc: string(encode(r))})
		}
	}
	slices.Sort(names)
	e.Names = slices.Compact(names)
	slices.SortFunc(e.Records, func(a, b store.BillingRecord) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	entitlementsOf(a.Entitlements, rights.Entitlements, e)
	holdsOf(a.Holds, rights.Holds, e)
	e.Linked = rights.linked(a.Unlinked)
	switch {
	case e.User == "":
		e.State = store.EventUnlinked
	case changes(e):
		e.State = store.EventApplied
	default:
		e.State = store.EventStale
	}
	return e, nil
}

// refusal is what an event leaves behind from which nothing may follow: that it came, and why its payments are refused. None of
// it is joined with what is known, so that the same event counts once the settings take it.
func refusal(a *store.BillingAccount, known map[key]Record, said []Record, c *policy.Catalog) *store.BillingEffect {
	rights := Derive(a.Event.Provider, said, c)
	e := &store.BillingEffect{
		State: store.EventIgnored, Reason: said[0].Refused, Subject: said[0].key().String(), User: rights.userOf(said),
	}
	for i := range said {
		e.Names = append(e.Names, said[i].Names()...)
	}
	slices.Sort(e.Names)
	e.Names = slices.Compact(e.Names)
	for _, p := range rights.Payments {
		if known[key{KindPayment, p.ID}].Payment.told() {
			continue // what counts is known of it
		}
		if p.Status, p.Reason = store.PaymentRefused, said[0].Refused; !isStored(p, a.Payments) {
			e.Payments = append(e.Payments, p)
		}
	}
	return e
}

// changes says whether an effect changes anything but the event itself.
func changes(e *store.BillingEffect) bool {
	return len(e.Records)+len(e.Add)+len(e.Change)+len(e.Remove)+len(e.AddHolds)+len(e.RemoveHolds)+len(e.Payments)+len(e.Statuses) > 0
}

func decode(stored []store.BillingRecord) (map[key]Record, error) {
	known := make(map[key]Record, len(stored))
	for _, s := range stored {
		r := Record{Kind: Kind(s.Kind), ID: s.ID}
		if err := json.Unmarshal([]byte(s.Doc), &r); err != nil {
			return nil, fmt.Errorf("the record %s cannot be read: %w", r.key(), err)
		}
		known[r.key()] = r
	}
	return known, nil
}

// statusesOf are the statuses of users that were told just now. One that was known before is not set again: somebody may
// have changed it since.
func statusesOf(known, all map[key]Record) map[string]policy.UserStatus {
	var statuses map[string]policy.UserStatus
	for k, r := range all {
		if r.Status == nil {
			continue
		}
		if old := known[k].Status; old != nil && *old == *r.Status {
			continue
		}
		if statuses == nil {
			statuses = make(map[string]policy.UserStatus)
		}
		statuses[r.ID] = r.Status.Value
	}
	return statuses
}

// entitlementsOf puts down how the stored entitlements become those that follow.
func entitlementsOf(stored, due []store.OwnedEntitlement, e *store.BillingEffect) {
	kept := make([]bool, len(stored))
	for _, d := range due {
		i := slices.IndexFunc(stored, func(s store.OwnedEntitlement) bool { return sameRight(s, d) })
		if i < 0 || kept[i] {
			e.Add = append(e.Add, d)
			continue
		}
		kept[i] = true
		if d.ID = stored[i].ID; !equalSpan(stored[i].Entitlement, d.Entitlement) {
			e.Change = append(e.Change, d)
		}
	}
	for i, s := range stored {
		if !kept[i] {
			e.Remove = append(e.Remove, s)
		}
	}
}

func equalSpan(a, b policy.Entitlement) bool {
	return store.SameMoment(a.From, b.From) && store.SameMoment(a.Until, b.Until) && store.SameMoment(a.GraceFrom, b.GraceFrom) &&
		a.Source == b.Source
}

// holdsOf puts down how the stored holds become those that follow.
func holdsOf(stored, due []store.OwnedHold, e *store.BillingEffect) {
	same := func(a store.OwnedHold) func(store.OwnedHold) bool {
		return func(b store.OwnedHold) bool {
			return a.Origin == b.Origin && a.User == b.User && store.SameMoment(a.From, b.From)
		}
	}
	for _, d := range due {
		if !slices.ContainsFunc(stored, same(d)) {
			e.AddHolds = append(e.AddHolds, d)
		}
	}
	for _, s := range stored {
		if !slices.ContainsFunc(due, same(s)) {
			e.RemoveHolds = append(e.RemoveHolds, s)
		}
	}
}

// isStored says whether a payment is known as it is.
func isStored(p store.Payment, stored []store.Payment) bool {
	return slices.ContainsFunc(stored, func(s store.Payment) bool {
		if s.Key() != p.Key() {
			return false
		}
		_, changed := p.Onto(&s, s.Recorded)
		return !changed
	})
}

// userOf is whom an event is about: the first user that is known of what it speaks of.
func (r *Rights) userOf(said []Record) string {
	for i := range said {
		if user := r.users[said[i].key()]; user != "" {
			return user
		}
	}
	return ""
}

// findingOf is why something that an event speaks of grants nothing; empty where all is well.
func (r *Rights) findingOf(said []Record) string {
	for i := range said {
		if finding := r.findings[said[i].key()]; finding != "" {
			return finding
		}
	}
	return ""
}

// linked are the events that waited for a user who is known now.
func (r *Rights) linked(waiting []store.BillingEvent) map[int64]string {
	var linked map[int64]string
	for _, event := range waiting {
		for k, user := range r.users {
			if user == "" || k.String() != event.Subject {
				continue
			}
			if linked == nil {
				linked = make(map[int64]string)
			}
			linked[event.Number] = user
		}
	}
	return linked
}

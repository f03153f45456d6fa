package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// BillingWrites are the rows that an effect comes to, as a driver writes them.
type BillingWrites struct {
	Event                 BillingEvent // the one that was applied, as it stands from now on
	MakeUsers             []User       // ordered by id
	ChangeUsers           []User       // ordered by id
	Remove, Change, Add   []OwnedEntitlement
	RemoveHolds, AddHolds []OwnedHold
	Payments              []Payment // ordered by provider and id
	Records               []BillingRecord
	Linked                []BillingEvent // as they stand from now on, ordered by number
	// Left is what is left in the audit and in the change feed. It is written last.
	Left []Record
}

// Users are those who must exist for the effect, or change by it, ordered.
func (e *BillingEffect) Users() []string {
	users := slices.Collect(maps.Keys(e.Statuses))
	for _, o := range slices.Concat(e.Add, e.Change) {
		users = append(users, o.User)
	}
	for _, o := range e.AddHolds {
		users = append(users, o.User)
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// Check says what of an effect cannot be stored, or cannot follow from the account: an origin that is no record of the
// account would never be found again. The error is an [*InvalidError].
func (a *BillingAccount) Check(e *BillingEffect) error {
	if e == nil || e.State == EventReceived || e.State == EventFailed || !slices.Contains(AllEventStates, e.State) {
		return &InvalidError{"state", "is not one that an event can be left in"}
	}
	if _, err := CleanNames(e.Names); err != nil {
		return err
	}
	if err := firstOf(checkText("user", e.User, 0, MaxUserID), checkText("subject", e.Subject, 0, maxText)); err != nil {
		return err
	}
	origins, err := a.origins(e)
	if err != nil {
		return err
	}
	for _, check := range [...]error{a.checkEntitlements(e, origins), a.checkHolds(e, origins), a.checkLinked(e)} {
		if check != nil {
			return check
		}
	}
	for user, status := range e.Statuses {
		if err := (UserChange{ID: user, Status: status}).Check(); err != nil {
			return err
		}
	}
	seen := make(map[PaymentKey]bool, len(e.Payments))
	for _, p := range e.Payments {
		if err := CheckPayment(p); err != nil {
			return err
		}
		if seen[p.Key()] {
			return &InvalidError{"payment", "is named twice"}
		}
		seen[p.Key()] = true
	}
	return nil
}

// origins are the records of the account, once the effect's are among them.
func (a *BillingAccount) origins(e *BillingEffect) (map[string]bool, error) {
	origins := make(map[string]bool, len(a.Records)+len(e.Records))
	for _, r := range a.Records {
		origins[r.Origin(a.Event.Provider)] = true
	}
	for _, r := range e.Records {
		if err := checkRecord(r); err != nil {
			return nil, err
		}
		origins[r.Origin(a.Event.Provider)] = true
	}
	return origins, nil
}

func checkRecord(r BillingRecord) error {
	switch {
	case strings.Contains(r.Kind, "/"):
		return &InvalidError{"kind", "holds a slash"}
	case len(r.Doc) > maxDoc:
		return &InvalidError{"record", fmt.Sprintf("is longer than %d bytes", maxDoc)}
	case !json.Valid([]byte(r.Doc)):
		return &InvalidError{"record", "is not JSON"}
	}
	return firstOf(checkText("kind", r.Kind, 1, maxKind), checkText("id", r.ID, 1, maxKey), checkText("record", r.Doc, 1, maxDoc))
}

func (a *BillingAccount) checkEntitlements(e *BillingEffect, origins map[string]bool) error {
	known := make(map[string]bool, len(a.Entitlements))
	for _, o := range a.Entitlements {
		known[o.ID] = true
	}
	for _, o := range slices.Concat(e.Change, e.Remove) {
		if !known[o.ID] {
			return &InvalidError{"entitlement", "is none of the account's, or is named twice"}
		}
		delete(known, o.ID)
	}
	for _, o := range slices.Concat(e.Add, e.Change) {
		if err := CheckEntitlement(o.User, o.Entitlement); err != nil {
			return err
		}
		if !origins[o.Origin] {
			return &InvalidError{"origin", "is no record of the account"}
		}
	}
	return nil
}

func (a *BillingAccount) checkHolds(e *BillingEffect, origins map[string]bool) error {
	known := make(map[string]bool, len(a.Holds))
	for _, o := range a.Holds {
		known[o.ID] = true
	}
	for _, o := range e.RemoveHolds {
		if !known[o.ID] {
			return &InvalidError{"hold", "is none of the account's, or is named twice"}
		}
		delete(known, o.ID)
	}
	for _, o := range e.AddHolds {
		if err := CheckHold(o.User, o.Hold); err != nil {
			return err
		}
		if !origins[o.Origin] {
			return &InvalidError{"origin", "is no record of the account"}
		}
	}
	return nil
}

func (a *BillingAccount) checkLinked(e *BillingEffect) error {
	for number, user := range e.Linked {
		if !slices.ContainsFunc(a.Unlinked, func(u BillingEvent) bool { return u.Number == number }) {
			return &InvalidError{"linked", "is no event of the account's that waits for a user"}
		}
		if err := CheckUserID(user); err != nil {
			return err
		}
	}
	return nil
}

// Writes are the rows that an effect comes to, which was checked. Users and payments are those that stand; those that do not
// exist are missing. What would not change is not among the rows.
func (a *BillingAccount) Writes(e *BillingEffect, users map[string]User, payments map[PaymentKey]Payment,
	now time.Time) BillingWrites {
	w := BillingWrites{Event: a.Event, Records: e.Records}
	w.Event.State, w.Event.Reason, w.Event.User, w.Event.Subject = e.State, CleanReason(e.Reason), e.User, e.Subject
	w.Event.Applied, w.Event.Next = asStored(now), time.Time{}
	for _, u := range a.Unlinked {
		if user, linked := e.Linked[u.Number]; linked {
			u.State, u.Reason, u.User, u.Applied = EventApplied, "", user, asStored(now)
			w.Linked = append(w.Linked, u)
		}
	}
	w.users(e, users, now)
	w.entitlements(a, e)
	w.holds(a, e)
	// In the order in which everyone takes rows.
	for _, p := range slices.SortedFunc(slices.Values(e.Payments), func(a, b Payment) int {
		return cmp.Or(strings.Compare(a.Provider, b.Provider), strings.Compare(a.ID, b.ID))
	}) {
		var old *Payment
		if stood, ok := payments[p.Key()]; ok {
			old = &stood
		}
		if row, changed := p.Onto(old, now); changed {
			w.Payments, w.Left = append(w.Payments, row), append(w.Left, PaymentPut(row))
		}
	}
	return w
}

func (w *BillingWrites) users(e *BillingEffect, stand map[string]User, now time.Time) {
	for _, id := range e.Users() {
		change := activeUser(id)
		var old *User
		if u, ok := stand[id]; ok {
			old, change.Status = &u, u.Status
		}
		if status, ok := e.Statuses[id]; ok {
			change.Status = status
		}
		u, changed, _ := change.Onto(old, now) // no version is demanded
		if !changed {
			continue
		}
		if old == nil {
			w.MakeUsers = append(w.MakeUsers, u)
		} else {
			w.ChangeUsers = append(w.ChangeUsers, u)
		}
		w.Left = append(w.Left, UserPut(old, u))
	}
}

func (w *BillingWrites) entitlements(a *BillingAccount, e *BillingEffect) {
	stand := make(map[string]OwnedEntitlement, len(a.Entitlements))
	for _, o := range a.Entitlements {
		stand[o.ID] = o.stored()
	}
	for _, o := range e.Remove {
		old := stand[o.ID]
		w.Remove, w.Left = append(w.Remove, old), append(w.Left, EntitlementRemoved(old.User, old.Entitlement))
	}
	for _, o := range e.Change {
		old := stand[o.ID]
		if o = o.stored(); o != old {
			w.Change, w.Left = append(w.Change, o), append(w.Left, EntitlementChanged(old, o))
		}
	}
	for _, o := range e.Add {
		if o.ID == "" {
			o.ID = NewID("ent")
		}
		w.Add, w.Left = append(w.Add, o), append(w.Left, EntitlementAdded(o.User, o.Entitlement))
	}
}

func (w *BillingWrites) holds(a *BillingAccount, e *BillingEffect) {
	for _, o := range e.RemoveHolds {
		i := slices.IndexFunc(a.Holds, func(h OwnedHold) bool { return h.ID == o.ID })
		old := a.Holds[i]
		w.RemoveHolds, w.Left = append(w.RemoveHolds, old), append(w.Left, HoldRemoved(old.User, old.Hold))
	}
	for _, o := range e.AddHolds {
		if o.ID == "" {
			o.ID = NewID("hold")
		}
		w.AddHolds, w.Left = append(w.AddHolds, o), append(w.Left, HoldAdded(o.User, o.Hold))
	}
}

// ErrTaken is what adding under an id comes to that something else has.
func ErrTaken(thing string) error {
	return &InvalidError{thing, "has the id of another one that stands"}
}

// Missing are the names of an effect that are not among those that are known, which are sorted.
func (e *BillingEffect) Missing(known []string) []string {
	var missing []string
	for _, n := range e.Names {
		if _, found := slices.BinarySearch(known, n); !found {
			missing = append(missing, n)
		}
	}
	return missing
}

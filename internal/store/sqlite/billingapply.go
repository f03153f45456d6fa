package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"authhook/internal/store"
)

const (
	sqlNamedAccount = `SELECT account FROM billing_names WHERE provider = ?1 AND name = ?2`
	sqlMakeAccount  = `INSERT INTO billing_accounts DEFAULT VALUES RETURNING id`
	sqlAddName      = `INSERT INTO billing_names (provider, name, account) VALUES (?1, ?2, ?3)`

	sqlMergeNames   = `UPDATE billing_names SET account = ?1 WHERE account = ?2`
	sqlMergeRecords = `UPDATE billing_records SET account = ?1 WHERE account = ?2`
	sqlMergeEvents  = `UPDATE billing_events SET account = ?1 WHERE account = ?2`
	sqlDropAccount  = `DELETE FROM billing_accounts WHERE id = ?1`

	sqlAccountNames   = `SELECT name FROM billing_names WHERE account = ?1 ORDER BY name`
	sqlAccountRecords = `SELECT kind, id, doc FROM billing_records WHERE account = ?1 ORDER BY kind, id`

	sqlOfAccount = ` WHERE origin <> '' AND origin IN (
    SELECT provider || '/' || kind || '/' || id FROM billing_records WHERE account = ?1) ORDER BY id`
	sqlAccountEntitlements = `SELECT ` + sqlEntitlementColumns + `, origin FROM entitlements` + sqlOfAccount
	sqlAccountHolds        = `SELECT ` + sqlHoldColumns + `, origin FROM holds` + sqlOfAccount
	sqlAccountPayments     = `
SELECT ` + sqlPaymentColumns + ` FROM payments
WHERE provider = ?2 AND id IN (SELECT id FROM billing_records WHERE account = ?1 AND kind = 'payment')
ORDER BY id`
	sqlAccountUnlinked = `
SELECT ` + sqlEventColumns + ` FROM billing_events WHERE account IS NOT NULL AND account = ?1 AND number <> ?2 ORDER BY number`

	sqlAddOwned    = sqlAddEntitlement + ` ON CONFLICT (id) DO NOTHING`
	sqlChangeOwned = `
UPDATE entitlements
SET user_id = ?2, plan = ?3, stream = ?4, tag = ?5, from_at = ?6, until_at = ?7, grace_from = ?8, source = ?9, origin = ?10
WHERE id = ?1`
	sqlRemoveOwned     = `DELETE FROM entitlements WHERE id = ?1`
	sqlAddOwnedHold    = sqlAddHold + ` ON CONFLICT (id) DO NOTHING`
	sqlRemoveOwnedHold = `DELETE FROM holds WHERE id = ?1`

	sqlPutRecord = `
INSERT INTO billing_records (provider, kind, id, account, doc) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (provider, kind, id) DO UPDATE SET doc = ?5 WHERE account = ?4`

	sqlSettleEvent = `
UPDATE billing_events
SET state = ?2, reason = ?3, user_id = ?4, subject = ?5, applied_at = ?6, next_at = NULL, account = ?7
WHERE number = ?1`
)

// ApplyEvent applies an event in one transaction: fold is given all that is stored of the account that the names lead to, and
// what it says is written. Where names lead to several accounts, these are one from then on. Fold is a pure function: it may be
// called again, should more names of the account turn up. Its error is returned as it is, and nothing is written. Neither is
// anything written on a dry run, which goes the whole way and then back; any event can be applied so.
//
// [store.ErrNotFound] when the event is not stored, [store.ErrConflict] when it does not wait to be applied any more,
// a [*store.InvalidError] when what fold says cannot be stored.
func (s *Store) ApplyEvent(ctx context.Context, number int64, names []string, dry bool,
	fold func(*store.BillingAccount) (*store.BillingEffect, error)) error {
	names, err := store.CleanNames(names)
	if err != nil {
		return err
	}
	var folds error
	err = s.write(ctx, "apply a billing event", func(t *tx) error {
		var r store.EventRow
		if err := notFound(t.queryRow(sqlEvent, []any{number}, r.Columns()...), "billing event", fmt.Sprint(number)); err != nil {
			return err
		}
		event, _ := r.Event()
		if !dry && !event.Waits() {
			return event.NotWaiting()
		}
		var effect *store.BillingEffect
		var account *store.BillingAccount
		var id int64
		for again := true; again; {
			if id, err = t.accountOf(event.Provider, names); err != nil {
				return err
			}
			known, err := t.accountNames(id)
			if err != nil {
				return err
			}
			if account, err = t.account(id, event); err != nil {
				return err
			}
			if effect, folds = fold(account); folds != nil {
				return folds
			}
			if err := account.Check(effect); err != nil {
				return err
			}
			more := effect.Missing(known)
			names, again = append(names, more...), len(more) > 0
		}
		if err := t.writeEffect(id, account, effect); err != nil {
			return err
		}
		if dry {
			return errDry
		}
		return nil
	})
	switch {
	case folds != nil:
		return folds
	case errors.Is(err, errDry):
		return nil
	}
	return err
}

// errDry ends a transaction that was only to be tried.
var errDry = errors.New("a dry run")

// accountOf is the account that names lead to, made where there is none, and merged from several where these are. All of the
// names lead to it from now on.
func (t *tx) accountOf(provider string, names []string) (int64, error) {
	var accounts []int64
	var fresh []string
	for _, name := range names {
		var id int64
		switch err := t.queryRow(sqlNamedAccount, []any{provider, name}, &id); {
		case err == nil:
			accounts = append(accounts, id)
		case errors.Is(err, sql.ErrNoRows):
			fresh = append(fresh, name)
		default:
			return 0, err
		}
	}
	slices.Sort(accounts)
	accounts = slices.Compact(accounts)
	if len(accounts) == 0 {
		var id int64
		if err := t.queryRow(sqlMakeAccount, nil, &id); err != nil {
			return 0, err
		}
		accounts = append(accounts, id)
	}
	oldest := accounts[0]
	for _, name := range fresh {
		if _, err := t.exec(sqlAddName, provider, name, oldest); err != nil {
			return 0, err
		}
	}
	for _, id := range accounts[1:] {
		for _, text := range [...]string{sqlMergeNames, sqlMergeRecords, sqlMergeEvents} {
			if _, err := t.exec(text, oldest, id); err != nil {
				return 0, err
			}
		}
		if _, err := t.exec(sqlDropAccount, id); err != nil {
			return 0, err
		}
	}
	return oldest, nil
}

func (t *tx) accountNames(id int64) ([]string, error) {
	var list []string
	var name string
	rows, err := t.query(sqlAccountNames, id)
	err = each(rows, err, []any{&name}, func() error { list = append(list, name); return nil })
	return list, err
}

// account is all that is stored of an account.
func (t *tx) account(id int64, event store.BillingEvent) (*store.BillingAccount, error) {
	a := &store.BillingAccount{Event: event}
	var r store.BillingRecord
	rows, err := t.query(sqlAccountRecords, id)
	err = each(rows, err, []any{&r.Kind, &r.ID, &r.Doc}, func() error { a.Records = append(a.Records, r); return nil })
	if err != nil {
		return nil, err
	}
	if a.Entitlements, err = rowsOf(t, sqlAccountEntitlements, []any{id}, store.OwnedEntitlementOf); err != nil {
		return nil, err
	}
	if a.Holds, err = rowsOf(t, sqlAccountHolds, []any{id}, store.OwnedHoldOf); err != nil {
		return nil, err
	}
	if a.Payments, err = rowsOf(t, sqlAccountPayments, []any{id, event.Provider}, (*store.PaymentRow).Payment); err != nil {
		return nil, err
	}
	a.Unlinked, err = rowsOf(t, sqlAccountUnlinked, []any{id, event.Number}, (*store.EventRow).Event)
	return a, err
}

// writeEffect writes what an effect comes to.
func (t *tx) writeEffect(id int64, a *store.BillingAccount, effect *store.BillingEffect) error {
	users, payments := map[string]store.User{}, map[store.PaymentKey]store.Payment{}
	for _, user := range effect.Users() {
		switch u, err := t.user(user); {
		case err != nil:
			return err
		case u != nil:
			users[user] = *u
		}
	}
	for _, p := range effect.Payments {
		var r store.PaymentRow
		switch err := t.queryRow(sqlPayment, []any{p.Provider, p.ID}, r.Columns()...); {
		case err == nil:
			payments[p.Key()], _ = r.Payment()
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
	}
	w := a.Writes(effect, users, payments, t.store.Now())
	if err := t.writeUsers(w); err != nil {
		return err
	}
	if err := t.writeOwned(w); err != nil {
		return err
	}
	for _, p := range w.Payments {
		if _, err := t.exec(sqlPutPayment, paymentArgs(p)...); err != nil {
			return err
		}
	}
	for _, r := range w.Records {
		n, err := t.changed(sqlPutRecord, a.Event.Provider, r.Kind, r.ID, id, r.Doc)
		if err == nil && n == 0 {
			err = store.ErrElsewhere
		}
		if err != nil {
			return err
		}
	}
	for _, e := range append(w.Linked, w.Event) {
		var waits any
		if e.State == store.EventUnlinked {
			waits = id
		}
		if _, err := t.exec(sqlSettleEvent, e.Number, string(e.State), e.Reason, e.User, e.Subject, micros(e.Applied), waits); err != nil {
			return err
		}
	}
	for _, left := range w.Left {
		if err := t.record(left); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) writeUsers(w store.BillingWrites) error {
	for _, u := range w.MakeUsers {
		if err := t.addUser(u); err != nil {
			return err
		}
	}
	for _, u := range w.ChangeUsers {
		if err := t.changeUser(u); err != nil {
			return err
		}
	}
	return nil
}

// writeOwned writes the entitlements and holds that begin, change and end.
func (t *tx) writeOwned(w store.BillingWrites) error {
	now := micros(t.store.Now())
	for _, o := range w.Remove {
		if _, err := t.exec(sqlRemoveOwned, o.ID); err != nil {
			return err
		}
	}
	for _, o := range w.Change {
		_, err := t.exec(sqlChangeOwned, o.ID, o.User, o.Plan, o.Stream, o.Tag, micros(o.From), micros(o.Until), micros(o.GraceFrom),
			o.Source, o.Origin)
		if err != nil {
			return err
		}
	}
	for _, o := range w.Add {
		n, err := t.changed(sqlAddOwned, o.ID, o.User, o.Plan, o.Stream, o.Tag, micros(o.From), micros(o.Until),
			micros(o.GraceFrom), o.Source, now, o.Origin)
		if err == nil && n == 0 {
			err = store.ErrTaken("entitlement")
		}
		if err != nil {
			return err
		}
	}
	for _, o := range w.RemoveHolds {
		if _, err := t.exec(sqlRemoveOwnedHold, o.ID); err != nil {
			return err
		}
	}
	for _, o := range w.AddHolds {
		n, err := t.changed(sqlAddOwnedHold, o.ID, o.User, o.Kind, o.Ref, micros(o.From), now, o.Origin)
		if err == nil && n == 0 {
			err = store.ErrTaken("hold")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

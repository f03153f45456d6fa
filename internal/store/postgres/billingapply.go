package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"authhook/internal/store"
)

// Who applies an event takes locks in this order, so that no two wait for each other: accounts by their ids; new names by
// their letters; events by their numbers; entitlements and holds of the account, which nobody else of those who apply touches;
// payments by their ids; users by their ids; the change feed's counter.
const (
	sqlEventProvider = `SELECT provider FROM billing_events WHERE number = $1`

	sqlLockAccounts = `
SELECT a.id FROM billing_accounts AS a
WHERE a.id IN (
    SELECT n.account FROM billing_names AS n JOIN billing_events AS e ON n.provider = e.provider
    WHERE e.number = $1 AND n.name = ANY($2::text[])
)
ORDER BY a.id
FOR UPDATE OF a`

	// After the locks: what is read now moves no more, where it leads to an account that is locked.
	sqlNamedAccounts = `
SELECT n.name, n.account FROM billing_names AS n JOIN billing_events AS e ON n.provider = e.provider
WHERE e.number = $1 AND n.name = ANY($2::text[])
ORDER BY n.name`

	// Answers with the accounts of the names that were added: fewer than asked for where somebody else was faster.
	sqlAddNames = `
INSERT INTO billing_names (provider, name, account)
SELECT $1, name, $3 FROM unnest($2::text[]) AS new (name) ORDER BY name COLLATE "C"
ON CONFLICT (provider, name) DO NOTHING
RETURNING account`

	sqlMakeAccount = `
WITH made AS (
    INSERT INTO billing_accounts DEFAULT VALUES RETURNING id
)
INSERT INTO billing_names (provider, name, account)
SELECT $1, new.name, made.id FROM made, unnest($2::text[]) AS new (name) ORDER BY new.name COLLATE "C"
ON CONFLICT (provider, name) DO NOTHING
RETURNING account`

	// The event itself ($1), and those that wait in the accounts.
	sqlLockEvents = `
SELECT ` + sqlEventHead + `, CASE WHEN number = $1 THEN body END, number = $1 AND body IS NOT NULL FROM billing_events
WHERE number = $1 OR account = ANY($2::bigint[])
ORDER BY number
FOR UPDATE`

	sqlMergeNames   = `UPDATE billing_names SET account = $1 WHERE account = ANY($2::bigint[])`
	sqlMergeRecords = `UPDATE billing_records SET account = $1 WHERE account = ANY($2::bigint[])`
	sqlMergeEvents  = `UPDATE billing_events SET account = $1 WHERE account = ANY($2::bigint[])`
	sqlDropAccounts = `DELETE FROM billing_accounts WHERE id = ANY($1::bigint[])`

	sqlAccountNames   = `SELECT name FROM billing_names WHERE account = $1 ORDER BY name`
	sqlAccountRecords = `SELECT kind, id, doc FROM billing_records WHERE account = $1 ORDER BY kind, id`

	// Locked, as the administrator may take them away.
	sqlOfAccount = `
WHERE origin <> '' AND origin IN (SELECT provider || '/' || kind || '/' || id FROM billing_records WHERE account = $1)
ORDER BY id
FOR UPDATE`
	sqlAccountEntitlements = `SELECT ` + sqlEntitlementColumns + `, origin FROM entitlements` + sqlOfAccount
	sqlAccountHolds        = `SELECT ` + sqlHoldColumns + `, origin FROM holds` + sqlOfAccount
	sqlAccountPayments     = `
SELECT ` + sqlPaymentColumns + ` FROM payments
WHERE provider = $2 AND id IN (SELECT id FROM billing_records WHERE account = $1 AND kind = 'payment')
ORDER BY id`

	sqlLockUsers = `
SELECT ` + sqlUserColumns + ` FROM users WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE`

	sqlLockPayments = `
SELECT ` + sqlPaymentColumns + ` FROM payments
WHERE (provider, id) IN (SELECT * FROM unnest($1::text[], $2::text[]))
ORDER BY provider, id
FOR UPDATE`

	sqlAddOwned    = sqlAddEntitlement + ` ON CONFLICT (id) DO NOTHING`
	sqlChangeOwned = `
UPDATE entitlements
SET user_id = $2, plan = $3, stream = $4, tag = $5, from_at = $6, until_at = $7, grace_from = $8, source = $9, origin = $10
WHERE id = $1`
	sqlRemoveOwned     = `DELETE FROM entitlements WHERE id = $1`
	sqlAddOwnedHold    = sqlAddHold + ` ON CONFLICT (id) DO NOTHING`
	sqlRemoveOwnedHold = `DELETE FROM holds WHERE id = $1`

	sqlPutRecord = `
INSERT INTO billing_records AS r (provider, kind, id, account, doc) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (provider, kind, id) DO UPDATE SET doc = $5 WHERE r.account = $4`

	sqlSettleEvent = `
UPDATE billing_events
SET state = $2, reason = $3, user_id = $4, subject = $5, applied_at = $6, next_at = NULL, account = $7
WHERE number = $1`
)

// raceRounds is how often applying an event begins anew where others merge accounts that it is about. Each lost race is a name
// or a merge that somebody else has committed, of which there are only so many.
const raceRounds = 10

// ApplyEvent applies an event in one transaction: fold is given all that is stored of the account that the names lead to, and
// what it says is written. Where names lead to several accounts, these are one from then on. Fold is a pure function: it may be
// called again, should more names of the account turn up or a race be lost. Its error is returned as it is, and nothing is
// written. Neither is anything written on a dry run, which goes the whole way and then back; any event can be applied so.
//
// [store.ErrNotFound] when the event is not stored, [store.ErrConflict] when it does not wait to be applied any more,
// a [*store.InvalidError] when what fold says cannot be stored.
func (s *Store) ApplyEvent(ctx context.Context, number int64, names []string, dry bool,
	fold func(*store.BillingAccount) (*store.BillingEffect, error)) error {
	names, err := store.CleanNames(names)
	if err != nil {
		return err
	}
	a := &applying{store: s, number: number, names: names, dry: dry, fold: fold}
	for range raceRounds {
		err = s.write(ctx, "apply a billing event", a.run)
		switch {
		case a.folds != nil:
			return a.folds
		case errors.Is(err, errDry):
			return nil
		case !errors.Is(err, errRace) || ctx.Err() != nil:
			return err
		}
	}
	return err
}

// errDry ends a transaction that was only to be tried.
var errDry = errors.New("a dry run")

// errMoved: names lead to other accounts than a moment ago, more names belong to the account, or something of it changed. The
// next attempt sees it as it is.
var errMoved = fmt.Errorf("the account changed meanwhile: %w", errRace)

// applying is the applying of one event.
type applying struct {
	store  *Store
	number int64
	names  []string // sorted; those that turn up are added
	dry    bool
	fold   func(*store.BillingAccount) (*store.BillingEffect, error)
	folds  error // fold's own
}

// run is one attempt, in six round trips at most with its beginning and its end.
func (a *applying) run(ctx context.Context, tx pgx.Tx) error {
	provider, accounts, fresh, err := a.lock(ctx, tx)
	if err != nil {
		return err
	}
	id, known, account, err := a.gather(ctx, tx, provider, accounts, fresh)
	if err != nil {
		return err
	}
	if !a.dry && !account.Event.Waits() {
		return account.Event.NotWaiting()
	}
	effect, err := a.fold(account)
	if err != nil {
		a.folds = err
		return &toldError{err} // whatever it is: trying again is not for us to decide
	}
	if err := account.Check(effect); err != nil {
		return &toldError{err}
	}
	if more := effect.Missing(known); len(more) > 0 {
		// They may lead to accounts with lesser ids: all are to be locked in their order, from the beginning.
		a.names = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(a.names), more...))))
		return errMoved
	}
	if err := a.write(ctx, tx, id, account, effect); err != nil {
		return err
	}
	if a.dry {
		return &toldError{errDry}
	}
	return nil
}

// lock locks the accounts that the names lead to, and says which names lead to none.
func (a *applying) lock(ctx context.Context, tx pgx.Tx) (provider string, accounts []int64, fresh []string, err error) {
	var b pgx.Batch
	b.Queue(sqlEventProvider, a.number)
	b.Queue(sqlLockAccounts, a.number, a.names)
	b.Queue(sqlNamedAccounts, a.number, a.names)
	results := tx.SendBatch(ctx, &b)
	defer func() { err = errors.Join(err, results.Close()) }()
	if err := notFound(results.QueryRow().Scan(&provider), "billing event", fmt.Sprint(a.number)); err != nil {
		return "", nil, nil, err
	}
	locked, err := column[int64](results.Query())
	if err != nil {
		return "", nil, nil, err
	}
	found := map[string]int64{}
	var name string
	var account int64
	rows, err := results.Query()
	if err != nil {
		return "", nil, nil, err
	}
	_, err = pgx.ForEachRow(rows, []any{&name, &account}, func() error { found[name] = account; return nil })
	if err != nil {
		return "", nil, nil, err
	}
	for _, n := range a.names {
		if _, ok := found[n]; !ok {
			fresh = append(fresh, n)
		}
	}
	accounts = slices.Compact(slices.Sorted(maps.Values(found)))
	for _, id := range accounts {
		if !slices.Contains(locked, id) {
			return "", nil, nil, errMoved
		}
	}
	return provider, accounts, fresh, nil
}

// gather makes one account of those that the names lead to, and reads all that is stored of it. Known are its names, sorted.
func (a *applying) gather(ctx context.Context, tx pgx.Tx, provider string, accounts []int64, fresh []string) (id int64,
	known []string, account *store.BillingAccount, err error) {
	account = &store.BillingAccount{}
	b := &batch{}
	if len(accounts) == 0 {
		b.queue(sqlMakeAccount, []any{provider, fresh}, a.added(len(fresh), &id))
		b.queue(sqlLockEvents, []any{a.number, accounts}, a.events(account))
		err = b.send(ctx, tx)
		return id, a.names, account, err
	}
	id = accounts[0]
	var added int64
	if len(fresh) > 0 {
		b.queue(sqlAddNames, []any{provider, fresh, id}, a.added(len(fresh), &added))
	}
	b.queue(sqlLockEvents, []any{a.number, accounts}, a.events(account))
	if others := accounts[1:]; len(others) > 0 {
		for _, text := range [...]string{sqlMergeNames, sqlMergeRecords, sqlMergeEvents} {
			b.exec(text, id, others)
		}
		b.exec(sqlDropAccounts, others)
	}
	b.queue(sqlAccountNames, []any{id}, func(rows pgx.Rows) (err error) {
		known, err = column[string](rows, nil)
		return err
	})
	b.queue(sqlAccountRecords, []any{id}, func(rows pgx.Rows) error {
		var r store.BillingRecord
		_, err := pgx.ForEachRow(rows, []any{&r.Kind, &r.ID, &r.Doc}, func() error {
			account.Records = append(account.Records, r)
			return nil
		})
		return err
	})
	queueRows(b, sqlAccountEntitlements, []any{id}, store.OwnedEntitlementOf, &account.Entitlements)
	queueRows(b, sqlAccountHolds, []any{id}, store.OwnedHoldOf, &account.Holds)
	queueRows(b, sqlAccountPayments, []any{id, provider}, (*store.PaymentRow).Payment, &account.Payments)
	err = b.send(ctx, tx)
	return id, known, account, err
}

// added takes the answer of who adds names.
func (a *applying) added(want int, id *int64) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		got, err := column[int64](rows, nil)
		if err != nil {
			return err
		}
		if len(got) < want {
			return errMoved
		}
		*id = got[0]
		return nil
	}
}

// events takes the event itself and those that wait beside it.
func (a *applying) events(account *store.BillingAccount) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		list, err := rowsOf(rows, nil, (*store.EventRow).Event)
		for _, e := range list {
			if e.Number == a.number {
				account.Event = e
			} else {
				account.Unlinked = append(account.Unlinked, e)
			}
		}
		return err
	}
}

// write writes what an effect comes to.
func (a *applying) write(ctx context.Context, tx pgx.Tx, id int64, account *store.BillingAccount,
	effect *store.BillingEffect) error {
	users, payments, err := stand(ctx, tx, effect)
	if err != nil {
		return err
	}
	for _, p := range account.Payments {
		if now, named := payments[p.Key()]; named && now != p {
			return errMoved // somebody else wrote it since fold saw it, when it was not locked yet
		}
	}
	now := a.store.Now()
	w := account.Writes(effect, users, payments, now)
	b := &batch{}
	b.users(w)
	b.owned(w, stamp(now))
	for _, p := range w.Payments {
		text, args, meanwhile := sqlAddPayment, paymentArgs(p), errAddedMeanwhile
		if _, stood := payments[p.Key()]; stood {
			text = sqlChangePayment
		}
		b.one(text, args, meanwhile)
	}
	for _, r := range w.Records {
		b.one(sqlPutRecord, []any{account.Event.Provider, r.Kind, r.ID, id, r.Doc}, store.ErrElsewhere)
	}
	for _, e := range append(w.Linked, w.Event) {
		var waits *int64
		if e.State == store.EventUnlinked {
			waits = &id
		}
		b.exec(sqlSettleEvent, e.Number, string(e.State), e.Reason, e.User, e.Subject, stamp(e.Applied), waits)
	}
	for _, left := range w.Left {
		b.exec(sqlRecord, a.store.recordArgs(ctx, left)...)
	}
	if len(w.Left) > 0 {
		b.exec(sqlNotify)
	}
	return b.send(ctx, tx)
}

// stand are the users and payments of an effect as they stand, locked.
func stand(ctx context.Context, tx pgx.Tx, effect *store.BillingEffect) (map[string]store.User,
	map[store.PaymentKey]store.Payment, error) {
	users, payments := map[string]store.User{}, map[store.PaymentKey]store.Payment{}
	b := &batch{}
	if len(effect.Payments) > 0 {
		var providers, ids []string
		for _, p := range effect.Payments {
			providers, ids = append(providers, p.Provider), append(ids, p.ID)
		}
		b.queue(sqlLockPayments, []any{providers, ids}, func(rows pgx.Rows) error {
			list, err := rowsOf(rows, nil, (*store.PaymentRow).Payment)
			for _, p := range list {
				payments[p.Key()] = p
			}
			return err
		})
	}
	if wanted := effect.Users(); len(wanted) > 0 {
		b.queue(sqlLockUsers, []any{wanted}, func(rows pgx.Rows) error {
			list, err := rowsOf(rows, nil, (*store.UserRow).User)
			for _, u := range list {
				users[u.ID] = u
			}
			return err
		})
	}
	return users, payments, b.send(ctx, tx)
}

// users writes users who are made, and those who change.
func (b *batch) users(w store.BillingWrites) {
	for _, u := range w.MakeUsers {
		b.one(sqlAddUser, []any{u.ID, string(u.Status), document(u), u.Version, u.Created, u.Updated}, errAddedMeanwhile)
	}
	for _, u := range w.ChangeUsers {
		b.exec(sqlChangeUser, u.ID, string(u.Status), document(u), u.Version, u.Updated)
	}
}

// owned writes the entitlements and holds that begin, change and end.
func (b *batch) owned(w store.BillingWrites, now any) {
	for _, o := range w.Remove {
		b.exec(sqlRemoveOwned, o.ID)
	}
	for _, o := range w.Change {
		b.exec(sqlChangeOwned, o.ID, o.User, o.Plan, o.Stream, o.Tag, stamp(o.From), stamp(o.Until), stamp(o.GraceFrom), o.Source,
			o.Origin)
	}
	for _, o := range w.Add {
		b.one(sqlAddOwned, []any{o.ID, o.User, o.Plan, o.Stream, o.Tag, stamp(o.From), stamp(o.Until), stamp(o.GraceFrom), o.Source,
			now, o.Origin}, store.ErrTaken("entitlement"))
	}
	for _, o := range w.RemoveHolds {
		b.exec(sqlRemoveOwnedHold, o.ID)
	}
	for _, o := range w.AddHolds {
		b.one(sqlAddOwnedHold, []any{o.ID, o.User, o.Kind, o.Ref, stamp(o.From), now, o.Origin}, store.ErrTaken("hold"))
	}
}

func paymentArgs(p store.Payment) []any {
	return []any{p.Provider, p.ID, p.User, p.Subscription, p.Price, p.Plan, p.Stream, p.Tag, p.Amount, p.Currency, p.Refunded,
		string(p.Status), p.Reason, stamp(p.At), p.Recorded}
}

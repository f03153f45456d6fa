package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"authhook/internal/store"
)

const (
	// The columns of store.EventRow but the last two.
	sqlEventHead = `number, provider, event_id, type, provider_at, received_at, state, reason, tries, next_at, applied_at, user_id,
    subject`

	// Without a body, as lists are.
	sqlEventColumns = sqlEventHead + `, NULL::bytea, false`

	// One that is being stored by somebody else is waited for: it is on the disk then.
	sqlReceiveEvent = `
INSERT INTO billing_events (provider, event_id, type, provider_at, received_at, state, reason, tries, next_at, user_id, subject,
    body)
VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, '', '', $9)
ON CONFLICT (provider, event_id) DO NOTHING`

	sqlEvent = `SELECT ` + sqlEventHead + `, body, body IS NOT NULL FROM billing_events WHERE number = $1`

	sqlDueEvents = `
SELECT ` + sqlEventHead + `, body, body IS NOT NULL FROM billing_events
WHERE next_at IS NOT NULL AND next_at <= $1
ORDER BY number
LIMIT $2`

	sqlEventsWhere = `
WHERE ($1 = '' OR provider = $1) AND ($2 = '' OR state = $2) AND ($3 = '' OR type = $3)
    AND ($4 = '' OR user_id <> '' AND user_id = $4) AND received_at >= $5 AND received_at < $6`

	// Planned anew each time: which index serves depends on which of the filters are set.
	sqlEvents = `
SELECT ` + sqlEventColumns + ` FROM billing_events` + sqlEventsWhere + ` AND number > $7 ORDER BY number LIMIT $8`

	sqlLatestEvents = `
SELECT ` + sqlEventColumns + ` FROM billing_events` + sqlEventsWhere + ` AND number < $7 ORDER BY number DESC LIMIT $8`

	sqlCountEvents = `
SELECT state, count(*) FROM billing_events WHERE state IN ('received', 'unlinked', 'failed', 'dead') GROUP BY state`

	sqlFailEvent = `
UPDATE billing_events SET state = $2, reason = $3, tries = tries + $4, next_at = $5
WHERE number = $1 AND state IN ('received', 'failed')`

	sqlReplay = `UPDATE billing_events SET state = 'received', reason = '', tries = 0, next_at = $1, account = NULL`

	sqlReplayEvent = sqlReplay + ` WHERE number = $2 AND body IS NOT NULL`

	// In the order in which everyone takes rows. Answers with how many and the last of them.
	sqlReplayEvents = `
WITH picked AS (
    SELECT number FROM billing_events` + sqlEventsWhere + ` AND number > $7 AND body IS NOT NULL ORDER BY number LIMIT $8
    FOR UPDATE
), again AS (
    UPDATE billing_events AS e SET state = 'received', reason = '', tries = 0, next_at = $9, account = NULL
    FROM picked WHERE e.number = picked.number
)
SELECT count(*), coalesce(max(number), 0) FROM picked`

	sqlPruneBodies = `
WITH old AS (
    SELECT number FROM billing_events
    WHERE body IS NOT NULL AND state IN ('applied', 'stale', 'ignored') AND received_at < $1
    ORDER BY received_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), dropped AS (
    UPDATE billing_events AS e SET body = NULL FROM old WHERE e.number = old.number RETURNING 1
)
SELECT count(*) FROM dropped`
)

// ReceiveEvent puts an event into the inbox: on the disk when it returns. It is not fresh where one of the same provider and
// id is there already; then nothing happens.
func (s *Store) ReceiveEvent(ctx context.Context, e store.BillingEvent) (fresh bool, err error) {
	e, err = e.Incoming(s.Now())
	if err != nil {
		return false, err
	}
	// One statement is a transaction, and one round trip. Where a connection is lost nobody knows whether it was stored: the
	// second time says that it is not fresh, which is no harm.
	err = s.read(ctx, "receive a billing event", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, sqlReceiveEvent, e.Provider, e.ID, e.Type, stamp(e.At), e.Received, string(e.State), e.Reason,
			stamp(e.Next), e.Body)
		fresh = err == nil && tag.RowsAffected() > 0
		return err
	})
	return fresh, err
}

// DueEvents are the events that are to be applied, or tried again, at a moment: the first ones in the order in which they
// were received, with their bodies. At most limit, and never more than [store.MaxFacts]: a body may measure [store.MaxBody].
func (s *Store) DueEvents(ctx context.Context, now time.Time, limit int) ([]store.BillingEvent, error) {
	args := []any{now, min(max(limit, 1), store.MaxFacts)}
	return page(ctx, s, "read the billing events that are due", sqlDueEvents, args, (*store.EventRow).Event)
}

// BillingEvent reads an event, with its body. [store.ErrNotFound] when it is not stored.
func (s *Store) BillingEvent(ctx context.Context, number int64) (store.BillingEvent, error) {
	return find(ctx, s, "billing event", fmt.Sprint(number), sqlEvent, []any{number}, (*store.EventRow).Event)
}

// BillingEvents are those that a filter picks, without their bodies. State, User and After are found by an index; the other
// fields are looked for among these.
func (s *Store) BillingEvents(ctx context.Context, f store.EventFilter) ([]store.BillingEvent, error) {
	f = f.Clean()
	text := sqlEvents
	if f.Latest {
		text = sqlLatestEvents
	}
	args := append([]any{pgx.QueryExecModeExec}, filterArgs(f, f.After, f.Limit)...)
	return page(ctx, s, "list billing events", text, args, (*store.EventRow).Event)
}

func filterArgs(f store.EventFilter, more ...any) []any {
	return append([]any{f.Provider, string(f.State), f.Type, f.User, f.From, f.Until}, more...)
}

// EventCounts are how many events there are in each of [store.OpenEventStates]. Those that are done with are not counted:
// they are nearly all.
func (s *Store) EventCounts(ctx context.Context) (map[store.EventState]int64, error) {
	var counts map[store.EventState]int64
	err := s.read(ctx, "count billing events", func(ctx context.Context) error {
		counts = make(map[store.EventState]int64, len(store.OpenEventStates))
		for _, state := range store.OpenEventStates {
			counts[state] = 0
		}
		rows, err := s.pool.Query(ctx, sqlCountEvents)
		if err != nil {
			return err
		}
		var state store.EventState
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error { counts[state] = n; return nil })
		return err
	})
	if err != nil {
		return nil, err
	}
	return counts, nil
}

// FailEvent says what becomes of an event that was not applied: failed, to be tried again at next, dead or ignored.
// [store.ErrNotFound] when it is not stored, [store.ErrConflict] when it does not wait to be applied any more.
func (s *Store) FailEvent(ctx context.Context, number int64, state store.EventState, reason string, next time.Time) error {
	tries, next, err := store.Failed(state, next)
	if err != nil {
		return err
	}
	return s.write(ctx, "note that a billing event was not applied", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlFailEvent, number, string(state), store.CleanReason(reason), tries, stamp(next))
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
		e, err := one(tx.Query(ctx, sqlEvent, number))
		if err := notFound(err, "billing event", fmt.Sprint(number)); err != nil {
			return err
		}
		return e.NotWaiting()
	})
}

// ReplayEvent has an event applied again, whatever its state. [store.ErrNotFound] when it is not stored; a
// [*store.InvalidError] when its body was dropped.
func (s *Store) ReplayEvent(ctx context.Context, number int64, now time.Time) error {
	return s.write(ctx, "replay a billing event", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlReplayEvent, now, number)
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
		var one int
		err = tx.QueryRow(ctx, `SELECT 1 FROM billing_events WHERE number = $1`, number).Scan(&one)
		if err := notFound(err, "billing event", fmt.Sprint(number)); err != nil {
			return err
		}
		return store.ErrBodyDropped
	})
}

// ReplayEvents has all events applied again that a filter picks and whose bodies are still there, whatever the filter's limit
// and direction, and says how many. It goes on in batches: an error may come after a part of them.
func (s *Store) ReplayEvents(ctx context.Context, f store.EventFilter, now time.Time) (int64, error) {
	f.Latest = false
	f = f.Clean()
	for total := int64(0); ; {
		var n, last int64
		err := s.writeWithin(ctx, "replay billing events", longTimeout, func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, sqlReplayEvents, filterArgs(f, f.After, pruneBatch, now)...).Scan(&n, &last)
		})
		if err != nil {
			return total, err
		}
		if total += n; n < pruneBatch {
			return total, nil
		}
		f.After = last
	}
}

// PruneEventBodies drops the bodies of events that are done with and were received before a moment, and says how many. The
// events themselves stay, so that a second one of the same name is known for good.
func (s *Store) PruneEventBodies(ctx context.Context, receivedBefore time.Time) (int64, error) {
	return s.prune(ctx, "drop the bodies of billing events", sqlPruneBodies, receivedBefore)
}

// one reads an event, or returns pgx.ErrNoRows.
func one(rows pgx.Rows, err error) (store.BillingEvent, error) {
	list, err := rowsOf(rows, err, (*store.EventRow).Event)
	if err == nil && len(list) == 0 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return store.BillingEvent{}, err
	}
	return list[0], nil
}

// rowsOf reads all rows.
func rowsOf[R, T any, P interface {
	*R
	Columns() []any
}](rows pgx.Rows, err error, of func(*R) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	var list []T
	var r R
	_, err = pgx.ForEachRow(rows, P(&r).Columns(), func() error {
		v, err := of(&r)
		list = append(list, v)
		return err
	})
	return list, err
}

package sqlite

import (
	"context"
	"fmt"
	"time"

	"authhook/internal/store"
)

const (
	// The columns of store.EventRow but the last two.
	sqlEventHead = `number, provider, event_id, type, provider_at, received_at, state, reason, tries, next_at, applied_at, user_id,
    subject`

	// Without a body, as lists are.
	sqlEventColumns = sqlEventHead + `, NULL, 0`

	sqlEvent = `SELECT ` + sqlEventHead + `, body, body IS NOT NULL FROM billing_events WHERE number = ?1`

	sqlDueEvents = `
SELECT ` + sqlEventHead + `, body, body IS NOT NULL FROM billing_events
WHERE next_at IS NOT NULL AND next_at <= ?1
ORDER BY number
LIMIT ?2`

	// One statement for each index that can serve, and each direction; what is left of the filter is tested on the rows.
	sqlEventsWhere = ` WHERE (?1 = '' OR provider = ?1) AND (?2 = '' OR state = ?2) AND (?3 = '' OR type = ?3)
    AND (?4 = '' OR user_id = ?4) AND received_at >= ?5 AND received_at < ?6`
	sqlEventsOfState = ` AND state = ?2`
	sqlEventsOfUser  = ` AND user_id <> '' AND user_id = ?4`
	sqlEventsUp      = ` AND number > ?7 ORDER BY number LIMIT ?8`
	sqlEventsDown    = ` AND number < ?7 ORDER BY number DESC LIMIT ?8`

	sqlEvents            = `SELECT ` + sqlEventColumns + ` FROM billing_events` + sqlEventsWhere + sqlEventsUp
	sqlEventsOfStateUp   = `SELECT ` + sqlEventColumns + ` FROM billing_events` + sqlEventsWhere + sqlEventsOfState + sqlEventsUp
	sqlEventsOfUserUp    = `SELECT ` + sqlEventColumns + ` FROM billing_events` + sqlEventsWhere + sqlEventsOfUser + sqlEventsUp
	sqlLatestEvents      = `SELECT ` + sqlEventColumns + ` FROM billing_events` + sqlEventsWhere + sqlEventsDown
	sqlEventsOfStateDown = `SELECT ` + sqlEventColumns + ` FROM billing_events` + sqlEventsWhere + sqlEventsOfState + sqlEventsDown
	sqlEventsOfUserDown  = `SELECT ` + sqlEventColumns + ` FROM billing_events` + sqlEventsWhere + sqlEventsOfUser + sqlEventsDown

	sqlCountEvents = `
SELECT state, count(*) FROM billing_events WHERE state IN ('received', 'unlinked', 'failed', 'dead') GROUP BY state`

	sqlFailEvent = `
UPDATE billing_events SET state = ?2, reason = ?3, tries = tries + ?4, next_at = ?5
WHERE number = ?1 AND state IN ('received', 'failed')`

	sqlReplay      = `UPDATE billing_events SET state = 'received', reason = '', tries = 0, next_at = ?1, account = NULL`
	sqlReplayEvent = sqlReplay + ` WHERE number = ?2 AND body IS NOT NULL`

	// The next ones with a body, and the last of them.
	sqlReplayable = `
SELECT coalesce(max(number), 0)
FROM (SELECT number FROM billing_events` + sqlEventsWhere + ` AND body IS NOT NULL` + sqlEventsUp + `)`
	sqlReplayEvents = sqlReplay + ` WHERE number IN (
    SELECT number FROM billing_events WHERE (?2 = '' OR provider = ?2) AND (?3 = '' OR state = ?3) AND (?4 = '' OR type = ?4)
        AND (?5 = '' OR user_id = ?5) AND received_at >= ?6 AND received_at < ?7 AND number > ?8 AND number <= ?9
        AND body IS NOT NULL)`

	// By an index that SQLite would not choose by itself.
	sqlPruneBodies = `
UPDATE billing_events SET body = NULL
WHERE number IN (
    SELECT number FROM billing_events INDEXED BY billing_events_body
    WHERE body IS NOT NULL AND state IN ('applied', 'stale', 'ignored') AND received_at < ?1
    ORDER BY received_at
    LIMIT ?2)`
)

// DueEvents are the events that are to be applied, or tried again, at a moment: the first ones in the order in which they
// were received, with their bodies. At most limit, and never more than [store.MaxFacts]: a body may measure [store.MaxBody].
func (s *Store) DueEvents(ctx context.Context, now time.Time, limit int) ([]store.BillingEvent, error) {
	args := []any{now.UnixMicro(), min(max(limit, 1), store.MaxFacts)}
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
	up, down := sqlEvents, sqlLatestEvents
	switch {
	case f.User != "":
		up, down = sqlEventsOfUserUp, sqlEventsOfUserDown
	case f.State != "":
		up, down = sqlEventsOfStateUp, sqlEventsOfStateDown
	}
	text := up
	if f.Latest {
		text = down
	}
	return page(ctx, s, "list billing events", text, filterArgs(f, f.After, f.Limit), (*store.EventRow).Event)
}

func filterArgs(f store.EventFilter, more ...any) []any {
	return append([]any{f.Provider, string(f.State), f.Type, f.User, f.From.UnixMicro(), f.Until.UnixMicro()}, more...)
}

// EventCounts are how many events there are in each of [store.OpenEventStates]. Those that are done with are not counted:
// they are nearly all.
func (s *Store) EventCounts(ctx context.Context) (map[store.EventState]int64, error) {
	counts := make(map[store.EventState]int64, len(store.OpenEventStates))
	for _, state := range store.OpenEventStates {
		counts[state] = 0
	}
	err := s.read(ctx, "count billing events", func(ctx context.Context) error {
		var state store.EventState
		var n int64
		rows, err := s.query(ctx, sqlCountEvents)
		return each(rows, err, []any{&state, &n}, func() error { counts[state] = n; return nil })
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
	return s.write(ctx, "note that a billing event was not applied", func(t *tx) error {
		n, err := t.changed(sqlFailEvent, number, string(state), store.CleanReason(reason), tries, micros(next))
		if err != nil || n > 0 {
			return err
		}
		var r store.EventRow
		if err := notFound(t.queryRow(sqlEvent, []any{number}, r.Columns()...), "billing event", fmt.Sprint(number)); err != nil {
			return err
		}
		e, _ := r.Event()
		return e.NotWaiting()
	})
}

// ReplayEvent has an event applied again, whatever its state. [store.ErrNotFound] when it is not stored; a
// [*store.InvalidError] when its body was dropped.
func (s *Store) ReplayEvent(ctx context.Context, number int64, now time.Time) error {
	return s.write(ctx, "replay a billing event", func(t *tx) error {
		n, err := t.changed(sqlReplayEvent, now.UnixMicro(), number)
		if err != nil || n > 0 {
			return err
		}
		var one int
		err = t.queryRow(`SELECT 1 FROM billing_events WHERE number = ?1`, []any{number}, &one)
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
	after := f.After
	return s.inBatches(ctx, "replay billing events", func(t *tx) (int64, error) {
		var last int64
		if err := t.queryRow(sqlReplayable, filterArgs(f, after, pruneBatch), &last); err != nil {
			return 0, err
		}
		args := append([]any{now.UnixMicro()}, filterArgs(f, after, last)...)
		n, err := t.changed(sqlReplayEvents, args...)
		after = last
		return n, err
	})
}

// inBatches calls batch in one transaction after the other, until one is not full, and says how many rows it was.
func (s *Store) inBatches(ctx context.Context, what string, batch func(*tx) (int64, error)) (int64, error) {
	for total := int64(0); ; {
		var n int64
		err := s.transact(ctx, what, longTimeout, sqlDurable, func(t *tx) (err error) {
			n, err = batch(t)
			return err
		})
		if err != nil {
			return total, err
		}
		if total += n; n < pruneBatch {
			return total, nil
		}
	}
}

// PruneEventBodies drops the bodies of events that are done with and were received before a moment, and says how many. The
// events themselves stay, so that a second one of the same name is known for good.
func (s *Store) PruneEventBodies(ctx context.Context, receivedBefore time.Time) (int64, error) {
	return s.prune(ctx, "drop the bodies of billing events", func(t *tx) (int64, error) {
		return t.changed(sqlPruneBodies, receivedBefore.UnixMicro(), pruneBatch)
	})
}

// rowsOf reads rows in a transaction.
func rowsOf[R, T any, P interface {
	*R
	Columns() []any
}](t *tx, text string, args []any, of func(*R) (T, error)) ([]T, error) {
	var list []T
	var r R
	rows, err := t.query(text, args...)
	err = each(rows, err, P(&r).Columns(), func() error {
		v, err := of(&r)
		list = append(list, v)
		return err
	})
	return list, err
}

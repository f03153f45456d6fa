package sqlite

import (
	"context"
	"time"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// All of these run alone: a transaction that writes has the file to itself.
const (
	// Expired leases are dropped here and nowhere else before their time: whoever finds a lease may renew it, as no one
	// can have been given its place.
	sqlDropExpired = `DELETE FROM leases WHERE user_id = ?1 AND plan = ?2 AND until_at <= ?3`

	sqlKeepLease = `
UPDATE leases SET until_at = ?5, asked_at = ?6 WHERE node = ?1 AND session = ?2 AND user_id = ?3 AND plan = ?4`

	sqlStandingLeases = `
SELECT count(*), coalesce(max(seq), 0) + 1 FROM leases WHERE user_id = ?1 AND plan = ?2`

	sqlKickLeases = `
DELETE FROM leases
WHERE (node, session) IN (
    SELECT node, session FROM leases WHERE user_id = ?1 AND plan = ?2 ORDER BY acquired_at, seq LIMIT ?3
)`

	sqlOldestLeases = `
SELECT node, session FROM leases WHERE user_id = ?1 AND plan = ?2 ORDER BY acquired_at, seq LIMIT ?3`

	sqlTakeLease = `
INSERT INTO leases (node, session, user_id, plan, acquired_at, seq, asked_at, until_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5, ?7)
ON CONFLICT (node, session) DO UPDATE
SET user_id = excluded.user_id, plan = excluded.plan, acquired_at = excluded.acquired_at, seq = excluded.seq,
    asked_at = excluded.asked_at, until_at = excluded.until_at`

	sqlCountLeases = `
SELECT count(*) FROM leases
WHERE user_id = ?1 AND plan = ?2 AND until_at > ?5 AND NOT (node = ?3 AND session = ?4)`

	sqlEndLease = `DELETE FROM leases WHERE node = ?1 AND session = ?2 AND asked_at <= ?3`

	sqlRenewLease = `UPDATE leases SET until_at = ?3 WHERE node = ?1 AND session = ?2`

	sqlPruneLeases = `
DELETE FROM leases WHERE (node, session) IN (SELECT node, session FROM leases WHERE until_at < ?1 LIMIT ?2)`
)

// AcquireLease implements policy.Leases. A session holds one place: that under another plan is given up. Each session that
// was kicked has an entry of the kind [store.ChangeSession] in the change feed, in the same transaction.
func (s *Store) AcquireLease(ctx context.Context, l policy.Lease, limit int, onLimit policy.OnLimit) (bool,
	[]policy.KickedSession, error) {
	if err := store.CheckLease(l); err != nil {
		return false, nil, err
	}
	if limit <= 0 {
		return true, nil, nil
	}
	var granted bool
	var kicked []policy.KickedSession
	err := s.jot(ctx, "take a place under a plan's limit", callTimeout, func(t *tx) (err error) {
		granted, kicked, err = t.acquire(l, limit, onLimit)
		return err
	})
	if err != nil {
		return false, nil, err
	}
	return granted, kicked, nil
}

func (t *tx) acquire(l policy.Lease, limit int, onLimit policy.OnLimit) (bool, []policy.KickedSession, error) {
	if _, err := t.exec(sqlDropExpired, l.User, l.Plan, micros(l.At)); err != nil {
		return false, nil, err
	}
	kept, err := t.changed(sqlKeepLease, l.Node, l.Session, l.User, l.Plan, micros(l.Until), micros(l.At))
	if err != nil || kept > 0 {
		return kept > 0, nil, err
	}
	var others, next int
	if err := t.queryRow(sqlStandingLeases, []any{l.User, l.Plan}, &others, &next); err != nil {
		return false, nil, err
	}
	var kicked []policy.KickedSession
	if over := others - limit + 1; over > 0 {
		if onLimit != policy.OnLimitKickOldest {
			return false, nil, nil
		}
		var k policy.KickedSession
		rows, err := t.query(sqlOldestLeases, l.User, l.Plan, over)
		err = each(rows, err, []any{&k.Node, &k.Session}, func() error {
			kicked = append(kicked, k)
			return nil
		})
		if err != nil {
			return false, nil, err
		}
		if _, err := t.exec(sqlKickLeases, l.User, l.Plan, over); err != nil {
			return false, nil, err
		}
		for _, k := range kicked {
			told := store.Change{Kind: store.ChangeSession, Subject: store.SessionSubject(k.Node, k.Session)}
			if err := t.appendChanges(told); err != nil {
				return false, nil, err
			}
		}
	}
	_, err = t.exec(sqlTakeLease, l.Node, l.Session, l.User, l.Plan, micros(l.At), next, micros(l.Until))
	return true, kicked, err
}

// CountLeases implements policy.Leases.
func (s *Store) CountLeases(ctx context.Context, user, plan, exceptNode, exceptSession string, at time.Time) (int, error) {
	var n int
	err := s.read(ctx, "count the places under a plan's limit", func(ctx context.Context) error {
		return s.queryRow(ctx, sqlCountLeases, []any{user, plan, exceptNode, exceptSession, micros(at)}, &n)
	})
	return n, err
}

// RenewLeases sets until when the places of a node's sessions are taken, and returns those of the sessions, in their order,
// that have none: it was given to another, or given up. These stay without. Until is set as it is, also where that is
// sooner: a decision takes a place for longer than it is renewed for. A session that lost its place and asks for one again
// just now may be among the returned although it has one.
func (s *Store) RenewLeases(ctx context.Context, node string, places []policy.Place, until time.Time) (lost []string, err error) {
	if len(places) == 0 {
		return nil, nil
	}
	err = s.jot(ctx, "renew places under plans' limits", longTimeout, func(t *tx) error {
		for _, session := range policy.SessionsOf(places) {
			renewed, err := t.changed(sqlRenewLease, node, session, micros(until))
			if err != nil {
				return err
			}
			if renewed == 0 {
				lost = append(lost, session)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return lost, nil
}

// PruneLeases drops the leases that expired before a moment and says how many. No decision depends on it.
func (s *Store) PruneLeases(ctx context.Context, expiredBefore time.Time) (int64, error) {
	return s.prune(ctx, "prune leases", func(t *tx) (int64, error) {
		return t.changed(sqlPruneLeases, micros(expiredBefore), pruneBatch)
	})
}

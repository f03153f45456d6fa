package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"authhook/internal/policy"
	"authhook/internal/store"
)

const (
	// The three statements of acquiring, sent together: one round trip, one transaction. The first makes those wait who
	// want a place under the same plan of the same user; the second holds up whoever renews one of its leases; the third
	// then sees what all of those did before, as each statement has a snapshot of its own.
	sqlLockLeases = `SELECT pg_advisory_xact_lock($1)`

	sqlHoldLeases = `SELECT 1 FROM leases WHERE user_id = $1 AND plan = $2 ORDER BY node, session FOR UPDATE`

	// $1 user, $2 plan, $3 node, $4 session, $5 at, $6 until, $7 limit, $8 whether the oldest make room.
	// Expired leases are dropped here and nowhere else before their time: whoever finds a lease may renew it, as no one
	// can have been given its place.
	sqlAcquireLease = `
WITH theirs AS (
    SELECT node, session, acquired_at, seq FROM leases
    WHERE user_id = $1 AND plan = $2 AND until_at > $5 AND NOT (node = $3 AND session = $4)
), mine AS (
    SELECT 1 FROM leases WHERE node = $3 AND session = $4 AND user_id = $1 AND plan = $2 AND until_at > $5
), now AS (
    SELECT EXISTS (SELECT FROM mine) AS renewed, count(*) AS others, coalesce(max(seq), 0) + 1 AS next,
        EXISTS (SELECT FROM mine) OR $8::bool OR count(*) < $7::bigint AS grant
    FROM theirs
), expired AS (
    DELETE FROM leases
    WHERE user_id = $1 AND plan = $2 AND until_at <= $5
        AND NOT (node = $3 AND session = $4 AND (SELECT now.grant FROM now))
), kicked AS (
    DELETE FROM leases AS l
    USING (
        SELECT node, session FROM theirs
        WHERE $8::bool AND NOT (SELECT renewed FROM now)
        ORDER BY acquired_at, seq
        LIMIT (SELECT greatest(others - $7::bigint + 1, 0) FROM now)
    ) AS oldest
    WHERE l.node = oldest.node AND l.session = oldest.session
    RETURNING l.node, l.session, l.acquired_at, l.seq
), granted AS (
    INSERT INTO leases AS l (node, session, user_id, plan, acquired_at, seq, asked_at, until_at)
    SELECT $3, $4, $1, $2, $5, now.next, $5, $6
    FROM now
    WHERE now.grant
    ON CONFLICT (node, session) DO UPDATE
    SET user_id = $1, plan = $2, asked_at = $5, until_at = $6,
        acquired_at = CASE WHEN (SELECT renewed FROM now) THEN l.acquired_at ELSE $5 END,
        seq = CASE WHEN (SELECT renewed FROM now) THEN l.seq ELSE excluded.seq END
    RETURNING 1
)
SELECT EXISTS (SELECT FROM granted), coalesce(node, ''), coalesce(session, '')
FROM (SELECT) AS one LEFT JOIN kicked ON true
ORDER BY acquired_at, seq`

	sqlCountLeases = `
SELECT count(*) FROM leases
WHERE user_id = $1 AND plan = $2 AND until_at > $5 AND NOT (node = $3 AND session = $4)`

	// In the order in which everyone takes rows.
	sqlEndLeases = `
DELETE FROM leases
WHERE (node, session) IN (
    SELECT l.node, l.session
    FROM leases AS l JOIN unnest($1::text[], $2::text[], $3::timestamptz[]) AS e (node, session, ended_at)
        ON l.node = e.node AND l.session = e.session AND l.asked_at <= e.ended_at
    ORDER BY l.node, l.session
    FOR UPDATE OF l
)`

	sqlRenewLeases = `
UPDATE leases SET until_at = $3
WHERE (node, session) IN (
    SELECT node, session FROM leases WHERE node = $1 AND session = ANY($2::text[]) ORDER BY node, session FOR UPDATE
)`

	sqlPruneLeases = `
WITH dropped AS (
    DELETE FROM leases
    WHERE (node, session) IN (
        SELECT node, session FROM leases WHERE until_at < $1 ORDER BY node, session LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT count(*) FROM dropped`
)

// AcquireLease implements policy.Leases. A session holds one place: that under another plan is given up.
func (s *Store) AcquireLease(ctx context.Context, l policy.Lease, limit int, onLimit policy.OnLimit) (bool,
	[]policy.KickedSession, error) {
	if err := store.CheckLease(l); err != nil {
		return false, nil, err
	}
	if limit <= 0 {
		return true, nil, nil
	}
	kick := onLimit == policy.OnLimitKickOldest
	var granted bool
	var kicked []policy.KickedSession
	// Not repeated where it may have happened: who was kicked is told once.
	err := s.try(ctx, "take a place under a plan's limit", callTimeout, !kick, func(ctx context.Context) error {
		granted, kicked = false, nil
		var b pgx.Batch
		b.Queue(sqlLockLeases, leaseLock(l.User, l.Plan))
		b.Queue(sqlHoldLeases, l.User, l.Plan)
		b.Queue(sqlAcquireLease, l.User, l.Plan, l.Node, l.Session, l.At, l.Until, limit, kick).Query(func(rows pgx.Rows) error {
			var k policy.KickedSession
			_, err := pgx.ForEachRow(rows, []any{&granted, &k.Node, &k.Session}, func() error {
				if k.Session != "" {
					kicked = append(kicked, k)
				}
				return nil
			})
			return err
		})
		return s.pool.SendBatch(ctx, &b).Close()
	})
	if err != nil {
		return false, nil, err
	}
	return granted, kicked, nil
}

// leaseLock is the number of the advisory lock for a user and a plan. Where two have the same one, they wait for each
// other without need.
func leaseLock(user, plan string) int64 {
	h := sha256.Sum256(fmt.Appendf(nil, "lease %d:%s %d:%s", len(user), user, len(plan), plan))
	return int64(binary.BigEndian.Uint64(h[:8]))
}

// CountLeases implements policy.Leases.
func (s *Store) CountLeases(ctx context.Context, user, plan, exceptNode, exceptSession string, at time.Time) (int, error) {
	var n int
	err := s.read(ctx, "count the places under a plan's limit", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, sqlCountLeases, user, plan, exceptNode, exceptSession, at).Scan(&n)
	})
	return n, err
}

// RenewLeases sets until when the places of a node's sessions are taken. A session whose place is gone stays without.
func (s *Store) RenewLeases(ctx context.Context, node string, sessions []string, until time.Time) error {
	return s.read(ctx, "renew places under plans' limits", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, sqlRenewLeases, node, storable(sessions), until)
		return err
	})
}

// storable leaves out the names that no lease can have: one of them must not fail the others.
func storable(sessions []string) []string {
	return slices.DeleteFunc(slices.Clone(sessions), func(s string) bool { return !store.Storable(s) })
}

// PruneLeases drops the leases that expired before a moment and says how many. No decision depends on it.
func (s *Store) PruneLeases(ctx context.Context, expiredBefore time.Time) (int64, error) {
	return s.prune(ctx, "prune leases", sqlPruneLeases, expiredBefore)
}

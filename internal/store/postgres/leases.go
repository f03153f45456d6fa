package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// The clocks of those who ask for places may be apart, so no moment that one of them says is held against another's. A place stands
// by the database's clock: who asks says how long ago that was, and for how long the place is to stand. Only asked_at is as its
// asker says, for it is held against nothing but the same session's end.

const (
	// The statements of acquiring, sent together: one round trip, one transaction. First the part comes home (leaseparts.go).
	// The next makes those wait who want a place under the same plan of the same user; the next holds up whoever renews one of
	// its leases, or moves the session's own; the last then sees what all of those did before, as each statement has a snapshot
	// of its own.
	sqlLockLeases = `SELECT pg_advisory_xact_lock($1)`

	sqlHoldLeases = `
SELECT 1 FROM leases
WHERE user_id = $1 AND plan = $2 OR node = $3 AND session = $4
ORDER BY node, session
FOR UPDATE`

	// $1 user, $2 plan, $3 node, $4 session, $5 how long ago the place was asked for, $6 for how long it is to stand, $7 limit,
	// $8 part, $9 the clock, $10 when it was asked for as its asker says. "now" says whether there is a place, "leaving" what the
	// session gives up for it as another user. Expired leases are dropped here and nowhere else before their time: whoever finds
	// a lease may renew it, as no one can have been given its place.
	sqlStandingLeases = `
WITH clock AS (
    SELECT now - $5::interval AS at, now + $6::interval AS until
    FROM (SELECT coalesce($9::timestamptz, statement_timestamp())) AS clock (now)
), theirs AS (
    SELECT node, session, acquired_at, seq FROM leases
    WHERE user_id = $1 AND plan = $2 AND until_at > (SELECT at FROM clock) AND NOT (node = $3 AND session = $4)
), mine AS (
    SELECT 1 FROM leases
    WHERE node = $3 AND session = $4 AND user_id = $1 AND plan = $2 AND until_at > (SELECT at FROM clock)
)`
	sqlTakeLease = `, expired AS (
    DELETE FROM leases
    WHERE user_id = $1 AND plan = $2 AND until_at <= (SELECT at FROM clock)
        AND NOT (node = $3 AND session = $4 AND (SELECT now.grant FROM now))
), granted AS (
    INSERT INTO leases AS l (node, session, user_id, plan, acquired_at, seq, asked_at, until_at, part)
    SELECT $3, $4, $1, $2, clock.at, now.next, $10, clock.until, $8
    FROM now, clock
    WHERE now.grant
    ON CONFLICT (node, session) DO UPDATE
    SET user_id = $1, plan = $2, asked_at = $10, until_at = excluded.until_at, part = $8, epoch = 0, number = 0,
        acquired_at = CASE WHEN (SELECT renewed FROM now) THEN l.acquired_at ELSE excluded.acquired_at END,
        seq = CASE WHEN (SELECT renewed FROM now) THEN l.seq ELSE excluded.seq END
    RETURNING 1
), leaving AS (
    SELECT user_id, asked_at FROM leases
    WHERE node = $3 AND session = $4 AND user_id <> $1 AND until_at > '-infinity' AND (SELECT now.grant FROM now)
)`

	sqlAcquireLease = sqlStandingLeases + `, now AS (
    SELECT EXISTS (SELECT FROM mine) AS renewed, coalesce(max(seq), 0) + 1 AS next,
        EXISTS (SELECT FROM mine) OR count(*) < $7::bigint AS grant
    FROM theirs
)` + sqlTakeLease + `
SELECT EXISTS (SELECT FROM granted), '', '', coalesce(user_id, ''), asked_at
FROM (SELECT) AS one LEFT JOIN leaving ON true`

	// The same where the oldest make room, $11 now, $12 [store.ChangeSession]. The change feed's counter is the last lock that
	// is taken, and only where somebody is kicked: from there to the commit every writer of facts waits.
	sqlAcquireOldestLease = sqlStandingLeases + `, now AS (
    SELECT EXISTS (SELECT FROM mine) AS renewed, coalesce(max(seq), 0) + 1 AS next, true AS grant,
        CASE WHEN EXISTS (SELECT FROM mine) THEN 0 ELSE greatest(count(*) - $7::bigint + 1, 0) END AS kicks
    FROM theirs
)` + sqlTakeLease + `, kicked AS (
    DELETE FROM leases AS l
    USING (
        SELECT node, session FROM theirs ORDER BY acquired_at, seq LIMIT (SELECT kicks FROM now)
    ) AS oldest
    WHERE l.node = oldest.node AND l.session = oldest.session
    RETURNING l.node, l.session, l.acquired_at, l.seq
), counter AS (
    UPDATE change_counter SET number = number + (SELECT kicks FROM now)
    WHERE (SELECT kicks FROM now) > 0
    RETURNING number - (SELECT kicks FROM now) AS before
), told AS (
    INSERT INTO changes (number, at, kind, subject)
    SELECT counter.before + row_number() OVER (ORDER BY acquired_at, seq), $11, $12, session || ' ' || node
    FROM counter, kicked
)
SELECT EXISTS (SELECT FROM granted), coalesce(node, ''), coalesce(session, ''), coalesce(user_id, ''), asked_at
FROM (SELECT) AS one LEFT JOIN kicked ON true LEFT JOIN leaving ON true
ORDER BY acquired_at, seq`

	// Of a part that is in Redis the renewals are known there only: what stands here may stand there. $5 how long ago, $6 the clock.
	sqlCountLeases = `
SELECT count(*) FROM leases AS l JOIN lease_parts USING (part)
WHERE user_id = $1 AND plan = $2 AND NOT (node = $3 AND session = $4)
    AND (until_at > coalesce($6::timestamptz, statement_timestamp()) - $5::interval OR redis AND until_at > '-infinity')`

	// In the order in which everyone takes rows.
	sqlEndLeases = `
DELETE FROM leases
WHERE (node, session) IN (
    SELECT l.node, l.session
    FROM leases AS l JOIN unnest($1::text[], $2::text[], $3::timestamptz[]) AS e (node, session, ended_at)
        ON l.node = e.node AND l.session = e.session AND l.asked_at <= e.ended_at
    ORDER BY l.node, l.session
    FOR UPDATE OF l
)
RETURNING user_id, node, session, asked_at`

	// In the order in which everyone takes rows. $3 for how long, $4 the clock. Answers with the sessions that have no place.
	sqlRenewLeases = `
WITH held AS (
    SELECT node, session FROM leases
    WHERE node = $1 AND session = ANY($2::text[]) AND until_at > '-infinity'
    ORDER BY node, session FOR UPDATE
), renewed AS (
    UPDATE leases AS l SET until_at = coalesce($4::timestamptz, statement_timestamp()) + $3::interval
    FROM held WHERE l.node = held.node AND l.session = held.session
)
SELECT asked.session FROM unnest($2::text[]) AS asked (session)
WHERE NOT EXISTS (SELECT FROM held WHERE held.session = asked.session)`

	// $1 how long ago, $3 the clock.
	sqlPruneLeases = `
WITH clock AS (
    SELECT coalesce($3::timestamptz, statement_timestamp()) - $1::interval AS before
), dropped AS (
    DELETE FROM leases
    WHERE (node, session) IN (
        SELECT node, session FROM leases JOIN lease_parts USING (part)
        WHERE until_at < (SELECT before FROM clock)
            AND (NOT redis OR until_at = '-infinity' AND asked_at < (SELECT before FROM clock))
        ORDER BY node, session LIMIT $2 FOR UPDATE OF leases SKIP LOCKED
    )
    RETURNING 1
)
SELECT count(*) FROM dropped`
)

// AcquireLease implements policy.Leases. A session holds one place: that under another plan is given up. Each session that
// was kicked has an entry of the kind [store.ChangeSession] in the change feed, in the same transaction. Where the places of
// the user's part are given out in Redis, they are from here on given out here.
func (s *Store) AcquireLease(ctx context.Context, l policy.Lease, limit int, onLimit policy.OnLimit) (bool,
	[]policy.KickedSession, error) {
	granted, kicked, _, err := s.AcquireLeaseLeaving(ctx, l, limit, onLimit)
	return granted, kicked, err
}

// AcquireLeaseLeaving is [Store.AcquireLease], and returns the place that the session gave up for this one where it was another
// user's: of it its user, node, session, and when it was asked for last.
func (s *Store) AcquireLeaseLeaving(ctx context.Context, l policy.Lease, limit int, onLimit policy.OnLimit) (granted bool,
	kicked []policy.KickedSession, left []store.HeldLease, err error) {
	if err := store.CheckLease(l); err != nil {
		return false, nil, nil, err
	}
	if limit <= 0 {
		return true, nil, nil, nil
	}
	kick := onLimit == policy.OnLimitKickOldest
	away := false // the part is in Redis
	// Not repeated where it may have happened: who was kicked is told once.
	err = s.try(ctx, "take a place under a plan's limit", callTimeout, !kick, func(ctx context.Context) error {
		granted, kicked, left = false, nil, nil
		part := store.LeasePart(l.User)
		var b pgx.Batch
		if away {
			s.keepPart(&b, part)
		} else {
			b.Queue(sqlHoldPartHere, part)
		}
		b.Queue(sqlLockLeases, leaseLock(l.User, l.Plan))
		b.Queue(sqlHoldLeases, l.User, l.Plan, l.Node, l.Session)
		now := s.Now()
		sql, args := sqlAcquireLease, []any{l.User, l.Plan, l.Node, l.Session, now.Sub(l.At), l.Until.Sub(now), limit, part, s.clock(), l.At}
		if kick {
			sql, args = sqlAcquireOldestLease, append(args, now, string(store.ChangeSession))
		}
		b.Queue(sql, args...).Query(func(rows pgx.Rows) error {
			var k policy.KickedSession
			old := store.HeldLease{Lease: policy.Lease{Node: l.Node, Session: l.Session}}
			var asked store.Moment
			_, err := pgx.ForEachRow(rows, []any{&granted, &k.Node, &k.Session, &old.User, &asked}, func() error {
				if k.Session != "" {
					kicked = append(kicked, k)
				}
				return nil
			})
			if old.At = asked.Time; old.User != "" {
				left = []store.HeldLease{old}
			}
			return err
		})
		err := s.pool.SendBatch(ctx, &b).Close()
		if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == divisionByZero {
			away, err = true, errRace
		}
		return err
	})
	if err != nil {
		return false, nil, nil, err
	}
	if len(kicked) > 0 { // within the transaction it would have to be sent also where nobody is kicked
		s.notify(ctx)
	}
	return granted, kicked, left, nil
}

// maxRenewed is how many places one statement renews: it holds them against whoever wants one.
const maxRenewed = 1000

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
		return s.pool.QueryRow(ctx, sqlCountLeases, user, plan, exceptNode, exceptSession, s.Now().Sub(at), s.clock()).Scan(&n)
	})
	return n, err
}

// RenewLeases sets until when the places of a node's sessions are taken, and returns those of the sessions, in their order,
// that have none: it was given to another, or given up. These stay without. Until is set as it is, also where that is
// sooner: a decision takes a place for longer than it is renewed for. A session that lost its place and asks for one again
// just now may be among the returned although it has one.
func (s *Store) RenewLeases(ctx context.Context, node string, places []policy.Place, until time.Time) ([]string, error) {
	if len(places) == 0 {
		return nil, nil
	}
	sessions := policy.SessionsOf(places)
	// One that no lease can be of must not fail the others.
	storable := slices.DeleteFunc(slices.Clone(sessions), func(s string) bool { return !store.Storable(s) })
	var gone []string
	for part := range slices.Chunk(storable, maxRenewed) {
		err := s.read(ctx, "renew places under plans' limits", func(ctx context.Context) error {
			lost, err := column[string](s.pool.Query(ctx, sqlRenewLeases, node, part, until.Sub(s.Now()), s.clock()))
			if err == nil {
				gone = append(gone, lost...)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(gone) == 0 && len(storable) == len(sessions) {
		return nil, nil
	}
	without := make(map[string]bool, len(gone))
	for _, session := range gone {
		without[session] = true
	}
	return slices.DeleteFunc(slices.Clone(sessions), func(s string) bool { return store.Storable(s) && !without[s] }), nil
}

// PruneLeases drops the leases that expired before a moment and says how many. No decision depends on it.
func (s *Store) PruneLeases(ctx context.Context, expiredBefore time.Time) (int64, error) {
	return s.prune(ctx, "prune leases", sqlPruneLeases, s.Now().Sub(expiredBefore), s.clock())
}

package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// Where the places of a part are given out is a row of lease_parts. Whoever gives out a place here, or keeps one that was
// given out in Redis, holds that row against those who would move the part: so no place is given out in two homes, and what
// was decided in an epoch that is over is not taken.
const (
	// Parts come home: $1 which, $2 now, $3 until when their places stand at least, whose renewals are not known here. Rows are
	// taken in the order in which everyone takes them.
	sqlKeepParts = `
WITH theirs AS (
    SELECT part FROM lease_parts WHERE part = ANY($1::int[]) AND redis ORDER BY part FOR UPDATE
), kept AS (
    UPDATE lease_parts AS p SET epoch = epoch + 1, redis = false, moved_at = $2
    FROM theirs WHERE p.part = theirs.part
    RETURNING p.part
), held AS (
    SELECT l.node, l.session FROM leases AS l
    WHERE l.part IN (SELECT part FROM kept) AND l.until_at < $3 AND l.until_at > '-infinity'
    ORDER BY l.node, l.session
    FOR UPDATE
)
UPDATE leases AS l SET until_at = greatest(l.until_at, $3)
FROM held WHERE l.node = held.node AND l.session = held.session`

	sqlHoldPart = `SELECT part, epoch, redis, moved_at FROM lease_parts WHERE part = $1 FOR SHARE`

	sqlPart  = `SELECT part, epoch, redis, moved_at FROM lease_parts WHERE part = $1`
	sqlParts = `SELECT part, epoch, redis, moved_at FROM lease_parts ORDER BY part`

	// A part goes to Redis, or a new epoch of it begins there: $1 which, $2 before when it must have come home, $3 an epoch that it
	// must be later than. How much later is random: a database that was restored, or another one that uses the same Redis, does
	// not come by the same number.
	sqlLendPart = `
UPDATE lease_parts SET epoch = greatest(epoch, $3) + 1 + floor(random() * 1000000)::bigint, redis = true
WHERE part = $1 AND (redis OR moved_at IS NULL OR moved_at <= $2)
RETURNING epoch`

	sqlLentLeases = `
SELECT user_id, plan, node, session, acquired_at, seq, asked_at, greatest(until_at, $2) FROM leases
WHERE part = $1 AND until_at > '-infinity'
ORDER BY user_id`

	// The leases that a decision is about are taken in the order in which everyone takes them.
	sqlHoldNamed = `
SELECT 1 FROM leases
WHERE (node, session) IN (SELECT * FROM unnest($1::text[], $2::text[]))
ORDER BY node, session
FOR UPDATE`

	sqlInEpoch = `EXISTS (SELECT FROM lease_parts WHERE part = $1 AND epoch = $2 AND redis)`

	// A place that was decided about later is another. $3 the decision's number, $4 nodes, $5 sessions.
	sqlDropInEpoch = `
DELETE FROM leases AS l
USING unnest($4::text[], $5::text[]) AS gone (node, session)
WHERE l.node = gone.node AND l.session = gone.session AND l.part = $1 AND (l.epoch, l.number) < ($2, $3) AND ` + sqlInEpoch + `
`

	// Those that were kicked are marked, and not dropped: what gave them their place may be confirmed after this. $6 user, $7 plan,
	// $8 now.
	sqlMarkKicked = `
INSERT INTO leases AS l (node, session, user_id, plan, acquired_at, seq, asked_at, until_at, part, epoch, number)
SELECT gone.node, gone.session, $6, $7, $8, 0, $8, '-infinity', $1, $2, $3
FROM unnest($4::text[], $5::text[]) AS gone (node, session)
WHERE ` + sqlInEpoch + `
ON CONFLICT (node, session) DO UPDATE SET until_at = '-infinity', epoch = $2, number = $3
WHERE (l.epoch, l.number) < ($2, $3)`

	// $4 node, $5 session, $6 user, $7 plan, $8 acquired, $9 seq, $10 asked, $11 until.
	sqlKeepGranted = `
INSERT INTO leases AS l (node, session, user_id, plan, acquired_at, seq, asked_at, until_at, part, epoch, number)
SELECT $4, $5, $6, $7, $8, $9, $10, $11, $1, $2, $3
WHERE ` + sqlInEpoch + `
ON CONFLICT (node, session) DO UPDATE
SET user_id = $6, plan = $7, acquired_at = $8, seq = $9, asked_at = $10, until_at = $11, part = $1, epoch = $2, number = $3
WHERE (l.epoch, l.number) < ($2, $3)`

	// $3 now, $4 subjects, $5 [store.ChangeSession]. From here to the commit every writer of facts waits.
	sqlTellKicked = `
WITH counter AS (
    UPDATE change_counter SET number = number + cardinality($4::text[])
    WHERE ` + sqlInEpoch + `
    RETURNING number - cardinality($4::text[]) AS before
)
INSERT INTO changes (number, at, kind, subject)
SELECT counter.before + new.ord, $3, $5, new.subject
FROM counter, unnest($4::text[]) WITH ORDINALITY AS new (subject, ord)`
)

// KeepLeases has the places of parts given out here from now on. Those that stand may have been renewed in Redis: they stand for
// [store.LeaseGrace] more.
func (s *Store) KeepLeases(ctx context.Context, parts []int) error {
	if len(parts) == 0 {
		return nil
	}
	return s.read(ctx, "bring places under plans' limits home", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, sqlKeepParts, parts, s.Now(), s.Now().Add(store.LeaseGrace))
		return err
	})
}

// LendLeases has the places of a part given out in Redis from now on, in an epoch later than those that were and than another that
// is known, and returns the places that stand: for [store.LeaseGrace] more, at least. Lent is false where the part came home less
// than away ago: then it stays.
func (s *Store) LendLeases(ctx context.Context, part int, after int64, away time.Duration) (epoch int64, held []store.HeldLease, lent bool, err error) {
	err = s.write(ctx, "lend the places of a part", func(ctx context.Context, tx pgx.Tx) error {
		epoch, held, lent = 0, nil, false
		now := s.Now()
		var b batch
		b.queue(sqlLendPart, []any{part, now.Add(-away), after}, func(rows pgx.Rows) (err error) {
			_, err = pgx.ForEachRow(rows, []any{&epoch}, func() error { lent = true; return nil })
			return err
		})
		// A statement of its own: it sees what those did whom the first one waited for.
		b.queue(sqlLentLeases, []any{part, now.Add(store.LeaseGrace)}, func(rows pgx.Rows) error {
			var l store.HeldLease
			_, err := pgx.ForEachRow(rows, []any{&l.User, &l.Plan, &l.Node, &l.Session, &l.Acquired, &l.Seq, &l.At, &l.Until}, func() error {
				held = append(held, l)
				return nil
			})
			return err
		})
		return b.send(ctx, tx)
	})
	if err != nil || !lent {
		return 0, nil, false, err
	}
	return epoch, held, true, nil
}

// ConfirmLease keeps what was decided in Redis about a place, and says where the part's places are given out. Only where that is
// Redis, in the decision's very epoch, was it kept, and stands. Each session that was kicked has an entry of the kind
// [store.ChangeSession] in the change feed, in the same transaction.
func (s *Store) ConfirmLease(ctx context.Context, d *store.LeaseDecision) (home store.LeaseHome, err error) {
	if !d.Granted && len(d.Expired) == 0 {
		return s.LeaseHome(ctx, d.Part)
	}
	// Not repeated where it may have happened: who was kicked is told once.
	err = s.try(ctx, "keep a place under a plan's limit", callTimeout, len(d.Kicked) == 0, func(ctx context.Context) error {
		var b pgx.Batch
		b.Queue(sqlHoldPart, d.Part).QueryRow(func(row pgx.Row) error { return scanHome(row, &home) })
		expired, kicked := newLeaseList(d.Expired), newLeaseList(d.Kicked)
		named := newLeaseList(d.Expired)
		named.add(d.Kicked...)
		if d.Granted {
			named.add(d.Lease)
		}
		b.Queue(sqlHoldNamed, named.nodes, named.sessions)
		if len(d.Expired) > 0 {
			b.Queue(sqlDropInEpoch, d.Part, d.Epoch, d.Number, expired.nodes, expired.sessions)
		}
		l := &d.Lease
		if len(d.Kicked) > 0 {
			b.Queue(sqlMarkKicked, d.Part, d.Epoch, d.Number, kicked.nodes, kicked.sessions, l.User, l.Plan, s.Now())
		}
		if d.Granted {
			b.Queue(sqlKeepGranted, d.Part, d.Epoch, d.Number, l.Node, l.Session, l.User, l.Plan, l.Acquired, l.Seq, l.At, l.Until)
		}
		if len(d.Kicked) > 0 {
			var subjects []string
			for _, k := range d.Kicked {
				subjects = append(subjects, store.SessionSubject(k.Node, k.Session))
			}
			b.Queue(sqlTellKicked, d.Part, d.Epoch, s.Now(), subjects, string(store.ChangeSession))
		}
		return s.pool.SendBatch(ctx, &b).Close()
	})
	if err != nil {
		return store.LeaseHome{}, err
	}
	if len(d.Kicked) > 0 {
		s.notify(ctx)
	}
	return home, nil
}

// LeaseHome says where the places of a part are given out.
func (s *Store) LeaseHome(ctx context.Context, part int) (home store.LeaseHome, err error) {
	err = s.read(ctx, "read where places are given out", func(ctx context.Context) error {
		return scanHome(s.pool.QueryRow(ctx, sqlPart, part), &home)
	})
	return home, err
}

// LeaseHomes says where the places of all parts are given out, in their order.
func (s *Store) LeaseHomes(ctx context.Context) (homes []store.LeaseHome, err error) {
	err = s.read(ctx, "read where places are given out", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlParts)
		if err != nil {
			return err
		}
		homes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (home store.LeaseHome, err error) {
			return home, scanHome(row, &home)
		})
		return err
	})
	return homes, err
}

func scanHome(row pgx.Row, home *store.LeaseHome) error {
	var moved store.Moment
	if err := row.Scan(&home.Part, &home.Epoch, &home.Redis, &moved); err != nil {
		return err
	}
	home.Moved = moved.Time
	return nil
}

// leaseList is leases as a statement takes them.
type leaseList struct{ nodes, sessions []string }

func newLeaseList(leases []store.HeldLease) (l leaseList) {
	l.add(leases...)
	return l
}

func (l *leaseList) add(leases ...store.HeldLease) {
	for i := range leases {
		l.nodes, l.sessions = append(l.nodes, leases[i].Node), append(l.sessions, leases[i].Session)
	}
}

// endedLeases reads the places that were given up.
func endedLeases(rows pgx.Rows, err error) ([]store.HeldLease, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.HeldLease, error) {
		var l policy.Lease
		err := row.Scan(&l.User, &l.Node, &l.Session, &l.At)
		return store.HeldLease{Lease: l}, err
	})
}

package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// Where the places of a part are given out is a row of lease_parts. Whoever gives out a place here, or keeps one that was
// given out in Redis, holds that row against those who would move the part: so no place is given out in two homes, and what
// was decided in an epoch that is over is not taken. The row is the first that anybody takes.
const (
	// A part comes home, where it is away: $1 which, $2 the clock, $3 for how long its places stand at least, whose renewals are not
	// known here. Rows are taken in the order in which everyone takes them. What goes before it in its transaction takes the
	// part: this then sees what became of it meanwhile.
	sqlKeepPart = `
WITH clock AS (
    SELECT coalesce($2::timestamptz, statement_timestamp()) AS now
), kept AS (
    UPDATE lease_parts SET epoch = epoch + 1, redis = false, moved_at = (SELECT now FROM clock)
    WHERE part = $1 AND redis
    RETURNING part
), held AS (
    SELECT l.node, l.session FROM leases AS l
    WHERE l.part IN (SELECT part FROM kept) AND l.until_at < (SELECT now + $3::interval FROM clock) AND l.until_at > '-infinity'
    ORDER BY l.node, l.session
    FOR UPDATE
)
UPDATE leases AS l SET until_at = greatest(l.until_at, (SELECT now + $3::interval FROM clock))
FROM held WHERE l.node = held.node AND l.session = held.session`

	// Whoever gives out a place here holds its part, which is to be here. Where it is not, this fails with [divisionByZero], and
	// nothing of the transaction happens: the part is brought home then.
	sqlHoldPartHere = `SELECT 1 / (CASE WHEN redis THEN 0 ELSE 1 END) FROM lease_parts WHERE part = $1 FOR SHARE`

	// Whoever gave up places waits for who is about to tell Redis of them: what that has read is told before what follows.
	sqlAwaitParts = `SELECT 1 FROM lease_parts WHERE part = ANY($1::int[]) ORDER BY part FOR SHARE`

	sqlHoldPart = `SELECT part, epoch, redis FROM lease_parts WHERE part = $1 FOR SHARE`

	sqlPart  = `SELECT part, epoch, redis FROM lease_parts WHERE part = $1`
	sqlParts = `SELECT part, epoch, redis FROM lease_parts ORDER BY part`

	// Should this process be gone while it asks Redis, the part is free soon.
	sqlBriefly = `SET LOCAL idle_in_transaction_session_timeout = '2s'`

	sqlTakePart = `SELECT part, epoch, redis FROM lease_parts WHERE part = $1 FOR UPDATE`

	// Whether a part that was taken came home less than $2 ago; $3 the clock.
	sqlCameLately = `
SELECT coalesce(moved_at > coalesce($3::timestamptz, statement_timestamp()) - $2::interval, false) FROM lease_parts WHERE part = $1`

	// A part goes to Redis, or a new epoch of it begins there: $1 which, $2 an epoch that it must be later than. How much later is
	// random: a database that was restored, or another one that uses the same Redis, does not come by the same number.
	sqlLendPart = `
UPDATE lease_parts SET epoch = greatest(epoch, $2) + 1 + floor(random() * 1000000)::bigint, redis = true
WHERE part = $1
RETURNING epoch`

	// The places of a part, with how long ago each was acquired, and for how long it stands. $2 for how long those stand at least
	// whose renewals were known there only, $3 whether they were, $4 the clock.
	sqlLentLeases = `
SELECT user_id, plan, node, session, clock.now - acquired_at, seq, asked_at,
    CASE WHEN $3 THEN greatest(until_at - clock.now, $2::interval) ELSE until_at - clock.now END
FROM leases, (SELECT coalesce($4::timestamptz, statement_timestamp())) AS clock (now)
WHERE part = $1 AND until_at > '-infinity'
ORDER BY user_id`

	// The leases that a decision is about are taken in the order in which everyone takes them. Of each it answers whether it is a
	// place of the session, $3 node, $4 session, that is held by another user than $5.
	sqlHoldNamed = `
SELECT node = $3 AND session = $4 AND user_id <> $5 AND until_at > '-infinity', user_id, node, session, asked_at FROM leases
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

	// Whether the limit, $12, permits a place beside those that stand here, but for those that the decision knows to be gone: $13
	// nodes, $14 sessions. What Redis decided and nobody confirmed, and what it forgot, shows so. Who has a place keeps it.
	sqlHasRoom = `(
    (SELECT count(*) FROM leases AS other
     WHERE other.user_id = $6 AND other.plan = $7 AND other.until_at > '-infinity' AND NOT (other.node = $4 AND other.session = $5)
         AND NOT EXISTS (
             SELECT FROM unnest($13::text[], $14::text[]) AS gone (node, session)
             WHERE gone.node = other.node AND gone.session = other.session
         )
    ) < $12::bigint
    OR EXISTS (
        SELECT FROM leases AS own
        WHERE own.node = $4 AND own.session = $5 AND own.user_id = $6 AND own.plan = $7 AND own.until_at > '-infinity'
    )
)`

	// A refusal stands where as many places stand here: $2 user, $3 plan, $4 node, $5 session, $6 limit.
	sqlRefused = `
SELECT part, epoch, redis, (
    SELECT count(*) FROM leases AS other
    WHERE other.user_id = $2 AND other.plan = $3 AND other.until_at > '-infinity' AND NOT (other.node = $4 AND other.session = $5)
) >= $6::bigint
FROM lease_parts WHERE part = $1`

	// $4 node, $5 session, $6 user, $7 plan, $8 how long ago it was acquired, $9 seq, $10 when it was asked for as its asker says,
	// $11 for how long it is to stand, $15 the clock. What a later decision says of it stands.
	sqlKeepGranted = `
INSERT INTO leases AS l (node, session, user_id, plan, acquired_at, seq, asked_at, until_at, part, epoch, number)
SELECT $4, $5, $6, $7, clock.now - $8::interval, $9, $10, clock.now + $11::interval, $1, $2, $3
FROM (SELECT coalesce($15::timestamptz, statement_timestamp())) AS clock (now)
WHERE ` + sqlInEpoch + ` AND ` + sqlHasRoom + `
ON CONFLICT (node, session) DO UPDATE
SET user_id = $6, plan = $7, acquired_at = excluded.acquired_at, seq = $9, asked_at = $10, until_at = excluded.until_at, part = $1,
    epoch = $2, number = $3
WHERE l.part <> $1 OR (l.epoch, l.number) < ($2, $3)
RETURNING true`

	// Whether a place was given and then decided about again, and that was kept before: taken away, most likely.
	sqlWasGiven = `
SELECT true FROM leases WHERE node = $4 AND session = $5 AND part = $1 AND epoch = $2 AND number >= $3`

	// Those that were kicked are marked, and not dropped: what gave one its place may want to be kept after this. Each is told of
	// once, by whichever decision is kept first of those that know it. $6 nodes, $7 sessions, $8 the numbers of the decisions that
	// kicked them, $9 user, $10 plan, $11 now, $12 [store.ChangeSession]. From here to the commit every writer of facts waits,
	// where anybody is told of.
	sqlKick = `
WITH gone AS (
    SELECT * FROM unnest($6::text[], $7::text[], $8::bigint[]) WITH ORDINALITY AS gone (node, session, by, ord)
    WHERE EXISTS (SELECT FROM leases WHERE node = $4 AND session = $5 AND part = $1 AND epoch = $2 AND number >= $3)
), kicked AS (
    INSERT INTO leases AS l (node, session, user_id, plan, acquired_at, seq, asked_at, until_at, part, epoch, number)
    SELECT node, session, $9, $10, $11, 0, $11, '-infinity', $1, $2, by FROM gone
    ON CONFLICT (node, session) DO UPDATE
    SET until_at = '-infinity', epoch = excluded.epoch, number = excluded.number, asked_at = greatest(l.asked_at, excluded.asked_at)
    WHERE l.part = $1 AND l.user_id = $9 AND (l.epoch, l.number) < (excluded.epoch, excluded.number)
    RETURNING l.node, l.session
), counter AS (
    UPDATE change_counter SET number = number + (SELECT count(*) FROM kicked)
    WHERE EXISTS (SELECT FROM kicked)
    RETURNING number - (SELECT count(*) FROM kicked) AS before
), told AS (
    INSERT INTO changes (number, at, kind, subject)
    SELECT counter.before + row_number() OVER (ORDER BY ord), $11, $12, session || ' ' || node
    FROM counter, kicked JOIN gone USING (node, session)
)
SELECT node, session FROM kicked JOIN gone USING (node, session) ORDER BY ord`
)

// KeepLeases has the places of parts given out here from now on. Those that stand may have been renewed in Redis: they stand for
// [store.LeaseGrace] more.
func (s *Store) KeepLeases(ctx context.Context, parts []int) error {
	for _, part := range parts { // one by one: there may be thousands of places in each
		err := s.read(ctx, "bring places under plans' limits home", func(ctx context.Context) error {
			var b pgx.Batch
			s.keepPart(&b, part)
			return s.pool.SendBatch(ctx, &b).Close()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// keepPart has a part come home, before what follows in a batch.
func (s *Store) keepPart(b *pgx.Batch, part int) {
	b.Queue(sqlTakePart, part)
	b.Queue(sqlKeepPart, part, s.clock(), store.LeaseGrace)
}

// LendLeases has the places of a part given out in Redis from now on, in a new epoch, unless they are: is says which epoch is
// there (0: none), and begin begins the new one there with the places that stand: those that may have been renewed in Redis for
// [store.LeaseGrace] more at least. Both are called within the transaction: whoever wants the part waits, and finds it lent. Lent
// is false where the part came home less than away ago: then it stays.
func (s *Store) LendLeases(ctx context.Context, part int, away time.Duration, is func(context.Context) (int64, error),
	begin func(context.Context, int64, []store.HeldLease) error) (lent bool, err error) {
	err = s.write(ctx, "lend the places of a part", func(ctx context.Context, tx pgx.Tx) error {
		lent = false
		var home store.LeaseHome
		if err := scanHome(tx.QueryRow(ctx, sqlTakePart, part), &home); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlBriefly); err != nil {
			return err
		}
		there, err := is(ctx)
		if err != nil {
			return &toldError{err} // not this database's
		}
		if lent = home.Redis && there == home.Epoch; lent {
			return nil
		}
		if !home.Redis {
			var stays bool
			if err := tx.QueryRow(ctx, sqlCameLately, part, away, s.clock()).Scan(&stays); err != nil || stays {
				return err
			}
		}
		var epoch int64
		if err := tx.QueryRow(ctx, sqlLendPart, part, there).Scan(&epoch); err != nil {
			return err
		}
		held, err := s.lentLeases(tx.Query(ctx, sqlLentLeases, part, store.LeaseGrace, home.Redis, s.clock()))
		if err != nil {
			return err
		}
		lent = true
		if err := begin(ctx, epoch, held); err != nil {
			return &toldError{err}
		}
		return nil
	})
	return lent && err == nil, err
}

// lentLeases reads the places of a part, and puts their moments by this process's clock.
func (s *Store) lentLeases(rows pgx.Rows, err error) ([]store.HeldLease, error) {
	if err != nil {
		return nil, err
	}
	var held []store.HeldLease
	var l store.HeldLease
	var since, stands time.Duration
	now := s.Now()
	_, err = pgx.ForEachRow(rows, []any{&l.User, &l.Plan, &l.Node, &l.Session, &since, &l.Seq, &l.At, &stands}, func() error {
		l.Acquired, l.Until = now.Add(-since), now.Add(stands)
		held = append(held, l)
		return nil
	})
	return held, err
}

// ConfirmLease keeps what was decided in Redis about a place. Only where the part's home is that, in the decision's very epoch, is it
// kept, and where the places that stand here are as the decision has them: a limit is not exceeded, and nobody refused, by what Redis
// alone knows. A decision stands too where a later one of its epoch about the same session was kept before. Each who lost a place has
// an entry of the kind [store.ChangeSession] in the change feed, in the same transaction.
func (s *Store) ConfirmLease(ctx context.Context, d *store.LeaseDecision) (c store.ConfirmedLease, err error) {
	if !d.Granted && len(d.Expired) == 0 {
		err = s.read(ctx, "count places under a plan's limit", func(ctx context.Context) error {
			return scanRefused(s.pool.QueryRow(ctx, sqlRefused, refusedArgs(d)...), d, &c)
		})
		return c, err
	}
	gone := newLeaseList(d.Expired)
	for _, k := range d.Kicked {
		gone.add(k.Node, k.Session)
	}
	// Not repeated where it may have happened: who was kicked is told once.
	err = s.try(ctx, "keep a place under a plan's limit", callTimeout, len(d.Kicked) == 0, func(ctx context.Context) error {
		c = store.ConfirmedLease{}
		var b pgx.Batch
		held, l := b.Queue(sqlHoldPart, d.Part), &d.Lease
		b.Queue(sqlLockLeases, leaseLock(l.User, l.Plan))
		named := gone.and(l.Node, l.Session)
		b.Queue(sqlHoldNamed, named.nodes, named.sessions, l.Node, l.Session, l.User).Query(func(rows pgx.Rows) (err error) {
			c.Left, err = leftLease(rows)
			return err
		})
		if len(d.Expired) > 0 {
			expired := newLeaseList(d.Expired)
			b.Queue(sqlDropInEpoch, d.Part, d.Epoch, d.Number, expired.nodes, expired.sessions)
		}
		if d.Granted {
			held.QueryRow(func(row pgx.Row) error { return scanHome(row, &c.Home) })
			s.confirmGranted(&b, d, &gone, &c)
		} else {
			b.Queue(sqlRefused, refusedArgs(d)...).QueryRow(func(row pgx.Row) error { return scanRefused(row, d, &c) })
		}
		return s.pool.SendBatch(ctx, &b).Close()
	})
	if err != nil {
		return store.ConfirmedLease{}, err
	}
	if len(c.Kicked) > 0 {
		s.notify(ctx)
	}
	return c, nil
}

func refusedArgs(d *store.LeaseDecision) []any {
	l := &d.Lease
	return []any{d.Part, l.User, l.Plan, l.Node, l.Session, d.Limit}
}

// scanRefused reads what became of a refusal: it stands where as many places do.
func scanRefused(row pgx.Row, d *store.LeaseDecision, c *store.ConfirmedLease) error {
	var full bool
	err := scanHome(row, &c.Home, &full)
	c.Kept, c.Left = full && c.Home.Has(d), nil
	return err
}

// leftLease reads the place that the session of a decision has as another user.
func leftLease(rows pgx.Rows) (left []store.HeldLease, err error) {
	var is bool
	var l store.HeldLease
	_, err = pgx.ForEachRow(rows, []any{&is, &l.User, &l.Node, &l.Session, &l.At}, func() error {
		if is {
			left = append(left, l)
		}
		return nil
	})
	return left, err
}

// confirmGranted keeps a place that was given, and takes it from those who made room for it. Gone are all who did, and who expired.
func (s *Store) confirmGranted(b *pgx.Batch, d *store.LeaseDecision, gone *leaseList, c *store.ConfirmedLease) {
	l := &d.Lease
	now := s.Now()
	b.Queue(sqlKeepGranted, d.Part, d.Epoch, d.Number, l.Node, l.Session, l.User, l.Plan, now.Sub(l.Acquired), l.Seq, l.At,
		l.Until.Sub(now), d.Limit, gone.nodes, gone.sessions, s.clock()).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&c.Kept}, func() error { return nil })
		if !c.Kept {
			c.Left = nil
		}
		return err
	})
	b.Queue(sqlWasGiven, d.Part, d.Epoch, d.Number, l.Node, l.Session).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&c.Kept}, func() error { return nil })
		return err
	})
	if len(d.Kicked) == 0 {
		return
	}
	kicked := &leaseList{}
	var by []int64
	for _, k := range d.Kicked {
		kicked.add(k.Node, k.Session)
		by = append(by, k.By)
	}
	b.Queue(sqlKick, d.Part, d.Epoch, d.Number, l.Node, l.Session, kicked.nodes, kicked.sessions, by, l.User, l.Plan, now,
		string(store.ChangeSession)).Query(func(rows pgx.Rows) error {
		var k policy.KickedSession
		_, err := pgx.ForEachRow(rows, []any{&k.Node, &k.Session}, func() error {
			c.Kicked = append(c.Kicked, k)
			return nil
		})
		return err
	})
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

// scanHome reads a home, and what comes with it.
func scanHome(row pgx.Row, home *store.LeaseHome, more ...any) error {
	return row.Scan(append([]any{&home.Part, &home.Epoch, &home.Redis}, more...)...)
}

// leaseList is leases as a statement takes them.
type leaseList struct{ nodes, sessions []string }

func newLeaseList(leases []store.HeldLease) (l leaseList) {
	for i := range leases {
		l.add(leases[i].Node, leases[i].Session)
	}
	return l
}

func (l *leaseList) add(node, session string) {
	l.nodes, l.sessions = append(l.nodes, node), append(l.sessions, session)
}

// and is the list with one more, and leaves the list as it is.
func (l *leaseList) and(node, session string) leaseList {
	return leaseList{append(slices.Clip(l.nodes), node), append(slices.Clip(l.sessions), session)}
}

// AwaitLent waits until whoever is lending parts has told Redis of their places, as it read them.
func (s *Store) AwaitLent(ctx context.Context, parts []int) error {
	return s.read(ctx, "wait for places that are being lent", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, sqlAwaitParts, parts)
		return err
	})
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

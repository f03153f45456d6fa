package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// The columns of sessions, in the order of the table's and of store.SessionRow's.
const (
	sqlSessionColumns = `node, id, instance, state, stream, address, connector, user_id, credential, jwt, reason, plan, tags,
    opened_at, decided_at, ended_at, until_at, duration, bytes_up, bytes_down, connectors, last_end, counted, guessed,
    counts_from`

	sqlSessionLists = `unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::bytea[], $10::text[], $11::text[], $12::text[], $13::text[], $14::timestamptz[], $15::timestamptz[],
    $16::timestamptz[], $17::timestamptz[], $18::bigint[], $19::bigint[], $20::bigint[], $21::text[], $22::timestamptz[],
    $23::bigint[], $24::boolean[], $25::timestamptz[])`

	sqlAddSessions = `
INSERT INTO sessions (` + sqlSessionColumns + `)
SELECT * FROM ` + sqlSessionLists + `
ON CONFLICT (node, id) DO NOTHING
RETURNING node, id`

	sqlLockSessions = `
SELECT ` + sqlSessionColumns + ` FROM sessions
WHERE (node, id) IN (SELECT * FROM unnest($1::text[], $2::text[]))
ORDER BY node, id
FOR UPDATE`

	sqlUpdateSessions = `
UPDATE sessions AS s
SET (` + sqlSessionColumns + `) = ROW(n.*)
FROM ` + sqlSessionLists + ` AS n (` + sqlSessionColumns + `)
WHERE s.node = n.node AND s.id = n.id`

	sqlAddUsage = `
INSERT INTO usage AS u (user_id, month, seconds)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::bigint[]) AS n (user_id, month, seconds)
ON CONFLICT (user_id, month) DO UPDATE SET seconds = u.seconds + excluded.seconds`

	// The last statement of its transaction, as from here to the commit every writer of facts waits ([Store.record]).
	sqlTellRecounted = `
WITH counter AS (
    UPDATE change_counter SET number = number + cardinality($2::text[])
    RETURNING number - cardinality($2::text[]) AS before
)
INSERT INTO changes (number, at, kind, subject)
SELECT counter.before + new.ord, $1, $3, new.subject
FROM counter, unnest($2::text[]) WITH ORDINALITY AS new (subject, ord)`

	sqlSession = `SELECT ` + sqlSessionColumns + ` FROM sessions WHERE node = $1 AND id = $2`

	// Planned anew each time: which index serves depends on which of the filters are set.
	sqlSessions = `
SELECT ` + sqlSessionColumns + ` FROM sessions
WHERE (node, id) > ($1, $2) AND ($3 = '' OR user_id = $3) AND ($4 = '' OR stream = $4) AND ($5 = '' OR node = $5)
    AND ($6 = '' OR state = $6)
ORDER BY node, id
LIMIT $7`

	// A part for each index that serves. In no order, so that it can begin at once.
	sqlHeldSessions = `
SELECT ` + sqlSessionColumns + ` FROM sessions WHERE state = 'open' AND node = $1
UNION ALL
SELECT ` + sqlSessionColumns + ` FROM sessions WHERE state = 'denied' AND decided_at > $2 AND node = $1`

	// A denied session has no end: it is over once it was decided about long ago.
	sqlPruneEnded = `
WITH dropped AS (
    DELETE FROM sessions
    WHERE (node, id) IN (
        SELECT node, id FROM sessions WHERE state = 'ended' AND ended_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT count(*) FROM dropped`

	sqlPruneDenials = `
WITH dropped AS (
    DELETE FROM sessions
    WHERE (node, id) IN (
        SELECT node, id FROM sessions WHERE state = 'denied' AND decided_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT count(*) FROM dropped`
)

// WriteSessions stores what became of sessions, in the order in which it happened, all or nothing. A session that was
// first decided about keeps that moment until it ends. What was watched is counted for the user, each month (UTC) its part, if
// it was watched under a plan: once, however often and in whatever order the end is told, and where an estimated end was
// counted before MistServer's own word came, as that says. The end of a life before the one that runs is counted, and does
// not end it. A session that ended or was denied gives up its place under a plan's limit, unless it asked for it again since.
//
// Where a user's quota can depend on it ([policy.Session.Metered]), each user whose usage or running sessions changed has an
// entry of the kind [store.ChangeUser] in the change feed, in the same transaction: one for the batch.
func (s *Store) WriteSessions(ctx context.Context, sessions []policy.Session) error {
	_, err := s.WriteSessionsEnding(ctx, sessions)
	return err
}

// WriteSessionsEnding is [Store.WriteSessions], and returns the places that were given up: of each its user, node, session, and
// when it was asked for last.
func (s *Store) WriteSessionsEnding(ctx context.Context, sessions []policy.Session) (ended []store.HeldLease, err error) {
	if len(sessions) == 0 {
		return nil, nil
	}
	batch := store.NewSessionBatch(sessions, s.Now())
	// Everyone takes rows in the same order, so that no two writers wait for each other.
	slices.SortFunc(batch.Keys, func(a, b store.SessionKey) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.ID, b.ID))
	})
	err = s.writeWithin(ctx, "write sessions", longTimeout, func(ctx context.Context, tx pgx.Tx) (err error) {
		w := &sessionWrite{batch: batch, usage: map[store.Usage]int64{}, placeless: map[store.SessionKey]time.Time{}}
		if err := w.run(ctx, tx); err != nil {
			return err
		}
		if err := addUsage(ctx, tx, w.usage); err != nil {
			return err
		}
		if ended, err = endLeases(ctx, tx, w.placeless); err != nil {
			return err
		}
		return s.tellRecounted(ctx, tx, w.recounted.Users())
	})
	if err != nil {
		return nil, err
	}
	return ended, nil
}

// tellRecounted writes to the change feed whose usage or running sessions changed.
func (s *Store) tellRecounted(ctx context.Context, tx pgx.Tx, users []string) error {
	if len(users) == 0 {
		return nil
	}
	b := &batch{}
	b.exec(sqlTellRecounted, s.Now(), users, string(store.ChangeUser))
	b.exec(sqlNotify)
	return b.send(ctx, tx)
}

// sessionWrite is one attempt to write a batch, and what it comes to.
type sessionWrite struct {
	batch     *store.SessionBatch
	usage     map[store.Usage]int64 // by user and month
	placeless map[store.SessionKey]time.Time
	recounted store.Recounted
}

func (w *sessionWrite) became(k store.SessionKey, f *store.Folded) {
	for _, u := range f.Watched {
		w.usage[store.Usage{User: u.User, Month: u.Month}] += u.Seconds
	}
	if !f.Placeless.IsZero() {
		w.placeless[k] = f.Placeless
	}
	w.recounted.Add(f)
}

// run adds those that are new, then folds the others into what is stored: at most three round trips.
func (w *sessionWrite) run(ctx context.Context, tx pgx.Tx) error {
	fresh := make(map[store.SessionKey]store.Folded, len(w.batch.Keys))
	var rows sessionLists
	for _, k := range w.batch.Keys {
		f := w.batch.Fold(k, nil)
		fresh[k] = f
		rows.add(f.Row)
	}
	added, err := tx.Query(ctx, sqlAddSessions, rows.args()...)
	if err != nil {
		return err
	}
	var k store.SessionKey
	_, err = pgx.ForEachRow(added, []any{&k.Node, &k.ID}, func() error {
		f := fresh[k]
		w.became(k, &f)
		delete(fresh, k)
		return nil
	})
	if err != nil || len(fresh) == 0 {
		return err
	}
	return w.update(ctx, tx, slices.Collect(maps.Keys(fresh)))
}

// update folds a batch into the rows that stood already.
func (w *sessionWrite) update(ctx context.Context, tx pgx.Tx, stood []store.SessionKey) error {
	var nodes, ids []string
	for _, k := range stood {
		nodes, ids = append(nodes, k.Node), append(ids, k.ID)
	}
	old, err := sessionRows(tx.Query(ctx, sqlLockSessions, nodes, ids))
	if err != nil {
		return err
	}
	if len(old) < len(stood) {
		return errPrunedMeanwhile
	}
	var rows sessionLists
	for _, o := range old {
		k := store.SessionKey{Node: o.Node, ID: o.ID}
		f := w.batch.Fold(k, &o)
		w.became(k, &f)
		if f.Changed {
			rows.add(f.Row)
		}
	}
	if len(rows.nodes) == 0 {
		return nil
	}
	_, err = tx.Exec(ctx, sqlUpdateSessions, rows.args()...)
	return err
}

// errPrunedMeanwhile: a row stood and was then dropped. The next attempt adds it.
var errPrunedMeanwhile = fmt.Errorf("sessions were pruned meanwhile: %w", errRace)

func endLeases(ctx context.Context, tx pgx.Tx, ends map[store.SessionKey]time.Time) ([]store.HeldLease, error) {
	if len(ends) == 0 {
		return nil, nil
	}
	var nodes, ids []string
	var at []time.Time
	for k, ended := range ends {
		nodes, ids, at = append(nodes, k.Node), append(ids, k.ID), append(at, ended)
	}
	return endedLeases(tx.Query(ctx, sqlEndLeases, nodes, ids, at))
}

func addUsage(ctx context.Context, tx pgx.Tx, usage map[store.Usage]int64) error {
	list := make([]store.Usage, 0, len(usage))
	for u, seconds := range usage {
		if seconds == 0 {
			continue // a guess that was right
		}
		u.Seconds = seconds
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b store.Usage) int {
		return cmp.Or(strings.Compare(a.User, b.User), a.Month.Compare(b.Month))
	})
	if len(list) == 0 {
		return nil
	}
	var users []string
	var months []time.Time
	var seconds []int64
	for _, u := range list {
		users, months, seconds = append(users, u.User), append(months, u.Month), append(seconds, u.Seconds)
	}
	_, err := tx.Exec(ctx, sqlAddUsage, users, months, seconds)
	return err
}

// Session reads a session. [store.ErrNotFound] when it is not stored.
func (s *Store) Session(ctx context.Context, node, id string) (policy.Session, error) {
	k := store.CleanKey(store.SessionKey{Node: node, ID: id})
	var r store.SessionRow
	err := s.read(ctx, "read a session", func(ctx context.Context) error {
		return noSession(s.pool.QueryRow(ctx, sqlSession, k.Node, k.ID).Scan(r.Columns()...), node, id)
	})
	if err != nil {
		return policy.Session{}, err
	}
	found, err := r.Session()
	return found.Session, err
}

// Sessions are the stored sessions that a filter picks, ordered by node and id.
func (s *Store) Sessions(ctx context.Context, f store.SessionFilter) ([]policy.Session, error) {
	f = f.Clean()
	var list []policy.Session
	err := s.try(ctx, "list sessions", longTimeout, true, func(ctx context.Context) error {
		rows, err := sessionRows(s.pool.Query(ctx, sqlSessions, pgx.QueryExecModeExec, f.After.Node, f.After.ID, f.User,
			f.Stream, f.Node, string(f.State), f.Limit))
		list = make([]policy.Session, len(rows))
		for i := range rows {
			list[i] = rows[i].Session
		}
		return err
	})
	return list, err
}

// HeldSessions calls tell with every session of a node that is open, and every one that was denied since a moment, in no
// order. The session is tell's to keep; its lists are shared and must not be changed. An error of tell ends the reading and is
// returned as it is. After any other, whoever tries again is told of the same sessions again. It takes 30 s at most, tell's
// own time included.
func (s *Store) HeldSessions(ctx context.Context, node string, deniedSince time.Time, tell func(policy.Session) error) error {
	node = store.CleanKey(store.SessionKey{Node: node}).Node
	var theirs error
	told := false
	err := s.try(ctx, "read the sessions of a node", longTimeout, true, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sqlHeldSessions, node, deniedSince)
		if err != nil {
			return err
		}
		var r store.SessionRow
		_, err = pgx.ForEachRow(rows, r.Columns(), func() error {
			found, err := r.Session()
			if err != nil {
				return err
			}
			told = true
			theirs = tell(found.Session)
			return theirs
		})
		if err != nil && told {
			return &toldError{err} // again would tell of the same sessions again
		}
		return err
	})
	if theirs != nil {
		return theirs
	}
	return err
}

// EndSession asks whoever holds a session's node to end it: an entry of the kind [store.ChangeSessionEnd] in the change
// feed, and one in the audit. The session as it is stored stays. [store.ErrNotFound] when it is not stored.
func (s *Store) EndSession(ctx context.Context, node, id string) error {
	if err := store.CheckSessionID(id); err != nil {
		return err
	}
	k := store.CleanKey(store.SessionKey{Node: node, ID: id})
	return s.write(ctx, "ask for the end of a session", func(ctx context.Context, tx pgx.Tx) error {
		var r store.SessionRow
		if err := tx.QueryRow(ctx, sqlSession, k.Node, k.ID).Scan(r.Columns()...); err != nil {
			return noSession(err, node, id)
		}
		found, err := r.Session()
		if err != nil {
			return err
		}
		return s.record(ctx, tx, store.SessionEndAsked(found.Session))
	})
}

// noSession turns "there is no such row" into [store.ErrNotFound].
func noSession(err error, node, id string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("session %q of node %q: %w", id, node, store.ErrNotFound)
	}
	return err
}

// PruneSessions drops the sessions that ended before a moment, and says how many.
func (s *Store) PruneSessions(ctx context.Context, endedBefore time.Time) (int64, error) {
	return s.prune(ctx, "prune sessions", sqlPruneEnded, endedBefore)
}

// PruneDenials drops the denied sessions that were decided about before a moment, and says how many.
func (s *Store) PruneDenials(ctx context.Context, decidedBefore time.Time) (int64, error) {
	return s.prune(ctx, "prune denials", sqlPruneDenials, decidedBefore)
}

func sessionRows(rows pgx.Rows, err error) ([]store.StoredSession, error) {
	if err != nil {
		return nil, err
	}
	var list []store.StoredSession
	var r store.SessionRow
	_, err = pgx.ForEachRow(rows, r.Columns(), func() error {
		s, err := r.Session()
		list = append(list, s)
		return err
	})
	return list, err
}

// sessionLists are sessions as parameters: a list for each column.
type sessionLists struct {
	nodes, ids, instances, states, streams, addresses, connectors, users, claims, reasons, plans, tags, used []string

	credentials                             [][]byte
	opened, decided, ended, until, lastEnds []*time.Time
	durations, bytesUp, bytesDown, counted  []int64
	guessed                                 []bool
	countsFrom                              []*time.Time
}

func (l *sessionLists) add(s store.StoredSession) {
	l.nodes, l.ids, l.instances = append(l.nodes, s.Node), append(l.ids, s.ID), append(l.instances, s.Instance)
	l.states, l.streams = append(l.states, string(s.State)), append(l.streams, s.Stream)
	l.addresses = append(l.addresses, store.AddressText(s.Address))
	l.connectors, l.users = append(l.connectors, s.Connector), append(l.users, s.User)
	l.credentials, l.claims = append(l.credentials, store.HashBytes(s.Credential)), append(l.claims, store.EncodeClaims(s.JWT))
	l.reasons, l.plans = append(l.reasons, s.Reason.String()), append(l.plans, s.Plan)
	l.tags, l.used = append(l.tags, store.EncodeList(s.Tags)), append(l.used, store.EncodeList(s.Connectors))
	l.opened, l.decided = append(l.opened, stamp(s.Opened)), append(l.decided, stamp(s.Decided))
	l.ended, l.until = append(l.ended, stamp(s.Ended)), append(l.until, stamp(s.Until))
	l.lastEnds, l.counted = append(l.lastEnds, stamp(s.LastEnd)), append(l.counted, s.Counted.Microseconds())
	l.guessed, l.countsFrom = append(l.guessed, s.Guessed), append(l.countsFrom, stamp(s.CountsFrom))
	l.durations = append(l.durations, s.Duration.Microseconds())
	l.bytesUp, l.bytesDown = append(l.bytesUp, s.BytesUp), append(l.bytesDown, s.BytesDown)
}

// args are the lists in the order of sqlSessionColumns.
func (l *sessionLists) args() []any {
	return []any{l.nodes, l.ids, l.instances, l.states, l.streams, l.addresses, l.connectors, l.users, l.credentials,
		l.claims, l.reasons, l.plans, l.tags, l.opened, l.decided, l.ended, l.until, l.durations, l.bytesUp, l.bytesDown,
		l.used, l.lastEnds, l.counted, l.guessed, l.countsFrom}
}

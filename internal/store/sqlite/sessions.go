package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// The columns of sessions, in the order of the table's and of store.SessionRow's.
const (
	sqlSessionColumns = `node, id, instance, state, stream, address, connector, user_id, credential, jwt, reason, plan, tags,
    opened_at, decided_at, ended_at, until_at, duration, bytes_up, bytes_down, connectors, last_end, counted, guessed,
    counts_from`

	sqlSession = `SELECT ` + sqlSessionColumns + ` FROM sessions WHERE node = ?1 AND id = ?2`

	sqlPutSession = `
INSERT INTO sessions (` + sqlSessionColumns + `)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
    ?24, ?25)
ON CONFLICT (node, id) DO UPDATE
SET instance = ?3, state = ?4, stream = ?5, address = ?6, connector = ?7, user_id = ?8, credential = ?9, jwt = ?10,
    reason = ?11, plan = ?12, tags = ?13, opened_at = ?14, decided_at = ?15, ended_at = ?16, until_at = ?17, duration = ?18,
    bytes_up = ?19, bytes_down = ?20, connectors = ?21, last_end = ?22, counted = ?23, guessed = ?24, counts_from = ?25`

	sqlAddUsage = `
INSERT INTO usage AS u (user_id, month, seconds) VALUES (?1, ?2, ?3)
ON CONFLICT (user_id, month) DO UPDATE SET seconds = u.seconds + excluded.seconds`

	// One statement for each index that can serve; what is left of the filter is tested on the rows.
	sqlSessionsAfter = `SELECT ` + sqlSessionColumns + ` FROM sessions WHERE (node, id) > (?1, ?2)`
	sqlSessionsPage  = ` AND (?3 = '' OR user_id = ?3) AND (?4 = '' OR stream = ?4) AND (?5 = '' OR node = ?5)
    AND (?6 = '' OR state = ?6) ORDER BY node, id LIMIT ?7`
	sqlSessions         = sqlSessionsAfter + sqlSessionsPage
	sqlSessionsOfUser   = sqlSessionsAfter + ` AND user_id <> '' AND user_id = ?3` + sqlSessionsPage
	sqlSessionsOfStream = sqlSessionsAfter + ` AND stream = ?4` + sqlSessionsPage
	sqlSessionsOfNode   = sqlSessionsAfter + ` AND node = ?5` + sqlSessionsPage

	// A part for each index that serves.
	sqlHeldSessions = `
SELECT ` + sqlSessionColumns + ` FROM sessions WHERE state = 'open' AND node = ?1
UNION ALL
SELECT ` + sqlSessionColumns + ` FROM sessions WHERE state = 'denied' AND decided_at > ?2 AND node = ?1`

	// A denied session has no end: it is over once it was decided about long ago.
	sqlPruneEnded = `
DELETE FROM sessions
WHERE rowid IN (SELECT rowid FROM sessions WHERE state = 'ended' AND ended_at < ?1 LIMIT ?2)`
	sqlPruneDenials = `
DELETE FROM sessions
WHERE rowid IN (SELECT rowid FROM sessions WHERE state = 'denied' AND decided_at < ?1 LIMIT ?2)`
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
	if len(sessions) == 0 {
		return nil
	}
	batch := store.NewSessionBatch(sessions, s.Now())
	return s.jot(ctx, "write sessions", longTimeout, func(t *tx) error {
		var recounted store.Recounted
		for _, k := range batch.Keys {
			if err := t.writeSession(batch, k, &recounted); err != nil {
				return err
			}
		}
		return t.appendChanges(recounted.Changes()...)
	})
}

func (t *tx) writeSession(batch *store.SessionBatch, k store.SessionKey, recounted *store.Recounted) error {
	var old *store.StoredSession
	var r store.SessionRow
	switch err := t.queryRow(sqlSession, []any{k.Node, k.ID}, r.Columns()...); {
	case err == nil:
		found, err := r.Session()
		if err != nil {
			return err
		}
		old = &found
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	f := batch.Fold(k, old)
	if !f.Placeless.IsZero() {
		if _, err := t.exec(sqlEndLease, k.Node, k.ID, micros(f.Placeless)); err != nil {
			return err
		}
	}
	if !f.Changed {
		return nil
	}
	recounted.Add(&f)
	for _, u := range f.Watched {
		if _, err := t.exec(sqlAddUsage, u.User, micros(u.Month), u.Seconds); err != nil {
			return err
		}
	}
	_, err := t.exec(sqlPutSession, sessionArgs(f.Row)...)
	return err
}

// sessionArgs are a session's columns, in the order of sqlSessionColumns.
func sessionArgs(s store.StoredSession) []any {
	return []any{s.Node, s.ID, s.Instance, string(s.State), s.Stream, store.AddressText(s.Address), s.Connector, s.User,
		store.HashBytes(s.Credential), store.EncodeClaims(s.JWT), s.Reason.String(), s.Plan, store.EncodeList(s.Tags),
		micros(s.Opened), micros(s.Decided), micros(s.Ended), micros(s.Until), s.Duration.Microseconds(), s.BytesUp,
		s.BytesDown, store.EncodeList(s.Connectors), micros(s.LastEnd), s.Counted.Microseconds(), s.Guessed,
		micros(s.CountsFrom)}
}

// Session reads a session. [store.ErrNotFound] when it is not stored.
func (s *Store) Session(ctx context.Context, node, id string) (policy.Session, error) {
	k := store.CleanKey(store.SessionKey{Node: node, ID: id})
	var r store.SessionRow
	err := s.read(ctx, "read a session", func(ctx context.Context) error {
		return noSession(s.queryRow(ctx, sqlSession, []any{k.Node, k.ID}, r.Columns()...), node, id)
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
	text := sqlSessions
	switch {
	case f.User != "":
		text = sqlSessionsOfUser
	case f.Stream != "":
		text = sqlSessionsOfStream
	case f.Node != "":
		text = sqlSessionsOfNode
	}
	var list []policy.Session
	err := within(ctx, "list sessions", longTimeout, func(ctx context.Context) error {
		var r store.SessionRow
		rows, err := s.query(ctx, text, f.After.Node, f.After.ID, f.User, f.Stream, f.Node, string(f.State), f.Limit)
		return each(rows, err, r.Columns(), func() error {
			found, err := r.Session()
			list = append(list, found.Session)
			return err
		})
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
	err := within(ctx, "read the sessions of a node", longTimeout, func(ctx context.Context) error {
		var r store.SessionRow
		rows, err := s.query(ctx, sqlHeldSessions, node, deniedSince.UnixMicro())
		return each(rows, err, r.Columns(), func() error {
			found, err := r.Session()
			if err != nil {
				return err
			}
			theirs = tell(found.Session)
			return theirs
		})
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
	return s.write(ctx, "ask for the end of a session", func(t *tx) error {
		var r store.SessionRow
		if err := t.queryRow(sqlSession, []any{k.Node, k.ID}, r.Columns()...); err != nil {
			return noSession(err, node, id)
		}
		found, err := r.Session()
		if err != nil {
			return err
		}
		return t.record(store.SessionEndAsked(found.Session))
	})
}

// noSession turns "there is no such row" into [store.ErrNotFound].
func noSession(err error, node, id string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("session %q of node %q: %w", id, node, store.ErrNotFound)
	}
	return err
}

// PruneSessions drops the sessions that ended before a moment, and says how many.
func (s *Store) PruneSessions(ctx context.Context, endedBefore time.Time) (int64, error) {
	return s.prune(ctx, "prune sessions", func(t *tx) (int64, error) {
		return t.changed(sqlPruneEnded, micros(endedBefore), pruneBatch)
	})
}

// PruneDenials drops the denied sessions that were decided about before a moment, and says how many.
func (s *Store) PruneDenials(ctx context.Context, decidedBefore time.Time) (int64, error) {
	return s.prune(ctx, "prune denials", func(t *tx) (int64, error) {
		return t.changed(sqlPruneDenials, micros(decidedBefore), pruneBatch)
	})
}

package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"authhook/internal/store"
)

const (
	// One statement, so that the counter's row is locked for as short as can be: from here to the commit. The audit's entry
	// has the number of the last of the change feed's.
	sqlRecord = `
WITH counter AS (
    UPDATE change_counter SET number = number + cardinality($2::text[])
    RETURNING number AS last, number - cardinality($2::text[]) AS before
), noted AS (
    INSERT INTO audit (number, at, actor, action, subject, detail)
    SELECT counter.last, $1, $4, $5, $6, $7::json FROM counter
)
INSERT INTO changes (number, at, kind, subject)
SELECT counter.before + new.ord, $1, new.kind, new.subject
FROM counter, unnest($2::text[], $3::text[]) WITH ORDINALITY AS new (kind, subject, ord)`

	// Planned anew each time: which index serves depends on which of the filters are set.
	sqlAudit = `
SELECT number, at, actor, action, subject, detail::text FROM audit
WHERE number < $1 AND ($2 = '' OR actor = $2) AND ($3 = '' OR subject = $3)
ORDER BY number DESC
LIMIT $4`

	sqlPruneAudit = `
WITH dropped AS (
    DELETE FROM audit
    WHERE number IN (SELECT number FROM audit WHERE at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING 1
)
SELECT count(*) FROM dropped`
)

// record writes what a change leaves behind: its entries in the change feed, and one in the audit; whoever listens is told.
// It comes last in a transaction: from here to the commit every other writer of facts waits, which is what makes the numbers
// follow the order of the commits.
func (s *Store) record(ctx context.Context, tx pgx.Tx, r store.Record) error {
	b := &batch{}
	b.exec(sqlRecord, s.recordArgs(ctx, r)...)
	b.exec(sqlNotify)
	return b.send(ctx, tx)
}

func (s *Store) recordArgs(ctx context.Context, r store.Record) []any {
	kinds, subjects := make([]string, len(r.Changes)), make([]string, len(r.Changes))
	for i, c := range r.Changes {
		kinds[i], subjects[i] = string(c.Kind), c.Subject
	}
	return []any{s.Now(), kinds, subjects, store.ActorOf(ctx), string(r.Action), r.Subject, r.Detail}
}

// Audit is who changed what, newest first.
func (s *Store) Audit(ctx context.Context, f store.AuditFilter) ([]store.AuditEntry, error) {
	f = f.Clean()
	args := []any{pgx.QueryExecModeExec, f.Before, f.Actor, f.Subject, f.Limit}
	return page(ctx, s, "read the audit", sqlAudit, args, (*store.AuditRow).Entry)
}

// PruneAudit drops the entries of the audit from before a moment and says how many.
func (s *Store) PruneAudit(ctx context.Context, before time.Time) (int64, error) {
	return s.prune(ctx, "prune the audit", sqlPruneAudit, before)
}

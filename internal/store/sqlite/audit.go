package sqlite

import (
	"context"
	"time"

	"authhook/internal/store"
)

const (
	sqlAppendAudit = `
INSERT INTO audit (number, at, actor, action, subject, detail) SELECT number, ?1, ?2, ?3, ?4, ?5 FROM change_counter`

	// One statement for each index that can serve; what is left of the filter is tested on the rows.
	sqlAuditBefore    = `SELECT number, at, actor, action, subject, detail FROM audit WHERE number < ?1`
	sqlAuditPage      = ` AND (?2 = '' OR actor = ?2) AND (?3 = '' OR subject = ?3) ORDER BY number DESC LIMIT ?4`
	sqlAudit          = sqlAuditBefore + sqlAuditPage
	sqlAuditOfActor   = sqlAuditBefore + ` AND actor = ?2` + sqlAuditPage
	sqlAuditOfSubject = sqlAuditBefore + ` AND subject = ?3` + sqlAuditPage

	sqlPruneAudit = `DELETE FROM audit WHERE number IN (SELECT number FROM audit WHERE at < ?1 LIMIT ?2)`
)

// record writes what a change leaves behind: its entries in the change feed, and one in the audit, which has the number of
// the last of these.
func (t *tx) record(r store.Record) error {
	if err := t.appendChanges(r.Changes...); err != nil {
		return err
	}
	_, err := t.exec(sqlAppendAudit, micros(t.store.Now()), store.ActorOf(t.ctx), string(r.Action), r.Subject, r.Detail)
	return err
}

// Audit is who changed what, newest first.
func (s *Store) Audit(ctx context.Context, f store.AuditFilter) ([]store.AuditEntry, error) {
	f = f.Clean()
	text := sqlAudit
	switch {
	case f.Subject != "":
		text = sqlAuditOfSubject
	case f.Actor != "":
		text = sqlAuditOfActor
	}
	return page(ctx, s, "read the audit", text, []any{f.Before, f.Actor, f.Subject, f.Limit}, (*store.AuditRow).Entry)
}

// PruneAudit drops the entries of the audit from before a moment and says how many.
func (s *Store) PruneAudit(ctx context.Context, before time.Time) (int64, error) {
	return s.prune(ctx, "prune the audit", func(t *tx) (int64, error) {
		return t.changed(sqlPruneAudit, micros(before), pruneBatch)
	})
}

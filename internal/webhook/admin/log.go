package admin

import (
	"context"
	"errors"
	"strconv"

	"authhook/internal/store"
)

func (h handlers) ListChanges(ctx context.Context, r ListChangesRequestObject) (ListChangesResponseObject, error) {
	if r.Params.After == nil {
		last, err := h.store.LastChange(ctx)
		return ListChanges200JSONResponse{Items: []Change{}, Last: last}, err
	}
	limit := limitOf(r.Params.Limit)
	stored, err := h.store.Changes(ctx, *r.Params.After, limit)
	if errors.Is(err, store.ErrFeedGap) {
		last, err := h.store.LastChange(ctx)
		if err != nil {
			return nil, err
		}
		return nil, &goneError{last}
	}
	if err != nil {
		return nil, err
	}
	last := *r.Params.After
	if len(stored) > 0 {
		last = stored[len(stored)-1].Number
	}
	items, _ := page(stored, limit, changeOf, nowhere)
	return ListChanges200JSONResponse{Items: items, Last: last}, nil
}

func changeOf(c *store.Change) Change {
	return Change{Number: c.Number, At: c.At, Kind: string(c.Kind), Subject: c.Subject}
}

func (h handlers) ListAudit(ctx context.Context, r ListAuditRequestObject) (ListAuditResponseObject, error) {
	const list = "audit"
	before, err := readCursor(list, r.Params.Cursor, 1)
	if err != nil {
		return nil, err
	}
	f := store.AuditFilter{Actor: r.Params.Actor, Subject: r.Params.Subject, Limit: limitOf(r.Params.Limit)}
	if before[0] != "" {
		if f.Before, err = strconv.ParseInt(before[0], 10, 64); err != nil || f.Before < 1 {
			return nil, invalid("cursor", cursorForm)
		}
	}
	stored, err := h.store.Audit(ctx, f)
	if err != nil {
		return nil, err
	}
	items, next := page(stored, f.Limit, auditOf, func(e *store.AuditEntry) string {
		return cursorAfter(list, strconv.FormatInt(e.Number, 10))
	})
	return ListAudit200JSONResponse{Items: items, Next: next}, nil
}

func auditOf(e *store.AuditEntry) AuditEntry {
	return AuditEntry{Number: e.Number, At: e.At, Actor: e.Actor, Action: string(e.Action), Subject: e.Subject, Detail: e.Detail}
}

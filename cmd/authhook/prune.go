package main

import (
	"context"
	"log/slog"
	"time"
)

// pruner drops what no decision needs any more.
type pruner interface {
	PruneSessions(ctx context.Context, endedBefore time.Time) (int64, error)
	PruneDenials(ctx context.Context, decidedBefore time.Time) (int64, error)
	PruneChanges(ctx context.Context, before time.Time) (int64, error)
	PrunePreviews(ctx context.Context, beganBefore time.Time) (int64, error)
	PruneLeases(ctx context.Context, expiredBefore time.Time) (int64, error)
	PruneAudit(ctx context.Context, before time.Time) (int64, error)
}

const (
	pruneEvery = 10 * time.Minute
	// keepChanges is how long a replica may be cut off and still catch up entry by entry.
	keepChanges = 24 * time.Hour
	// keepDenials is how long a denied session is kept. MistServer remembers a denial for 600 s, and anybody can make as
	// many as he likes.
	keepDenials = time.Hour
	// keepLeases is how long an expired place stays to be looked at.
	keepLeases = time.Hour
	// keepAudit is how long it can be asked who changed what.
	keepAudit = 400 * 24 * time.Hour
)

// keepPruned prunes every ten minutes. What fails is tried again with the next.
func keepPruned(ctx context.Context, p pruner, keepSessions time.Duration, longestPreview func() time.Duration, log *slog.Logger) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		prune(ctx, p, time.Now(), keepSessions, longestPreview(), log)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func prune(ctx context.Context, p pruner, now time.Time, keepSessions, longestPreview time.Duration, log *slog.Logger) {
	for _, kind := range []struct {
		name  string
		prune func(context.Context, time.Time) (int64, error)
		keep  time.Duration
	}{
		{"sessions", p.PruneSessions, keepSessions},
		{"denials", p.PruneDenials, keepDenials},
		{"changes", p.PruneChanges, keepChanges},
		{"previews", p.PrunePreviews, longestPreview},
		{"leases", p.PruneLeases, keepLeases},
		{"audit", p.PruneAudit, keepAudit},
	} {
		switch n, err := kind.prune(ctx, now.Add(-kind.keep)); {
		case err != nil && ctx.Err() == nil:
			log.Warn("old entries not dropped, will try again", "kind", kind.name, "error", err)
		case n > 0:
			log.Info("old entries dropped", "kind", kind.name, "number", n)
		}
	}
}

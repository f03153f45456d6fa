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
	PruneEventBodies(ctx context.Context, receivedBefore time.Time) (int64, error)
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
	// shortestKeepEvents is how long the body of a billing event is kept at least: as long as Stripe shows its own.
	shortestKeepEvents = 30 * 24 * time.Hour
)

// keptFor is how long things are kept that are a setting.
type keptFor struct {
	sessions, events time.Duration
	previews         func() time.Duration
}

// keepPruned prunes every ten minutes. What fails is tried again with the next.
func keepPruned(ctx context.Context, p pruner, keep keptFor, log *slog.Logger) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		prune(ctx, p, time.Now(), keep, log)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func prune(ctx context.Context, p pruner, now time.Time, keep keptFor, log *slog.Logger) {
	for _, kind := range []struct {
		name  string
		prune func(context.Context, time.Time) (int64, error)
		keep  time.Duration
	}{
		{"sessions", p.PruneSessions, keep.sessions},
		{"denials", p.PruneDenials, keepDenials},
		{"changes", p.PruneChanges, keepChanges},
		{"previews", p.PrunePreviews, keep.previews()},
		{"leases", p.PruneLeases, keepLeases},
		{"audit", p.PruneAudit, keepAudit},
		{"bodies of billing events", p.PruneEventBodies, keep.events},
	} {
		switch n, err := kind.prune(ctx, now.Add(-kind.keep)); {
		case err != nil && ctx.Err() == nil:
			log.Warn("old entries not dropped, will try again", "kind", kind.name, "error", err)
		case n > 0:
			log.Info("old entries dropped", "kind", kind.name, "number", n)
		}
	}
}

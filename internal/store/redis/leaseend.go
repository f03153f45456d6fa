package redis

import (
	"context"
	"maps"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// WriteSessions writes what became of sessions to the book. The places that they gave up are free in Redis too, right after:
// where that cannot be said there, their parts come home.
func (l *Leases) WriteSessions(ctx context.Context, sessions []policy.Session) error {
	ended, err := l.WriteSessionsEnding(ctx, sessions)
	if err != nil || len(ended) == 0 {
		return err
	}
	l.giveUp(ctx, ended)
	return nil
}

// leave gives up what a session held as another user, up to when it asked for the place that it has now. Also when its asker has gone.
func (l *Leases) leave(ctx context.Context, left []store.HeldLease, asked time.Time) {
	if len(left) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*beginTimeout)
	defer cancel()
	for i := range left {
		if asked.After(left[i].At) {
			left[i].At = asked
		}
	}
	l.giveUp(ctx, left)
}

// giveUp has places be free in Redis that are free in the database. Where that cannot be said there, their parts come home; where
// neither can be, a place stays taken until it expires.
func (l *Leases) giveUp(ctx context.Context, ended []store.HeldLease) {
	byPart := map[int][]any{}
	for _, e := range ended {
		part := store.LeasePart(e.User)
		byPart[part] = append(byPart[part], leaseField(e.User), e.Node, e.Session, e.At.UnixMicro())
	}
	parts := slices.Collect(maps.Keys(byPart))
	if err := l.AwaitLent(ctx, parts); err != nil {
		_ = l.KeepLeases(ctx, parts)
		return
	}
	pipeline := l.server.client.Pipeline()
	asked := make(map[int]*goredis.Cmd, len(byPart))
	for part, args := range byPart {
		asked[part] = endScript.Eval(ctx, pipeline, []string{leaseKey(part)}, args...)
	}
	_ = l.server.callWithin(ctx, beginTimeout, func(ctx context.Context) error { // each says it for its own part
		_, err := pipeline.Exec(ctx)
		return err
	})
	var unsaid []int
	for part, command := range asked {
		if _, err := command.Int(); err != nil {
			unsaid = append(unsaid, part)
		}
	}
	_ = l.KeepLeases(ctx, unsaid)
}

// PruneLeases drops the places that expired before a moment, wherever they were given out, and says how many. Redis drops those that
// expired [LeaseOptions.KeepExpired] ago already: in the database, they would stand again once their part comes home. No decision
// depends on it.
func (l *Leases) PruneLeases(ctx context.Context, expiredBefore time.Time) (int64, error) {
	dropped, err := l.Book.PruneLeases(ctx, expiredBefore)
	if err != nil {
		return dropped, err
	}
	homes, err := l.LeaseHomes(ctx)
	if err != nil {
		return dropped, err
	}
	expired := min(l.expired, l.now().Sub(expiredBefore))
	for home := range slices.Values(homes) {
		if !home.Redis {
			continue
		}
		reply, err := l.run(ctx, beginTimeout, expiredScript, home.Part, expired.Microseconds(), l.clock())
		if err != nil {
			continue // the next time
		}
		d, err := readExpired(reply, home.Part)
		if err != nil || len(d.Expired) == 0 {
			continue
		}
		if _, err := l.ConfirmLease(ctx, d); err != nil {
			return dropped, err
		}
		dropped += int64(len(d.Expired))
	}
	return dropped, nil
}

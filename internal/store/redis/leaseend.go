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
	byPart := map[int][]any{}
	for _, e := range ended {
		part := store.LeasePart(e.User)
		byPart[part] = append(byPart[part], leaseField(e.User), e.Node, e.Session, e.At.UnixMicro())
	}
	parts := slices.Collect(maps.Keys(byPart))
	if err := l.AwaitLent(ctx, parts); err != nil {
		// What was to be written is written. That a place stays taken until it expires is not worth writing it again.
		_ = l.KeepLeases(ctx, parts)
		return nil
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
	_ = l.KeepLeases(ctx, unsaid) // as above
	return nil
}

// sooner is by how much later than others places may have expired in Redis to be dropped.
const sooner = 59 * time.Minute

// PruneLeases drops the places that expired before a moment, wherever they were given out, and says how many. No decision depends
// on it.
func (l *Leases) PruneLeases(ctx context.Context, expiredBefore time.Time) (int64, error) {
	dropped, err := l.Book.PruneLeases(ctx, expiredBefore)
	if err != nil {
		return dropped, err
	}
	homes, err := l.LeaseHomes(ctx)
	if err != nil {
		return dropped, err
	}
	for home := range slices.Values(homes) {
		if !home.Redis {
			continue
		}
		// Sooner than in the database, where they would stand again once the part comes home.
		reply, err := l.run(ctx, beginTimeout, expiredScript, home.Part, expiredBefore.Add(sooner).UnixMicro())
		r, _ := reply.([]any)
		if err != nil || len(r) != 3 {
			continue // the next time
		}
		d := store.LeaseDecision{Part: home.Part}
		var isEpoch, isNumber, isList bool
		d.Epoch, isEpoch = r[0].(int64)
		d.Number, isNumber = r[1].(int64)
		d.Expired, isList = readSessions(r[2])
		if !isEpoch || !isNumber || !isList || len(d.Expired) == 0 {
			continue
		}
		if _, _, _, err := l.ConfirmLease(ctx, &d); err != nil {
			return dropped, err
		}
		dropped += int64(len(d.Expired))
	}
	return dropped, nil
}

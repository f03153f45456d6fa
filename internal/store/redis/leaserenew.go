package redis

import (
	"context"
	"slices"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// RenewLeases sets until when the places of a node's sessions are held, and returns the sessions that have none, in their order.
// Those of parts that Redis has are renewed there alone. Where that fails, their parts come home to the database: elsewhere they
// would be taken for places that nobody renews.
func (l *Leases) RenewLeases(ctx context.Context, node string, places []policy.Place, until time.Time) ([]string, error) {
	if len(places) == 0 {
		return nil, nil
	}
	stands := until.Sub(l.now())
	homes, err := l.LeaseHomes(ctx)
	if err != nil {
		l.renewBlindly(context.WithoutCancel(ctx), node, places, stands)
		return nil, err
	}
	l.homes.Store(&homes)
	r := &renewal{l: l, node: node, stands: stands, lost: map[string]bool{}}
	byPart := map[int][]policy.Place{}
	for _, p := range places {
		if part := store.LeasePart(p.User); homes[part].Redis {
			byPart[part] = append(byPart[part], p)
		} else {
			r.here = append(r.here, p)
		}
	}
	missing := r.there(ctx, byPart, func(part int) int64 { return homes[part].Epoch })
	if again := r.begin(ctx, missing); len(again) > 0 {
		r.home(r.there(ctx, again, func(part int) int64 { return r.epochs[part] }))
	}
	if err := l.KeepLeases(ctx, r.parts); err != nil {
		return nil, err
	}
	lost, err := l.Book.RenewLeases(ctx, node, r.here, until)
	if err != nil {
		return nil, err
	}
	for _, session := range lost {
		r.lost[session] = true
	}
	if len(r.lost) == 0 {
		return nil, nil
	}
	return slices.DeleteFunc(policy.SessionsOf(places), func(s string) bool { return !r.lost[s] }), nil
}

// renewBlindly renews places in Redis by what was last known of their homes, while the database does not answer: that nobody can
// confirm a place meanwhile is no reason to lose one.
func (l *Leases) renewBlindly(ctx context.Context, node string, places []policy.Place, stands time.Duration) {
	homes := l.homes.Load()
	if homes == nil {
		return
	}
	byPart := map[int][]policy.Place{}
	for _, p := range places {
		if part := store.LeasePart(p.User); (*homes)[part].Redis {
			byPart[part] = append(byPart[part], p)
		}
	}
	r := &renewal{l: l, node: node, stands: stands, lost: map[string]bool{}}
	r.there(ctx, byPart, func(part int) int64 { return (*homes)[part].Epoch })
}

// renewal is one renewing of the places of a node.
type renewal struct {
	l      *Leases
	node   string
	stands time.Duration // for how long the places are to stand
	lost   map[string]bool
	here   []policy.Place // those that the database renews
	parts  []int          // those that come home for it
	epochs map[int]int64  // those that began meanwhile
}

// there renews places in Redis, and returns those whose part is not there in its epoch. Where Redis does not answer, the parts
// come home.
func (r *renewal) there(ctx context.Context, byPart map[int][]policy.Place, epoch func(part int) int64) (missing map[int][]policy.Place) {
	missing = map[int][]policy.Place{}
	if len(byPart) == 0 {
		return missing
	}
	asked := make(map[int]*goredis.Cmd, len(byPart))
	_ = r.l.server.callWithin(ctx, beginTimeout, func(ctx context.Context) error { // each says it for its own part
		err := r.ask(ctx, asked, byPart, epoch, renewScript.EvalSha)
		if unknown := withoutScript(asked, byPart); len(unknown) > 0 {
			err = r.ask(ctx, asked, unknown, epoch, renewScript.Eval)
		}
		return err
	})
	for part, places := range byPart {
		if asked[part] == nil { // nothing is asked of it
			r.home(map[int][]policy.Place{part: places})
			continue
		}
		reply, each := asked[part].Result()
		e, lost, ok := pair[[]any](reply)
		switch {
		case each != nil || !ok:
			r.home(map[int][]policy.Place{part: places})
		case e != epoch(part):
			missing[part] = places
		default:
			for _, number := range lost {
				if n, ok := number.(int64); ok && n >= 1 && int(n) <= len(places) {
					r.lost[places[n-1].Session] = true
				}
			}
		}
	}
	return missing
}

// ask has Redis renew places, all in one go. Its command for each part is in asked.
func (r *renewal) ask(ctx context.Context, asked map[int]*goredis.Cmd, byPart map[int][]policy.Place, epoch func(part int) int64,
	eval func(context.Context, goredis.Scripter, []string, ...any) *goredis.Cmd,
) error {
	pipeline := r.l.server.client.Pipeline()
	for part, places := range byPart {
		args := []any{epoch(part), r.stands.Microseconds(), r.l.clock(), r.node}
		for _, p := range places {
			args = append(args, leaseField(p.User), p.Session)
		}
		asked[part] = eval(ctx, pipeline, []string{leaseKey(part)}, args...)
	}
	_, err := pipeline.Exec(ctx)
	return err
}

// withoutScript are those of parts whose server does not know the script: it was started anew, or told to forget all of them.
func withoutScript(asked map[int]*goredis.Cmd, byPart map[int][]policy.Place) map[int][]policy.Place {
	unknown := map[int][]policy.Place{}
	for part, command := range asked {
		if goredis.HasErrorPrefix(command.Err(), "NOSCRIPT") {
			unknown[part] = byPart[part]
		}
	}
	return unknown
}

// begin begins new epochs of parts that Redis lacks, and returns those where it did.
func (r *renewal) begin(ctx context.Context, missing map[int][]policy.Place) (again map[int][]policy.Place) {
	again, r.epochs = map[int][]policy.Place{}, map[int]int64{}
	var all sync.WaitGroup
	for part := range missing {
		all.Go(func() { _ = r.l.begin(ctx, part) }) // what came of it shows below
	}
	all.Wait()
	for part, places := range missing {
		if epoch := r.l.epochs[part].Load(); epoch == 0 || r.l.stays(part) {
			r.home(map[int][]policy.Place{part: places})
		} else {
			again[part], r.epochs[part] = places, epoch
		}
	}
	return again
}

// home has the database renew places, whose parts come home.
func (r *renewal) home(byPart map[int][]policy.Place) {
	for part, places := range byPart {
		r.parts, r.here = append(r.parts, part), append(r.here, places...)
	}
}

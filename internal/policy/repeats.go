package policy

import (
	"context"
	"sync"
	"time"
)

// repeats answers the same event alike: MistServer asks up to five times about one event, while the first question may
// still be being decided. It is an exact, bounded memory of the last events.
//
// Two generations stand in for a clock on every entry: when the young one is full or old enough it becomes the old one,
// and what was old is forgotten.
type repeats struct {
	keep   time.Duration // an event is remembered for at least this long, unless there are too many
	shards [16]repeatShard
}

type repeatShard struct {
	mu         sync.Mutex
	young, old map[EventID]*repeat
	turned     time.Time
}

// repeat is one event's decision, being made or made.
type repeat struct {
	made     chan struct{} // closed when decision is there
	decision Decision
}

// maxRepeats is how many events one generation of one shard remembers.
const maxRepeats = 4096

// once is the decision about an event: made by decide when this is its first asker, else what that one got. The second
// result says that it was asked before. A decision that is being made does not end with its first asker; every asker
// waits for it under its own context, and has no answer when that ends first.
func (s *repeats) once(ctx context.Context, id EventID, now time.Time, decide func() Decision) (Decision, bool, error) {
	shard := &s.shards[id.Digest%uint64(len(s.shards))]
	shard.mu.Lock()
	r, asked := shard.find(id)
	if !asked {
		r = &repeat{made: make(chan struct{})}
		shard.remember(id, r, now, s.keep)
	}
	shard.mu.Unlock()

	if asked {
		select {
		case <-r.made:
			return r.decision, true, nil
		case <-ctx.Done():
			return Decision{}, true, ctx.Err()
		}
	}
	defer close(r.made)
	r.decision = Decision{Reason: Unavailable} // what others see should decide panic
	r.decision = decide()
	return r.decision, false, nil
}

func (s *repeatShard) find(id EventID) (*repeat, bool) {
	if r, ok := s.young[id]; ok {
		return r, true
	}
	r, ok := s.old[id]
	return r, ok
}

func (s *repeatShard) remember(id EventID, r *repeat, now time.Time, keep time.Duration) {
	if s.young == nil || len(s.young) >= maxRepeats || now.Sub(s.turned) >= keep {
		s.old, s.young, s.turned = s.young, make(map[EventID]*repeat), now
	}
	s.young[id] = r
}

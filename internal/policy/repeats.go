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
	shard    *repeatShard
	isMade   bool
	decision Decision      // once it is made
	made     chan struct{} // closed then; there is one when somebody waits
}

// maxRepeats is how many events one generation of one shard remembers.
const maxRepeats = 4096

// begin is the memory of an event: a new one, for its first asker to decide and to end with done, or the one that there
// is, for others to wait for.
func (s *repeats) begin(id EventID, now time.Time) (r *repeat, asked bool) {
	shard := &s.shards[id.Digest%uint64(len(s.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	r, asked = shard.find(id)
	if !asked {
		r = &repeat{shard: shard, decision: Decision{Reason: Unavailable}}
		shard.remember(id, r, now, s.keep)
	}
	return r, asked
}

// done makes the decision known to everybody who waits for it. Should deciding have panicked, that is [Unavailable].
func (r *repeat) done() {
	r.shard.mu.Lock()
	defer r.shard.mu.Unlock()
	r.isMade = true
	if r.made != nil {
		close(r.made)
	}
}

// wait is the decision that the first asker got, once it is made. It has none when the context ends first.
func (r *repeat) wait(ctx context.Context) (Decision, error) {
	r.shard.mu.Lock()
	if !r.isMade && r.made == nil {
		r.made = make(chan struct{})
	}
	isMade, made := r.isMade, r.made
	r.shard.mu.Unlock()
	if !isMade {
		select {
		case <-made:
		case <-ctx.Done():
			return Decision{}, ctx.Err()
		}
	}
	return r.decision, nil
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
		s.old, s.young, s.turned = s.young, make(map[EventID]*repeat, len(s.young)), now
	}
	s.young[id] = r
}

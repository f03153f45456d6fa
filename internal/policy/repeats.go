package policy

import (
	"context"
	"slices"
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
	making     []making // what is being decided: few at a time
	young, old remembered
	turned     time.Time
	spare      []*repeat // for events to come
}

// making is an event that is being decided about.
type making struct {
	id EventID
	r  *repeat
}

// repeat is one event's decision, being made or made.
type repeat struct {
	id       EventID
	asked    time.Time
	keep     time.Duration
	shard    *repeatShard
	decision Decision      // once it is made
	made     chan struct{} // closed then; nil while nobody waits, and for a decision that is remembered
}

const (
	// maxRepeats is how many events one generation of one shard remembers.
	maxRepeats = 4096
	// maxSpare is how many entries one shard keeps for events to come.
	maxSpare = 16
)

// begin is the memory of an event: a new one, for its first asker to decide and to end with done, or the one that there
// is, for others to wait for.
func (s *repeats) begin(id EventID, now time.Time) (r *repeat, asked bool) {
	shard := &s.shards[id.Digest%uint64(len(s.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	for i := range shard.making {
		if m := &shard.making[i]; m.id == id {
			if m.r.made == nil {
				m.r.made = make(chan struct{})
			}
			return m.r, true
		}
	}
	if m := shard.remembering(id); m != nil {
		r = new(repeat)
		m.get(id, &r.decision)
		return r, true
	}
	r = shard.unused()
	*r = repeat{id: id, asked: now, keep: s.keep, shard: shard, decision: Decision{Reason: Unavailable}}
	shard.making = append(shard.making, making{id, r})
	return r, false
}

// done makes the decision known to everybody who waits for it, and has it remembered. Should deciding have panicked, that is
// [Unavailable]. After it the first asker has no business with r any more.
func (r *repeat) done() {
	s := r.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.making) - 1
	i := slices.IndexFunc(s.making, func(m making) bool { return m.r == r })
	s.making[i] = s.making[last]
	s.making[last] = making{}
	s.making = s.making[:last]
	s.remember(r)
	switch {
	case r.made != nil:
		close(r.made)
	case len(s.spare) < maxSpare: // nobody else has it
		r.decision = Decision{} // which holds on to what was presented
		s.spare = append(s.spare, r)
	}
}

// wait is the decision that the first asker got, once it is made. It has none when the context ends first.
func (r *repeat) wait(ctx context.Context) (Decision, error) {
	if r.made != nil {
		select {
		case <-r.made:
		case <-ctx.Done():
			return Decision{}, ctx.Err()
		}
	}
	return r.decision, nil
}

// remember takes a decision into the young generation, which grows old first when it is full or old enough.
func (s *repeatShard) remember(r *repeat) {
	if len(s.young.ids) >= maxRepeats || r.asked.Sub(s.turned) >= r.keep {
		s.young, s.old = s.old, s.young
		s.turned = r.asked
		s.young.forget(len(s.old.ids))
	}
	s.young.put(r.id, &r.decision)
}

// remembering is the generation that remembers an event; nil when none does.
func (s *repeatShard) remembering(id EventID) *remembered {
	switch {
	case s.young.has(id):
		return &s.young
	case s.old.has(id):
		return &s.old
	}
	return nil
}

// unused is an entry for a new event.
func (s *repeatShard) unused() *repeat {
	last := len(s.spare) - 1
	if last < 0 {
		return new(repeat)
	}
	r := s.spare[last]
	s.spare = s.spare[:last]
	return r
}

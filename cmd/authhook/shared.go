package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"

	"authhook/internal/enforce"
	"authhook/internal/store"
	"authhook/internal/store/redis"
)

// shared is what this service shares with others over one Redis: the facts that they read, when previews began, word of changes,
// and the places under plans' limits. All of it only saves time.
type shared struct {
	client   goredis.UniversalClient
	facts    *redis.Facts
	previews *redis.Previews
	hint     *redis.Hint
	leases   *redis.Leases // nil where the database is one machine's own
}

// newShared prepares the way to a Redis, for a database as decisions ask it. It does not wait for a connection. CaughtUp is when the
// change feed was last read to its end.
func newShared(url string, db gated, caughtUp func() time.Time, metrics prometheus.Registerer, log *slog.Logger) (*shared, error) {
	client, err := redis.Open(url)
	if err != nil {
		return nil, wrongSetting("--redis-url: %s", err)
	}
	m := redis.NewMetrics()
	s := &shared{
		client: client,
		facts:  redis.NewFacts(db, client, redis.Options{CaughtUp: caughtUp, Metrics: m, Log: log}),
		hint:   redis.NewHint(client, redis.HintOptions{Metrics: m, Log: log}),
	}
	s.previews = redis.NewPreviews(db, s.facts)
	if book, ok := db.book(); ok {
		s.leases = redis.NewLeases(book, client, redis.LeaseOptions{Metrics: m, Log: log})
	}
	m.Register(metrics)
	return s, nil
}

// sessions is where the enforcer keeps sessions and their places.
func (s *shared) sessions(db database) enforce.Store {
	if s != nil && s.leases != nil {
		return s.leases
	}
	return db
}

// pruner is what drops what no decision needs any more.
func (s *shared) pruner(db database) pruner {
	if s != nil && s.leases != nil {
		return prunedPlaces{db, s.leases}
	}
	return db
}

// prunedPlaces is a database some of whose places are known to Redis alone.
type prunedPlaces struct {
	pruner
	leases *redis.Leases
}

// PruneLeases implements pruner.
func (p prunedPlaces) PruneLeases(ctx context.Context, expiredBefore time.Time) (int64, error) {
	return p.leases.PruneLeases(ctx, expiredBefore)
}

// changed takes in entries of the change feed. It goes before anything else that drops facts for them: a fact that is dropped
// is looked for here next.
func (s *shared) changed(changes []store.Change) {
	if s != nil {
		s.facts.Changed(changes...)
	}
}

// lostTrack says that entries of the change feed may have been missed. It goes first as well.
func (s *shared) lostTrack() {
	if s != nil {
		s.facts.DropAll()
	}
}

// tell says to the others that there are entries up to these.
func (s *shared) tell(ctx context.Context, changes []store.Change) {
	if s != nil && len(changes) > 0 {
		s.hint.Publish(ctx, changes[len(changes)-1].Number)
	}
}

func (s *shared) close() error {
	if s == nil {
		return nil
	}
	s.facts.Close()
	s.hint.Close()
	if s.leases != nil {
		s.leases.Close()
	}
	return s.client.Close()
}

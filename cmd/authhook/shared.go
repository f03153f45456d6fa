package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/redis"
)

// shared is what this service shares with others over one Redis: the facts that they read, when previews began, and word of
// changes. All of it only saves time.
type shared struct {
	client   goredis.UniversalClient
	facts    *redis.Facts
	previews *redis.Previews
	hint     *redis.Hint
}

// sharable is a database whose facts and previews can be shared.
type sharable interface {
	redis.Source
	policy.Previews
}

// newShared prepares the way to a Redis. It does not connect. CaughtUp is when the change feed was last read to its end.
func newShared(url string, next sharable, caughtUp func() time.Time, metrics prometheus.Registerer, log *slog.Logger) (*shared, error) {
	client, err := redis.Open(url)
	if err != nil {
		return nil, wrongSetting("--redis-url: %s", err)
	}
	m := redis.NewMetrics()
	s := &shared{
		client: client,
		facts:  redis.NewFacts(next, client, redis.Options{CaughtUp: caughtUp, Metrics: m, Log: log}),
		hint:   redis.NewHint(client, redis.HintOptions{Metrics: m, Log: log}),
	}
	s.previews = redis.NewPreviews(next, s.facts)
	m.Register(metrics)
	return s, nil
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
	return s.client.Close()
}

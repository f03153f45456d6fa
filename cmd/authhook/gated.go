package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/gate"
	"authhook/internal/store/redis"
)

// gated is the database as decisions ask it, with gates before it: so far as these have a method it is theirs, being less
// deep, and all else is the database's own.
type gated struct {
	*gate.Decisions
	whole
}

type whole struct{ database }

func newGated(db database, metrics prometheus.Registerer, log *slog.Logger) gated {
	m := gate.NewMetrics()
	g := gated{gate.New(db, gate.Options{Metrics: m, Log: log}), whole{db}}
	m.Register(metrics)
	return g
}

// book is the same for a database that keeps what Redis decides about places, where it is one.
func (g gated) book() (redis.Book, bool) {
	book, ok := g.database.(redis.Book)
	return gatedBook{g.Decisions, wholeBook{book}}, ok
}

type gatedBook struct {
	*gate.Decisions
	wholeBook
}

type wholeBook struct{ redis.Book }

// ConfirmLease implements redis.Book.
func (b gatedBook) ConfirmLease(ctx context.Context, d *store.LeaseDecision) (home store.LeaseHome, kept bool, kicked []policy.KickedSession, err error) {
	err = b.Writing(ctx, func(ctx context.Context) (err error) {
		home, kept, kicked, err = b.Book.ConfirmLease(ctx, d)
		return err
	})
	return home, kept, kicked, err
}

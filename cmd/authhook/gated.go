package main

import (
	"cmp"
	"context"
	"log/slog"
	"time"

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

// AcquireLeaseLeaving implements redis.Book.
func (b gatedBook) AcquireLeaseLeaving(ctx context.Context, l policy.Lease, limit int, onLimit policy.OnLimit) (granted bool,
	kicked []policy.KickedSession, left []store.HeldLease, err error) {
	err = b.Writing(ctx, func(ctx context.Context) (err error) {
		granted, kicked, left, err = b.Book.AcquireLeaseLeaving(ctx, l, limit, onLimit)
		return err
	})
	return granted, kicked, left, err
}

// ConfirmLease implements redis.Book.
func (b gatedBook) ConfirmLease(ctx context.Context, d *store.LeaseDecision) (is store.ConfirmedLease, err error) {
	err = b.Writing(ctx, func(ctx context.Context) (err error) {
		is, err = b.Book.ConfirmLease(ctx, d)
		return err
	})
	return is, err
}

// LeaseHome implements redis.Book.
func (b gatedBook) LeaseHome(ctx context.Context, part int) (home store.LeaseHome, err error) {
	err = b.Reading(ctx, func(ctx context.Context) (err error) {
		home, err = b.Book.LeaseHome(ctx, part)
		return err
	})
	return home, err
}

// LeaseHomes implements redis.Book.
func (b gatedBook) LeaseHomes(ctx context.Context) (homes []store.LeaseHome, err error) {
	err = b.Reading(ctx, func(ctx context.Context) (err error) {
		homes, err = b.Book.LeaseHomes(ctx)
		return err
	})
	return homes, err
}

// LendLeases implements redis.Book. That Redis fails in it says nothing about the database, which has answered by then.
func (b gatedBook) LendLeases(ctx context.Context, part int, away time.Duration, is func(context.Context) (int64, error),
	begin func(context.Context, int64, []store.HeldLease) error) (lent bool, err error) {
	asked := b.Writing(ctx, func(ctx context.Context) error {
		var redisFailed bool
		lent, err = b.Book.LendLeases(ctx, part, away, func(ctx context.Context) (epoch int64, err error) {
			epoch, err = is(ctx)
			redisFailed = err != nil
			return epoch, err
		}, func(ctx context.Context, epoch int64, held []store.HeldLease) error {
			err := begin(ctx, epoch, held)
			redisFailed = err != nil
			return err
		})
		if redisFailed {
			return nil
		}
		return err
	})
	return lent, cmp.Or(asked, err)
}

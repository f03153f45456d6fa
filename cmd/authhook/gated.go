package main

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"authhook/internal/store/gate"
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

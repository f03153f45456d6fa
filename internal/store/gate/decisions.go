package gate

import (
	"context"
	"time"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// Database is what decisions ask a database for.
type Database interface {
	policy.Source
	policy.Leases
	policy.Previews
	// FactsByCredentialAsOf and FactsByUserAsOf read facts with the last entry of the change feed at that moment.
	FactsByCredentialAsOf(ctx context.Context, hash policy.CredentialHash) (*policy.Credential, *policy.UserFacts, store.Change, error)
	FactsByUserAsOf(ctx context.Context, user string) (*policy.UserFacts, store.Change, error)
	// RenewLeases keeps the places of a node's sessions until a moment, and returns the sessions that have none.
	RenewLeases(ctx context.Context, node string, places []policy.Place, until time.Time) (lost []string, err error)
}

// Decisions is a database as decisions ask it. Its errors are the database's, and [store.ErrUnavailable] where that is not
// asked. Its methods may be called by many at once.
type Decisions struct {
	next          Database
	reads, writes *gate
}

var _ Database = (*Decisions)(nil)

// New puts gates before a database. It is closed by its owner.
func New(next Database, o Options) *Decisions {
	o = o.withDefaults()
	d := &Decisions{next: next, reads: newGate(reads, &o), writes: newGate(writes, &o)}
	o.Metrics.watch(d.reads)
	o.Metrics.watch(d.writes)
	return d
}

// FactsByCredential implements [policy.Source].
func (d *Decisions) FactsByCredential(ctx context.Context, hash policy.CredentialHash) (c *policy.Credential, u *policy.UserFacts, err error) {
	err = d.reads.do(ctx, func(ctx context.Context) (err error) {
		c, u, err = d.next.FactsByCredential(ctx, hash)
		return err
	})
	return c, u, err
}

// FactsByUser implements [policy.Source].
func (d *Decisions) FactsByUser(ctx context.Context, user string) (u *policy.UserFacts, err error) {
	err = d.reads.do(ctx, func(ctx context.Context) (err error) {
		u, err = d.next.FactsByUser(ctx, user)
		return err
	})
	return u, err
}

// FactsByCredentialAsOf is FactsByCredential with the moment as of which it read.
func (d *Decisions) FactsByCredentialAsOf(ctx context.Context, hash policy.CredentialHash) (c *policy.Credential, u *policy.UserFacts,
	last store.Change, err error) {
	err = d.reads.do(ctx, func(ctx context.Context) (err error) {
		c, u, last, err = d.next.FactsByCredentialAsOf(ctx, hash)
		return err
	})
	return c, u, last, err
}

// FactsByUserAsOf is FactsByUser with the moment as of which it read.
func (d *Decisions) FactsByUserAsOf(ctx context.Context, user string) (u *policy.UserFacts, last store.Change, err error) {
	err = d.reads.do(ctx, func(ctx context.Context) (err error) {
		u, last, err = d.next.FactsByUserAsOf(ctx, user)
		return err
	})
	return u, last, err
}

// AcquireLease implements [policy.Leases].
func (d *Decisions) AcquireLease(ctx context.Context, l policy.Lease, limit int, onLimit policy.OnLimit) (granted bool,
	kicked []policy.KickedSession, err error) {
	err = d.writes.do(ctx, func(ctx context.Context) (err error) {
		granted, kicked, err = d.next.AcquireLease(ctx, l, limit, onLimit)
		return err
	})
	return granted, kicked, err
}

// CountLeases implements [policy.Leases].
func (d *Decisions) CountLeases(ctx context.Context, user, plan, exceptNode, exceptSession string, at time.Time) (n int, err error) {
	err = d.reads.do(ctx, func(ctx context.Context) (err error) {
		n, err = d.next.CountLeases(ctx, user, plan, exceptNode, exceptSession, at)
		return err
	})
	return n, err
}

// RenewLeases keeps places. It is refused neither for those who crowd for new ones, nor for what became of others' calls: places
// that are held expire without it.
func (d *Decisions) RenewLeases(ctx context.Context, node string, places []policy.Place, until time.Time) (lost []string, err error) {
	err = d.writes.must(ctx, func(ctx context.Context) (err error) {
		lost, err = d.next.RenewLeases(ctx, node, places, until)
		return err
	})
	return lost, err
}

// StartPreview implements [policy.Previews].
func (d *Decisions) StartPreview(ctx context.Context, viewer, match string, now time.Time, every time.Duration) (began time.Time, err error) {
	err = d.writes.do(ctx, func(ctx context.Context) (err error) {
		began, err = d.next.StartPreview(ctx, viewer, match, now, every)
		return err
	})
	return began, err
}

// Preview implements [policy.Previews].
func (d *Decisions) Preview(ctx context.Context, viewer, match string, now time.Time, every time.Duration) (began time.Time, err error) {
	err = d.reads.do(ctx, func(ctx context.Context) (err error) {
		began, err = d.next.Preview(ctx, viewer, match, now, every)
		return err
	})
	return began, err
}

// Reading asks the database for what else a decision waits for, and writes nothing.
func (d *Decisions) Reading(ctx context.Context, ask func(context.Context) error) error {
	return d.reads.do(ctx, ask)
}

// Writing asks the database for what else a decision waits for, and writes.
func (d *Decisions) Writing(ctx context.Context, ask func(context.Context) error) error {
	return d.writes.do(ctx, ask)
}

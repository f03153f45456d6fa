package cache

import "sync/atomic"

// Stats are counts since the cache was made, and what it holds now.
type Stats struct {
	// Hits were answered from fresh facts in memory; Stale ones from older facts, because the source was unavailable;
	// Misses waited for a load, or came as one ended. A miss that fails and is answered from older facts counts as both.
	Hits, Stale, Misses uint64
	// Loads are the reads of the source; LoadErrors those that failed, Outdated those that a change overtook.
	Loads, LoadErrors, Outdated uint64
	// Refused are the loads that found no place in time, here or before the database.
	Refused uint64
	// Loading is how many loads are running.
	Loading int
	// Credentials, Users and Absent are how many entries are kept, those outdated by DropAll included until their
	// place is taken.
	Credentials, Users, Absent int
}

type counts struct {
	hits, stale, misses, loads, loadErrors, outdated, refused atomic.Uint64
}

// Stats are the cache's figures, for metrics.
func (c *Cache) Stats() Stats {
	return Stats{
		Hits: c.counts.hits.Load(), Stale: c.counts.stale.Load(), Misses: c.counts.misses.Load(),
		Loads: c.counts.loads.Load(), LoadErrors: c.counts.loadErrors.Load(), Outdated: c.counts.outdated.Load(),
		Refused: c.counts.refused.Load(), Loading: len(c.places),
		Credentials: c.credentials.present.EstimatedSize(), Users: c.users.present.EstimatedSize(),
		Absent: c.credentials.absent.EstimatedSize() + c.users.absent.EstimatedSize(),
	}
}

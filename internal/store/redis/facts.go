package redis

import (
	"context"
	"log/slog"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// Source is a [policy.Source] that says as of when it read: with the facts comes the last entry of the change feed at
// their very moment, zero where there is none.
type Source interface {
	FactsByCredentialAsOf(ctx context.Context, hash policy.CredentialHash) (*policy.Credential, *policy.UserFacts,
		store.Change, error)
	FactsByUserAsOf(ctx context.Context, user string) (*policy.UserFacts, store.Change, error)
	// Changes are the entries of the change feed above a number, as [feed.Reader] has it.
	Changes(ctx context.Context, after int64, limit int) ([]store.Change, error)
}

// Options are the settings of [Facts]. Those left zero have the default named.
type Options struct {
	// CaughtUp is when the follower of the change feed last began a read that reached the feed's end
	// ([feed.Follower.CaughtUp]). Nothing from Redis is used while that is zero or [MaxBehind] ago, nor without it.
	CaughtUp func() time.Time
	// TTL is how long Redis keeps facts, at most: 5 min.
	TTL time.Duration
	// Timeout is how long an asker waits for one call of Redis: 20 ms.
	Timeout time.Duration
	// Now is the clock by which usage belongs to a month: time.Now.
	Now func() time.Time
	// Metrics count what happens: counted nowhere.
	Metrics *Metrics
	// Log gets a line when Redis stops to answer, and when it answers again: discarded.
	Log *slog.Logger
}

const (
	// MaxBehind is for how long facts from Redis are used after the follower last saw the feed's end. So long may facts
	// be wrong that were changed elsewhere, and no longer.
	MaxBehind = 2 * time.Second
	// absentTTL is how long Redis keeps that there is no such credential or user.
	absentTTL = 5 * time.Second

	defaultTTL     = 5 * time.Minute
	defaultTimeout = 20 * time.Millisecond
)

func (o Options) withDefaults() Options {
	orElse(&o.TTL, defaultTTL)
	orElse(&o.Timeout, defaultTimeout)
	if o.CaughtUp == nil {
		o.CaughtUp = func() time.Time { return time.Time{} }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func orElse(v *time.Duration, byDefault time.Duration) {
	if *v <= 0 {
		*v = byDefault
	}
}

// Facts is a [policy.Source] that looks in Redis first for what another reads, and leaves there what that read. Its
// errors are the other's. An ask that begins after [Facts.Changed] or [Facts.DropAll] returned is never answered with
// facts from before the change. Its methods may be called by many at once.
type Facts struct {
	next    Source
	o       Options
	server  *server
	history *history
	writer  *writer
	back    lookBack
}

var _ policy.Source = (*Facts)(nil)

// NewFacts is what next reads, shared through Redis. [Facts.Close] ends it; the client is the caller's to close
// afterwards.
func NewFacts(next Source, client goredis.UniversalClient, o Options) *Facts {
	o = o.withDefaults()
	f := &Facts{
		next: next, o: o, history: newHistory(rememberedChanges),
		server: newServer(client, o.Timeout, o.Metrics, o.Log),
	}
	o.Metrics.watch(f.server)
	f.writer = newWriter(f.server, o)
	f.back.closing, f.back.cancel = context.WithCancel(context.Background()) // no asker's: see lookback.go
	return f
}

// Close waits for what is being written. Afterwards everything is read from next.
func (f *Facts) Close() {
	f.back.close()
	f.writer.close()
	f.server.close()
}

// Changed takes in entries of the change feed, all of them and in their order, from whoever follows it; that some are
// told twice does no harm. It is called before anything above, such as store/cache, is told: what that reads anew must
// not be found here as it was.
func (f *Facts) Changed(changes ...store.Change) {
	for _, c := range changes {
		f.history.append(c)
	}
}

// DropAll has nothing that was written so far be used, until a load has shown where the feed stands: when it is not
// known what changed. Like Changed, it is called before anything above is told.
func (f *Facts) DropAll() { f.history.drop() }

// FactsByCredential implements [policy.Source].
func (f *Facts) FactsByCredential(ctx context.Context, hash policy.CredentialHash) (*policy.Credential, *policy.UserFacts, error) {
	credential, found := f.findCredential(ctx, hash)
	switch {
	case found.verdict != usable:
		return f.loadByCredential(ctx, hash, found)
	case credential == nil:
		return nil, nil, nil
	}
	user, err := f.FactsByUser(ctx, credential.User)
	if err != nil {
		return nil, nil, err
	}
	return credential, user, nil
}

// FactsByUser implements [policy.Source].
func (f *Facts) FactsByUser(ctx context.Context, user string) (*policy.UserFacts, error) {
	facts, found := f.findUser(ctx, user)
	if found.verdict != usable {
		return f.loadByUser(ctx, user, found)
	}
	return facts, nil
}

func (f *Facts) loadByCredential(ctx context.Context, hash policy.CredentialHash, found found) (*policy.Credential,
	*policy.UserFacts, error) {
	l := f.begin()
	credential, user, last, err := f.next.FactsByCredentialAsOf(ctx, hash)
	if err != nil {
		return nil, nil, err
	}
	f.share(l, last, &value{refused: found.header, hash: &hash, credential: credential}, &value{user: user})
	return credential, user, nil
}

func (f *Facts) loadByUser(ctx context.Context, user string, found found) (*policy.UserFacts, error) {
	l := f.begin()
	facts, last, err := f.next.FactsByUserAsOf(ctx, user)
	if err != nil {
		return nil, err
	}
	f.share(l, last, &value{refused: found.header, user: facts})
	return facts, nil
}

// load is a read of the database that has begun.
type load struct {
	reading
	at time.Time
}

func (f *Facts) begin() load { return load{f.history.begin(), time.Now()} }

// share has what a load read written, as of the feed's last entry at the time.
func (f *Facts) share(l load, last store.Change, values ...*value) {
	at := entryAsOf(last)
	if f.history.loaded(l.reading, at) {
		f.lookBackAside()
	}
	for _, v := range values {
		if v.hash == nil && v.user == nil {
			continue // there is no such credential, so its user is nobody
		}
		v.asOf, v.readAt = at, l.at
		f.writer.put(v)
	}
}

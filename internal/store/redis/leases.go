package redis

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"

	"authhook/internal/policy"
	"authhook/internal/store"
)

// How places are given out over Redis, exactly.
//
// One script decides about a place, atomically. But a Redis forgets: it is flushed, evicts, restarts with an old snapshot, a
// replica takes over that lacks the last writes; and some replicas of authhook may reach it while others do not. So the
// database keeps what Redis decides, and its word is the last:
//
//   - Places are in parts, by user ([store.LeasePart]). A row of the database says of each part where its places are given out,
//     there or in Redis, and in which epoch.
//   - What a script decided is confirmed in the database before anybody hears of it (Book.ConfirmLease), in the epoch that the
//     script decided in, and against the places that stand there. In any other epoch, or beside other places, it is void. So the
//     database holds every place that was ever given out and not given up, whatever becomes of Redis, and of who asked it.
//   - Where Redis does not have a part, or another server process has it than the one it was written to, a new epoch begins: the
//     places that stand are read from the database in the transaction that begins it, and written to Redis.
//   - Whoever cannot use Redis gives out places in the database: a new epoch begins there (Book.AcquireLease does that by
//     itself). What others decide in Redis meanwhile is void, and they come to the database too. After [LeaseOptions.Away] the
//     first who finds Redis well takes the part back to it.
//
// What Redis is for is then what is not confirmed: every place is renewed every ten seconds, and that is done in Redis alone. For
// a million sessions that would be 100,000 rows a second in the database. Where the renewals are not known, because a part moved,
// its places stand for [store.LeaseGrace] more: whoever holds one renews it before.

// Book is the database that keeps what is decided about places.
type Book interface {
	policy.Leases
	// AcquireLeaseLeaving is AcquireLease, and returns the place that the session gave up for this one where it was another user's.
	AcquireLeaseLeaving(ctx context.Context, l policy.Lease, limit int, onLimit policy.OnLimit) (granted bool,
		kicked []policy.KickedSession, left []store.HeldLease, err error)
	// HeldSessions is as package enforce has it.
	HeldSessions(ctx context.Context, node string, deniedSince time.Time, each func(policy.Session) error) error
	// RenewLeases is as [Leases.RenewLeases] has it, for places that the database gives out.
	RenewLeases(ctx context.Context, node string, places []policy.Place, until time.Time) (lost []string, err error)
	// WriteSessionsEnding writes what became of sessions, and returns the places that they gave up.
	WriteSessionsEnding(ctx context.Context, sessions []policy.Session) (ended []store.HeldLease, err error)
	// PruneLeases drops the places that expired before a moment, of the parts that the database gives out.
	PruneLeases(ctx context.Context, expiredBefore time.Time) (int64, error)

	// ConfirmLease keeps a decision, if the part's home is Redis in the decision's epoch, and says what became of it.
	ConfirmLease(ctx context.Context, d *store.LeaseDecision) (store.ConfirmedLease, error)
	LeaseHome(ctx context.Context, part int) (store.LeaseHome, error)
	LeaseHomes(ctx context.Context) ([]store.LeaseHome, error)
	// LendLeases begins an epoch in Redis, later than those that were, unless the one that is there is in force, or the part came
	// home less than away ago. KeepLeases begins one in the database, where it has not.
	LendLeases(ctx context.Context, part int, away time.Duration, is func(context.Context) (int64, error),
		begin func(context.Context, int64, []store.HeldLease) error) (lent bool, err error)
	KeepLeases(ctx context.Context, parts []int) error
	// AwaitLent waits for who is beginning an epoch of parts in Redis.
	AwaitLent(ctx context.Context, parts []int) error
}

// LeaseOptions are the settings of [Leases]. Those left zero have the default named.
type LeaseOptions struct {
	// Timeout is how long an asker waits for one call of Redis: 20 ms.
	Timeout time.Duration
	// Away is how long a part stays in the database at least, once it was brought there: 10 s.
	Away time.Duration
	// KeepExpired is how long Redis keeps a place that expired, where whoever prunes would keep it for longer: a minute.
	KeepExpired time.Duration
	// Metrics count what happens: counted nowhere.
	Metrics *Metrics
	// Log gets a line when Redis stops to answer, and when it answers again: discarded.
	Log *slog.Logger
}

const (
	// beginTimeout bounds the writing of a part's places to Redis: there may be thousands.
	beginTimeout = 500 * time.Millisecond
	// beginsAtOnce is how many parts are lent at once: each holds a connection to the database meanwhile.
	beginsAtOnce = 4
	// tries is how often a place is asked for in Redis before the database gives it out.
	tries = 4
)

// Leases gives out places over Redis, as far as Redis is well, and is exact whatever becomes of it. Its errors are the book's, and
// so is all that it does not do itself.
type Leases struct {
	Book
	away      time.Duration
	expired   time.Duration    // how long a place is kept that expired
	now       func() time.Time // this process's clock
	madeUp    bool             // now is also in place of Redis's clock
	server    *server
	metrics   *Metrics
	beginning singleflight.Group
	begins    chan struct{} // holds a token for each part that is being lent
	// epochs are those that were last seen in Redis; 0 where none was.
	epochs [store.LeaseParts]atomic.Int64
	// kept is until when a part is known to stay in the database, in Unix nanoseconds.
	kept [store.LeaseParts]atomic.Int64
	// homes are those that the last renewal found.
	homes atomic.Pointer[[]store.LeaseHome]
}

// NewLeases gives out the places of a book over a Redis, which it looks for at once, aside. [Leases.Close] ends it; the client is
// the caller's to close afterwards.
func NewLeases(book Book, client goredis.UniversalClient, o LeaseOptions) *Leases {
	orElse(&o.Timeout, defaultTimeout)
	orElse(&o.Away, 10*time.Second)
	orElse(&o.KeepExpired, time.Minute)
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Leases{
		Book: book, away: o.Away, expired: o.KeepExpired, now: time.Now,
		begins: make(chan struct{}, beginsAtOnce), metrics: o.Metrics, server: newServer(client, o.Timeout, o.Metrics, o.Log),
	}
	o.Metrics.watch(l.server)
	l.server.lookAside() // the first who want a place would bring its part home otherwise
	return l
}

// Close ends the probe that runs, and waits for what is done aside. Afterwards the database gives out every place.
func (l *Leases) Close() {
	l.server.close()
}

// clock is what scripts take for Redis's clock: "" for its own.
func (l *Leases) clock() any {
	if !l.madeUp {
		return ""
	}
	return l.now().UnixMicro()
}

// AcquireLease implements policy.Leases. A session holds one place: that of another user is given up.
func (l *Leases) AcquireLease(ctx context.Context, lease policy.Lease, limit int, onLimit policy.OnLimit) (bool, []policy.KickedSession, error) {
	if err := store.CheckLease(lease); err != nil {
		return false, nil, err
	}
	if limit <= 0 {
		return true, nil, nil
	}
	part, by := store.LeasePart(lease.User), unanswered
	for n := range tries {
		var d *store.LeaseDecision
		if d, by = l.decide(ctx, part, lease, limit, onLimit); by != placed {
			break
		}
		is, err := l.ConfirmLease(ctx, d)
		if err != nil {
			l.forsake(ctx, part)
			return false, nil, err
		}
		if is.Kept {
			l.metrics.placed(placed)
			l.leave(ctx, is.Left, lease.At)
			return d.Granted, is.Kicked, nil
		}
		l.metrics.placed(void)
		if l.learn(is.Home); is.Home.Has(d) {
			pause(ctx, n) // other places stand in the database than Redis knows of: they may be on their way there
		} else {
			l.epochs[part].CompareAndSwap(d.Epoch, 0) // it is over
		}
		by = atDatabase
	}
	l.metrics.placed(by)
	granted, kicked, left, err := l.AcquireLeaseLeaving(ctx, lease, limit, onLimit)
	if err == nil {
		l.leave(ctx, left, lease.At)
	}
	return granted, kicked, err
}

// pause waits a little, longer each time.
func pause(ctx context.Context, n int) {
	t := time.NewTimer(2 * time.Millisecond << n)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// forsake has a part come home, aside: Redis has decided about a place in it and nobody knows whether the database keeps that.
func (l *Leases) forsake(ctx context.Context, part int) {
	l.learn(store.LeaseHome{Part: part})
	l.server.goAside(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*beginTimeout)
		defer cancel()
		_ = l.KeepLeases(ctx, []int{part}) // while the database is away, nobody can have it confirmed either
	})
}

// decide has Redis decide about a place. Where it cannot, the answer says why, and the database is to.
func (l *Leases) decide(ctx context.Context, part int, lease policy.Lease, limit int, onLimit policy.OnLimit) (*store.LeaseDecision, placing) {
	kick := "0"
	if onLimit == policy.OnLimitKickOldest {
		kick = "1"
	}
	for range tries {
		if l.stays(part) {
			return nil, atDatabase
		}
		epoch := l.epochs[part].Load()
		if epoch == 0 {
			if err := l.begin(ctx, part); err != nil {
				return nil, unanswered
			}
			continue
		}
		now := l.now()
		reply, err := l.run(ctx, l.server.timeout, acquireScript, part, leaseField(lease.User), lease.Plan, lease.Node, lease.Session,
			now.Sub(lease.At).Microseconds(), lease.Until.Sub(now).Microseconds(), limit, kick, epoch, lease.At.UnixMicro(), l.clock())
		if err != nil {
			if !errors.Is(err, errOpen) { // it may have decided all the same
				l.forsake(ctx, part)
			}
			return nil, unanswered
		}
		d, err := readDecision(reply, part, lease, now)
		switch {
		case err != nil:
			l.forsake(ctx, part)
			return nil, unanswered
		case d.Epoch == epoch:
			d.Limit = limit
			return d, placed
		}
		l.epochs[part].Store(d.Epoch)
	}
	return nil, unanswered
}

// stays says whether a part is known to be the database's for now.
func (l *Leases) stays(part int) bool { return time.Now().UnixNano() < l.kept[part].Load() }

// learn takes in where a part's home is.
func (l *Leases) learn(home store.LeaseHome) {
	if !home.Redis {
		l.kept[home.Part].Store(time.Now().Add(l.away).UnixNano())
	}
}

// begin finds out the epoch of a part in Redis, and begins a new one unless the one that is there is in force: once for all who want
// it.
func (l *Leases) begin(ctx context.Context, part int) error {
	done := l.beginning.DoChan(strconv.Itoa(part), func() (any, error) { // which ends with no asker
		if !l.server.mayAside() {
			return nil, errOpen
		}
		defer l.server.aside.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*beginTimeout)
		defer cancel()
		select {
		case l.begins <- struct{}{}:
			defer func() { <-l.begins }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		lent, err := l.LendLeases(ctx, part, l.away, func(ctx context.Context) (int64, error) { return l.epoch(ctx, part) },
			func(ctx context.Context, epoch int64, held []store.HeldLease) error {
				return l.write(ctx, part, epoch, held)
			})
		if err != nil || !lent {
			l.learn(store.LeaseHome{Part: part}) // also where it failed: not each ask is to try it
		}
		return nil, err
	})
	select {
	case is := <-done:
		return is.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// epoch is the epoch of a part in Redis; 0 where it is not there.
func (l *Leases) epoch(ctx context.Context, part int) (int64, error) {
	reply, err := l.run(ctx, l.server.timeout, epochScript, part)
	if err != nil {
		return 0, err
	}
	epoch, ok := reply.(int64)
	if !ok {
		return 0, errReply
	}
	l.epochs[part].Store(epoch)
	return epoch, nil
}

// write begins an epoch of a part in Redis with the places that stand.
func (l *Leases) write(ctx context.Context, part int, epoch int64, held []store.HeldLease) error {
	l.metrics.placed(begun)
	args, now := []any{epoch, l.clock()}, l.now()
	for _, h := range held { // ordered by user
		args = append(args, leaseField(h.User), h.Plan, h.Node, h.Session, now.Sub(h.Acquired).Microseconds(), h.Seq, h.At.UnixMicro(),
			h.Until.Sub(now).Microseconds())
	}
	reply, err := l.run(ctx, beginTimeout, beginScript, part, args...)
	if err == nil && reply != int64(1) {
		err = errReply
	}
	if err == nil {
		l.epochs[part].Store(epoch)
	}
	return err
}

// CountLeases implements policy.Leases.
func (l *Leases) CountLeases(ctx context.Context, user, plan, exceptNode, exceptSession string, at time.Time) (int, error) {
	part := store.LeasePart(user)
	home, err := l.LeaseHome(ctx, part)
	if err != nil {
		return 0, err
	}
	if home.Redis {
		reply, err := l.run(ctx, l.server.timeout, countScript, part, leaseField(user), plan, exceptNode, exceptSession,
			l.now().Sub(at).Microseconds(), l.clock())
		if e, n, ok := pair[int64](reply); err == nil && ok && e == home.Epoch {
			return int(n), nil
		}
	}
	return l.Book.CountLeases(ctx, user, plan, exceptNode, exceptSession, at)
}

// run runs a script on a part.
func (l *Leases) run(ctx context.Context, timeout time.Duration, script *goredis.Script, part int, args ...any) (reply any, err error) {
	err = l.server.callWithin(ctx, timeout, func(ctx context.Context) (err error) {
		reply, err = script.Run(ctx, l.server.client, []string{leaseKey(part)}, args...).Result()
		return err
	})
	return reply, err
}

// leaseKey is the key of a part. What stands in braces is what a cluster places a key by: all of a part is on one server.
func leaseKey(part int) string { return fmt.Sprintf("authhook:{leases:1:%d}", part) }

// leaseField is the field of a user's places in its part.
func leaseField(user string) string {
	h := sha256.New()
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(user))))
	_, _ = h.Write([]byte(user))
	return fmt.Sprintf("u:%x", h.Sum(nil)[:16])
}

// errReply: Redis answered what no script of this version does.
var errReply = errors.New("redis answered in no form that is known")

// readDecision reads what acquireScript answered at a moment. Where that was in another epoch, there is nothing but that epoch.
func readDecision(reply any, part int, asked policy.Lease, at time.Time) (*store.LeaseDecision, error) {
	d := &store.LeaseDecision{Part: part, Lease: store.HeldLease{Lease: asked}}
	r, _ := reply.([]any)
	if len(r) == 1 {
		epoch, ok := r[0].(int64)
		if d.Epoch = epoch; !ok {
			return nil, errReply
		}
		return d, nil
	}
	var granted, held int64
	if len(r) != 7 || !readNumbers(r, &d.Epoch, &d.Number, &granted, &held, &d.Lease.Seq) {
		return nil, errReply
	}
	d.Granted, d.Lease.Acquired = granted == 1, at.Add(-time.Duration(held)*time.Microsecond)
	var okKicked, okExpired bool
	d.Kicked, okKicked = readKicked(r[5])
	d.Expired, okExpired = readSessions(r[6])
	if !okKicked || !okExpired {
		return nil, errReply
	}
	return d, nil
}

// readExpired reads what expiredScript answered. Where the part is not there, there is nothing.
func readExpired(reply any, part int) (*store.LeaseDecision, error) {
	d := &store.LeaseDecision{Part: part}
	r, _ := reply.([]any)
	if len(r) == 1 {
		return d, nil
	}
	if len(r) != 3 || !readNumbers(r, &d.Epoch, &d.Number) {
		return nil, errReply
	}
	var ok bool
	if d.Expired, ok = readSessions(r[2]); !ok {
		return nil, errReply
	}
	return d, nil
}

// readNumbers reads the numbers that a reply begins with.
func readNumbers(reply []any, numbers ...*int64) bool {
	for i, n := range numbers {
		is, ok := reply[i].(int64)
		if !ok {
			return false
		}
		*n = is
	}
	return true
}

// readKicked reads a list of node, session, number.
func readKicked(reply any) (kicked []store.KickedLease, ok bool) {
	list, ok := reply.([]any)
	if !ok || len(list)%3 != 0 {
		return nil, false
	}
	for k := range slices.Chunk(list, 3) {
		node, isNode := k[0].(string)
		session, isSession := k[1].(string)
		by, isNumber := k[2].(int64)
		if !isNode || !isSession || !isNumber {
			return nil, false
		}
		kicked = append(kicked, store.KickedLease{Node: node, Session: session, By: by})
	}
	return kicked, true
}

// readSessions reads a list of node, session.
func readSessions(reply any) (sessions []store.HeldLease, ok bool) {
	list, ok := reply.([]any)
	if !ok || len(list)%2 != 0 {
		return nil, false
	}
	for l := range slices.Chunk(list, 2) {
		node, isNode := l[0].(string)
		session, isSession := l[1].(string)
		if !isNode || !isSession {
			return nil, false
		}
		sessions = append(sessions, store.HeldLease{Lease: policy.Lease{Node: node, Session: session}})
	}
	return sessions, true
}

// pair reads an epoch and what comes with it.
func pair[T any](reply any) (epoch int64, with T, ok bool) {
	r, isList := reply.([]any)
	if !isList || len(r) != 2 {
		return 0, with, false
	}
	epoch, isEpoch := r[0].(int64)
	with, isT := r[1].(T)
	return epoch, with, isEpoch && isT
}

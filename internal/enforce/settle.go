package enforce

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"authhook/internal/mist/api"
	"authhook/internal/policy"
)

// job is a session to be decided about again.
type job struct {
	session *session
	since   time.Time // when what may change the decision happened
}

const (
	// askersAtOnce is how many sessions of a batch are decided about at one time: each may wait for the database.
	askersAtOnce = 16
	// batchesAtOnce is how many batches are under way, so that one that waits for the database holds up no other.
	batchesAtOnce = 8
	// maxBatchOfJobs is how many sessions are looked at between two looks at the queue.
	maxBatchOfJobs = 4096
)

// reconsider has a session decided about again, soon. The caller holds the lock.
func (e *Enforcer) reconsider(s *session, since time.Time) {
	if !s.queued {
		s.queued = true
		e.queue = append(e.queue, job{session: s, since: since})
		e.wakeQueue()
	}
}

// reconsiderPlace has a session decided about again, its place included. The caller holds the lock.
func (e *Enforcer) reconsiderPlace(s *session, since time.Time) {
	s.placed, s.placeDue = 0, true
	e.reconsider(s, since)
}

func (e *Enforcer) wakeQueue() {
	if e.running {
		select {
		case e.queueWoken <- struct{}{}:
		default:
		}
	}
}

// settleQueue settles what waits, batch by batch, until the context ends.
func (e *Enforcer) settleQueue(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	places := make(chan struct{}, batchesAtOnce)
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.queueWoken:
		}
		for {
			e.mu.Lock()
			n := min(len(e.queue), maxBatchOfJobs)
			batch := e.queue[:n:n]
			if e.queue = e.queue[n:]; len(e.queue) == 0 {
				e.queue = nil
			}
			for _, j := range batch {
				j.session.queued = false
			}
			e.mu.Unlock()
			if n == 0 {
				break
			}
			select {
			case <-ctx.Done():
				return
			case places <- struct{}{}:
			}
			running.Go(func() {
				e.settle(ctx, batch)
				<-places
			})
		}
	}
}

// finding is what came of deciding about a session again.
type finding struct {
	session *session
	asked   policy.Session // as it was when the question was put
	number  uint64
	since   time.Time
	verdict policy.Verdict
	err     error
	place   bool  // whether it has its place was in question too
	placed  bool  // a place under the plan's limit was taken for it
	room    *room // a place that it may take, if it is not taken first
}

// settle decides about sessions again and acts on the differences.
func (e *Enforcer) settle(ctx context.Context, batch []job) {
	findings := make([]finding, len(batch))
	e.mu.Lock()
	for i, j := range batch {
		e.number++
		findings[i] = finding{
			session: j.session, asked: j.session.Session, number: e.number, since: j.since, place: j.session.placeDue,
		}
		j.session.placeDue = false
	}
	e.mu.Unlock()
	var next atomic.Int64
	free := &rooms{of: map[placesOf]*room{}}
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(batch) || ctx.Err() != nil {
				return
			}
			e.find(ctx, &findings[i], free)
		}
	}
	if len(batch) == 1 {
		work()
	} else {
		var workers sync.WaitGroup
		for range min(askersAtOnce, len(batch)) {
			workers.Go(work)
		}
		workers.Wait()
	}
	if ctx.Err() == nil {
		e.act(findings, time.Now())
	}
}

// find decides about one session again, with its place under its plan's limit where that is in question.
func (e *Enforcer) find(ctx context.Context, f *finding, free *rooms) {
	if f.asked.State == policy.SessionEnded {
		return
	}
	f.verdict, f.err = e.decider.Reconsider(ctx, &f.asked)
	v := &f.verdict
	if f.err != nil || !v.Allow || v.MaxConcurrent == 0 {
		return
	}
	if f.asked.State == policy.SessionDenied {
		e.findRoom(ctx, f, free)
		return
	}
	lost := f.place || f.asked.Reason == policy.ConcurrencyLimit
	if lost || v.Plan != f.asked.Plan {
		e.takePlace(ctx, f, lost)
	}
}

// takePlace takes a place for a session that runs: under the plan that it has come under, or that it had and lost, and
// then it takes nobody else's.
func (e *Enforcer) takePlace(ctx context.Context, f *finding, lost bool) {
	v, now := &f.verdict, time.Now()
	if f.err = e.makeSure(ctx); f.err != nil {
		return
	}
	onLimit := v.OnLimit
	if lost {
		onLimit = policy.OnLimitReject
	}
	granted, kicked, err := e.store.AcquireLease(ctx, policy.Lease{
		User: v.User, Plan: v.Plan, Node: f.asked.Node, Session: f.asked.ID, At: now, Until: now.Add(e.o.LeaseFor),
	}, v.MaxConcurrent, onLimit)
	if f.err = err; err != nil {
		return
	}
	if !granted {
		v.Allow, v.Reason, v.Tags = false, policy.ConcurrencyLimit, nil
		if lost {
			e.keepOut(f.asked.Node, f.asked.ID)
		}
		return
	}
	f.placed = true
	for _, k := range kicked {
		e.Kick(k)
	}
}

// placesOf are the places of a user under a plan.
type placesOf struct{ user, plan string }

// rooms are the free places that are found while a batch is decided about: each is counted once, and given away once.
type rooms struct {
	mu sync.Mutex
	of map[placesOf]*room
}

type room struct {
	counted sync.Once
	free    int
	err     error
}

func (r *rooms) find(p placesOf) *room {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.of[p]
	if found == nil {
		found = &room{}
		r.of[p] = found
	}
	return found
}

// findRoom says whether a session that was denied would find a place if it asked. One that was denied for want of a place is
// let in only where one is free: it is not to throw out who is there.
func (e *Enforcer) findRoom(ctx context.Context, f *finding, free *rooms) {
	v := &f.verdict
	if v.OnLimit == policy.OnLimitKickOldest && f.asked.Reason != policy.ConcurrencyLimit {
		return
	}
	r := free.find(placesOf{v.User, v.Plan})
	r.counted.Do(func() {
		if r.err = e.makeSure(ctx); r.err != nil {
			return
		}
		var taken int
		taken, r.err = e.store.CountLeases(ctx, v.User, v.Plan, f.asked.Node, f.asked.ID, time.Now())
		r.free = v.MaxConcurrent - taken
	})
	f.room, f.err = r, r.err
}

// takesRoom says whether there still is a place for a session that is to be unlocked, and takes it. The caller holds the lock.
func (e *Enforcer) takesRoom(f *finding) bool {
	coming := 0 // those that were unlocked before and are on their way
	for other := range e.byUser.all(f.session.who()) {
		if other != f.session && other.State == policy.SessionDenied && other.wants() == unlocked {
			coming++
		}
	}
	if f.session.wants() == unlocked {
		return f.room.free > 0
	}
	return f.room.free-coming > 0
}

// act brings sessions to what was found. Where the answers of many sessions of one stream changed, MistServer is told to
// ask about the stream, which is sooner done. It is told once: what else is found of the same change is settled by that, and
// of later ones session by session.
func (e *Enforcer) act(findings []finding, now time.Time) {
	type part struct {
		node   *node
		stream string
	}
	var told []*finding
	ofStream := map[part]int{}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range findings {
		if s := findings[i].session; e.apply(&findings[i]) {
			told = append(told, &findings[i])
			ofStream[part{s.node, s.Stream}]++
		}
	}
	for of, n := range ofStream {
		if n > e.o.ByIDAtMost {
			of.node.invalidate(of.stream, now)
		}
	}
	for _, f := range told {
		s := f.session
		if s.wants() != bounced && s.node.settles(f) {
			e.sent(s, now) // all of them are asked about; by id only those that this does not settle
			s.errand.byStream, s.errand.left = true, momentOf(now)
			s.errand.retry = momentOf(now).add(e.o.RepeatAfter)
			s.errand.tries++
			e.schedule(s)
			continue
		}
		e.command(s, now)
	}
}

// apply takes over what was found of a session, and says whether MistServer is to be told something new. The caller holds
// the lock.
func (e *Enforcer) apply(f *finding) bool {
	s := f.session
	switch {
	case f.err != nil:
		e.metrics.undecided.Inc() // an outage is no verdict: the next sweep asks again
		s.placeDue = s.placeDue || f.place
		return false
	case s.node.sessions[s.ID] != s:
		return false // it is over
	case f.number <= s.number: // something newer is known, but for what it says nothing of
		if f.place {
			e.reconsiderPlace(s, f.since)
		}
		return false
	}
	s.number = f.number
	if f.room != nil && f.verdict.Allow && !e.takesRoom(f) {
		f.verdict.Allow, f.verdict.Reason, f.verdict.Tags = false, policy.ConcurrencyLimit, nil
	}
	was := s.errand
	if s.State == policy.SessionOpen {
		e.applyToOpen(s, f)
	} else {
		e.applyToDenied(s, f)
	}
	e.schedule(s)
	return s.errand != nil && s.errand != was
}

// applyToOpen takes over a verdict about a session that runs.
func (e *Enforcer) applyToOpen(s *session, f *finding) {
	v := &f.verdict
	switch {
	case v.Allow:
		if s.wants() == revoked {
			s.pursue(nil) // it may go on after all
		}
		if v.Due != "" && v.Plan != s.Plan {
			if s.errand == nil {
				s.pursue(&errand{want: bounced, since: f.since})
			}
			s.Until, s.written = v.Until, 0
			return // its plan stays what it was until it is back: so long the bounce is due
		}
		if f.placed {
			s.placed = momentOf(time.Now().Add(e.o.LeaseFor))
		}
		e.takeOver(s, v)
		s.node.wakeToTag(s)
	case s.JWT.Unverified() && s.Reason == policy.Unavailable && v.Reason == policy.CredentialUnknown:
		s.Until = v.Until // the key of its JWT is to come: [Enforcer.KeysArrived] has it asked about again
	default:
		if s.wants() != revoked {
			s.pursue(&errand{want: revoked, since: f.since})
		}
		e.takeOver(s, v)
	}
}

// applyToDenied takes over a verdict about a session that was denied.
func (e *Enforcer) applyToDenied(s *session, f *finding) {
	v := &f.verdict
	// A JWT that was not verified then, since it made no difference, was not kept: only its asking again can tell. Where its
	// key is to come, [Enforcer.KeysArrived] has it ask.
	unread := s.JWT.Unverified() && v.Reason == policy.CredentialUnknown && s.Reason != policy.CredentialUnknown && s.Reason != policy.Unavailable
	switch {
	case s.errand != nil && s.errand.anyway:
	case v.Allow || unread:
		if s.errand == nil {
			s.pursue(&errand{want: unlocked, since: f.since})
		}
		s.Until = v.Until
	default:
		if s.wants() == unlocked {
			s.pursue(nil)
		}
		e.takeOver(s, v)
	}
}

// takeOver notes what now holds for a session, and has it written when something else held.
func (e *Enforcer) takeOver(s *session, v *policy.Verdict) {
	user, plan := v.User, v.Plan
	if user == "" {
		user = s.User
	}
	metered := v.Metered
	if s.State == policy.SessionOpen && !v.Allow {
		plan, metered = s.Plan, s.Metered // it is what was watched under, which its end will be counted for
	}
	// What is written changes the facts of a metered session's user, who is decided about again for it: writing what is known
	// already would not end.
	same := s.Reason == v.Reason && s.Plan == plan && s.User == user && s.Metered == metered && s.Until.Equal(v.Until) && slices.Equal(s.Tags, v.Tags)
	if same {
		return
	}
	e.amend(s, func() {
		s.Reason, s.Plan, s.User, s.Until, s.Tags, s.PreviewFrom, s.Metered = v.Reason, plan, user, v.Until, v.Tags, v.PreviewFrom, metered
		s.Decided = time.Now()
	})
	e.writer.Record(s.Session)
}

// command tells MistServer what a session is to be brought to, and when it will be told again. The caller holds the lock.
func (e *Enforcer) command(s *session, now time.Time) {
	if s.wants() == unlocked && s.errand.received && s.errand.tries >= unlockTries {
		e.forget(s) // nobody asked again: its player has gone
		return
	}
	if until := e.backUntil(s, now); until != 0 {
		s.errand.retry = until
		e.schedule(s)
		return
	}
	s.errand.retry = momentOf(now).add(e.o.RepeatAfter << min(s.errand.tries, 3))
	s.errand.tries++
	e.schedule(s)
	if s.node.commands == nil {
		return
	}
	s.node.commands.Add(api.Command{Kind: api.StopSession, Session: s.ID})
	s.node.wakeToLook()
}

// unlockTries is how often MistServer is told to forget a denial. Whether it did shows only when the player comes back.
const unlockTries = 4

// sent notes when MistServer was first told. The caller holds the lock.
func (e *Enforcer) sent(s *session, at time.Time) {
	if x := s.errand; x != nil && x.sent.IsZero() {
		x.sent = at
		e.metrics.sent(x.want, at.Sub(x.since))
		why := "reason"
		if s.State == policy.SessionDenied {
			why = "was_denied_for"
		}
		e.log.Info(x.want.String(), "node", s.node.name, "session", short(s.ID), "stream", s.Stream, "user", s.User,
			why, s.Reason.String(), "us", at.Sub(x.since).Microseconds())
	}
}

// cameAbout notes that what was wanted of a session is so. The caller holds the lock.
func (e *Enforcer) cameAbout(s *session, byCommand bool) {
	if byCommand {
		took := time.Since(s.errand.since)
		e.metrics.confirmed(s.errand.want, took)
		e.log.Info(s.errand.want.String()+" confirmed", "node", s.node.name, "session", short(s.ID), "ms", took.Milliseconds())
	}
	s.pursue(nil)
}

// short is enough of a session id to find it by.
func short(session string) string { return session[:min(len(session), 8)] }

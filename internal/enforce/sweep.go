package enforce

import (
	"context"
	"strings"
	"time"

	"authhook/internal/mist/api"
	"authhook/internal/policy"
)

// tagLookEvery is how often the list is read, in units of LookEvery, while sessions wait to be listed for their tags.
const tagLookEvery = 4

// watch reads a node's list of sessions, and compares: at every sweep, and more often while something is to be confirmed.
func (e *Enforcer) watch(ctx context.Context, n *node) {
	var swept time.Time
	retry := e.o.LookEvery
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.lookWake:
		case <-timer.C:
		}
		e.mu.Lock()
		recall, nameDue := n.recall, n.nameDue
		e.mu.Unlock()
		if nameDue && !time.Now().Before(e.nextLook(n, swept, retry)) {
			e.learnName(ctx, n)
		}
		if recall {
			e.recall(ctx, n)
		}
		now := time.Now()
		due := e.nextLook(n, swept, retry)
		if now.Before(due) {
			timer.Reset(due.Sub(now))
			continue
		}
		list, err := n.api.Sessions(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			retry = min(2*retry, e.o.SweepEvery)
			e.lookFailed(n, err)
		} else {
			retry = e.o.LookEvery
			e.compare(n, &list, now)
		}
		if now = time.Now(); !now.Before(swept.Add(e.o.SweepEvery)) {
			swept = now
			e.reconsiderAll(n)
		}
		timer.Reset(time.Until(e.nextLook(n, swept, retry)))
	}
}

// nextLook is when a node's list is to be read next.
func (e *Enforcer) nextLook(n *node, swept time.Time, retry time.Duration) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n.looked.IsZero() {
		return time.Time{}
	}
	next := swept.Add(e.o.SweepEvery)
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	switch {
	case n.failing:
		sooner(n.looked.Add(retry))
	case n.lookSoon:
		sooner(n.looked.Add(e.o.LookEvery))
	case n.tagSoon:
		sooner(n.looked.Add(tagLookEvery * e.o.LookEvery))
	}
	return next
}

func (e *Enforcer) lookFailed(n *node, err error) {
	e.metrics.looks.Inc()
	e.mu.Lock()
	defer e.mu.Unlock()
	n.looked = time.Now()
	if !n.failing {
		n.failing = true
		e.log.Error("MistServer's sessions cannot be listed: nothing can be confirmed until they can", "node", n.name, "error", err)
	}
}

// atOnce is how many sessions are looked at before others, such as those that are to be answered, have their turn.
const atOnce = 2000

// each looks at every session of a node, with the lock, which it gives away now and then.
func (e *Enforcer) each(n *node, look func(*session)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*session, 0, len(n.sessions))
	for _, s := range n.sessions {
		all = append(all, s)
	}
	for i, s := range all {
		if i%atOnce == atOnce-1 {
			e.mu.Unlock()
			e.mu.Lock()
		}
		if n.sessions[s.ID] == s { // it may be over by now
			look(s)
		}
	}
}

// reconsiderAll has every session of a node decided about again. Who was denied with a credential that nobody knows, or none,
// is decided about when one is made: strangers make many of those, and each would cost a look into the database.
func (e *Enforcer) reconsiderAll(n *node) {
	now := time.Now()
	e.each(n, func(s *session) {
		if s.State == policy.SessionDenied && (s.Reason == policy.CredentialUnknown || s.Reason == policy.CredentialMissing) && s.errand == nil {
			return
		}
		e.reconsider(s, now)
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.all {
		for id, at := range n.kicked {
			if now.Sub(at) > e.o.KickedFor {
				delete(n.kicked, id)
			}
		}
	}
}

// compare holds what is known of a node's sessions against its list, which was asked for at a moment.
func (e *Enforcer) compare(n *node, list *api.SessionList, asked time.Time) {
	e.mu.Lock()
	if n.failing {
		n.failing = false
		e.log.Info("MistServer's sessions can be listed again", "node", n.name)
	}
	n.looked = time.Now()
	n.lookSoon, n.tagSoon = false, false
	unguarded := 0
	for i := range list.Sessions {
		if i%atOnce == atOnce-1 {
			e.mu.Unlock()
			e.mu.Lock()
		}
		live := &list.Sessions[i]
		if !live.Viewer() {
			continue
		}
		if s := n.sessions[live.ID]; s != nil {
			e.seen(n, s, asked)
		} else if e.seenStranger(n, live, asked) {
			unguarded++
		}
	}
	e.mu.Unlock()
	at := momentOf(asked)
	e.each(n, func(s *session) {
		if s.listed != at && momentOf(s.Decided).before(at) {
			e.missed(n, s, asked)
		}
		if x := s.errand; x != nil && x.want != unlocked && x.tries <= looksPerErrand {
			n.lookSoon = true
		}
		if s.State == policy.SessionOpen && s.listed == 0 && len(s.Tags) > 0 {
			n.tagSoon = true
		}
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	strange := map[string]bool{}
	for id, x := range n.strangers {
		if x.listed.Equal(asked) {
			strange[x.stream] = true
		} else {
			delete(n.strangers, id)
		}
	}
	for stream := range n.asks {
		if !strange[stream] {
			delete(n.asks, stream)
		}
	}
	if unguarded > n.unguarded {
		e.log.Warn("live sessions that nobody asked about: a stream without the trigger, or a token that MistServer accepts by itself",
			"node", n.name, "sessions", unguarded)
	}
	n.unguarded = unguarded
}

// looksPerErrand is for how many tries of an errand the list is read sooner than at the next sweep.
const looksPerErrand = 4

// seen notes that a session lives. The caller holds the lock.
func (e *Enforcer) seen(n *node, s *session, at time.Time) {
	delete(n.strangers, s.ID)
	s.listed, s.missing = momentOf(at), 0
	if s.State == policy.SessionDenied {
		// Right after a re-run's denial it is still being cut, and the list is a second behind.
		if s.errand == nil && at.Sub(s.Decided) > e.o.SettledAfter {
			e.log.Warn("a denied session is live", "node", n.name, "session", short(s.ID), "stream", s.Stream, "reason", s.Reason.String())
			s.pursue(&errand{want: revoked, since: at})
			e.command(s, at)
		}
		return
	}
	if s.wants() == unlocked { // it was not denied
		s.pursue(nil)
		e.schedule(s)
	}
	if !subset(s.Tags, s.tagged) {
		n.tag(s)
	}
}

// missed notes that the list lacks a session. The caller holds the lock.
func (e *Enforcer) missed(n *node, s *session, at time.Time) {
	if s.missing == 0 {
		s.missing = momentOf(at)
	}
	if s.listed == 0 && at.Sub(s.Decided) < e.o.SettledAfter {
		return // it is not listed yet
	}
	switch w := s.wants(); {
	case w == revoked || w == bounced || w == dismissed:
		byCommand := s.begun()
		e.cameAbout(s, byCommand)
		if s.State == policy.SessionDenied {
			return // cut by the answer to its asking again, and remembered
		}
		if byCommand {
			s.listed = momentOf(at)
		}
		e.vanished(s)
	case s.State == policy.SessionOpen && at.Sub(s.missing.time()) >= e.o.VanishedAfter:
		if s.listed == 0 && e.excuse(n, s, at) {
			return
		}
		e.log.Info("session is over without word of its end", "node", n.name, "session", short(s.ID), "stream", s.Stream)
		e.vanished(s)
	}
}

// excuse has MistServer forget that it may have denied a session that was allowed and never was listed: where the answer did not
// reach it in time, its trigger's default did, which is remembered as any denial. It says whether that is still to be done; one
// time is enough. The caller holds the lock.
func (e *Enforcer) excuse(n *node, s *session, at time.Time) bool {
	switch {
	case n.commands == nil:
		return false
	case s.errand == nil:
		s.pursue(&errand{want: unlocked, since: at, anyway: true})
		e.command(s, at)
		return true
	}
	return s.wants() == unlocked && !s.errand.received && at.Sub(s.missing.time()) < 2*e.o.VanishedAfter
}

// maxStrangers bounds the live sessions that are remembered although nobody knows them.
const maxStrangers = 200_000

// seenStranger notes a live session that nobody decided about: its stream is asked about again, once for each, and ever more
// seldom where that does not help. It says whether the session stays unguarded. The caller holds the lock.
func (e *Enforcer) seenStranger(n *node, live *api.Session, at time.Time) bool {
	x := n.strangers[live.ID]
	if x == nil { // its trigger may be on its way
		if len(n.strangers) < maxStrangers {
			n.strangers[strings.Clone(live.ID)] = &stranger{stream: intern1(live.Stream), since: at, listed: at}
		}
		n.lookSoon = n.lookSoon || n.asks[live.Stream] == nil
		return false
	}
	x.listed = at
	a := n.asks[x.stream]
	if a == nil {
		a = &asked{}
		n.asks[x.stream] = a
	}
	if !a.at.Before(x.since) { // it was asked about since it came
		return at.Sub(a.at) > 2*e.o.SettledAfter
	}
	if at.Sub(a.at) > 2*e.o.SettledAfter<<min(a.tries, 8) {
		n.askLater(x.stream)
	}
	return a.tries > 0
}

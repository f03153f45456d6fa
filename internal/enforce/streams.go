package enforce

import (
	"context"
	"maps"
	"slices"
	"time"

	"authhook/internal/mist/api"
)

// askLater has a stream's sessions asked about again, when it is its turn. The caller holds the lock.
func (n *node) askLater(stream string) {
	if stream == "" || !n.asking[stream].since.IsZero() || n.commands == nil {
		return
	}
	n.asking[stream] = waiting{since: time.Now()}
	n.order = append(n.order, stream)
	select {
	case n.askWake <- struct{}{}:
	default:
	}
}

// askSoon has a stream's sessions asked about again before all that is not urgent, also while the answers of the last time are
// under way. The caller holds the lock.
func (n *node) askSoon(stream string) {
	if stream == "" || n.commands == nil {
		return
	}
	w := n.asking[stream]
	n.asking[stream] = waiting{since: time.Now(), urgent: true}
	if w.urgent {
		return
	}
	if !w.since.IsZero() {
		n.order = slices.DeleteFunc(n.order, func(other string) bool { return other == stream })
	}
	n.order = slices.Insert(n.order, 0, stream)
	for _, wake := range [...]chan struct{}{n.askWake, n.hurry} {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// invalidate has a stream's sessions asked about again at once, unless they are being asked about: then it says no. Each time
// is a question for every viewer, and the answers to the last ones are still under way. The caller holds the lock.
func (n *node) invalidate(stream string, now time.Time) bool {
	return n.invalidateAfter(max(n.e.o.RepeatAfter, n.turn(stream)), stream, now)
}

// invalidateAfter has a stream's sessions asked about again at once, unless they were so lately. The caller holds the lock.
func (n *node) invalidateAfter(pause time.Duration, stream string, now time.Time) bool {
	if n.commands == nil || now.Sub(n.reasked[stream].at) < pause {
		return false
	}
	n.reasked[stream] = reask{at: now}
	n.commands.Add(api.Command{Kind: api.InvalidateStream, Stream: stream})
	return true
}

// turn is how long it takes to ask about a stream's sessions. The caller holds the lock.
func (n *node) turn(stream string) time.Duration {
	return time.Duration(n.viewers[stream]) * time.Second / time.Duration(n.e.o.ReaskRate)
}

// settles says whether what was found of a session is settled by the asking about its stream, which was begun after both the
// change and the last answer. The caller holds the lock.
func (n *node) settles(f *finding) bool {
	at := n.reasked[f.session.Stream].at
	return !at.Before(f.since) && !at.Before(f.asked.Decided)
}

// ask asks about streams, one after the other, so that no more than ReaskRate sessions a second come to ask.
func (n *node) ask(ctx context.Context) {
	const atLeast = 20 * time.Millisecond
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.askWake:
		}
		for {
			n.e.mu.Lock()
			if len(n.order) == 0 {
				n.order = nil
				n.e.mu.Unlock()
				break
			}
			stream := n.order[0]
			n.order = n.order[1:]
			w, pause, quiet := n.asking[stream], atLeast, n.e.o.RepeatAfter
			if !w.urgent {
				quiet = max(quiet, n.turn(stream))
			}
			delete(n.asking, stream)
			switch {
			case n.reasked[stream].at.After(w.since): // it was meanwhile
			case n.invalidateAfter(quiet, stream, time.Now()):
				pause = max(pause, n.turn(stream))
			case w.urgent:
				n.asking[stream] = w
				n.order = slices.Insert(n.order, 0, stream)
			default: // those who were asked about before are first
				n.asking[stream] = w
				n.order = append(n.order, stream)
			}
			n.e.mu.Unlock()
			select {
			case <-ctx.Done():
				return
			case <-n.hurry:
			case <-time.After(pause):
			}
		}
	}
}

// tend keeps a node's active streams tagged as the catalog says. At the start it also lifts the denials from before it,
// which nobody here knows and which stand for 600 s: every active stream is asked about once, in turn.
func (e *Enforcer) tend(ctx context.Context, n *node) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		streams, err := n.api.ActiveStreams(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			e.log.Debug("MistServer's streams cannot be listed", "node", n.name, "error", err)
			timer.Reset(e.o.SweepEvery / 2)
			continue
		}
		e.tendStreams(n, streams)
		timer.Reset(e.o.SweepEvery)
	}
}

func (e *Enforcer) tendStreams(n *node, streams []api.ActiveStream) {
	catalog := e.decider.Catalog()
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(n.viewers)
	active := make(map[string]bool, len(streams))
	for i := range streams {
		s := &streams[i]
		s.Name = intern1(s.Name)
		active[s.Name] = true
		n.viewers[s.Name] = s.Viewers
		if !n.lifted {
			n.askLater(s.Name)
		}
		if catalog == nil {
			continue
		}
		var due []string
		if p := catalog.Stream(s.Name); p != nil {
			due = p.Tags
		}
		for _, tag := range due {
			if !slices.Contains(s.Tags, tag) {
				n.commands.Add(api.Command{Kind: api.TagStream, Stream: s.Name, Tag: tag})
			}
		}
		for _, tag := range n.streamTags[s.Name] { // others' tags are not ours to take away
			if !slices.Contains(due, tag) && slices.Contains(s.Tags, tag) {
				n.commands.Add(api.Command{Kind: api.UntagStream, Stream: s.Name, Tag: tag})
			}
		}
		if len(due) > 0 {
			n.streamTags[s.Name] = due
		} else if !slices.ContainsFunc(s.Tags, func(tag string) bool { return slices.Contains(n.streamTags[s.Name], tag) }) {
			delete(n.streamTags, s.Name)
		}
	}
	maps.DeleteFunc(n.streamTags, func(stream string, _ []string) bool { return !active[stream] })
	now := time.Now()
	maps.DeleteFunc(n.reasked, func(stream string, r reask) bool { return !active[stream] && now.Sub(r.at) > e.o.DenialsKept })
	n.lifted = true
}

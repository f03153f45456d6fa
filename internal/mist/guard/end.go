package guard

import (
	"context"
	"encoding/json"
	"time"

	"authhook/internal/mist/api"
)

// Node is what is needed of a MistServer to end sessions.
type Node interface {
	Sessions(context.Context) (api.SessionList, error)
	Do(context.Context, map[string]any) (json.RawMessage, error)
}

// Fate is what became of a session that was to end.
type Fate uint8

// The fates.
const (
	// Ended: the node's list has it no more.
	Ended Fate = iota + 1
	// CameBack: the list had it no more, and then again: its player came back, and was let in.
	CameBack
	// StillListed: the list had it all the time.
	StillListed
)

// Patience says how long to wait for what.
type Patience struct {
	// Gone is for how long a session may stay in the list.
	Gone time.Duration
	// Back is for how long after that a player may come back to be noticed.
	Back time.Duration
}

const (
	// lookEvery is how often the list is read. A session that comes back is missing in it for 0.6 s at least, for it is
	// listed that long after it starts.
	lookEvery = 200 * time.Millisecond
	// stopEvery is how often a session that does not end is told to again: that it was received does not say that it is done.
	stopEvery = 2 * time.Second
	// stopsAtOnce is how many ids fit a datagram, amply.
	stopsAtOnce = 16
)

// End ends sessions by their ids, and looks at the list until all are gone or patience is. A session that is not listed may be
// one whose denial is remembered: that is lifted. Its error is the API's, and then nothing is known of those without a fate.
func End(ctx context.Context, m Node, ids []string, p Patience) (map[string]Fate, error) {
	fates := make(map[string]Fate, len(ids))
	missing := make(map[string]time.Time, len(ids))
	if err := stop(ctx, m, ids); err != nil {
		return fates, err
	}
	began, stopped := time.Now(), time.Now()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		list, err := m.Sessions(ctx)
		late := time.Since(began) >= p.Gone
		if err != nil && (late || ctx.Err() != nil) {
			return fates, err
		}
		if err == nil {
			listed := make(map[string]bool, len(ids))
			for _, s := range list.Sessions {
				listed[s.ID] = true
			}
			for _, id := range ids {
				if fates[id] == 0 {
					fate(id, listed[id], late, p.Back, missing, fates)
				}
			}
		}
		var pending []string
		open := false
		for _, id := range ids {
			if fates[id] == 0 {
				open = true
				if missing[id].IsZero() {
					pending = append(pending, id)
				}
			}
		}
		if !open {
			return fates, nil
		}
		if len(pending) > 0 && time.Since(stopped) >= stopEvery {
			stopped = time.Now()
			if err := stop(ctx, m, pending); err != nil && ctx.Err() != nil {
				return fates, err
			}
		}
		select {
		case <-ctx.Done():
			return fates, ctx.Err()
		case <-tick.C:
		}
	}
}

// fate notes what a look at the list says of a session.
func fate(id string, listed, late bool, back time.Duration, missing map[string]time.Time, fates map[string]Fate) {
	since := missing[id]
	switch {
	case listed && !since.IsZero():
		fates[id] = CameBack
	case listed && late:
		fates[id] = StillListed
	case listed:
	case since.IsZero() && back > 0:
		missing[id] = time.Now()
	case time.Since(since) >= back:
		fates[id] = Ended
	}
}

func stop(ctx context.Context, m Node, ids []string) error {
	for len(ids) > 0 {
		n := min(len(ids), stopsAtOnce)
		if _, err := m.Do(ctx, map[string]any{"stop_sessid": ids[:n]}); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

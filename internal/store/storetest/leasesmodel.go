package storetest

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"authhook/internal/policy"
)

// leaseModel is what leases are, in the simplest words: a list, oldest first.
type leaseModel struct{ held []modelLease }

type modelLease struct {
	plan, session string
	since, until  int
	asked         int // when it was last asked for
}

func (m *leaseModel) acquire(plan, session string, at, until, limit int, kick bool) (granted bool, kicked []string) {
	m.drop(func(l modelLease) bool { return l.plan == plan && l.until <= at })
	for i, l := range m.held {
		if l.plan == plan && l.session == session {
			m.held[i].until, m.held[i].asked = until, at
			return true, nil
		}
	}
	for m.count(plan, "", at) >= limit {
		if !kick {
			return false, nil
		}
		kicked = append(kicked, m.oldest(plan))
		m.drop(func(l modelLease) bool { return l.session == kicked[len(kicked)-1] })
	}
	m.drop(func(l modelLease) bool { return l.session == session })
	m.held = append(m.held, modelLease{plan, session, at, until, at})
	return true, kicked
}

func (m *leaseModel) oldest(plan string) string {
	var first *modelLease
	for i, l := range m.held {
		if l.plan == plan && (first == nil || l.since < first.since) {
			first = &m.held[i]
		}
	}
	return first.session
}

func (m *leaseModel) count(plan, except string, at int) (n int) {
	for _, l := range m.held {
		if l.plan == plan && l.session != except && l.until > at {
			n++
		}
	}
	return n
}

func (m *leaseModel) drop(which func(modelLease) bool) { m.held = slices.DeleteFunc(m.held, which) }

func testLeasesModel(t *testing.T, database func(testing.TB) Open) {
	s := fresh(t, database)
	moment := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }
	var world atomic.Int64
	plans, sessions := []string{"gold", "silver"}, []string{"a", "b", "c", "d", "e"}
	rapid.Check(t, func(t *rapid.T) {
		ctx := t.Context()
		user := fmt.Sprint("user ", world.Add(1)) // and its own node: worlds do not meet
		m := &leaseModel{}
		plan, session := rapid.SampledFrom(plans), rapid.SampledFrom(sessions)
		clock := rapid.IntRange(0, 20)
		fail := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"acquire": func(t *rapid.T) {
				p, id, now, limit := plan.Draw(t, "plan"), session.Draw(t, "session"), clock.Draw(t, "at"), rapid.IntRange(1, 4).Draw(t, "limit")
				until, kick := now+rapid.IntRange(1, 15).Draw(t, "for"), rapid.Bool().Draw(t, "kick")
				how := policy.OnLimitReject
				if kick {
					how = policy.OnLimitKickOldest
				}
				granted, kicked, err := s.AcquireLease(ctx, policy.Lease{User: user, Plan: p, Node: user, Session: id,
					At: moment(now), Until: moment(until)}, limit, how)
				fail(err)
				wantGranted, want := m.acquire(p, id, now, until, limit, kick)
				var got []string
				for _, k := range kicked {
					got = append(got, k.Session)
				}
				if granted != wantGranted || !slices.Equal(got, want) {
					t.Fatalf("granted %v, kicked %q; want %v, %q", granted, got, wantGranted, want)
				}
			},
			"renew": func(t *rapid.T) {
				ids := rapid.SliceOf(session).Draw(t, "sessions")
				until := clock.Draw(t, "until") + 5
				lost, err := s.RenewLeases(ctx, user, places(user, ids...), moment(until))
				fail(err)
				var want []string
				for _, id := range ids {
					i := slices.IndexFunc(m.held, func(l modelLease) bool { return l.session == id })
					if i < 0 {
						want = append(want, id)
					} else {
						m.held[i].until = until
					}
				}
				if !slices.Equal(lost, want) {
					t.Fatalf("lost %q, want %q", lost, want)
				}
			},
			"end": func(t *rapid.T) {
				id, at := session.Draw(t, "session"), clock.Draw(t, "at")
				fail(s.WriteSessions(ctx, []policy.Session{{Node: user, ID: id, State: policy.SessionEnded, Ended: moment(at)}}))
				m.drop(func(l modelLease) bool { return l.session == id && l.asked <= at })
			},
			"": func(t *rapid.T) {
				for _, p := range plans {
					for _, now := range []int{0, 10, 20} {
						n, err := s.CountLeases(ctx, user, p, user, "c", moment(now))
						fail(err)
						if want := m.count(p, "c", now); n != want {
							t.Fatalf("%d places of %s at %d, want %d", n, p, now, want)
						}
					}
				}
			},
		})
	})
}

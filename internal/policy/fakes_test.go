package policy

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

var errAway = errors.New("the database is away")

// fakeSource holds facts in memory, as a cache would. err, when set, is what it answers instead; block, when set, is
// called first.
type fakeSource struct {
	credentials map[CredentialHash]*Credential
	users       map[string]*UserFacts
	err         error
	block       func(context.Context) error
	calls       atomic.Int64
}

func (s *fakeSource) ask(ctx context.Context) error {
	s.calls.Add(1)
	if s.block != nil {
		if err := s.block(ctx); err != nil {
			return err
		}
	}
	return s.err
}

func (s *fakeSource) FactsByCredential(ctx context.Context, h CredentialHash) (*Credential, *UserFacts, error) {
	if err := s.ask(ctx); err != nil {
		return nil, nil, err
	}
	c := s.credentials[h]
	if c == nil {
		return nil, nil, nil
	}
	return c, s.user(c.User), nil
}

func (s *fakeSource) FactsByUser(ctx context.Context, user string) (*UserFacts, error) {
	if err := s.ask(ctx); err != nil {
		return nil, err
	}
	return s.user(user), nil
}

func (s *fakeSource) user(id string) *UserFacts {
	if u := s.users[id]; u != nil {
		return u
	}
	return &UserFacts{User: id}
}

// fakeLeases hands out places, oldest first. A place is free again at the end of its lease.
type fakeLeases struct {
	mu     sync.Mutex
	places []Lease
	err    error
	hangs  bool // until its caller gives up
	taken  int  // how often a place was asked for
}

func (l *fakeLeases) AcquireLease(ctx context.Context, want Lease, limit int, onLimit OnLimit) (bool, []KickedSession, error) {
	if l.hangs {
		<-ctx.Done()
		return false, nil, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken++
	if l.err != nil {
		return false, nil, l.err
	}
	var others []int
	for i, p := range l.places {
		if p.User != want.User || p.Plan != want.Plan || !p.Until.After(want.At) {
			continue
		}
		if p.Node == want.Node && p.Session == want.Session {
			l.places[i].Until = want.Until
			return true, nil, nil
		}
		others = append(others, i)
	}
	over := len(others) + 1 - limit
	if over > 0 && onLimit != OnLimitKickOldest {
		return false, nil, nil
	}
	var kicked []KickedSession
	for n := over - 1; n >= 0; n-- {
		p := l.places[others[n]]
		kicked = append(kicked, KickedSession{p.Node, p.Session})
		l.places = slices.Delete(l.places, others[n], others[n]+1)
	}
	l.places = append(l.places, want)
	return true, kicked, nil
}

func (l *fakeLeases) CountLeases(_ context.Context, user, plan, exceptNode, exceptSession string, at time.Time) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.places {
		if p.User == user && p.Plan == plan && p.Until.After(at) && (p.Node != exceptNode || p.Session != exceptSession) {
			n++
		}
	}
	return n, l.err
}

type previewKey struct{ viewer, match string }

// fakePreviews remembers when previews began.
type fakePreviews struct {
	mu    sync.Mutex
	began map[previewKey]time.Time
	err   error
	hangs bool // until its caller gives up
	calls int  // of StartPreview
}

func (p *fakePreviews) StartPreview(ctx context.Context, viewer, match string, now time.Time, every time.Duration) (time.Time, error) {
	if p.hangs {
		<-ctx.Done()
		return time.Time{}, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.err != nil {
		return time.Time{}, p.err
	}
	k := previewKey{viewer, match}
	if b, ok := p.began[k]; ok && now.Before(b.Add(every)) {
		return b, nil
	}
	if p.began == nil {
		p.began = map[previewKey]time.Time{}
	}
	p.began[k] = now
	return now, nil
}

func (p *fakePreviews) Preview(_ context.Context, viewer, match string, now time.Time, every time.Duration) (time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.began[previewKey{viewer, match}]; ok && now.Before(b.Add(every)) {
		return b, p.err
	}
	return time.Time{}, p.err
}

// eventID names an event as the edge does: nobody else's, unless uuid and digest are the same.
func eventID(uuid string, digest uint64) EventID {
	if uuid == "" {
		return EventID{}
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(uuid))
	return EventID{h.Sum64(), digest}
}

// fakeVerifier knows tokens by heart.
type fakeVerifier map[string]verified

type verified struct {
	credential *Credential
	fault      Reason
}

func (v fakeVerifier) VerifyJWT(token string) (*Credential, Reason, string) {
	known, ok := v[token]
	if !ok {
		return nil, CredentialUnknown, "nobody signed it"
	}
	return known.credential, known.fault, ""
}

// house is a Decider with everything around it in memory, and a clock that stands at noon.
type house struct {
	*Decider
	source   *fakeSource
	leases   *fakeLeases
	previews *fakePreviews
	verifier fakeVerifier
	now      time.Time
}

// newHouse puts a world's facts behind a Decider: its credential under the key ak_ann, its user.
func newHouse(w *world, o Options) *house {
	h := &house{
		source: &fakeSource{credentials: map[CredentialHash]*Credential{}, users: map[string]*UserFacts{}},
		leases: &fakeLeases{}, previews: &fakePreviews{}, verifier: fakeVerifier{}, now: w.at,
	}
	if w.facts.Credential != nil {
		h.source.credentials[HashKey("ak_ann")] = w.facts.Credential
	}
	if w.facts.User != nil {
		h.source.users["ann"] = w.facts.User
	}
	o.Now = func() time.Time { return h.now }
	h.Decider = NewDecider(h.source, h.leases, h.previews, o)
	h.SetCatalog(&w.catalog, h.verifier)
	return h
}

// decide asks about a request once, as a new event.
func (h *house) decide(r Request) Decision {
	d, repeated := h.Decide(context.Background(), &r)
	if repeated {
		panic("a new event was asked before")
	}
	return d
}

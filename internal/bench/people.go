package bench

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"authhook/internal/credential"
	"authhook/internal/policy"
	"authhook/internal/store"
)

// Store is where facts are put before anything is measured.
type Store interface {
	Migrate(context.Context) error
	ApplyCatalog(ctx context.Context, c *policy.Catalog, ifVersion *int64) (version int64, changed bool, err error)
	PutUser(context.Context, store.UserChange) (u store.User, created bool, err error)
	AddCredential(ctx context.Context, h policy.CredentialHash, c policy.Credential, now time.Time) (id string, err error)
	AddEntitlement(ctx context.Context, user string, e policy.Entitlement) (id string, err error)
}

// Catalog is what is in force: one plan, which lets its holders watch everything live.
func Catalog() *policy.Catalog {
	return &policy.Catalog{
		Plans:   []policy.Plan{{Key: plan, Rank: 20, Tags: []string{"plan:" + plan}}},
		Streams: []policy.StreamPolicy{{Match: "live+*", Access: policy.AccessEntitled, Plans: []string{plan}}},
	}
}

const plan = "gold"

// People are users by number, with a key each.
type People struct {
	name  string
	Keys  []string
	until time.Time // when what they are entitled to ends
}

// User is the id of the n-th.
func (p *People) User(n int) string { return fmt.Sprintf("%s-%d", p.name, n) }

// writers is how many write facts at once.
const writers = 8

// Settle puts the catalog in force and writes users with a key each. Those that are entitled have bought the plan for a month.
func Settle(ctx context.Context, s Store, name string, users int, entitled bool) (*People, error) {
	if err := s.Migrate(ctx); err != nil {
		return nil, err
	}
	if _, _, err := s.ApplyCatalog(ctx, Catalog(), nil); err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	p := &People{name: name, Keys: make([]string, users), until: now.Add(30 * 24 * time.Hour)}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range users {
		p.Keys[i] = credential.NewKey()
		group.Go(func() error {
			user := p.User(i)
			if _, _, err := s.PutUser(ctx, store.UserChange{ID: user, Status: policy.ActiveUser}); err != nil {
				return err
			}
			if _, err := s.AddCredential(ctx, policy.HashKey(p.Keys[i]), policy.Credential{Kind: policy.CredentialKey, User: user}, now); err != nil {
				return err
			}
			if !entitled {
				return nil
			}
			_, err := s.AddEntitlement(ctx, user, policy.Entitlement{Plan: plan, Source: "bench", Until: p.until})
			return err
		})
	}
	return p, group.Wait()
}

// Questions are a first ask for each of some sessions: the n-th viewer has the n-th key, from the first again after the last.
func (p *People) Questions(f Framing, from, sessions int) []Question {
	return p.questions(f, from, sessions, false)
}

// Reruns are the same sessions, asked about again while they run.
func (p *People) Reruns(f Framing, from, sessions int) []Question {
	return p.questions(f, from, sessions, true)
}

func (p *People) questions(f Framing, from, sessions int, rerun bool) []Question {
	list := make([]Question, sessions)
	for i := range list {
		n := from + i
		list[i] = NewQuestion(f, p.Keys[n%len(p.Keys)], Viewer(n), rerun)
	}
	return list
}

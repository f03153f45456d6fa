package cache_test

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"authhook/internal/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a source in memory. Everything in it has a version that only grows: a credential's is its ID, a user's is
// how long it watched.
type source struct {
	// before runs before a read, after between the read and its answer. An error of before is the answer.
	before func(context.Context) error
	after  func(context.Context)

	mu          sync.Mutex
	credentials map[policy.CredentialHash]policy.Credential
	users       map[string]policy.UserFacts
	calls       map[string]int // by kind
}

func newSource() *source {
	return &source{
		credentials: map[policy.CredentialHash]policy.Credential{}, users: map[string]policy.UserFacts{},
		calls: map[string]int{},
	}
}

func hashOf(i int) policy.CredentialHash { return policy.HashKey("ak_" + strconv.Itoa(i)) }
func userOf(i int) string                { return "user-" + strconv.Itoa(i) }

// setUser makes a user as it is at a version.
func (s *source) setUser(user string, version int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[user] = policy.UserFacts{User: user, Status: policy.ActiveUser, Used: time.Duration(version)}
}

// setCredential makes a credential as it is at a version.
func (s *source) setCredential(hash policy.CredentialHash, user string, version int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credentials[hash] = policy.Credential{ID: strconv.Itoa(version), Kind: policy.CredentialKey, User: user}
}

// with fills a source with n users who have a credential each, all at version 1.
func (s *source) with(n int) *source {
	for i := range n {
		s.setUser(userOf(i), 1)
		s.setCredential(hashOf(i), userOf(i), 1)
	}
	return s
}

func (s *source) FactsByCredential(ctx context.Context, hash policy.CredentialHash) (c *policy.Credential, u *policy.UserFacts, err error) {
	err = s.read(ctx, "credential", func() {
		if found, ok := s.credentials[hash]; ok {
			c, u = &found, s.user(found.User)
		}
	})
	return c, u, err
}

func (s *source) FactsByUser(ctx context.Context, user string) (u *policy.UserFacts, err error) {
	err = s.read(ctx, "user", func() { u = s.user(user) })
	return u, err
}

func (s *source) user(user string) *policy.UserFacts {
	found := s.users[user]
	found.User = user
	return &found
}

func (s *source) read(ctx context.Context, kind string, look func()) error {
	s.mu.Lock()
	s.calls[kind]++
	s.mu.Unlock()
	if s.before != nil {
		if err := s.before(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	look()
	s.mu.Unlock()
	if s.after != nil {
		s.after(ctx)
	}
	return nil
}

// loads says what was read so far, by kind, and forgets it.
func (s *source) loads() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := maps.Clone(s.calls)
	clear(s.calls)
	return fmt.Sprintf("%d by credential, %d by user", calls["credential"], calls["user"])
}

func version(c *policy.Credential) int {
	v, err := strconv.Atoi(c.ID)
	if err != nil {
		panic(err)
	}
	return v
}

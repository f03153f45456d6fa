package cache_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"authhook/internal/policy"
	"authhook/internal/store/cache"
)

// The promise under test here: an ask that begins after Changed… returned is never answered with facts read before.

// A load by credential that has read its user before the change, and says whose it is only after it.
func TestAChangeOvertakesALoad(t *testing.T) {
	for name, test := range map[string]struct {
		change func(s *source, c *cache.Cache)
		loads  string
	}{
		"of the user it turns out to be": {
			func(s *source, c *cache.Cache) { s.setUser(userOf(1), 2); c.ChangedUser(userOf(1)) },
			"2 by credential, 0 by user",
		},
		"of the credential": {
			func(s *source, c *cache.Cache) {
				s.setUser(userOf(1), 2)
				s.setCredential(hashOf(1), userOf(1), 2)
				c.ChangedCredential(hashOf(1))
			},
			"2 by credential, 0 by user",
		},
		"of who knows what": {
			func(s *source, c *cache.Cache) { s.setUser(userOf(1), 2); c.DropAll() },
			"2 by credential, 0 by user",
		},
		"of more users than are listed": {
			func(s *source, c *cache.Cache) {
				s.setUser(userOf(1), 2)
				c.ChangedUser(userOf(1))
				for i := range 10_000 {
					c.ChangedUser(userOf(1000 + i))
				}
			},
			"2 by credential, 0 by user",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
				hold := make(chan struct{})
				s.after = func(context.Context) { <-hold }
				early, late := make(chan int, 1), make(chan int, 1)
				ask := func(answer chan<- int) {
					_, user, err := c.FactsByCredential(t.Context(), hashOf(1))
					if err != nil {
						t.Error(err)
					}
					answer <- int(user.Used)
				}
				go ask(early)
				synctest.Wait() // the early one has read version 1
				test.change(s, c)
				go ask(late)
				synctest.Wait()
				close(hold)
				require.Contains(t, []int{1, 2}, <-early) // it asked before the change: either is right
				require.Equal(t, 2, <-late)
				require.Equal(t, test.loads, s.loads())
				_, user := byCredential(t, c, 1)
				require.EqualValues(t, 2, user.Used)
				require.Equal(t, "0 by credential, 0 by user", s.loads())
			})
		})
	}
}

// What an asker must not see stays so when everything is dropped after it joined.
func TestADropForgetsNoChange(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		hold := make(chan struct{})
		s.after = func(context.Context) { <-hold }
		go c.FactsByCredential(t.Context(), hashOf(1))
		synctest.Wait()
		s.setUser(userOf(1), 2)
		c.ChangedUser(userOf(1))
		late := make(chan *policy.UserFacts)
		go func() {
			_, user, _ := c.FactsByCredential(t.Context(), hashOf(1))
			late <- user
		}()
		synctest.Wait()
		c.DropAll()
		close(hold)
		require.EqualValues(t, 2, (<-late).Used)
	})
}

// A change of somebody else costs a running load nothing.
func TestAChangeOfAnotherUserOutdatesNothing(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		s.after = func(context.Context) { time.Sleep(time.Second) }
		go c.FactsByCredential(t.Context(), hashOf(1))
		synctest.Wait()
		c.ChangedUser(userOf(2))
		c.ChangedCredential(hashOf(2))
		byCredential(t, c, 1)
		byCredential(t, c, 1)
		require.Equal(t, "1 by credential, 0 by user", s.loads())
		require.Zero(t, c.Stats().Outdated)
	})
}

// Whoever asks after a change does not wait for a load that cannot serve him.
func TestNobodyJoinsAnOutdatedLoad(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		slow := true
		s.after = func(context.Context) {
			if slow {
				slow = false
				time.Sleep(time.Second)
			}
		}
		go c.FactsByUser(t.Context(), userOf(1))
		synctest.Wait()
		c.ChangedUser(userOf(1))
		began := time.Now()
		byUser(t, c, 1)
		require.Zero(t, time.Since(began))
	})
}

// Two reads of one user, by different ways, that end in the other order.
func TestTheLaterReadStays(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		slow := true
		s.after = func(context.Context) {
			if slow {
				slow = false
				time.Sleep(time.Second)
			}
		}
		go c.FactsByCredential(t.Context(), hashOf(1))
		synctest.Wait()
		s.setUser(userOf(1), 2) // and nobody says so
		byUser(t, c, 1)
		time.Sleep(2 * time.Second)
		require.EqualValues(t, 2, byUser(t, c, 1).Used)
	})
}

// A user who changes faster than a load takes is still answered about, with one's own load at the latest.
func TestChangesWithoutEndStarveNobody(t *testing.T) {
	inBubble(t, cache.Options{}, func(t *testing.T, s *source, c *cache.Cache) {
		s.after = func(context.Context) { time.Sleep(time.Second) }
		ctx, stop := context.WithCancel(t.Context())
		var changing sync.WaitGroup
		defer changing.Wait()
		defer stop()
		changing.Go(func() {
			for ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
				c.ChangedUser(userOf(1))
			}
		})
		go c.FactsByCredential(t.Context(), hashOf(1))
		time.Sleep(500 * time.Millisecond)
		began := time.Now()
		byCredential(t, c, 1)
		require.LessOrEqual(t, time.Since(began), 1500*time.Millisecond, "the load under way, and one more")
	})
}

const (
	modelUsers       = 2
	modelCredentials = 3
)

// step is one event of a random history.
type step struct {
	what string // ask-credential, ask-user, change-user, change-credential, lose, drop, advance, wait
	n, m int
}

func (s step) String() string { return fmt.Sprintf("%s(%d,%d)", s.what, s.n, s.m) }

// Random histories of asks, changes and loads that are stopped at every point where a change can overtake them, held
// against what each asker may see.
func TestNoHistoryShowsTheOutdated(t *testing.T) {
	steps := rapid.Custom(func(t *rapid.T) step {
		return step{
			what: rapid.SampledFrom([]string{
				"ask-credential", "ask-credential", "ask-user", "change-user", "change-credential", "lose", "drop",
				"advance", "advance", "advance", "advance", "wait",
			}).Draw(t, "what"),
			n: rapid.IntRange(0, 5).Draw(t, "n"), m: rapid.IntRange(0, 5).Draw(t, "m"),
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		history := rapid.SliceOfN(steps, 5, 60).Draw(rt, "history")
		var wrong []string
		synctest.Test(t, func(t *testing.T) { wrong = playHistory(t.Context(), history) })
		if len(wrong) > 0 {
			rt.Fatal(wrong)
		}
	})
}

// playHistory says what was answered wrongly.
func playHistory(ctx context.Context, history []step) (wrong []string) {
	s := newSource()
	// Each read stops twice, before it looks and before it answers, and goes on when the history says so.
	stopped := make(chan chan struct{}, 10_000)
	stop := func() {
		goOn := make(chan struct{})
		stopped <- goOn
		<-goOn
	}
	s.before = func(context.Context) error { stop(); return nil }
	s.after = func(context.Context) { stop() }
	c := cache.New(s, cache.Options{FreshFor: time.Minute, AbsentFor: time.Second, LoadTimeout: 24 * time.Hour})
	defer c.Close()

	clock := 0 // versions, over everything
	var users, floorUsers [modelUsers]int
	var credentials, floorCredentials [modelCredentials]int
	setUser := func(i int) { clock++; users[i] = clock; s.setUser(userOf(i), clock) }
	setCredential := func(i, user int) { clock++; credentials[i] = clock; s.setCredential(hashOf(i), userOf(user), clock) }
	for i := range modelUsers {
		setUser(i)
	}
	for i := range modelCredentials - 1 { // the last one does not exist yet
		setCredential(i, i%modelUsers)
	}

	faults := make(chan string, 10_000)
	asking := 0
	finished := make(chan struct{}, 10_000)
	for _, step := range history {
		switch step.what {
		case "ask-credential":
			asking++
			i, floorUsers, floor := step.n%modelCredentials, floorUsers, floorCredentials[step.n%modelCredentials]
			go func() {
				defer func() { finished <- struct{}{} }()
				credential, user, err := c.FactsByCredential(ctx, hashOf(i))
				if fault := judge(credential, user, err, floor, floorUsers); fault != "" {
					faults <- fmt.Sprintf("credential %d: %s", i, fault)
				}
			}()
		case "ask-user":
			asking++
			i, floor := step.n%modelUsers, floorUsers[step.n%modelUsers]
			go func() {
				defer func() { finished <- struct{}{} }()
				user, err := c.FactsByUser(ctx, userOf(i))
				if err != nil || int(user.Used) < floor {
					faults <- fmt.Sprintf("user %d: %v, at least %d was due: %v", i, user, floor, err)
				}
			}()
		case "change-user":
			i := step.n % modelUsers
			setUser(i)
			c.ChangedUser(userOf(i))
			floorUsers[i] = users[i]
		case "change-credential": // and it may move to another user
			i := step.n % modelCredentials
			setCredential(i, step.m%modelUsers)
			c.ChangedCredential(hashOf(i))
			floorCredentials[i] = credentials[i]
		case "lose": // changes nobody hears of
			setUser(step.n % modelUsers)
			setCredential(step.m%modelCredentials, step.n%modelUsers)
		case "drop":
			c.DropAll()
			floorUsers, floorCredentials = users, credentials
		case "advance": // one of the stopped reads, not always the first
			for range step.n % max(len(stopped), 1) {
				stopped <- <-stopped
			}
			select {
			case goOn := <-stopped:
				close(goOn)
			default:
			}
		case "wait":
			time.Sleep(time.Duration(step.n+1) * 10 * time.Second)
		}
		synctest.Wait()
	}
	for len(finished) < asking { // let everything end
		select {
		case goOn := <-stopped:
			close(goOn)
		default:
			return append(wrong, "askers wait although nothing is being read")
		}
		synctest.Wait()
	}
	for len(stopped) > 0 { // renewals nobody waits for
		close(<-stopped)
		synctest.Wait()
	}
	for len(faults) > 0 {
		wrong = append(wrong, <-faults)
	}
	return wrong
}

// judge says what is wrong with an answer, given the versions that were due when it was asked for.
func judge(credential *policy.Credential, user *policy.UserFacts, err error, floor int, floorUsers [modelUsers]int) string {
	switch {
	case err != nil:
		return err.Error()
	case credential == nil && floor > 0:
		return fmt.Sprintf("absent, version %d was due", floor)
	case credential == nil:
		return ""
	case version(credential) < floor:
		return fmt.Sprintf("version %s, %d was due", credential.ID, floor)
	case user == nil || user.User != credential.User:
		return fmt.Sprintf("of %s, with the facts of %v", credential.User, user)
	}
	for i := range floorUsers {
		if user.User == userOf(i) && int(user.Used) < floorUsers[i] {
			return fmt.Sprintf("%s at version %d, %d was due", user.User, user.Used, floorUsers[i])
		}
	}
	return ""
}

package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
)

// The times of the story at full length.
const (
	demoPreview = 5 * time.Second
	demoGrace   = 6 * time.Second
	demoPass    = 4 * time.Second
	demoBreath  = 1200 * time.Millisecond // for reading what was told
)

// demoMonth is what a subscription is paid for at a time. The story is over long before.
const demoMonth = 720 * time.Hour

// The names of prices. Those of plans that are renewed are the plans' own.
const (
	demoBasic, demoGold, demoPassPrice, demoTicket = "basic", "gold", "basic-pass", "fight-ticket"
	// demoStripeGold is the price of gold at Stripe.
	demoStripeGold = "price_gold"
)

// demoCents is what the prices come to, in US cents.
var demoCents = map[string]int{demoBasic: 799, demoGold: 1499, demoPassPrice: 199, demoTicket: 999}

// catalog is what is sold, and how the streams are guarded.
func (d *demo) catalog() string {
	return fmt.Sprintf(`# The catalog of "authhook demo".
plans:
  - {key: basic, rank: 10, max_concurrent: 1, tags: ["plan:basic"]}
  - {key: gold, rank: 20, max_concurrent: 2, on_limit: kick_oldest, grace: %s, bounce: true, tags: ["plan:gold"]}
streams:
  - {match: lobby, access: public}
  - {match: sport, access: entitled, plans: [basic, gold]}
  - {match: movie, access: entitled, plans: [gold], renditions: {gold: movie, basic: movie_sd}}
  - {match: movie_sd, access: entitled, plans: [basic, gold]}
  - {match: "live+fight", access: entitled, plans: [gold], preview: %s}
prices:
  - {provider: events, price: basic, plan: basic, for: %s, amount: %d, currency: usd}
  - {provider: events, price: gold, plan: gold, for: %[3]s, amount: %[5]d, currency: usd}
  - {provider: events, price: basic-pass, plan: basic, for: %[6]s, amount: %d, currency: usd}
  - {provider: events, price: fight-ticket, stream: "live+fight", for: 48h, amount: %d, currency: usd}
  - {provider: stripe, price: price_gold, plan: gold, amount: %[5]d, currency: usd}
`, policy.Duration(d.paced(demoGrace)), policy.Duration(d.paced(demoPreview)),
		policy.Duration(demoMonth), demoCents[demoBasic], demoCents[demoGold],
		policy.Duration(d.paced(demoPass)), demoCents[demoPassPrice], demoCents[demoTicket])
}

// demoCast are the users who are told of one by one, with the plan that each has bought before. Carol did so by Stripe.
var demoCast = map[string]string{
	"ada": "", "bob": "basic", "carol": "gold", "dave": "basic", "gina": "gold", "heidi": "", "ivan": "",
}

// demoCastPlayers is how many players the cast opens, with those who have no key or a wrong one.
const demoCastPlayers = 13

// demoStory is what happens.
type demoStory struct {
	*demo
	tell      *demoTeller
	server    *misttest.Server
	service   *demoService
	operator  *demoOperator
	billing   *demoBilling
	words     *decisionWords
	news      demoNews
	running   sync.WaitGroup
	connected int

	connections *http.Transport // to the service

	keys    map[string]string      // by user
	tickets map[string]demoPayment // to the fight, by user
	people  map[string]*demoViewer // by who they are in the story
	crowd   []crowdMember
	times   demoTimes

	rewritten map[*demoViewer]bool // was given another stream than it asked for, once
}

// crowdMember is one of those who are not told of one by one.
type crowdMember struct {
	user, plan, stream string
	viewer             *demoViewer
}

// demoTimes are what was measured.
type demoTimes struct{ cut, lifted, back, told []time.Duration }

// newDemoStory makes the users, their keys and what they have bought before.
func newDemoStory(ctx context.Context, d *demo, tell *demoTeller, server *misttest.Server, service *demoService, heard *overheard) (*demoStory, error) {
	connections := &http.Transport{MaxIdleConnsPerHost: 8}
	operator, err := newDemoOperator(service, connections)
	if err != nil {
		return nil, err
	}
	billing, err := newDemoBilling(service, connections)
	if err != nil {
		return nil, err
	}
	s := &demoStory{
		demo: d, tell: tell, server: server, service: service, operator: operator, billing: billing, words: heard.words,
		connections: connections, keys: make(map[string]string),
		people: make(map[string]*demoViewer), rewritten: make(map[*demoViewer]bool),
	}
	plans := maps.Clone(demoCast)
	for i := range d.viewers - demoCastPlayers {
		m := [...]crowdMember{{stream: "lobby"}, {plan: "basic", stream: "sport"}, {plan: "gold", stream: "live+fight"}, {stream: "movie"}}[i%4]
		m.user = crowdName(i)
		plans[m.user] = m.plan
		s.crowd = append(s.crowd, m)
	}
	if err := s.join(ctx, plans); err != nil {
		s.close()
		return nil, fmt.Errorf("make the users: %w", err)
	}
	return s, nil
}

// join makes users, and has them buy their plans, a while ago.
func (s *demoStory) join(ctx context.Context, plans map[string]string) error {
	before := time.Now().Add(-time.Minute)
	var mu sync.Mutex
	group, joining := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for user, plan := range plans {
		group.Go(func() error {
			key, err := s.operator.joins(joining, user)
			switch {
			case err != nil:
				return err
			case user == "carol":
				_, err = s.billing.send(joining, s.billing.stripeSubscribed(user, before))
			case plan != "":
				_, err = s.billing.send(joining, s.billing.paid(s.billing.payment(user, plan), before))
			}
			mu.Lock()
			defer mu.Unlock()
			s.keys[user] = key
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return s.operator.settled(ctx)
}

func (s *demoStory) close() { s.connections.CloseIdleConnections() }

// tellAll tells the whole story.
func (s *demoStory) tellAll(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer s.running.Wait()
	defer cancel()
	s.introduce()
	s.tell.begin()
	began := time.Now()
	for i, act := range []func(context.Context, int) error{
		s.doorsOpen, s.payPerView, s.cardFails, s.upgrade, s.screens, s.timeRunsOut, s.dispute, s.rush, s.fightOver,
	} {
		if err := act(ctx, i+1); err != nil {
			return err
		}
		if err := s.breathe(ctx, 1); err != nil {
			return err
		}
	}
	s.summarize(time.Since(began))
	return ctx.Err()
}

// breathe leaves time for reading.
func (s *demoStory) breathe(ctx context.Context, times float64) error {
	return waitFor(ctx, time.Duration(times*float64(s.paced(demoBreath))))
}

// fullSecond waits for the beginning of a second, for what is told to the second.
func (s *demoStory) fullSecond(ctx context.Context) (time.Time, error) {
	next := time.Now().Truncate(time.Second).Add(time.Second)
	return next, waitFor(ctx, time.Until(next))
}

func waitFor(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// opens has somebody open a stream, and tells what was decided.
func (s *demoStory) opens(ctx context.Context, who, user, key, stream, how string) (misttest.Event, error) {
	at := time.Now()
	v := s.connect(who, user, key, stream)
	s.people[who] = v
	e, err := s.awaitAnswer(ctx, v, at)
	if err == nil {
		s.tellAnswer(v, e, strings.TrimSpace("opens "+stream+" "+how))
	}
	return e, err
}

// tellAnswer tells what was decided about a viewer, and why.
func (s *demoStory) tellAnswer(v *demoViewer, e misttest.Event, what string) {
	outcome, why := "DENIED", s.words.about(e.Session).reason
	if e.Kind == misttest.EventAllowed {
		outcome = "ALLOWED"
		if s.rewritten[v] = s.rewritten[v] || v.Stream() != v.Viewer().Stream; s.rewritten[v] {
			why += ", is given " + v.Stream()
		}
	}
	s.tell.line(e.At, v.who, what, outcome, why)
}

// isCut waits until a viewer is cut, tells how soon after a moment that was, and why its next try is refused.
func (s *demoStory) isCut(ctx context.Context, v *demoViewer, since time.Time, after string) error {
	e, err := s.awaitCut(ctx, v, since)
	if err != nil {
		return err
	}
	s.measureCut(e, since)
	s.tell.line(e.At, v.who, "the picture ends", "CUT", demoMS(e.At.Sub(since))+" after "+after)
	return s.triesAgain(ctx, v, e.At)
}

func (s *demoStory) measureCut(e misttest.Event, since time.Time) {
	s.times.cut = append(s.times.cut, e.At.Sub(since))
	s.measureTold(e.Session, since)
}

// triesAgain tells what becomes of a player's next try.
func (s *demoStory) triesAgain(ctx context.Context, v *demoViewer, after time.Time) error {
	e, err := s.awaitAnswer(ctx, v, after)
	if err == nil {
		s.tellAnswer(v, e, "the player tries again")
	}
	return err
}

// isUnlocked waits until a viewer's denial is forgotten, tells how soon after a moment that was, and that the viewer is
// back.
func (s *demoStory) isUnlocked(ctx context.Context, v *demoViewer, wait func() (map[*demoViewer]demoLift, error), since time.Time, after string) error {
	lifted, err := wait()
	if err != nil {
		return err
	}
	lift := lifted[v]
	s.tell.line(lift.at, v.who, "MistServer forgets the denial", "UNLOCKED", demoMS(lift.at.Sub(since))+" after "+after)
	e, err := s.isBack(ctx, v, lift, since)
	if err == nil {
		s.tellAnswer(v, e, "the player tries again")
	}
	return err
}

// isBack waits until a viewer whose denial was forgotten watches.
func (s *demoStory) isBack(ctx context.Context, v *demoViewer, lift demoLift, since time.Time) (misttest.Event, error) {
	e, err := s.awaitAnswer(ctx, v, since)
	if err != nil {
		return e, err
	}
	if e.Kind != misttest.EventAllowed {
		return e, fmt.Errorf("%s was unlocked, and then not let in: %s", v.who, s.words.about(e.Session).reason)
	}
	s.measureTold(lift.session, since)
	s.times.lifted = append(s.times.lifted, lift.at.Sub(since))
	s.times.back = append(s.times.back, e.At.Sub(since))
	return e, nil
}

// reported has a webhook sent that is about a user, and tells when that was.
func (s *demoStory) reported(ctx context.Context, user, what, outcome string, w demoWebhook) (sent time.Time, err error) {
	sent, err = s.billing.send(ctx, w)
	if err == nil {
		s.tell.line(sent, user, what, outcome, w.kind)
	}
	return sent, err
}

// reportedInVain has a webhook sent of which nothing comes, and tells so once that is certain.
func (s *demoStory) reportedInVain(ctx context.Context, user, what, outcome string, w demoWebhook) error {
	before, err := s.operator.committed(ctx, "user", user)
	if err != nil {
		return err
	}
	sent, err := s.billing.send(ctx, w)
	if err != nil {
		return err
	}
	if err := s.operator.settled(ctx); err != nil {
		return err
	}
	after, err := s.operator.committed(ctx, "user", user)
	if err != nil {
		return err
	}
	if !after.Equal(before) {
		return fmt.Errorf("%s: what %s may watch was changed by the webhook %s", what, user, w.kind)
	}
	s.tell.line(sent, user, what, outcome, "nothing changes")
	return nil
}

// buys has a user who does not watch yet buy something, and waits until they have it.
func (s *demoStory) buys(ctx context.Context, what string, p demoPayment, at time.Time) (paid demoWebhook, err error) {
	paid = s.billing.paid(p, at)
	if _, err := s.reported(ctx, p.user, what, "paid", paid); err != nil {
		return paid, err
	}
	return paid, s.operator.settled(ctx)
}

// buysIn has a viewer who was turned away pay and come in.
func (s *demoStory) buysIn(ctx context.Context, v *demoViewer, what string, p demoPayment) error {
	wait := s.watchLocks(ctx, v)
	at, err := s.reported(ctx, v.user, what, "paid", s.billing.paid(p, time.Now()))
	if err != nil {
		return err
	}
	return s.isUnlocked(ctx, v, wait, at, "the payment")
}

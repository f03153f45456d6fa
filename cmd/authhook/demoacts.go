package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"authhook/internal/credential"
	"authhook/internal/mist/misttest"
)

func (s *demoStory) doorsOpen(ctx context.Context, number int) error {
	s.tell.act(number, "The doors open", "Before it plays anything MistServer asks authhook, and does as it is told.")
	at := time.Now()
	for i := range s.crowd {
		m := &s.crowd[i]
		m.viewer = s.connect(m.user, m.user, s.keys[m.user], m.stream)
	}
	counts := map[demoVerdict]int{}
	for _, m := range s.crowd {
		e, err := s.awaitAnswer(ctx, m.viewer, at)
		if err != nil {
			return err
		}
		counts[demoVerdict{e.Kind == misttest.EventAllowed, s.words.about(e.Session).reason}]++
	}
	for _, allow := range []bool{true, false} {
		n, why := 0, []string(nil)
		for _, v := range slices.SortedFunc(maps.Keys(counts), compareVerdicts) {
			if v.allow == allow {
				n += counts[v]
				why = append(why, fmt.Sprintf("%s %d", v.reason, counts[v]))
			}
		}
		who, outcome := demoOthers(n), "ALLOWED"
		what := "open lobby, sport and live+fight"
		if !allow {
			what, outcome = "open movie", "DENIED"
		}
		s.tell.line(time.Now(), who, what, outcome, strings.Join(why, ", "))
	}
	for _, one := range []struct{ who, key, stream, how string }{
		{"frank", "", "lobby", "(free for all)"},
		{"bob", s.keys["bob"], "movie", "(plan basic)"},
		{"gina's tv", s.keys["gina"], "movie", "(plan gold)"},
		{"eve", "", "movie", "(no key)"},
		{"mallory", credential.NewKey(), "movie", "(a made-up key)"},
	} {
		if err := s.breathe(ctx, 0.7); err != nil {
			return err
		}
		user, _, _ := strings.Cut(one.who, "'")
		if _, err := s.opens(ctx, one.who, user, one.key, one.stream, one.how); err != nil {
			return err
		}
	}
	return nil
}

func (s *demoStory) payPerView(ctx context.Context, number int) error {
	s.tell.act(number, "Pay per view",
		fmt.Sprintf("Without a ticket there are %s of the fight. MistServer remembers a denial for ten minutes and", s.seconds(demoPreview)),
		"does not ask again meanwhile: authhook has it forget as soon as the denial is out of date.",
		"What was paid counts once, and as of when it was, however often and late its webhook comes.")
	declined := time.Now()
	s.tickets = map[string]demoPayment{"ada": s.billing.payment("ada", demoTicket), "ivan": s.billing.payment("ivan", demoTicket)}
	paid, err := s.buys(ctx, "buys a ticket to the fight", s.tickets["ivan"], time.Now())
	if err != nil {
		return err
	}
	if _, err := s.opens(ctx, "ivan", "ivan", s.keys["ivan"], "live+fight", ""); err != nil {
		return err
	}
	if err := s.breathe(ctx, 1); err != nil {
		return err
	}
	e, err := s.opens(ctx, "ada", "ada", s.keys["ada"], "live+fight", "(no ticket)")
	if err != nil {
		return err
	}
	for _, one := range []struct {
		what, outcome string
		webhook       demoWebhook
	}{
		{"the same webhook once more", "again", paid},
		{"a try that failed, told too late", "late", s.billing.declined(s.tickets["ivan"], declined)},
	} {
		if err := s.breathe(ctx, 1); err != nil {
			return err
		}
		if err := s.reportedInVain(ctx, "ivan", one.what, one.outcome, one.webhook); err != nil {
			return err
		}
	}
	over := s.words.about(e.Session).at.Add(s.paced(demoPreview))
	if err := s.isCut(ctx, s.people["ada"], over, "the preview ended"); err != nil {
		return err
	}
	if err := s.breathe(ctx, 1); err != nil {
		return err
	}
	return s.buysIn(ctx, s.people["ada"], "buys a ticket to the fight", s.tickets["ada"])
}

func (s *demoStory) cardFails(ctx context.Context, number int) error {
	s.tell.act(number, "A card fails",
		fmt.Sprintf("basic ends with what was paid. gold goes on for a while, here %s, to find a card that works.", s.seconds(demoGrace)),
		"Carol pays by Stripe, whose webhooks authhook reads as they are.")
	if _, err := s.opens(ctx, "carol", "carol", s.keys["carol"], "movie", "(plan gold)"); err != nil {
		return err
	}
	if _, err := s.opens(ctx, "dave's tv", "dave", s.keys["dave"], "sport", "(plan basic)"); err != nil {
		return err
	}
	if err := s.breathe(ctx, 1); err != nil {
		return err
	}
	failed, err := s.fullSecond(ctx) // from then on Stripe counts, and so does the grace
	if err != nil {
		return err
	}
	over := failed.Add(s.paced(demoGrace))
	if _, err := s.reported(ctx, "carol", "the card for gold fails", "failed", s.billing.stripeDeclined("carol", failed)); err != nil {
		return err
	}
	if _, err := s.reported(ctx, "carol", "is past due, goes on for "+s.seconds(demoGrace), "grace", s.billing.stripePastDue("carol", failed)); err != nil {
		return err
	}
	at, err := s.reported(ctx, "dave", "the card for basic fails", "failed", s.billing.pastDue("dave", demoBasic, time.Now()))
	if err != nil {
		return err
	}
	if err := s.isCut(ctx, s.people["dave's tv"], at, "the card failed"); err != nil {
		return err
	}
	if err := s.breathe(ctx, 1); err != nil {
		return err
	}
	if err := s.buysIn(ctx, s.people["dave's tv"], "pays for basic with another card", s.billing.payment("dave", demoBasic)); err != nil {
		return err
	}
	return s.isCut(ctx, s.people["carol"], over, "the grace ended")
}

func (s *demoStory) upgrade(ctx context.Context, number int) error {
	s.tell.act(number, "An upgrade", "Who pays for the better picture is brought to it, in the middle of the movie.")
	bob := s.people["bob"]
	at, err := s.reported(ctx, "bob", "goes from basic to gold", "upgraded", s.billing.upgraded("bob", demoGold, time.Now()))
	if err != nil {
		return err
	}
	e, err := s.awaitCut(ctx, bob, at)
	if err != nil {
		return err
	}
	s.measureCut(e, at)
	s.tell.line(e.At, "bob", "the player is made to come back", "BOUNCED", demoMS(e.At.Sub(at))+" after the upgrade")
	return s.triesAgain(ctx, bob, e.At)
}

func (s *demoStory) screens(ctx context.Context, number int) error {
	s.tell.act(number, "One screen too many", "basic has one screen: a second one is refused. gold has two: a third one ends the oldest.")
	for _, screen := range []string{"dave's phone", "gina's phone", "gina's laptop"} {
		user, _, _ := strings.Cut(screen, "'")
		if _, err := s.opens(ctx, screen, user, s.keys[user], "sport", "too"); err != nil {
			return err
		}
		if screen != "gina's laptop" {
			if err := s.breathe(ctx, 0.7); err != nil {
				return err
			}
			continue
		}
		tv := s.people["gina's tv"]
		at, err := s.operator.committed(ctx, "session", tv.SessionID()+" "+demoNode)
		if err != nil {
			return err
		}
		if err := s.isCut(ctx, tv, at, "it lost its place"); err != nil {
			return err
		}
	}
	return nil
}

func (s *demoStory) timeRunsOut(ctx context.Context, number int) error {
	s.tell.act(number, "Time runs out", "Nobody sends word of it: what was paid until a moment is over at that moment.")
	at := time.Now()
	over := at.Add(s.paced(demoPass))
	if _, err := s.buys(ctx, "buys basic for "+s.seconds(demoPass), s.billing.payment("heidi", demoPassPrice), at); err != nil {
		return err
	}
	if _, err := s.opens(ctx, "heidi", "heidi", s.keys["heidi"], "sport", ""); err != nil {
		return err
	}
	return s.isCut(ctx, s.people["heidi"], over, "the time was over")
}

func (s *demoStory) dispute(ctx context.Context, number int) error {
	s.tell.act(number, "A dispute and a refund",
		"Ivan's bank takes the money back for the time being: a hold stands until it is settled.",
		"What Ada is paid back is over at once.")
	ivan, ticket := s.people["ivan"], s.tickets["ivan"]
	at, err := s.reported(ctx, "ivan", "the bank disputes the payment", "disputed", s.billing.disputed(ticket, time.Now()))
	if err != nil {
		return err
	}
	if err := s.isCut(ctx, ivan, at, "the dispute"); err != nil {
		return err
	}
	if err := s.breathe(ctx, 1); err != nil {
		return err
	}
	wait := s.watchLocks(ctx, ivan)
	at, err = s.reported(ctx, "ivan", "the dispute is won", "won", s.billing.disputeWon(ticket, time.Now()))
	if err != nil {
		return err
	}
	if err := s.isUnlocked(ctx, ivan, wait, at, "it was won"); err != nil {
		return err
	}
	if err := s.breathe(ctx, 1); err != nil {
		return err
	}
	at, err = s.reported(ctx, "ada", "is paid back the ticket", "refunded", s.billing.refunded(s.tickets["ada"], time.Now()))
	if err != nil {
		return err
	}
	return s.isCut(ctx, s.people["ada"], at, "the refund")
}

// rush has everybody in the crowd without a plan pay, and the cards of all with basic fail.
func (s *demoStory) rush(ctx context.Context, number int) error {
	s.tell.act(number, "Everything at once", "Each viewer is acted on alone: the others notice nothing.")
	var paying, failing, rest []*demoViewer
	for _, m := range s.crowd {
		switch {
		case m.plan == "basic":
			failing = append(failing, m.viewer)
		case m.plan == "" && m.stream != "lobby":
			paying = append(paying, m.viewer)
		default:
			rest = append(rest, m.viewer)
		}
	}
	rest = slices.AppendSeq(rest, maps.Values(s.people))
	rest = slices.DeleteFunc(rest, func(v *demoViewer) bool { return v.State() != misttest.Watching })
	began := time.Now()
	wait := s.watchLocks(ctx, paying...)
	group, calling := errgroup.WithContext(ctx)
	group.SetLimit(8)
	paid, failed := make([]time.Time, len(paying)), make([]time.Time, len(failing))
	send := func(w demoWebhook, sent *time.Time) {
		group.Go(func() (err error) {
			*sent, err = s.billing.send(calling, w)
			return err
		})
	}
	for i := range max(len(paying), len(failing)) {
		if i < len(paying) {
			send(s.billing.paid(s.billing.payment(paying[i].user, demoGold), time.Now()), &paid[i])
		}
		if i < len(failing) {
			send(s.billing.pastDue(failing[i].user, demoBasic, time.Now()), &failed[i])
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	now := time.Now()
	s.tell.line(now, demoOthers(len(paying)), "buy gold", "paid", "payment.succeeded, each")
	s.tell.line(now, demoOthers(len(failing)), "have a card that fails", "failed", "subscription.changed, each")
	lifted, err := wait()
	if err != nil {
		return err
	}
	var lifts, cuts []time.Duration
	for i, v := range paying {
		if _, err := s.isBack(ctx, v, lifted[v], paid[i]); err != nil {
			return err
		}
		lifts = append(lifts, lifted[v].at.Sub(paid[i]))
	}
	s.tell.line(time.Now(), demoOthers(len(lifts)), "watch the movie", "UNLOCKED", demoSpread(lifts))
	for i, v := range failing {
		e, err := s.awaitCut(ctx, v, failed[i])
		if err != nil {
			return err
		}
		s.measureCut(e, failed[i])
		cuts = append(cuts, e.At.Sub(failed[i]))
	}
	s.tell.line(time.Now(), demoOthers(len(cuts)), "see no more", "CUT", demoSpread(cuts))
	asked, lost := 0, 0
	for _, v := range rest {
		for _, e := range v.Events() {
			if e.At.After(began) && e.Kind == misttest.EventAsked {
				asked++
			}
		}
		if v.State() != misttest.Watching {
			lost++
		}
	}
	s.tell.line(time.Now(), demoOthers(len(rest)), "watch on", "", fmt.Sprintf("asked about again: %d, cut: %d", asked, lost))
	return nil
}

func (s *demoStory) fightOver(ctx context.Context, number int) error {
	s.tell.act(number, "The fight is over", "Its stream is closed to everybody, whatever they have bought.")
	watching := []*demoViewer{s.people["ivan"]}
	for _, m := range s.crowd {
		if m.stream == "live+fight" {
			watching = append(watching, m.viewer)
		}
	}
	if err := s.operator.closes(ctx, "live+fight"); err != nil {
		return err
	}
	at, err := s.operator.committed(ctx, "catalog", "")
	if err != nil {
		return err
	}
	s.tell.line(at, "the operator", "closes live+fight", "changed", "")
	var cuts []time.Duration
	for _, v := range watching {
		e, err := s.awaitCut(ctx, v, at)
		if err != nil {
			return err
		}
		s.measureCut(e, at)
		cuts = append(cuts, e.At.Sub(at))
	}
	s.tell.line(time.Now(), fmt.Sprintf("%d viewers", len(cuts)), "see no more", "CUT", demoSpread(cuts))
	return nil
}

// demoOthers are so many of the crowd.
func demoOthers(n int) string {
	if n == 1 {
		return "1 other"
	}
	return fmt.Sprintf("%d others", n)
}

// seconds is a time of the story as it is told.
func (s *demoStory) seconds(t time.Duration) string {
	return fmt.Sprintf("%.3g s", s.paced(t).Seconds())
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"authhook/client"
)

type eventsReplayCommand struct {
	serviceFlags
	billingFlags
	eventFilterFlags
	Number int64 `arg:"" optional:"" help:"The event's number. Without it, those that the flags pick."`
	Dry    bool  `name:"dry-run" help:"Only say what would be done."`
}

// Run has events applied again: by the service, or here where a database is worked on, with the same billing settings as the
// service's.
func (c *eventsReplayCommand) Run(ctx context.Context, s streams) (err error) {
	switch {
	case c.Number < 0:
		return wrongSetting("%d is the number of no event", c.Number)
	case c.Number != 0 && !c.empty():
		return wrongSetting("either a number or flags that pick events, not both")
	case c.Number == 0 && c.empty():
		return wrongSetting("which events? Give a number, or --state, --provider, --type, --user, --from or --until")
	}
	known, err := c.providers(&billingSecrets{})
	if err != nil {
		return err
	}
	conn, err := c.connectTrying(ctx, c.openReady, func(db database) tries { return newBook(db, known).try })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if c.Number != 0 {
		err = c.one(ctx, s, conn)
	} else {
		err = c.all(ctx, s, conn)
	}
	if err != nil || c.Dry {
		return err
	}
	if conn.db == nil {
		_, err = fmt.Fprintln(s.out, "the service applies what it has: 'authhook billing events list' says what becomes of it")
		return err
	}
	b := newBook(conn.db, known)
	if err := b.apply(ctx); err != nil {
		return err
	}
	if c.Number == 0 || b.left[c.Number] != "" {
		return b.tell(s.out)
	}
	e, err := readEvent(ctx, conn, c.Number)
	if err != nil {
		return err
	}
	return showOutcome(s.out, e)
}

func (c *eventsReplayCommand) one(ctx context.Context, s streams, conn *connection) error {
	a, err := conn.ReplayBillingEventWithResponse(ctx, c.Number, &client.ReplayBillingEventParams{DryRun: given(c.Dry)})
	if err != nil {
		return noEvent(err, c.Number)
	}
	done, err := answered(a.JSON200, func(r *client.BillingReplay) bool { return r.Event.Number > 0 })
	if err != nil || !c.Dry {
		return err
	}
	return showEffect(s.out, done)
}

func (c *eventsReplayCommand) all(ctx context.Context, s streams, conn *connection) error {
	a, err := conn.ReplayBillingEventsWithResponse(ctx, &client.ReplayBillingEventsParams{DryRun: given(c.Dry)}, client.BillingEventFilter{
		State: client.EventState(c.State), Provider: c.Provider, Type: c.Type, User: c.User, From: c.From, Until: c.Until,
	})
	if err != nil {
		return err
	}
	done, err := answered(a.JSON200, func(r *client.BillingReplays) bool { return r.Events >= 0 })
	if err != nil {
		return err
	}
	what := "to be applied again"
	if c.Dry {
		what = "picked; those whose body was dropped would be left as they are"
	}
	_, err = fmt.Fprintf(s.out, "%s %s\n", number(done.Events, "event"), what)
	return err
}

func number(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// showOutcome says what became of an event.
func showOutcome(w io.Writer, e *client.BillingEvent) error {
	text := fmt.Sprintf("%d %s %s: %s", e.Number, e.Provider, e.Type, e.State)
	if e.User != "" {
		text += ", of " + e.User
	}
	if e.Reason != "" {
		text += ", " + e.Reason
	}
	_, err := fmt.Fprintln(w, visible(text))
	return err
}

// showEffect says what an event would change.
func showEffect(w io.Writer, r *client.BillingReplay) error {
	e := r.Effect
	would := r.Event
	would.State, would.User, would.Reason = e.State, e.User, e.Reason
	var lines []string
	add := func(sign, format string, args ...any) {
		lines = append(lines, visible("  "+sign+" "+fmt.Sprintf(format, args...)))
	}
	entitlements := func(sign string, list []client.BillingEntitlement) {
		for _, x := range list {
			add(sign, "entitlement of %s: %s, from %s", x.User, describeEntitlement(&x), x.Origin)
		}
	}
	holds := func(sign string, list []client.BillingHold) {
		for _, x := range list {
			add(sign, "hold against %s: %s, from %s", x.User, strings.TrimSpace(x.Kind+" "+x.Ref), x.Origin)
		}
	}
	entitlements("+", e.EntitlementsAdded)
	entitlements("~", e.EntitlementsChanged)
	entitlements("-", e.EntitlementsRemoved)
	holds("+", e.HoldsAdded)
	holds("-", e.HoldsRemoved)
	for _, p := range e.Payments {
		text := fmt.Sprintf("payment %s: %s, %d %s", p.ID, p.Status, p.Amount, p.Currency)
		if p.Refunded > 0 {
			text += fmt.Sprintf(", %d of it paid back", p.Refunded)
		}
		add("~", "%s", text)
	}
	for _, u := range e.Statuses {
		add("~", "user %s: %s", u.User, u.Status)
	}
	if lines == nil {
		lines = []string{"  nothing would change"}
	}
	if err := showOutcome(w, &would); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

func describeEntitlement(x *client.BillingEntitlement) string {
	text := "plan " + x.Plan
	switch {
	case x.Stream != "":
		text = "stream " + x.Stream
	case x.Tag != "":
		text = "tag " + x.Tag
	}
	if !x.From.IsZero() {
		text += " from " + day(x.From)
	}
	if !x.Until.IsZero() {
		text += " until " + day(x.Until)
	}
	if !x.GraceFrom.IsZero() {
		text += ", in grace since " + day(x.GraceFrom)
	}
	return text
}

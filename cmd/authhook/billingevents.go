package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"authhook/client"
)

type billingCommand struct {
	Events    billingEventsCommand    `cmd:"" help:"What came in, what became of it, and having it applied again."`
	Reconcile billingReconcileCommand `cmd:"" help:"Ask Stripe what it has reported, and take in what was missed."`
}

type billingEventsCommand struct {
	List   eventsListCommand   `cmd:"" help:"List billing events."`
	Show   eventsShowCommand   `cmd:"" help:"Show a billing event, with its body."`
	Replay eventsReplayCommand `cmd:"" help:"Have billing events applied again."`
}

// eventFilterFlags pick billing events. Each that is given is to fit.
type eventFilterFlags struct {
	State    string    `default:"" enum:",received,applied,stale,ignored,unlinked,failed,dead" placeholder:"STATE" help:"Those in this state: received, applied, stale, ignored, unlinked, failed or dead."`
	Provider string    `placeholder:"NAME" help:"Those of this provider, such as stripe."`
	Type     string    `placeholder:"TYPE" help:"Those of this type, such as invoice.paid."`
	User     string    `placeholder:"USER" help:"Those that turned out to be about this user."`
	From     time.Time `placeholder:"TIME" help:"Those received at this moment (RFC 3339) or after it."`
	Until    time.Time `placeholder:"TIME" help:"Those received before this moment."`
}

func (f *eventFilterFlags) empty() bool { return *f == eventFilterFlags{} }

// given is a parameter where it was given.
func given[T comparable](v T) *T {
	var nothing T
	if v == nothing {
		return nil
	}
	return &v
}

type eventsListCommand struct {
	serviceFlags
	eventFilterFlags
	Order string `default:"latest" enum:"latest,oldest" placeholder:"latest|oldest" help:"Which come first."`
	Limit int    `default:"100" help:"How many to list at most; 0 for all."`
	JSON  bool   `name:"json" help:"Write each as a line of JSON."`
}

// Run lists events, without their bodies.
func (c *eventsListCommand) Run(ctx context.Context, s streams) (err error) {
	if c.Limit < 0 {
		return wrongSetting("--limit %d is less than none", c.Limit)
	}
	conn, err := c.connect(ctx, c.openThere)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	if !c.JSON {
		_, _ = fmt.Fprintln(w, "number\treceived\tprovider\ttype\tstate\tuser\treason")
	}
	order := client.EventOrder(c.Order)
	p := client.ListBillingEventsParams{
		State: given(client.EventState(c.State)), Provider: given(c.Provider), Type: given(c.Type), User: given(c.User),
		From: given(c.From), Until: given(c.Until), Order: &order,
	}
	const most = 1000 // of a page
	for left := c.Limit; ; {
		limit := most
		if c.Limit > 0 {
			limit = min(left, most)
		}
		p.Limit = &limit
		list, err := conn.ListBillingEventsWithResponse(ctx, &p)
		if err != nil {
			return err
		}
		events, err := answered(list.JSON200, func(p *client.BillingEventPage) bool { return p.Items != nil })
		if err != nil {
			return err
		}
		for i := range events.Items {
			if err := c.write(s.out, w, &events.Items[i]); err != nil {
				return err
			}
		}
		left -= len(events.Items)
		if events.Next == "" || c.Limit > 0 && left <= 0 {
			return w.Flush()
		}
		p.Cursor = &events.Next
	}
}

func (c *eventsListCommand) write(out io.Writer, table *tabwriter.Writer, e *client.BillingEvent) error {
	if c.JSON {
		return json.NewEncoder(out).Encode(e)
	}
	_, err := fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Number, day(e.Received), visible(e.Provider), orDash(e.Type),
		e.State, orDash(e.User), orDash(e.Reason))
	return err
}

func orDash(s string) string { return cmp.Or(visible(s), "-") }

// visible is a text of a provider's as it can be shown: what would move the cursor, or worse, is written out.
func visible(s string) string {
	if !strings.ContainsFunc(s, hidden) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hidden(r rune) bool { return !unicode.IsPrint(r) }

type eventsShowCommand struct {
	serviceFlags
	Number int64 `arg:"" help:"The event's number, as 'authhook billing events list' says it."`
	JSON   bool  `name:"json" help:"Write it as JSON, with the body in Base64."`
}

// Run shows an event, and its body where the key permits it.
func (c *eventsShowCommand) Run(ctx context.Context, s streams) (err error) {
	conn, err := c.connect(ctx, c.openThere)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	e, err := readEvent(ctx, conn, c.Number)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(s.out).Encode(e)
	}
	return showEvent(s.out, e)
}

func readEvent(ctx context.Context, conn *connection, number int64) (*client.BillingEvent, error) {
	a, err := conn.GetBillingEventWithResponse(ctx, number)
	if err != nil {
		return nil, noEvent(err, number)
	}
	return answered(a.JSON200, func(e *client.BillingEvent) bool { return e.Number > 0 })
}

// noEvent says what to do where there is no such event.
func noEvent(err error, number int64) error {
	if isProblem(err, client.ProblemNotFound) {
		return wrongSetting("there is no billing event %d: 'authhook billing events list' says which there are", number)
	}
	return err
}

func showEvent(out io.Writer, e *client.BillingEvent) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" && value != "-" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", name, visible(value))
		}
	}
	line("number", fmt.Sprint(e.Number))
	line("provider", e.Provider)
	line("id", e.ID)
	line("type", e.Type)
	line("at", day(e.At))
	line("received", day(e.Received))
	line("state", string(e.State))
	line("reason", e.Reason)
	if e.Tries > 0 {
		line("tries", fmt.Sprint(e.Tries))
	}
	line("next", day(e.Next))
	line("applied", day(e.Applied))
	line("user", e.User)
	line("subject", e.Subject)
	if err := w.Flush(); err != nil || e.Body == nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s\n", shownBody(e.Body))
	return err
}

// shownBody is a body for people: JSON with a line for each field, and text as it stands.
func shownBody(body []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, body, "", "  ") == nil {
		body = b.Bytes()
	}
	lines := strings.Split(string(body), "\n")
	for i := range lines {
		lines[i] = visible(lines[i])
	}
	return strings.Join(lines, "\n")
}

package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"authhook/internal/billing"
	"authhook/internal/billing/stripe"
	"authhook/internal/store"
)

type billingReconcileCommand struct {
	databaseFlags
	billingFlags
	StripeAPIKey     string        `name:"stripe-api-key" placeholder:"KEY" help:"A key of Stripe's API (sk_… or rk_…) that may read events."`
	StripeAPIKeyFile string        `name:"stripe-api-key-file" placeholder:"FILE" help:"A file that holds it."`
	StripeAPI        string        `name:"stripe-api" hidden:"" placeholder:"URL" help:"Where Stripe's API is."`
	Since            time.Duration `default:"720h" help:"How far back to ask. Stripe knows 30 days."`
}

// Run takes in what Stripe has reported and did not arrive, and applies it. It works on the database, beside a service or
// without one, with the same billing settings as the service's.
func (c *billingReconcileCommand) Run(ctx context.Context, s streams) (err error) {
	if c.Since <= 0 {
		return wrongSetting("--since %s lies ahead", c.Since)
	}
	key, err := secretFrom("stripe-api-key", c.StripeAPIKey, c.StripeAPIKeyFile)
	if err != nil {
		return err
	}
	if key == "" {
		return wrongSetting("a key of Stripe's API is needed: give --stripe-api-key-file, or AUTHHOOK_STRIPE_API_KEY")
	}
	asked, err := stripe.NewClient(stripe.ClientOptions{Key: key, Account: c.StripeAccount, URL: c.StripeAPI})
	if err != nil {
		return wrongSetting("%s", err)
	}
	known, err := c.providers(&billingSecrets{})
	if err != nil {
		return err
	}
	db, err := c.openReady(ctx)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, db) }()
	since := time.Now().Add(-c.Since)
	r := reconciliation{db: db, since: since}
	receiver := billing.NewReceiver(known.all, &r, func() {}, time.Now)
	fetched := asked.Events(ctx, since, func(_ string, body []byte) error {
		r.told++
		_, err := receiver.Keep(ctx, "stripe", body)
		return err
	})
	// What came before it broke off is as good as any, and is applied.
	b := newBook(db, known)
	if err := b.apply(ctx); err != nil {
		return err
	}
	if err := r.tell(ctx, s.out); err != nil {
		return err
	}
	if err := b.tell(s.out); err != nil {
		return err
	}
	return fetched
}

func joinClose(err error, db io.Closer) error {
	if closed := db.Close(); err == nil {
		return closed
	}
	return err
}

// reconciliation is an inbox that notes what was missed.
type reconciliation struct {
	db     database
	since  time.Time
	told   int // events that Stripe has
	missed []store.BillingEvent
}

// ReceiveEvent implements billing.Inbox.
func (r *reconciliation) ReceiveEvent(ctx context.Context, e store.BillingEvent) (fresh bool, err error) {
	fresh, err = r.db.ReceiveEvent(ctx, e)
	if fresh && err == nil {
		e.Body = nil
		r.missed = append(r.missed, e)
	}
	return fresh, err
}

// tell says what was missed, and what became of it.
func (r *reconciliation) tell(ctx context.Context, out io.Writer) error {
	_, err := fmt.Fprintf(out, "Stripe has %s since %s, of which %d had not arrived\n", number(int64(r.told), "event"), day(r.since), len(r.missed))
	if err != nil || len(r.missed) == 0 {
		return err
	}
	became, err := r.became(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "number\tat\ttype\tuser\tstate\treason")
	counts := map[string]int{}
	var kinds []string
	for _, e := range became {
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", e.Number, day(e.At), orDash(e.Type), orDash(e.User), e.State, orDash(e.Reason))
		kind := orDash(e.Type) + "\t" + string(e.State)
		if counts[kind] == 0 {
			kinds = append(kinds, kind)
		}
		counts[kind]++
	}
	_, _ = fmt.Fprintln(w, "\ntype\tstate\tmissed")
	for _, kind := range kinds {
		_, _ = fmt.Fprintf(w, "%s\t%d\n", kind, counts[kind])
	}
	return w.Flush()
}

// became are the events that were missed, as they stand now. They were received last.
func (r *reconciliation) became(ctx context.Context) ([]store.BillingEvent, error) {
	ids := make(map[string]bool, len(r.missed))
	for _, e := range r.missed {
		ids[e.ID] = true
	}
	var list []store.BillingEvent
	f := store.EventFilter{Provider: "stripe", From: r.missed[0].Received, Limit: store.MaxFacts}
	for {
		page, err := r.db.BillingEvents(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, e := range page {
			if ids[e.ID] {
				list = append(list, e)
			}
		}
		if len(page) < f.Limit {
			return list, nil
		}
		f.After = page[len(page)-1].Number
	}
}

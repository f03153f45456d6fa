package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"text/tabwriter"
	"time"

	"authhook/internal/credential"
	"authhook/internal/mist"
	"authhook/internal/policy"
	"authhook/internal/webhook"
)

type explainCommand struct {
	databaseFlags
	Stream    string     `required:"" placeholder:"STREAM" help:"The stream, with its wildcard part: live+fight."`
	Address   netip.Addr `required:"" placeholder:"ADDRESS" help:"The viewer's or publisher's address."`
	Token     string     `placeholder:"TOKEN" help:"What the viewer presents: a key or a JWT."`
	URL       string     `name:"url" placeholder:"URL" help:"The request's URL, where the token may be too."`
	Connector string     `default:"HLS" placeholder:"NAME" help:"The protocol, as MistServer names it."`
	Publish   bool       `help:"Ask about publishing instead of watching."`
	Node      string     `default:"mist" placeholder:"NAME" help:"The node."`
	At        time.Time  `placeholder:"TIME" help:"Ask about this moment (RFC 3339) instead of now."`
}

// Run decides without effect, and says what each rule found.
func (c *explainCommand) Run(ctx context.Context, s streams) (err error) {
	at := c.At
	if at.IsZero() {
		at = time.Now()
	}
	db, err := c.openThere(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	in, err := db.Catalog(ctx)
	if err != nil {
		return err
	}
	jwts, err := credential.NewJWTs(in.JWT, credential.Options{})
	if err != nil {
		return fmt.Errorf("the catalog's JWT keys: %w", err)
	}
	defer jwts.Close()
	select { // so that keys from a URL are known
	case <-jwts.Started():
	case <-ctx.Done():
		return ctx.Err()
	}
	decider := policy.NewDecider(db, db, db, policy.Options{})
	decider.SetCatalog(in, jwts)
	decision, findings, err := decider.Explain(ctx, c.request(), at)
	if err != nil {
		return err
	}
	return writeExplanation(s.out, decision, findings)
}

func (c *explainCommand) request() *policy.Request {
	r := &policy.Request{
		Action: policy.Watch, Node: c.Node, Stream: c.Stream, Address: c.Address, Connector: c.Connector,
		Presented: webhook.Presented(c.Token, c.URL),
		Session:   mist.SessionID(mist.DefaultSessionMode, c.Stream, c.Address, c.Token, c.Connector),
	}
	if c.Publish {
		r.Action = policy.Push
	}
	return r
}

func writeExplanation(w io.Writer, d policy.Decision, findings []policy.Finding) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", f.Rule, f.Outcome, f.Detail)
	}
	verdict := "deny"
	if d.Allow {
		verdict = "allow"
	}
	_, _ = fmt.Fprintf(t, "\n%s\t%s\n", verdict, d.Reason)
	if d.User != "" {
		_, _ = fmt.Fprintf(t, "user\t%s\n", d.User)
	}
	if d.Plan != "" {
		_, _ = fmt.Fprintf(t, "plan\t%s\n", d.Plan)
	}
	if !d.Until.IsZero() {
		_, _ = fmt.Fprintf(t, "until\t%s\n", d.Until.UTC().Format(time.RFC3339Nano))
	}
	return t.Flush()
}

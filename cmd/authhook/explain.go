package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"text/tabwriter"
	"time"

	"authhook/client"
)

type explainCommand struct {
	serviceFlags
	Stream    string     `required:"" placeholder:"STREAM" help:"The stream, with its wildcard part: live+fight."`
	Address   netip.Addr `required:"" placeholder:"ADDRESS" help:"The viewer's or publisher's address."`
	Token     string     `placeholder:"TOKEN" help:"What the viewer presents: a key or a JWT."`
	URL       string     `name:"url" placeholder:"URL" help:"The request's URL, where the token may be too."`
	Connector string     `default:"HLS" placeholder:"NAME" help:"The protocol, as MistServer names it."`
	Publish   bool       `help:"Ask about publishing instead of watching."`
	Node      string     `placeholder:"NAME" help:"The node. When left out, the name of nodes that have none."`
	At        time.Time  `placeholder:"TIME" help:"Ask about this moment (RFC 3339) instead of now."`
}

// Run decides without effect, and says what each rule found.
func (c *explainCommand) Run(ctx context.Context, s streams) (err error) {
	conn, err := c.connect(ctx, c.openThere)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	why, err := conn.ExplainWithResponse(ctx, client.ExplainRequest{
		Stream: c.Stream, Address: c.Address.String(), Token: c.Token, URL: c.URL, Connector: c.Connector, Publish: c.Publish,
		Node: c.Node, At: c.At,
	})
	if err != nil {
		return err
	}
	d, err := answered(why.JSON200, func(e *client.Explanation) bool { return e.Reason != "" })
	if err != nil {
		return err
	}
	return writeExplanation(s.out, d)
}

func writeExplanation(w io.Writer, d *client.Explanation) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range d.Findings {
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

package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"authhook/client"
)

type keysCommand struct {
	Add      keysAddCommand      `cmd:"" help:"Make a key and print it, this once."`
	List     keysListCommand     `cmd:"" help:"List the keys, without the keys themselves."`
	Withdraw keysWithdrawCommand `cmd:"" help:"Withdraw a key: it is good no more, at once."`
}

type keysAddCommand struct {
	serviceFlags
	Name string `arg:"" help:"Yours, for people: who gets it."`
	Role string `required:"" enum:"read,billing,admin" placeholder:"read|billing|admin" help:"What it permits: to see (read), that and to change what concerns users (billing), or everything (admin)."`
}

// Run makes the key and prints it, alone on its line, so that a script can take it.
func (c *keysAddCommand) Run(ctx context.Context, s streams) (err error) {
	conn, err := c.connect(ctx, c.openReady)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	made, err := conn.AddKeyWithResponse(ctx, client.KeyRequest{Name: c.Name, Role: client.Role(c.Role)})
	if err != nil {
		return err
	}
	key, err := answered(made.JSON201, func(k *client.NewKey) bool { return k.Key != "" })
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, key.Key)
	return err
}

type keysListCommand struct {
	serviceFlags
}

// Run lists every key, also those that were withdrawn.
func (c *keysListCommand) Run(ctx context.Context, s streams) (err error) {
	conn, err := c.connect(ctx, c.openReady)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "id\trole\tname\tmade\twithdrawn")
	for p := (client.ListKeysParams{}); ; {
		list, err := conn.ListKeysWithResponse(ctx, &p)
		if err != nil {
			return err
		}
		keys, err := answered(list.JSON200, func(p *client.KeyPage) bool { return p.Items != nil })
		if err != nil {
			return err
		}
		for _, k := range keys.Items {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Role, k.Name, day(k.Created), day(k.Withdrawn))
		}
		if keys.Next == "" {
			return w.Flush()
		}
		p.Cursor = &keys.Next
	}
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

type keysWithdrawCommand struct {
	serviceFlags
	ID string `arg:"" name:"id" help:"The key's id, as 'authhook keys list' says it."`
}

// Run withdraws a key.
func (c *keysWithdrawCommand) Run(ctx context.Context, s streams) (err error) {
	conn, err := c.connect(ctx, c.openReady)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	_, err = conn.WithdrawKeyWithResponse(ctx, c.ID)
	if isProblem(err, client.ProblemNotFound) {
		return wrongSetting("there is no key %q: 'authhook keys list' says which there are", c.ID)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s is good no more\n", c.ID)
	return err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"authhook/internal/store"
	"authhook/internal/webhook/admin"
)

// commandLine is the actor of what is done here, as the audit names it.
const commandLine = "command line"

type keysCommand struct {
	Add      keysAddCommand      `cmd:"" help:"Make a key and print it, this once."`
	List     keysListCommand     `cmd:"" help:"List the keys, without the keys themselves."`
	Withdraw keysWithdrawCommand `cmd:"" help:"Withdraw a key: it is good no more, at once."`
}

type keysAddCommand struct {
	databaseFlags
	Name string `arg:"" help:"Yours, for people: who gets it."`
	Role string `required:"" enum:"read,billing,admin" placeholder:"read|billing|admin" help:"What it permits: to see (read), that and to change what concerns users (billing), or everything (admin)."`
}

// Run makes the key and prints it, alone on its line, so that a script can take it.
func (c *keysAddCommand) Run(ctx context.Context, s streams) (err error) {
	db, err := c.openReady(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	key := admin.MakeKey()
	_, err = db.AddAPIKey(store.WithActor(ctx, commandLine), store.APIKey{Name: c.Name, Role: store.Role(c.Role)}, admin.HashKey(key))
	var invalid *store.InvalidError
	if errors.As(err, &invalid) {
		return wrongSetting("the key's %s", invalid)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, key)
	return err
}

type keysListCommand struct {
	databaseFlags
}

// Run lists every key, also those that were withdrawn.
func (c *keysListCommand) Run(ctx context.Context, s streams) (err error) {
	db, err := c.openReady(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "id\trole\tname\tmade\twithdrawn")
	for p := (store.Page{Limit: store.MaxFacts}); ; {
		keys, err := db.APIKeys(ctx, p)
		if err != nil {
			return err
		}
		for _, k := range keys {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Role, k.Name, day(k.Created), day(k.Withdrawn))
		}
		if len(keys) < p.Limit {
			return w.Flush()
		}
		p.After = keys[len(keys)-1].ID
	}
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

type keysWithdrawCommand struct {
	databaseFlags
	ID string `arg:"" name:"id" help:"The key's id, as 'authhook keys list' says it."`
}

// Run withdraws a key.
func (c *keysWithdrawCommand) Run(ctx context.Context, s streams) (err error) {
	db, err := c.openReady(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.WithdrawAPIKey(store.WithActor(ctx, commandLine), c.ID)
	if errors.Is(err, store.ErrNotFound) {
		return wrongSetting("there is no key %q: 'authhook keys list' says which there are", c.ID)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s is good no more\n", c.ID)
	return err
}

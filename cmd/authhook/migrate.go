package main

import (
	"context"
	"errors"
	"fmt"
)

type migrateCommand struct {
	databaseFlags
}

// Run brings the tables up to date; serve does the same at its start.
func (c *migrateCommand) Run(ctx context.Context, s streams) error {
	db, err := c.openReady(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, "the database is up to date")
	return errors.Join(err, db.Close())
}

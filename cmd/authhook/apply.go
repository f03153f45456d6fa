package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"authhook/client"
	"authhook/internal/catalog"
	"authhook/internal/policy"
)

type applyCommand struct {
	serviceFlags
	File string `short:"f" required:"" placeholder:"FILE" help:"The catalog, YAML or JSON; - for standard input."`
	Dry  bool   `name:"dry-run" help:"Only say whether the catalog is good."`
}

// Run puts the catalog in force as a whole: in one transaction, or not at all. Secrets that it names are read here, and sent
// with it.
func (c *applyCommand) Run(ctx context.Context, s streams) (err error) {
	parsed, err := readCatalog(c.File)
	if err != nil {
		return err
	}
	summary := fmt.Sprintf("%d plans, %d streams, %d prices", len(parsed.Plans), len(parsed.Streams), len(parsed.Prices))
	if c.Dry {
		_, err = fmt.Fprintf(s.out, "good: %s\n", summary)
		return err
	}
	text, err := catalog.Format(parsed)
	if err != nil {
		return err
	}
	conn, err := c.connect(ctx, c.openReady)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	answer, err := conn.PutCatalogWithBodyWithResponse(ctx, nil, "application/yaml", bytes.NewReader(text))
	if err != nil {
		return err
	}
	done, err := answered(answer.JSON200, func(a *client.CatalogApplied) bool { return a.Version > 0 })
	if err != nil {
		return err
	}
	outcome := "applied"
	if !done.Changed {
		outcome = "unchanged"
	}
	_, err = fmt.Fprintf(s.out, "%s: %s\n", outcome, summary)
	return err
}

// readCatalog reads and checks a catalog file.
func readCatalog(path string) (*policy.Catalog, error) {
	data, err := os.ReadFile(path)
	if path == "-" {
		data, err = io.ReadAll(os.Stdin)
	}
	if err != nil {
		return nil, wrongSetting("the catalog cannot be read: %s", err)
	}
	parsed, err := catalog.Parse(path, data)
	if err != nil {
		return nil, wrongSetting("the catalog is not applied:\n%s", err)
	}
	return parsed, nil
}

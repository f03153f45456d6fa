package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"authhook/internal/mist/guard"
)

type mistDoctorCommand struct {
	mistFlags
	Handler []string `name:"handler" env:"-" sep:"," placeholder:"HANDLER" help:"Handlers that are authhook's, where neither /trigger nor authhook-trigger in their names says so."`
	Ignore  []string `env:"-" sep:"," placeholder:"CODE" help:"Findings that are meant to be so, by their codes."`
	JSON    bool     `name:"json" env:"-" help:"Write JSON, for machines."`
}

// diagnosis is what was found at one MistServer.
type diagnosis struct {
	Name     string          `json:"name"`
	URL      string          `json:"url"`
	Findings []guard.Finding `json:"findings"`

	title string
}

// Run looks at every MistServer. It fails, with exit code 1, when something is wrong with one.
func (c *mistDoctorCommand) Run(ctx context.Context, s streams) error {
	servers, closeAll, err := c.servers()
	if err != nil {
		return err
	}
	defer closeAll()
	seen := make([]*guard.Observation, len(servers))
	var looking sync.WaitGroup
	for i := range servers {
		m := &servers[i]
		seen[i] = &guard.Observation{Name: m.name, Local: m.local(), Known: c.Handler}
		looking.Go(func() {
			ways, closeWays := m.ways()
			defer closeWays()
			guard.Observe(ctx, ways, seen[i])
		})
	}
	looking.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	all := make([]diagnosis, len(servers))
	for i, findings := range guard.DiagnoseAll(seen) {
		findings = slices.DeleteFunc(findings, func(f guard.Finding) bool { return slices.Contains(c.Ignore, f.Code) })
		d := diagnosis{servers[i].name, servers[i].String(), append([]guard.Finding{}, findings...), servers[i].title()}
		if d.Name == "" && seen[i].Config != nil && seen[i].Config.ServerName != "" {
			d.Name = seen[i].Config.ServerName
			d.title = guard.Printable(d.Name) + " (" + d.URL + ")"
		}
		all[i] = d
	}
	if c.JSON {
		err = writeJSON(s.out, all)
	} else {
		writeDiagnoses(s.out, all)
	}
	if err == nil {
		err = verdict(all)
	}
	return err
}

// verdict is an error when something is wrong.
func verdict(all []diagnosis) error {
	var wrong []string
	for _, d := range all {
		if count(d.Findings, guard.Wrong) > 0 {
			wrong = append(wrong, d.title)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("something is wrong with %s", strings.Join(wrong, ", "))
}

func count(findings []guard.Finding, s guard.Severity) int {
	n := 0
	for _, f := range findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

func writeDiagnoses(out io.Writer, all []diagnosis) {
	for i, d := range all {
		if i > 0 {
			printf(out, "\n")
		}
		printf(out, "%s: %s\n", d.title, summary(d.Findings))
		for _, f := range d.Findings {
			printf(out, "\n  %-8s %s\n           %s\n", strings.ToUpper(f.Severity.String()), f.Code, f.What)
			if f.Remedy != "" {
				printf(out, "           → %s\n", f.Remedy)
			}
		}
	}
}

func summary(findings []guard.Finding) string {
	var parts []string
	for _, s := range []guard.Severity{guard.Wrong, guard.Warning, guard.Note} {
		if n := count(findings, s); n > 0 {
			word := s.String()
			if n > 1 && s != guard.Wrong {
				word += "s"
			}
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	if len(parts) == 0 {
		return "all well"
	}
	if count(findings, guard.Wrong) == 0 {
		return "well, with " + strings.Join(parts, ", ")
	}
	return strings.Join(parts, ", ")
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

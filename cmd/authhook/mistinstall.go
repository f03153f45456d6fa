package main

import (
	"context"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"authhook/internal/mist"
	"authhook/internal/mist/api"
	"authhook/internal/mist/guard"
)

// handlerFlags say whom MistServer asks.
type handlerFlags struct {
	Handler        string   `default:"http://127.0.0.1:4280/trigger" placeholder:"URL" help:"Where MistServer finds authhook serve, without the trigger key."`
	TriggerKey     string   `placeholder:"KEY" help:"The trigger key that serve has: the handler's URL ends in it."`
	TriggerKeyFile string   `placeholder:"FILE" help:"A file that holds the trigger key."`
	Executable     string   `placeholder:"PATH" help:"authhook-trigger's path on MistServer's machine, instead of a URL: it spares each viewer some 25 ms."`
	Replace        []string `env:"-" sep:"," placeholder:"HANDLER" help:"Other handlers of authhook's whose entries go: a URL without its key, or a path."`
}

// handler is the handler's text, its key included.
func (f *handlerFlags) handler() (string, error) {
	if f.Executable != "" {
		if !path.IsAbs(f.Executable) {
			return "", wrongSetting("--executable %q: MistServer needs the whole path, such as /usr/local/bin/authhook-trigger", f.Executable)
		}
		return f.Executable, nil
	}
	const form = "expected http://host:port/trigger"
	u, err := url.Parse(f.Handler)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" { // not quoted: there may be a password in it
		return "", wrongSetting("--handler is no URL that MistServer can ask: " + form)
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", wrongSetting("--handler has more than host, port and path: " + form + "; the secret in it is --trigger-key")
	}
	if path.Base(u.Path) != "trigger" {
		return "", wrongSetting("--handler does not end in /trigger: " + form + "; the key behind it is --trigger-key")
	}
	key, err := triggerKeyFrom(f.TriggerKey, f.TriggerKeyFile)
	if err != nil {
		return "", err
	}
	base := strings.TrimRight(f.Handler, "/")
	if key == "" {
		return base, nil
	}
	return base + "/" + key, nil
}

type mistInstallCommand struct {
	mistFlags
	handlerFlags
	Triggers []string      `env:"-" sep:"," placeholder:"TYPE" help:"The trigger types: any of ${mist_types}. Default: ${mist_default_types}. Entries of authhook's for others are taken out."`
	Stream   []string      `env:"-" sep:"," placeholder:"NAME" help:"Guard these streams only: a name, the part of a name before a +, #tag, !name. Everybody may watch the others."`
	Save     bool          `env:"-" default:"true" negatable:"" help:"Have MistServer write it to its configuration file, so that it lasts."`
	DryRun   bool          `env:"-" help:"Only say what would change."`
	Watch    bool          `env:"-" help:"Stay, and put the triggers back when somebody changed them."`
	Every    time.Duration `env:"-" default:"10s" help:"How often --watch looks."`
}

// wanted is what the flags say that should be there.
func (c *mistInstallCommand) wanted() (guard.Wanted, error) {
	handler, err := c.handler()
	if err != nil {
		return guard.Wanted{}, err
	}
	w := guard.Wanted{Handler: handler, Types: guard.DefaultTypes(), Streams: c.Stream, Replace: c.Replace}
	if len(c.Triggers) > 0 {
		w.Types = nil
		for _, name := range c.Triggers {
			w.Types = append(w.Types, mist.Type(strings.ToUpper(strings.TrimSpace(name))))
		}
	}
	if err := w.Check(); err != nil {
		return w, wrongSetting("%s", err)
	}
	if c.Every <= 0 {
		return w, wrongSetting("--every %s: it must be above zero", c.Every)
	}
	if c.Watch && c.DryRun {
		return w, wrongSetting("--watch and --dry-run are both set: keep one")
	}
	return w, nil
}

// Run puts the triggers there, and shows what that changed.
func (c *mistInstallCommand) Run(ctx context.Context, s streams) error {
	wanted, err := c.wanted()
	if err != nil {
		return err
	}
	servers, closeAll, err := c.servers()
	if err != nil {
		return err
	}
	defer closeAll()
	if c.Watch {
		watchTriggers(ctx, servers, wanted, c.Save, c.Every, s.out)
		return nil
	}
	return onEach(servers, func(m *mistServer) error {
		if c.DryRun {
			plan, err := wanted.Look(ctx, m)
			if err == nil {
				writePlan(s.out, m, plan, "would be ", "nothing was changed, as --dry-run says")
				writeMind(ctx, s.out, m, wanted)
			}
			return err
		}
		plan, err := wanted.Put(ctx, m, c.Save)
		if err != nil {
			return err
		}
		writePlan(s.out, m, plan, "", outcome(plan, c.Save))
		writeMind(ctx, s.out, m, wanted)
		return nil
	})
}

func outcome(plan guard.Plan, save bool) string {
	switch {
	case len(plan.Changes) == 0:
		return "all is as it should be: nothing was changed"
	case save:
		return "done, and saved"
	}
	return "done, and not saved: it lasts until MistServer ends"
}

// writePlan shows what becomes of each entry.
func writePlan(out io.Writer, m *mistServer, plan guard.Plan, would, end string) {
	printf(out, "%s\n", m.title())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range plan.Changes {
		switch {
		case c.Was == nil:
			printf(w, "  %sadded\t%s\t%s\t%s\n", would, c.Type, guard.Redact(c.Is.Handler), describe(c.Is))
		case c.Is == nil:
			printf(w, "  %sremoved\t%s\t%s\t%s\n", would, c.Type, guard.Redact(c.Was.Handler), describe(c.Was))
		default:
			printf(w, "  %schanged\t%s\t%s\t%s (%s)\n", would, c.Type, guard.Redact(c.Is.Handler), describe(c.Is), difference(c.Was, c.Is))
		}
	}
	for _, e := range plan.Same {
		printf(w, "  unchanged\t%s\t%s\t%s\n", e.Type, guard.Redact(e.Trigger.Handler), describe(&e.Trigger))
	}
	for _, e := range plan.Others {
		mind := "of somebody else: all handlers must allow"
		if guard.LooksLikeAuthhook(e.Trigger.Handler) {
			mind = "of another authhook: all handlers must allow; --replace takes it out"
		}
		printf(w, "  left alone\t%s\t%s\t%s\n", e.Type, guard.Redact(e.Trigger.Handler), mind)
	}
	_ = w.Flush()
	for _, t := range plan.Lost() {
		printf(out, "  mind: %s asks nobody any more, and lets everybody in\n", t)
	}
	printf(out, "  %s\n", end)
}

// describe is an entry without its handler.
func describe(e *api.Trigger) string {
	parts := []string{"async"}
	if e.Sync {
		parts = []string{"sync", "no default"}
		if e.Default != "" {
			parts[1] = "default " + guard.Printable(e.Default)
		}
	}
	if len(e.Streams) == 0 {
		return strings.Join(append(parts, "every stream"), ", ")
	}
	names := make([]string, len(e.Streams))
	for i, name := range e.Streams {
		names[i] = guard.Printable(name)
	}
	return strings.Join(append(parts, "streams "+strings.Join(names, " ")), ", ")
}

// difference is what an entry was that it is not any more.
func difference(was, is *api.Trigger) string {
	var parts []string
	if was.Handler != is.Handler {
		old := "another key or none"
		if !guard.Same(was.Handler, is.Handler) {
			old = guard.Redact(was.Handler)
		}
		parts = append(parts, old)
	}
	if old := describe(was); old != describe(is) {
		parts = append(parts, old)
	}
	if len(parts) == 0 {
		return "was written in another way"
	}
	return "was " + strings.Join(parts, ", ")
}

// writeMind says what is good to know right after: who answers, and lists that have no effect.
func writeMind(ctx context.Context, out io.Writer, m *mistServer, w guard.Wanted) {
	tried := guard.Try(ctx, w.Handler, m.local())
	if f, ok := tried.Finding(w.Handler, m.local()); ok && tried.Result != guard.NotTried {
		denies := ""
		if f.Severity == guard.Wrong {
			denies = "; until then MistServer denies"
		}
		printf(out, "  mind: %s%s → %s\n", f.What, denies, f.Remedy)
	}
	if len(w.Streams) > 0 && slices.ContainsFunc(w.Types, func(t mist.Type) bool { return !guard.PerStream(t) }) {
		printf(out, "  mind: MistServer asks PUSH_REWRITE and RTMP_PUSH_REWRITE about every push, whatever streams are listed\n")
	}
}

// watchTriggers stays until the context ends.
func watchTriggers(ctx context.Context, servers []mistServer, w guard.Wanted, save bool, every time.Duration, out io.Writer) {
	var lines sync.Mutex
	var watching sync.WaitGroup
	for i := range servers {
		m := &servers[i]
		first := true
		watching.Go(func() {
			w.Watch(ctx, m, save, every, func(seen guard.Seen) {
				lines.Lock()
				defer lines.Unlock()
				now := time.Now().UTC().Format(time.RFC3339)
				if seen.Back {
					printf(out, "%s %s answers again\n", now, m.title())
				}
				switch {
				case seen.Err != nil:
					printf(out, "%s %s: the triggers cannot be looked after, will try again: %s\n", now, m.title(), explained(seen.Err))
				case first:
					first = false
					writePlan(out, m, seen.Plan, "", outcome(seen.Plan, save))
					writeMind(ctx, out, m, w)
					printf(out, "%s %s is watched, every %s\n", now, m.title(), every)
				case len(seen.Plan.Changes) > 0:
					printf(out, "%s %s: put back %s\n", now, m.title(), changed(seen.Plan))
				}
			})
		})
	}
	watching.Wait()
}

// changed are the types that a plan changes.
func changed(plan guard.Plan) string {
	var names []string
	for _, c := range plan.Changes {
		if !slices.Contains(names, string(c.Type)) {
			names = append(names, string(c.Type))
		}
	}
	return strings.Join(names, ", ")
}

type mistUninstallCommand struct {
	mistFlags
	handlerFlags
	Save   bool `env:"-" default:"true" negatable:"" help:"Have MistServer write it to its configuration file, so that it lasts."`
	DryRun bool `env:"-" help:"Only say what would change."`
}

// Run takes authhook's entries away, and those of nobody else.
func (c *mistUninstallCommand) Run(ctx context.Context, s streams) error {
	handler, err := c.handler()
	if err != nil {
		return err
	}
	servers, closeAll, err := c.servers()
	if err != nil {
		return err
	}
	defer closeAll()
	none := guard.Wanted{Handler: handler, Replace: c.Replace}
	return onEach(servers, func(m *mistServer) error {
		if c.DryRun {
			plan, err := none.Look(ctx, m)
			if err == nil {
				writePlan(s.out, m, plan, "would be ", "nothing was changed, as --dry-run says")
			}
			return err
		}
		plan, err := none.Put(ctx, m, c.Save)
		if err != nil {
			return err
		}
		end := outcome(plan, c.Save)
		if len(plan.Changes) == 0 {
			end = "no entry of authhook's is there: nothing was changed"
		}
		writePlan(s.out, m, plan, "", end)
		return nil
	})
}

// mistTypes are for the help.
func mistTypes(list []mist.Type) string {
	var names []string
	for _, t := range list {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}

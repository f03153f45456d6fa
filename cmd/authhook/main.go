// Command authhook decides who may watch and who may publish on MistServer.
//
// This package reads the settings, wires the parts together and runs them; it alone knows flags, the environment and
// exit codes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"authhook/internal/mist/guard"
	"authhook/internal/store"
)

// version is stamped in by the build.
var version = "dev"

// Exit codes.
const (
	exitOK    = 0
	exitError = 1 // it failed
	exitUsage = 2 // a setting or a file is wrong; nothing was changed
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// commands are authhook's command line.
type commands struct {
	Config  kong.ConfigFlag  `placeholder:"FILE" help:"Read settings from a YAML file: one line a flag of the command, such as 'listen: 127.0.0.1:4280'."`
	Version kong.VersionFlag `env:"-" help:"Print the version and leave."`

	Serve   serveCommand   `cmd:"" help:"Answer MistServer's triggers."`
	Apply   applyCommand   `cmd:"" help:"Put a catalog of plans, streams and prices in force."`
	Token   tokenCommand   `cmd:"" help:"Make a key for a user, or sign a JWT for trying out."`
	Keys    keysCommand    `cmd:"" help:"Make, list and withdraw keys of the API."`
	Billing billingCommand `cmd:"" help:"Look into the inbox of billing events, have them applied again, and fetch those that were missed."`
	Mist    mistCommand    `cmd:"" help:"Put triggers into MistServers, say what is wrong with them, list and end their sessions."`
	Explain explainCommand `cmd:"" help:"Say how a request would be decided, rule by rule, without effect."`
	Migrate migrateCommand `cmd:"" help:"Bring the database's tables up to date."`
	Demo    demoCommand    `cmd:"" help:"Show in a minute what authhook does, with nothing else installed."`
	Bench   benchCommand   `cmd:"" help:"Measure in a minute what authhook does on this machine."`
	Health  healthCommand  `cmd:"" help:"Say whether a service is healthy, for container images."`
}

// streams are where a command writes.
type streams struct{ out, err io.Writer }

// settingError says that a setting, an argument or a file given by the operator is wrong.
type settingError struct{ message string }

func (e *settingError) Error() string { return e.message }

func wrongSetting(format string, args ...any) error {
	return &settingError{fmt.Sprintf(format, args...)}
}

// run is main with everything it touches as a parameter. It returns the exit code.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	var cmds commands
	left := -1
	parser, err := kong.New(&cmds,
		kong.Name("authhook"),
		kong.Description("Decides who may watch and who may publish on MistServer, and changes its mind while they watch.\n\n"+
			"Every setting is a flag, or an environment variable AUTHHOOK_… of the same name, or a line in the file given with --config."),
		kong.Writers(out, errOut),
		kong.Exit(func(code int) { left = code }),
		kong.DefaultEnvars("AUTHHOOK"),
		kong.Configuration(readSettings),
		kong.Vars{"version": "authhook " + version, "mist_types": mistTypes(guard.Types()), "mist_default_types": mistTypes(guard.DefaultTypes())},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.ValueFormatter(describeSetting),
	)
	if err != nil {
		return report(errOut, err)
	}
	command, err := parser.Parse(args)
	if left >= 0 { // help or the version was asked for
		return left
	}
	if err != nil {
		return report(errOut, wrongSetting("%s", err))
	}
	command.BindTo(ctx, (*context.Context)(nil))
	return report(errOut, command.Run(streams{out, errOut}))
}

// describeSetting is a setting's help with its default, which kong leaves out where a placeholder stands in its place.
func describeSetting(v *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(v)
	if v.HasDefault && v.Tag.PlaceHolder != "" {
		help += " Default: " + v.Default + "."
	}
	return help
}

// report writes what went wrong, as one message, and says which exit code that is.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintf(w, "authhook: %s\n", err)
	var setting *settingError
	var invalid *store.InvalidError
	if errors.As(err, &setting) || errors.As(err, &invalid) {
		return exitUsage
	}
	return exitError
}

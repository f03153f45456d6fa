package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"authhook/internal/mist"
	"authhook/internal/mist/api"
	"authhook/internal/mist/guard"
	"authhook/internal/mist/misttest"
)

type demoCommand struct {
	Viewers int    `env:"-" default:"40" placeholder:"N" help:"How many viewers there are, 20 to 500."`
	Fast    bool   `env:"-" help:"Ten times as fast, the MistServer too."`
	Log     string `env:"-" placeholder:"FILE" help:"Where the service's log goes. Nowhere when left out."`
}

// fastPace is the length of everything under --fast.
const fastPace = 0.1

// fewestViewers have room for the cast, mostViewers for the times still to be those of a machine that is not busy.
const fewestViewers, mostViewers = 20, 500

// Run tells the story, and leaves nothing behind.
func (c *demoCommand) Run(ctx context.Context, s streams) error {
	if c.Viewers < fewestViewers || c.Viewers > mostViewers {
		return wrongSetting("--viewers %d: there can be %d to %d", c.Viewers, fewestViewers, mostViewers)
	}
	d := demo{viewers: c.Viewers, pace: 1, out: s.out, log: slog.DiscardHandler}
	if c.Fast {
		d.pace = fastPace
	}
	if c.Log != "" {
		file, err := os.Create(c.Log)
		if err != nil {
			return wrongSetting("--log: %s", err)
		}
		defer func() { _ = file.Close() }()
		log, flush := newLog(file, "info", "text")
		defer flush()
		d.log = log.Handler()
	}
	// A terminal that is closed, or a pipe that nobody reads any more, would end the program with its files left.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	return d.run(ctx)
}

// demo is the service, a stand-in for MistServer and one for what bills, and the people who watch and pay.
type demo struct {
	viewers int
	pace    float64 // 1: everything takes as long as it really does
	out     io.Writer
	log     slog.Handler
}

// demoNode is the stand-in's name.
const demoNode = "demo"

var (
	// errOutput says that what is told cannot be written.
	errOutput = errors.New("the demo cannot be told")
	// errLeftBehind says that something was not cleared away.
	errLeftBehind = errors.New("the demo could not clear up")
)

// run is the whole demo. Everything that it begins has ended when it returns, however it ends.
func (d *demo) run(ctx context.Context) (err error) {
	asked := ctx
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	tell := newDemoTeller(d.out, func(err error) { giveUp(fmt.Errorf("%w: %w", errOutput, err)) })
	stopping := sync.OnceFunc(func() { tell.text("\nStopping. ") })
	cleaned := func(failure error) {
		if failure != nil {
			err = errors.Join(err, fmt.Errorf("%w: %w", errLeftBehind, failure))
		}
	}
	defer func() {
		switch {
		case errors.Is(err, errLeftBehind):
		case errors.Is(err, syscall.EPIPE): // whoever read it has seen enough
			err = nil
		case asked.Err() != nil && errors.Is(err, context.Cause(asked)):
			stopping()
			tell.text("Nothing is left behind.\n")
			err = nil
		}
	}()
	dir, err := os.MkdirTemp("", "authhook-demo-")
	if err != nil {
		return err
	}
	defer func() { cleaned(os.RemoveAll(dir)) }()
	server, err := misttest.Start(misttest.Options{Name: demoNode, Timing: misttest.MeasuredTiming().Scaled(d.pace), Seed: 1})
	if err != nil {
		return err
	}
	defer func() { cleaned(server.Close()) }()
	heard := newOverheard(d.log)
	service, err := startDemoService(ctx, dir, d.catalog(), server.UDPURL(), heard, giveUp)
	if err != nil {
		return because(ctx, err)
	}
	defer func() { // MistServer first: then nobody asks any more
		if asked.Err() != nil {
			stopping() // a browser that looked at the service may hold up its end
		}
		cleaned(server.Close())
		cleaned(service.stop())
	}()
	if err := installDemoTriggers(ctx, server, service.url); err != nil {
		return because(ctx, err)
	}
	s, err := newDemoStory(ctx, d, tell, server, service, heard)
	if err != nil {
		return because(ctx, err)
	}
	defer s.close()
	return because(ctx, s.tellAll(ctx))
}

// because is why something failed: where the context ended, why it did.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// demoService is the service as "authhook serve" runs it.
type demoService struct {
	url, token                 string
	eventsSecret, stripeSecret string       // what its billing signs with
	stop                       func() error // ends it and waits
}

// startDemoService starts the service on a loopback port of its own, with a database in a directory, and no setting from
// anywhere else. When it fails later, it says so with failed.
func startDemoService(ctx context.Context, dir, catalog, mistURL string, log slog.Handler, failed func(error)) (*demoService, error) {
	catalogFile := filepath.Join(dir, "catalog.yaml")
	if err := os.WriteFile(catalogFile, []byte(catalog), 0o600); err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	s := &demoService{
		token: "demo-" + rand.Text(), eventsSecret: "whsec_" + base64.StdEncoding.EncodeToString(key), stripeSecret: "whsec_" + rand.Text(),
	}
	settings, err := readServeSettings(
		"--listen", "127.0.0.1:0", "--database-url", "sqlite:"+filepath.Join(dir, "authhook.db"),
		"--catalog", catalogFile, "--admin-token", s.token, "--mist", mistURL,
		"--events-secret", s.eventsSecret, "--stripe-secret", s.stripeSecret,
	)
	if err != nil {
		return nil, err
	}
	// It ends when it is told to, after all that needs it.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ready := &readyAddress{address: make(chan string, 1)}
	ended := make(chan error, 1)
	go func() {
		err := serve(running, settings, ready, slog.New(log))
		if running.Err() == nil {
			failed(fmt.Errorf("the service ended: %w", err))
		}
		ended <- err
	}()
	s.stop = sync.OnceValue(func() error {
		stop()
		return <-ended
	})
	select {
	case address := <-ready.address:
		s.url = "http://" + address
		return s, nil
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), s.stop())
	}
}

// readServeSettings reads the command line of "authhook serve", and neither the environment nor a file.
func readServeSettings(args ...string) (*serviceSettings, error) {
	var command struct {
		Serve serveCommand `cmd:""`
	}
	parser, err := kong.New(&command)
	if err != nil {
		return nil, err
	}
	if _, err := parser.Parse(append([]string{"serve"}, args...)); err != nil {
		return nil, err
	}
	return command.Serve.settings()
}

// readyAddress reads a service's welcome, which says where it answers.
type readyAddress struct {
	address chan string
	text    []byte
	found   bool
}

var answersOn = regexp.MustCompile(`answers on (\S+)\n`)

// Write takes a part of the welcome.
func (r *readyAddress) Write(p []byte) (int, error) {
	if r.found {
		return len(p), nil
	}
	r.text = append(r.text, p...)
	if m := answersOn.FindSubmatch(r.text); m != nil {
		r.found = true
		r.address <- string(m[1])
	}
	return len(p), nil
}

// installDemoTriggers puts the triggers into the stand-in, as "authhook mist install" does into a MistServer, with the one
// that gives each plan its rendition.
func installDemoTriggers(ctx context.Context, server *misttest.Server, service string) error {
	c, err := api.New(server.UDPURL(), api.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	wanted := guard.Wanted{Handler: service + "/trigger", Types: append(guard.DefaultTypes(), mist.TypePlayRewrite)}
	if err := wanted.Check(); err != nil {
		return err
	}
	_, err = wanted.Put(ctx, c, false)
	return err
}

// paced is a length of time at the demo's pace.
func (d *demo) paced(t time.Duration) time.Duration { return time.Duration(float64(t) * d.pace) }

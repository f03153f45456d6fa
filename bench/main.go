// Command bench measures all of authhook beside its references, and writes what it found: a table with each budget and its
// figure, and two pictures. It builds both programs and runs them as an operator would, over SQLite, over PostgreSQL, and over
// PostgreSQL with Redis:
//
//	make bench
//
// which is scripts/with-services go run ./bench. It takes minutes, and says what a machine does only where nothing else is done on
// it: the load at its begin and its end stand beside the figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"authhook/internal/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// asReference is the first argument with which this program is the reference.
const asReference = "reference"

// The variables of the environment in which scripts/with-services names its servers, and the one that asks for less.
const (
	postgresVariable = "AUTHHOOK_TEST_POSTGRES"
	redisVariable    = "AUTHHOOK_TEST_REDIS"
	shortVariable    = "BENCH_SHORT"
)

// run is main with what it touches as parameters.
func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == asReference {
		return reference(ctx, args[1:])
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(out)
	short := flags.Bool("short", os.Getenv(shortVariable) != "", "ask as little as shows that all of it works ("+shortVariable+"=1)")
	rounds := flags.Int("rounds", 0, "how many `times` each is measured; 0: as many as are needed")
	to := flags.String("out", "bench", "the `directory` for RESULTS.md and the pictures")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no argument: see -help", flags.Arg(0))
	}
	s := &suite{pace: full, postgres: os.Getenv(postgresVariable), redis: os.Getenv(redisVariable)}
	if s.postgres == "" || s.redis == "" {
		return errors.New("no PostgreSQL and Redis to measure with: run it as `make bench`, or name them in " + postgresVariable + " and " + redisVariable)
	}
	if *short {
		s.pace = smoke
	}
	if *rounds > 0 {
		s.pace.Rounds = *rounds
	}
	began := time.Now()
	s.tell = func(format string, values ...any) {
		_, _ = fmt.Fprintf(out, "%4.0f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, values...))
	}
	found, err := s.measure(ctx)
	if err != nil {
		return err
	}
	if err := found.writeFiles(*to); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out)
	if err := found.writeTables(out); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "\nIn %s: RESULTS.md, throughput.svg, latency.svg\n", *to)
	return nil
}

// reference answers as authhook would, without deciding anything.
func reference(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(asReference, flag.ContinueOnError)
	listen, socket := flags.String("listen", "", "address"), flags.String("socket", "", "path")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return bench.ServeReference(ctx, *listen, *socket)
}

//go:build linux

// Command authhook-trigger is the handler for MistServer's triggers in the executable style: MistServer starts it for
// each trigger, and it passes the trigger on to the authhook service over a Unix socket and prints the answer. That is
// faster than a trigger over HTTP, because MistServer wakes up at once when an executable ends.
//
// Whatever goes wrong, it prints the trigger's configured default (MIST_TRIG_DEF; "false" if there is none), says why on
// standard error, and exits 0, within 5 s. It must never print anything else, never print part of an answer that was cut
// off, and never fail because of what a viewer sends: a failure means the default, and the default may be to allow.
//
// Each trigger pays for its start-up anew. So it imports no net, fmt or log, and starts no goroutine.
package main

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"time"

	"authhook/internal/wire"
)

// Set at link time: -ldflags "-X main.defaultSocket=/path -X main.version=1.2.3".
var (
	defaultSocket = "/run/authhook/trigger.sock"
	version       = "development"
)

// limit is how long it may take in all, so that it ends within 5 s. The answer is waited for as long as
// [wire.Patience]; the rest is for printing.
const limit = 4700 * time.Millisecond

const usage = `authhook-trigger answers MistServer's triggers by asking the authhook service.

It is not for running by hand: write its bare path as the handler of a trigger. MistServer gives it the trigger's type as
its argument, the parameters on standard input, and MIST_TRIG_DEF, which it prints when the service does not answer.

  AUTHHOOK_SOCKET   the service's Unix socket (`

func main() {
	start := time.Now()
	if len(os.Args) == 2 && spokenByAPerson(os.Args[1]) {
		return
	}
	answer, err := ask(start.Add(wire.Patience))
	if err != nil {
		answer = []byte(defaultAnswer())
	}
	// A failure is nobody's concern: MistServer does not read the answer of a trigger that is not blocking.
	_ = writeAll(syscall.Stdout, answer, start.Add(limit))
	if err != nil {
		complain(err)
	}
}

// spokenByAPerson answers the arguments that no trigger type looks like.
func spokenByAPerson(arg string) bool {
	switch arg {
	case "-h", "-help", "--help":
		_, _ = os.Stdout.WriteString(usage + defaultSocket + ")\n")
	case "-version", "--version":
		_, _ = os.Stdout.WriteString("authhook-trigger " + version + "\n")
	default:
		return false
	}
	return true
}

// defaultAnswer is what MistServer would go by without an answer.
func defaultAnswer() string {
	if d, ok := os.LookupEnv("MIST_TRIG_DEF"); ok {
		return d
	}
	return "false"
}

// ask reads the trigger and has the service answer it. A fault of this program's own is a failure like any other.
func ask(until time.Time) (answer []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			answer, err = nil, errors.New("authhook-trigger panicked")
		}
	}()
	path := os.Getenv("AUTHHOOK_SOCKET")
	if path == "" {
		path = defaultSocket
	}
	call := wire.Call{
		Type:       os.Getenv("MIST_TRIGGER"),
		UUID:       os.Getenv("MIST_TUUID"),
		Instance:   os.Getenv("MIST_INSTANCE"),
		Name:       os.Getenv("MIST_NAME"),
		Default:    os.Getenv("MIST_TRIG_DEF"),
		UnixMillis: number("MIST_TIME", 64),
		PID:        int(number("MIST_PID", 32)),
	}
	if len(os.Args) > 1 {
		call.Type = os.Args[1]
	}
	if call.Body, err = readAll(syscall.Stdin, body[:], until); err != nil {
		return nil, failure{"read standard input", err}
	}
	request, err := wire.AppendCall(frame[:0], &call)
	if err != nil {
		return nil, failure{"the trigger's environment", err}
	}
	answer, err = exchange(path, request, until)
	if err != nil {
		return nil, failure{"ask " + path, err}
	}
	return answer, nil
}

// Memory that costs nothing until it is written to. One byte more than a body may have shows that there is more.
var (
	body  [wire.MaxBody + 1]byte
	frame [wire.MaxCall]byte
)

// number reads a number of the environment; 0 when it is none.
func number(name string, bits int) int64 {
	n, err := strconv.ParseInt(os.Getenv(name), 10, bits)
	if err != nil {
		return 0
	}
	return n
}

// failure says what was being done when err happened.
type failure struct {
	doing string
	err   error
}

func (f failure) Error() string { return f.doing + ": " + f.err.Error() }
func (f failure) Unwrap() error { return f.err }

// complain tells the reader of MistServer's log, if standard error takes it at once.
func complain(err error) {
	text := "authhook-trigger: " + err.Error()
	text = text[:min(len(text), 1000)] + "; the answer is the trigger's default\n"
	_ = writeAll(syscall.Stderr, []byte(text), time.Now().Add(time.Millisecond))
}

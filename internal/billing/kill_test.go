package billing_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/catalog"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/storetest"
)

// asTaker has this test binary take billing events in and apply them, on the database that it names, so that it can be killed.
const asTaker = "AUTHHOOK_TEST_AS_TAKER"

func init() {
	if address := os.Getenv(asTaker); address != "" {
		err := takeIn(context.Background(), address, os.Stdin, os.Stdout)
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// request is a letter as it goes to a taker, a line of JSON.
type request struct {
	Name, Provider string
	Header         http.Header
	Body           []byte
}

// A taker first says which events were in the inbox and not applied when it began, a line each, and then that this is all.
const (
	waits = "waits "
	begun = "begun"
)

// takeIn is an authhook as far as billing goes: it receives each event that it is sent, acknowledges it once that is done, and
// applies what is in the inbox. It does not end by itself.
func takeIn(ctx context.Context, address string, in io.Reader, out io.Writer) error {
	s, err := opensAt(address)(ctx)
	if err != nil {
		return err
	}
	known, err := billers()
	if err != nil {
		return err
	}
	c, err := catalog.Parse("catalog.yaml", []byte(shop))
	if err != nil {
		return err
	}
	waiting, err := s.BillingEvents(ctx, store.EventFilter{State: store.EventReceived, Limit: store.MaxFacts})
	if err != nil {
		return err
	}
	applier := billing.NewApplier(s, known, billing.ApplierOptions{
		Catalog: func() *policy.Catalog { return c }, Now: time.Now, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	receiver := billing.NewReceiver(known, s, applier.Wake, time.Now)
	for _, e := range waiting {
		fmt.Fprintln(out, waits+e.Provider+" "+e.ID)
	}
	fmt.Fprintln(out, begun)
	go func() { _ = applier.Run(ctx) }()
	failed := make(chan error)
	var writing sync.Mutex
	go func() {
		lines := bufio.NewReader(in)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				failed <- err
				return
			}
			go func() {
				var r request
				err := json.Unmarshal(line, &r)
				if err == nil {
					err = receiver.Receive(ctx, r.Provider, r.Header, r.Body)
				}
				if err != nil {
					failed <- err
					return
				}
				writing.Lock()
				defer writing.Unlock()
				fmt.Fprintln(out, r.Name)
			}()
		}
	}()
	return <-failed
}

// taker is a process that takes events in.
type taker struct {
	t       *testing.T
	process *exec.Cmd
	in      io.WriteCloser
	lines   chan string // what it says; closed at its end
	errs    *strings.Builder
}

func startTaker(t *testing.T, address string) *taker {
	k := &taker{t: t, process: exec.Command(os.Args[0]), lines: make(chan string), errs: new(strings.Builder)}
	k.process.Env = append(os.Environ(), asTaker+"="+address)
	k.process.Stderr = k.errs
	var err error
	k.in, err = k.process.StdinPipe()
	require.NoError(t, err)
	out, err := k.process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, k.process.Start())
	go func() {
		defer close(k.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			k.lines <- lines.Text()
		}
	}()
	return k
}

// send hands it letters, all at once. One that is dead already does not take them.
func (k *taker) send(letters []letter) {
	var all []byte
	for _, l := range letters {
		line, err := json.Marshal(request{l.name(), l.provider, l.signed(k.t, time.Now()), l.body})
		require.NoError(k.t, err)
		all = append(append(all, line...), '\n')
	}
	_, _ = k.in.Write(all)
}

// kill ends it as kill -9 does, and returns what it had said and nobody had read.
func (k *taker) kill() (said []string) {
	_ = k.process.Process.Kill()
	for line := range k.lines {
		said = append(said, line)
	}
	_ = k.process.Wait()
	return said
}

// kills is how often a process is killed: [killsSetting] times where that is set (make kills), else a thousand times, or, where
// the race detector makes each start ten times as long, a hundred times.
func kills(t *testing.T) int {
	if n, err := strconv.Atoi(os.Getenv(killsSetting)); err == nil {
		return n
	}
	info, ok := debug.ReadBuildInfo()
	require.True(t, ok)
	if slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 100
	}
	return 1000
}

const killsSetting = "AUTHHOOK_TEST_KILLS"

func TestKilledBetweenCommitAndEffect(t *testing.T) {
	address := filepath.Join(t.TempDir(), "authhook.db")
	s, err := opensAt(address)(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Migrate(t.Context()))
	require.NoError(t, s.Close())
	killed(t, address, kills(t))
}

// On PostgreSQL the connections of the killed end, and with them what was not committed.
func TestKilledBetweenCommitAndEffectOnPostgres(t *testing.T) {
	address := storetest.PostgresSchema(t)
	s, err := opensAt(address)(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Migrate(t.Context()))
	require.NoError(t, s.Close())
	killed(t, address, kills(t)/10)
}

// killed has a process that takes events in killed at any moment, again and again, and another one go on. What was not
// acknowledged is sent again, and now and then what was. In the end nothing that was acknowledged is missing, every event was
// applied once, and what users may watch is what follows in order.
func killed(t *testing.T, address string, kills int) {
	random := rand.New(rand.NewPCG(4, 5))
	names := make([]string, max(2, kills/25)) // so that there is something to be told in most lives
	for i := range names {
		names[i] = fmt.Sprint("user-", i)
	}
	told := years(t, afterAll, names...)
	unsent, acknowledged := slices.Clone(told), map[string]bool{}
	var lives, between int         // lives that began, and those whose predecessor had acknowledged what it had not applied
	var last, this map[string]bool // what the life before and this one acknowledged
	var waiting []string           // what waited when this one began
	var acks int                   // until this one is to end, or begin to
	hear := func(line string) {
		if name, ok := strings.CutPrefix(line, waits); ok {
			waiting = append(waiting, name)
		} else if line == begun {
			lives++
			if slices.ContainsFunc(waiting, func(name string) bool { return last[name] }) {
				between++
			}
		} else {
			acknowledged[line], this[line] = true, true
			acks--
		}
	}
	start := func() *taker {
		last, this, waiting = this, map[string]bool{}, nil
		return startTaker(t, address)
	}
	// sends is what a life is sent: some of what was not acknowledged, now and then something else, in a random order.
	sends := func(left int) []letter {
		unsent = slices.DeleteFunc(unsent, func(l letter) bool { return acknowledged[l.name()] })
		n := min(len(unsent), 1+random.IntN(1+2*len(unsent)/left))
		letters := slices.Clone(unsent[:n])
		for range max(1-n, random.IntN(3)) {
			letters = append(letters, told[random.IntN(len(told))])
		}
		random.Shuffle(len(letters), func(i, j int) { letters[i], letters[j] = letters[j], letters[i] })
		return letters
	}
	var k *taker
	t.Cleanup(func() {
		if k != nil {
			k.kill()
		}
	})
	for i := range kills {
		k = start()
		letters := sends(kills - i)
		k.send(letters)
		// The end comes some time after the start, at an acknowledgement, or some time after that.
		late := 0
		acks = 1 + random.IntN(len(letters))
		var end <-chan time.Time
		switch random.IntN(6) {
		case 0:
			end = time.After(time.Duration(random.IntN(40)) * time.Millisecond)
		case 1, 2:
			late = random.IntN(5_000)
		case 3:
			late = random.IntN(60_000)
		}
		for alive := true; alive; {
			select {
			case line, ok := <-k.lines:
				require.True(t, ok, "it ended by itself: %s", k.errs)
				hear(line)
				if acks == 0 && end == nil {
					end = time.After(time.Duration(late) * time.Microsecond)
				}
			case <-end:
				alive = false
			}
		}
		for _, line := range k.kill() {
			hear(line)
		}
	}
	t.Logf("%d kills; of %d lives that began, %d found events that the one before had acknowledged and not applied; %d of %d events acknowledged",
		kills, lives, between, len(acknowledged), len(told))
	require.Greater(t, between, kills/5, "many must die between the commit and the effect")

	// The last one may live until all is done.
	k = start()
	k.send(unsent)
	for len(acknowledged) < len(told) {
		line, ok := <-k.lines
		require.True(t, ok, "it ended by itself: %s", k.errs)
		hear(line)
	}
	s, err := opensAt(address)(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	require.Eventually(t, func() bool {
		counts, err := s.EventCounts(t.Context())
		require.NoError(t, err)
		return counts[store.EventReceived] == 0
	}, time.Minute, 10*time.Millisecond)
	k.kill()
	settled(t, s, told)
	balanced(t, s, told)
	template := databases(t)["sqlite"]
	require.Equal(t, inOrder(t, template(t), told), picture(t, s, told))
}

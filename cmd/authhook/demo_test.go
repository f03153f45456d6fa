package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// nothingLeft has whatever is made in the temporary directory made in one of the test's, and returns a check that nothing
// is left: no file, no goroutine, and, where the demo said which it has, no port.
func nothingLeft(t *testing.T) (check func(told string)) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	before := goleak.IgnoreCurrent()
	return func(told string) {
		t.Helper()
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Empty(t, left)
		goleak.VerifyNone(t, before)
		for _, m := range regexp.MustCompile(`(?m)^  (?:the service +http://|MistServer +)(\S+)`).FindAllStringSubmatch(told, -1) {
			listener, err := net.Listen("tcp", m[1])
			if assert.NoError(t, err) {
				_ = listener.Close()
			}
			packets, err := net.ListenPacket("udp", m[1])
			if assert.NoError(t, err) {
				_ = packets.Close()
			}
		}
	}
}

// toldLine is a line of the story.
type toldLine struct {
	at                       time.Duration
	who, what, outcome, text string
}

// after is the time that the line says something took.
func (l toldLine) after(t *testing.T) time.Duration {
	m := regexp.MustCompile(`^([\d,]+) ms after `).FindStringSubmatch(l.text)
	require.NotNil(t, m, l)
	n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
	require.NoError(t, err)
	return time.Duration(n) * time.Millisecond
}

var storyLines = regexp.MustCompile(`(?m)^ *\d+\.\d\d  .*$`)

var storyLine = regexp.MustCompile(`^ *(\d+\.\d\d)  (.{13}) (.{34}) (\S*) *(.*)$`)

// readStory are the story's lines by who they are about, with all devices of a user as one, and the others as "".
func readStory(t *testing.T, told string) map[string][]toldLine {
	t.Helper()
	lines := map[string][]toldLine{}
	for line := range strings.Lines(told) {
		m := storyLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		seconds, err := strconv.ParseFloat(m[1], 64)
		require.NoError(t, err)
		l := toldLine{time.Duration(seconds * float64(time.Second)), strings.TrimSpace(m[2]), strings.TrimSpace(m[3]), m[4], m[5]}
		user, _, _ := strings.Cut(l.who, "'")
		if l.who[0] >= '0' && l.who[0] <= '9' {
			user = ""
		}
		lines[user] = append(lines[user], l)
	}
	return lines
}

func TestDemoTellsWhatHappens(t *testing.T) {
	check := nothingLeft(t)
	t.Setenv("AUTHHOOK_SESSION_MODE", "99") // no setting of a service is the demo's
	log := filepath.Join(t.TempDir(), "log")
	told := mustAuthhook(t, "demo", "--fast", "--viewers", "27", "--log", log)
	check(told)
	t.Log(told)

	story := readStory(t, told)
	for who, want := range map[string][]string{
		"frank":   {"ALLOWED public"},
		"eve":     {"DENIED credential_missing"},
		"mallory": {"DENIED credential_unknown"},
		"ada": {"ALLOWED preview", "CUT", "DENIED payment_required", "paid payment.succeeded", "UNLOCKED", "ALLOWED entitled",
			"refunded payment.refunded", "CUT", "DENIED payment_required"},
		"bob": {"ALLOWED entitled, is given movie_sd", "upgraded subscription.changed", "BOUNCED", "ALLOWED entitled, is given movie"},
		"carol": {"ALLOWED entitled", "failed invoice.payment_failed", "grace customer.subscription.updated", "CUT",
			"DENIED entitlement_expired"},
		"dave": {"ALLOWED entitled", "failed subscription.changed", "CUT", "DENIED entitlement_expired", "paid payment.succeeded",
			"UNLOCKED", "ALLOWED entitled", "DENIED concurrency_limit"},
		"gina":  {"ALLOWED entitled", "ALLOWED entitled", "ALLOWED entitled", "CUT", "DENIED concurrency_limit"},
		"heidi": {"paid payment.succeeded", "ALLOWED entitled", "CUT", "DENIED entitlement_expired"},
		"ivan": {"paid payment.succeeded", "ALLOWED entitled", "again nothing changes", "late nothing changes",
			"disputed payment.disputed", "CUT", "DENIED hold", "won dispute.closed", "UNLOCKED", "ALLOWED entitled"},
		"the operator": {"changed"},
		"": {"ALLOWED entitled 7, public 4", "DENIED payment_required 3", "paid payment.succeeded, each",
			"failed subscription.changed, each", "UNLOCKED", "CUT", " asked about again: 0, cut: 0", "CUT"},
	} {
		var got []string
		for i, l := range story[who] {
			said := l.outcome + " " + l.text
			if strings.Contains(l.text, " ms") {
				said = l.outcome
			}
			got = append(got, strings.TrimRight(said, " "))
			if i > 0 {
				assert.GreaterOrEqual(t, l.at, story[who][i-1].at, "%q after %q", l, story[who][i-1])
			}
		}
		assert.Equal(t, want, got, who)
	}
	for _, l := range story["carol"] {
		if l.outcome == "grace" {
			assert.Contains(t, l.what, "0.6 s")
		}
	}
	gina := story["gina"]
	assert.Equal(t, []string{"gina's tv", "gina's tv"}, []string{gina[3].who, gina[4].who}, "the oldest one had to go")

	var last int
	for n, title := range []string{"The doors open", "Pay per view", "A card fails", "An upgrade", "One screen too many", "Time runs out", "A dispute and a refund", "Everything at once", "The fight is over", "That was"} {
		if n < 9 {
			title = fmt.Sprintf("\n%d  %s\n", n+1, title)
		}
		at := strings.Index(told, title)
		assert.Greater(t, at, last, title)
		last = at
	}
	for line := range strings.Lines(told) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), 100, line)
	}
	assert.NotContains(t, told, "\x1b", "no colours where there is no terminal")
	assert.NotContains(t, told, "level=")
	written, err := os.ReadFile(log)
	require.NoError(t, err)
	assert.Contains(t, string(written), "reason=entitled")
	assert.Contains(t, string(written), "msg=\"unlock confirmed\"")
	// What was bought before by 4 of the cast and 7 of the crowd, what is told of one by one, and what 7 of the crowd do in the end.
	assert.Equal(t, 4+7+12+7, strings.Count(string(written), "msg=\"billing event\""), "each webhook counts once")
	assert.NotContains(t, string(written), "level=WARN")
	for _, state := range []string{"stale", "unlinked", "ignored"} {
		assert.NotContains(t, string(written), "state="+state)
	}
	assert.NotContains(t, string(written), "whsec_")
	assert.NotContains(t, told, "whsec_")

	checkDemoTimes(t, told, story)
}

// checkDemoTimes holds the times that are told against each other and against what a MistServer takes at least.
func checkDemoTimes(t *testing.T, told string, story map[string][]toldLine) {
	t.Helper()
	const rounded = 15 * time.Millisecond
	effects := map[string]string{"failed": "CUT", "disputed": "CUT", "refunded": "CUT", "won": "UNLOCKED", "paid": "UNLOCKED", "upgraded": "BOUNCED"}
	cuts, lifts := 0, 0
	for who, lines := range story {
		for i, l := range lines {
			n := 1
			if who == "" {
				n, _ = strconv.Atoi(strings.Fields(l.who)[0])
			}
			switch l.outcome {
			case "CUT", "BOUNCED":
				cuts += n
			case "UNLOCKED":
				lifts += n
			}
			if who == "" || i == 0 {
				continue
			}
			switch l.outcome {
			case "CUT", "BOUNCED":
				assert.GreaterOrEqual(t, l.after(t), 7*time.Millisecond, "%q", l)
			case "UNLOCKED":
				assert.GreaterOrEqual(t, l.after(t), 20*time.Millisecond, "%q", l)
			}
			before := lines[i-1]
			if before.outcome == "DENIED" && (l.outcome == "paid" || l.outcome == "won") {
				assert.GreaterOrEqual(t, l.at-before.at, 110*time.Millisecond, "there is time to read %q", before)
			}
			if l.outcome != "" && strings.Contains(effects[before.outcome], l.outcome) {
				assert.InDelta(t, l.at-before.at, l.after(t), float64(rounded), "%q and %q", before, l)
			}
		}
	}
	for what, n := range map[string]int{
		"authhook had told MistServer":        cuts + lifts,
		`the picture ended`:                   cuts,
		"MistServer had forgotten the denial": lifts,
		"was back":                            lifts,
	} {
		assert.Regexp(t, fmt.Sprintf(`(?m)^    until .*%s.* %d +[\d,]+ ms +[\d,]+ ms$`, what, n), told)
	}
	for _, reason := range []string{"preview +1", "hold +1", "credential_unknown +1", "concurrency_limit +2", `entitlement_expired +\d+`} {
		assert.Regexp(t, `(?m) `+reason+`\b`, told)
	}
}

// stopDemoAt runs a demo, and stops it when what it tells, or its service's log, has a text. It says how long that took.
func stopDemoAt(t *testing.T, text string) (told string, took time.Duration, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var once sync.Once
	var stopped time.Time
	stop := func() {
		once.Do(func() {
			stopped = time.Now()
			cancel()
		})
	}
	if text == "" {
		stop()
	}
	out := &lookedAt{text: text, seen: stop}
	log := &lookedAt{text: text, seen: stop}
	d := demo{viewers: fewestViewers, pace: fastPace, out: out, log: slog.NewTextHandler(log, nil)}
	err = d.run(ctx)
	require.False(t, stopped.IsZero(), "%q never came:\n%s", text, out.b.String())
	return out.b.String(), time.Since(stopped), err
}

// lookedAt says when a text was written to it.
type lookedAt struct {
	text string
	seen func()
	mu   sync.Mutex
	b    bytes.Buffer
}

func (w *lookedAt) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.b.Write(p)
	if w.text != "" && strings.Contains(w.b.String(), w.text) {
		w.seen()
	}
	return n, err
}

func TestDemoStopsAtOnceAndLeavesNothing(t *testing.T) {
	for _, at := range []string{
		"", "msg=listening", "operation=addCredential", `msg="billing event"`, "the service", "The doors open", "mallory", "(no ticket)", "CUT", "UNLOCKED",
	} {
		t.Run(at, func(t *testing.T) {
			check := nothingLeft(t)
			told, took, err := stopDemoAt(t, at)
			require.NoError(t, err)
			assert.Less(t, took, 2*time.Second)
			const end = "\nStopping. Nothing is left behind.\n"
			assert.True(t, strings.HasSuffix(told, end), told)
			assert.NotContains(t, told, "That was")
			if lines := storyLines.FindAllString(told, -1); len(lines) > 0 {
				last := lines[len(lines)-1]
				assert.Contains(t, last, at, "each line is told when it happens, and the next one later")
				assert.True(t, strings.HasSuffix(told, last+"\n"+end), told)
			}
			check(told)
		})
	}
}

// closedPipe fails once it has taken some lines.
type closedPipe struct {
	lines int
	err   error
}

func (p *closedPipe) Write(b []byte) (int, error) {
	if p.lines--; p.lines < 0 {
		return 0, p.err
	}
	return len(b), nil
}

func TestDemoEndsWhenItCannotBeTold(t *testing.T) {
	full := errors.New("no space left")
	for _, test := range []struct{ says, want error }{{syscall.EPIPE, nil}, {full, full}} {
		t.Run(test.says.Error(), func(t *testing.T) {
			check := nothingLeft(t)
			d := demo{viewers: fewestViewers, pace: fastPace, out: &closedPipe{25, test.says}, log: slog.DiscardHandler}
			began := time.Now()
			require.ErrorIs(t, d.run(t.Context()), test.want)
			assert.Less(t, time.Since(began), 4*time.Second, "it did not go on to its end")
			check("")
		})
	}
}

func TestDemoSaysWhyItCannotBe(t *testing.T) {
	for _, n := range []string{"19", "501"} {
		_, errOut, code := authhook(t, "demo", "--viewers", n)
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, errOut, "--viewers "+n)
	}
	_, errOut, code := authhook(t, "demo", "--log", filepath.Join(t.TempDir(), "no", "log"))
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errOut, "--log")
	t.Setenv("TMPDIR", "/nonexistent")
	out, errOut, code := authhook(t, "demo")
	assert.Equal(t, exitError, code)
	assert.Contains(t, errOut, "/nonexistent")
	assert.Empty(t, out)
}

func TestDemoColoursAreForTerminals(t *testing.T) {
	// A character device, as a terminal is.
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer func() { _ = terminal.Close() }()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	assert.True(t, takesColours(terminal))
	assert.False(t, takesColours(file))
	assert.False(t, takesColours(new(bytes.Buffer)))
	t.Setenv("TERM", "dumb")
	assert.False(t, takesColours(terminal))
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	assert.False(t, takesColours(terminal))

	var b bytes.Buffer
	tell := newDemoTeller(&b, nil)
	tell.colours = true
	tell.line(tell.began, "ada", "opens movie", "DENIED", "hold")
	assert.Equal(t, "  0.00  ada           opens movie                        \x1b[31mDENIED  \x1b[0m  hold\n", b.String())
}

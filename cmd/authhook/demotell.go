package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// Colours, as a terminal takes them.
const (
	demoBold, demoFaint            = "1", "2"
	demoRed, demoGreen, demoYellow = "31", "32", "33"
)

// outcomeColours are those of what a line of the story comes to. The others have none.
var outcomeColours = map[string]string{
	"ALLOWED": demoGreen, "UNLOCKED": demoGreen, "DENIED": demoRed, "CUT": demoRed, "BOUNCED": demoYellow,
}

// demoTeller writes the story, in columns that fit a hundred.
type demoTeller struct {
	colours bool
	failed  func(error)

	mu    sync.Mutex
	w     io.Writer
	began time.Time
	dead  bool
}

func newDemoTeller(w io.Writer, failed func(error)) *demoTeller {
	return &demoTeller{w: w, failed: failed, began: time.Now(), colours: takesColours(w)}
}

// takesColours says whether colours are wanted: on a terminal, unless NO_COLOR says otherwise (no-color.org).
func takesColours(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// text writes some text as it is.
func (t *demoTeller) text(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return
	}
	if _, err := fmt.Fprintf(t.w, format, args...); err != nil {
		t.dead = true
		t.failed(err)
	}
}

// begin is when the story begins.
func (t *demoTeller) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.began = time.Now()
}

func (t *demoTeller) paint(colour, text string) string {
	if !t.colours || colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// act begins a part of the story, and says in a few words what to see in it.
func (t *demoTeller) act(number int, title string, about ...string) {
	t.text("\n%s\n", t.paint(demoBold, fmt.Sprintf("%d  %s", number, title)))
	for _, line := range about {
		t.text("   %s\n", t.paint(demoFaint, line))
	}
}

// line tells what happened at a moment.
func (t *demoTeller) line(at time.Time, who, what, outcome, why string) {
	t.text("%s\n", strings.TrimRight(fmt.Sprintf("%6.2f  %-13s %-34s %s  %s",
		max(at.Sub(t.began), 0).Seconds(), who, what, t.paint(outcomeColours[outcome], fmt.Sprintf("%-8s", outcome)), why), " "))
}

// demoMS is a time that was measured, to the millisecond.
func demoMS(d time.Duration) string {
	n := d.Round(time.Millisecond).Milliseconds()
	if n >= 1000 {
		return fmt.Sprintf("%d,%03d ms", n/1000, n%1000)
	}
	return fmt.Sprintf("%d ms", n)
}

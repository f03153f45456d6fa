package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"authhook/internal/mist/misttest"
)

// introduce says what is there.
func (s *demoStory) introduce() {
	t := s.tell
	length := "It takes about a minute"
	if s.pace != 1 {
		length = fmt.Sprintf("Everything goes %.0f times as fast as it really would, MistServer too", 1/s.pace)
	}
	t.text("%s\n%s. Ctrl-C ends it.\n\n",
		t.paint(demoBold, "authhook demo: who may watch, and what becomes of them when that changes"), length)
	row := func(name, what, about string) {
		t.text("%s\n", strings.TrimRight(fmt.Sprintf("  %-15s %-31s ", name, what)+t.paint(demoFaint, about), " "))
	}
	row("the service", s.service.url, "the real one, on a database that is thrown away")
	row("MistServer", s.server.Addr(), "a stand-in: plays nothing, but asks, remembers and")
	row("", "", "ends viewers as a real 3.10 does, in its own time")
	row("billing", s.service.url+"/billing", "a stand-in: tells by signed webhooks who has paid,")
	row("", "", "its own and, for Carol, some as Stripe sends them")
	t.text("\n")
	row("look meanwhile", s.service.url+"/docs", "the API, to be tried out with the key below")
	row("", s.service.url+"/metrics", "what the service counts")
	t.text("                  curl -H 'Authorization: Bearer %s' \\\n                    '%s/api/v1/sessions?state=open'\n\n", s.service.token, s.service.url)
	row("on sale", "basic      sport, and the movie in SD, on one screen", "")
	row("", "gold       sport, the movie in HD, and the fight, on two screens", "")
	row("", "a ticket   the fight alone", "")
	t.text("\n%s\n", t.paint(demoBold, fmt.Sprintf("%6s  %-13s %-34s %-8s  %s", "sec", "who", "what happens", "outcome", "why, how soon, or which webhook")))
}

// summarize says what came of it all.
func (s *demoStory) summarize(took time.Duration) {
	t := s.tell
	t.text("\n%s\n\n", t.paint(demoBold, fmt.Sprintf("That was %.0f seconds and %d viewers.", took.Seconds(), s.connected)))
	counts := s.words.all()
	var sides [2][]string
	for _, v := range slices.SortedFunc(maps.Keys(counts), compareVerdicts) {
		side := 0
		if !v.allow {
			side = 1
		}
		sides[side] = append(sides[side], fmt.Sprintf("%-22s %5d", v.reason, counts[v]))
	}
	t.text("  Decisions     %s    %s\n", t.paint(demoGreen, fmt.Sprintf("%-28s", "ALLOWED")), t.paint(demoRed, "DENIED"))
	for i := range max(len(sides[0]), len(sides[1])) {
		var row [2]string
		for side := range sides {
			if i < len(sides[side]) {
				row[side] = sides[side][i]
			}
		}
		t.text("%s\n", strings.TrimRight(fmt.Sprintf("                %-28s    %s", row[0], row[1]), " "))
	}
	t.text("\n  %-62s %8s %9s %9s\n", "Times from the webhook, or from another cause", "how many", "median", "slowest")
	for _, row := range []struct {
		what  string
		times []time.Duration
	}{
		{"until authhook had told MistServer", s.times.told},
		{"until the picture ended (CUT, BOUNCED)", s.times.cut},
		{"until MistServer had forgotten the denial (UNLOCKED)", s.times.lifted},
		{"until the player, which tries every second, was back", s.times.back},
	} {
		slices.Sort(row.times)
		if n := len(row.times); n > 0 {
			t.text("    %-60s %8d %9s %9s\n", row.what, n, demoMS(row.times[(n-1)/2]), demoMS(row.times[n-1]))
		}
	}
	timing := misttest.MeasuredTiming().Scaled(s.pace)
	t.text("  %s\n", t.paint(demoFaint, fmt.Sprintf("Of that MistServer takes %d to %s to end a session, and %d to %s to forget a denial.",
		timing.StopAfter.Min.Milliseconds(), demoMS(timing.StopAfter.Max), timing.LiftAfter.Min.Milliseconds(), demoMS(timing.LiftAfter.Max))))
	t.text(`
Next, for a MistServer of your own:

  authhook serve --catalog catalog.yaml                  # examples/catalog.yaml is a beginning
  authhook mist install                                  # has your MistServer ask
  authhook token alice --create --plan gold --for 720h   # a key, for ?tkn=… in a player's URL
`)
}

// demoSpread is the median and the slowest of what was measured.
func demoSpread(times []time.Duration) string {
	if len(times) == 0 {
		return ""
	}
	slices.Sort(times)
	return fmt.Sprintf("median %s, slowest %s", demoMS(times[(len(times)-1)/2]), demoMS(times[len(times)-1]))
}

func compareVerdicts(a, b demoVerdict) int { return strings.Compare(a.reason, b.reason) }

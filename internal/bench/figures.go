package bench

import "fmt"

// Reference is the trial of the bare handler in a way.
func Reference(trials []*Trial, way string) *Trial { return Find(trials, way, "bare chi") }

// Find is the trial of a subject in a way; nil when there is none.
func Find(trials []*Trial, way, subject string) *Trial {
	for _, t := range trials {
		if t.Way == way && t.Subject == subject {
			return t
		}
	}
	return nil
}

// Throughput is a table of how much is answered in a second.
func Throughput(trials []*Trial) *Table {
	t := &Table{Texts: 2, Head: []string{"way", "who answers", "requests a second", "of bare chi's", "least to most of it"}}
	for _, trial := range trials {
		ratio, least, most := trial.Ratio(Reference(trials, trial.Way))
		t.Add(trial.Way, trial.Subject, Thousands(trial.PerSecond()), fmt.Sprintf("%.2f", ratio), fmt.Sprintf("%.2f to %.2f", least, most))
	}
	return t
}

// Denied is how many were asked of all trials, and how many of those were denied though entitled, since their facts could not be
// read in time.
func Denied(trials []*Trial) (denied, asked int) {
	for _, t := range trials {
		for _, r := range t.Rounds {
			denied += r.Alone.Denied + r.Busy.Denied
			asked += len(r.Alone.Times) + len(r.Busy.Times)
		}
	}
	return denied, asked
}

// Latency is a table of how long an answer takes.
func Latency(trials []*Trial, askers int) *Table {
	t := &Table{Texts: 2, Head: []string{"way", "who answers", "alone, p50", "p99", fmt.Sprintf("%d at once, p50", askers), "p99"}}
	for _, trial := range trials {
		alone50, alone99 := trial.Latency(false)
		busy50, busy99 := trial.Latency(true)
		t.Add(trial.Way, trial.Subject, Brief(alone50), Brief(alone99), Brief(busy50), Brief(busy99))
	}
	return t
}

// ThroughputChart is a picture of [Throughput].
func ThroughputChart(trials []*Trial, note string) *Chart {
	c := &Chart{Title: "Requests a second", Note: note, Panels: []Panel{{Title: "and their share of a bare chi handler's"}}}
	c.Groups = groups(trials, func(t *Trial) []Mark {
		ratio, _, _ := t.Ratio(Reference(trials, t.Way))
		text := Thousands(t.PerSecond())
		if t.Subject != "bare chi" {
			text += fmt.Sprintf(" (%.0f %%)", 100*ratio)
		}
		return []Mark{{Value: t.PerSecond(), Text: text}}
	})
	return c
}

// LatencyChart is a picture of [Latency].
func LatencyChart(trials []*Trial, askers int, note string) *Chart {
	c := &Chart{Title: "From the question to the answer: the median, and what 99 of 100 stay below", Note: note, Panels: []Panel{
		{Title: "one asker at a time", Times: true}, {Title: fmt.Sprintf("%d askers, without a pause", askers), Times: true},
	}}
	c.Groups = groups(trials, func(t *Trial) []Mark {
		alone50, alone99 := t.Latency(false)
		busy50, busy99 := t.Latency(true)
		return []Mark{{P50: alone50, P99: alone99}, {P50: busy50, P99: busy99}}
	})
	return c
}

// groups are the trials by their way, each way once, in the order of its first.
func groups(trials []*Trial, marks func(*Trial) []Mark) (all []Group) {
	at := map[string]int{}
	for _, t := range trials {
		i, known := at[t.Way]
		if !known {
			i = len(all)
			at[t.Way] = i
			all = append(all, Group{Name: t.Way})
		}
		all[i].Rows = append(all[i].Rows, Row{Name: t.Subject, Reference: t.Subject == "bare chi", Marks: marks(t)})
	}
	return all
}

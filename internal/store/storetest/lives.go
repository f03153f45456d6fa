package storetest

import (
	"fmt"
	"slices"
	"sort"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"authhook/internal/policy"
)

// Words about one session, in seconds after noon.

func moment(second int) time.Time { return noon.Add(time.Duration(second) * time.Second) }

// open: it was decided about and may watch. What is watched counts towards a quota.
func open(at int) policy.Session {
	return policy.Session{State: policy.SessionOpen, User: "anna", Plan: "gold", Reason: policy.Entitled, Opened: moment(at), Decided: moment(at),
		Metered: true}
}

// denied: it was decided about and may not.
func denied(at int) policy.Session {
	s := open(at)
	s.State, s.Reason = policy.SessionDenied, policy.ConcurrencyLimit
	return s
}

// vanished: nobody listed it after a moment.
func vanished(last, seconds int) policy.Session {
	return policy.Session{State: policy.SessionEnded, Ended: moment(last), Duration: time.Duration(seconds) * time.Second, Estimated: true}
}

// end: MistServer said that it is over.
func end(at, seconds int) policy.Session {
	s := vanished(at, seconds)
	s.Estimated, s.BytesUp = false, int64(1000*seconds)
	return s
}

// on says on which server process.
func on(instance string, s policy.Session) policy.Session {
	s.Instance = instance
	return s
}

// since says when it was opened.
func since(opened int, s policy.Session) policy.Session {
	s.Opened = moment(opened)
	return s
}

// testLives: each life of a session is counted once, as MistServer says or else as it was estimated, whenever word of it
// comes and in whatever batches.
func testLives(t *testing.T, database func(testing.TB) Open) {
	const isOpen, isDenied, isEnded = policy.SessionOpen, policy.SessionDenied, policy.SessionEnded
	cases := []struct {
		name  string
		words []policy.Session
		used  int
		state policy.SessionState
		// What the row says then, in seconds.
		opened, duration int
		estimated        bool
	}{
		{"an estimate alone", words(open(0), vanished(60, 60)), 60, isEnded, 0, 60, true},
		{"an estimate, then the truth", words(open(0), vanished(60, 60), end(75, 70)), 70, isEnded, 0, 70, false},
		{"an estimate that was too long", words(open(0), vanished(60, 60), end(70, 50)), 50, isEnded, 0, 50, false},
		{"the truth minutes later", words(open(0), vanished(60, 60), end(600, 63)), 63, isEnded, 0, 63, false},
		{"the truth at the very moment of the estimate", words(open(0), vanished(60, 0), end(60, 7)), 7, isEnded, 0, 7, false},
		{"the truth from before the estimate's moment", words(open(0), vanished(62, 62), end(60, 55)), 55, isEnded, 0, 55, false},
		{"estimates, then the truth", words(open(0), vanished(60, 60), vanished(80, 80), end(90, 85)), 85, isEnded, 0, 85, false},
		{"they know little of its opening", words(open(0), since(5, vanished(60, 60)), since(7, end(75, 70))), 70, isEnded, 0, 70, false},
		{"the truth, then an estimate", words(open(0), end(70, 60), vanished(65, 65), vanished(75, 75)), 60, isEnded, 0, 60, false},
		{"estimates again and again", words(open(0), vanished(60, 60), vanished(60, 60), vanished(80, 80), vanished(60, 60)), 80, isEnded, 0, 80, true},
		{"the truth again and again", words(open(0), end(70, 60), end(70, 60), end(72, 60)), 60, isEnded, 0, 60, false},
		{"a short one again", words(open(0), end(9, 5), end(20, 5)), 5, isEnded, 0, 5, false},
		{"both again and again", words(open(0), vanished(60, 60), end(70, 65), vanished(60, 60), end(72, 65), end(70, 65)), 65, isEnded, 0, 65, false},
		{"never listed", words(open(0), vanished(0, 0), end(9, 3)), 3, isEnded, 0, 3, false},
		{"decided again before it vanished", words(open(0), since(0, open(50)), vanished(45, 45), end(60, 48)), 48, isEnded, 0, 48, false},
		{"nobody decided about it", words(of("anna", vanished(60, 60)), end(70, 66)), 66, isEnded, -1, 66, false},

		{"an estimate, another life, its truth", words(open(0), vanished(60, 60), open(100), end(170, 55)), 115, isEnded, 100, 55, false},
		{"an estimate, another life, its estimate", words(open(0), vanished(60, 60), open(100), vanished(150, 50)), 110, isEnded, 100, 50, true},
		{"an estimate, another life, both its ends", words(open(0), vanished(60, 60), open(100), vanished(150, 50), end(160, 58)), 118, isEnded, 100, 58, false},
		{"an estimate, another life that runs", words(open(0), vanished(60, 60), open(100), vanished(60, 60)), 60, isOpen, 100, 0, false},
		{"two truths", words(open(0), end(70, 60), open(100), end(170, 60)), 120, isEnded, 100, 60, false},
		{"an estimate for another life right after the truth", words(open(0), end(70, 60), open(70), vanished(90, 20)), 80, isEnded, 70, 20, true},

		{"the truth of the first life during the second", words(open(0), vanished(60, 60), open(65), end(70, 62)), 62, isOpen, 65, 0, false},
		{"and again", words(open(0), vanished(60, 60), open(65), end(70, 62), end(70, 62), end(72, 62)), 62, isOpen, 65, 0, false},
		{"and the second's truth", words(open(0), vanished(60, 60), open(65), end(70, 62), end(200, 120)), 182, isEnded, 65, 120, false},
		{"and the second's estimate", words(open(0), vanished(60, 60), open(65), end(70, 62), vanished(190, 125)), 187, isEnded, 65, 125, true},
		{"the truth of the first life, from before the second", words(open(0), vanished(60, 60), open(65), end(64, 62), end(200, 120)), 182, isEnded, 65, 120, false},
		{"the truth of the first life, from before its estimate", words(open(0), vanished(62, 62), open(65), end(60, 55)), 55, isOpen, 65, 0, false},
		{"the truth of a life that nobody knew of", words(open(100), end(99, 50)), 50, isOpen, 100, 0, false},
		{"the truth of the first life once more", words(open(0), end(70, 60), open(80), end(85, 60), end(185, 100)), 160, isEnded, 80, 100, false},
		{"an estimate of the first life that the truth had ended", words(open(0), end(70, 60), open(80), vanished(71, 71)), 60, isOpen, 80, 0, false},
		{"the truth of the first life after the second's", words(open(0), vanished(60, 60), open(65), end(170, 100), end(175, 62)), 160, isEnded, 65, 100, false},

		{"an estimate that was wrong: the life goes on", words(open(0), vanished(60, 60), open(65), end(300, 290)), 290, isEnded, 65, 290, false},
		{"and taken back by its opening", words(open(0), vanished(10, 10), since(0, open(20)), end(300, 290)), 290, isEnded, 0, 290, false},
		{"and taken back, then estimated", words(open(0), vanished(10, 10), since(0, open(20)), vanished(300, 300)), 300, isEnded, 0, 300, true},
		{"older than was known", words(open(100), end(200, 180)), 180, isEnded, 100, 180, false},
		{"older than was known, estimated first", words(open(100), vanished(190, 90), end(200, 180)), 180, isEnded, 100, 180, false},

		{"another process: the first one's estimate", words(on("a", open(0)), on("b", open(100)), on("a", vanished(60, 60)), on("b", end(200, 90))), 150, isEnded, 100, 90, false},
		{"another process: the first one's truth", words(on("a", open(0)), on("b", open(100)), on("a", end(130, 20)), on("b", end(200, 90))), 110, isEnded, 100, 90, false},
		{"another process: both", words(on("a", open(0)), on("a", vanished(60, 60)), on("b", open(100)), on("a", end(130, 20))), 20, isOpen, 100, 0, false},

		{"denied", words(denied(0), end(600, 0)), 0, isEnded, 0, 0, false},
		{"denied, with a duration", words(denied(0), end(600, 600)), 0, isEnded, 0, 600, false},
		{"denied, vanished, and its end", words(denied(0), vanished(20, 20), end(30, 25)), 0, isEnded, 0, 25, false},
		{"watched, then denied", words(open(0), vanished(30, 30), denied(30), end(630, 0)), 30, isEnded, 30, 0, false},
		{"watched, then denied, and told of the watching", words(open(0), vanished(30, 30), denied(30), end(31, 30)), 30, isDenied, 30, 0, false},
		{"denied, then allowed", words(denied(0), end(9, 0), open(10), end(70, 60)), 60, isEnded, 10, 60, false},
	}
	s := fresh(t, database)
	for n, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for cut := range 1 << (len(c.words) - 1) { // every way to cut it into batches
				id, user := fmt.Sprint(n, "-", cut), fmt.Sprint("user ", n, " ", cut)
				var batch []policy.Session
				for i, word := range c.words {
					batch = append(batch, about(id, user, word))
					if i == len(c.words)-1 || cut>>i&1 == 1 {
						write(t, s, batch...)
						batch = nil
					}
				}
				f, err := s.FactsByUser(t.Context(), user)
				require.NoError(t, err)
				require.Equal(t, time.Duration(c.used)*time.Second, f.Used, "batches %b", cut)
				row := stored(t, s, id)
				require.Equal(t, c.state, row.State, "batches %b", cut)
				if c.state == isOpen {
					require.Equal(t, 1, f.Running, "batches %b", cut)
					require.Equal(t, moment(c.opened), f.RunningFrom, "batches %b", cut)
				} else {
					require.Zero(t, f.Running, "batches %b", cut)
				}
				require.Equal(t, time.Duration(c.duration)*time.Second, row.Duration)
				require.Equal(t, c.estimated, row.Estimated)
				if c.opened >= 0 {
					require.Equal(t, moment(c.opened), row.Opened, "batches %b", cut)
				}
			}
		})
	}

	t.Run("what runs and what is over count once", func(t *testing.T) {
		now := moment(1000)
		s := migrated(t, database(t), func() time.Time { return now })
		unknown := since(0, open(50))
		unknown.Opened = time.Time{}
		again := unknown
		again.Decided = moment(90)
		for n, c := range []struct {
			name       string
			words      []policy.Session
			used, from int
		}{
			{"it runs", words(open(10)), 0, 10},
			{"and is decided about again", words(open(10), open(90)), 0, 10},
			{"it vanished and was there all the same", words(open(0), vanished(60, 60), since(0, open(70))), 60, 60},
			{"and again", words(open(0), vanished(60, 60), since(0, open(70)), since(0, open(80))), 60, 60},
			{"it came back", words(open(0), vanished(60, 60), open(70)), 60, 70},
			{"it came back before its end was told", words(open(0), vanished(60, 60), open(70), end(75, 65)), 65, 70},
			{"it was denied for long before", words(denied(0), open(300)), 0, 300},
			{"and goes on", words(denied(0), open(300), since(300, open(310))), 0, 300},
			{"nobody knows when it began", words(unknown), 0, 50},
			{"and it is decided about again", words(unknown, again), 0, 50},
			{"nobody knows when it began, and an end was counted", words(open(0), vanished(60, 60), unknown), 60, 60},
		} {
			for _, at := range []int{1, len(c.words)} { // one by one, and in one batch
				user := fmt.Sprint("user ", n, " ", at)
				for batch := range slices.Chunk(c.words, at) {
					batch = slices.Clone(batch)
					for i := range batch {
						batch[i] = about(user, user, batch[i])
					}
					write(t, s, batch...)
				}
				f, err := s.FactsByUser(t.Context(), user)
				require.NoError(t, err)
				require.Equal(t, time.Duration(c.used)*time.Second, f.Used, c.name)
				require.Equal(t, 1, f.Running, c.name)
				require.Equal(t, moment(c.from), f.RunningFrom, c.name)
			}
		}
	})

	t.Run("in the months that it was watched in", func(t *testing.T) {
		now := noon
		s := migrated(t, database(t), func() time.Time { return now })
		december := time.Date(2026, 12, 1, 0, 0, 10, noon.Nanosecond(), time.UTC)
		last := int(december.Sub(noon)/time.Second) - 20
		used := func(at time.Time) time.Duration {
			now = at
			f, err := s.FactsByUser(t.Context(), "anna")
			require.NoError(t, err)
			return f.Used
		}
		write(t, s, about("1", "anna", open(last-100)), about("1", "anna", vanished(last, 100)))
		require.Equal(t, 100*time.Second, used(noon))
		write(t, s, about("1", "anna", end(last+20, 110)))
		require.Equal(t, 100*time.Second, used(noon), "as if there had been no estimate")
		require.Equal(t, 10*time.Second, used(december))

		write(t, s, about("2", "anna", open(last-100)), about("2", "anna", vanished(last, 100)), about("2", "anna", vanished(last+20, 120)))
		write(t, s, about("2", "anna", open(last+30)), about("2", "anna", vanished(last, 100)))
		require.Equal(t, 210*time.Second, used(noon), "an older estimate takes nothing back")
		require.Equal(t, 20*time.Second, used(december))

		const long = 61 * 24 * 3600
		write(t, s, about("3", "anna", open(last+20-long)), about("3", "anna", end(last+20, long)))
		require.Equal(t, 210*time.Second+30*24*time.Hour, used(noon), "all of November")
		require.Equal(t, 30*time.Second, used(december))
		require.Equal(t, 31*24*time.Hour-10*time.Second, used(time.Date(2026, 10, 9, 0, 0, 0, 0, time.UTC)))
	})

	t.Run("as it was said", func(t *testing.T) {
		s := fresh(t, database)
		write(t, s, watching("1"))
		guess := vanished(60, 60)
		guess.Node, guess.ID = "n", "1"
		write(t, s, guess)
		want := watching("1")
		want.State, want.Ended, want.Duration, want.Estimated = isEnded, moment(60), time.Minute, true
		require.Equal(t, want, stored(t, s, "1"))
		write(t, s, over("1", 75*time.Second, 70*time.Second))
		want.Ended, want.Duration, want.Estimated = moment(75), 70*time.Second, false
		truth := over("1", 0, 0)
		want.BytesUp, want.BytesDown, want.Connectors = truth.BytesUp, truth.BytesDown, truth.Connectors
		require.Equal(t, want, stored(t, s, "1"))
	})

	t.Run("of any length", func(t *testing.T) {
		s := fresh(t, database)
		for i, length := range []time.Duration{-time.Hour, -1 << 63, 1<<63 - 1, 1500 * time.Millisecond} {
			for _, estimated := range []bool{true, false} {
				id := fmt.Sprint(i, estimated)
				w := end(60, 0)
				w.Duration, w.Estimated = length, estimated
				user := "user " + id
				write(t, s, about(id, user, open(0)), about(id, user, w), about(id, user, open(90)), about(id, user, end(100, 10)))
				f, err := s.FactsByUser(t.Context(), user)
				require.NoError(t, err)
				require.GreaterOrEqual(t, f.Used, 10*time.Second, "%v", length)
			}
		}
	})
}

func words(list ...policy.Session) []policy.Session { return list }

func of(user string, s policy.Session) policy.Session {
	s.User, s.Plan = user, "gold"
	return s
}

// about is a word about a session of a user.
func about(id, user string, word policy.Session) policy.Session {
	word.Node, word.ID = "n", id
	if word.User != "" {
		word.User = user
	}
	return word
}

// testLivesModel: lives of any length, one after the other, ends that are estimated, told, both, late and again.
func testLivesModel(t *testing.T, database func(testing.TB) Open) {
	s := fresh(t, database)
	var world atomic.Int64
	rapid.Check(t, func(t *rapid.T) {
		id := fmt.Sprint("world-", world.Add(1))
		type told struct {
			at   float64 // when it is written
			word policy.Session
		}
		var all []told
		tell := func(at float64, word policy.Session) { all = append(all, told{at, word}) }
		want, length, now := 0, 0, 0 // in all, of the last life, and the time
		lives := rapid.IntRange(1, 4).Draw(t, "lives")
		opened := make([]int, lives+1)
		lengths := make([]int, lives)
		for i := range lives {
			opened[i] = now
			lengths[i] = rapid.IntRange(30, 300).Draw(t, "length")
			now += lengths[i] + rapid.IntRange(1, 40).Draw(t, "gap")
		}
		opened[lives] = now + 1000
		for i := range lives {
			from, over, next := opened[i], opened[i]+lengths[i], opened[i+1]
			tell(float64(from), open(from))
			for range rapid.IntRange(0, 2).Draw(t, "decided again") {
				at := rapid.IntRange(from, over).Draw(t, "again")
				tell(float64(at), since(from, open(at)))
			}
			estimated, true_ := rapid.Bool().Draw(t, "estimated"), rapid.Bool().Draw(t, "told")
			late := rapid.IntRange(0, 15).Draw(t, "late")
			// A copy comes before the next life has ended: later nobody could tell.
			copies := func(at int, word policy.Session) {
				for range rapid.IntRange(0, 2).Draw(t, "copies") {
					tell(rapid.Float64Range(float64(at), float64(max(at, next+29))).Draw(t, "copy"), word)
				}
			}
			if estimated || !true_ {
				seen := rapid.IntRange(from, over).Draw(t, "last seen")
				want += seen - from
				length = seen - from
				// Whoever keeps it ends it before the next life begins, or had its end from MistServer.
				at := rapid.Float64Range(float64(over), float64(next)-0.1).Draw(t, "noticed")
				tell(at, vanished(seen, seen-from))
				copies(next, vanished(seen, seen-from))
				if true_ {
					want += lengths[i] - (seen - from)
					length = lengths[i]
				}
			} else {
				want += lengths[i]
				length = lengths[i]
			}
			if true_ && !estimated && late >= next-over && i < lives-1 {
				// Whoever keeps it had no reason to end it, and says now when it was over at the latest, and that the next runs.
				w := end(next, lengths[i])
				w.Ended = w.Ended.Add(-time.Microsecond)
				tell(float64(over+late)+0.5, w)
				tell(float64(over+late)+0.5, open(next))
			} else if true_ {
				tell(float64(over+late)+0.5, end(over+late, lengths[i]))
				copies(over+late+1, end(over+late, lengths[i]))
			}
		}
		sort.SliceStable(all, func(i, j int) bool { return all[i].at < all[j].at })
		var batch []policy.Session
		for i, w := range all {
			batch = append(batch, about(id, id, w.word))
			if i == len(all)-1 || rapid.Bool().Draw(t, "written") {
				if err := s.WriteSessions(t.Context(), slices.Clone(batch)); err != nil {
					t.Fatal(err)
				}
				batch = nil
			}
		}
		f, err := s.FactsByUser(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		row, err := s.Session(t.Context(), "n", id)
		if err != nil {
			t.Fatal(err)
		}
		opensAs := moment(opened[lives-1])
		if f.Used != time.Duration(want)*time.Second || row.State != policy.SessionEnded || !row.Opened.Equal(opensAs) ||
			row.Duration != time.Duration(length)*time.Second {
			for _, w := range all {
				t.Logf("%7.1f %-6s opened %3.0f decided %3.0f ended %3.0f duration %v estimated %v", w.at, w.word.State,
					w.word.Opened.Sub(noon).Seconds(), w.word.Decided.Sub(noon).Seconds(), w.word.Ended.Sub(noon).Seconds(),
					w.word.Duration, w.word.Estimated)
			}
			t.Fatalf("counted %v, want %d s; %s after %v, opened %v, want ended after %d s, opened %v", f.Used, want, row.State,
				row.Duration, row.Opened, length, opensAs)
		}
	})
}

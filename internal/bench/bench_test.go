package bench

import (
	"bufio"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/mist"
	"authhook/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQuantile(t *testing.T) {
	var hundred []int
	for n := range 100 {
		hundred = append(hundred, 99-n)
	}
	assert.Equal(t, 50, Median(hundred))
	assert.Equal(t, 99, Quantile(hundred, 0.99))
	assert.Equal(t, 0, Quantile(hundred, 0))
	assert.Equal(t, 99, Quantile(hundred, 1))
	assert.Equal(t, 99, hundred[0], "they stay in their order")
	assert.Zero(t, Median[int](nil))
	assert.Equal(t, 2, Median([]int{3, 1, 2}))
}

// What is asked is what MistServer asks, in each framing, each time of another event.
func TestQuestions(t *testing.T) {
	p := &People{name: "user", Keys: []string{"ak_0123456789abcdef", "ak_fedcba9876543210"}}
	seen := map[string]bool{}
	for _, f := range []Framing{HTTPClose, HTTPKept, Wire} {
		for _, rerun := range []bool{false, true} {
			list := p.Questions(f, 3, 2)
			if rerun {
				list = p.Reruns(f, 3, 2)
			}
			for i, q := range list {
				uuid, body := read(t, f, q.appendTo(nil))
				require.Len(t, uuid, len(uuidPlace))
				assert.NotEqual(t, uuidPlace, uuid)
				assert.False(t, seen[uuid])
				seen[uuid] = true
				u, err := mist.ParseUserNew(body)
				require.NoError(t, err)
				assert.Equal(t, p.Keys[(3+i)%2], u.Token)
				assert.Equal(t, Viewer(3+i), u.Address)
				assert.Equal(t, rerun, !u.First)
				assert.True(t, u.SessionIDMatches(mist.DefaultSessionMode))
			}
		}
	}
}

// read reads a question as a service does.
func read(t *testing.T, f Framing, text []byte) (uuid string, body []byte) {
	t.Helper()
	if f == Wire {
		size, err := wire.CallSize(text)
		require.NoError(t, err)
		require.Len(t, text, wire.PrefixSize+size)
		c, err := wire.ParseCall(text[wire.PrefixSize:])
		require.NoError(t, err)
		assert.Equal(t, NodeName, c.Name)
		return c.UUID, c.Body
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(text))))
	require.NoError(t, err)
	body, err = io.ReadAll(r.Body)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	assert.Equal(t, f == HTTPClose, r.Close)
	assert.Equal(t, NodeName, r.Header.Get("X-Name"))
	return r.Header.Get("X-Trigger-UUID"), body
}

// reference is the bare handler, at work.
func reference(t *testing.T) *Program {
	t.Helper()
	address, err := freeAddress()
	require.NoError(t, err)
	p := &Program{URL: "http://" + address, Address: address, Socket: filepath.Join(t.TempDir(), "s")}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ServeReference(ctx, address, p.Socket) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-done)
	})
	require.NoError(t, p.until(t.Context(), readyEvery, p.Ready))
	return p
}

func TestAsk(t *testing.T) {
	p := reference(t)
	people := &People{Keys: []string{"ak_0123456789abcdef"}}
	for name, to := range map[string]Target{
		"kept alive":           {Network: "tcp", Address: p.Address, Keep: true},
		"a connection each":    {Network: "tcp", Address: p.Address},
		"over the Unix socket": {Network: "unix", Address: p.Socket},
	} {
		t.Run(name, func(t *testing.T) {
			framing := HTTPClose
			if to.Keep {
				framing = HTTPKept
			}
			list := people.Questions(framing, 0, 30)
			a, err := Ask(t.Context(), to, Again(list), Limits{Askers: 4, Asks: 100})
			require.NoError(t, err)
			assert.Len(t, a.Times, 100, "as often as was asked for")
			assert.GreaterOrEqual(t, a.Took, Quantile(a.Times, 1))
			a, err = Ask(t.Context(), to, Once(list), Limits{Askers: 4, Asks: 100})
			require.NoError(t, err)
			assert.Len(t, a.Times, 30, "each once")
			a, err = Ask(t.Context(), to, Again(list), Limits{Askers: 1, For: time.Millisecond})
			require.NoError(t, err)
			assert.Less(t, len(a.Times), 1<<20, "an end is an end")
			if !to.Keep {
				a, err = AskAtOnce(t.Context(), to, list)
				require.NoError(t, err)
				assert.Len(t, a.Times, 30)
				assert.Positive(t, Quantile(a.Times, 0))
			}
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	_, err := Ask(ctx, Target{Network: "tcp", Address: p.Address}, Again(people.Questions(HTTPClose, 0, 1)), Limits{Askers: 1, For: time.Hour})
	assert.ErrorIs(t, err, enough)
}

// A connection that is to be kept is, and of one a question there are as many as questions.
func TestConnections(t *testing.T) {
	p := reference(t)
	people := &People{Keys: []string{"ak_0123456789abcdef"}}
	for _, c := range []struct {
		keep        bool
		framing     Framing
		connections int
	}{{true, HTTPKept, 1}, {false, HTTPClose, 20}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		made := 0
		var passing sync.WaitGroup
		passing.Go(func() {
			for {
				from, err := l.Accept()
				if err != nil {
					return
				}
				made++
				to, err := net.Dial("tcp", p.Address)
				if !assert.NoError(t, err) {
					return
				}
				passing.Go(func() {
					_, _ = io.Copy(to, from)
					_ = to.Close()
				})
				passing.Go(func() {
					_, _ = io.Copy(from, to)
					_ = from.Close()
				})
			}
		})
		_, err = Ask(t.Context(), Target{Network: "tcp", Address: l.Addr().String(), Keep: c.keep},
			Again(people.Questions(c.framing, 0, 3)), Limits{Askers: 1, Asks: 20})
		assert.NoError(t, err)
		require.NoError(t, l.Close())
		passing.Wait()
		assert.Equal(t, c.connections, made)
	}
}

// Those who ask at once all wait for their answer at the same time: nobody is answered before all have asked.
func TestAllAskAtOnce(t *testing.T) {
	const askers = 200
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var asked, served sync.WaitGroup
	asked.Add(askers)
	served.Go(func() {
		for range askers {
			conn, err := l.Accept()
			if !assert.NoError(t, err) {
				return
			}
			served.Go(func() {
				_, _ = conn.Read(make([]byte, 4096))
				asked.Done()
				asked.Wait()
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\ntrue")
				_ = conn.Close()
			})
		}
	})
	people := &People{Keys: []string{"ak_0123456789abcdef"}}
	a, err := AskAtOnce(t.Context(), Target{Network: "tcp", Address: l.Addr().String()}, people.Questions(HTTPClose, 0, askers))
	require.NoError(t, err)
	served.Wait()
	require.NoError(t, l.Close())
	assert.Len(t, a.Times, askers)
	assert.Zero(t, a.Denied)
}

// Trials take turns, each round begins with another one, and each has a figure of each round.
func TestTrialsTakeTurns(t *testing.T) {
	p := reference(t)
	people := &People{Keys: []string{"ak_0123456789abcdef"}}
	var turns []string
	var trials []*Trial
	for _, name := range []string{"a", "b", "c"} {
		trials = append(trials, &Trial{
			Way: "way", Subject: name,
			Ready: func(context.Context) (Target, *Questions, error) {
				turns = append(turns, name)
				return Target{Network: "tcp", Address: p.Address}, Again(people.Questions(HTTPClose, 0, 1)), nil
			},
			Over: func(context.Context) error {
				turns = append(turns, "over")
				return nil
			},
		})
	}
	rounds := 0
	require.NoError(t, Run(t.Context(), trials, Pace{Rounds: 3, Alone: 2, Askers: 2, Busy: time.Millisecond}, func(int) { rounds++ }))
	assert.Equal(t, 3, rounds)
	assert.Equal(t, "a over b over c over b over c over a over c over a over b over", strings.Join(turns, " "))
	for _, trial := range trials {
		require.Len(t, trial.Rounds, 3)
		assert.Len(t, trial.Rounds[2].Alone.Times, 2)
	}
}

// Who is denied is counted; where most are, nothing was measured.
func TestDeniedIsNotMeasured(t *testing.T) {
	for name, c := range map[string]struct {
		everyNth int
		wrong    error
	}{"one in a hundred": {100, nil}, "one in ten": {10, errDenied}} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			var served sync.WaitGroup
			served.Go(func() {
				for n := 1; ; n++ {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					answer := "true"
					if n%c.everyNth == 0 {
						answer = "false"
					}
					_, _ = conn.Read(make([]byte, 4096))
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"+answer)
					_ = conn.Close()
				}
			})
			people := &People{Keys: []string{"ak_0123456789abcdef"}}
			a, err := Ask(t.Context(), Target{Network: "tcp", Address: l.Addr().String()}, Again(people.Questions(HTTPClose, 0, 1)),
				Limits{Askers: 1, Asks: 100})
			require.NoError(t, l.Close())
			served.Wait()
			assert.ErrorIs(t, err, c.wrong)
			assert.Equal(t, 100/c.everyNth, a.Denied)
		})
	}
}

func TestMetrics(t *testing.T) {
	m, err := readMetrics(strings.NewReader("# HELP a b\na 1\nb{of=\"x y\"} 2.5e+06\n\n"))
	require.NoError(t, err)
	assert.Equal(t, Metrics{"a": 1, `b{of="x y"}`: 2.5e6}, m)
	_, err = readMetrics(strings.NewReader("a b\n"))
	assert.Error(t, err)
}

func TestTable(t *testing.T) {
	table := &Table{Texts: 1, Head: []string{"what", "µs"}}
	table.Add("a → b", "9")
	table.Add("c", "1,234")
	b := &strings.Builder{}
	_, err := table.WriteTo(b)
	require.NoError(t, err)
	assert.Equal(t, ""+
		"| what  |    µs |\n"+
		"|-------|------:|\n"+
		"| a → b |     9 |\n"+
		"| c     | 1,234 |\n", b.String())
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1234: "1.23 µs", 45_600: "45.6 µs", 999 * time.Microsecond: "999 µs", 12_340_000: "12.3 ms", 2 * time.Second: "2.00 s", 100 * time.Second: "100 s",
	} {
		assert.Equal(t, want, Brief(d))
	}
	assert.Equal(t, "5 µs", Terse(5*time.Microsecond))
	assert.Equal(t, "10 ms", Terse(10*time.Millisecond))
	assert.Equal(t, "100 µs", Terse(100*time.Microsecond))
	assert.Equal(t, "1,234,567", Thousands(1234567))
	assert.Equal(t, "999", Thousands(999))
	assert.Equal(t, "920 B", Bytes(920))
	assert.Equal(t, "20 KiB", Bytes(20<<10))
	assert.Equal(t, "20 MiB", Bytes(20<<20))
}

// made is a trial that was never run: so many were answered in the second of each round, the n-th after n µs.
func made(way, subject string, perSecond ...int) *Trial {
	t := &Trial{Way: way, Subject: subject}
	for _, n := range perSecond {
		times := make(Times, n)
		for i := range times {
			times[i] = time.Duration(i+1) * time.Microsecond
		}
		t.Rounds = append(t.Rounds, Round{Alone: Answers{Times: times[:n/2], Took: time.Second}, Busy: Answers{Times: times, Took: time.Second}})
	}
	return t
}

// A ratio is of two figures of one round, and the median is of the ratios.
func TestRatio(t *testing.T) {
	reference, subject := made("a", "bare chi", 100, 50, 10), made("a", "authhook", 90, 40, 10)
	median, least, most := subject.Ratio(reference)
	assert.InDeltaSlice(t, []float64{0.9, 0.8, 1}, []float64{median, least, most}, 1e-9)
	assert.InDelta(t, 40, subject.PerSecond(), 1e-9)
	p50, p99 := subject.Latency(true)
	assert.Equal(t, []time.Duration{21 * time.Microsecond, 40 * time.Microsecond}, []time.Duration{p50, p99})
	p50, _ = subject.Latency(false)
	assert.Equal(t, 11*time.Microsecond, p50)
}

// What is written below the lines of an axis does not run together, however large the figures are.
func TestAxis(t *testing.T) {
	for most := 1.0; most < 2e6; most *= 1.07 {
		s := fromZero(most, 260)
		require.GreaterOrEqual(t, len(s.ticks), 3, "%v", most)
		for i, tick := range s.ticks {
			require.LessOrEqual(t, tick, most)
			if i > 0 {
				apart := s.at(tick) - s.at(s.ticks[i-1])
				require.Greater(t, apart, charWidth*float64(len(Thousands(tick))), "%v of %v", tick, most)
			}
		}
	}
}

// Everything stands within the picture, whatever the figures are, and what is longer is more.
func TestCharts(t *testing.T) {
	for name, n := range map[string][2]int{"usual": {40_000, 9_000}, "few": {2, 4}, "even": {1000, 1000}} {
		t.Run(name, func(t *testing.T) {
			trials := []*Trial{made("<a> & b", "bare chi", n[0]), made("<a> & b", "authhook", n[1])}
			for _, c := range []*Chart{ThroughputChart(trials, "a & b"), LatencyChart(trials, 8, "a & b")} {
				b := &strings.Builder{}
				_, err := c.WriteTo(b)
				require.NoError(t, err)
				var svg struct {
					Width int `xml:"width,attr"`
					Bars  []struct {
						Rect struct {
							X     float64 `xml:"x,attr"`
							Width float64 `xml:"width,attr"`
						} `xml:"rect"`
						Dots []struct {
							X float64 `xml:"cx,attr"`
						} `xml:"circle"`
					} `xml:"g"`
				}
				require.NoError(t, xml.Unmarshal([]byte(b.String()), &svg))
				require.Len(t, svg.Bars, 2)
				for _, bar := range svg.Bars {
					assert.LessOrEqual(t, bar.Rect.X+bar.Rect.Width, float64(svg.Width-60))
					for i, dot := range bar.Dots {
						assert.GreaterOrEqual(t, dot.X, float64(margin+labelWidth))
						assert.LessOrEqual(t, dot.X, float64(svg.Width-60))
						if i%2 == 1 {
							assert.GreaterOrEqual(t, dot.X, bar.Dots[i-1].X)
						}
					}
				}
				if !c.Panels[0].Times {
					assert.InDelta(t, float64(n[1])/float64(n[0]), svg.Bars[1].Rect.Width/svg.Bars[0].Rect.Width, 0.01)
				}
				assert.NotContains(t, b.String(), "NaN")
				assert.NotContains(t, b.String(), "Inf")
			}
		})
	}
}

package logline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 28, 12, 0, 0, 120_000_000, time.UTC)

// own and slogs are the two that must write alike, each with what it wrote.
func own(format Format) (slog.Handler, *bytes.Buffer) {
	w := new(bytes.Buffer)
	return newHandler(w, slog.LevelInfo, format), w
}

func slogs(format Format) (slog.Handler, *bytes.Buffer) {
	w := new(bytes.Buffer)
	if format == JSON {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo}), w
	}
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo}), w
}

// sameLine wants both to make the same of a record, with "with" before it.
func sameLine(t *testing.T, r slog.Record, with func(slog.Handler) slog.Handler) {
	t.Helper()
	for _, format := range []Format{Text, JSON} {
		mine, got := own(format)
		theirs, want := slogs(format)
		require.NoError(t, with(mine).Handle(t.Context(), r.Clone()))
		require.NoError(t, with(theirs).Handle(t.Context(), r.Clone()))
		require.Equal(t, want.String(), got.String())

		var attrs []slog.Attr
		r.Attrs(func(a slog.Attr) bool { attrs = append(attrs, a); return true })
		wanted := want.String()
		got.Reset()
		require.NoError(t, Write(t.Context(), with(mine), r.Time, r.Level, r.Message, attrs...))
		require.Equal(t, wanted, got.String())
		want.Reset()
		require.NoError(t, Write(t.Context(), with(theirs), r.Time, r.Level, r.Message, attrs...))
		require.Equal(t, wanted, want.String(), "to another handler")
	}
}

func asIs(h slog.Handler) slog.Handler { return h }

func record(at time.Time, level slog.Level, message string, attrs ...slog.Attr) slog.Record {
	r := slog.NewRecord(at, level, message, 0)
	r.AddAttrs(attrs...)
	return r
}

// texts are what strangers, users and operators may bring into a line.
var texts = []string{
	"", "a", "live+fight", "two words", "a=b", `back\slash`, `back\slash and space`, `"`, `say "x"`, "tab\t", "line\nbreak", "\r", "\x00",
	"\x7f", "del\x7f and space", "käse", "日本", "\u2028", "\u00a0", "\ufffd", "\xff", "\xc3\x28", "<a href='x'>&amp;</a>", "2001:db8::1",
	strings.Repeat("x", longestValue), strings.Repeat("x", longestValue+1), strings.Repeat("ü ", 600), "{", "}", ",", ":", "/", "'", "`", "~", "%!s", "\U0001f600",
}

func TestALineIsSlogs(t *testing.T) {
	for _, text := range texts {
		sameLine(t, record(noon, slog.LevelInfo, text), asIs)
		sameLine(t, record(noon, slog.LevelInfo, "decision", slog.String("stream", text), slog.Bool("allow", true)), asIs)
		sameLine(t, record(noon, slog.LevelWarn, "decision", slog.Int64("us", 3), slog.String(text, "x")), asIs)
		sameLine(t, record(noon, slog.LevelInfo, "decision", slog.String("key", "x")), func(h slog.Handler) slog.Handler {
			return h.WithAttrs([]slog.Attr{slog.String("node", text)})
		})
		sameLine(t, record(noon, slog.LevelInfo, "decision", slog.String("key", text)), func(h slog.Handler) slog.Handler {
			return h.WithGroup("group")
		})
	}
	for c := range 256 { // each byte by itself, and beside one that brings quotes
		sameLine(t, record(noon, slog.LevelInfo, "m", slog.String("k", string([]byte{byte(c)})), slog.String("l", string([]byte{'a', ' ', byte(c)}))), asIs)
	}
}

func TestEveryKindOfValueIsSlogs(t *testing.T) {
	for _, a := range []slog.Attr{
		{}, slog.Any("nothing", nil), slog.Any("error", errors.New("it \"broke\"")), slog.Any("list", []string{"a", "b c"}), slog.Duration("d", 1500*time.Millisecond),
		slog.Time("t", noon), slog.Float64("f", 1e21), slog.Uint64("u", 1<<63), slog.Int64("i", -1<<63), slog.Int64("i", 1<<63-1), slog.Bool("b", false),
		slog.Group("g", slog.String("a", "b")), slog.Group("", slog.String("inlined", "b")), slog.Group("empty"), slog.String("", "no key"),
		slog.Any("valuer", valuer{}), slog.Any("level", slog.LevelWarn), slog.Any("bytes", []byte("x y")),
	} {
		sameLine(t, record(noon, slog.LevelError, "m", slog.String("before", "x"), a, slog.String("after", "y")), asIs)
	}
}

type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.StringValue("of another") }

func TestEveryTimeAndLevelIsSlogs(t *testing.T) {
	zone := time.FixedZone("", -(5*3600 + 30*60))
	for _, at := range []time.Time{
		{}, noon, noon.In(zone), noon.Add(999_999), noon.Add(-1), noon.Truncate(time.Second), time.Now(), time.Now().In(zone), time.Unix(0, 0), time.Unix(-1, 0),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC), time.Date(9891, 12, 31, 23, 59, 59, 999_999_999, zone),
	} {
		for level := slog.LevelDebug; level <= slog.LevelError+1; level++ {
			sameLine(t, record(at, level, "m", slog.Bool("b", true)), asIs)
		}
	}
	for n := range 2000 { // every way for milliseconds to end
		sameLine(t, record(noon.Add(time.Duration(n)*333_333*time.Nanosecond), slog.LevelInfo, "m"), asIs)
	}
}

// Lines of all lengths, up to those that are left to slog, and beyond.
func TestLinesOfEveryLengthAreSlogs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var attrs []slog.Attr
		for range random.IntN(16) {
			text := texts[random.IntN(len(texts))]
			if random.IntN(3) > 0 {
				text = strings.Repeat("x", random.IntN(200))
			}
			attrs = append(attrs, slog.String(fmt.Sprint("k", random.IntN(9)), text), slog.Int("n", random.IntN(1e9)))
		}
		sameLine(t, record(noon, slog.LevelInfo, "m", attrs...), asIs)
	}
}

func FuzzALineIsSlogs(f *testing.F) {
	for _, text := range texts {
		f.Add(int64(1_795_327_221_030), "decision", "stream", text, int64(3), true)
	}
	f.Fuzz(func(t *testing.T, millis int64, message, key, text string, number int64, truth bool) {
		at := time.UnixMilli(millis).UTC()
		sameLine(t, record(at, slog.LevelInfo, message, slog.String(key, text), slog.Int64(text, number), slog.Bool("b", truth)), asIs)
	})
}

func TestTheLevelHolds(t *testing.T) {
	h, _ := own(Text)
	assert.True(t, h.Enabled(t.Context(), slog.LevelInfo))
	assert.False(t, h.Enabled(t.Context(), slog.LevelDebug))
}

// A plain line costs no memory, and leaves none behind that grew.
func TestAPlainLineCostsNoMemory(t *testing.T) {
	for _, format := range []Format{Text, JSON} {
		h := newHandler(io.Discard, slog.LevelInfo, format)
		r := record(noon, slog.LevelInfo, "decision", slog.Bool("allow", true), slog.String("stream", "live+fight"), slog.Int64("us", 3))
		assert.Zero(t, testing.AllocsPerRun(100, func() { _ = h.Handle(context.Background(), r) }))
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			_ = Write(context.Background(), h, noon, slog.LevelInfo, "decision", slog.Bool("allow", true), slog.String("stream", "live+fight"), slog.Int64("us", 3))
		}))
	}
	mine, _ := own(Text)
	long := record(noon, slog.LevelInfo, "m")
	for range 100 {
		long.AddAttrs(slog.String("k", strings.Repeat("x", longestValue)))
	}
	require.NoError(t, mine.Handle(t.Context(), long))
	for range 10 {
		assert.LessOrEqual(t, cap(lines.Get().(*line).b), 2*longestLine)
	}
}

// Lines of many at once, plain and not, stay whole, and are written within a tenth of a second or with the flush.
func TestLinesAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(counted)
		log, flush := New(w, slog.LevelInfo, Text)
		var logging sync.WaitGroup
		for i := range 8 {
			logging.Go(func() {
				for range 50 {
					log.Info("plain", "i", i)
					log.Info("not plain", "i", "\n")
				}
			})
		}
		logging.Wait()
		_, writes := w.written()
		assert.Zero(t, writes)
		time.Sleep(gatherFor)
		synctest.Wait()
		text, writes := w.written()
		assert.Equal(t, 1, writes)
		assert.Equal(t, 800, strings.Count(text, "\n"))
		for line := range strings.Lines(text) {
			assert.Regexp(t, `^time=\S+ level=INFO msg=(plain i=\d|"not plain" i="\\n")\n$`, line)
		}
		log.Info("the last")
		flush()
		text, _ = w.written()
		assert.Contains(t, text, "last")
	})
}

// After writes that failed, or were cut short, lines are written as ever, after one that says how many are missing.
func TestAWriteFails(t *testing.T) {
	for _, short := range []int{0, 10} {
		synctest.Test(t, func(t *testing.T) {
			w := new(counted)
			failing := true
			log, flush := New(writerFunc(func(p []byte) (int, error) {
				if failing {
					_, _ = w.Write(p[:short])
					return short, errors.New("no space left on device")
				}
				return w.Write(p)
			}), slog.LevelInfo, JSON)
			for range 3 {
				log.Info("lost")
				log.Info("lost")
				time.Sleep(gatherFor)
				synctest.Wait()
			}
			failing = false
			for range 2 {
				log.Info("written")
				time.Sleep(gatherFor)
				synctest.Wait()
			}
			flush()
			text, _ := w.written()
			assert.NotContains(t, text, "lost")
			assert.Equal(t, 2, strings.Count(text, "\"written\"}\n"), text)
			assert.Equal(t, 1, strings.Count(text, `"level":"WARN","msg":"the log could not be written: lines are missing","lines":6}`+"\n"), text)
			for line := range strings.Lines(text) {
				assert.Equal(t, 1, strings.Count(line, `{"time"`), "lines stay apart: %q", line)
			}
		})
	}
}

// Where lines are written to takes none for a while. Nobody waits for it, and what does not fit is counted.
func TestNobodyWaitsForAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(counted)
		blocked := make(chan struct{})
		log, flush := New(writerFunc(func(p []byte) (int, error) {
			<-blocked
			return w.Write(p)
		}), slog.LevelInfo, Text)
		log.Info("the first")
		time.Sleep(gatherFor)
		synctest.Wait()
		const lines = 20_000
		began := time.Now()
		for range lines {
			log.Info("one of many")
		}
		assert.Zero(t, time.Since(began))
		close(blocked)
		flush()
		text, _ := w.written()
		assert.LessOrEqual(t, len(text), gatherUpTo+1<<10)
		kept := strings.Count(text, "one of many")
		assert.Greater(t, kept, 1000)
		assert.Contains(t, text, fmt.Sprintf(`level=WARN msg="the log could not be written: lines are missing" lines=%d`+"\n", lines-kept))
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// counted keeps what is written, and how often.
type counted struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes int
}

func (c *counted) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	return c.text.Write(p)
}

func (c *counted) written() (text string, writes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String(), c.writes
}

func BenchmarkLine(b *testing.B) {
	r := record(noon, slog.LevelInfo, "decision", slog.Bool("allow", true), slog.String("reason", "entitled"), slog.String("trigger", "USER_NEW"),
		slog.String("stream", "live+fight"), slog.String("node", "edge-1"), slog.String("address", "10.0.0.1"), slog.Int64("us", 3), slog.String("connector", "HLS"),
		slog.String("session", "9f86d081"), slog.String("user", "user-1"))
	for name, h := range map[string]slog.Handler{
		"text": newHandler(io.Discard, slog.LevelInfo, Text), "text/slog": slog.NewTextHandler(io.Discard, nil),
		"json": newHandler(io.Discard, slog.LevelInfo, JSON), "json/slog": slog.NewJSONHandler(io.Discard, nil),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = h.Handle(context.Background(), r)
			}
		})
	}
}

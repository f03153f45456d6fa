package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// anyCommand is a command for one of few sessions and streams, with hostile and long names among them.
func anyCommand() *rapid.Generator[Command] {
	texts := rapid.OneOf(
		rapid.SampledFrom([]string{"", "a", "b", "live+\"", "\\", "\n", "\x00\x01", "\xff", "中", strings.Repeat("\x00", 230), strings.Repeat("x", 1500)}),
		rapid.StringMatching(`[0-3]{1,2}`),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 300), func(b []byte) string { return string(b) }),
	)
	return rapid.Custom(func(t *rapid.T) Command {
		c := Command{Kind: Kind(rapid.IntRange(1, int(kinds)-1).Draw(t, "kind"))}
		if name := texts.Draw(t, "name"); c.Kind == StopSession || c.Kind == TagSession {
			c.Session = name
		} else {
			c.Stream = name
		}
		if c.Kind == TagSession || c.Kind == TagStream || c.Kind == UntagStream {
			c.Tag = texts.Draw(t, "tag")
		}
		return c
	})
}

// Whatever is added, in whichever order replies come: no datagram is too long, every command leaves once, in order for its
// session or stream, and never beside another for the same.
func TestLanes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLanes()
		waits := make(map[subject][]Command) // the model
		busy := make(map[subject]bool)
		var under [][]Command
		add := func(c Command) {
			l.add(c)
			line := waits[c.subject()]
			for i, other := range line {
				if other == c {
					if i < len(line)-1 {
						waits[c.subject()] = append(append(append([]Command(nil), line[:i]...), line[i+1:]...), c)
					}
					return
				}
			}
			waits[c.subject()] = append(line, c)
		}
		take := func() bool {
			run, tooLong := l.take(maxDatagram)
			if run == nil {
				for s, line := range waits {
					require.True(t, len(line) == 0 || busy[s], "something may leave, and does not")
				}
				return false
			}
			datagram := appendCommands(nil, run)
			require.Equal(t, tooLong, len(run) == 1 && len(datagram) > maxDatagram-1, "%d bytes", len(datagram))
			require.True(t, tooLong || len(datagram) <= maxDatagram)
			for _, c := range run {
				s := c.subject()
				require.False(t, busy[s])
				require.Equal(t, waits[s][0], c)
				waits[s] = waits[s][1:]
				busy[s] = true
			}
			checkCommands(t, string(datagram), run)
			under = append(under, run)
			return true
		}
		release := func(i int) {
			for _, c := range under[i] {
				busy[c.subject()] = false
			}
			l.release(under[i])
			under = append(under[:i], under[i+1:]...)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch step := rapid.IntRange(0, 9).Draw(t, "step"); {
			case step < 6:
				add(anyCommand().Draw(t, "command"))
			case step < 8:
				take()
			case len(under) > 0:
				release(rapid.IntRange(0, len(under)-1).Draw(t, "ended"))
			}
		}
		for take() || len(under) > 0 {
			if len(under) > 0 {
				release(0)
			}
		}
		require.Empty(t, l.waiting)
		require.Empty(t, l.all)
		require.Nil(t, l.first)
		require.Nil(t, l.last)
	})
}

// checkCommands wants the datagram to say the commands, by a scanner that keeps bytes that are not UTF-8.
func checkCommands(t *rapid.T, datagram string, run []Command) {
	var said []Command
	s := scanner{text: datagram}
	s.object(func(call string) bool {
		for kind := Kind(1); kind < kinds; kind++ {
			if kind.String() != call {
				continue
			}
			if kind == StopSession || kind == InvalidateStream {
				s.array(func() { said = append(said, about(kind, s.str(), "")) })
				return true
			}
			s.object(func(name string) bool {
				if kind == TagSession {
					said = append(said, about(kind, name, s.str()))
				} else {
					s.array(func() { said = append(said, about(kind, name, s.str())) })
				}
				return true
			})
			return true
		}
		return false
	})
	s.end()
	require.NoError(t, s.err())
	require.ElementsMatch(t, run, said)
}

func about(kind Kind, name, tag string) Command {
	if kind == StopSession || kind == TagSession {
		return Command{Kind: kind, Session: name, Tag: tag}
	}
	return Command{Kind: kind, Stream: name, Tag: tag}
}

// The last word for a session or stream counts, however often the earlier ones were said.
func TestLanesLastWord(t *testing.T) {
	l := newLanes()
	tag, untag := Command{Kind: TagStream, Stream: "s", Tag: "t"}, Command{Kind: UntagStream, Stream: "s", Tag: "t"}
	for range 1000 {
		l.add(tag)
		l.add(untag)
	}
	l.add(tag)
	for _, want := range []Command{untag, tag} {
		run, _ := l.take(maxDatagram)
		require.Equal(t, []Command{want}, run)
		none, _ := l.take(maxDatagram)
		require.Nil(t, none, "one at a time")
		l.release(run)
	}
	require.Empty(t, l.all)
}

// A command that is under way may be said again: what it was about may have changed since it left.
func TestLanesAgainWhileUnderWay(t *testing.T) {
	l := newLanes()
	stop := Command{Kind: StopSession, Session: "s"}
	l.add(stop)
	run, _ := l.take(maxDatagram)
	l.add(stop)
	l.add(stop)
	require.Len(t, l.waiting, 1)
	l.release(run)
	again, _ := l.take(maxDatagram)
	require.Equal(t, []Command{stop}, again)
}

// A datagram is filled: 20 session ids.
func TestLanesFillDatagrams(t *testing.T) {
	l := newLanes()
	for i := range 50 {
		l.add(stopSession(i))
	}
	for _, want := range []int{20, 20, 10} {
		run, _ := l.take(maxDatagram)
		require.Len(t, run, want)
		require.Equal(t, want > 10, len(appendCommands(nil, run)) > maxDatagram-70)
	}
}

// No datagram is too long, whatever it is full of.
func TestLanesFullOfAnyKind(t *testing.T) {
	for kind := Kind(1); kind < kinds; kind++ {
		l := newLanes()
		for i := range 1000 {
			l.add(about(kind, fmt.Sprint(i), "t"))
		}
		n := 0
		for {
			run, tooLong := l.take(maxDatagram)
			if run == nil {
				break
			}
			require.False(t, tooLong)
			n += len(run)
			length := len(appendCommands(nil, run))
			require.LessOrEqual(t, length, maxDatagram)
			require.True(t, length > maxDatagram-20 || n == 1000, "%s: %d bytes", kind, length)
		}
		require.Equal(t, 1000, n)
	}
}

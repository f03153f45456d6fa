package feed_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"authhook/internal/store"
	"authhook/internal/store/feed"
)

// Whatever happens to the feed, what a follower heard since the last gap is every change since then, in order.
func TestNothingIsMissed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		events := rapid.SliceOfN(rapid.SampledFrom([]string{"write", "write", "burst", "away", "back", "cut", "restore", "wait", "wake"}), 1, 40).
			Draw(rt, "events")
		var wrong string
		synctest.Test(t, func(t *testing.T) {
			b := &book{}
			b.write(3)
			f := feed.New(b, 0, feed.Options{Page: 4, VerifyEvery: time.Millisecond}, b.handle, b.gap)
			run(t, f, func() { wrong = live(t, b, f, events) })
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

func live(t *testing.T, b *book, f *feed.Follower, events []string) string {
	settle := func() { time.Sleep(5 * time.Second); synctest.Wait() }
	settle()
	for _, event := range events {
		switch event {
		case "write":
			b.write(1)
		case "burst":
			b.write(11)
		case "away":
			b.with(func() { b.fault = store.ErrUnavailable })
		case "back":
			b.with(func() { b.fault = nil })
		case "cut": // all but the last two
			b.with(func() {
				n := max(len(b.entries)-2, 0)
				b.first, b.entries = b.first+int64(n), b.entries[n:]
			})
		case "restore":
			b.with(func() { b.entries = b.entries[:len(b.entries)/2] })
			settle() // written to again only once that can be seen
		case "wait":
			time.Sleep(time.Second)
		case "wake":
			f.Wake()
		}
		if event == "restore" {
			b.with(func() { b.fault = nil })
			settle()
		}
	}
	b.with(func() { b.fault = nil })
	settle()
	last, err := b.LastChange(t.Context())
	if err != nil || f.Position() != last {
		return fmt.Sprintf("at %d, the feed at %d", f.Position(), last)
	}
	heard := b.heard()
	for i := len(heard) - 1; i >= 0 && heard[i] != "gap"; i-- {
		if want := strconv.FormatInt(last-int64(len(heard)-1-i), 10); heard[i] != want {
			return fmt.Sprintf("%s in the place of %s: %v", heard[i], want, heard)
		}
	}
	if !slices.Contains(heard, "gap") && len(heard) != int(last) {
		return fmt.Sprintf("without a gap, heard %v of %d", heard, last)
	}
	return ""
}

package feed_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/store"
	"authhook/internal/store/feed"
)

func TestBeginsAtTheEnd(t *testing.T) {
	follow(t, feed.Latest, feed.Options{}, func(t *testing.T, b *book, f *feed.Follower) {
		require.True(t, started(f))
		require.EqualValues(t, 5, f.Position())
		require.Equal(t, []string{"gap"}, b.heard(), "what was read before may lack a change")
		b.write(2)
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, []string{"6", "7"}, b.heard())
		require.EqualValues(t, 7, f.Position())
	})
}

func TestBeginsAfterANumber(t *testing.T) {
	follow(t, 3, feed.Options{}, func(t *testing.T, b *book, f *feed.Follower) {
		require.True(t, started(f))
		require.Equal(t, []string{"4", "5"}, b.heard())
	})
}

// The end is read before everything is dropped: a change between the two is read afterwards.
func TestNoChangeFallsBetweenEndAndDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		b.write(5)
		f := feed.New(b, feed.Latest, feed.Options{}, b.handle, func() { b.gap(); b.write(1) })
		run(t, f, func() { require.Equal(t, []string{"gap", "6"}, b.heard()) })
	})
}

func TestWake(t *testing.T) {
	follow(t, 0, feed.Options{Every: time.Hour}, func(t *testing.T, b *book, f *feed.Follower) {
		b.heard()
		reads := b.reads
		time.Sleep(time.Second)
		b.write(1)
		for range 100 {
			f.Wake()
		}
		synctest.Wait()
		require.Equal(t, []string{"6"}, b.heard(), "at once")
		time.Sleep(time.Second)
		require.LessOrEqual(t, b.reads, reads+2, "a hundred calls are hardly more than one")
	})
}

// Who is woken without end reads no more often than it may, and misses nothing.
func TestRests(t *testing.T) {
	follow(t, 5, feed.Options{Every: time.Hour, Rest: 10 * time.Millisecond}, func(t *testing.T, b *book, f *feed.Follower) {
		var want []string
		for n := range 1000 {
			b.write(1)
			f.Wake()
			want = append(want, strconv.Itoa(6+n))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		require.Equal(t, want, b.heard())
		require.LessOrEqual(t, b.reads, 105)
		require.GreaterOrEqual(t, b.reads, 95)
	})
}

func TestReadsInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		b.write(25)
		var pages []int
		f := feed.New(b, 0, feed.Options{Page: 10, Every: time.Hour}, func(_ context.Context, changes []store.Change) {
			pages = append(pages, len(changes))
		}, b.gap)
		run(t, f, func() { require.Equal(t, []int{10, 10, 5}, pages) })
	})
}

func TestAGapDropsEverything(t *testing.T) {
	for name, breakFeed := range map[string]func(b *book){
		"old entries cut off": func(b *book) { b.first, b.entries = 100, nil },
		"a hole": func(b *book) {
			b.entries = append(b.entries, store.Change{Number: 9, Subject: "9"}, store.Change{Number: 10, Subject: "10"})
			b.first = 4 // as if 6 to 8 had never been
		},
		"a restored database": func(b *book) { b.entries = b.entries[:2] },
	} {
		t.Run(name, func(t *testing.T) {
			follow(t, 0, feed.Options{VerifyEvery: time.Second}, func(t *testing.T, b *book, f *feed.Follower) {
				b.heard()
				b.with(func() { breakFeed(b) })
				time.Sleep(2 * time.Second)
				synctest.Wait()
				require.Equal(t, []string{"gap"}, b.heard())
				last, err := b.LastChange(t.Context())
				require.NoError(t, err)
				require.Equal(t, last, f.Position())
				if name != "a hole" {
					b.write(1)
					time.Sleep(time.Second)
					synctest.Wait()
					require.Equal(t, []string{strconv.FormatInt(last+1, 10)}, b.heard())
				}
			})
		})
	}
}

// Restored while it could not be read: the first look afterwards shows it.
func TestARestoreDuringAnOutage(t *testing.T) {
	follow(t, 0, feed.Options{VerifyEvery: time.Hour}, func(t *testing.T, b *book, f *feed.Follower) {
		time.Sleep(time.Second)
		b.heard()
		b.with(func() { b.fault = store.ErrUnavailable })
		time.Sleep(time.Minute)
		b.with(func() { b.fault = nil; b.entries = b.entries[:2] })
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"gap"}, b.heard())
		require.EqualValues(t, 2, f.Position())
	})
}

// lostEnd is a feed that has a gap, and whose end cannot be read.
type lostEnd struct{ *book }

func (l lostEnd) LastChange(context.Context) (int64, error) {
	l.with(func() { l.lasts++ })
	return 0, store.ErrUnavailable
}

func TestAGapDropsAlsoWhenTheEndIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{first: 100}
		f := feed.New(lostEnd{b}, 5, feed.Options{}, b.handle, b.gap)
		run(t, f, func() {
			time.Sleep(time.Minute)
			synctest.Wait()
			require.Equal(t, []string{"gap"}, b.heard(), "once, not at each try")
			require.False(t, started(f))
			require.Greater(t, b.lasts, 20)
		})
	})
}

func TestAnOutage(t *testing.T) {
	follow(t, 0, feed.Options{}, func(t *testing.T, b *book, f *feed.Follower) {
		b.heard()
		away := time.Now()
		b.with(func() { b.fault, b.reads = store.ErrUnavailable, 0 })
		b.write(3)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, b.heard())
		require.GreaterOrEqual(t, b.reads, 30, "at least every 2 s")
		require.LessOrEqual(t, b.reads, 70, "but not without pause")
		require.EqualValues(t, b.reads, f.Failures())
		require.LessOrEqual(t, f.CaughtUp(), away)

		b.with(func() { b.fault = nil })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"6", "7", "8"}, b.heard())
		require.Less(t, time.Since(f.CaughtUp()), time.Second)
	})
}

func TestAReadThatHangsIsGivenUp(t *testing.T) {
	follow(t, 0, feed.Options{ReadTimeout: time.Second}, func(t *testing.T, b *book, f *feed.Follower) {
		b.heard()
		b.with(func() { b.hang = true })
		time.Sleep(time.Second)
		b.with(func() { b.hang = false })
		b.write(1)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"6"}, b.heard())
		require.EqualValues(t, 1, f.Failures())
	})
}

func TestNotStartedWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{fault: errors.New("away")}
		f := feed.New(b, feed.Latest, feed.Options{}, b.handle, b.gap)
		run(t, f, func() {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			require.False(t, started(f))
			require.Equal(t, feed.Latest, f.Position())
			require.Zero(t, f.CaughtUp())
			b.with(func() { b.fault = nil })
			time.Sleep(3 * time.Second)
			require.True(t, started(f))
		})
	})
}

// A page that was being handled when the end came does not count as handled.
func TestAPageCutShortIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		b.write(5)
		ctx, stop := context.WithCancel(t.Context())
		f := feed.New(b, 2, feed.Options{}, func(context.Context, []store.Change) { stop() }, b.gap)
		require.NoError(t, f.Run(ctx))
		require.EqualValues(t, 2, f.Position())
		require.Error(t, f.Run(t.Context()), "it runs once")
	})
}

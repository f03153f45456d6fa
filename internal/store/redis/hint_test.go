package redis

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// listener is a replica that is told.
type listener struct {
	*Hint
	woken atomic.Int64
}

func newListener(t *testing.T, client goredis.UniversalClient) *listener {
	t.Helper()
	l := &listener{Hint: NewHint(client, HintOptions{Timeout: patience})}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := l.Run(ctx, func() { l.woken.Add(1) }); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
		l.Close()
	})
	l.server.probe(t.Context())
	return l
}

// wokenSince says whether there was a wake beyond n.
func (l *listener) wokenSince(n int64) func() bool {
	return func() bool { return l.woken.Load() > n }
}

func TestHint(t *testing.T) {
	t.Parallel()
	client := opened(t, newBox(t).url())
	a, b := newListener(t, client), newListener(t, client)
	soon(t, a.wokenSince(0), "once subscribed")
	soon(t, b.wokenSince(0), "once subscribed")

	fromB := b.woken.Load()
	a.Publish(t.Context(), 7)
	soon(t, b.wokenSince(fromB), "b is told")

	// What is no number, and none that is news, wakes nobody; b is told of 9 after all of it, in order.
	fromB = b.woken.Load()
	for _, text := range []string{"", "x", "-3", "0", "99999999999999999999999", "7"} {
		require.NoError(t, client.Publish(t.Context(), channel, text).Err())
	}
	a.Publish(t.Context(), 9)
	soon(t, b.wokenSince(fromB), "b is told")
	require.LessOrEqual(t, b.woken.Load(), fromB+2, "7 may have been forgotten meanwhile")
	a.Publish(t.Context(), 0)
	a.Publish(t.Context(), -1)
}

func TestNews(t *testing.T) {
	h := NewHint(nil, HintOptions{})
	defer h.Close()
	require.True(t, h.news(5))
	require.False(t, h.news(5))
	require.False(t, h.news(4))
	require.True(t, h.news(6))
	h.heardAt = time.Now().Add(-heardFor)
	require.True(t, h.news(2), "a database that was restored is heard again")
	require.False(t, h.news(2))
}

// While Redis is away publishing costs nothing, and when it is back each is woken: something may have been missed.
func TestHintsComeBack(t *testing.T) {
	t.Parallel()
	box := newBox(t)
	l := newListener(t, opened(t, box.url()))
	soon(t, l.wokenSince(0), "once subscribed")
	for n := range int64(3) {
		woken := l.woken.Load()
		box.kill()
		soon(t, func() bool {
			l.Publish(t.Context(), time.Now().UnixNano())
			return l.server.breaker.Open()
		}, "nothing is asked of it any more")
		l.Publish(t.Context(), n)
		require.Equal(t, woken, l.woken.Load())
		box.start()
		soon(t, l.wokenSince(woken), "subscribed again")
	}
}

// A Redis that is silent is noticed, though its connection stands.
func TestHintsFromAStoppedRedis(t *testing.T) {
	t.Parallel()
	box := newBox(t)
	client := opened(t, box.url())
	l := newListener(t, client)
	soon(t, l.wokenSince(0), "once subscribed")
	before := count(l.server.metrics.failures[causeConnection])
	box.signal(syscall.SIGSTOP)
	soon(t, func() bool { return count(l.server.metrics.failures[causeConnection]) > before }, "it is noticed")
	woken := l.woken.Load()
	box.signal(syscall.SIGCONT)
	soon(t, l.wokenSince(woken), "subscribed again")
}

func TestHintWithoutRedis(t *testing.T) {
	t.Parallel()
	client := opened(t, "unix:///nowhere/redis.sock")
	l := newListener(t, client)
	for n := range int64(100) {
		l.Publish(t.Context(), n)
	}
	require.True(t, l.server.breaker.Open())
	soon(t, func() bool { return count(l.server.metrics.failures[causeConnection]) > 2 }, "it tries again")
	require.Zero(t, l.woken.Load())
}

package enforce_test

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"authhook/internal/enforce"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/sqlite"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // these tests wait more than they work; a flag on the command line comes after
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.DiscardHandler)

func session(n int, state policy.SessionState) policy.Session {
	return policy.Session{
		Node: "edge-1", ID: strconv.Itoa(n), State: state, Stream: "live", User: "alice",
		Opened: time.Now(), Decided: time.Now(), Reason: policy.Entitled,
	}
}

// faulty is a store that can be away. It keeps what it was given.
type faulty struct {
	away    atomic.Bool
	written []policy.Session
	at      []time.Time
	calls   []int
}

func (f *faulty) WriteSessions(_ context.Context, sessions []policy.Session) error {
	if f.away.Load() {
		return store.ErrUnavailable
	}
	for _, s := range sessions {
		f.written = append(f.written, s)
		f.at = append(f.at, time.Now())
	}
	f.calls = append(f.calls, len(sessions))
	return nil
}

// What is recorded is in the store when the registry has stopped, in its order: an end comes after its beginning.
func TestEverythingIsWrittenBeforeTheEnd(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "authhook.db"))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, db.Migrate(t.Context()))

	r := enforce.NewWriter(db, quiet)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for i := range 2500 {
		r.Record(session(i, policy.SessionOpen))
	}
	end := session(7, policy.SessionEnded)
	end.Stream, end.User, end.Ended, end.Duration = "", "", time.Now(), time.Minute
	r.Record(end)
	stop()
	require.NoError(t, <-done)

	first, err := db.Session(t.Context(), "edge-1", "0")
	require.NoError(t, err)
	assert.Equal(t, policy.SessionOpen, first.State)
	last, err := db.Session(t.Context(), "edge-1", "2499")
	require.NoError(t, err)
	assert.Equal(t, policy.SessionOpen, last.State)
	ended, err := db.Session(t.Context(), "edge-1", "7")
	require.NoError(t, err)
	assert.Equal(t, policy.SessionEnded, ended.State)
	assert.Equal(t, "alice", ended.User, "an end does not forget who watched")
	assert.Equal(t, time.Minute, ended.Duration)
}

func TestSessionsAreWrittenInBatchesAtMostATenthOfASecondBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &faulty{}
		r := enforce.NewWriter(f, quiet)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		var recorded []time.Time
		for i := range 300 {
			r.Record(session(i, policy.SessionOpen))
			recorded = append(recorded, time.Now())
			time.Sleep(time.Millisecond) // of the bubble's own clock
		}
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.Len(t, f.written, 300)
		for i := range f.written {
			assert.LessOrEqual(t, f.at[i].Sub(recorded[i]), 100*time.Millisecond)
		}
		assert.Less(t, len(f.calls), 10, "they are written together")
		stop()
		require.NoError(t, <-done)
	})
}

func TestAnOutageLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &faulty{}
		f.away.Store(true)
		r := enforce.NewWriter(f, quiet)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		for i := range 1500 {
			r.Record(session(i, policy.SessionOpen))
		}
		time.Sleep(time.Minute)
		waiting, dropped := r.Pending()
		assert.Equal(t, 1500, waiting)
		assert.Zero(t, dropped)
		assert.True(t, r.Failing())
		f.away.Store(false)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Len(t, f.written, 1500)
		for i, s := range f.written {
			assert.Equal(t, strconv.Itoa(i), s.ID)
		}
		waiting, _ = r.Pending()
		assert.Zero(t, waiting)
		assert.False(t, r.Failing())

		f.away.Store(true)
		r.Record(session(1, policy.SessionEnded))
		stop()
		var unwritten *enforce.UnwrittenError
		require.True(t, errors.As(<-done, &unwritten))
		assert.Equal(t, 1, unwritten.Sessions)
	})
}

func TestAFloodOfDeniedSessionsIsBounded(t *testing.T) {
	r := enforce.NewWriter(&faulty{}, quiet)
	for i := range 200_010 {
		r.Record(session(i, policy.SessionDenied))
	}
	r.Record(session(1, policy.SessionOpen))
	waiting, dropped := r.Pending()
	assert.Equal(t, 200_001, waiting, "an open session is kept longer")
	assert.EqualValues(t, 10, dropped)
	for i := range 200_000 {
		r.Record(session(i, policy.SessionOpen))
	}
	waiting, dropped = r.Pending()
	assert.Equal(t, 400_000, waiting, "and all of it is bounded")
	assert.EqualValues(t, 11, dropped)
}

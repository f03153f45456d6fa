package guard

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/mist/api"
)

// node is a MistServer whose list changes with the time since its start.
type node struct {
	began  time.Time
	listed func(id string, after time.Duration) bool
	away   func(after time.Duration) error
	ids    []string
	stops  []time.Duration
	told   []string
}

func (n *node) Sessions(context.Context) (api.SessionList, error) {
	after := time.Since(n.began)
	if n.away != nil && n.away(after) != nil {
		return api.SessionList{}, n.away(after)
	}
	var list api.SessionList
	for _, id := range n.ids {
		if n.listed(id, after) {
			list.Sessions = append(list.Sessions, api.Session{ID: id})
		}
	}
	return list, nil
}

func (n *node) Do(_ context.Context, calls map[string]any) (json.RawMessage, error) {
	ids := calls["stop_sessid"].([]string)
	n.stops = append(n.stops, time.Since(n.began))
	n.told = append(n.told, ids...)
	if len(ids) > stopsAtOnce {
		panic("too many for a datagram")
	}
	if n.away != nil {
		return nil, n.away(time.Since(n.began))
	}
	return nil, nil
}

func TestEnd(t *testing.T) {
	const s = time.Second
	patience := Patience{Gone: 10 * s, Back: 3 * s}
	for _, test := range []struct {
		name   string
		p      Patience
		listed func(time.Duration) bool
		want   Fate
		took   time.Duration
		stops  int
	}{
		{"at once", patience, func(d time.Duration) bool { return d < s/10 }, Ended, 3200 * time.Millisecond, 1},
		{"after a second", patience, func(d time.Duration) bool { return d < s }, Ended, 4 * s, 1},
		{"without looking", Patience{Gone: 10 * s}, func(d time.Duration) bool { return d < s }, Ended, s, 1},
		{"only when told again", patience, func(d time.Duration) bool { return d < 3*s }, Ended, 6 * s, 2},
		{"back at once", patience, func(d time.Duration) bool { return d < s || d > 1600*time.Millisecond }, CameBack, 1800 * time.Millisecond, 1},
		{"back later", patience, func(d time.Duration) bool { return d < s || d > 3500*time.Millisecond }, CameBack, 3600 * time.Millisecond, 1},
		{"too late to be noticed", patience, func(d time.Duration) bool { return d < s || d > 4500*time.Millisecond }, Ended, 4 * s, 1},
		{"never gone", patience, func(time.Duration) bool { return true }, StillListed, 10 * s, 5},
		{"not listed", patience, func(time.Duration) bool { return false }, Ended, 3 * s, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &node{began: time.Now(), ids: []string{"a", "other"}, listed: func(id string, d time.Duration) bool { return id == "other" || test.listed(d) }}
				fates, err := End(t.Context(), n, []string{"a"}, test.p)
				require.NoError(t, err)
				assert.Equal(t, map[string]Fate{"a": test.want}, fates)
				assert.Equal(t, test.took, time.Since(n.began))
				assert.Len(t, n.stops, test.stops)
				assert.NotContains(t, n.told, "other")
			})
		})
	}
}

func TestEndMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids []string
		for i := range 40 {
			ids = append(ids, strconv.Itoa(i))
		}
		n := &node{began: time.Now(), ids: ids, listed: func(id string, d time.Duration) bool { return id == "7" || d < time.Second }}
		fates, err := End(t.Context(), n, ids, Patience{Gone: 5 * time.Second})
		require.NoError(t, err)
		assert.Len(t, fates, 40)
		assert.Equal(t, StillListed, fates["7"])
		assert.Equal(t, Ended, fates["8"])
		assert.Equal(t, append(ids, "7", "7"), n.told, "those that are gone are not told again")
	})
}

// A list that cannot be read for a moment says nothing.
func TestEndThroughASilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{began: time.Now(), ids: []string{"a"}, listed: func(_ string, d time.Duration) bool { return d < time.Second }}
		n.away = func(d time.Duration) error {
			if d > 100*time.Millisecond && d < 4*time.Second {
				return api.ErrNotReachable
			}
			return nil
		}
		fates, err := End(t.Context(), n, []string{"a"}, Patience{Gone: 10 * time.Second})
		require.NoError(t, err)
		assert.Equal(t, Ended, fates["a"])
		assert.Equal(t, 4*time.Second, time.Since(n.began))

		n.began = time.Now()
		n.away = func(d time.Duration) error {
			if d > 0 {
				return api.ErrNotReachable
			}
			return nil
		}
		fates, err = End(t.Context(), n, []string{"a"}, Patience{Gone: 10 * time.Second})
		require.ErrorIs(t, err, api.ErrNotReachable)
		assert.Empty(t, fates)
		assert.Equal(t, 10*time.Second, time.Since(n.began))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = End(ctx, &node{began: time.Now(), ids: []string{"a"}, listed: func(string, time.Duration) bool { return true }}, []string{"a"}, Patience{Gone: 10 * time.Second})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

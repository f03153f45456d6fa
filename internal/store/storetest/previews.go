package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/store"
)

func testPreviews(t *testing.T, database func(testing.TB) Open) {
	const day = 24 * time.Hour

	t.Run("begins once in a while", func(t *testing.T) {
		s := fresh(t, database)
		read := func(viewer, match string, now time.Time) time.Time {
			t.Helper()
			began, err := s.Preview(t.Context(), viewer, match, now, day)
			require.NoError(t, err)
			return began
		}
		start := func(viewer, match string, now time.Time) time.Time {
			t.Helper()
			began, err := s.StartPreview(t.Context(), viewer, match, now, day)
			require.NoError(t, err)
			return began
		}
		require.Zero(t, read("user:anna", "live+*", noon))
		require.Equal(t, noon, start("user:anna", "live+*", noon))
		later := noon.Add(day - time.Microsecond)
		require.Equal(t, noon, start("user:anna", "live+*", later))
		require.Equal(t, noon, read("user:anna", "live+*", later))
		require.Zero(t, read("user:anna", "live+*", noon.Add(day)))
		require.Zero(t, read("user:anna", "*", noon))
		require.Zero(t, read("address:192.0.2.1", "live+*", noon))
		require.Equal(t, noon.Add(day), start("user:anna", "live+*", noon.Add(day)))
		require.Equal(t, noon.Add(day), start("user:anna", "live+*", noon), "another machine's clock is behind")
		require.Equal(t, noon.Add(1000), start(hostile["quotes"], hostile["unicode"], noon.Add(1000)))

		n, err := s.PrunePreviews(t.Context(), noon.Add(time.Hour))
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		require.Equal(t, noon.Add(day), read("user:anna", "live+*", noon.Add(day)))

		invalid := new(store.InvalidError)
		_, err = s.StartPreview(t.Context(), "user:a\x00", "*", noon, day)
		require.ErrorAs(t, err, &invalid)
	})

	t.Run("racing starts", func(t *testing.T) {
		open := database(t)
		replicas := []Store{migrated(t, open, at(noon)), opened(t, open, at(noon))}
		began := make([]time.Time, 50)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range began {
			wg.Go(func() {
				<-start
				var err error
				began[i], err = replicas[i%2].StartPreview(t.Context(), "user:anna", "*", noon.Add(time.Duration(i)*time.Millisecond), day)
				assert.NoError(t, err)
			})
		}
		close(start)
		wg.Wait()
		for _, b := range began {
			require.Equal(t, began[0], b, "all have the same preview")
		}
	})
}

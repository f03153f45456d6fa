package enforce_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"authhook/internal/mist/misttest"
)

// MistServer does not get the answer that lets a viewer in, denies by its default and remembers it. It is had forget.
func TestADenialByDefaultIsLifted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1", func(timing *misttest.Timing) { timing.TriggerWait = 200 * time.Millisecond })
	h := w.open(m)
	var lost, allowed atomic.Bool
	lost.Store(true)
	h.through(m, func(w http.ResponseWriter, r *http.Request, on http.Handler) {
		if r.Header.Get("X-Trigger") != "USER_NEW" || !lost.Load() {
			on.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		on.ServeHTTP(answer, r)
		if answer.Body.String() == "true" {
			allowed.Store(true)
		}
		w.WriteHeader(http.StatusBadGateway)
	})
	p := watch(m, "live+fight", goldKey(w, "alice"), 1)
	await(t, p, misttest.Denied)
	assert.True(t, allowed.Load())
	lost.Store(false)
	await(t, p, misttest.Watching)
}

package webhook

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"authhook/internal/policy"
)

// The memory of a large body is not kept for small ones, and of none anything but the memory.
func TestOnlyEmptySmallMemoryIsKept(t *testing.T) {
	for _, size := range []int{100, largestKept + 1, MaxBody} {
		x := new(exchange)
		x.body.WriteString(strings.Repeat("x", size))
		x.call = Call{Type: "USER_NEW", UUID: "u", Body: x.body.Bytes(), request: policy.Request{Stream: "live"}}
		x.release()
		for range 20 {
			kept := exchanges.Get().(*exchange)
			assert.LessOrEqual(t, kept.body.Cap(), largestKept)
			assert.Zero(t, kept.body.Len())
			assert.Equal(t, Call{}, kept.call)
		}
	}
}

// A body is read into the memory of one before. A pool may forget what it is given, so it is given some more than once.
func TestMemoryIsUsedAgain(t *testing.T) {
	const body = "read into what was there"
	metrics := NewMetrics()
	handler := NewHandler(NewTriggers(nil, nil, metrics, slog.New(slog.DiscardHandler), TriggerOptions{}), metrics, HandlerOptions{})
	for range 100 {
		kept := new(exchange)
		kept.body.Grow(len(body))
		exchanges.Put(kept)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/trigger", strings.NewReader(body))
		r.Header.Set("X-Trigger", "STREAM_PROCESS") // about which nothing is decided
		handler.ServeHTTP(httptest.NewRecorder(), r)
		if string(kept.body.AvailableBuffer()[:len(body)]) == body {
			return
		}
	}
	t.Error("each body is given memory of its own")
}

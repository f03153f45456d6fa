package webhook_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"authhook/internal/webhook"
)

// Of a body that is too large no more is read than shows that it is, whether its length is told or not.
func TestALargeBodyIsNotReadToItsEnd(t *testing.T) {
	w := newWorld(t, webhook.TriggerOptions{}, webhook.HandlerOptions{})
	for name, told := range map[string]int64{"told": largeBody, "told as one byte too long": webhook.MaxBody + 1, "not told": -1} {
		t.Run(name, func(t *testing.T) {
			body := &large{}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/trigger", body)
			r.ContentLength = told
			r.Header.Set("X-Trigger", "USER_NEW")
			answer := httptest.NewRecorder()
			w.handler.ServeHTTP(answer, r)
			assert.Equal(t, http.StatusOK, answer.Code)
			assert.Equal(t, "false", answer.Body.String())
			assert.Equal(t, "body_too_large", answer.Header().Get("X-Authhook-Problem"))
			assert.LessOrEqual(t, body.read, webhook.MaxBody+1)
		})
	}
}

// largeBody is how much a large body holds, in bytes.
const largeBody = 4 << 20

// large is a large body, and how much of it was read.
type large struct{ read int }

func (l *large) Read(p []byte) (int, error) {
	n := min(len(p), largeBody-l.read)
	if l.read += n; n == 0 {
		return 0, io.EOF
	}
	for i := range p[:n] {
		p[i] = 'x'
	}
	return n, nil
}

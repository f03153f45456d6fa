package webhook

import (
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

package webhook_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/webhook"
)

// Goroutines begin with the stack that a trigger needs.
func TestStacksAreRaised(t *testing.T) {
	until := make(chan struct{})
	defer close(until)
	webhook.RaiseStacks(until)
	require.Eventually(t, func() bool { // it may not be deep enough at the first collection
		runtime.GC()
		return stackOfNew(100) >= 8<<10
	}, 10*time.Second, 10*time.Millisecond)
	assert.Less(t, stackOfNew(100), uint64(128<<10))
}

// stackOfNew is how many bytes of stack each of some goroutines begins with, about.
func stackOfNew(goroutines int) uint64 {
	var before, after runtime.MemStats
	var begun, ended sync.WaitGroup
	end := make(chan struct{})
	runtime.ReadMemStats(&before)
	for range goroutines {
		begun.Add(1)
		ended.Go(func() {
			begun.Done()
			<-end
		})
	}
	begun.Wait()
	runtime.ReadMemStats(&after)
	close(end)
	ended.Wait()
	return (max(after.StackInuse, before.StackInuse) - before.StackInuse) / uint64(goroutines)
}

package webhook

// A trigger needs some 8 KiB of stack, and the goroutine of its connection begins with 2: the stack is copied twice on the way,
// which a profile showed as 8 % of the CPU time where each trigger has a connection of its own. The runtime begins a goroutine with
// as much as the average of those that it found at the last garbage collection (its startingStackSize), and most of a service's
// goroutines wait for something and have next to nothing on theirs. One that has much raises the average.

const (
	// stackFrame and stackFrames are what lies on that one's stack: with fifty others it makes the average 8 KiB. Beyond 16, for
	// which it takes fewer than thirty, the runtime has no stacks ready. Where thousands of connections are kept open the average
	// is theirs, and nothing is gained.
	stackFrame, stackFrames = 4 << 10, 110
)

// RaiseStacks has goroutines begin with room for a trigger, from the next garbage collection on, until the channel is closed.
func RaiseStacks(until <-chan struct{}) {
	go deepen(stackFrames, until)
}

//go:noinline
func deepen(frames int, until <-chan struct{}) byte {
	var room [stackFrame]byte
	if frames == 0 {
		<-until
		return room[0]
	}
	room[frames] = deepen(frames-1, until)
	return room[frames/2]
}

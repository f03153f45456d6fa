package api

import (
	"context"
	"sync"
	"time"
)

const (
	// bothWays is for how long a run that gets no reply is begun anew over HTTP: as long as over UDP.
	bothWays = 5 * time.Second
	// httpLate is how long HTTP alone is waited for where UDP is mute.
	httpLate = 250 * time.Millisecond
)

// overEither sends the commands over UDP, and over HTTP as well as soon as UDP stays silent, is refused, or has a reply
// that is no good. The first good reply counts. Where UDP was mute a moment ago HTTP is first, and UDP is tried only when
// HTTP is late: so nothing waits for what is known.
func (d *delivery) overEither(ctx context.Context) error {
	udp, began := d.queue.client.udp, time.Now()
	either, cancel := context.WithCancel(ctx)
	defer cancel()
	var asking sync.WaitGroup
	var httpErr error
	ended := make(chan struct{})
	overHTTP := sync.OnceFunc(func() {
		asking.Go(func() {
			defer close(ended)
			if httpErr = d.overHTTP(either, began.Add(bothWays)); httpErr == nil {
				cancel()
			}
		})
	})

	mute := udp.isMute()
	if mute {
		overHTTP()
		late := time.NewTimer(httpLate)
		defer late.Stop()
		select {
		case <-ended:
			if httpErr == nil {
				return nil
			}
		case <-late.C:
		}
	}
	udpErr := d.overUDP(either, overHTTP)
	if udpErr == nil {
		cancel()
		asking.Wait()
		return nil
	}
	overHTTP()
	asking.Wait()
	if httpErr == nil {
		if !mute && len(d.commands) > 0 { // it was a reply, and not that nothing was wanted any more
			udp.outdone(began)
		}
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return both(udpErr, httpErr)
}

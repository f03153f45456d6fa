package redis

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

const (
	// channel is where numbers of the change feed are published, in decimal.
	channel = "authhook:changes:" + format
	// quietFor is after how long without a message it is asked whether the connection lives; as long again may the
	// answer take.
	quietFor = 5 * time.Second
	// The wait before subscribing again begins at resubscribe and doubles up to resubscribeAtMost.
	resubscribe       = 50 * time.Millisecond
	resubscribeAtMost = 5 * time.Second
	// heardFor is for how long a number is remembered, so that not every replica tells all others of the same one. A feed
	// that went back (a restored database) is silent for no longer than that.
	heardFor = time.Second
)

// HintOptions are the settings of a [Hint]. Those left zero have the default named.
type HintOptions struct {
	// Timeout is how long a publisher waits: 20 ms.
	Timeout time.Duration
	// Metrics count what fails: counted nowhere.
	Metrics *Metrics
	// Log gets a line when there are no hints any more, and when there are again: discarded.
	Log *slog.Logger
}

// Hint tells replicas that the change feed grew. What it says is never needed: the feed is read anyway, a little later.
type Hint struct {
	server *server
	log    *slog.Logger

	mu      sync.Mutex
	heard   int64 // the last number that was news here
	heardAt time.Time
}

// NewHint is a hint through a Redis. [Hint.Close] ends it; the client is the caller's to close afterwards.
func NewHint(client goredis.UniversalClient, o HintOptions) *Hint {
	orElse(&o.Timeout, defaultTimeout)
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &Hint{server: newServer(client, o.Timeout, o.Metrics, o.Log), log: o.Log}
	o.Metrics.watch(h.server)
	return h
}

// Close ends what Publish left running.
func (h *Hint) Close() { h.server.close() }

// Publish tells the others that the feed has reached a number, unless somebody just told it. It is called once the
// change is committed, by whoever made it or saw it.
func (h *Hint) Publish(ctx context.Context, number int64) {
	if number <= 0 || !h.news(number) {
		return
	}
	_ = h.server.call(ctx, func(ctx context.Context) error { // counted there
		return h.server.client.Publish(ctx, channel, strconv.FormatInt(number, 10)).Err()
	})
}

// news says whether a number is above what was heard of lately.
func (h *Hint) news(number int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if number <= h.heard && time.Since(h.heardAt) < heardFor {
		return false
	}
	h.heard, h.heardAt = number, time.Now()
	return true
}

// Run calls wake for each number that is published and is news, and after each time that the subscription is made, as
// something may have been missed before it. Wake must not wait. Run returns nil once its context ends.
func (h *Hint) Run(ctx context.Context, wake func()) error {
	wait, lost := resubscribe, false
	for {
		subscribed, err := h.listen(ctx, wake)
		if ctx.Err() != nil {
			return nil
		}
		if subscribed {
			wait, lost = resubscribe, false
		}
		h.server.metrics.failed(causeOf(err))
		if !lost {
			lost = true
			h.log.Warn("no hints of changes through Redis: they are seen a little later", "cause", string(causeOf(err)))
		}
		pause := time.NewTimer(wait/2 + rand.N(wait/2+1))
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
		wait = min(2*wait, resubscribeAtMost)
	}
}

var errSilent = errors.New("nothing was heard in time")

// listen subscribes and listens until that fails, and says whether it was subscribed at all.
func (h *Hint) listen(ctx context.Context, wake func()) (subscribed bool, err error) {
	// Without a channel this does nothing yet.
	subscription := h.server.client.Subscribe(ctx)
	defer func() { _ = subscription.Close() }()
	// Reading does not end with the context, but with its connection.
	defer context.AfterFunc(ctx, func() { _ = subscription.Close() })()
	if err := subscription.Subscribe(ctx, channel); err != nil {
		return false, err
	}
	asked := false // whether it lives
	for {
		message, err := subscription.ReceiveTimeout(ctx, quietFor)
		switch {
		case err == nil:
			asked = false
		case causeOf(err) != causeTimeout:
			return subscribed, err
		case asked || !subscribed:
			return subscribed, errSilent
		default:
			asked = true
			if err := subscription.Ping(ctx); err != nil {
				return subscribed, err
			}
			continue
		}
		switch message := message.(type) {
		case *goredis.Subscription:
			if !subscribed {
				h.log.Info("hints of changes come through Redis")
			}
			subscribed = true
			h.server.lookAside() // it answers: what is to be published need not find that out
			wake()
		case *goredis.Message:
			if number, err := strconv.ParseInt(message.Payload, 10, 64); err == nil && number > 0 && h.news(number) {
				wake()
			}
		}
	}
}

package api

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// QueueOptions say what a queue asks and tells, and how fast it goes. The functions are called one at a time, by
// goroutines that [Queue.Run] waits for. They must not block, and may call [Queue.Add].
type QueueOptions struct {
	// Wanted is asked right before each sending and each repetition: false drops the command without another word, for it
	// may have become wrong meanwhile. nil: all are wanted.
	Wanted func(Command) bool
	// Sent is told when the command left for the first time.
	Sent func(Command, time.Time)
	// Received is told when MistServer received it. It is not done by that, nor need it ever be: an unknown session gets the
	// same reply.
	Received func(Command, time.Time)
	// Failed is told that the command was given up: after about 5 s without a reply, or at once with [ErrTooLong],
	// [ErrReply] or [ErrLogin]; where there are two ways, when both have come to that. MistServer may have carried it out
	// all the same.
	Failed func(Command, error)

	// InFlight is how many exchanges may be under way at once, so that a lost datagram does not hold up the others. 4 if
	// zero.
	InFlight int
	// Interval is the least time between two sendings on average, repetitions aside. 500 µs if zero, none if negative: some 20 session ids fit a
	// datagram, so 40,000 a second may be stopped.
	Interval time.Duration
}

const (
	defaultInFlight = 4
	defaultInterval = 500 * time.Microsecond
	makeUp          = 5 * time.Millisecond

	// maxCalls is the longest body that the commands of one exchange over HTTP make.
	maxCalls = 64 << 10
	// httpAttempts and httpPause are the schedule over HTTP: the pause doubles each time, under 4 s together.
	httpAttempts = 5
	httpPause    = 250 * time.Millisecond
)

// Queue sends commands to one MistServer: several a datagram, in order for one session or one stream. Two commands for
// the same session or stream never share a datagram, nor are they ever under way at the same time.
//
// With a udp URL they go over UDP, and over HTTP as well where there is no reply: a MistServer that found its UDP port taken
// has bound another one (source), and would never hear of them. Of what went both ways, the copy that was not needed may be
// carried out a moment after the next command for the same session or stream.
//
// While MistServer is away commands wait, each at most once: so what waits is bounded by the sessions, streams and tags
// there are, some 300 bytes a command. Every command is tried for 5 s and then given up: who wants it done adds it again.
type Queue struct {
	client *Client
	o      QueueOptions

	mu    sync.Mutex
	lanes lanes
	wake  chan struct{}

	telling sync.Mutex // the functions of the options, one at a time
}

// NewQueue is a queue that sends once it runs.
func (c *Client) NewQueue(o QueueOptions) *Queue {
	if o.InFlight <= 0 {
		o.InFlight = defaultInFlight
	}
	if o.Interval == 0 {
		o.Interval = defaultInterval
	}
	return &Queue{client: c, o: o, lanes: newLanes(), wake: make(chan struct{}, 1)}
}

// Add has commands wait to be sent. It never blocks. One that equals one that waits is not added again, but goes behind
// those for the same session or stream that came after it. One of no known kind is dropped.
func (q *Queue) Add(commands ...Command) {
	q.mu.Lock()
	for _, c := range commands {
		if c.Kind > 0 && c.Kind < kinds {
			q.lanes.add(c)
		}
	}
	q.mu.Unlock()
	q.nudge()
}

// Waiting is how many commands wait. Those that are under way do not.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.lanes.waiting)
}

// Run sends until the context ends, and is the context's error. What is under way then is given up without a word; what waits
// goes on waiting.
func (q *Queue) Run(ctx context.Context) error {
	var deliveries sync.WaitGroup
	defer deliveries.Wait()
	slots := make(chan struct{}, q.o.InFlight)
	var due time.Time // the next sending: timers are late, and what they were late by is made up for
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		run, tooLong := q.next(ctx)
		if run == nil {
			return ctx.Err()
		}
		deliveries.Go(func() {
			q.deliver(ctx, run, tooLong)
			q.release(run)
			<-slots
		})
		if q.o.Interval > 0 {
			if earliest := time.Now().Add(-makeUp); due.Before(earliest) {
				due = earliest
			}
			due = due.Add(q.o.Interval)
			wait(ctx, due)
		}
	}
}

// next waits for commands to send; nil when the context ends.
func (q *Queue) next(ctx context.Context) (run []Command, tooLong bool) {
	limit := maxDatagram
	if q.client.udp == nil {
		limit = maxCalls
	}
	for ctx.Err() == nil {
		q.mu.Lock()
		run, tooLong = q.lanes.take(limit)
		q.mu.Unlock()
		if run != nil {
			return run, tooLong
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
		}
	}
	return nil, false
}

func (q *Queue) release(run []Command) {
	q.mu.Lock()
	q.lanes.release(run)
	q.mu.Unlock()
	q.nudge()
}

func (q *Queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// delivery is a run of commands under way. The queue's lock "telling" guards what changes in it.
type delivery struct {
	queue    *Queue
	commands []Command // those that are still wanted
	sent     bool
}

func (q *Queue) deliver(ctx context.Context, run []Command, tooLong bool) {
	d := &delivery{queue: q, commands: append([]Command(nil), run...)}
	var err error
	switch {
	case q.client.udp != nil && !tooLong && q.client.http != nil:
		err = d.overEither(ctx)
	case q.client.udp != nil && !tooLong:
		err = d.overUDP(ctx, nil)
	case q.client.http != nil:
		err = d.overHTTP(ctx, time.Time{})
	default:
		err = fmt.Errorf("%w: %d bytes, and there is no way over HTTP", ErrTooLong, len(appendCommands(nil, run)))
	}
	if ctx.Err() != nil && err != nil {
		return
	}
	d.finish(time.Now(), q.client.fault("command", err))
}

// overUDP sends the commands until there is a reply.
func (d *delivery) overUDP(ctx context.Context, silent func()) error {
	var calls []byte
	return d.queue.client.udp.exchange(ctx, talk{
		say:    func() []byte { calls = d.say(calls); return calls },
		left:   func() { d.left(time.Now()) },
		heard:  func(reply []byte) error { return checkReply(string(reply)) },
		silent: silent,
	})
}

// say is the calls to send now, where there is room for them; nil when none of the commands is wanted any more.
func (d *delivery) say(room []byte) []byte {
	d.queue.telling.Lock()
	defer d.queue.telling.Unlock()
	if wanted := d.queue.o.Wanted; wanted != nil {
		still := d.commands[:0]
		for _, c := range d.commands {
			if wanted(c) {
				still = append(still, c)
			}
		}
		d.commands = still
	}
	if len(d.commands) == 0 {
		return nil
	}
	return appendCommands(room[:0], d.commands)
}

// left tells that the commands have left for the first time.
func (d *delivery) left(at time.Time) {
	d.queue.telling.Lock()
	defer d.queue.telling.Unlock()
	if !d.sent {
		d.sent = true
		d.tell(d.queue.o.Sent, at)
	}
}

func (d *delivery) finish(at time.Time, err error) {
	d.queue.telling.Lock()
	defer d.queue.telling.Unlock()
	if err == nil {
		d.tell(d.queue.o.Received, at)
		return
	}
	if failed := d.queue.o.Failed; failed != nil {
		d.tell(func(c Command, _ time.Time) { failed(c, err) }, at)
	}
}

// tell tells of each command. The caller holds the lock.
func (d *delivery) tell(what func(Command, time.Time), at time.Time) {
	if what == nil {
		return
	}
	for _, c := range d.commands {
		what(c, at)
	}
}

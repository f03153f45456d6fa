package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Target is where questions go.
type Target struct {
	Network, Address string // as net.Dial takes them
	Keep             bool   // connections are kept
}

// Limits are how much is asked: until nothing is left of it.
type Limits struct {
	Askers int           // who ask at the same time, each the next question once it has its answer
	Asks   int           // at most; 0: no limit
	For    time.Duration // at most; 0: no limit
}

// Answers are what became of asking.
type Answers struct {
	Times  Times         // of each, its connection included
	Took   time.Duration // all together
	Denied int           // of them: their facts could not be read in time
}

// PerSecond is how many were answered in a second.
func (a Answers) PerSecond() float64 { return float64(len(a.Times)) / a.Took.Seconds() }

// answerTime is how long an answer may take, and attempts how often one is asked for: as MistServer does.
const answerTime, attempts = 5 * time.Second, 5

// Ask asks, over raw connections and as cheaply as it can, so that the service is what is measured. Everybody is to be let in, but
// for one in a hundred whom a machine that is too busy keeps out.
func Ask(ctx context.Context, to Target, q *Questions, l Limits) (Answers, error) {
	var left atomic.Int64
	left.Store(int64(l.Asks))
	if l.Asks == 0 {
		left.Store(1 << 62)
	}
	if l.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.For)
		defer cancel()
	}
	times := make([]Times, l.Askers)
	var denied atomic.Int64
	group := errgroup.Group{}
	over := atomic.Bool{}
	began := time.Now()
	defer context.AfterFunc(ctx, func() { over.Store(true) })()
	for i := range l.Askers {
		group.Go(func() error {
			a := asker{to: to, buffer: make([]byte, 4096)}
			defer a.close()
			mine := make(Times, 0, 1<<14)
			defer func() { times[i] = mine }()
			for !over.Load() && left.Add(-1) >= 0 {
				question, ok := q.take()
				if !ok {
					return nil
				}
				asked := time.Now()
				if err := a.ask(question); errors.Is(err, errDenied) {
					denied.Add(1)
				} else if err != nil {
					over.Store(true)
					return err
				}
				mine = append(mine, time.Since(asked))
			}
			return nil
		})
	}
	err := group.Wait()
	a := Answers{Took: time.Since(began), Denied: int(denied.Load())}
	for _, mine := range times {
		a.Times = append(a.Times, mine...)
	}
	switch {
	case err != nil:
	case errors.Is(ctx.Err(), context.Canceled):
		err = context.Cause(ctx)
	case a.Denied*100 > len(a.Times):
		err = fmt.Errorf("%d of %d: %w", a.Denied, len(a.Times), errDenied)
	}
	return a, err
}

// asker asks one question after the other.
type asker struct {
	to          Target
	conn        net.Conn
	out, buffer []byte
}

func (a *asker) ask(q Question) error {
	if a.conn == nil {
		if err := a.dial(); err != nil {
			return err
		}
	}
	err := a.exchange(q)
	if !a.to.Keep || err != nil {
		a.close()
	}
	return err
}

func (a *asker) dial() (err error) {
	a.conn, err = net.DialTimeout(a.to.Network, a.to.Address, answerTime)
	return err
}

func (a *asker) close() {
	if a.conn != nil {
		_ = a.conn.Close()
		a.conn = nil
	}
}

var yes = []byte("true")

// exchange sends a question and reads the answer. Each framing's answer ends with the word.
func (a *asker) exchange(q Question) error {
	a.out = q.appendTo(a.out)
	if err := a.conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	if _, err := a.conn.Write(a.out); err != nil {
		return err
	}
	for n := 0; n < len(a.buffer); {
		more, err := a.conn.Read(a.buffer[n:])
		n += more
		switch answer := a.buffer[:n]; {
		case bytes.HasSuffix(answer, yes):
			return nil
		case bytes.HasSuffix(answer, []byte("false")):
			return errDenied
		case errors.Is(err, io.EOF):
			return fmt.Errorf("the connection ended after %d bytes of the answer", n)
		case err != nil:
			return err
		}
	}
	return fmt.Errorf("more than %d bytes are no answer", len(a.buffer))
}

// errDenied says that somebody was denied who is entitled.
var errDenied = errors.New("denied, though entitled")

// AskAtOnce has everybody ask at the same moment: first all connect, then all send. Times are from that moment. Who is denied is
// counted; who gets no answer tries again, as MistServer does.
func AskAtOnce(ctx context.Context, to Target, list []Question) (Answers, error) {
	askers := make([]asker, len(list))
	defer func() {
		for i := range askers {
			askers[i].close()
		}
	}()
	dialing, _ := errgroup.WithContext(ctx)
	dialing.SetLimit(64)
	for i := range askers {
		askers[i] = asker{to: to, buffer: make([]byte, 1024)}
		dialing.Go(askers[i].dial)
	}
	if err := dialing.Wait(); err != nil {
		return Answers{}, err
	}
	a := Answers{Times: make(Times, len(list))}
	asking := errgroup.Group{}
	now := make(chan struct{})
	var began time.Time
	var denied atomic.Int64
	for i := range askers {
		asking.Go(func() error {
			<-now
			err := askers[i].exchange(list[i])
			for attempt := 1; attempt < attempts && err != nil && !errors.Is(err, errDenied); attempt++ {
				askers[i].close()
				err = askers[i].ask(list[i])
			}
			a.Times[i] = time.Since(began)
			if errors.Is(err, errDenied) {
				denied.Add(1)
				return nil
			}
			return err
		})
	}
	began = time.Now()
	close(now)
	err := asking.Wait()
	a.Took, a.Denied = time.Since(began), int(denied.Load())
	return a, err
}

package api

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// maxDatagram is the longest datagram that is ever sent, in bytes. MistServer writes one over 2,048 past the end of its
	// buffer ("Memory corruption likely" in its log).
	maxDatagram = 1400
	// maxReply is the longest reply that a datagram can hold.
	maxReply = 64 << 10

	// The schedule of one exchange: MistServer answers in 1 to 2 ms, so a reply that is not there after 50 ms is lost. With
	// half of all datagrams lost both ways, each attempt succeeds one time in four: 30 attempts in about 5 s fail one
	// exchange in 5,000.
	attempts    = 30
	firstPause  = 50 * time.Millisecond
	longestWait = 200 * time.Millisecond
	growth      = 1.25

	// keepAddresses is for how long a host's name is not looked up again.
	keepAddresses = 10 * time.Second
	// keepMute is for how long no reply is expected where HTTP answered and UDP did not.
	keepMute = 10 * time.Second
)

// errRefused: the operating system says that nobody listens.
var errRefused = fmt.Errorf("%w: nobody listens there", ErrNotReachable)

// datagrams has exchanges over UDP.
type datagrams struct {
	host, port string
	dial       func(ctx context.Context, to string) (net.Conn, error)
	pause      func(attempt int) time.Duration

	mu     sync.Mutex
	known  []string // the host's addresses, the one that answered last first
	lookup time.Time
	heard  time.Time // when there was last a reply
	mute   time.Time // until when no reply is expected
}

func newDatagrams(at address) *datagrams {
	d := &datagrams{host: at.host, port: at.port, pause: pause}
	d.dial = func(ctx context.Context, to string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "udp", to)
	}
	return d
}

// talk is what an exchange is about.
type talk struct {
	// say is the datagram for the next sending or repetition, at most maxDatagram; nil ends the exchange.
	say func() []byte
	// left is told of every sending, when it has left; nil: nobody is.
	left func()
	// heard is given the reply, which is good only until it returns. Its error is that of the exchange.
	heard func(reply []byte) error
	// silent is told once that the first attempts had no reply, or that nobody listens; nil: nobody is.
	silent func()
}

// patience is how many attempts may have no reply before silent is told.
const patience = 3

var replyBuffers = sync.Pool{New: func() any { return new([maxReply]byte) }}

// exchange says something until there is a reply, over a socket of its own: replies carry no id, and one that comes late
// must find nobody.
func (d *datagrams) exchange(ctx context.Context, t talk) error {
	to, err := d.addresses(ctx)
	if err != nil {
		if t.silent != nil {
			t.silent()
		}
		return err
	}
	var conn net.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	buffer := replyBuffers.Get().(*[maxReply]byte)
	defer replyBuffers.Put(buffer)

	problem := fmt.Errorf("%w: no reply", ErrNotReachable)
	at := 0
	for attempt := range attempts {
		if ctx.Err() != nil {
			break
		}
		said := t.say()
		if said == nil {
			return nil
		}
		if len(said) > maxDatagram {
			return fmt.Errorf("%w: %d bytes", ErrTooLong, len(said))
		}
		if attempt == patience && t.silent != nil {
			t.silent()
		}
		until := time.Now().Add(d.pause(attempt))
		if conn == nil {
			conn, err = d.dial(ctx, to[at])
		}
		if err == nil {
			err = d.attempt(ctx, conn, said, until, buffer, t)
		}
		switch {
		case err == nil:
			d.answered(to[at])
			return nil
		case errors.Is(err, ErrReply):
			return err
		case errors.Is(err, os.ErrDeadlineExceeded):
		default:
			if errors.Is(err, syscall.ECONNREFUSED) {
				problem = errRefused
			} else {
				problem = fmt.Errorf("%w: %w", ErrNotReachable, err)
			}
			if conn != nil {
				_ = conn.Close()
				conn = nil
			}
			if at++; at == len(to) { // every address was tried
				at = 0
				if t.silent != nil {
					t.silent()
				}
				wait(ctx, until)
			}
		}
		err = nil
	}
	d.forget()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", err, problem)
	}
	return problem
}

// attempt sends once and reads until a moment. It is os.ErrDeadlineExceeded when there is no reply by then.
func (d *datagrams) attempt(ctx context.Context, conn net.Conn, said []byte, until time.Time, buffer *[maxReply]byte, t talk) error {
	if err := conn.SetReadDeadline(until); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(said); err != nil {
		return err
	}
	if t.left != nil {
		t.left()
	}
	n, err := conn.Read(buffer[:])
	if err != nil {
		return err
	}
	return t.heard(buffer[:n])
}

// pause is how long an attempt waits for its reply.
func pause(attempt int) time.Duration {
	p := float64(firstPause)
	for range attempt {
		if p *= growth; p >= float64(longestWait) {
			p = float64(longestWait)
			break
		}
	}
	return time.Duration(p * (0.75 + rand.Float64()/2))
}

func wait(ctx context.Context, until time.Time) {
	rest := time.Until(until)
	if rest <= 0 {
		return
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// addresses are the host's, at least one. "localhost" has two, and MistServer listens on one of them.
func (d *datagrams) addresses(ctx context.Context) ([]string, error) {
	if _, err := netip.ParseAddr(d.host); err == nil {
		return []string{net.JoinHostPort(d.host, d.port)}, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known != nil && time.Since(d.lookup) < keepAddresses {
		return slices.Clone(d.known), nil
	}
	found, err := net.DefaultResolver.LookupHost(ctx, d.host)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotReachable, err)
	}
	last := ""
	if d.known != nil {
		last = d.known[0]
	}
	d.known, d.lookup = nil, time.Now()
	for _, host := range found {
		d.known = append(d.known, net.JoinHostPort(host, d.port))
	}
	d.prefer(last)
	return slices.Clone(d.known), nil
}

// answered notes a reply, and puts its address first.
func (d *datagrams) answered(to string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard, d.mute = time.Now(), time.Time{}
	d.prefer(to)
}

// outdone notes that what has been said since a moment was answered over HTTP, and not over UDP. Where anybody had a reply
// in that time datagrams are merely lost.
func (d *datagrams) outdone(since time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.heard.Before(since) {
		d.mute = time.Now().Add(keepMute)
	}
}

// isMute says that no reply is expected.
func (d *datagrams) isMute() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Before(d.mute)
}

func (d *datagrams) prefer(to string) {
	if i := slices.Index(d.known, to); i > 0 {
		d.known[0], d.known[i] = d.known[i], d.known[0]
	}
}

// forget has the host looked up again: it may have moved.
func (d *datagrams) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lookup = time.Time{}
}

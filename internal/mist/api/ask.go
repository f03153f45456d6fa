package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
)

// question is what is asked, where the length of the reply may grow beyond a datagram's.
type question uint8

const (
	questionOther question = iota
	questionSessions
	questionStreams
	questionTags
	questionConfig
	questions
)

// longReply is the length of a reply, in bytes, from which on the same question is asked over HTTP the next time: what
// does not fit 64 KiB gets no reply at all over UDP. A list of about 450 sessions is that long.
const longReply = 48 << 10

// Do makes any calls, in one exchange: over UDP where they fit a datagram, else over HTTP; and over HTTP too when no
// reply comes over UDP, for it may not fit. So they may be made more than once. The result is the whole reply, a JSON
// object. Texts in the calls go out byte by byte where they are string, []string, or maps of them.
//
// Beware of the call "streams": it deletes every stream that it does not name (source). Its error matches
// [ErrNotReachable], [ErrTooLong], [ErrReply], [ErrLogin] or the context's.
func (c *Client) Do(ctx context.Context, calls map[string]any) (json.RawMessage, error) {
	reply, err := c.do(ctx, questionOther, calls)
	raw := json.RawMessage(reply)
	if err == nil && !json.Valid(raw) {
		err = fmt.Errorf("%w: not JSON", ErrReply)
	}
	if err != nil {
		return nil, c.fault("API call", err)
	}
	return raw, nil
}

func (c *Client) do(ctx context.Context, q question, calls map[string]any) (string, error) {
	written, err := appendValue(nil, calls)
	if err != nil {
		return "", err
	}
	reply, err := c.ask(ctx, q, written)
	if err == nil {
		c.replies[q].Store(int64(len(reply)))
	}
	return reply, err
}

// ask has one exchange, on the way that fits.
func (c *Client) ask(ctx context.Context, q question, calls []byte) (string, error) {
	switch {
	case c.udp == nil:
		return c.http.exchange(ctx, calls, nil)
	case c.http == nil && len(calls) > maxDatagram:
		return "", fmt.Errorf("%w: %d bytes, and there is no way over HTTP", ErrTooLong, len(calls))
	case c.http == nil:
		return c.askUDP(ctx, calls, nil)
	case len(calls) > maxDatagram:
		reply, err := c.http.exchange(ctx, calls, nil)
		return reply, viaHTTP(err)
	case c.replies[q].Load() > longReply:
		reply, err := c.http.exchange(ctx, calls, nil)
		if err == nil || ctx.Err() != nil {
			return reply, err
		}
		reply, udpErr := c.askUDP(ctx, calls, nil)
		return reply, both(udpErr, err)
	}
	return c.askBoth(ctx, calls)
}

// askBoth asks over UDP, and over HTTP as well as soon as UDP stays silent or the reply is no good. The first reply counts.
func (c *Client) askBoth(ctx context.Context, calls []byte) (string, error) {
	either, cancel := context.WithCancel(ctx)
	silent := make(chan struct{})
	var once sync.Once
	type answer struct {
		reply string
		err   error
	}
	overUDP, overHTTP := make(chan answer, 1), make(chan answer, 1)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()

	asking.Go(func() {
		reply, err := c.askUDP(either, calls, func() { once.Do(func() { close(silent) }) })
		overUDP <- answer{reply, err}
	})
	var first answer
	select {
	case first = <-overUDP:
		if first.err == nil || ctx.Err() != nil {
			return first.reply, first.err
		}
		overUDP = nil
	case <-silent:
	}
	asking.Go(func() {
		reply, err := c.http.exchange(either, calls, nil)
		overHTTP <- answer{reply, err}
	})
	var udpErr, httpErr error
	if overUDP == nil {
		udpErr = first.err
	}
	for udpErr == nil || httpErr == nil {
		var a answer
		select {
		case a = <-overUDP:
			udpErr = a.err
		case a = <-overHTTP:
			httpErr = a.err
		}
		if a.err == nil {
			return a.reply, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return "", both(udpErr, httpErr)
}

func (c *Client) askUDP(ctx context.Context, calls []byte, silent func()) (string, error) {
	var reply string
	err := c.udp.exchange(ctx, talk{
		say:    func() []byte { return calls },
		silent: silent,
		heard: func(datagram []byte) error {
			reply = string(datagram)
			return checkReply(reply)
		},
	})
	return reply, err
}

// checkReply wants one JSON object, whole.
func checkReply(reply string) error {
	s := scanner{text: reply}
	s.object(func(string) bool { s.skip(); return true })
	s.end()
	return s.err()
}

func viaHTTP(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("over HTTP: %w", err)
}

// both is the error of two ways that failed.
func both(udp, http error) error {
	switch {
	case udp == nil || http == nil:
		return nil
	case errors.Is(udp, context.Canceled), errors.Is(udp, context.DeadlineExceeded):
		return udp
	}
	return fmt.Errorf("over UDP: %w; over HTTP: %w", udp, http)
}

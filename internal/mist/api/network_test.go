package api

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// network is a MistServer that is reached over datagrams, in virtual time: for synctest.
type network struct {
	// answer is its reply to a datagram; nil is none.
	answer func(datagram []byte) []byte
	// delay is how long a reply takes.
	delay time.Duration
	// lost says which datagrams are; nil: none.
	lost func() bool
	// refused is what a socket says instead of sending; nil: it sends.
	refused error
	// overHTTP is its reply to calls over HTTP, after a request has left; nil: nobody listens. An empty one never comes.
	overHTTP func(calls string) string

	mu      sync.Mutex
	sockets int
	arrived []string
	posted  []string // over HTTP
}

func acknowledge([]byte) []byte { return []byte(`{"LTS":1}`) }

// client is a client whose datagrams go over the network.
func (n *network) client(t testing.TB, o Options) *Client {
	t.Helper()
	c, err := New("udp://192.0.2.1", o)
	require.NoError(t, err)
	c.udp.dial = func(context.Context, string) (net.Conn, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.sockets++
		return &socket{network: n, replies: make(chan []byte, 100), moved: make(chan struct{})}, nil
	}
	if c.http != nil {
		c.http.client.Transport = n
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// RoundTrip has an exchange over HTTP.
func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	if n.overHTTP == nil {
		return nil, syscall.ECONNREFUSED
	}
	calls, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{})
	}
	n.mu.Lock()
	n.posted = append(n.posted, string(calls))
	n.mu.Unlock()
	reply := n.overHTTP(string(calls))
	if reply == "" {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	select {
	case <-time.After(n.delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(reply))}, nil
}

func (n *network) requests() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.posted...)
}

func (n *network) datagrams() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.arrived...)
}

type socket struct {
	net.Conn
	network *network
	replies chan []byte

	mu       sync.Mutex
	deadline time.Time
	moved    chan struct{} // closed when the deadline moves
}

func (s *socket) Write(datagram []byte) (int, error) {
	n := s.network
	if n.refused != nil {
		return 0, n.refused
	}
	if n.lost != nil && n.lost() {
		return len(datagram), nil
	}
	n.mu.Lock()
	n.arrived = append(n.arrived, string(datagram))
	n.mu.Unlock()
	reply := n.answer(append([]byte(nil), datagram...))
	if reply == nil || n.lost != nil && n.lost() {
		return len(datagram), nil
	}
	time.AfterFunc(n.delay, func() {
		select {
		case s.replies <- reply:
		default:
		}
	})
	return len(datagram), nil
}

func (s *socket) Read(b []byte) (int, error) {
	for {
		s.mu.Lock()
		deadline, moved := s.deadline, s.moved
		s.mu.Unlock()
		rest := time.Until(deadline)
		if rest <= 0 {
			return 0, os.ErrDeadlineExceeded
		}
		timer := time.NewTimer(rest)
		select {
		case reply := <-s.replies:
			timer.Stop()
			return copy(b, reply), nil
		case <-timer.C:
		case <-moved:
			timer.Stop()
		}
	}
}

func (s *socket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	close(s.moved)
	s.moved = make(chan struct{})
	return nil
}

func (s *socket) Close() error { return nil }

// commandsOf reads the calls of a datagram back as commands.
func commandsOf(t require.TestingT, datagram string) []Command {
	var r struct {
		StopSession      []string            `json:"stop_sessid"`
		TagSession       map[string]string   `json:"tag_sessid"`
		InvalidateStream []string            `json:"invalidate_sessions"`
		TagStream        map[string][]string `json:"tag_stream"`
		UntagStream      map[string][]string `json:"untag_stream"`
	}
	require.NoError(t, json.Unmarshal([]byte(datagram), &r), datagram)
	var commands []Command
	for _, id := range r.StopSession {
		commands = append(commands, Command{Kind: StopSession, Session: id})
	}
	for id, tag := range r.TagSession {
		commands = append(commands, Command{Kind: TagSession, Session: id, Tag: tag})
	}
	for _, stream := range r.InvalidateStream {
		commands = append(commands, Command{Kind: InvalidateStream, Stream: stream})
	}
	for stream, tags := range r.TagStream {
		for _, tag := range tags {
			commands = append(commands, Command{Kind: TagStream, Stream: stream, Tag: tag})
		}
	}
	for stream, tags := range r.UntagStream {
		for _, tag := range tags {
			commands = append(commands, Command{Kind: UntagStream, Stream: stream, Tag: tag})
		}
	}
	return commands
}

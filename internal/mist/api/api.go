// Package api is the client of MistServer's API, over UDP and over HTTP: what authhook asks a node (who is watching,
// which streams are active, how it is configured), and what it tells it to do (end a session, tag one, have a stream's
// viewers ask again).
//
// A reply over UDP means received, never done: garbage gets the same one. So the package must never call a command done;
// who wants to know looks at the node's own list. It must never send a datagram over 1,400 bytes, because MistServer
// writes a longer one past the end of its buffer; never take a late reply for another's, so every exchange has a socket of its
// own; never send the call "streams", which deletes every stream that it does not name (source); and never put a
// password, nor the user part of a URL, into an error or a log.
//
// Calls may be carried out more than once: a reply that was lost looks like a call that was. All calls made here mean
// the same when repeated. Texts from MistServer may be any bytes, and share one copy of the reply: who keeps one of them
// for long clones it, or keeps them all.
//
// Its facts come from exchanges with a real MistServer 3.10 (testdata/udp.jsonl). Where MistServer's public source is
// the witness, the comments say (source).
//
// It imports nothing of authhook's.
package api

import (
	"sync/atomic"
	"time"
)

// Options say how a client reaches its MistServer.
type Options struct {
	// ListURL is an http or https URL for what does not fit a datagram, or has no reply over UDP, with a udp URL only.
	// Empty: the same host and port over http. "none": there is no such way, and what does not fit is an error.
	ListURL string
	// Timeout is for one exchange over HTTP, 5 s if zero. Over UDP, a client waits and repeats on its own schedule: it
	// gives up after about 5 s.
	Timeout time.Duration
}

const defaultTimeout = 5 * time.Second

// Client speaks to one MistServer. Any number of goroutines may use it.
type Client struct {
	name string
	udp  *datagrams // nil: HTTP only
	http *caller    // nil: UDP only

	// replies are the sizes of the last replies, by question: they tell which fit a datagram.
	replies [questions]atomic.Int64
}

// New is a client of the MistServer at a URL: udp://host:port, which is for the machine it runs on, or
// http(s)://user:password@host:port. The port is 4242 where the URL has none. It does no I/O. Its errors never quote
// the URL.
func New(url string, o Options) (*Client, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	at, err := parseAddress(url)
	if err != nil {
		return nil, err
	}
	c := &Client{name: at.String()}
	if at.scheme != "udp" {
		if o.ListURL != "" {
			return nil, errListURL
		}
		c.http = newCaller(at, o.Timeout)
		return c, nil
	}
	c.udp = newDatagrams(at)
	switch o.ListURL {
	case "none":
	case "":
		at.scheme = "http"
		c.http = newCaller(at, o.Timeout)
	default:
		list, err := parseAddress(o.ListURL)
		if err != nil || list.scheme == "udp" {
			return nil, errListURL
		}
		c.http = newCaller(list, o.Timeout)
	}
	return c, nil
}

// String is the URL without its user and password.
func (c *Client) String() string { return c.name }

// Close ends the connections that wait for more. A call under way is not ended by it, but by its context.
func (c *Client) Close() error {
	if c.http != nil {
		c.http.client.CloseIdleConnections()
	}
	return nil
}

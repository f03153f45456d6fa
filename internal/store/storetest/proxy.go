package storetest

import (
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Proxy stands between a store and PostgreSQL or Redis: it cuts connections, swallows what is said, refuses, and counts
// round trips.
type Proxy struct {
	t      testing.TB
	target string
	wg     sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	address  string
	open     map[net.Conn]bool
	swallow  bool
	asked    int // how often a client spoke after the server did, or first
	made     int // connections, in all
}

// NewProxy stands before the server of a URL and returns the URL that leads through it.
func NewProxy(t testing.TB, serverURL string) (*Proxy, string) {
	u, err := url.Parse(serverURL)
	require.NoError(t, err)
	p := &Proxy{t: t, target: u.Host, open: map[net.Conn]bool{}, address: FreeAddress(t)}
	p.Up()
	t.Cleanup(func() {
		p.Down()
		p.wg.Wait()
	})
	u.Host = p.address
	if q := u.Query(); u.Scheme != "redis" {
		q.Set("sslmode", "disable")
		u.RawQuery = q.Encode()
	}
	return p, u.String()
}

// FreeAddress is one that nobody listens on, for who has to come back to it. It stays below the ports that Linux gives out for
// outgoing connections, of which tests make thousands.
func FreeAddress(t testing.TB) string {
	t.Helper()
	const first, end, tries = 20_000, 32_000, 1000
	var err error
	for range tries {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(end-first)))
		var l net.Listener
		if l, err = net.Listen("tcp", address); err == nil {
			require.NoError(t, l.Close())
			return address
		}
	}
	t.Fatalf("no port is free: %s", err)
	return ""
}

// Up accepts connections, at the same address as before.
func (p *Proxy) Up() {
	l, err := net.Listen("tcp", p.address)
	require.NoError(p.t, err)
	p.mu.Lock()
	p.listener, p.address, p.swallow = l, l.Addr().String(), false
	p.mu.Unlock()
	p.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", p.target)
			if err != nil {
				client.Close()
				continue
			}
			p.mu.Lock()
			p.open[client], p.open[server] = true, true
			p.made++
			p.mu.Unlock()
			turn := &turn{p: p}
			p.wg.Go(func() { p.pipe(server, client, turn, true) })
			p.wg.Go(func() { p.pipe(client, server, turn, false) })
		}
	})
}

// Down cuts every connection and refuses new ones.
func (p *Proxy) Down() {
	p.listener.Close()
	p.Cut()
}

// Cut ends the connections there are.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
	clear(p.open)
}

// Hang lets nothing through any more, without a word.
func (p *Proxy) Hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallow = true
}

// Counts are the round trips and the connections so far.
func (p *Proxy) Counts() (asked, made int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked, p.made
}

// turn is whose turn it is to speak on one connection.
type turn struct {
	p      *Proxy
	client bool
}

func (t *turn) take(client bool) (silent bool) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	if client && !t.client {
		t.p.asked++
	}
	t.client = client
	return t.p.swallow
}

func (p *Proxy) pipe(to io.WriteCloser, from io.ReadCloser, t *turn, client bool) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 && !t.take(client) {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

package api

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// mistUDP is a MistServer on a real socket. answer is its reply; nil is none.
func mistUDP(t *testing.T, answer func(datagram []byte) []byte) (url string) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	go func() {
		defer close(done)
		buffer := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFromUDP(buffer)
			if err != nil {
				return
			}
			if reply := answer(buffer[:n]); reply != nil {
				_, _ = conn.WriteToUDP(reply, from)
			}
		}
	}()
	return "udp://" + conn.LocalAddr().String()
}

func newClient(t *testing.T, url string, o Options) *Client {
	t.Helper()
	c, err := New(url, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// A reply of any length that a datagram can hold is read whole.
func TestLongReply(t *testing.T) {
	name := strings.Repeat("x", 65507-len(`{"version":{"version":""}}`))
	url := mistUDP(t, func([]byte) []byte { return []byte(`{"version":{"version":"` + name + `"}}`) })
	v, err := newClient(t, url, Options{ListURL: "none"}).Version(t.Context())
	require.NoError(t, err)
	require.Equal(t, name, v.Version)
}

func TestRefused(t *testing.T) {
	listener, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	url := "udp://" + listener.LocalAddr().String()
	require.NoError(t, listener.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	_, err = newClient(t, url, Options{ListURL: "none"}).Version(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, ErrNotReachable)
	require.ErrorContains(t, err, "nobody listens")
}

// Refused or silent, a MistServer is tried for some seconds, and found when it comes back.
func TestAway(t *testing.T) {
	for name, n := range map[string]*network{
		"nobody listens": {refused: syscall.ECONNREFUSED, answer: acknowledge},
		"no reply":       {answer: func([]byte) []byte { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				_, err := n.client(t, Options{ListURL: "none"}).Version(t.Context())
				require.ErrorIs(t, err, ErrNotReachable)
				require.ErrorContains(t, err, name)
				require.InDelta(t, 5, time.Since(began).Seconds(), 1.5)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		n := &network{}
		n.answer = func([]byte) []byte {
			if time.Since(began) < 3*time.Second {
				return nil
			}
			return []byte(`{"version":{"version":"3.10"}}`)
		}
		v, err := n.client(t, Options{ListURL: "none"}).Version(t.Context())
		require.NoError(t, err)
		require.Equal(t, "3.10", v.Version)
		require.Less(t, time.Since(began), 3500*time.Millisecond)
	})
}

// A reply that comes when its exchange is over must not be the next one's.
func TestLateReplyIsNobodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{delay: 40 * time.Millisecond}
		asked := 0
		n.answer = func([]byte) []byte {
			asked++
			return fmt.Appendf(nil, `{"version":{"version":"%d"}}`, asked)
		}
		c := n.client(t, Options{ListURL: "none"})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := c.Version(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		v, err := c.Version(t.Context())
		require.NoError(t, err)
		require.Equal(t, "2", v.Version)
		require.Equal(t, 2, n.sockets)
	})
}

// The same on a real socket: the server answers the first question only once the second one is there.
func TestLateReplyIsNobodysOverUDP(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer conn.Close()
	c := newClient(t, "udp://"+conn.LocalAddr().String(), Options{ListURL: "none"})
	receive := func() *net.UDPAddr {
		_, from, err := conn.ReadFromUDP(make([]byte, maxDatagram))
		require.NoError(t, err)
		return from
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { _, err := c.Version(ctx); gone <- err }()
	first := receive()
	cancel()
	require.ErrorIs(t, <-gone, context.Canceled)

	type answer struct {
		v   Version
		err error
	}
	answered := make(chan answer)
	go func() { v, err := c.Version(t.Context()); answered <- answer{v, err} }()
	second := receive()
	_, err = conn.WriteToUDP([]byte(`{"version":{"version":"late"}}`), first)
	require.NoError(t, err)
	_, err = conn.WriteToUDP([]byte(`{"version":{"version":"mine"}}`), second)
	require.NoError(t, err)
	got := <-answered
	require.NoError(t, got.err)
	require.Equal(t, "mine", got.v.Version)
}

// With half of all datagrams lost both ways, next to every exchange comes through within seconds.
func TestHalfLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chance := rand.New(rand.NewPCG(1, 2))
		n := &network{answer: func([]byte) []byte { return []byte(`{"version":{}}`) }, delay: time.Millisecond}
		n.lost = func() bool { return chance.IntN(2) == 0 }
		c := n.client(t, Options{ListURL: "none"})
		failed := 0
		var longest time.Duration
		for range 2000 {
			began := time.Now()
			if _, err := c.Version(t.Context()); err != nil {
				failed++
			}
			longest = max(longest, time.Since(began))
		}
		require.LessOrEqual(t, failed, 3)
		require.Less(t, longest, 7*time.Second)
	})
}

func TestReplyThatIsNone(t *testing.T) {
	for name, reply := range map[string]string{
		"not JSON":          "hello",
		"cut":               `{"version":{"version":"3.1`,
		"empty":             "",
		"a list":            "[]",
		"more than one":     `{}{}`,
		"not what is asked": `{"LTS":1}`,
		"another shape":     `{"version":[1,2]}`,
		"deep":              strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{answer: func([]byte) []byte { return []byte(reply) }}
				c := n.client(t, Options{ListURL: "none"})
				if name != "not what is asked" && name != "another shape" {
					require.ErrorIs(t, c.Save(t.Context()), ErrReply)
					n.arrived = nil
				}
				_, err := c.Version(t.Context())
				require.ErrorIs(t, err, ErrReply)
				require.Len(t, n.datagrams(), 1, "nothing is won by asking again")
			})
		})
	}
}

// What a name means is looked up, and every address of it is tried.
func TestEveryAddressIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{answer: acknowledge}
		c := n.client(t, Options{ListURL: "none"})
		c.udp.host = "mist.invalid"
		c.udp.known, c.udp.lookup = []string{"192.0.2.1:4242", "[2001:db8::1]:4242"}, time.Now()
		var dialled []string
		answering := c.udp.dial
		c.udp.dial = func(ctx context.Context, to string) (net.Conn, error) {
			dialled = append(dialled, to)
			if to == "192.0.2.1:4242" {
				return nil, syscall.ECONNREFUSED
			}
			return answering(ctx, to)
		}
		began := time.Now()
		require.NoError(t, c.Save(t.Context()))
		require.Zero(t, time.Since(began))
		require.NoError(t, c.Save(t.Context()))
		require.Equal(t, []string{"192.0.2.1:4242", "[2001:db8::1]:4242", "[2001:db8::1]:4242"}, dialled)
	})
}

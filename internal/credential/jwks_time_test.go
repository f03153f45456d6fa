package credential

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/policy"
)

// clockwork is an endpoint within a synctest bubble: it notes when it is asked, and answers as the test says.
type clockwork struct {
	begun time.Time
	mu    sync.Mutex
	at    []time.Duration // when it was asked, since the beginning
	reply func(r *http.Request) (string, error)
	came  []Refresh
}

func (c *clockwork) answer(reply func(*http.Request) (string, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reply = reply
}

func (c *clockwork) asked() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.at)
}

func (c *clockwork) results() []Refresh {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.came)
}

func (c *clockwork) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.at = append(c.at, time.Since(c.begun))
	reply := c.reply
	c.mu.Unlock()
	body, err := reply(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (c *clockwork) start(t *testing.T, every time.Duration) *JWTs {
	c.begun = time.Now()
	j, err := NewJWTs(policy.JWT{JWKSURL: "https://issuer.example/jwks"}, Options{
		Log: slog.New(slog.DiscardHandler), RefreshEvery: every, Transport: c,
		Refreshed: func(r Refresh) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.came = append(c.came, r)
		},
	})
	require.NoError(t, err)
	synctest.Wait()
	return j
}

// pass lets time go by.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

func steady(body string) func(*http.Request) (string, error) {
	return func(*http.Request) (string, error) { return body, nil }
}

func TestReadAgainNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clockwork{reply: steady(set(jwk("k", testEC.Public())))}
		j := c.start(t, 0)
		pass(11 * time.Minute)
		assert.Equal(t, []time.Duration{0, 5 * time.Minute, 10 * time.Minute}, c.asked())
		j.Close()
		pass(time.Hour)
		assert.Len(t, c.asked(), 3, "closed")
	})
	synctest.Test(t, func(t *testing.T) {
		c := &clockwork{reply: steady(set())}
		j := c.start(t, time.Millisecond)
		pass(21 * time.Second)
		assert.Equal(t, []time.Duration{0, 10 * time.Second, 20 * time.Second}, c.asked(), "not more often than is decent")
		j.Close()
	})
}

func TestAnUnknownKidAsksForAReadingNotTooOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clockwork{reply: steady(set(jwk("k", testEC.Public())))}
		j := c.start(t, time.Hour)
		defer j.Close()
		pass(time.Minute)

		c.answer(steady(set(jwk("k", testEC.Public()), jwk("new", otherEC.Public()))))
		before := time.Now()
		refused(t, j, esToken("new", otherEC), "no key")
		assert.Equal(t, before, time.Now(), "nobody waits")
		synctest.Wait()
		accepted(t, j, esToken("new", otherEC))
		assert.Equal(t, []time.Duration{0, time.Minute}, c.asked(), "at once, for the last reading is a while ago")

		for i := range 1000 {
			refused(t, j, esToken("attack"+strconv.Itoa(i), testEC), "no key")
			pass(100 * time.Millisecond)
		}
		assert.Len(t, c.asked(), 2+10, "100 seconds of made-up kids")
		pass(time.Minute)
		n := len(c.asked())
		pass(30 * time.Minute)
		assert.Len(t, c.asked(), n, "it is over")
	})
}

func TestAWrongSignatureAsksForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clockwork{reply: steady(set(jwk("k", testEC.Public())))}
		j := c.start(t, time.Hour)
		defer j.Close()
		pass(time.Minute)
		refused(t, j, esToken("k", otherEC), "its signature")
		refused(t, j, "eyJ.a.b", "its header")
		pass(time.Minute)
		assert.Len(t, c.asked(), 1)
	})
}

func TestAfterAFailureItIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clockwork{reply: func(*http.Request) (string, error) { return "", errors.New("down") }}
		j := c.start(t, 0)
		defer j.Close()
		<-j.Started()
		s := time.Second
		for range 200 {
			pending(t, j, esToken("k", testEC)) // unknown kids do not hurry it
			pass(s)
		}
		assert.Equal(t, []time.Duration{0, 1 * s, 3 * s, 7 * s, 15 * s, 31 * s, 63 * s, 123 * s, 183 * s}, c.asked())

		c.answer(steady(set(jwk("k", testEC.Public()))))
		pass(time.Minute)
		accepted(t, j, esToken("k", testEC))
		n := len(c.asked())
		pass(4 * time.Minute)
		assert.Len(t, c.asked(), n, "as usual again")

		c.answer(func(*http.Request) (string, error) { return "", errors.New("down") })
		n = len(c.asked())
		pass(3 * time.Hour)
		assert.Equal(t, time.Second, c.asked()[n+1]-c.asked()[n], "soon after the first failure")
		accepted(t, j, esToken("k", testEC))
		require.Error(t, c.results()[len(c.results())-1].Err)

		c.answer(steady(set()))
		pass(time.Minute)
		refused(t, j, esToken("k", testEC), "no key of the catalog or the JWKS URL")
	})
}

func TestAReadingHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clockwork{reply: func(r *http.Request) (string, error) {
			<-r.Context().Done()
			return "", r.Context().Err()
		}}
		j := c.start(t, 0)
		defer j.Close()
		pass(fetchTimeout - time.Second)
		assert.Empty(t, c.results())
		pass(time.Second)
		require.Len(t, c.results(), 1)
		assert.Error(t, c.results()[0].Err)
	})
}

func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := false
		c := &clockwork{reply: func(r *http.Request) (string, error) {
			<-r.Context().Done()
			time.Sleep(time.Second)
			over = true
			return "", r.Context().Err()
		}}
		c.start(t, 0).Close()
		assert.True(t, over)
		assert.Empty(t, c.results(), "a reading that was given up is no failure")
	})
}

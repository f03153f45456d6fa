package main

import (
	"context"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/mist/misttest"
)

// BenchmarkChange is what a change takes from the moment at which its API call is made, the commit included, to its effect:
// until the command is at MistServer, until a revoked session is confirmed gone, until a denied viewer watches. The next
// change is made when the last one is seen there. The stand-in takes its time as the real one was measured to: 0.07 to
// 1.03 s to end a session, a list that is a second behind, 0.2 to 0.4 s to lift a denial; and its players come back after
// 250 ms.
func BenchmarkChange(b *testing.B) {
	for kind, db := range databases(b) {
		b.Run(kind, func(b *testing.B) { benchmarkChange(b, db) })
	}
}

const changingUsers = 100

// rightChange is a change of a user's right, of which nothing is seen yet at MistServer.
type rightChange struct {
	called time.Time          // when its API call was made
	effect misttest.EventKind // what becomes of the user's player
	seen   chan struct{}      // closed by the first command or effect
}

func benchmarkChange(b *testing.B, db string) {
	m, err := misttest.Start(misttest.Options{Name: "edge-1"})
	require.NoError(b, err)
	defer func() { require.NoError(b, m.Close()) }()
	s := serveForTest(b, "--database-url", db, "--catalog", exampleCatalog, "--admin-token", adminToken, "--mist", m.UDPURL())
	m.SetTriggers(map[string][]misttest.Trigger{
		"USER_NEW": {{Handler: s.url + "/trigger", Sync: true, Default: "false"}},
		"USER_END": {{Handler: s.url + "/trigger"}},
	})
	api, err := client.New(s.url, adminToken)
	require.NoError(b, err)
	ctx := context.Background()

	var mu sync.Mutex
	unseen := map[string]rightChange{} // by session
	revoked := 0
	toCommand, toWatching := []time.Duration{}, []time.Duration{}
	defer m.OnCommand(func(c misttest.Command) {
		mu.Lock()
		defer mu.Unlock()
		if change, ok := unseen[c.Target]; ok && c.Kind == "stop_sessid" {
			toCommand = append(toCommand, c.At.Sub(change.called))
			if change.effect == misttest.EventDenied {
				revoked++
			}
			delete(unseen, c.Target)
			close(change.seen)
		}
	})()
	// A player that is on its way back meets its new right without a command.
	cameBack := func(e misttest.Event) {
		mu.Lock()
		defer mu.Unlock()
		if change, ok := unseen[e.Session]; ok && e.Kind == change.effect {
			delete(unseen, e.Session)
			close(change.seen)
		}
	}
	players := make([]*misttest.Player, changingUsers)
	entitlements := make([]string, changingUsers)
	change := func(i int, entitled bool) {
		user := "user-" + strconv.Itoa(i)
		session, this := players[i].SessionID(), rightChange{effect: misttest.EventDenied, seen: make(chan struct{})}
		if entitled {
			this.effect = misttest.EventAllowed
		}
		mu.Lock()
		this.called = time.Now()
		unseen[session] = this
		mu.Unlock()
		if entitled {
			made, err := api.AddEntitlementWithResponse(ctx, user, client.EntitlementRequest{Plan: "gold"})
			require.NoError(b, err)
			entitlements[i] = made.JSON201.ID
		} else {
			_, err := api.RemoveEntitlementWithResponse(ctx, user, entitlements[i])
			require.NoError(b, err)
		}
		<-this.seen
	}
	for i := range changingUsers {
		user := "user-" + strconv.Itoa(i)
		_, err := api.PutUserWithResponse(ctx, user, nil, client.UserChange{Status: client.Active})
		require.NoError(b, err)
		made, err := api.AddCredentialWithResponse(ctx, user, client.CredentialRequest{})
		require.NoError(b, err)
		players[i] = m.Connect(misttest.Viewer{
			Stream: "movie", Token: made.JSON201.Token, Address: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}),
			Reconnect: 250 * time.Millisecond,
		})
		defer players[i].Observe(cameBack)()
	}
	for _, p := range players {
		require.NoError(b, p.Wait(ctx, misttest.Denied))
	}
	toGone := []time.Duration{}
	for b.Loop() {
		began := make([]time.Time, changingUsers)
		for i := range players {
			began[i] = time.Now()
			change(i, true)
		}
		for i, p := range players {
			require.NoError(b, p.Wait(ctx, misttest.Watching))
			for _, e := range slices.Backward(p.Events()) {
				if e.Kind == misttest.EventAllowed {
					toWatching = append(toWatching, e.At.Sub(began[i]))
					break
				}
			}
		}
		for i := range players {
			change(i, false)
		}
		for _, p := range players {
			require.NoError(b, p.Wait(ctx, misttest.Denied))
		}
		mu.Lock()
		due := revoked
		mu.Unlock()
		toGone = confirmations(b, s, due) // now: one that is overtaken by a new entitlement never comes
	}
	b.ReportMetric(0, "ns/op")
	reportTimes(b, "command", toCommand)
	reportTimes(b, "gone", toGone)
	reportTimes(b, "watching", toWatching)
}

// confirmations are the times that the service itself took until a revoked session was confirmed gone, as its log tells.
func confirmations(b *testing.B, s *served, n int) []time.Duration {
	b.Helper()
	line := regexp.MustCompile(`msg="revoke confirmed".* ms=(\d+)`)
	for {
		found := line.FindAllStringSubmatch(s.log.String(), -1)
		if len(found) < n {
			<-s.log.changed
			continue
		}
		times := make([]time.Duration, len(found))
		for i, f := range found {
			ms, err := strconv.Atoi(f[1])
			require.NoError(b, err)
			times[i] = time.Duration(ms) * time.Millisecond
		}
		return times
	}
}

func reportTimes(b *testing.B, what string, times []time.Duration) {
	slices.Sort(times)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(times[len(times)/2]), what+"-p50-ms")
	b.ReportMetric(ms(times[len(times)*99/100]), what+"-p99-ms")
}

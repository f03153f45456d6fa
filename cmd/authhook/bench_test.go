package main

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/bench"
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
	audience, players := changingAudience(b, m, api)
	defer audience.Close()

	revoked := 0
	toCommand, toWatching := []time.Duration{}, []time.Duration{}
	entitlements := make([]string, changingUsers)
	change := func(i int, entitled bool) bench.Effect {
		user := "user-" + strconv.Itoa(i)
		effect, call := misttest.EventDenied, func(ctx context.Context) error {
			_, err := api.RemoveEntitlementWithResponse(ctx, user, entitlements[i])
			return err
		}
		if entitled {
			effect, call = misttest.EventAllowed, func(ctx context.Context) error {
				made, err := api.AddEntitlementWithResponse(ctx, user, client.EntitlementRequest{Plan: "gold"})
				if err == nil {
					entitlements[i] = made.JSON201.ID
				}
				return err
			}
		}
		e, err := audience.Change(ctx, players[i], effect, call)
		require.NoError(b, err)
		if e.Command > 0 {
			toCommand = append(toCommand, e.Command)
			if !entitled {
				revoked++
			}
		}
		return e
	}
	toGone := []time.Duration{}
	for b.Loop() {
		began := make([]time.Time, changingUsers)
		for i := range players {
			began[i] = change(i, true).Called
		}
		require.NoError(b, audience.Wait(ctx, misttest.Watching))
		toWatching = append(toWatching, watchingAfter(players, began)...)
		for i := range players {
			change(i, false)
		}
		require.NoError(b, audience.Wait(ctx, misttest.Denied))
		toGone = confirmations(b, s, revoked) // now: one that is overtaken by a new entitlement never comes
	}
	b.ReportMetric(0, "ns/op")
	reportTimes(b, "command", toCommand)
	reportTimes(b, "gone", toGone)
	reportTimes(b, "watching", toWatching)
}

// changingAudience are the players of users who are entitled to nothing, all refused.
func changingAudience(b *testing.B, m *misttest.Server, api *client.ClientWithResponses) (*bench.Audience, []*misttest.Player) {
	audience := bench.NewAudience(m)
	players := make([]*misttest.Player, changingUsers)
	for i := range players {
		user := "user-" + strconv.Itoa(i)
		_, err := api.PutUserWithResponse(b.Context(), user, nil, client.UserChange{Status: client.Active})
		require.NoError(b, err)
		made, err := api.AddCredentialWithResponse(b.Context(), user, client.CredentialRequest{})
		require.NoError(b, err)
		players[i] = audience.Add("movie", made.JSON201.Token)
	}
	require.NoError(b, audience.Wait(b.Context(), misttest.Denied))
	return audience, players
}

// watchingAfter is how long after its change each player was let in.
func watchingAfter(players []*misttest.Player, changed []time.Time) (took []time.Duration) {
	for i, p := range players {
		for _, e := range slices.Backward(p.Events()) {
			if e.Kind == misttest.EventAllowed {
				took = append(took, e.At.Sub(changed[i]))
				break
			}
		}
	}
	return took
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

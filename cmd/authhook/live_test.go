package main

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/client"
	"authhook/internal/mist/misttest"
	"authhook/internal/store/storetest"
)

// guarded is a stand-in MistServer that asks a running service.
func guarded(t *testing.T, name string) (m *misttest.Server, guard func(*served)) {
	t.Helper()
	m, err := misttest.Start(misttest.Options{Name: name})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m, func(s *served) {
		m.SetTriggers(map[string][]misttest.Trigger{
			"USER_NEW": {{Handler: s.url + "/trigger", Sync: true, Default: "false"}},
			"USER_END": {{Handler: s.url + "/trigger"}},
		})
	}
}

func viewer(token string, host byte) misttest.Viewer {
	return misttest.Viewer{
		Stream: "movie", Token: token, Address: netip.AddrFrom4([4]byte{10, 0, 0, host}), Reconnect: 200 * time.Millisecond,
	}
}

// A viewer is let in, unlocked, cut and ended as what is known of its user changes, over the API of a running service.
func TestALiveSessionFollowsTheFacts(t *testing.T) {
	for kind, db := range databases(t) {
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			m, guard := guarded(t, "edge-1")
			s := serveForTest(t, "--database-url", db, "--catalog", exampleCatalog, "--admin-token", adminToken, "--mist", m.UDPURL())
			guard(s)
			c := s.api(t, adminToken)
			_, err := c.PutUserWithResponse(ctx, "alice", nil, client.UserChange{Status: client.Active})
			require.NoError(t, err)
			made, err := c.AddCredentialWithResponse(ctx, "alice", client.CredentialRequest{})
			require.NoError(t, err)
			p := m.Connect(viewer(made.JSON201.Token, 1))
			require.NoError(t, p.Wait(ctx, misttest.Denied))

			entitled, err := c.AddEntitlementWithResponse(ctx, "alice", client.EntitlementRequest{Plan: "gold"})
			require.NoError(t, err)
			require.NoError(t, p.Wait(ctx, misttest.Watching))
			s.waitLog(t, "unlock confirmed")

			listed := func() client.SessionState {
				all, err := c.ListSessionsWithResponse(ctx, &client.ListSessionsParams{User: new("alice")})
				require.NoError(t, err)
				if len(all.JSON200.Items) == 0 {
					return ""
				}
				return all.JSON200.Items[0].State
			}
			require.Eventually(t, func() bool { return listed() == "open" }, 10*time.Second, 10*time.Millisecond)
			_, err = c.EndSessionWithResponse(ctx, p.SessionID(), &client.EndSessionParams{Node: new("edge-1")})
			require.NoError(t, err)
			s.waitLog(t, "end confirmed")
			require.NoError(t, p.Wait(ctx, misttest.Watching), "nothing keeps it out")

			_, err = c.RemoveEntitlementWithResponse(ctx, "alice", entitled.JSON201.ID)
			require.NoError(t, err)
			require.NoError(t, p.Wait(ctx, misttest.Denied))
			s.waitLog(t, "revoke confirmed")
			assert.Equal(t, "1", s.counted(t, `authhook_sessions{node="edge-1",state="denied"}`))
			assert.Equal(t, "0", s.counted(t, `authhook_sessions{node="edge-1",state="open"}`))
			assert.Zero(t, s.stop(), s.log.String())
		})
	}
}

// An outage of PostgreSQL ends nobody, and when it is over everybody is where the facts say.
func TestALiveSessionOutlivesAnOutage(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	proxy, db := storetest.NewProxy(t, storetest.PostgresSchema(t))
	m, guard := guarded(t, "edge-1")
	s := serveForTest(t, "--database-url", db, "--catalog", exampleCatalog, "--admin-token", adminToken, "--mist", m.UDPURL())
	guard(s)
	c := s.api(t, adminToken)
	key := func(user, plan string) string {
		_, err := c.PutUserWithResponse(ctx, user, nil, client.UserChange{Status: client.Active})
		require.NoError(t, err)
		made, err := c.AddCredentialWithResponse(ctx, user, client.CredentialRequest{})
		require.NoError(t, err)
		_, err = c.AddEntitlementWithResponse(ctx, user, client.EntitlementRequest{Plan: plan})
		require.NoError(t, err)
		return made.JSON201.Token
	}
	running := m.Connect(viewer(key("alice", "gold"), 1))
	late := key("bob", "gold")
	require.NoError(t, running.Wait(ctx, misttest.Watching))
	proxy.Down()
	newcomer := m.Connect(viewer(late, 2))
	require.NoError(t, newcomer.Wait(ctx, misttest.Denied))
	s.waitLog(t, "reason=unavailable")
	sweeps := len(m.Commands())
	require.Eventually(t, func() bool { return len(m.Commands()) > sweeps+1 }, 30*time.Second, 10*time.Millisecond, "it goes on looking")
	assert.Equal(t, misttest.Watching, running.State())
	proxy.Up()
	require.NoError(t, newcomer.Wait(ctx, misttest.Watching))
	assert.Equal(t, misttest.Watching, running.State())
	for _, e := range running.Events() {
		assert.NotEqual(t, misttest.EventCut, e.Kind, "who watched was never cut")
	}
}

// A connection that has sent nothing does not hold up the end.
func TestASilentConnectionDoesNotHoldUpTheEnd(t *testing.T) {
	s := serveForTest(t, "--database-url", emptyDatabase(t))
	silent, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer func() { require.NoError(t, silent.Close()) }()
	s.get(t, "/healthz") // a later connection was served: this one is known
	ended := make(chan int, 1)
	go func() { ended <- s.stop() }()
	_, err = silent.Read(make([]byte, 1))
	require.Error(t, err, "it is closed")
	assert.Zero(t, <-ended)
	assert.NotContains(t, s.log.String(), "deadline")
}

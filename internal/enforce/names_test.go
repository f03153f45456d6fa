package enforce_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/enforce"
	"authhook/internal/mist/api"
	"authhook/internal/mist/misttest"
)

// A MistServer is given a name while authhook runs: it is the same as before.
func TestAMistServerMayBeNamedLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("")
	h := w.open(m)
	key := w.user("alice")
	bought := w.entitle("alice", "gold", time.Time{})
	await(t, watch(m, "live+fight", key, 2), misttest.Watching)
	at := m.Addr()
	require.NoError(t, m.Close())
	m = w.mistAt("edge-1", at) // it is the same, for whoever configured its address
	h.guard(m)
	p := watch(m, "live+fight", key, 1)
	await(t, p, misttest.Watching)
	past(t, time.Now().Add(2*h.options.SweepEvery))
	w.withdraw("alice", bought)
	await(t, p, misttest.Denied)
}

// The operator calls a MistServer by a name that it does not know itself by.
func TestAMistServerMayBeCalledOtherwiseThanItCallsItself(t *testing.T) {
	t.Parallel()
	for _, itself := range []string{"", "edge-9"} {
		t.Run("it says "+itself, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.mist(itself)
			client, err := api.New(m.UDPURL(), api.Options{})
			require.NoError(t, err)
			h := w.open(m, func(o *enforce.Options) { o.Nodes = []enforce.Node{{Name: "edge-1", API: client}} })
			key := w.user("alice")
			bought := w.entitle("alice", "gold", time.Time{})
			p := watch(m, "live+fight", key, 1)
			await(t, p, misttest.Watching)
			past(t, time.Now().Add(2*h.options.SweepEvery)) // it is not as a stranger that she is found
			w.withdraw("alice", bought)
			await(t, p, misttest.Denied)
			w.entitle("alice", "gold", time.Time{})
			await(t, p, misttest.Watching)
			require.NoError(t, client.Close())
		})
	}
}

// MistServer's UDP API is bound to another port than the configured one, where another program may be: it binds what is
// free. Over HTTP it is reached.
func TestCommandsArriveAlsoWhereUDPDoesNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	deaf, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, deaf.Close()) }()
	client, err := api.New("udp://"+deaf.LocalAddr().String(), api.Options{ListURL: m.HTTPURL()})
	require.NoError(t, err)
	w.open(m, func(o *enforce.Options) { o.Nodes = []enforce.Node{{API: client}} })
	key := w.user("alice")
	bought := w.entitle("alice", "gold", time.Time{})
	p := watch(m, "live+fight", key, 1)
	await(t, p, misttest.Watching)
	w.withdraw("alice", bought)
	await(t, p, misttest.Denied)
	require.NoError(t, client.Close())
}

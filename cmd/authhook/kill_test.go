package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"authhook/internal/credential"
	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/sqlite"
	"authhook/internal/store/storetest"
)

// asAuthhook has this test binary be authhook itself, so that it can be killed, or measured.
const asAuthhook = "AUTHHOOK_TEST_AS_AUTHHOOK"

func init() {
	if os.Getenv(asAuthhook) != "" {
		main()
	}
}

// killable is an authhook in a process of its own.
type killable struct {
	t       *testing.T
	args    []string
	process *exec.Cmd
	log     *output
}

func (k *killable) start() {
	k.t.Helper()
	k.process = exec.Command(os.Args[0], k.args...)
	k.process.Env = append(os.Environ(), asAuthhook+"=1")
	k.process.Stdout, k.process.Stderr = k.log, k.log
	require.NoError(k.t, k.process.Start())
}

func (k *killable) kill() {
	if k.process != nil {
		_ = k.process.Process.Kill()
		_ = k.process.Wait()
		k.process = nil
	}
}

// authhook is killed at any moment, again and again, while users pay and cease to. When it runs again every viewer is where
// its user's right says, whoever was cut, let in, revoked or unlocked in between.
func TestKilledAtAnyMoment(t *testing.T) {
	const users, kills = 12, 4
	random := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	db, err := sqlite.Open(t.Context(), filepath.Join(dir, "authhook.db"))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, db.Migrate(t.Context()))
	catalog := &policy.Catalog{
		Plans:   []policy.Plan{{Key: "gold", Rank: 20, Tags: []string{"plan:gold"}}},
		Streams: []policy.StreamPolicy{{Match: "*", Access: policy.AccessEntitled, Plans: []string{"gold"}}},
	}
	_, _, err = db.ApplyCatalog(t.Context(), catalog, nil)
	require.NoError(t, err)

	timing := misttest.MeasuredTiming()
	timing.TriggerWait = time.Second // a killed handler refuses at once; one that is being killed need not be waited for
	m, err := misttest.Start(misttest.Options{Name: "edge-1", Timing: timing})
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()) }()
	m.AddStream("live+fight")
	address := storetest.FreeAddress(t)
	m.SetTriggers(map[string][]misttest.Trigger{
		"USER_NEW": {{Handler: "http://" + address + "/trigger", Sync: true, Default: "false"}},
		"USER_END": {{Handler: "http://" + address + "/trigger"}},
	})
	k := &killable{t: t, log: newOutput(), args: []string{
		"serve", "--database-url", "sqlite:" + filepath.Join(dir, "authhook.db"), "--listen", address, "--mist", m.UDPURL(),
	}}
	t.Cleanup(k.kill)
	k.start()

	entitlements := make([]string, users)
	players := make([]*misttest.Player, users)
	for i := range users {
		user, key := "user-"+strconv.Itoa(i), credential.NewKey()
		_, _, err := db.PutUser(t.Context(), store.UserChange{ID: user, Status: policy.ActiveUser})
		require.NoError(t, err)
		_, err = db.AddCredential(t.Context(), policy.HashKey(key), policy.Credential{Kind: policy.CredentialKey, User: user}, time.Now())
		require.NoError(t, err)
		players[i] = m.Connect(misttest.Viewer{
			Stream: "live+fight", Token: key, Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), Reconnect: time.Second,
		})
	}
	// Each user's right changes again and again; the pauses between are as random as the kills.
	turn := func() {
		i := random.IntN(users)
		user := "user-" + strconv.Itoa(i)
		if entitlements[i] == "" {
			entitlements[i], err = db.AddEntitlement(t.Context(), user, policy.Entitlement{Plan: "gold", Source: "test"})
		} else {
			err = db.RemoveEntitlement(t.Context(), user, entitlements[i])
			entitlements[i] = ""
		}
		require.NoError(t, err)
	}
	for range kills {
		life := time.NewTimer(time.Duration(100+random.IntN(2500)) * time.Millisecond)
		for alive := true; alive; {
			turn()
			select {
			case <-life.C:
				alive = false
			case <-time.After(time.Duration(random.IntN(60)) * time.Millisecond):
			}
		}
		k.kill()
		for range random.IntN(6) {
			turn()
		}
		k.start()
	}
	right := func() (wrong string) {
		for i, p := range players {
			if watching := p.State() == misttest.Watching; watching != (entitlements[i] != "") {
				wrong += fmt.Sprintf(" user-%d is %s", i, p.State())
			}
		}
		return wrong
	}
	require.Eventually(t, func() bool { return right() == "" }, time.Minute, 20*time.Millisecond, "%v\n%s", right, k.log)
	require.False(t, m.Corrupted())
}

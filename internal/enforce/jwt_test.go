package enforce_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/credential"
	"authhook/internal/enforce"
	"authhook/internal/mist/misttest"
	"authhook/internal/policy"
)

// jwts verifies that every JWT is alice's, unless there is a fault.
type jwts struct{ fault atomic.Int32 }

func failing(r policy.Reason) *jwts {
	v := &jwts{}
	v.fault.Store(int32(r))
	return v
}

// VerifyJWT implements policy.Verifier.
func (j *jwts) VerifyJWT(string) (*policy.Credential, policy.Reason, string) {
	if f := policy.Reason(j.fault.Load()); f != 0 {
		return nil, f, "the test says so"
	}
	return &policy.Credential{Kind: policy.CredentialJWT, User: "alice", Until: time.Now().Add(time.Hour)}, 0, ""
}

// aJWT has the form of one.
const aJWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6OTk5OTk5OTk5OX0.c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0"

func TestAJWTHasItsForm(t *testing.T) {
	t.Parallel()
	form, _ := credential.Classify(aJWT)
	require.Equal(t, credential.JWT, form)
}

// Who comes before a stream opens is let in when it does, whatever was presented.
func TestWhoWaitsForAStreamToOpenIsLetIn(t *testing.T) {
	t.Parallel()
	for _, with := range []string{"a JWT", "a key"} {
		t.Run(with, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.mist("edge-1")
			h := w.open(m, unswept)
			h.verify(&jwts{})
			key := goldKey(w, "alice")
			if with == "a JWT" {
				key = aJWT
			}
			opens := time.Now().Add(2 * time.Second)
			w.apply(&policy.Catalog{
				Plans: []policy.Plan{{Key: "gold"}},
				Streams: []policy.StreamPolicy{{
					Match: "*", Access: policy.AccessClosed, Plans: []string{"gold"},
					Windows: []policy.Window{{From: opens, Until: opens.Add(time.Hour), Access: policy.AccessEntitled}},
				}},
			})
			p := watch(m, "live+fight", key, 1)
			await(t, p, misttest.Denied)
			await(t, p, misttest.Watching)
		})
	}
}

// Whose JWT could not be verified is let in when its key is there: it came with a refreshed set, or with the catalog.
func TestAKeyThatArrivesLetsIn(t *testing.T) {
	t.Parallel()
	for _, by := range []struct {
		name string
		told func(*enforce.Enforcer)
	}{
		{"a refreshed set", (*enforce.Enforcer).KeysArrived},
		{"the catalog", func(e *enforce.Enforcer) { e.JWTKeysChanged(); e.KeysArrived(); e.ChangedAll() }},
	} {
		for _, fault := range []policy.Reason{policy.CredentialUnknown, policy.Unavailable} {
			t.Run(by.name+", "+fault.String(), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				m := w.mist("edge-1")
				h := w.open(m, unswept)
				goldKey(w, "alice")
				h.verify(failing(fault))
				p := watch(m, "live+fight", aJWT, 1)
				await(t, p, misttest.Denied)
				h.verify(&jwts{})
				by.told(h.enforcer)
				await(t, p, misttest.Watching)
			})
		}
	}
}

// A key is withdrawn: whom it let in is asked about again, also where MistServer hears of it late.
func TestAKeyThatIsWithdrawnEndsWhomItLetIn(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		name := "heard at once"
		if lost {
			name = "heard late"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.mist("edge-1")
			h := w.open(m, unswept, datagramsOnly(t, m))
			goldKey(w, "alice")
			h.verify(&jwts{})
			p := watch(m, "live+fight", aJWT, 1)
			await(t, p, misttest.Watching)
			before := h.counted(giveUp, "invalidate_sessions")
			if lost {
				m.SetLoss(1, 1)
			}
			h.verify(failing(policy.CredentialUnknown))
			h.enforcer.JWTKeysChanged()
			h.enforcer.ChangedAll()
			if lost {
				eventually(t, "it is given up", func() bool { return h.counted(giveUp, "invalidate_sessions") > before })
				undisturbed(t, p, "nothing has arrived")
				m.SetLoss(0, 0)
			}
			await(t, p, misttest.Denied)
		})
	}
}

// While keys cannot be had, nobody is asked about again and again for it.
func TestMissingKeysDoNotHaveViewersAskedAgainAndAgain(t *testing.T) {
	t.Parallel()
	for _, allow := range []bool{false, true} {
		name := "who cannot be verified is denied"
		if allow {
			name = "who cannot be verified is let in"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.mist("edge-1")
			h := w.houseOver(m, w.db, policy.Options{AllowUnavailable: allow}, func(o *enforce.Options) { o.SweepEvery = 200 * time.Millisecond })
			h.run()
			h.guard(m)
			zoe := watch(m, "live+fight", goldKey(w, "zoe"), 9)
			await(t, zoe, misttest.Watching)
			h.swept("edge-1", 3)
			h.verify(failing(policy.Unavailable))
			before := len(m.Commands())
			p := watch(m, "live+fight", aJWT, 1)
			if allow {
				await(t, p, misttest.Watching)
			} else {
				await(t, p, misttest.Denied)
			}
			h.swept("edge-1", 12)
			disturbing := 0
			for _, c := range m.Commands()[before:] {
				if c.Kind == "stop_sessid" || c.Kind == "invalidate_sessions" {
					disturbing++
				}
			}
			assert.Less(t, disturbing, 4)
		})
	}
}

// Who was let in while nothing could be found out is decided about when it can.
func TestWhoWasLetInDuringAnOutageIsDecidedAboutAfterIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.houseOver(m, w.db, policy.Options{AllowUnavailable: true})
	h.run()
	h.guard(m)
	gold, poor := goldKey(w, "alice"), w.user("bob")
	w.away.Store(true)
	pays, doesNot, stranger := watch(m, "live+fight", gold, 1), watch(m, "live+fight", poor, 2), watch(m, "live+fight", credential.NewKey(), 3)
	for _, p := range []*misttest.Player{pays, doesNot, stranger} {
		await(t, p, misttest.Watching)
	}
	w.away.Store(false)
	await(t, doesNot, misttest.Denied)
	await(t, stranger, misttest.Denied)
	undisturbed(t, pays, "may watch, and always might")
}

// A key is withdrawn right after another was, of a stream with so many viewers that asking about them all takes long.
func TestAKeyThatIsWithdrawnWaitsForNoAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mist("edge-1")
	h := w.open(m, datagramsOnly(t, m), func(o *enforce.Options) { o.ReaskRate = 1 })
	var answered atomic.Int32
	h.through(m, func(w http.ResponseWriter, r *http.Request, on http.Handler) {
		on.ServeHTTP(w, r)
		if r.Header.Get("X-Trigger") == "USER_NEW" {
			answered.Add(1)
		}
	})
	goldKey(w, "alice")
	h.verify(&jwts{})
	players := make([]*misttest.Player, 60)
	for i := range players {
		players[i] = watch(m, "live+fight", aJWT, 1+i)
	}
	for _, p := range players {
		await(t, p, misttest.Watching)
	}
	read := told(m, "active_streams")[""]
	eventually(t, "it is known how many watch", func() bool { return told(m, "active_streams")[""] >= read+3 })
	h.enforcer.JWTKeysChanged()
	eventually(t, "they are asked about", func() bool { return int(answered.Load()) >= 2*len(players) })
	h.verify(failing(policy.CredentialUnknown))
	h.enforcer.JWTKeysChanged()
	for _, p := range players {
		await(t, p, misttest.Denied)
	}
}

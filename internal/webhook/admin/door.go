package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"authhook/internal/store"
)

// AdminToken is the actor of what is done with the admin token of a service.
const AdminToken = "admin token"

// keyPrefix begins every key of the API.
const keyPrefix = "ahk_"

// MakeKey makes a key of the API, of at least 128 random bits. It is shown once and stored as [HashKey] of it.
func MakeKey() string { return keyPrefix + rand.Text() }

// HashKey is the hash under which a key of the API is stored.
func HashKey(key string) [sha256.Size]byte { return sha256.Sum256([]byte(key)) }

// caller is who makes a request.
type caller struct {
	actor string // as the audit names it
	role  store.Role
}

func (c caller) context(ctx context.Context) context.Context {
	return context.WithValue(store.WithActor(ctx, c.actor), roleKey{}, c.role)
}

type roleKey struct{}

// permits says whether who makes a request may do what a role may, for what an operation shows to some only.
func permits(ctx context.Context, role store.Role) bool {
	has, _ := ctx.Value(roleKey{}).(store.Role)
	return ranks[has] >= ranks[role]
}

// ranks orders the roles: each permits what those below it do.
var ranks = map[store.Role]int{store.RoleRead: 1, store.RoleBilling: 2, store.RoleAdmin: 3}

// door lets in who has the admin token or a key that is good.
type door struct {
	keys    apiKeys
	token   [sha256.Size]byte
	tokened bool
	holder  caller // who has the token
	guesses *guesses
	// looking bounds how many keys are looked up at once: guesses leave the database to the decisions.
	looking chan struct{}
}

func newDoor(keys apiKeys, holder caller, token string, now func() time.Time) *door {
	return &door{
		keys: keys, token: sha256.Sum256([]byte(token)), tokened: token != "", holder: holder,
		guesses: newGuesses(now), looking: make(chan struct{}, 4),
	}
}

// admit says who makes a request. A wrong key is answered like none; one too many from the same place is told to wait.
// A good one is let in however many wrong ones came before it: slowing down is for who guesses.
func (d *door) admit(r *http.Request) (caller, error) {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || given == "" {
		return caller{}, errUnauthenticated
	}
	hash := HashKey(given)
	if d.tokened && subtle.ConstantTimeCompare(hash[:], d.token[:]) == 1 {
		return d.holder, nil
	}
	if strings.HasPrefix(given, keyPrefix) {
		k, err := d.find(r.Context(), hash)
		if err == nil && k.Withdrawn.IsZero() {
			return caller{k.ID, k.Role}, nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return caller{}, err
		}
	}
	if wait := d.guesses.wrong(remote(r)); wait > 0 {
		return caller{}, &slowDownError{wait}
	}
	return caller{}, errUnauthenticated
}

func (d *door) find(ctx context.Context, hash [sha256.Size]byte) (store.APIKey, error) {
	select {
	case d.looking <- struct{}{}:
		defer func() { <-d.looking }()
	case <-ctx.Done():
		return store.APIKey{}, ctx.Err()
	}
	return d.keys.APIKeyByHash(ctx, hash)
}

const (
	// What one address, and all together, may guess before they are told to wait.
	guessesAtOnce, guessesPerSecond      = 10, 0.2
	guessesOfAllAtOnce, guessesOfAllASec = 200, 20
	maxAddresses                         = 4096
	networkBits4, networkBits6           = 32, 64
)

// guesses counts wrong keys, by where they come from and in all.
type guesses struct {
	now func() time.Time
	all *rate.Limiter

	mu       sync.Mutex
	networks map[netip.Prefix]*rate.Limiter
}

func newGuesses(now func() time.Time) *guesses {
	return &guesses{now: now, all: rate.NewLimiter(guessesOfAllASec, guessesOfAllAtOnce), networks: map[netip.Prefix]*rate.Limiter{}}
}

// wrong counts a wrong key, and says how long to wait with the next; 0 while that is not needed.
func (g *guesses) wrong(from netip.Addr) time.Duration {
	now := g.now()
	return max(take(g.of(from, now), now), take(g.all, now))
}

// of is what an address may guess still. One IPv6 customer has a whole /64.
func (g *guesses) of(from netip.Addr, now time.Time) *rate.Limiter {
	bits := networkBits4
	if from.Is6() {
		bits = networkBits6
	}
	network, _ := from.Prefix(bits)
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.networks[network]; l != nil {
		return l
	}
	if len(g.networks) >= maxAddresses {
		g.forget(now)
	}
	l := rate.NewLimiter(guessesPerSecond, guessesAtOnce)
	g.networks[network] = l
	return l
}

// forget drops who has waited long enough; where that makes no room, everybody: the limit of all together still holds.
func (g *guesses) forget(now time.Time) {
	for network, l := range g.networks {
		if l.TokensAt(now) >= guessesAtOnce {
			delete(g.networks, network)
		}
	}
	if len(g.networks) >= maxAddresses {
		clear(g.networks)
	}
}

// take takes one, and says how long it is until there is one where there is none.
func take(l *rate.Limiter, now time.Time) time.Duration {
	r := l.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// seconds is a wait as Retry-After has it.
func seconds(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }

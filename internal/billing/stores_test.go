package billing_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"authhook/internal/billing"
	"authhook/internal/billing/events"
	"authhook/internal/billing/signature"
	"authhook/internal/billing/signature/sign"
	"authhook/internal/billing/stripe"
	"authhook/internal/policy"
	"authhook/internal/store"
	"authhook/internal/store/postgres"
	"authhook/internal/store/sqlite"
	"authhook/internal/store/storetest"
)

const (
	stripeSecret = "whsec_of_these_tests_and_of_nobody_else"
	eventsSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// billers are the providers of the histories.
func billers() ([]billing.Provider, error) {
	secrets, err := signature.ParseSecrets(stripeSecret)
	if err != nil {
		return nil, err
	}
	own, err := signature.ParseStandardSecrets(eventsSecret, false)
	if err != nil {
		return nil, err
	}
	s, err := stripe.New(stripe.Options{Secrets: secrets})
	return []billing.Provider{s, &events.Provider{Secrets: own}}, err
}

// letter is an event as its provider sends it.
type letter struct {
	at                 time.Time
	provider, id, user string
	body               []byte
}

func (l letter) name() string { return l.provider + " " + l.id }

// signed are the headers with which it is sent at a moment.
func (l letter) signed(t testing.TB, at time.Time) http.Header {
	h := http.Header{}
	if l.provider == "stripe" {
		sign.Stripe(h, l.body, at, stripeSecret)
		return h
	}
	key, err := sign.StandardKey(eventsSecret)
	require.NoError(t, err)
	sign.StandardWebhooks(h, l.id, l.body, at, key)
	return h
}

// objectID is an id of Stripe's, as it stands in a body.
var objectID = regexp.MustCompile(`"(evt|cs|cus|sub|in|pi|ch|dp)_`)

// years are the years of several subscribers, up to a moment, as they are told: each as [aYear] has it, every second one in the
// old shapes. In between the operator suspends each of them, lets them go on, and suspends the first one again.
func years(t testing.TB, until time.Time, users ...string) []letter {
	var told []letter
	for i, user := range users {
		s, _ := aYear(i%2 == 1)
		for n, h := range s.events {
			body := objectID.ReplaceAll(h.body, []byte(`"${1}_`+user+`_`))
			body = []byte(strings.ReplaceAll(string(body), `"anna"`, `"`+user+`"`))
			told = append(told, letter{h.at, "stripe", fmt.Sprintf("evt_%s_%d", user, n+1), user, body})
		}
		status := func(at time.Time, status policy.UserStatus) {
			body, err := json.Marshal(fields{"type": "user.changed", "timestamp": at, "data": fields{"user": user, "status": status}})
			require.NoError(t, err)
			told = append(told, letter{at, "events", fmt.Sprint("msg_", user, at.Unix()), user, body})
		}
		status(day(90), policy.SuspendedUser)
		status(day(95), policy.ActiveUser)
		if i == 0 {
			status(day(175), policy.SuspendedUser)
		}
	}
	told = slices.DeleteFunc(told, func(l letter) bool { return l.at.After(until) })
	slices.SortStableFunc(told, func(a, b letter) int { return a.at.Compare(b.at) })
	return told
}

// opens opens one database; each call opens the same one again, as another replica does.
type opens func(context.Context) (storetest.Store, error)

// A new database of each kind: a file that was migrated once and is copied, a schema.
func databases(t *testing.T) map[string]func(*testing.T) opens {
	template := filepath.Join(t.TempDir(), "authhook.db")
	s, err := sqlite.Open(t.Context(), template)
	require.NoError(t, err)
	require.NoError(t, s.Migrate(t.Context()))
	require.NoError(t, s.Close())
	migrated, err := os.ReadFile(template)
	require.NoError(t, err)
	return map[string]func(*testing.T) opens{
		"sqlite": func(t *testing.T) opens {
			path := filepath.Join(t.TempDir(), "authhook.db")
			require.NoError(t, os.WriteFile(path, migrated, 0o600))
			return opensAt(path)
		},
		"postgres": func(t *testing.T) opens {
			open := opensAt(storetest.PostgresSchema(t))
			s, err := open(t.Context())
			require.NoError(t, err)
			require.NoError(t, s.Migrate(t.Context()))
			require.NoError(t, s.Close())
			return open
		},
	}
}

// opensAt opens the database at an address: a PostgreSQL's URL, or else a file of SQLite.
func opensAt(address string) opens {
	return func(ctx context.Context) (storetest.Store, error) {
		if strings.HasPrefix(address, "postgres") {
			return postgres.Open(ctx, address)
		}
		return sqlite.Open(ctx, address)
	}
}

// afterAll is when all letters are sent: after all that happens in them.
var afterAll = day(365)

// soon is a clock that is an hour on whenever it is looked at: what is to be tried again is due.
type soon struct{ hours atomic.Int64 }

func (c *soon) now() time.Time { return afterAll.Add(time.Duration(c.hours.Add(1)) * time.Hour) }

// inOrder is what follows when every event is delivered once, in its order, and nothing ever fails.
func inOrder(t *testing.T, open opens, told []letter) string {
	s, err := open(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	known, err := billers()
	require.NoError(t, err)
	c := theShop(t)
	receiver := billing.NewReceiver(known, s, func() {}, func() time.Time { return afterAll })
	applier := billing.NewApplier(s, known, billing.ApplierOptions{
		Catalog: func() *policy.Catalog { return c }, Now: new(soon).now, Log: slog.New(slog.DiscardHandler),
	})
	for _, l := range told {
		require.NoError(t, receiver.Receive(t.Context(), l.provider, l.signed(t, afterAll), l.body))
		n, err := applier.Pass(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, n)
	}
	settled(t, s, told)
	return picture(t, s, told)
}

// users are whom letters are about.
func users(told []letter) []string {
	seen := map[string]bool{}
	for _, l := range told {
		seen[l.user] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

var errPeeked = errors.New("seen enough")

// picture is all that decisions and people see of users, and the records that it follows from, as text, without the ids and the
// moments that are a store's own.
func picture(t *testing.T, s storetest.Store, told []letter) string {
	var lines []string
	line := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, user := range users(told) {
		u, err := s.User(t.Context(), user)
		require.NoError(t, err)
		line("%s is %s", user, u.Status)
		f, err := s.FactsByUser(t.Context(), user)
		require.NoError(t, err)
		for _, e := range f.Entitlements {
			e.ID = ""
			line("%s: entitlement %+v", user, e)
		}
		for _, h := range f.Holds {
			h.ID = ""
			line("%s: hold %+v", user, h)
		}
		payments, err := s.Payments(t.Context(), store.PaymentFilter{User: user})
		require.NoError(t, err)
		for _, p := range payments {
			p.Recorded = time.Time{}
			line("%s: payment %+v", user, p)
		}
		first, err := s.BillingEvents(t.Context(), store.EventFilter{Provider: "stripe", Limit: 1})
		require.NoError(t, err)
		err = s.ApplyEvent(t.Context(), first[0].Number, []string{"customer:cus_" + user + "_1"}, true,
			func(a *store.BillingAccount) (*store.BillingEffect, error) {
				for _, r := range a.Records {
					line("%s: record %+v", user, r)
				}
				return nil, errPeeked
			})
		require.ErrorIs(t, err, errPeeked)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// settled holds the inbox against what was told: each event is there once, was applied, and is its user's.
func settled(t *testing.T, s storetest.Store, told []letter) {
	missing := map[string]letter{}
	for _, l := range told {
		missing[l.name()] = l
	}
	var after int64
	for {
		page, err := s.BillingEvents(t.Context(), store.EventFilter{After: after, Limit: store.MaxFacts})
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			l, ok := missing[e.Provider+" "+e.ID]
			require.True(t, ok, "%s %s is there twice, or was never told", e.Provider, e.ID)
			delete(missing, l.name())
			require.Contains(t, []store.EventState{store.EventApplied, store.EventStale}, e.State, "%s: %s", l.name(), e.Reason)
			require.Equal(t, l.user, e.User, l.name())
			after = e.Number
		}
	}
	require.Empty(t, missing)
}

// balanced replays the audit: what is added was not there, what is changed or removed was, and what is changed becomes another.
// What is left must be what stands. Each entry's number is that of an entry of the change feed about the same user, so that
// everybody was told of it.
func balanced(t *testing.T, s storetest.Store, told []letter) {
	fed := map[int64]store.Change{}
	for after := int64(0); ; {
		page, err := s.Changes(t.Context(), after, store.MaxPage)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for _, c := range page {
			fed[c.Number] = c
			after = c.Number
		}
	}
	var audit []store.AuditEntry
	for before := int64(0); ; {
		page, err := s.Audit(t.Context(), store.AuditFilter{Before: before, Limit: store.MaxFacts})
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		audit = append(audit, page...)
		before = page[len(page)-1].Number
	}
	slices.Reverse(audit)
	changed := map[string]bool{}
	stands := map[string]string{}
	for _, e := range audit {
		var what struct{ ID string }
		require.NoError(t, json.Unmarshal(e.Detail, &what))
		kind, act, _ := strings.Cut(string(e.Action), ".")
		if kind != "entitlement" && kind != "hold" {
			continue
		}
		require.Contains(t, []string{"stripe", "events"}, e.Actor)
		require.Equal(t, store.ChangeUser, fed[e.Number].Kind, "the feed's entry %d", e.Number)
		require.Equal(t, e.Subject, fed[e.Number].Subject, "the feed's entry %d", e.Number)
		changed[e.Subject] = true
		is, was := e.Subject+string(e.Detail), stands[what.ID]
		switch act {
		case "add":
			require.Empty(t, was, "added twice: %+v", e)
			stands[what.ID] = is
		case "change":
			require.NotEmpty(t, was, "changed, but not there: %+v", e)
			require.NotEqual(t, was, is, "changed into what it was: %+v", e)
			stands[what.ID] = is
		case "remove":
			require.Equal(t, was, is, "removed as what it was not")
			delete(stands, what.ID)
		}
	}
	var want, got []string
	for id := range stands {
		want = append(want, id)
	}
	for _, user := range users(told) {
		require.True(t, changed[user], "nobody was told of %s", user)
		f, err := s.FactsByUser(t.Context(), user)
		require.NoError(t, err)
		for _, e := range f.Entitlements {
			got = append(got, e.ID)
			require.Equal(t, user+store.EntitlementAdded(user, e).Detail, stands[e.ID])
		}
		for _, h := range f.Holds {
			got = append(got, h.ID)
			require.Equal(t, user+store.HoldAdded(user, h).Detail, stands[h.ID])
		}
	}
	require.ElementsMatch(t, want, got)
}

// outbox is where the letters of a history are until they are acknowledged, and what replicas did with them.
type outbox struct {
	mu     sync.Mutex
	random *rand.Rand
	unsent []letter
	sent   int // under way
	fresh  map[string]int
	done   map[int64]int // how often an event was applied, by its number
}

// take is the next letter to be sent; ok is false when there is none, and over when there will be none.
func (o *outbox) take() (l letter, ok, over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.unsent) == 0 {
		return l, false, o.sent == 0
	}
	l, o.unsent = o.unsent[0], o.unsent[1:]
	o.sent++
	return l, true, false
}

// empty says whether all was acknowledged.
func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.unsent)+o.sent == 0
}

// answered notes what came of a letter. One that was not acknowledged is sent again, some time.
func (o *outbox) answered(l letter, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent--
	if err != nil {
		o.unsent = slices.Insert(o.unsent, o.random.IntN(len(o.unsent)+1), l)
	}
}

func (o *outbox) chance(n int) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.random.IntN(n)
}

// shaky is the store of a replica for as long as that lives. Between any two steps a call may fail, before what it does or once
// that is done, or the replica may end: its context does, or its database is closed under it.
type shaky struct {
	storetest.Store
	outbox *outbox
	left   atomic.Int64 // steps until it ends
	end    func()
}

// step is passed before and after all that a replica does.
func (s *shaky) step() error {
	if s.left.Add(-1) == 0 {
		s.end()
	}
	switch s.outbox.chance(50) {
	case 0:
		return store.ErrUnavailable
	case 1:
		return errors.New("something that nobody foresaw")
	}
	return nil
}

func (s *shaky) ReceiveEvent(ctx context.Context, e store.BillingEvent) (fresh bool, err error) {
	if err := s.step(); err != nil {
		return false, err
	}
	fresh, err = s.Store.ReceiveEvent(ctx, e)
	if err != nil {
		return false, err
	}
	if fresh {
		s.outbox.mu.Lock()
		s.outbox.fresh[e.Provider+" "+e.ID]++
		s.outbox.mu.Unlock()
	}
	return fresh, s.step()
}

func (s *shaky) DueEvents(ctx context.Context, now time.Time, limit int) ([]store.BillingEvent, error) {
	if err := s.step(); err != nil {
		return nil, err
	}
	return s.Store.DueEvents(ctx, now, min(limit, 1+s.outbox.chance(limit)))
}

func (s *shaky) ApplyEvent(ctx context.Context, number int64, names []string, dry bool,
	fold func(*store.BillingAccount) (*store.BillingEffect, error)) error {
	if err := s.step(); err != nil {
		return err
	}
	err := s.Store.ApplyEvent(ctx, number, names, dry, func(a *store.BillingAccount) (*store.BillingEffect, error) {
		if err := s.step(); err != nil {
			return nil, err
		}
		e, err := fold(a)
		return e, cmp.Or(err, s.step())
	})
	if err != nil {
		return err
	}
	s.outbox.mu.Lock()
	s.outbox.done[number]++
	s.outbox.mu.Unlock()
	return s.step()
}

func (s *shaky) FailEvent(ctx context.Context, number int64, state store.EventState, reason string, next time.Time) error {
	if err := s.step(); err != nil {
		return err
	}
	return cmp.Or(s.Store.FailEvent(ctx, number, state, reason, next), s.step())
}

// replica is one life of an authhook: it takes letters in and applies events until it ends, or nothing is left to do.
func (o *outbox) replica(t *testing.T, open opens, c *policy.Catalog, clock *soon) (over bool) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	db, err := open(t.Context())
	if !assert.NoError(t, err) {
		return true
	}
	var wg sync.WaitGroup
	s := &shaky{Store: db, outbox: o}
	s.left.Store(int64(1 + o.chance(1000)))
	closes := o.chance(2) == 0
	s.end = func() {
		if !closes {
			cancel()
			return
		}
		wg.Go(func() { // not here: it waits for whoever uses it
			assert.NoError(t, db.Close())
			cancel()
		})
	}
	known, err := billers()
	assert.NoError(t, err)
	applier := billing.NewApplier(s, known, billing.ApplierOptions{
		Catalog: func() *policy.Catalog { return c }, Now: clock.now, Log: slog.New(slog.DiscardHandler),
	})
	receiver := billing.NewReceiver(known, s, func() {}, func() time.Time { return afterAll })
	var all atomic.Bool
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				l, ok, over := o.take()
				if over {
					return
				}
				if ok {
					o.answered(l, receiver.Receive(ctx, l.provider, l.signed(t, afterAll), l.body))
				} else {
					await(ctx)
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			over := o.empty()
			n, err := applier.Pass(ctx)
			if over && n == 0 && err == nil {
				all.Store(true)
				return
			}
			if n == 0 {
				await(ctx)
			}
		}
	})
	wg.Wait()
	if !closes || s.left.Load() > 0 {
		assert.NoError(t, db.Close())
	}
	return all.Load()
}

// await lets the others of a replica, and the other one, get on.
func await(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(2 * time.Millisecond):
	}
}

// Several subscribers' years reach two replicas in a random order, many events twice, while calls fail and replicas end between
// any two steps. What follows in the end is what follows in order, on every database.
func TestYearsOnStoresInAnyOrder(t *testing.T) {
	c := theShop(t)
	// It is tried out; that is paid for; an upgrade was paid back; a renewal has failed; a dispute stands; all is over.
	untils := []time.Time{day(2), day(8), day(30), day(71), day(105), afterAll}
	for kind, database := range databases(t) {
		want := make([]string, len(untils))
		for i, until := range untils {
			want[i] = inOrder(t, database(t), years(t, until, "anna", "ben"))
		}
		for order := range map[string]int{"sqlite": 24, "postgres": 12}[kind] {
			t.Run(fmt.Sprintf("%s/%d", kind, order), func(t *testing.T) { // the seed is the order's number
				t.Parallel()
				told, want := years(t, untils[order%len(untils)], "anna", "ben"), want[order%len(untils)]
				o := &outbox{random: rand.New(rand.NewPCG(uint64(order), 3)), fresh: map[string]int{}, done: map[int64]int{}}
				o.unsent = slices.Concat(told, told[:len(told)/4])
				o.random.Shuffle(len(o.unsent), func(i, j int) { o.unsent[i], o.unsent[j] = o.unsent[j], o.unsent[i] })
				open, clock := database(t), new(soon)
				var wg sync.WaitGroup
				for range 2 {
					wg.Go(func() {
						for !o.replica(t, open, c, clock) && !t.Failed() {
						}
					})
				}
				wg.Wait()
				require.False(t, t.Failed())
				s, err := open(t.Context())
				require.NoError(t, err)
				defer func() { require.NoError(t, s.Close()) }()
				settled(t, s, told)
				balanced(t, s, told)
				require.Equal(t, want, picture(t, s, told))
				for _, l := range told {
					// Of one whose sender left while it was being stored, nobody was told.
					require.LessOrEqual(t, o.fresh[l.name()], 1, "%s was new so often", l.name())
				}
				require.Len(t, o.done, len(told))
				for number, n := range o.done {
					require.Equal(t, 1, n, "event %d was applied so often", number)
				}
			})
		}
	}
}
